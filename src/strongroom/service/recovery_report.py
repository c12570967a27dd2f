"""What a recovery answers: the verdict, the stopwatch, the objectives, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strongroom.errors import EXIT_FINE
from strongroom.evidence import Entry
from strongroom.model import Finding, Stage, Verdict, finding
from strongroom.service.application import Application
from strongroom.service.proof import EXITS, evidence_json
from strongroom.service.recovery_journal import Brought
from strongroom.service.rendering import stages_json, time_json

__all__ = [
    "Promise",
    "RecoveryPlan",
    "RecoveryReport",
    "StageEstimate",
    "all_by_hand",
    "exceeded",
    "lost_seconds",
    "promise_of",
]


@dataclass(frozen=True, slots=True)
class Promise:
    """The objectives, in seconds."""

    rto_seconds: float
    rpo_seconds: float

    def as_json(self) -> dict[str, float]:
        return {"rto_seconds": self.rto_seconds, "rpo_seconds": self.rpo_seconds}


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """A stage to come, what it is about, and how long it took in drills; None when it never was."""

    name: str
    what: str
    seconds: float | None

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return {"name": self.name, "what": self.what, "seconds": seconds}


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What a recovery would do. `expected_seconds` is a lower bound unless `is_whole`."""

    point: str
    captured_at: datetime
    because: str
    directory: str
    resumes: bool
    stages: tuple[StageEstimate, ...]
    expected_seconds: float
    is_whole: bool
    rpo_seconds: float
    promise: Promise
    findings: tuple[Finding, ...]
    by_hand: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        return EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "dry_run": True,
            "verdict": None,
            "point": self.point,
            "captured_at": time_json(self.captured_at),
            "because": self.because,
            "directory": self.directory,
            "resumes": self.resumes,
            "stages": [one.as_json() for one in self.stages],
            "rto_seconds": round(self.expected_seconds, 3),
            "rto_is_whole": self.is_whole,
            "rpo_seconds": round(self.rpo_seconds, 3),
            "objectives": self.promise.as_json(),
            "findings": [one.as_json() for one in self.findings],
            "by_hand": list(self.by_hand),
        }


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What came of a recovery. `rto_seconds` is None while the application has not answered all
    that it is asked; `runs` counts the runs that it took."""

    verdict: Verdict
    point: str
    captured_at: datetime
    because: str
    directory: str
    runs: int
    sources: tuple[Brought, ...]
    stages: tuple[Stage, ...]
    checked: int
    rto_seconds: float | None
    rpo_seconds: float
    promise: Promise
    findings: tuple[Finding, ...]
    by_hand: tuple[str, ...]
    url: str | None
    evidence: Entry | None

    @property
    def exit_status(self) -> int:
        return EXITS[self.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "verdict": self.verdict.value,
            "point": self.point,
            "captured_at": time_json(self.captured_at),
            "because": self.because,
            "directory": self.directory,
            "url": self.url,
            "runs": self.runs,
            "sources": [one.as_json() for one in self.sources],
            "stages": stages_json(self.stages),
            "checked": self.checked,
            "rto_seconds": None if self.rto_seconds is None else round(self.rto_seconds, 3),
            "rpo_seconds": round(self.rpo_seconds, 3),
            "objectives": self.promise.as_json(),
            "findings": [one.as_json() for one in self.findings],
            "by_hand": list(self.by_hand),
            "evidence": [evidence_json(self.evidence)],
        }


def all_by_hand(brought: Sequence[Brought], configured: Sequence[str]) -> tuple[str, ...]:
    """What a person must still do: what snapshots could not bring along, then what is written."""
    told = (line for one in brought for line in one.by_hand)
    return tuple(dict.fromkeys((*told, *configured)))


def promise_of(application: Application) -> Promise:
    """The objectives that a recovery is held against."""
    objectives = application.settings.objectives
    return Promise(objectives.rto.total_seconds(), objectives.rpo.total_seconds())


def lost_seconds(captured_at: datetime, begun_at: datetime) -> float:
    """How much work is lost at most: from the capture to the first moment of the recovery."""
    return max(0.0, (begun_at - captured_at).total_seconds())


def exceeded(rto: float | None, rpo: float, promise: Promise) -> list[Finding]:
    """Warnings where more time or work was lost than was promised."""
    found = []
    if rto is not None and rto > promise.rto_seconds:
        told = f"it took {rto:.0f} s, recovery may take {promise.rto_seconds:.0f} s"
        found.append(finding("rto-exceeded", "application", told))
    if rpo > promise.rpo_seconds:
        told = f"{rpo / 3600:.1f} h of work are lost, {promise.rpo_seconds / 3600:.1f} h may be"
        found.append(finding("rpo-exceeded", "application", told))
    return found
