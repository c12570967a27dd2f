"""The procedures' checklists, line by line: what is observed, its worth, and the records of it.

Unlike `status` it asks the stores: how much room there is and whether they answer, and each month
whether the ledger is what its copies hold. What was found is recorded, and so evidence itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict
from strongroom.report.check import CHECK_KINDS, Check, CheckKind, Checklist, worst
from strongroom.report.history import Reach, Space
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.observation import Evidence
from strongroom.service.application import Application
from strongroom.service.gathering import EXITS, gather, gather_here, promise_of
from strongroom.service.rendering import time_json
from strongroom.service.room import Answer, ask_stores, room_json

__all__ = ["Line", "Verified", "lines_of", "verdict_of", "verify"]

RECORD: Final = "verify"
_MOST_TEXT: Final = 400


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a checklist. `verdict` is None where nothing of it applies here; `checks` are those
    that it consists of, and `left_out` tells what is not asked, and why."""

    kind: CheckKind
    verdict: Verdict | None
    observed: str
    checks: tuple[Check, ...]
    left_out: tuple[str, ...] = ()

    @property
    def records(self) -> tuple[int, ...]:
        """The numbers of the records that say so."""
        return tuple(sorted({seq for one in self.checks for seq in one.records}))

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "name": self.kind.name,
            "line": self.kind.line,
            "verdict": self.verdict.value if self.verdict is not None else None,
            "observed": self.observed,
            "evidence": list(self.records),
            "subjects": [
                {
                    "subject": one.subject or None,
                    "verdict": one.verdict.value,
                    "observed": one.observed,
                    "since": time_json(one.since) if one.since is not None else None,
                }
                for one in self.checks
            ],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """A checklist that was gone through, and its record."""

    checklist: Checklist
    verdict: Verdict
    lines: tuple[Line, ...]
    report: Report
    evidence: Entry | None
    findings: tuple[Finding, ...] = ()

    @property
    def exit_status(self) -> int:
        return EXITS[self.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "list": self.checklist.value,
            "verdict": self.verdict.value,
            "made_at": time_json(self.report.made_at),
            "checks": [one.as_json() for one in self.lines],
            "evidence": self.evidence.seq if self.evidence is not None else None,
            "findings": [one.as_json() for one in self.findings],
        }


def verify(application: Application, checklist: Checklist, now: datetime) -> Verified:
    """Go through a checklist at `now`, ask what has to be asked, and record what came out."""
    answers = ask_stores(application)
    if checklist is Checklist.MONTHLY:
        evidence = gather(application, None, None, now=now)
    else:
        evidence = gather_here(application, now=now)
    report = judge_evidence(
        _with_answers(evidence, answers, now), promise_of(application.settings), now
    )
    lines = lines_of(report, checklist)
    verdict = verdict_of(lines)
    recorded = application.record(
        RECORD,
        {
            "list": checklist.value,
            "verdict": verdict.value,
            "begun_at": time_json(now),
            "seconds": round((application.clock() - now).total_seconds(), 3),
            "lines": [
                {
                    "name": one.kind.name,
                    "verdict": one.verdict.value if one.verdict is not None else None,
                    "observed": one.observed[:_MOST_TEXT],
                    "evidence": list(one.records),
                }
                for one in lines
            ],
            "spaces": [
                room_json(one.repository, one.room) for one in answers if one.room is not None
            ],
            "reached": [one.as_json() for one in answers],
        },
    )
    return Verified(
        checklist,
        verdict,
        lines,
        report,
        recorded if isinstance(recorded, Entry) else None,
        (recorded,) if isinstance(recorded, Finding) else (),
    )


def _with_answers(evidence: Evidence, answers: Sequence[Answer], now: datetime) -> Evidence:
    """The evidence with what the stores say now, which is not recorded yet."""
    history = evidence.history
    spaces = (
        Space(0, now, one.repository, one.room.total_bytes, one.room.free_bytes)
        for one in answers
        if one.room is not None
    )
    reaches = (Reach(0, now, one.repository, not one.error, one.error) for one in answers)
    return dataclasses.replace(
        evidence,
        history=dataclasses.replace(
            history,
            spaces=(*history.spaces, *spaces),
            reaches=(*history.reaches, *reaches),
        ),
    )


def lines_of(report: Report, checklist: Checklist) -> tuple[Line, ...]:
    """The lines of a checklist as a report has them, in their order."""
    return tuple(_line(report, kind) for kind in CHECK_KINDS.values() if checklist in kind.lists)


def _line(report: Report, kind: CheckKind) -> Line:
    found = tuple(one for one in report.checks if one.name == kind.name)
    left_out = tuple(
        f"{one.subject}: {one.because}" if one.subject else one.because
        for one in report.exempt
        if one.name == kind.name
    )
    told = [f"{one.subject}: {one.observed}" if one.subject else one.observed for one in found]
    observed = "; ".join([*told, *(f"not asked: {one}" for one in left_out)])
    verdict = worst(one.verdict for one in found) if found else None
    return Line(kind, verdict, observed or "nothing of it is configured", found, left_out)


def verdict_of(lines: Sequence[Line]) -> Verdict:
    """What the lines make of the whole; and a list on which one is not well is not done."""
    made = [one for line in lines for one in line.checks]
    verdict = worst(one.of_whole for one in made)
    if not made:
        return Verdict.UNKNOWN
    well = all(one.is_well for one in made)
    return verdict if well else worst([verdict, Verdict.STALE])
