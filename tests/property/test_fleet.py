"""I5 for a fleet: less information about others makes nothing better, whatever they said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from strongroom.evidence import Entry
from strongroom.model import Verdict
from strongroom.report.check import WORST_LAST, Check
from strongroom.report.collection import evidence_of
from strongroom.report.fleet import AGENT, DRILLS, Fleet, Look, check_fleet
from tests.support.evidence_ground import BEAT, NOW, SCOPE, WHOLE, ago

verdicts = st.sampled_from([*Verdict, None])
looks = st.dictionaries(
    st.text(max_size=4),
    st.builds(
        Look,
        name=st.just(""),
        role=st.sampled_from([AGENT, DRILLS, "other"]),
        application=st.text(max_size=4),
        is_there=st.booleans(),
        verdict=verdicts,
        seen_at=st.none() | st.integers(-5, 5000).map(lambda minutes: ago(minutes=minutes)),
        heartbeat=st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
    ),
    max_size=4,
)


def judged(seen: dict[str, Look], *, watched: bool = True, alone: bool = False) -> dict[str, Check]:
    named = {name: replace(one, name=name) for name, one in seen.items()}
    known = Fleet(named, dict.fromkeys(named, ago(hours=2)), dict.fromkeys(named, 8))
    alone_since = ago(minutes=4) if alone else None
    return {
        one.key: one for one in check_fleet(known, (BEAT,) if watched else (), alone_since, NOW)
    }


def no_better(made: dict[str, Check], than: dict[str, Check]) -> bool:
    place = WORST_LAST.index
    return all(place(made[key].verdict) >= place(one.verdict) for key, one in than.items())


@given(looks)
def test_who_is_lost_is_no_better_than_before(seen: dict[str, Look]) -> None:
    there = judged({name: replace(one, is_there=True) for name, one in seen.items()})
    lost = judged({name: replace(one, is_there=False) for name, one in seen.items()})
    assert no_better(lost, there)
    assert not any(one.is_well for one in lost.values())


@given(looks)
def test_what_nobody_watches_is_no_better(seen: dict[str, Look]) -> None:
    watched = judged(seen)
    for unwatched in (judged(seen, watched=False), judged(seen, alone=True)):
        assert unwatched.keys() == watched.keys()
        assert no_better(unwatched, watched)
        assert not any(one.is_well for one in unwatched.values())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["PROVEN", "FAILED"]),
            st.integers(0, 50),
            st.none() | st.integers(0, 99),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_observations_stand_in_the_order_of_their_times_as_far_as_they_were_handed_over(
    told: list[tuple[str, int, int | None]],
) -> None:
    """Each record an hour after the one before; some tell of drills that were made earlier."""
    records = []
    for seq, (verdict, _, earlier) in enumerate(told):
        at = ago(hours=100 - seq)
        fields = {"source": "uploads", "repository": "local", "verdict": verdict, "checked": 1}
        if earlier is not None:
            fields["observed_at"] = (at - timedelta(hours=earlier)).isoformat()
        records.append(Entry(seq, at, "drill", fields, ""))
    found = evidence_of(SCOPE, WHOLE, records).observations
    assert {one.seq for one in found} == {one.seq for one in records}
    assert [one.at for one in found] == sorted(one.at for one in found)
