"""Which point is drilled next, from where: all repositories in time, older points as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from strongroom.plan.rotation import Drillable, Drilled, Turn, next_drill, next_repository

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
REPOSITORIES = ("local", "offsite", "vault")
SOURCES = ("database", "uploads")


def point(day: int, *repositories: str) -> Drillable:
    return Drillable(f"{day:04d}", NOW + day * DAY, repositories)


def drills(turn: Turn, at: datetime, points: list[Drillable]) -> list[Drilled]:
    """What the ledger has of one drill of a point."""
    holding = [one.id for one in points if turn.repository in one.repositories]
    older = turn.point != holding[-1]
    return [Drilled(source, turn.repository, at, turn.point, older) for source in SOURCES]


def turn_of(
    points: list[Drillable], drilled: list[Drilled], now: datetime, days: int = 7
) -> Turn | None:
    return next_drill(points, drilled, now, sources=SOURCES, proof_age=days * DAY)


@given(
    st.lists(st.sets(st.sampled_from(REPOSITORIES), min_size=1), min_size=30, max_size=30),
    st.integers(1, 20),
)
def test_a_month_of_daily_drills_proves_from_everywhere_and_goes_back(
    held: list[set[str]], kept: int
) -> None:
    """Points appear each day and are kept for a while; a repository may miss some of them."""
    points: list[Drillable] = []
    drilled: list[Drilled] = []
    last: dict[str, datetime] = {}
    turns: list[tuple[Turn, str]] = []
    for day, where in enumerate(held):
        now = NOW + day * DAY + timedelta(hours=3)
        points = [*points, point(day, *sorted(where | {"local"}))][-kept:]
        turn = turn_of(points, drilled, now)
        assert turn is not None
        assert turn.because
        chosen = next(one for one in points if one.id == turn.point)
        assert turn.repository in chosen.repositories
        drilled += drills(turn, now, points)
        last[turn.repository] = now
        holding = [one for one in points if turn.repository in one.repositories]
        turns.append((turn, holding[-1].id))
        # Whoever held a point all week long was proven from within the week.
        for name in REPOSITORIES:
            if day >= 7 and all(name in each | {"local"} for each in held[day - 7 : day + 1]):
                assert now - last[name] <= 7 * DAY, (name, day)
    older = [turn for turn, newest in turns if turn.point != newest]
    if kept > 4:
        assert older, "an older point has its turn within a month"
    assert len(older) < len(turns) / 2, "mostly the newest is drilled"


@given(st.lists(st.sets(st.sampled_from(REPOSITORIES)), max_size=12))
def test_without_a_ledger_it_still_chooses(held: list[set[str]]) -> None:
    points = [point(day, *sorted(where)) for day, where in enumerate(held)]
    turn = turn_of(points, [], NOW + 40 * DAY)
    whole = [one for one in points if one.repositories]
    assert (turn is None) == (not whole)
    if turn is not None:
        holding = [one for one in points if turn.repository in one.repositories]
        assert turn.point == holding[-1].id
        assert "nothing was drilled" in turn.because[0]


def test_the_repository_drilled_longest_ago_comes_next() -> None:
    points = [point(0, "local", "offsite")]
    at = {"local": NOW + 2 * DAY, "offsite": NOW + DAY}
    drilled = [
        Drilled(source, name, when, "0000") for name, when in at.items() for source in SOURCES
    ]
    turn = turn_of(points, drilled, NOW + 3 * DAY)
    assert turn is not None
    assert (turn.repository, turn.because) == (
        "offsite",
        ("last drilled from offsite 2 d ago, the longest of all",),
    )
    late = turn_of(points, drilled, NOW + 20 * DAY)
    assert late is not None
    assert "longer ago than proof_age" in late.because[0]


def test_a_repository_of_which_one_source_was_drilled_was_not_drilled() -> None:
    points = [point(0, "local", "offsite")]
    drilled = [Drilled(source, "local", NOW + DAY, "0000") for source in SOURCES]
    drilled.append(Drilled("uploads", "offsite", NOW + 2 * DAY, "0000"))
    turn = next_repository(points, drilled, NOW + 3 * DAY, sources=SOURCES, proof_age=7 * DAY)
    assert turn is not None
    assert turn.repository == "offsite"


def test_after_three_of_the_newest_an_older_one_has_its_turn() -> None:
    points = [point(day, "local") for day in range(4)]
    drilled: list[Drilled] = []
    seen = []
    for number in range(9):
        now = NOW + (4 + number) * DAY
        turn = turn_of(points, drilled, now)
        assert turn is not None
        seen.append(turn.point)
        drilled += drills(turn, now, points)
    assert seen == ["0003", "0003", "0003", "0000", "0003", "0003", "0003", "0001", "0003"]


def test_drills_of_points_that_are_gone_count_as_well() -> None:
    points = [point(3, "local"), point(4, "local")]
    of_newest = [Drilled(source, "local", NOW, None) for _ in range(3) for source in SOURCES]
    for older, expected in ((False, "0003"), (True, "0004")):
        last = [Drilled(source, "local", NOW, None, older) for source in SOURCES]
        turn = turn_of(points, [*of_newest, *last], NOW + 5 * DAY)
        assert turn is not None
        assert turn.point == expected
