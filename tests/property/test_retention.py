"""Retention for all histories: I3, reasons, and that deciding twice decides nothing more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.plan.retention import Decision, Kept, Rules, decide, shrunk
from tests.support.retention_ground import some_rules

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
COUNTS = st.one_of(st.none(), st.integers(0, 12))
RULES = some_rules(last=st.one_of(st.none(), st.integers(1, 5)), counts=COUNTS)
HISTORIES = st.lists(
    st.builds(
        lambda minutes, proven, pinned, unremembered, tags, lacking: Kept(
            "",
            NOW - timedelta(minutes=minutes),
            tags,
            proven,
            pinned,
            lacking=lacking,
            unremembered=unremembered,
        ),
        st.integers(-60 * 24 * 3, 60 * 24 * 900),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.frozensets(st.sampled_from("abc")),
        st.sampled_from([False, False, True]),
    ),
    max_size=40,
).map(lambda kept: [replace(one, id=f"{place:02d}") for place, one in enumerate(kept)])


def kept_ids(decisions: list[Decision]) -> set[str]:
    return {one.id for one in decisions if one.keep}


@given(HISTORIES, RULES)
def test_every_snapshot_gets_one_decision_with_a_reason(history: list[Kept], rules: Rules) -> None:
    decisions = decide(history, rules, NOW)
    assert sorted(one.id for one in decisions) == sorted(one.id for one in history)
    assert all(one.because for one in decisions)
    assert all((one.because == ("no rule keeps it",)) != one.keep for one in decisions)


@given(HISTORIES, RULES)
def test_the_newest_and_the_newest_proven_stay(history: list[Kept], rules: Rules) -> None:
    kept = kept_ids(decide(history, rules, NOW))
    past = [one for one in history if one.time <= NOW + timedelta(minutes=1)]
    if past:
        assert max(past, key=lambda one: one.time).time in {
            one.time for one in past if one.id in kept
        }
    proven = [one for one in past if one.proven]
    if proven:
        newest = max(one.time for one in proven)
        assert any(one.id in kept for one in proven if one.time == newest)


@given(HISTORIES, RULES)
def test_pinned_and_future_ones_stay(history: list[Kept], rules: Rules) -> None:
    kept = kept_ids(decide(history, rules, NOW))
    for one in history:
        if one.pinned or one.unremembered or one.time > NOW + timedelta(minutes=1):
            assert one.id in kept


@given(HISTORIES, RULES)
def test_what_was_kept_is_kept_again(history: list[Kept], rules: Rules) -> None:
    """A second run at the same moment drops nothing more: nothing goes little by little."""
    kept = kept_ids(decide(history, rules, NOW))
    again = [one for one in history if one.id in kept]
    assert kept_ids(decide(again, rules, NOW)) == kept


@given(HISTORIES, RULES)
def test_a_future_snapshot_displaces_no_other(history: list[Kept], rules: Rules) -> None:
    """Somebody who can write snapshots can't make retention drop the honest ones."""
    honest = [one for one in history if one.time <= NOW]
    forged = [Kept(f"forged {n}", NOW + timedelta(days=n + 1)) for n in range(20)]
    before, after = (
        kept_ids(decide(honest, rules, NOW)),
        kept_ids(decide(honest + forged, rules, NOW)),
    )
    assert after - before == {one.id for one in forged}
    assert before <= after


@given(HISTORIES, RULES)
def test_what_lacks_something_displaces_nothing_whole(history: list[Kept], rules: Rules) -> None:
    whole = [one for one in history if not one.lacking]
    before, after = kept_ids(decide(whole, rules, NOW)), kept_ids(decide(history, rules, NOW))
    assert after & {one.id for one in whole} == before


def test_of_two_of_one_moment_the_whole_one_counts() -> None:
    """A snapshot that was repaired, and its whole copy that came back."""
    moment = NOW - timedelta(days=1)
    repaired, whole = Kept("repaired", moment, recorded=7, lacking=True), Kept("whole", moment)
    assert kept_ids(decide([repaired, whole], Rules(last=1), NOW)) == {"whole"}
    assert kept_ids(decide([repaired], Rules(last=1), NOW)) == {"repaired"}


@given(HISTORIES, RULES)
def test_while_it_is_suspended_nothing_goes(history: list[Kept], rules: Rules) -> None:
    decisions = decide(history, rules, NOW, suspended="the newest capture failed")
    assert all(one.keep for one in decisions)


@given(HISTORIES, RULES)
def test_more_rules_keep_no_less(history: list[Kept], rules: Rules) -> None:
    more = replace(rules, daily=timedelta(days=400), weekly=timedelta(days=400))
    assert kept_ids(decide(history, Rules(last=1), NOW)) <= kept_ids(decide(history, more, NOW)) | (
        kept_ids(decide(history, Rules(last=1), NOW))
    )
    if not rules.keeps_nothing and rules.daily is None and rules.weekly is None:
        assert kept_ids(decide(history, rules, NOW)) <= kept_ids(decide(history, more, NOW))


def test_without_a_rule_everything_stays() -> None:
    history = [Kept(f"{n}", NOW - timedelta(days=n)) for n in range(5)]
    assert all(one.keep for one in decide(history, Rules(), NOW))
    assert all(one.keep for one in decide(history, Rules(forever=True), NOW))


def test_a_clock_that_was_set_back_is_not_trusted() -> None:
    """What was written later and is dated earlier stays, and is counted nowhere."""
    times = [10, 9, 8, 300, 7]
    history = [
        Kept(f"{place}", NOW - timedelta(days=days), recorded=place)
        for place, days in enumerate(times)
    ]
    decisions = {one.id: one for one in decide(history, Rules(last=2), NOW)}
    assert decisions["3"].because == ("it is dated before one that was written earlier",)
    assert kept_ids(list(decisions.values())) == {"4", "3", "2"}


def test_a_day_begins_where_the_zone_says() -> None:
    """Dubai is four hours ahead: 21:00 and 19:00 UTC are different days there."""
    history = [
        Kept("late", datetime(2026, 11, 24, 21, tzinfo=UTC)),
        Kept("early", datetime(2026, 11, 24, 19, tzinfo=UTC)),
        Kept("older", datetime(2026, 11, 1, tzinfo=UTC)),
    ]
    rules = Rules(daily=timedelta(days=10))
    assert kept_ids(decide(history, rules, NOW)) == {"late", "older"} - {"older"}
    there = decide(history, rules, NOW, zone=ZoneInfo("Asia/Dubai"))
    assert kept_ids(there) == {"late", "early"}


def test_the_last_days_of_a_year_belong_to_an_iso_week() -> None:
    days = [datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
    days += [datetime(2027, 1, 4, tzinfo=UTC)]
    history = [Kept(f"{day:%m-%d}", day) for day in days]
    later = datetime(2027, 1, 5, tzinfo=UTC)
    kept = kept_ids(decide(history, Rules(weekly_count=2), later))
    assert kept == {"01-04", "01-01"}


@pytest.mark.parametrize(
    ("sizes", "unusual"),
    [([], False), ([100], False), ([100, 90], False), ([100, 49], True), ([1, 1, 100, 60], False),
     ([100, 100, None], False), ([100, None, 100, 0], True), ([0, 0], False)],
)  # fmt: skip
def test_a_capture_that_shrank_is_unusual(sizes: list[int | None], unusual: bool) -> None:
    assert (shrunk(sizes) is not None) == unusual
