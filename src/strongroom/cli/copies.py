"""`copy`: what is in one repository comes into another."""

from __future__ import annotations

import click

from strongroom.cli.command import STORE_AS_OF, Command
from strongroom.cli.run import Run
from strongroom.cli.text import count, finding_lines, size, span


@click.command(
    cls=Command,
    examples=(
        "strongroom copy --from local --to offsite",
        "strongroom copy 1a2b3c4d --from offsite --to local",
    ),
)
@click.argument("snapshots", nargs=-1, metavar="[SNAPSHOT]...")
@click.option("--from", "source", required=True, metavar="REPOSITORY", help="Where they are.")
@click.option("--to", "target", required=True, metavar="REPOSITORY", help="Where they shall be.")
@STORE_AS_OF
@click.pass_obj
def copy(run: Run, snapshots: tuple[str, ...], source: str, target: str) -> int:
    """Copy snapshots, or all, from one repository to another.

    Only what is missing is read and encrypted anew; what is there already stays as it is. Stock
    restic and this program know of each other what was copied.
    """
    from strongroom.service.copying import copy as copy_between

    done = copy_between(run.application(), source, target, snapshots)
    there = f", {done.present} were there" if done.present else ""
    lines = [
        *finding_lines(done.findings, all_of_them=run.verbose),
        f"Copied {count(len(done.snapshots), 'snapshot')} from {source} to {target}: "
        f"{size(done.added_bytes)} added in {span(done.seconds)}{there}",
    ]
    run.result(done.as_json(), lines)
    return done.exit_status
