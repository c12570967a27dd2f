"""How things stand, for programs that are not to know more: verdicts, times and numbers.

`Standing` is made from a report and rendered as health documents and as metrics, so that these
cannot disagree. Invariants: it is never better than its report, and no longer so than
`valid_until` (I5); and what is `shown` of it holds no text but names that the configuration gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from strongroom.model import Verdict
from strongroom.report.capture_check import freshness
from strongroom.report.check import CHECK_KINDS, Check, CheckKind, worst
from strongroom.report.history import Ending, Run, Space
from strongroom.report.judgement import Report, SourceLine, State
from strongroom.report.observation import Evidence, Promise
from strongroom.report.proof_check import recovery_time

__all__ = [
    "Attempt",
    "Result",
    "Shown",
    "SourceStanding",
    "Standing",
    "aged",
    "attempt_of",
    "shown",
    "standing_of",
]

# How far the clocks of two hosts may differ.
_TOLERANCE: Final = timedelta(minutes=1)
# Agents' names come out of a database that others write to.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Result(StrEnum):
    """What came of an attempt to capture; partial is what exit status 3 says."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run that was to capture, whatever came of it, and when it ended."""

    at: datetime
    result: Result


@dataclass(frozen=True, slots=True)
class SourceStanding:
    """A source: when its newest complete capture began and how much it holds, when it was last
    brought back and found identical and how long that took; None where nobody knows."""

    name: str
    verdict: Verdict
    captured_at: datetime | None = None
    proven_at: datetime | None = None
    recovery_seconds: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """All that others are told. `objectives` has each one's state by its name in the configuration;
    `recovery_seconds` is what the newest drill of the whole took, or all sources in sum."""

    application: str
    environment: str
    verdict: Verdict
    judged_at: datetime
    valid_until: datetime
    checks: tuple[Check, ...]
    sources: tuple[SourceStanding, ...]
    repositories: tuple[str, ...]
    promise: Promise
    objectives: tuple[tuple[str, State], ...] = ()
    recovery_seconds: float | None = None
    attempt: Attempt | None = None
    spaces: tuple[Space, ...] = ()
    agents: tuple[str, ...] = ()

    @property
    def captured_at(self) -> datetime | None:
        """Up to when all sources are captured: None while one of them is not."""
        return _earliest(one.captured_at for one in self.sources)

    @property
    def proven_at(self) -> datetime | None:
        """Since when all sources are proven: None while one of them is not."""
        return _earliest(one.proven_at for one in self.sources)

    @property
    def size_bytes(self) -> int | None:
        """What all sources hold together."""
        sizes = [one.size_bytes for one in self.sources]
        known = [one for one in sizes if one is not None]
        return sum(known) if known and len(known) == len(sizes) else None


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    given = list(moments)
    known = [one for one in given if one is not None]
    return min(known) if known and len(known) == len(given) else None


def standing_of(
    report: Report, evidence: Evidence, promise: Promise, valid_until: datetime
) -> Standing:
    """What a report, and the evidence that it was made from, tell others until `valid_until`."""
    scope, history = evidence.scope, evidence.history
    took, _ = recovery_time(report.sources, report.whole)
    spaces = {one.repository: one for one in history.spaces if one.repository in scope.repositories}
    return Standing(
        report.application,
        report.environment,
        report.verdict,
        report.made_at,
        valid_until,
        report.checks,
        tuple(_source(one, report, evidence, promise) for one in report.sources),
        scope.repositories,
        promise,
        tuple((one.name.lower().replace(" ", "_"), one.state) for one in report.objectives),
        took.total_seconds() if took is not None else None,
        attempt_of(history.runs),
        tuple(spaces.values()),
        _agents(evidence),
    )


def _agents(evidence: Evidence) -> tuple[str, ...]:
    """The agents that a controller watches, as far as they are called as they must be."""
    looks = evidence.fleet.looks if evidence.fleet is not None else {}
    return tuple(one for one in looks if _NAME.fullmatch(one))


def _source(
    line: SourceLine, report: Report, evidence: Evidence, promise: Promise
) -> SourceStanding:
    """The newest capture that is complete counts, as it does for the objective."""
    capture = freshness(evidence, promise, line.name, report.made_at).capture
    held = [
        one.observation
        for one in report.proofs
        if one.observation.source == line.name and one.verdict in (Verdict.PROVEN, Verdict.STALE)
    ]
    proof = max(held, key=lambda one: one.at, default=None)
    sizes = (one.size_bytes for one in (capture, proof) if one is not None)
    return SourceStanding(
        line.name,
        line.verdict,
        capture.begun_at if capture is not None else None,
        proof.at if proof is not None else None,
        proof.seconds if proof is not None else None,
        next((one for one in sizes if one is not None), None),
    )


def aged(standing: Standing, now: datetime) -> Standing:
    """The standing as it is to be read at `now`: out of date, or from the future, it is UNKNOWN
    where it was better; what had failed still has."""
    if standing.judged_at - _TOLERANCE <= now <= standing.valid_until:
        return standing
    unknown = Verdict.UNKNOWN
    return replace(
        standing,
        verdict=worst([standing.verdict, unknown]),
        checks=tuple(
            replace(one, verdict=worst([one.verdict, unknown])) for one in standing.checks
        ),
        sources=tuple(
            replace(one, verdict=worst([one.verdict, unknown])) for one in standing.sources
        ),
        objectives=tuple((name, State.NOT_MEASURED) for name, _ in standing.objectives),
    )


# What is shown of checks


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told of a check: no text of its own; `subject` is a source, a repository, an agent
    or empty."""

    name: str
    subject: str
    verdict: Verdict
    since: datetime | None
    value: float | None
    limit: float | None

    @property
    def kind(self) -> CheckKind:
        return CHECK_KINDS[self.name]

    @property
    def key(self) -> str:
        return f"{self.name}:{self.subject}" if self.subject else self.name


def shown(standing: Standing) -> tuple[Shown, ...]:
    """The checks as others are told of them. A subject that is no source, repository or agent is
    left out; of several checks that look the same then, the worst is told."""
    public = {*standing.repositories, *(one.name for one in standing.sources)}
    public.update(standing.agents)
    found: dict[str, Shown] = {}
    for check in standing.checks:
        subject = check.subject if check.subject in public else ""
        one = Shown(
            check.name,
            subject,
            check.verdict,
            check.since,
            _finite(check.value),
            _finite(check.limit),
        )
        known = found.get(one.key)
        if known is None or worst([known.verdict, one.verdict]) is not known.verdict:
            found[one.key] = one
    return tuple(found.values())


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


# What was tried


def attempt_of(runs: Iterable[Run]) -> Attempt | None:
    """The newest attempt to capture, given the runs oldest first; None when there was none. Of one
    attempt the record that was written last counts: it knows the exit status."""
    captures = [one for one in runs if one.action == "capture"]
    if not captures:
        return None
    newest = captures[-1]
    endings = {one.ending for one in captures if one.seq == newest.seq}
    if endings == {Ending.DONE}:
        return Attempt(newest.at, Result.SUCCESS)
    some = endings & {Ending.DONE, Ending.PARTIAL}
    return Attempt(newest.at, Result.PARTIAL if some else Result.FAILURE)
