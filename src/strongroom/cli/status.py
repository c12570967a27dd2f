"""`status`: is everything as promised? For people, scripts, Nagios and the application itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run, redact, write_out
from strongroom.cli.text import age, clock, coloured, hint, plain, table, wrapped

if TYPE_CHECKING:
    from strongroom.report.check import Check
    from strongroom.report.judgement import SourceLine
    from strongroom.service.status import StatusReport


@click.command(cls=Command, examples=("strongroom status", "strongroom status --nagios"))
@click.option(
    "--nagios",
    is_flag=True,
    help="One line with numbers, and exit status 0 to 3, as plugins of Nagios have them.",
)
@click.option(
    "--write",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also replace this file, in one step, by a JSON document for the application.",
)
@click.pass_obj
def status(run: Run, nagios: bool, output: Path | None) -> int:
    """Say whether everything is as promised, and what to do where it is not.

    It tells what this host's ledger knows and opens no repository. Exit status 0 when all is
    proven and promised, 40 when something is STALE or an objective is missed, 41 when something
    FAILED, 42 when it is UNKNOWN.
    """
    from strongroom.errors import StrongroomError

    if nagios and run.json:
        raise click.UsageError("--nagios and --json exclude each other.")
    if not nagios:
        return _status(run, output)
    from strongroom.report.nagios import EXIT_NOBODY_KNOWS, nagios_line, nagios_unknown

    try:
        found = _judged(run, output)
    except StrongroomError as error:
        write_out(redact(nagios_unknown(str(error))) + "\n")
        return EXIT_NOBODY_KNOWS
    status, line = nagios_line(found.report)
    write_out(redact(line) + "\n")
    return status


def _judged(run: Run, output: Path | None) -> StatusReport:
    from strongroom.service.status import status, write_status

    found = status(run.application(), datetime.now(UTC))
    if output is not None:
        write_status(found, output)
    return found


def _status(run: Run, output: Path | None) -> int:
    found = _judged(run, output)
    run.result(found.as_json(), lines_of_status(found, verbose=run.verbose))
    return found.exit_status


def lines_of_status(found: StatusReport, *, verbose: bool) -> Iterator[str]:
    """What people read: the whole, each source, the objectives, and what is not as it is to be."""
    report = found.report
    name = f"{report.application} ({report.environment})"
    yield f"{name}: {coloured(report.verdict.value)}"
    yield from wrapped(plain(report.because))
    yield ""
    heads = ["SOURCE", "VERDICT", "CAPTURED", "PROVEN", "COPIES"]
    yield from table(heads, [_row(found, one) for one in report.sources])
    yield ""
    for objective in report.objectives:
        state = click.style(objective.state.value, fg="green")
        if objective.state.value != "met":
            state = click.style(objective.state.value.upper(), fg="yellow")
        yield f"{objective.name}: {objective.observed} of {objective.promised}, {state}"
    bad = [one for one in report.checks if not one.is_well]
    for _, alike in groupby(bad, lambda one: one.name):
        yield ""
        yield from _check_lines(list(alike), report.time_zone)
    well = dict.fromkeys(
        one.kind.title
        for one in report.checks
        if one.kind.title not in {each.kind.title for each in bad}
    )
    if well:
        yield ""
        yield from wrapped(f"As it is to be: {', '.join(well)}.")
    if verbose:
        yield from _verbose_lines(found)
    yield f"This holds until {clock(found.valid_until, report.time_zone)} {report.time_zone}."


def _row(found: StatusReport, one: SourceLine) -> list[str]:
    report = found.report
    captured = one.capture.begun_at if one.capture is not None else None
    proven = one.proof.observation.at if one.proof is not None and one.is_proven else None
    return [
        one.name,
        coloured(one.verdict.value),
        f"{age(report.made_at - captured)} ago" if captured is not None else "never",
        f"{age(report.made_at - proven)} ago" if proven is not None else "never",
        ", ".join(found.copies.get(one.name, ())) or "none",
    ]


def _check_lines(alike: Sequence[Check], zone: str) -> Iterator[str]:
    """Checks of one kind: what is so of each, then what that means and what to do."""
    for one in alike:
        about = f" ({one.subject})" if one.subject else ""
        since = f", since {clock(one.since, zone)}" if one.since is not None else ""
        yield f"{coloured(one.verdict.value)}  {one.kind.title}{about}{since}"
        yield from wrapped(plain(one.observed), "  ")
    yield from wrapped(alike[0].kind.meaning, "  ")
    yield from hint(alike[0].kind.remedy, "  ")


def _verbose_lines(found: StatusReport) -> Iterator[str]:
    yield ""
    for one in found.report.checks:
        if one.is_well:
            about = f" ({one.subject})" if one.subject else ""
            first, *others = wrapped(f"{one.kind.title}{about}: {plain(one.observed)}", "        ")
            yield f"{coloured(one.verdict.value)}{first[6:]}"
            yield from others
    for exempt in found.report.exempt:
        about = f" ({exempt.subject})" if exempt.subject else ""
        first, *others = wrapped(f"{exempt.kind.title}{about}: {plain(exempt.because)}", "        ")
        yield f"-{first[1:]}"
        yield from others
