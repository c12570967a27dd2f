"""`demo`: the whole story on an application of our own."""

from __future__ import annotations

from pathlib import Path

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run, write_out
from strongroom.cli.text import plain


@click.command(
    cls=Command,
    examples=("strongroom demo", "strongroom demo --dir /tmp/tms --keep --rows 20000"),
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="D",
    help="Build it in this directory, which is empty or new.",
)
@click.option("--keep", is_flag=True, help="Leave what was built, to look around.")
@click.option(
    "--rows", type=click.IntRange(min=1000), metavar="N", help="About so many rows (200000)."
)
@click.pass_obj
def demo(run: Run, directory: Path | None, keep: bool, rows: int | None) -> int:
    """Build, capture, destroy, recover and prove an application.

    A training management system with a PostgreSQL of its own, uploaded papers and a Git
    repository; nothing else on this host is touched. Takes about a minute.
    """
    from strongroom.demo.story import tell_story

    options = {} if rows is None else {"rows": rows}
    report = tell_story(
        directory,
        keep=keep,
        progress=run.progress(),
        say=run.say if run.json else _tell,
        **options,
    )
    if run.json:
        run.result(report.as_json(), ())
    return report.exit_status


def _tell(line: str) -> None:
    write_out(plain(line) + "\n")
