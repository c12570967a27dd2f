"""`init`: a configuration to fill in, then the repositories that it names."""

from __future__ import annotations

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run


@click.command(
    cls=Command,
    examples=("strongroom init", "strongroom --config /etc/strongroom/strongroom.yaml init"),
)
@click.pass_obj
def init(run: Run) -> int:
    """Write a configuration, or create the repositories it names.

    Where there is no configuration, a commented sample is written. Where there is one, every
    repository in it that doesn't exist is created. Harmless when all is there.
    """
    from strongroom.service.setup import create_repositories, write_sample

    report = write_sample(run.config)
    if report is None:
        report = create_repositories(run.application())
    lines = []
    if report.wrote_config:
        lines.append(f"Wrote {report.config}")
        lines.append("Fill it in, check it with `strongroom config check`, then run this again.")
    lines += [f"Created repository {name} at {where}" for name, where in report.created]
    lines += [f"Repository {name} exists at {where}" for name, where in report.existing]
    run.result(report.as_json(), lines)
    return 0
