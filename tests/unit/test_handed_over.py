"""Drills that were made elsewhere: when they were observed counts, not when they arrived."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from strongroom.evidence import Entry
from strongroom.model import Verdict
from strongroom.report.collection import evidence_of
from strongroom.report.handed_over import observed_at
from strongroom.report.history import Ending
from strongroom.report.judgement import judge_evidence
from strongroom.report.observation import Scope, SourceScope
from strongroom.report.store_check import Holdings
from tests.support.evidence_ground import NOW, PROMISE, WHOLE, ago

ONE = Scope("tms", (SourceScope("uploads", "files"),), ("local",))


def record(seq: int, kind: str, at: datetime, **fields: Any) -> Entry:  # Any: JSON values
    return Entry(seq, at, kind, fields, "")


def drill(seq: int, at: datetime, verdict: str, **more: Any) -> Any:  # Any: JSON values
    fields = {"source": "uploads", "repository": "local", "verdict": verdict, "checked": 3}
    return record(seq, "drill", at, **fields, **more)


def handed(at: datetime) -> dict[str, str]:
    return {"observed_at": at.isoformat(), "handed_over": "alpha/tms/drill/x/0"}


def test_it_was_observed_when_it_was_done_and_never_later_than_it_is_recorded() -> None:
    assert observed_at(drill(1, NOW, "PROVEN")) == NOW
    assert observed_at(drill(1, NOW, "PROVEN", **handed(ago(days=2)))) == ago(days=2)
    # A worker whose clock is ahead does not make a proof any newer.
    assert observed_at(drill(1, NOW, "PROVEN", **handed(ago(days=-2)))) == NOW
    assert observed_at(drill(1, NOW, "PROVEN", observed_at="yesterday")) == NOW


def test_a_proof_that_arrives_late_is_as_old_as_it_is() -> None:
    age = PROMISE.proof_age + timedelta(hours=1)
    found = evidence_of(ONE, WHOLE, [drill(1, NOW, "PROVEN", **handed(NOW - age))])
    [source] = judge_evidence(found, PROMISE, NOW).sources
    assert source.verdict is Verdict.STALE


def test_a_proof_that_arrives_late_hides_no_failure_that_was_found_since() -> None:
    failed = drill(1, ago(hours=2), "FAILED")
    late = drill(2, ago(hours=1), "PROVEN", **handed(ago(hours=5)))
    found = evidence_of(ONE, WHOLE, [failed, late])
    assert [one.seq for one in found.observations] == [2, 1]
    [source] = judge_evidence(found, PROMISE, NOW).sources
    assert source.verdict is Verdict.FAILED
    # In time, it is newer and counts.
    in_time = drill(2, ago(hours=1), "PROVEN", **handed(ago(hours=1)))
    [source] = judge_evidence(evidence_of(ONE, WHOLE, [failed, in_time]), PROMISE, NOW).sources
    assert source.verdict is Verdict.PROVEN


def test_a_run_that_arrives_late_makes_no_later_failure_good() -> None:
    def job(seq: int, at: datetime, status: int, **more: Any) -> Any:  # Any: JSON values
        fields = {"job": "drill", "action": "drill", "exit_status": status}
        return record(seq, "job", at, **fields, **more)

    failed = job(1, ago(hours=2), 20)
    late = job(2, ago(hours=1), 0, **handed(ago(hours=5)))
    runs = evidence_of(ONE, WHOLE, [failed, late]).history.runs
    assert [one.ending for one in runs] == [Ending.DONE, Ending.FAILED]


def test_a_drill_that_arrives_late_does_not_bring_a_store_back_that_went_away_since() -> None:
    away = record(1, "verify", ago(hours=2), list="daily", reached=[
        {"repository": "local", "reached": False, "error": "refused"},
    ])  # fmt: skip
    late = drill(2, ago(hours=1), "PROVEN", **handed(ago(hours=5)))
    assert Holdings(evidence_of(ONE, WHOLE, [away, late])).away == {"local": "refused"}
    here = drill(2, ago(hours=1), "PROVEN")
    assert Holdings(evidence_of(ONE, WHOLE, [away, here])).away == {}
