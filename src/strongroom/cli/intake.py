"""`import`: dumps and archives from before become snapshots of their date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import NOTED_REASON, Command
from strongroom.cli.run import Run
from strongroom.cli.text import coloured, count, finding_lines, plain, size

if TYPE_CHECKING:
    from strongroom.service.importing import Imported, ImportReport


@click.command(
    name="import",
    cls=Command,
    examples=(
        "strongroom import /backup/tms/uploads_*.tar.gz --source uploads",
        "strongroom import backup.sql --source database --captured-at '2026-01-28 02:00'",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--source", required=True, metavar="NAME", help="The source that they are of.")
@click.option(
    "--captured-at",
    metavar="TIME",
    help="Of which moment the file is; without it its name tells (20260128, 2026-01-28_0200), then "
    "what is in it, then its own time.",
)
@click.option(
    "--again", is_flag=True, help="Also what was imported before, by the digest of the file."
)
@click.option(
    "--incomplete",
    is_flag=True,
    help="Store a dump although statements of it cannot be loaded, each of which is told.",
)
@click.option(
    "--database", metavar="NAME", help="Which one, of a dump of a whole server with several."
)
@click.option(
    "--root",
    metavar="FOLDER",
    help="Which folder of an archive is the source's, where that is not certain.",
)
@NOTED_REASON
@click.option(
    "-r", "--repository", metavar="NAME", help="Into this repository only; else into all."
)
@click.pass_obj
def import_(
    run: Run,
    files: tuple[Path, ...],
    source: str,
    captured_at: str | None,
    again: bool,
    incomplete: bool,
    database: str | None,
    root: str | None,
    repository: str | None,
) -> int:
    """Take in the dumps and archives of before, as snapshots of their date.

    For a database: plain SQL, pg_dump's custom, directory and tar formats, the Supabase CLI's
    files; for files: tar and zip. All may be compressed. Each is read to its end and loaded into a
    sandbox first; one that was cut is refused.
    """
    from strongroom.service.importing import ImportOptions, import_files
    from strongroom.service.selection import parse_moment

    application = run.application()
    zone = application.settings.schedule.time_zone
    options = ImportOptions(
        captured_at=parse_moment(captured_at, zone) if captured_at else None,
        repository=repository,
        again=again,
        incomplete=incomplete,
        database=database,
        root=root,
    )
    report = import_files(application, files, source, options)
    run.result(report.as_json(), _lines(report, verbose=run.verbose))
    return report.exit_status


def _lines(report: ImportReport, *, verbose: bool) -> Iterator[str]:
    for one in report.imported:
        yield from _imported_lines(one)
        yield from finding_lines(one.findings, all_of_them=verbose)
    for there in report.present:
        ids = ", ".join(sorted({snapshot[:8] for _, snapshot in there.snapshots}))
        known = f"snapshot {ids}" if ids else "named twice"
        yield f"{plain(there.given.name)}: already imported ({known}); --again does it once more"
    for name, error in report.errors:
        yield f"{plain(name)}: {coloured('failure')}  {plain(error.message)}"
        yield f"  {coloured('hint')}  {plain(error.hint)}"
    yield from finding_lines(report.findings, all_of_them=verbose)
    told = [
        f"{count(len(group), 'file')} {word}"
        for group, word in (
            (report.imported, "imported"),
            (report.present, "already there"),
            (report.errors, "refused"),
        )
        if group
    ]
    yield ", ".join(told)


def _imported_lines(one: Imported) -> Iterator[str]:
    surveyed = one.surveyed
    server = f", PostgreSQL {one.server}" if one.server else ""
    yield (
        f"{plain(surveyed.given.name)}: {surveyed.format}, {size(surveyed.size_bytes)}"
        f"{server}; of {surveyed.dated.at:%Y-%m-%d %H:%M} UTC, by {surveyed.dated.by}"
    )
    fates = {fate.snapshot: fate for fate in one.fates}
    for ref in one.snapshots:
        fate = fates.get(ref.id)
        told = ""
        if fate is not None:
            word = "retention keeps it" if fate.keep else "retention will drop it"
            told = f"; {word}: {', '.join(fate.because)}"
        yield f"  {ref.repository}: snapshot {ref.id[:8]}, {size(ref.bytes)}{told}"
