"""`undelete`: rows that somebody deleted or changed, as SQL to read first, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.browse import REPOSITORY
from strongroom.cli.command import REASON, STORE_AS_OF, Command
from strongroom.cli.restore import AT, SNAPSHOT
from strongroom.cli.run import Run
from strongroom.cli.text import clock, count, finding_lines, hint, plain, size, span

if TYPE_CHECKING:
    from strongroom.service.application import Application
    from strongroom.service.undelete import RowsFound, UndeleteReport


@click.command(
    cls=Command,
    examples=(
        'strongroom undelete database public.invoices --where "customer_id = 17" > back.sql',
        "strongroom undelete database invoices --with-children --apply --reason 'Ticket 17'",
    ),
)
@click.argument("source")
@click.argument("table")
@click.option(
    "--where",
    metavar="SQL",
    help="Only rows for which this holds in the snapshot, written as after WHERE.",
)
@SNAPSHOT
@AT
@click.option(
    "--target",
    metavar="URL",
    help="The live database, where it is not the source's own, or as a role that may write there: "
    "a URL without password, or a reference such as env:NAME.",
)
@click.option("--changed", is_flag=True, help="Set rows back, too, that were changed since.")
@click.option(
    "--with-children",
    "children",
    is_flag=True,
    help="Put back, too, what was deleted with rows that it belonged to.",
)
@click.option("--apply", "apply_it", is_flag=True, help="Do it, in one transaction.")
@click.option(
    "--expect",
    metavar="SHA256",
    help="With --apply: only if the SQL is still the one with this digest (or beginning of it).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the SQL here, which must not exist, instead of to standard output.",
)
@REASON
@REPOSITORY
@STORE_AS_OF
@click.pass_obj
def undelete(
    run: Run,
    source: str,
    table: str,
    where: str | None,
    snapshot: str,
    at: str | None,
    target: str | None,
    changed: bool,
    children: bool,
    apply_it: bool,
    expect: str | None,
    output: Path | None,
    reason: str,
    repository: str | None,
) -> int:
    """Put back rows of a table that were deleted since a snapshot.

    Prints the SQL that does it, for you to read: rows that are gone, with the parents that they
    need. The live database is only read, until --apply puts the rows back in one transaction, which
    ends without any change should they have moved meanwhile.
    """
    from strongroom.service.selection import parse_moment
    from strongroom.service.undelete import Request
    from strongroom.service.undelete import undelete as put_back

    if expect is not None and not apply_it:
        raise click.UsageError("--expect goes with --apply")
    application = run.application()
    zone = application.settings.schedule.time_zone
    report = put_back(
        application,
        source,
        Request(table, where, target, changed, children, apply_it, expect, output, reason),
        snapshot=snapshot,
        repository=repository,
        at=parse_moment(at, zone) if at else None,
    )
    lines = list(_lines(application, report, verbose=run.verbose))
    is_printed = not (run.json or report.applied or report.output) and report.sql
    if not is_printed:
        run.result(report.as_json(), lines)
        return report.exit_status
    for line in lines:
        run.tell(line)
    run.verbatim(report.sql or "")
    return report.exit_status


def _lines(application: Application, report: UndeleteReport, *, verbose: bool) -> Iterator[str]:
    zone = application.settings.schedule.time_zone
    when = f"{clock(report.captured_at, zone)} {zone}"
    which = f"snapshot {report.snapshot[:8]} ({report.repository}, {when})"
    yield f"Compared {count(report.compared, 'row')} of {plain(report.table)} with {which}"
    if not report.found:
        yield "Nothing of it is gone or changed."
    for one in report.found:
        yield f"  {_found(one)}"
    yield from finding_lines(report.findings, all_of_them=True)
    if verbose:
        for stage in report.stages:
            yield f"  {stage.name:<24} {span(stage.seconds):>10}"
    if report.applied:
        set_back = f", {count(report.updated, 'row')} set back" if report.updated else ""
        yield f"Put back {count(report.inserted, 'row')}{set_back}; all of it is committed."
    elif report.output is not None:
        yield f"Wrote {report.output} ({size(report.sql_bytes)}), SHA-256 {report.sha256}"
    elif report.sql is None:
        yield from hint(f"The SQL has {size(report.sql_bytes)}: give --output FILE.")
    elif report.sha256 is not None:
        yield f"The SQL, of SHA-256 {report.sha256}, puts back what is marked with +"


_BECAUSE = {"asked": "", "parent": ", which others need", "child": ", with its parents"}


def _found(one: RowsFound) -> str:
    sign = "+" if one.included else " "
    what = "gone" if one.state == "missing" else "changed"
    return f"{sign} {count(one.rows, 'row')} of {plain(one.table)} {what}{_BECAUSE[one.because]}"
