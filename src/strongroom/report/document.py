"""A report in words: title, verdict, and sections of tables. Every rendering lays out this value.

So the page, the PDF file and the terminal cannot say different things. Invariant: each text is
`plain`: what others wrote in it can neither break out of its cell nor turn the direction of what
stands around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from strongroom.findings import Severity
from strongroom.model import Digests, Verdict
from strongroom.report.check import Check, worst
from strongroom.report.judgement import Judged, Report, State
from strongroom.report.wording import clock, count, plain, size, span

__all__ = ["Block", "Cell", "Document", "Facts", "Kind", "Section", "Table", "document_of"]

MOST_FINDINGS: Final = 12
MOST_GAPS: Final = 20
_SHORT_SECONDS: Final = 0.05
_DASH: Final = "–"


class Kind(StrEnum):
    """How a text is to be set."""

    TEXT = "text"
    NAME = "name"  # chosen by others, in any script
    NUMBER = "number"
    DIGEST = "digest"
    VERDICT = "verdict"
    SEVERITY = "severity"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Cell:
    """One text, of one or several lines, and small print below it."""

    text: str
    kind: Kind = Kind.TEXT
    small: str = ""

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below heads; the first cell of a row says what the row is about. `widths` are shares.
    `note` stands below, `empty` in the place of rows that don't exist."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    widths: tuple[int, ...]
    empty: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    facts: tuple[tuple[str, Cell], ...]


Block = Table | Facts


@dataclass(frozen=True, slots=True)
class Section:
    """A title and what stands below it."""

    title: str
    block: Block


@dataclass(frozen=True, slots=True)
class Document:
    """The whole. `alarm` is what must be seen first, empty when nothing must."""

    title: str
    subject: str
    made: str
    covers: str
    verdict: str
    because: str
    alarm: str
    sections: tuple[Section, ...]


def document_of(report: Report) -> Document:
    """The report in words."""
    zone = report.time_zone
    covers = "all records of the ledger"
    if report.drill is not None:
        covers = f"the drill of record {report.drill}"
    elif report.since is not None:
        covers = f"records since {_clock(report.since, zone)}"
    environment = f" ({report.environment})" if report.environment else ""
    alarm = ""
    if not report.chain.holds:
        alarm = f"THE LEDGER IS BROKEN: {plain(report.chain.faults[0])}. Nothing here is proven."
    return Document(
        "Evidence of recovery",
        plain(report.application) + environment,
        _clock(report.made_at, zone),
        covers,
        report.verdict.value,
        plain(report.because),
        alarm,
        (
            Section("What was proven", _proofs(report)),
            Section("How long it took", _stages(report)),
            Section("Digests of content", _digests(report)),
            Section("Objectives", _objectives(report)),
            *(
                [Section("All else that is to be in order", _checks(report))]
                if report.checks
                else []
            ),
            Section("Not proven", _gaps(report)),
            Section("Findings", _findings(report)),
            Section("Ledger and versions", _ledger(report)),
        ),
    )


def _clock(moment: datetime, zone: str) -> str:
    return f"{clock(moment, zone)} {zone}"


def _proofs(report: Report) -> Table:
    rows = [_proof_row(report, one) for one in report.proofs]
    known = {one.observation.source for one in report.proofs}
    rows += [
        (
            Cell(plain(one.name), Kind.NAME, one.kind),
            Cell(one.verdict.value, Kind.VERDICT),
            Cell(_DASH),
            Cell(_DASH),
            Cell(_DASH, small=plain(one.because)),
            Cell(_DASH, Kind.NUMBER),
        )
        for one in report.sources
        if one.name not in known
    ]
    zone = plain(report.time_zone)
    heads = (
        "Source",
        "Verdict",
        "From repository",
        f"Recovery point ({zone})",
        f"Brought back ({zone})",
        "Compared",
    )
    return Table(heads, tuple(rows), (12, 20, 20, 20, 19, 9), "No source is configured.")


def _proof_row(report: Report, judged: Judged) -> tuple[Cell, ...]:
    one, zone = judged.observation, report.time_zone
    snapshot = plain(one.snapshot[:8]) if one.snapshot else "no snapshot"
    tree = f", tree {plain(one.tree[:8])}" if one.tree else ""
    return (
        Cell(plain(one.source), Kind.NAME, plain(one.kind)),
        Cell(judged.verdict.value, Kind.VERDICT, plain(judged.because)),
        Cell(plain(one.repository) or _DASH, Kind.NAME, plain(one.location)),
        Cell(clock(one.captured_at, zone) if one.captured_at else _DASH, small=snapshot + tree),
        Cell(clock(one.at, zone), small=f"{one.action}, record {one.seq}"),
        Cell(f"{one.checked:,}", Kind.NUMBER, size(one.size_bytes)),
    )


def _stages(report: Report) -> Table:
    rows = []
    for judged in report.proofs:
        one = judged.observation
        long = [stage for stage in one.stages if stage.seconds >= _SHORT_SECONDS]
        parts = [f"{plain(stage.name)} {span(stage.seconds)}" for stage in long]
        if few := len(one.stages) - len(long):
            parts.append(f"{few} below 0.1 s")
        told = " · ".join(parts)
        rows.append(
            (
                Cell(plain(one.source), Kind.NAME),
                Cell(plain(one.repository) or _DASH, Kind.NAME),
                Cell(span(one.seconds), Kind.NUMBER),
                Cell(told or "no stage was recorded"),
            )
        )
    heads = ("Source", "From", "In all", "Stages")
    return Table(heads, tuple(rows), (12, 10, 9, 69), "Nothing was brought back.")


def _digests(report: Report) -> Table:
    places: dict[tuple[str, Digests | None], list[str]] = {}
    for judged in report.proofs:
        one = judged.observation
        places.setdefault((one.source, one.digests), []).append(plain(one.repository))
    rows = []
    for (source, digests), repositories in places.items():
        found = digests or Digests("", "", "not recorded")
        result = "equal" if found.agree else "DIFFERENT"
        if digests is None:
            result = "not computed"
        pair = f"{plain(found.expected) or _DASH}\n{plain(found.observed) or _DASH}"
        rows.append(
            (
                Cell(plain(source), Kind.NAME, ", ".join(repositories)),
                Cell(plain(found.of)),
                Cell(pair, Kind.DIGEST),
                Cell(result, Kind.STATE),
            )
        )
    heads = ("Source", "Digest of", "Expected, observed", "Result")
    return Table(heads, tuple(rows), (13, 27, 50, 10), "Nothing was compared.")


def _objectives(report: Report) -> Table:
    rows = tuple(
        (
            Cell(one.name),
            Cell(one.meaning),
            Cell(one.promised),
            Cell(one.observed),
            Cell(one.state.value.upper() if one.state is not State.MET else "met", Kind.STATE),
        )
        for one in report.objectives
    )
    heads = ("Objective", "What is measured", "Promised", "Observed", "Result")
    return Table(heads, rows, (13, 52, 10, 11, 14))


def _checks(report: Report) -> Table:
    """A row for each kind that is not well; the others by their names. While the ledger is broken,
    nothing but that and failures is worth a row."""
    shown = [one for one in report.checks if not one.is_well]
    if not report.chain.holds:
        shown = [one for one in shown if one.verdict is Verdict.FAILED]
    kinds: dict[str, list[Check]] = {}
    for one in shown:
        kinds.setdefault(one.name, []).append(one)
    rows = tuple(_check_row(bad, report.time_zone) for bad in kinds.values())
    titles = [one.kind.title for one in report.checks if one.name not in kinds]
    well = ", ".join(dict.fromkeys(titles))
    parts = [f"As it is to be: {well}."] if well else []
    if not report.chain.holds:
        parts = [f"Not known, since the ledger is broken: {well}."]
    left_out = ", ".join(f"{one.kind.title} {one.subject}".rstrip() for one in report.exempt)
    if left_out:
        parts.append(f"Not asked here: {left_out}.")
    heads = ("Check", "Verdict", "Observed", "What it means")
    return Table(heads, rows, (12, 12, 46, 30), "All of it is.", " ".join(parts))


def _check_row(bad: Sequence[Check], zone: str) -> tuple[Cell, ...]:
    verdict = worst(one.verdict for one in bad)
    known = [one.since for one in bad if one.since is not None]
    told = "\n".join(
        plain(f"{one.subject}: {one.observed}" if one.subject else one.observed) for one in bad
    )
    since = f"since {_clock(min(known), zone)}" if known else ""
    kind = bad[0].kind
    return (
        Cell(kind.title),
        Cell(verdict.value, Kind.VERDICT),
        Cell(told, small=since),
        Cell(kind.meaning),
    )


def _gaps(report: Report) -> Table:
    whys: dict[str, list[str]] = {}
    for one in report.gaps[:MOST_GAPS]:
        whys.setdefault(plain(one.subject), []).append(plain(one.why))
    rows = tuple((Cell(name, Kind.NAME), Cell("\n".join(told))) for name, told in whys.items())
    more = len(report.gaps) - MOST_GAPS
    note = f"… and {more} more; `strongroom report --json` has them all." if more > 0 else ""
    return Table(("Subject", "Why"), rows, (13, 87), "Nothing is left.", note)


def _findings(report: Report) -> Table:
    told = [one for one in report.findings if one[1].severity is not Severity.NOTE]
    rows = tuple(
        (
            Cell(found.severity.value, Kind.SEVERITY),
            Cell(plain(found.code), small=plain(source)),
            Cell(plain(found.subject), Kind.NAME, plain(found.message)),
            Cell(plain(found.meaning), small=plain(found.remedy)),
        )
        for source, found in told[:MOST_FINDINGS]
    )
    left = len(told) - len(rows) + report.findings_left_out
    notes = len(report.findings) - len(told)
    parts = [f"{left} more in the ledger"] if left else []
    parts += [count(notes, "note") + " that change nothing"] if notes else []
    note = f"And {' and '.join(parts)}." if parts else ""
    heads = ("Severity", "Finding", "About, and what was observed", "What it means, what to do")
    return Table(heads, rows, (10, 17, 36, 37), "None.", note)


def _ledger(report: Report) -> Facts:
    return Facts(tuple(_ledger_facts(report)))


def _ledger_facts(report: Report) -> Iterator[tuple[str, Cell]]:
    chain = report.chain
    holds = f"holds from the first to the last of {count(chain.records, 'record')}"
    if not chain.holds:
        holds = f"IS BROKEN: {plain('; '.join(chain.faults[:3]))}"
    yield "Chain", Cell(holds)
    yield "Head", Cell(plain(chain.head_hash) or _DASH, Kind.DIGEST)
    yield "Copies", Cell(_compared(chain.compared, chain.uncompared))
    if report.config_digests:
        digests = "\n".join(map(plain, report.config_digests))
        yield "Configuration", Cell(digests, Kind.DIGEST)
    by = dict.fromkeys(plain(one.observation.by) for one in report.proofs if one.observation.by)
    if by:
        yield "Brought back by", Cell(", ".join(by), Kind.NAME)
    if report.versions:
        told = " · ".join(
            f"{_VERSIONS.get(name, plain(name))} {plain(version)}"
            for name, version in report.versions
        )
        yield "Versions", Cell(told)


_VERSIONS: Final = {
    "strongroom": "Strongroom",
    "python": "Python",
    "host": "host",
    "postgresql_source": "PostgreSQL of the source",
    "postgresql_target": "PostgreSQL of the target",
}


def _compared(compared: Sequence[str], uncompared: Sequence[str]) -> str:
    same = f"compared with that in {', '.join(map(plain, compared))}" if compared else ""
    away = f"not compared with {', '.join(map(plain, uncompared))}" if uncompared else ""
    return "; ".join(one for one in (same, away) if one) or "not compared with any"
