"""The published detection rate: docs/DETECTION.md, and the README's lines about it.

Made from the rows as they are declared, so that tests can say whether the page is current; a date
is put on it only by a run in which every row came out as declared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.corpus.model import Fault
from tests.corpus.real import SCHEMAS, Schema
from tests.corpus.rows import FAULTS, GROUPS, NOT_YET, WAYS

NOTE: Final = "<!-- Made by `make faults`; rows stand in tests/corpus. -->\n"
BEGIN, END = "<!-- detection: begin -->", "<!-- detection: end -->"
_MEASURED: Final = re.compile(
    r"^Measured on (?P<day>\S+) with version (?P<version>\S+)\.$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The day and the version of a run in which all was as declared."""

    day: str
    version: str

    @staticmethod
    def of(text: str) -> Measured:
        """What a page says of itself; ValueError when it says nothing."""
        found = _MEASURED.search(text)
        if found is None:
            raise ValueError("the page names no run")
        return Measured(found["day"], found["version"])


def detection_page(measured: Measured) -> str:
    """The whole page."""
    withstood = sum(one.is_withstood for one in FAULTS)
    parts = [
        NOTE,
        "# Detection rate\n",
        "Ways in which backups lie, each made against real parts: PostgreSQL servers,",
        "repositories on disks and in S3, files, Git repositories. A fault counts as *detected*",
        "when the command that should see it ends as the table says, with these codes and no",
        "others that count; as *withstood* when it must end well and nothing is lost. Each has a",
        "healthy twin: the same steps without the fault, which must raise no alarm. A code is that",
        "of a finding, of an error, or of a check that is not well. Where time has to pass, the",
        "times in all records are set back.\n",
        f"Measured on {measured.day} with version {measured.version}.\n",
        f"**{len(FAULTS)} of {len(FAULTS)} faults: {len(FAULTS) - withstood} detected, {withstood}"
        f" withstood. 0 false alarms of {len(WAYS)} healthy twins and {len(SCHEMAS)} databases that"
        f" nobody here wrote. {len(NOT_YET)} faults of the list are not detected yet.**\n",
        *_summary(),
        "",
    ]
    for group in GROUPS:
        parts += [f"## {group}\n", *_table(one for one in FAULTS if one.group == group), ""]
    parts += [
        *_not_yet(),
        "## Databases that nobody here wrote\n",
        "Captured, loaded and drilled: PROVEN. What is told of one is true of it as its authors",
        "ship it, and no other warning comes. What others' schemas hold that can't be proven is in",
        "[LIMITS](LIMITS.md).\n",
        "| Database | From | Told of it |",
        "|---|---|---|",
        *(f"| {one.name} | {one.origin} | {_told(one)} |" for one in SCHEMAS),
        "",
    ]
    return "\n".join(parts)


def _not_yet() -> list[str]:
    if not NOT_YET:
        return []
    return [
        "## Not yet\n",
        "Known, on the list, and not counted above.\n",
        "| Fault | Group | Why |",
        "|---|---|---|",
        *(f"| {one.name} | {one.group} | {one.because} |" for one in NOT_YET),
        "",
    ]


def _told(schema: Schema) -> str:
    told = [f"`{code}`" for code in sorted(schema.told)]
    if schema.elsewhere:
        told.append("foreign tables, which the configuration says are protected elsewhere")
    return "; ".join(told)


def _summary() -> list[str]:
    rows = ["| Group | Faults | Detected | Withstood | Not yet |", "|---|---|---|---|---|"]
    for group in GROUPS:
        faults = [one for one in FAULTS if one.group == group]
        withstood = sum(one.is_withstood for one in faults)
        later = sum(one.group == group for one in NOT_YET)
        rows.append(
            f"| {group} | {len(faults)} | {len(faults) - withstood} | {withstood} | {later} |"
        )
    return rows


def _table(faults: Iterable[Fault]) -> list[str]:
    rows = ["| Fault | Seen by | Code | Verdict |", "|---|---|---|---|"]
    for one in faults:
        codes = ", ".join(f"`{code}`" for code in one.codes) or "—"
        outcome = f"{one.outcome}, nothing lost" if one.is_withstood else one.outcome
        rows.append(f"| {one.name} | {one.rung} | {codes} | {outcome} |")
    return rows


def readme_rows(measured: Measured) -> str:
    """The README's table, between its two marks."""
    rows = [
        f"| Faults made on purpose, {measured.day}: [each of them](docs/DETECTION.md) "
        "| Detected or withstood | False alarms |",
        "|---|---|---|",
    ]
    for group in GROUPS:
        faults = [one for one in FAULTS if one.group == group]
        twins = len({one.way for one in faults})
        later = sum(one.group == group for one in NOT_YET)
        open_ones = f"; {later} more not yet" if later else ""
        counts = f"{len(faults)} of {len(faults)}{open_ones}"
        rows.append(f"| {group} | {counts} | 0 of {twins} healthy twins |")
    rows.append(
        f"| {len(SCHEMAS)} databases that nobody here wrote, from Debian, npm and PyPI: PROVEN "
        f"| | 0 of {len(SCHEMAS)} |"
    )
    return "\n".join(rows)


def with_rows(readme: str, measured: Measured) -> str:
    """The README with the current table; ValueError when its marks are gone."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the README has lost the marks of its detection table")
    return f"{before}{BEGIN}\n{readme_rows(measured)}\n{END}{after}"
