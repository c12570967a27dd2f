"""What is usual of a series, and how it grows, whatever a few odd values do."""

from __future__ import annotations

import pytest

from strongroom.report.statistic import slope, usual


def test_what_is_usual_is_around_the_median() -> None:
    found = usual([100_000.0] * 9)
    assert (found.median, found.low, found.high) == (100_000, 80_000, 120_000)
    spread = usual([100_000.0, 120_000, 80_000, 110_000, 90_000])
    assert spread.low == pytest.approx(100_000 - 5 * 1.4826 * 10_000)
    assert usual([5.0]).low == 0


def test_one_odd_value_changes_nothing() -> None:
    steady = [100_000.0 + step for step in range(9)]
    assert usual([*steady, 10**9]).high == pytest.approx(usual(steady).high, rel=0.01)


def test_growth_is_that_of_most_steps() -> None:
    line = [(float(day), 7.0 * day + 3) for day in range(20)]
    assert slope(line) == pytest.approx(7)
    bent = [*line[:8], (8.0, -500.0), *line[9:]]
    assert slope(bent) == pytest.approx(7)
    assert slope([(1.0, 5.0), (1.0, 9.0)]) is None
    assert slope([(1.0, 5.0)]) is None
    assert slope([(float(x), 5.0) for x in range(500)]) == 0
