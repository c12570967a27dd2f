"""`doctor`: is everything there that a backup and a recovery need?"""

from __future__ import annotations

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import table

_COLOURS = {"fine": "green", "warning": "yellow", "failed": "red"}


@click.command(cls=Command, examples=("strongroom doctor", "strongroom doctor --clean"))
@click.option("--clean", is_flag=True, help="Remove what killed drills left behind.")
@click.pass_obj
def doctor(run: Run, clean: bool) -> int:
    """Look at programs, connections, space, clocks and the engine itself.

    Each line has its remedy. The exit status is the one that a backup or a recovery would end with.
    """
    from strongroom.service.doctor import examine

    report = examine(run.application(), clean=clean)
    rows = [
        (click.style(one.state.value, fg=_COLOURS[one.state.value]), one.name, one.observed)
        for one in report.checks
    ]
    lines: list[str] = []
    for one, line in zip(
        report.checks, table(("STATE", "WHAT", "OBSERVED"), rows)[1:], strict=True
    ):
        lines.append(line)
        if one.remedy:
            lines.append(f"         {one.remedy}")
    lines += [f"Removed {one}" for one in report.removed]
    run.result(report.as_json(), lines)
    return report.exit_status
