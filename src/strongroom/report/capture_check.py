"""What captures amount to: how old the newest one is, whether its size is usual, what it lacks.

The recovery point objective counts from the beginning of the newest capture that is complete: up to
then nothing is lost. While the next one runs, the one before is all there is; so the objective is
given the time that runs took lately, and the hour by which clocks went back meanwhile. Twice as
long is FAILED.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.noticed import Noticed
from strongroom.report.observation import Capture, Evidence, Promise
from strongroom.report.statistic import Usual, median, usual
from strongroom.report.weighing import TOLERANCE
from strongroom.report.wording import age, count, size

__all__ = [
    "Freshness",
    "captures_of",
    "check_captures",
    "check_files",
    "check_sizes",
    "freshness",
    "unusual",
]

# How many of the last runs say how long one takes, and what the least allowance is.
_LAST_RUNS: Final = 5
_LEAST_ALLOWANCE: Final = timedelta(minutes=15)
# How many earlier captures say what size is usual, at most and at least.
_MOST_SIZES: Final = 9
_LEAST_SIZES: Final = 5
# Less than this share of what was usual is unusual after one earlier capture already; retention
# holds still then, too.
_HALF: Final = 0.5
_HALF_AGAIN: Final = 1.5
_FEW: Final = 3
_WITH_FILES: Final = frozenset({"files", "git"})


def captures_of(evidence: Evidence, source: str) -> list[Capture]:
    """The captures of a source in repositories that are configured, one of each run, oldest first:
    where one went into several, the first of them."""
    captures, repositories = evidence.captures, evidence.scope.repositories
    return evidence.once(
        "captures", (captures, repositories), lambda: _by_source(captures, repositories)
    ).get(source, [])


def _by_source(
    captures: Sequence[Capture], repositories: Sequence[str]
) -> dict[str, list[Capture]]:
    runs: dict[tuple[str, int], Capture] = {}
    for one in captures:
        if not one.is_copy and one.repository in repositories:
            runs.setdefault((one.source, one.seq), one)
    found: dict[str, list[Capture]] = {}
    for (source, _), one in runs.items():
        found.setdefault(source, []).append(one)
    return found


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest complete capture, its age, and how old it may be; None where there is none, or
    where its time can't be right."""

    capture: Capture | None
    age: timedelta | None
    limit: timedelta

    @property
    def is_met(self) -> bool:
        return self.age is not None and self.age <= self.limit


def freshness(evidence: Evidence, promise: Promise, source: str, now: datetime) -> Freshness:
    """How fresh what is captured of a source is."""
    stored = captures_of(evidence, source)
    newest = next((one for one in reversed(stored) if one.is_complete), None)
    limit = promise.rpo + _allowance(stored, promise)
    if newest is None:
        return Freshness(None, None, limit)
    limit += _went_back(newest.begun_at, now, evidence.scope.time_zone)
    passed = now - newest.begun_at
    if passed < -TOLERANCE:
        return Freshness(newest, None, limit)
    return Freshness(newest, max(passed, timedelta()), limit)


def _allowance(stored: Sequence[Capture], promise: Promise) -> timedelta:
    """How long the next run may take before it counts: twice as long as one took lately."""
    took = [one.ended_at - one.begun_at for one in stored[-_LAST_RUNS:] if one.ended_at is not None]
    least = min(_LEAST_ALLOWANCE, promise.rpo / 4)
    longest = max(took, default=timedelta())
    return min(promise.jitter + max(2 * longest, least), promise.rpo / 2)


def _went_back(begun_at: datetime, now: datetime, zone: str) -> timedelta:
    """By how much clocks went back since: a day of 25 hours is a day."""
    place = ZoneInfo(zone)
    before, after = begun_at.astimezone(place).utcoffset(), now.astimezone(place).utcoffset()
    return max((before or timedelta()) - (after or timedelta()), timedelta())


def check_captures(evidence: Evidence, promise: Promise, now: datetime) -> Iterator[Check]:
    """How old the newest complete capture of each source is."""
    for source in evidence.scope.sources:
        found = freshness(evidence, promise, source.name, now)
        yield _capture(evidence, promise, source.name, found)


def _capture(evidence: Evidence, promise: Promise, name: str, found: Freshness) -> Check:
    newest, limit = found.capture, found.limit.total_seconds()
    if newest is None:
        told = "nothing was captured yet"
        if stored := captures_of(evidence, name):
            told = f"none of {count(len(stored), 'capture')} is complete"
        return Check("capture", name, Verdict.UNKNOWN, told, limit=limit)
    records = (newest.seq,)
    if found.age is None:
        told = "the newest capture is dated later than now"
        return Check("capture", name, Verdict.UNKNOWN, told, limit=limit, records=records)
    told = f"captured {age(found.age)} ago"
    late_at = newest.begun_at + found.limit
    seconds = found.age.total_seconds()
    if found.is_met:
        return Check(
            "capture", name, Verdict.PROVEN, told, value=seconds, limit=limit,
            until=late_at, records=records,
        )  # fmt: skip
    told += f", promised is {age(promise.rpo)}"
    gone = found.age > 2 * found.limit
    verdict = Verdict.FAILED if gone else Verdict.STALE
    until = None if gone else newest.begun_at + 2 * found.limit
    return Check("capture", name, verdict, told, late_at, seconds, limit, until, records)


# Sizes


def unusual(earlier: Sequence[int], newest: int) -> Usual | None:
    """What is usual after these sizes, oldest first, when the newest is not; else None.

    A smaller one stays unusual until most captures are so; a larger one is so once, since what it
    grew by is there in the next, and only when it is half as large again: sources grow.
    """
    return _unusual(tuple(earlier[-_MOST_SIZES:]), newest)


@lru_cache(maxsize=256)  # of a month of captures, each time that somebody looks
def _unusual(known: tuple[int, ...], newest: int) -> Usual | None:
    if not known:
        return None
    found = usual(known)
    found = replace(found, high=max(found.high, _HALF_AGAIN * found.median))
    if newest < _HALF * median(known[-_LEAST_SIZES:]):
        return found
    if len(known) < _LEAST_SIZES:
        return None
    is_small = newest < found.low
    is_large = newest > max(found.high, usual([known[-1]]).high)
    return found if is_small or is_large else None


def check_sizes(evidence: Evidence) -> Iterator[Check]:
    """Whether the newest capture of each source is as large as one would think."""
    for source in evidence.scope.sources:
        yield _size(source.name, captures_of(evidence, source.name))


def _size(name: str, stored: Sequence[Capture]) -> Check:
    if not stored:
        return Check("size", name, Verdict.UNKNOWN, "nothing was captured yet")
    newest, records = stored[-1], (stored[-1].seq,)
    since = newest.ended_at or newest.begun_at
    earlier = [one.size_bytes for one in stored[:-1] if one.size_bytes is not None]
    if newest.size_bytes is None:
        told = "the size of the newest capture is not recorded"
        return Check("size", name, Verdict.UNKNOWN, told, since, records=records)
    if newest.size_bytes == 0:
        told, verdict = "the newest capture holds nothing", Verdict.UNKNOWN
        if any(earlier[-_MOST_SIZES:]):
            told, verdict = f"{told}; the one before held {size(earlier[-1])}", Verdict.FAILED
        return Check("size", name, verdict, told, since, value=0.0, records=records)
    told, bytes_count = size(newest.size_bytes), float(newest.size_bytes)
    odd = unusual(earlier, newest.size_bytes)
    if odd is not None:
        last = earlier[-_MOST_SIZES:]
        few = "smaller" if newest.size_bytes < odd.median else "larger"
        told += (
            f", {few} than is usual: the last {count(len(last), 'capture')} held "
            f"{size(min(last))} to {size(max(last))}, {size(round(odd.median))} in the median"
        )
        limit = odd.low if few == "smaller" else odd.high
        return Check("size", name, Verdict.UNKNOWN, told, since, bytes_count, limit, None, records)
    if len(earlier) < _LEAST_SIZES:
        told += f"; too few captures to say what is usual ({len(earlier)} before it)"
        return Check("size", name, Verdict.PROVEN, told, value=bytes_count, records=records)
    known = usual(earlier[-_MOST_SIZES:])
    told += f", usual are {size(round(known.median))}"
    return Check(
        "size", name, Verdict.PROVEN, told, value=bytes_count, limit=known.low, records=records
    )


# What is not in them


def check_files(evidence: Evidence) -> Iterator[Check]:
    """Whether the newest capture of each source of files holds all that it was to hold."""
    for source in evidence.scope.sources:
        if source.kind in _WITH_FILES:
            yield _files(source.name, captures_of(evidence, source.name))


def _files(name: str, stored: Sequence[Capture]) -> Check:
    if not stored:
        return Check("files", name, Verdict.UNKNOWN, "nothing was captured yet")
    newest, records = stored[-1], (stored[-1].seq,)
    lacks = newest.lacks
    if not lacks:
        told = "nothing was left out of the newest capture that was to be in it"
        return Check("files", name, Verdict.PROVEN, told, records=records)
    *_, first = itertools.takewhile(lambda one: one.lacks, reversed(stored))
    failed = any(one.severity is Severity.FAILURE for one in lacks)
    verdict = Verdict.FAILED if failed else Verdict.UNKNOWN
    since = first.ended_at or first.begun_at
    return Check("files", name, verdict, _told(lacks), since, records=records)


def _told(lacks: Sequence[Noticed]) -> str:
    shown = "; ".join(f"{one.code} {one.subject}: {one.message}" for one in lacks[:_FEW])
    more = f"; and {len(lacks) - _FEW} more" if len(lacks) > _FEW else ""
    return f"{count(len(lacks), 'finding')}: {shown}{more}"
