"""Targets, and how samples meet them: pure, from samples to comparisons.

A comparison is the ratio of two medians, ours to a peer's, with the least and greatest ratio of
single rounds. Ratios from 0.9 to 1.1 read as "same": this machine cannot tell them apart. A
contender without a result in any round has none in the comparison either, and where ours has none
the target is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from bench import (
    database_suite,
    files_suite,
    load_suite,
    recovery_suite,
    s3_suite,
    scale_suite,
    upkeep_suite,
)
from bench.contenders import FLUSHED, NEWEST, OURS, RESTIC, VERIFY
from bench.sample import Sample

PEAK_LIMIT_BYTES = 256 * 2**20
SAME_BELOW, SAME_ABOVE = 1.1, 0.9


class Quantity(StrEnum):
    """What of a sample is compared."""

    WALL = "time"
    GROWN = "growth of the repository"
    STORED = "size of the repository"


@dataclass(frozen=True, slots=True)
class Target:
    """The most that ours may be of a peer's in one measure; None where nothing was promised."""

    measure: str
    quantity: Quantity
    peer: str
    limit: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A target and what was seen; `ratio` is None when one side has no result."""

    target: Target
    ours: float | None
    theirs: float | None
    ratio: float | None
    lowest: float | None
    highest: float | None

    @property
    def reads_as(self) -> str:
        """The ratio in a word, from our point of view."""
        if self.ratio is None:
            return "no result"
        if SAME_ABOVE <= self.ratio <= SAME_BELOW:
            return "same"
        return "less" if self.ratio < 1 else "more"

    @property
    def verdict(self) -> str:
        """Whether the target was met."""
        if self.target.limit is None:
            return ""
        if self.ratio is not None:
            return "met" if self.ratio <= self.target.limit else "**missed**"
        return "**missed**" if self.ours is None else "not compared"


def _with_newest(targets: Sequence[tuple[str, Quantity, float]]) -> list[Target]:
    made = []
    for measure, quantity, limit in targets:
        made.append(Target(measure, quantity, RESTIC, limit))
        made.append(Target(measure, quantity, NEWEST, None))
    return made


TARGETS: Sequence[Target] = (
    *_with_newest(
        [
            (files_suite.FIRST, Quantity.WALL, 0.5),
            (files_suite.NEXT, Quantity.WALL, 0.5),
            (files_suite.UNCHANGED, Quantity.WALL, 0.5),
            (files_suite.RESTORE, Quantity.WALL, 0.7),
        ]
    ),
    Target(files_suite.RESTORE, Quantity.WALL, RESTIC + VERIFY, None),
    Target(files_suite.RESTORE, Quantity.WALL, NEWEST + VERIFY, None),
    Target(files_suite.RESTORE, Quantity.WALL, RESTIC + FLUSHED, None),
    Target(files_suite.RESTORE, Quantity.WALL, NEWEST + FLUSHED, None),
    *_with_newest(
        [
            (files_suite.CHECK, Quantity.WALL, 1.0),
            (files_suite.FIRST, Quantity.STORED, 1.03),
            (files_suite.TINY, Quantity.WALL, 1.1),
            (files_suite.TINY, Quantity.STORED, 1.03),
            (database_suite.FIRST, Quantity.WALL, 0.55),
        ]
    ),
    Target(database_suite.FIRST, Quantity.WALL, database_suite.CUSTOM, 0.25),
    Target(database_suite.FIRST, Quantity.WALL, database_suite.ZSTD, 1.15),
    *_with_newest(
        [
            (database_suite.FIRST, Quantity.STORED, 1.03),
            (database_suite.NEXT, Quantity.GROWN, 0.6),
        ]
    ),
    Target(database_suite.NEXT, Quantity.WALL, RESTIC, None),
    Target(database_suite.UNCHANGED, Quantity.WALL, RESTIC, None),
    Target(database_suite.LOAD, Quantity.WALL, database_suite.RESTORE_DIRECTORY, 1.25),
    Target(database_suite.LOAD, Quantity.WALL, database_suite.RESTORE_CUSTOM, None),
    Target(database_suite.LOAD, Quantity.WALL, database_suite.RESTORE_AND_READ, 1.3),
    Target(load_suite.SANDBOX, Quantity.WALL, load_suite.DIRECTORY, 0.9),
    Target(load_suite.SANDBOX + load_suite.PROVEN, Quantity.WALL, load_suite.DIRECTORY, None),
    Target(load_suite.DEFAULT, Quantity.WALL, load_suite.DIRECTORY, 1.0),
    Target(load_suite.DEFAULT, Quantity.WALL, load_suite.ANALYZED, None),
    Target(load_suite.DEFAULT + load_suite.PROVEN, Quantity.WALL, load_suite.DIRECTORY, None),
    *_with_newest(
        [
            (upkeep_suite.COPY, Quantity.WALL, 0.8),
            (upkeep_suite.PRUNE, Quantity.WALL, 1.0),
            (upkeep_suite.PRUNE, Quantity.STORED, 1.03),
            (s3_suite.FIRST, Quantity.WALL, 0.7),
            (s3_suite.RESTORE, Quantity.WALL, 0.8),
            (scale_suite.first(100_000), Quantity.WALL, 1.0),
        ]
    ),
    Target(recovery_suite.RECOVER, Quantity.WALL, recovery_suite.BY_HAND, None),
    Target(s3_suite.NEXT, Quantity.WALL, RESTIC, None),
    Target(s3_suite.NEXT, Quantity.WALL, NEWEST, None),
    *(
        Target(measure(size), Quantity.WALL, peer, None)
        for measure in (scale_suite.first, scale_suite.next_day)
        for size in scale_suite.SIZES
        for peer in (RESTIC, NEWEST)
        if (measure, size) != (scale_suite.first, 100_000)
    ),
)


def values(
    samples: Sequence[Sample], measure: str, contender: str, quantity: Quantity
) -> dict[int, float]:
    """One contender's values of one measure by round, of the runs that succeeded."""
    return {
        sample.round: value
        for sample in samples
        if sample.measure == measure
        and sample.contender == contender
        and (value := _value(sample, quantity)) is not None
    }


def _value(sample: Sample, quantity: Quantity) -> float | None:
    if sample.failure is not None:
        return None
    match quantity:
        case Quantity.WALL:
            return sample.wall_seconds
        case Quantity.GROWN:
            return sample.grown_bytes
        case Quantity.STORED:
            return sample.stored_bytes


def compare(samples: Sequence[Sample], targets: Sequence[Target] = TARGETS) -> list[Comparison]:
    """The comparisons of all measures that were run, in the order of the targets."""
    run = {sample.measure for sample in samples}
    known = {(sample.measure, sample.contender) for sample in samples}
    return [
        _compare(samples, target)
        for target in targets
        if target.measure in run
        and (target.limit is not None or (target.measure, target.peer) in known)
    ]


def _compare(samples: Sequence[Sample], target: Target) -> Comparison:
    ours = values(samples, target.measure, OURS, target.quantity)
    theirs = values(samples, target.measure, target.peer, target.quantity)
    # In a round where only one succeeded there is nothing to compare.
    ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    our_median = median(ours.values()) if ours else None
    their_median = median(theirs.values()) if theirs else None
    if our_median is None or not their_median or not ratios:
        return Comparison(target, our_median, their_median, None, None, None)
    ratio = our_median / their_median
    return Comparison(target, our_median, their_median, ratio, min(ratios), max(ratios))


def highest_peak(samples: Sequence[Sample], measure: str) -> int | None:
    """Our greatest peak memory in any round of a measure, in bytes."""
    peaks = [
        sample.peak_bytes
        for sample in samples
        if sample.measure == measure and sample.contender == OURS and sample.failure is None
    ]
    return max(peaks, default=None)
