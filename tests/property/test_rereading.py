"""Reading again: the longest unread first, within bounds, and everything in the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.plan.rereading import EVERYTHING, Amount, choose_packs, parse_amount

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SIZES = st.dictionaries(st.integers(0, 10**6).map(str), st.integers(1, 1 << 24), max_size=30)
TIMES = st.dictionaries(
    st.integers(0, 10**6).map(str),
    st.integers(0, 400).map(lambda days: NOW - timedelta(days=days)),
    max_size=30,
)


@given(SIZES, TIMES)
def test_without_bounds_everything_is_read(
    sizes: dict[str, int], read_at: dict[str, datetime]
) -> None:
    chosen = choose_packs(sizes, read_at, EVERYTHING, NOW)
    assert sorted(chosen.packs) == sorted(sizes)
    assert chosen.left == ()


@given(SIZES, st.floats(0.01, 1), st.data())
def test_the_longest_unread_come_first_and_bounds_hold(
    sizes: dict[str, int], share: float, data: st.DataObject
) -> None:
    known = data.draw(st.sets(st.sampled_from(sorted(sizes))) if sizes else st.just(set()))
    read_at = {pack: NOW - timedelta(days=data.draw(st.integers(0, 90))) for pack in sorted(known)}
    chosen = choose_packs(sizes, read_at, Amount(share=share), NOW)
    ages = [read_at.get(pack, datetime.min.replace(tzinfo=UTC)) for pack in chosen.packs]
    assert ages == sorted(ages)
    for left in chosen.left:
        assert all(read_at.get(left, ages[-1]) >= age for age in ages) or left not in read_at
    taken = [sizes[pack] for pack in chosen.packs]
    assert sum(taken[:-1]) < max(1, share * sum(sizes.values()))
    assert bool(chosen.packs) == bool(sizes)
    assert sorted((*chosen.packs, *chosen.left)) == sorted(sizes)


@given(SIZES, st.floats(0.05, 1))
def test_a_share_each_day_comes_to_everything(sizes: dict[str, int], share: float) -> None:
    read_at: dict[str, datetime] = {}
    days = int(1 / share) + 1
    for day in range(days):
        now = NOW + timedelta(days=day)
        chosen = choose_packs(sizes, read_at, Amount(share=share), now)
        read_at |= dict.fromkeys(chosen.packs, now)
    assert read_at.keys() == sizes.keys()


def test_only_what_is_due_is_read() -> None:
    sizes = {"fresh": 10, "old": 10, "edge": 10, "never": 10}
    read_at = {
        "fresh": NOW - timedelta(days=29),
        "old": NOW - timedelta(days=31),
        "edge": NOW - timedelta(days=30),
    }
    due = choose_packs(sizes, read_at, Amount(older_than=timedelta(days=30)), NOW)
    assert due.packs == ("never", "old", "edge")
    little = Amount(most_bytes=11, older_than=timedelta(days=30))
    some = choose_packs(sizes, read_at, little, NOW)
    assert (some.packs, some.left) == (("never", "old"), ("edge",))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("10%", Amount(share=0.1)),
        ("0.5%", Amount(share=0.005)),
        ("100%", Amount(share=1.0)),
        ("5GiB", Amount(most_bytes=5 << 30)),
        ("1048576", Amount(most_bytes=1 << 20)),
    ],
)
def test_amounts(text: str, amount: Amount) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text", ["", "0%", "101%", "-1%", "nan%", "x%", "1/10", "5 GB", "0", "inf%"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"10%|at most 100%"):
        parse_amount(text)
