"""`copy`: what is in one repository comes into another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli.command import STORE_AS_OF, Command
from strongroom.cli.run import Run
from strongroom.cli.text import count, finding_lines, size, span

if TYPE_CHECKING:
    from strongroom.service.copying import Copied


@click.command(
    cls=Command,
    follows="copy",
    examples=(
        "strongroom copy --from local --to offsite",
        "strongroom copy --missing",
    ),
)
@click.argument("snapshots", nargs=-1, metavar="[SNAPSHOT]...")
@click.option("--from", "source", metavar="REPOSITORY", help="Where they are.")
@click.option("--to", "target", metavar="REPOSITORY", help="Where they shall be.")
@click.option(
    "--missing",
    is_flag=True,
    help="Bring all repositories, or the one given, up to date with what they missed while they "
    "were away.",
)
@STORE_AS_OF
@click.pass_obj
def copy(
    run: Run, snapshots: tuple[str, ...], source: str | None, target: str | None, missing: bool
) -> int:
    """Copy snapshots, or all, from one repository to another.

    Only what is missing is read and encrypted anew; what is there already stays as it is. Stock
    restic and this program know of each other what was copied.
    """
    if missing:
        if snapshots or source:
            raise click.UsageError("--missing goes with --to alone")
        return _catch_up(run, target)
    if source is None or target is None:
        raise click.UsageError("--from and --to are wanted, or --missing")
    from strongroom.service.copying import copy as copy_between

    done = copy_between(run.application(), source, target, snapshots)
    run.result(
        done.as_json(), [*finding_lines(done.findings, all_of_them=run.verbose), _line(done)]
    )
    return done.exit_status


def _catch_up(run: Run, target: str | None) -> int:
    from strongroom.service.catching_up import catch_up_all

    application = run.application()
    done = catch_up_all(application, [target] if target is not None else [])
    lines = [*finding_lines(done.findings, all_of_them=run.verbose), *map(_line, done.copies)]
    run.result(done.as_json(), lines or ["Nothing is missing anywhere."])
    return done.exit_status


def _line(done: Copied) -> str:
    there = f", {done.present} were there" if done.present else ""
    return (
        f"Copied {count(len(done.snapshots), 'snapshot')} from {done.source} to {done.target}: "
        f"{size(done.added_bytes)} added in {span(done.seconds)}{there}"
    )
