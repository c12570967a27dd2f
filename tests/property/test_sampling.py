"""A database drilled in parts: the longest unproven first, and everything in its time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.plan.sampling import choose_sample, default_share, parse_share

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SIZES = st.dictionaries(
    st.integers(0, 10**6).map(str),
    st.one_of(st.integers(0, 1 << 16), st.integers(0, 1 << 34)),
    max_size=40,
)


@given(SIZES, st.integers(1, 60))
def test_a_sample_each_day_covers_all_within_proof_age(sizes: dict[str, int], days: int) -> None:
    proof_age = days * DAY
    share = default_share(proof_age)
    proven: dict[str, datetime] = {}
    for day in range(3 * days):
        now = NOW + day * DAY
        proven |= dict.fromkeys(choose_sample(sizes, proven, share).taken, now)
        if day >= days:
            assert all(now - proven[name] <= proof_age for name in sizes), day


@given(SIZES, st.floats(0.01, 1), st.data())
def test_the_longest_unproven_come_first(
    sizes: dict[str, int], share: float, data: st.DataObject
) -> None:
    proven = {
        name: NOW - data.draw(st.integers(0, 90)) * DAY
        for name in sizes
        if data.draw(st.booleans())
    }
    sample = choose_sample(sizes, proven, share)
    assert sorted((*sample.taken, *sample.left)) == sorted(sizes)
    assert bool(sample.taken) == bool(sizes)
    never = datetime.min.replace(tzinfo=UTC)
    latest = max((proven.get(name, never) for name in sample.taken), default=never)
    assert all(proven.get(name, never) >= latest for name in sample.left)


@given(SIZES, st.floats(0.01, 0.5))
def test_what_is_too_big_for_the_share_goes_alone(sizes: dict[str, int], share: float) -> None:
    bound = max(1.0, share * sum(sizes.values()))
    sample = choose_sample(sizes, {}, share)
    giants = [name for name in sample.taken if sizes[name] > bound]
    assert not giants or [name for name in sample.taken if sizes[name]] == giants[:1]
    if not giants:
        assert sum(sizes[name] for name in sample.taken) < 2 * bound


def test_all_is_all() -> None:
    sizes = {"a": 5, "b": 3, "empty": 0}
    assert choose_sample(sizes, {}, 1.0).left == ()
    assert choose_sample({}, {}, 0.5).taken == ()


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("100%", 1.0), ("0.5%", 0.005), ("33.3%", 0.333)]
)
def test_a_share_is_read(text: str, share: float) -> None:
    assert math.isclose(parse_share(text), share)


@pytest.mark.parametrize("text", ["", "%", "10", "0%", "101%", "-1%", "nan%", "inf%", "ten%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="above 0% and at most 100%"):
        parse_share(text)
