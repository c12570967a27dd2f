"""What was promised and what was observed: the four objectives, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from strongroom.report.capture_check import Freshness, freshness
from strongroom.report.observation import Evidence, Promise
from strongroom.report.proof_check import recovery_time
from strongroom.report.store_check import holdings_of
from strongroom.report.weighing import TOLERANCE, SourceLine
from strongroom.report.wording import age

__all__ = ["Objective", "State", "objectives"]


class State(StrEnum):
    """How an objective stands."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Objective:
    """What was promised and what was observed, in words."""

    name: str
    meaning: str
    promised: str
    observed: str
    state: State


def objectives(
    lines: Sequence[SourceLine],
    whole: SourceLine | None,
    evidence: Evidence,
    promise: Promise,
    now: datetime,
) -> Iterator[Objective]:
    """Recovery point, recovery time, age of the proofs, and copies."""
    fresh = [freshness(evidence, promise, one.name, now) for one in lines]
    back = [
        now - at
        for one in lines
        if one.proof is not None and (at := one.proof.observation.captured_at) is not None
    ]
    meaning = "age of the newest capture"
    if back and len(back) == len(lines):
        meaning += f"; of the newest that was brought back {age(max(*back, timedelta()))}"
    yield _rpo(meaning, promise, fresh)
    meaning = "restore and proof of all sources, in sum"
    if whole is not None:
        meaning = "drill of the whole application"
    yield _spans("RTO", meaning, promise.rto, [recovery_time(lines, whole)[0]])
    proven = [
        now - one.proof.observation.at if one.proof is not None and one.is_proven else None
        for one in lines
    ]
    yield _spans("Proof age", "age of the newest proof", promise.proof_age, proven)
    yield _copies(lines, evidence, promise)


def _rpo(meaning: str, promise: Promise, fresh: Sequence[Freshness]) -> Objective:
    ages = [one.age for one in fresh if one.age is not None]
    if not ages or len(ages) < len(fresh):
        return Objective("RPO", meaning, age(promise.rpo), "–", State.NOT_MEASURED)
    state = State.MET if all(one.is_met for one in fresh) else State.MISSED
    return Objective("RPO", meaning, age(promise.rpo), age(max(ages)), state)


def _spans(
    name: str, meaning: str, promised: timedelta, observed: Sequence[timedelta | None]
) -> Objective:
    """The longest counts; one that nobody knows, or that lies in the future, spoils the measure."""
    known = [one for one in observed if one is not None and one >= -TOLERANCE]
    if not known or len(known) < len(observed):
        return Objective(name, meaning, age(promised), "–", State.NOT_MEASURED)
    longest = max(*known, timedelta())
    state = State.MET if longest <= promised else State.MISSED
    return Objective(name, meaning, age(promised), age(longest), state)


def _copies(lines: Sequence[SourceLine], evidence: Evidence, promise: Promise) -> Objective:
    meaning = "repositories that hold the newest capture"
    captures = [one.capture for one in lines]
    known = [one for one in captures if one is not None]
    if not known or len(known) < len(captures):
        return Objective("Copies", meaning, str(promise.copies), "–", State.NOT_MEASURED)
    holdings = holdings_of(evidence)
    fewest = min(len(holdings.of(one)) for one in known)
    state = State.MET if fewest >= promise.copies else State.MISSED
    return Objective("Copies", meaning, str(promise.copies), str(fewest), state)
