"""I5 for every check: neither time, nor a broken ledger, nor good news that is left out make any of
them better, or the whole."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.check import WORST_LAST, Check
from strongroom.report.history import Delivery, Ending, History, Reach, Run
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.noticed import Noticed
from strongroom.report.observation import Capture, Evidence
from tests.support.evidence_ground import (
    NOW,
    PROMISE,
    WHOLE,
    ago,
    captures_of,
    evidence,
    history,
    inspection,
    proof,
    prune,
    run,
    space,
)

HOURS = st.integers(4, 1200)
REPOSITORIES = st.sampled_from(["local", "offsite"])
SOURCES = st.sampled_from(["database", "uploads"])


def _dated(hours: list[int], make: Any) -> tuple[Any, ...]:  # Any: whatever is dated
    return tuple(make(seq, ago(hours=one)) for seq, one in enumerate(sorted(hours)[::-1], 10))


@st.composite
def _captures(draw: st.DrawFn) -> tuple[Capture, ...]:
    found: list[Capture] = []
    for place, hours in enumerate(sorted(draw(st.lists(HOURS, max_size=6)))[::-1]):
        grave = Noticed("capture-incomplete", Severity.UNKNOWN, "x", "it went away")
        mild = Noticed("file-changed", Severity.WARNING, "x", "it changed")
        found += captures_of(
            draw(SOURCES),
            seq=10 + place,
            begun_at=ago(hours=hours),
            point=f"point {place}",
            size_bytes=draw(st.sampled_from([0, 1 << 20, 5 << 20, 5 << 20, None])),
            findings=draw(st.sampled_from([(), (), (), (grave,), (mild,)])),
        )[: draw(st.integers(1, 2))]
    return tuple(found)


@st.composite
def _history(draw: st.DrawFn) -> History:
    def some(make: Any) -> tuple[Any, ...]:  # Any: whatever is dated
        return _dated(draw(st.lists(HOURS, max_size=4)), make)

    return history(
        runs=some(
            lambda seq, at: run(
                draw(st.sampled_from(["capture", "check"])),
                draw(st.sampled_from(["database", "uploads", "local", ""])),
                seq=seq,
                begun_at=at,
                ending=draw(st.sampled_from(Ending)),
            )
        ),
        inspections=some(
            lambda seq, at: inspection(
                draw(REPOSITORIES),
                seq=seq,
                at=at,
                is_sound=draw(st.sampled_from([True, True, False])),
                read_data=draw(st.booleans()),
                content=draw(st.booleans()),
                oldest_read_at=draw(st.sampled_from([None, at])),
            )
        ),
        prunes=some(
            lambda seq, at: prune(
                draw(REPOSITORIES),
                seq=seq,
                at=at,
                ended=draw(st.sampled_from([True, True, False])),
                policy=draw(st.sampled_from(["p", "p", "", "q"])),
            )
        ),
        deliveries=some(
            lambda seq, at: Delivery(seq, at, "operators", draw(st.booleans()), "refused")
        ),
        spaces=some(lambda seq, at: space(draw(st.integers(0, 60)), seq=seq, at=at)),
        reaches=some(lambda seq, at: Reach(seq, at, draw(REPOSITORIES), draw(st.booleans()))),
    )


@st.composite
def _evidence(draw: st.DrawFn) -> Evidence:
    proofs = _dated(
        draw(st.lists(HOURS, max_size=5)),
        lambda seq, at: proof(
            seq,
            draw(SOURCES),
            at=at,
            verdict=draw(st.sampled_from([Verdict.PROVEN, Verdict.PROVEN, Verdict.FAILED])),
            repository=draw(REPOSITORIES),
            point=draw(st.sampled_from(["point 1", "point 2"])),
        ),
    )
    return evidence(*proofs, captures=draw(_captures()), history=draw(_history()))


def _judge(known: Evidence, hours: int = 0) -> Report:
    return judge_evidence(known, PROMISE, NOW + timedelta(hours=hours))


def _place(verdict: Verdict) -> int:
    return WORST_LAST.index(verdict)


def _expect_none_better(
    worse: Report, known: Report, *, besides: frozenset[str] = frozenset()
) -> None:
    of_known = {one.key: one for one in known.checks}
    assert {one.key for one in worse.checks} == of_known.keys()
    for one in worse.checks:
        if one.name not in besides:
            other: Check = of_known[one.key]
            assert _place(one.verdict) >= _place(other.verdict), (one, other)
            assert _place(one.of_whole) >= _place(other.of_whole)
    if not besides:
        assert _place(worse.verdict) >= _place(known.verdict)


@given(known=_evidence(), hours=st.integers(1, 1000))
def test_time_makes_no_check_better(known: Evidence, hours: int) -> None:
    # What was odd is listed for a month, and costs no verdict.
    _expect_none_better(_judge(known, hours), _judge(known), besides=frozenset({"anomalies"}))
    assert _place(_judge(known, hours).verdict) >= _place(_judge(known).verdict)


@given(known=_evidence())
def test_a_broken_ledger_makes_no_check_better(known: Evidence) -> None:
    chain = dataclasses.replace(WHOLE, faults=("line 3: edited",))
    _expect_none_better(_judge(dataclasses.replace(known, chain=chain)), _judge(known))


@given(known=_evidence(), data=st.data())
def test_good_news_that_are_left_out_make_no_check_better(
    known: Evidence, data: st.DataObject
) -> None:
    past = known.history
    good: dict[str, list[Any]] = {  # Any: of each kind its own
        "runs": [one for one in past.runs if one.ending is Ending.DONE],
        "inspections": [one for one in past.inspections if one.is_sound],
        "prunes": [one for one in past.prunes if one.ended and one.policy == "p"],
        "deliveries": [one for one in past.deliveries if one.delivered],
        "reaches": [one for one in past.reaches if one.reached],
    }
    kinds = [name for name, found in good.items() if found]
    if not kinds:
        return
    name = data.draw(st.sampled_from(kinds))
    gone = data.draw(st.sampled_from(good[name]))
    left = tuple(one for one in getattr(past, name) if one is not gone)
    changed: dict[str, Any] = {name: left}  # Any: as above
    less = dataclasses.replace(known, history=dataclasses.replace(past, **changed))
    _expect_none_better(_judge(less), _judge(known))


@given(known=_evidence(), data=st.data())
def test_a_capture_less_makes_nothing_fresher(known: Evidence, data: st.DataObject) -> None:
    """A capture that is much too old is a failure; without it, nobody knows of any."""
    if not known.captures:
        return
    gone = data.draw(st.sampled_from(sorted({one.seq for one in known.captures})))
    left = tuple(one for one in known.captures if one.seq != gone)
    less, more = _judge(dataclasses.replace(known, captures=left)), _judge(known)
    for source in ("database", "uploads"):
        one, other = less.check("capture", source), more.check("capture", source)
        assert one is not None
        assert other is not None
        least = min(other.verdict, Verdict.UNKNOWN, key=_place)
        assert _place(one.verdict) >= _place(least)


@given(known=_evidence())
def test_the_whole_is_never_better_than_any_part_allows(known: Evidence) -> None:
    report = _judge(known)
    parts = [one.of_whole for one in report.checks] + [one.verdict for one in report.sources]
    assert _place(report.verdict) >= max(map(_place, parts))
    until = report.valid_until(timedelta(days=30))
    assert NOW < until <= NOW + timedelta(days=30)


@given(known=_evidence(), share=st.floats(0, 0.999))
def test_nothing_gets_worse_before_it_is_said_to(known: Evidence, share: float) -> None:
    report = _judge(known)
    until = report.valid_until(timedelta(days=30))
    then = NOW + share * (until - NOW)
    assert judge_evidence(known, PROMISE, then).verdict is report.verdict


def test_a_run_that_is_left_out_is_noticed() -> None:
    """So that the properties above say something."""
    known = evidence(proof(2), proof(3, "uploads"))
    less = dataclasses.replace(known, history=history(runs=()))
    assert _judge(known).verdict is Verdict.PROVEN
    assert _judge(less).verdict is not Verdict.PROVEN
    assert isinstance(run("capture"), Run)
