"""`verify`: the procedures' checklists, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command
from strongroom.cli.run import Run
from strongroom.cli.text import coloured, finding_lines, hint, plain, wrapped

if TYPE_CHECKING:
    from strongroom.service.verification import Line, Verified

_INDENT = "    "
_LISTS = ("daily", "weekly", "monthly")


@click.command(cls=Command, examples=("strongroom verify daily", "strongroom --json verify weekly"))
@click.argument("checklist", type=click.Choice(_LISTS), metavar="daily|weekly|monthly")
@click.pass_obj
def verify(run: Run, checklist: str) -> int:
    """Go through a checklist of the procedures, line by line, each with its evidence.

    Stores are asked whether they answer and how much room they have; the monthly list also holds
    the ledger against its copies. What came out is recorded. Exit status 0 when every line is
    well, 40 when one is STALE or not as promised, 41 when one FAILED, 42 when one is UNKNOWN.
    """
    from strongroom.report.check import Checklist
    from strongroom.service.verification import verify as go_through

    found = go_through(run.application(), Checklist(checklist), datetime.now(UTC))
    run.result(found.as_json(), lines_of_list(found))
    return found.exit_status


def lines_of_list(found: Verified) -> Iterator[str]:
    """A checklist as people tick it off."""
    report = found.report
    yield f"{report.application}, {found.checklist.value} list: {coloured(found.verdict.value)}"
    for line in found.lines:
        yield ""
        yield from _line_lines(line)
    yield from finding_lines(found.findings)
    if found.evidence is not None:
        yield ""
        yield f"Recorded as {found.evidence.seq}."


def _line_lines(line: Line) -> Iterator[str]:
    word = coloured(line.verdict.value) if line.verdict is not None else "-"
    well = line.verdict is not None and all(one.is_well for one in line.checks)
    box = "[x]" if well else "[ ]"
    numbers = ", ".join(map(str, line.records))
    evidence = f" (record {numbers})" if numbers else ""
    yield f"{box} {line.kind.line}: {word}{evidence}"
    for one in line.checks:
        about = f"{one.subject}: " if one.subject else ""
        mark = "" if one.is_well or len(line.checks) == 1 else f"{one.verdict.value}  "
        yield from wrapped(f"{mark}{about}{plain(one.observed)}", _INDENT)
    for text in line.left_out:
        yield from wrapped(f"not asked: {plain(text)}", _INDENT)
    if not line.checks and not line.left_out:
        yield from wrapped(line.observed, _INDENT)
    if line.checks and not well:
        yield from wrapped(line.kind.meaning, _INDENT)
        yield from hint(line.kind.remedy, _INDENT)
