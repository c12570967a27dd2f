"""Statistics that a few odd values don't upset: what is usual of a series, and how it grows.

Median and median absolute deviation stand for mean and standard deviation, and the median of all
slopes between two points (Theil and Sen) for a straight line through them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["MOST_POINTS", "Usual", "median", "slope", "usual"]

# What makes the median absolute deviation of a normal distribution its standard deviation.
_SCALE: Final = 1.4826
# How many such deviations from the median are unusual.
_DEVIATIONS: Final = 5.0
# No deviation counts as less than this share of the median, or than so much by itself: a source
# that never changed may change a little.
_LEAST_SHARE: Final = 0.04
_LEAST: Final = 2048.0
# Of how many points a slope is made, at most.
MOST_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Usual:
    """The median of a series, and between what a next value is usual."""

    median: float
    low: float
    high: float


def median(values: Iterable[float]) -> float:
    """The middle of the values, of which there must be one; of an even number the mean of two."""
    # As `statistics.median`, which takes a hundredth of a second to import.
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def usual(values: Sequence[float]) -> Usual:
    """What is usual after these values, of which there must be one at least."""
    middle = median(values)
    spread = _SCALE * median(abs(one - middle) for one in values)
    reach = _DEVIATIONS * max(spread, _LEAST_SHARE * abs(middle), _LEAST)
    return Usual(middle, max(middle - reach, 0.0), middle + reach)


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """By how much y grows with each unit of x: the median of the slopes between any two of the
    points (the last 120 of them). None when no two differ in x."""
    return _slope(tuple(points[-MOST_POINTS:]))


# Seven thousand slopes, of what is measured once a day and judged each minute.
@lru_cache(maxsize=64)
def _slope(known: tuple[tuple[float, float], ...]) -> float | None:
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(known)
        for later in known[place + 1 :]
        if later[0] != earlier[0]
    ]
    return median(slopes) if slopes else None
