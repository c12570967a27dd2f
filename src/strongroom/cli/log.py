"""`log`: who did what and what was seen, whether that is what was written, and its export.

`report`: what it all amounts to, on one page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import (
    clock,
    coloured,
    count,
    finding_lines,
    hint_lines,
    plain,
    size,
    table,
)
from strongroom.model import Verdict

if TYPE_CHECKING:
    from strongroom.evidence import Entry
    from strongroom.service.application import Application
    from strongroom.service.history import History, Verification

_TIME = "TIME, or how long ago, such as 7d"
# More of a result makes the lines of all others as long; --verbose and exports have the whole.
_MOST_RESULT = 60


@click.command(
    cls=Command,
    examples=(
        "strongroom log --action drill --since 90d",
        "strongroom log --command restore --since 30d --export restores.csv --format csv",
    ),
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    metavar="NAME",
    help="Only records of this kind, such as backup or drill; may be repeated.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    help="Only those about this source; may be repeated.",
)
@click.option("--since", metavar="TIME", help=f"Only those from then on: {_TIME}.")
@click.option("--until", metavar="TIME", help=f"Only those before: {_TIME}.")
@click.option(
    "--verdict",
    type=click.Choice(list(Verdict.__members__), case_sensitive=False),
    help="Only those with this verdict.",
)
@click.option("--by", default="", metavar="TEXT", help="Only those by whom this is a part of.")
@click.option(
    "--command",
    "commands",
    multiple=True,
    metavar="NAME",
    help="Only those of runs of this command, such as restore or key; may be repeated.",
)
@click.option("--failed", is_flag=True, help="Only those of what failed, or has no end.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option(
    "--verify",
    "verifying",
    is_flag=True,
    help="List nothing: check every line, and compare with the copies in all repositories.",
)
@click.option(
    "--export",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the records to a file, which must not exist.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["json", "csv", "junit"]),
    default="json",
    show_default=True,
    help="Of the file: all records, also for a spreadsheet, or proofs for a CI server.",
)
@click.pass_obj
def log(
    run: Run,
    actions: tuple[str, ...],
    sources: tuple[str, ...],
    since: str | None,
    until: str | None,
    verdict: str | None,
    by: str,
    commands: tuple[str, ...],
    failed: bool,
    limit: int | None,
    verifying: bool,
    output: Path | None,
    file_format: str,
) -> int:
    """List what was done and seen, by whom, and how it ended; newest last.

    The ledger is append-only, and each record is sealed to the one before. With --verify exit
    status 0 means that it is what was written; 37 that it is not; 3 that it is, as far as could be
    compared. As junit, drills are written, or what --action names. With --verbose from where each
    command was run, too, and each result in full.
    """
    from strongroom.service.history import Wanted, history, verify

    application = run.application()
    zone = application.settings.schedule.time_zone
    chosen = (actions, sources, since, until, verdict, by, commands, failed, limit, output)
    if verifying:
        if any(chosen):
            raise click.UsageError("--verify is about the whole ledger: it takes no choice")
        checked = verify(application)
        run.result(checked.as_json(), _verified_lines(application, checked))
        return checked.exit_status
    if output is not None and file_format == "junit" and not actions:
        actions = ("drill", "application-drill")
    now = datetime.now(UTC)
    wanted = Wanted(
        actions,
        sources,
        _moment(since, zone, now),
        _moment(until, zone, now),
        Verdict(verdict) if verdict else None,
        limit,
        by,
        commands,
        failed,
    )
    found = history(application, wanted)
    if output is not None:
        return _export(run, found, output, file_format)
    nothing = "There is no such record." if any(chosen) else "Nothing is recorded yet."
    run.result(found.as_json(), _listed_lines(found, zone, verbose=run.verbose) or [nothing])
    return found.exit_status


def _export(run: Run, found: History, output: Path, file_format: str) -> int:
    from strongroom.service.evidence_report import export_history

    written = export_history(found, output, file_format)
    number = len(found.observations) if file_format == "junit" else len(found.entries)
    document = {
        "output": str(output),
        "format": file_format,
        "bytes": written,
        "records": number,
        "findings": [one.as_json() for one in found.findings],
    }
    lines = finding_lines(found.findings)
    lines.append(f"Wrote {output}: {count(number, 'record')}, {size(written)}")
    run.result(document, lines)
    return found.exit_status


def _listed_lines(found: History, zone: str, *, verbose: bool) -> list[str]:
    heads = ["RECORD", f"TIME ({zone})", "ACTION", "ABOUT", "RESULT", "BY"]
    most = None if verbose else _MOST_RESULT
    rows = [_row(one, zone, most, unended=one.seq in found.unended) for one in found.entries]
    if verbose:
        heads.append("FROM")
        for row, one in zip(rows, found.entries, strict=True):
            row.append(plain(str(one.fields.get("from") or "-")))
    lines = table(heads, rows, right="RECORD") if rows else []
    left = found.matching - len(found.entries)
    if left:
        lines.append(f"{count(left, 'older record')} not shown")
    if found.findings:
        lines += finding_lines(found.findings)
        lines.append("The ledger is BROKEN: this is what can still be read of it.")
    return lines


def _row(entry: Entry, zone: str, most: int | None, *, unended: bool) -> list[str]:
    from strongroom.service.history import told

    about, result = told(entry, unended=unended)
    result = plain(result)
    if most is not None and len(result) > most:
        result = result[: most - 1] + "…"
    by = entry.fields.get("by")
    return [
        str(entry.seq),
        clock(entry.at, zone),
        plain(entry.kind),
        plain(about),
        coloured(result),
        plain(by) if isinstance(by, str) else "-",
    ]


def _verified_lines(application: Application, checked: Verification) -> Iterator[str]:
    yield from finding_lines(checked.findings)
    yield from hint_lines(checked.findings)
    for name in checked.compared:
        yield f"{name}: its copy was compared"
    for name, why in checked.uncompared:
        yield f"{name}: not compared: {plain(why)}"
    head = f", head {checked.head_hash}" if checked.head_hash else ""
    word = click.style("whole", fg="green") if checked.holds else click.style("BROKEN", fg="red")
    yield f"{application.ledger.path}: {word}, {count(checked.records, 'record')}{head}"


@click.command(
    cls=Command,
    examples=(
        "strongroom report --output evidence.pdf --since 90d",
        "strongroom report --output drill.html --drill 17",
    ),
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write, as .html or .pdf; it must not exist. Without it, text.",
)
@click.option("--since", metavar="TIME", help=f"Only proofs from then on: {_TIME}.")
@click.option(
    "--drill",
    "seq",
    type=click.IntRange(min=1),
    metavar="RECORD",
    help="Only the drill that this record of the ledger belongs to.",
)
@click.pass_obj
def report(run: Run, output: Path | None, since: str | None, seq: int | None) -> int:
    """Write the evidence on one page, for an auditor.

    What was proven, when, from where and how long it took; what was not proven; the objectives;
    and whether the ledger that says so is what was written. Exit status 0 when all is proven and
    promised, 40 when it is STALE or an objective is missed, 41 when it FAILED, 42 when it is
    UNKNOWN; the page is written in any case.
    """
    from strongroom.service.evidence_report import evidence_report

    if since is not None and seq is not None:
        raise click.UsageError("--since and --drill exclude each other.")
    application = run.application()
    zone = application.settings.schedule.time_zone
    now = datetime.now(UTC)
    made = evidence_report(application, output, since=_moment(since, zone, now), drill=seq, now=now)
    lines: Sequence[str] = list(made.lines())
    if output is not None:
        verdict = coloured(made.report.verdict.value)
        lines = [f"{verdict}  {plain(made.report.because)}", f"Wrote {output}"]
    run.result(made.as_json(), lines)
    return made.exit_status


def _moment(text: str | None, zone: str, now: datetime) -> datetime | None:
    """A time, or how long ago; ConfigError `usage` when it is neither."""
    from strongroom.config.value import parse_duration
    from strongroom.service.selection import parse_moment

    if text is None:
        return None
    try:
        return now - parse_duration(text.strip())
    except (ValueError, OverflowError):
        return parse_moment(text, zone)
