"""`backup`: one recovery point of all sources, or of the named ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import coloured, count, finding_lines, plain, size, span, table

if TYPE_CHECKING:
    from strongroom.service.backup import BackupReport


@click.command(
    cls=Command,
    follows="capture",
    examples=("strongroom backup", "strongroom backup uploads --json"),
)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.pass_obj
def backup(run: Run, sources: tuple[str, ...]) -> int:
    """Capture sources into every repository, as one recovery point.

    Without names: all of them, the database first, then files, then code. Each is read once,
    whatever the number of repositories. A source that fails does not stop the others; the exit
    status is 3 when something that was to be captured is not in the snapshot, or in too few
    repositories. Advice, such as uncommitted changes, leaves it 0. A capture of all sources tells
    the dead man's switch that `monitoring.ping` names.
    """
    from strongroom.service.backup import backup as capture
    from strongroom.service.ping import with_pings

    application = run.application()
    report = with_pings(application, sources, lambda: capture(application, sources))
    run.result(report.as_json(), lines(report, verbose=run.verbose))
    return report.exit_status


def lines(report: BackupReport, *, verbose: bool) -> Iterator[str]:
    """What people read of a recovery point."""
    yield f"Recovery point {report.point.id} of {report.point.application}"
    rows = [
        (
            one.source,
            one.repository,
            one.id[:8],
            size(one.bytes),
            size(one.added_bytes),
            span(one.seconds),
        )
        for one in report.point.snapshots
    ]
    heads = ("SOURCE", "REPOSITORY", "SNAPSHOT", "SIZE", "ADDED", "TIME")
    yield from table(heads, rows, right="SIZE ADDED TIME")
    for name, error in report.errors:
        yield f"  {coloured('failure')}  {error.code}  {name}: {plain(str(error))}"
        yield f"           {plain(error.hint)}"
    yield from finding_lines(report.point.findings, all_of_them=verbose)
    captured, wanted = len(report.captured), len(report.wanted)
    yield f"Captured {captured} of {count(wanted, 'source')} in {span(report.seconds)}."
