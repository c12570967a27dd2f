"""Which recovery point a recovery takes, and how long it says that it will be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.plan.recovery import (
    Known,
    PointOption,
    Timed,
    choose_point,
    estimate,
    expected_seconds,
)

MONDAY = datetime(2026, 1, 26, 2, tzinfo=UTC)
# What is known of a point: of its database and its uploads, copy by copy.
PROVEN = {"database": [True], "uploads": [True]}
UNPROVEN: dict[str, list[bool]] = {"database": [], "uploads": []}
HALF: dict[str, list[bool]] = {"database": [True], "uploads": []}
FAILED = {"database": [True], "uploads": [False]}
ELSEWHERE_WHOLE = {"database": [True], "uploads": [False, True]}


def option(day: int, known: dict[str, list[bool]]) -> PointOption:
    proofs = {
        name: [Known(one, MONDAY + timedelta(days=day, hours=hour)) for hour, one in enumerate(of)]
        for name, of in known.items()
    }
    return PointOption(f"p{day}", MONDAY + timedelta(days=day), proofs)


@pytest.mark.parametrize(
    ("days", "chosen", "passed_over"),
    [
        ([PROVEN], "p0", []),
        ([PROVEN, PROVEN], "p1", []),
        ([PROVEN, UNPROVEN], "p0", ["p1"]),
        ([PROVEN, HALF, UNPROVEN], "p0", ["p2", "p1"]),
        ([PROVEN, FAILED], "p0", ["p1"]),
        ([PROVEN, ELSEWHERE_WHOLE], "p1", []),
        ([UNPROVEN, UNPROVEN], "p1", []),
        ([UNPROVEN, FAILED], "p0", ["p1"]),
        ([FAILED, FAILED], "p1", []),
        ([FAILED, PROVEN, FAILED, UNPROVEN], "p1", ["p3", "p2"]),
    ],
)
def test_the_newest_that_is_proven_goes_first(
    days: list[dict[str, list[bool]]], chosen: str, passed_over: list[str]
) -> None:
    choice = choose_point([option(day, known) for day, known in enumerate(days)])
    assert choice is not None
    assert choice.point.id == chosen
    assert [one.id for one in choice.passed_over] == passed_over
    assert choice.costs == timedelta(days=len(passed_over))


def test_a_copy_elsewhere_counts_and_is_told_apart() -> None:
    elsewhere = Known(True, MONDAY, here=False)
    seen = PointOption("seen", MONDAY, {"uploads": [Known(True, MONDAY)]})
    unseen = PointOption("unseen", MONDAY + timedelta(days=1), {"uploads": [elsewhere]})
    choice = choose_point([seen, unseen])
    assert choice is not None
    assert choice.point.id == "unseen"
    assert choice.because == "the newest that is proven, though as a copy in another repository"
    choice = choose_point([seen])
    assert choice is not None
    assert choice.because == "the newest that is proven"


def test_without_any_point_there_is_none() -> None:
    assert choose_point([]) is None


def test_a_point_is_proven_since_its_last_part_was() -> None:
    both = PointOption(
        "p", MONDAY, {"a": [Known(True, MONDAY)], "b": [Known(True, MONDAY + timedelta(hours=3))]}
    )
    assert both.proven_at == MONDAY
    assert PointOption("p", MONDAY, {}).proven_at is None


@pytest.mark.parametrize(
    ("earlier", "size_bytes", "seconds"),
    [
        ([], 100, None),
        ([Timed(4.0, 100)], 200, 8.0),
        ([Timed(9.0, 100), Timed(4.0, 100)], 100, 4.0),
        ([Timed(4.0, None)], 200, 4.0),
        ([Timed(4.0, 100)], None, 4.0),
        ([Timed(4.0, 0)], 100, 4.0),
    ],
)
def test_the_newest_time_counts_scaled_to_the_size(
    earlier: list[Timed], size_bytes: int | None, seconds: float | None
) -> None:
    assert estimate(earlier, size_bytes) == seconds


@pytest.mark.parametrize(
    ("together", "after", "expected"),
    [
        ([3.0, 5.0, 1.0], [1.0, 2.0], (8.0, True)),
        ([3.0, None], [1.0], (4.0, False)),
        ([3.0], [None], (3.0, False)),
        ([], [], (0.0, True)),
    ],
)
def test_what_is_done_at_the_same_time_takes_the_longest(
    together: list[float | None], after: list[float | None], expected: tuple[float, bool]
) -> None:
    assert expected_seconds(together, after) == expected
