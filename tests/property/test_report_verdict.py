"""I5: less information, a broken ledger or more time never make a report better."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from strongroom.findings import Severity
from strongroom.model import Digests, Verdict
from strongroom.report.judgement import WORST_LAST, Report, judge_evidence
from strongroom.report.observation import Evidence, Observation
from tests.support.evidence_ground import NOW, PROMISE, WHOLE, ago, evidence, noticed, proof


@st.composite
def _observations(draw: st.DrawFn) -> list[Observation]:
    """A ledger's proofs, oldest first."""
    hours = sorted(draw(st.lists(st.integers(0, 400), max_size=8)), reverse=True)
    return [
        proof(
            seq,
            draw(st.sampled_from(["database", "uploads"])),
            at=ago(hours=passed),
            verdict=draw(st.sampled_from([*Verdict, Verdict.PROVEN, None])),
            action=draw(st.sampled_from(["drill", "restore", "prove"])),
            repository=draw(st.sampled_from(["local", "offsite", "gone", ""])),
            checked=draw(st.sampled_from([0, 5, 5])),
            findings=draw(
                st.lists(
                    st.sampled_from(Severity).map(lambda one: noticed("x", one)), max_size=1
                ).map(tuple)
            ),
            digests=draw(st.sampled_from([None, Digests("a", "a", ""), Digests("a", "b", "")])),
            reused_bytes=draw(st.sampled_from([0, 0, 1])),
            of_past=draw(st.sampled_from([False, False, True])),
            run=draw(st.sampled_from(["r", "s", ""])),
        )
        for seq, passed in enumerate(hours, 2)
    ]


@st.composite
def _evidence(draw: st.DrawFn) -> Evidence:
    observations = draw(_observations())
    since = draw(st.sampled_from([None, ago(hours=100)]))
    return evidence(*observations, since=since, drill=draw(st.sampled_from([None, 3])))


def _judge(given_evidence: Evidence, hours: int = 0) -> Report:
    return judge_evidence(given_evidence, PROMISE, NOW + timedelta(hours=hours))


def _expect_never_better(worse: Report, known: Report) -> None:
    def place(verdict: Verdict) -> int:
        return WORST_LAST.index(verdict)

    assert place(worse.verdict) >= place(known.verdict)
    for one, other in zip(worse.sources, known.sources, strict=True):
        assert place(one.verdict) >= place(other.verdict)


@given(known=_evidence(), data=st.data())
def test_a_proof_less_makes_nothing_better(known: Evidence, data: st.DataObject) -> None:
    proven = [
        one
        for one in known.observations
        if one.verdict is Verdict.PROVEN and Severity.FAILURE not in one.severities
    ]
    left_out = data.draw(st.sampled_from(proven)) if proven else None
    left = tuple(one for one in known.observations if one is not left_out)
    if left_out is None or Severity.UNKNOWN in left_out.severities or left_out.checked == 0:
        return  # an honest "not known" may stand after a proof
    if left_out.digests is not None and not left_out.digests.agree:
        return
    _expect_never_better(_judge(dataclasses.replace(known, observations=left)), _judge(known))


@given(known=_evidence())
def test_a_broken_ledger_makes_nothing_better(known: Evidence) -> None:
    broken = dataclasses.replace(known, chain=dataclasses.replace(WHOLE, faults=("line 3",)))
    report = _judge(broken)
    _expect_never_better(report, _judge(known))
    assert report.verdict in (Verdict.UNKNOWN, Verdict.FAILED)


@given(known=_evidence(), hours=st.integers(1, 1000))
def test_time_makes_nothing_better(known: Evidence, hours: int) -> None:
    _expect_never_better(_judge(known, hours), _judge(known))


@given(known=_evidence())
def test_what_is_asked_for_hides_no_failure(known: Evidence) -> None:
    whole = _judge(dataclasses.replace(known, since=None, drill=None))
    for one, other in zip(_judge(known).sources, whole.sources, strict=True):
        if any(
            judged.verdict is Verdict.FAILED and judged.observation.source == other.name
            for judged in whole.proofs
        ):
            assert one.verdict is Verdict.FAILED
