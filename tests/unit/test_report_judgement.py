"""What evidence amounts to: cases of records, and the verdict that they are worth."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from strongroom.findings import Severity
from strongroom.model import Digests, Stage, Verdict
from strongroom.report.judgement import Report, State, judge_evidence
from strongroom.report.observation import Evidence, Observation, captures, observation
from tests.support.evidence_ground import (
    NOW,
    PROMISE,
    SCOPE,
    WHOLE,
    ago,
    captures_of,
    evidence,
    noticed,
    proof,
)

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
BROKEN = dataclasses.replace(WHOLE, faults=("line 3: the line's hash does not fit its text",))


def judged(*observations: Observation, **more: object) -> Report:
    return judge_evidence(evidence(*observations, **more), PROMISE, NOW)


def whys(report: Report, subject: str) -> list[str]:
    return [one.why for one in report.gaps if one.subject == subject]


def test_all_proven_is_proven() -> None:
    report = judged(proof(2), proof(3, "uploads"))
    assert report.verdict is PROVEN
    assert [one.verdict for one in report.sources] == [PROVEN, PROVEN]
    assert report.because == "All 2 sources were restored and found identical to what was captured."
    assert {one.name: one.state for one in report.objectives} == dict.fromkeys(
        ("RPO", "RTO", "Proof age", "Copies"), State.MET
    )


# One record of the database, and what it is worth.
WORTH = {
    "as it was recorded": (proof(2), PROVEN),
    "proven too long ago": (proof(2, at=ago(days=7, seconds=1)), STALE),
    "recorded as stale": (proof(2, verdict=STALE), STALE),
    "failed": (proof(2, verdict=FAILED), FAILED),
    "failed long ago": (proof(2, verdict=FAILED, at=ago(days=90)), FAILED),
    "nothing compared": (proof(2, checked=0), UNKNOWN),
    "stopped": (proof(2, verdict=UNKNOWN, checked=0, repository="", error="no sandbox"), UNKNOWN),
    "a failure among its findings": (
        proof(2, findings=(noticed("content-differs", Severity.FAILURE),)),
        FAILED,
    ),
    "a failure among those left out": (proof(2, left_out={Severity.FAILURE: 1}), FAILED),
    "something unchecked": (
        proof(2, findings=(noticed("content-unchecked", Severity.UNKNOWN),)),
        UNKNOWN,
    ),
    "a warning": (proof(2, findings=(noticed("ledger-adopted", Severity.WARNING),)), PROVEN),
    "digests that differ": (proof(2, digests=Digests("e" * 64, "0" * 64, "rows")), UNKNOWN),
    "an old record without digests": (proof(2, digests=None), PROVEN),
    "dated in the future": (proof(2, at=ago(hours=-1)), UNKNOWN),
    "of a store's past": (proof(2, of_past=True), UNKNOWN),
    "not all read from the store": (proof(2, action="restore", reused_bytes=1), UNKNOWN),
    "bad, and not all read": (
        proof(2, action="restore", reused_bytes=1, verdict=FAILED),
        FAILED,
    ),
    "a comparison with what others have": (proof(2, action="prove"), UNKNOWN),
    "a whole restore": (proof(2, action="restore"), PROVEN),
    "a part restored": (proof(2, action="restore", verdict=None, checked=0), UNKNOWN),
    "from a repository that is configured no more": (proof(2, repository="gone"), UNKNOWN),
}


@pytest.mark.parametrize("case", WORTH)
def test_a_record_is_worth(case: str) -> None:
    record, expected = WORTH[case]
    report = judged(record, proof(3, "uploads"))
    assert report.sources[0].verdict is expected
    assert report.verdict is expected
    assert report.because.startswith("All" if expected is PROVEN else "database: ")


@pytest.mark.parametrize("case", WORTH)
def test_a_broken_ledger_proves_nothing(case: str) -> None:
    record, expected = WORTH[case]
    report = judged(record, chain=BROKEN)
    assert report.sources[0].verdict is (FAILED if expected is FAILED else UNKNOWN)
    assert report.verdict in (UNKNOWN, FAILED)
    assert "line 3: the line's hash does not fit its text" in whys(report, "ledger")


def test_nothing_known_is_unknown() -> None:
    report = judged()
    assert report.verdict is UNKNOWN
    assert "nobody has brought it back" in whys(report, "uploads")
    assert "the copy in offsite is not proven within 7 days: never proven" in whys(
        report, "uploads"
    )
    nobody = judge_evidence(Evidence(dataclasses.replace(SCOPE, sources=()), WHOLE), PROMISE, NOW)
    assert nobody.verdict is UNKNOWN


def test_the_newest_record_counts() -> None:
    better = judged(proof(2, verdict=FAILED), proof(3), proof(4, "uploads"))
    assert better.verdict is PROVEN
    worse = judged(proof(2), proof(3, verdict=UNKNOWN, checked=0), proof(4, "uploads"))
    assert worse.sources[0].verdict is UNKNOWN


def test_a_copy_that_failed_is_not_outshone_by_another_repository() -> None:
    failed = proof(2, repository="offsite", verdict=FAILED, at=ago(days=40), error="a pack is gone")
    for asked in ({}, {"since": ago(days=1)}, {"drill": 3}):
        report = judged(failed, proof(3), proof(4, "uploads"), **asked)
        assert report.sources[0].verdict is FAILED
        assert report.sources[0].because == (
            "the copy in offsite failed (record 2): a pack is gone"
        )
        assert [one.observation.seq for one in report.proofs][:2] == [3, 2]
    healed = judged(failed, proof(3), proof(5, repository="offsite"), proof(6, "uploads"))
    assert healed.verdict is PROVEN


def test_a_drill_that_could_not_begin_counts_until_one_can() -> None:
    stopped = proof(2, repository="", verdict=FAILED, checked=0)
    assert judged(stopped, proof(4, "uploads")).verdict is FAILED
    assert judged(stopped, proof(3), proof(4, "uploads")).verdict is PROVEN


def test_what_lies_before_the_period_is_not_known() -> None:
    report = judged(proof(2, at=ago(days=2)), proof(3, "uploads"), since=ago(days=1))
    assert report.sources[0].verdict is UNKNOWN
    assert report.sources[0].because == "nobody has brought it back in this period"
    assert report.sources[1].verdict is PROVEN


def test_one_drill_is_all_records_of_its_run() -> None:
    drilled = (proof(2, run="r"), proof(3, "uploads", run="r"), proof(4, run="later"))
    assert judged(*drilled, drill=3).verdict is PROVEN
    alone = judged(*drilled, drill=4)
    assert [one.verdict for one in alone.sources] == [PROVEN, UNKNOWN]
    assert alone.sources[1].because == "it is not part of this drill"
    old = judged(proof(2, run=""), proof(3, "uploads", run=""), drill=2)
    assert [one.verdict for one in old.sources] == [PROVEN, UNKNOWN]


def test_what_is_not_proven_is_told() -> None:
    scope = dataclasses.replace(
        SCOPE,
        sources=(
            dataclasses.replace(SCOPE.sources[0], left_out=("rows of tables that match a.b",)),
            SCOPE.sources[1],
        ),
    )
    newer = captures_of("database", begun_at=ago(hours=2), point="point 2")
    newer = [dataclasses.replace(one, seq=5, tree="another tree") for one in newer]
    stored = (*captures_of("database", "uploads"), *newer)
    report = judged(proof(2), proof(3, "uploads"), scope=scope, captures=stored)
    told = whys(report, "database")
    assert "left out of the capture on purpose: rows of tables that match a.b" in told
    assert "1 capture after the one that was brought back" in told
    assert "the copy in offsite is not proven within 7 days: never proven" in told
    assert not [one for one in told if "copy in local" in one]
    assert whys(report, "uploads") == [
        "the copy in offsite is not proven within 7 days: never proven"
    ]
    assert "the application as a whole was not started" in whys(report, "application")[0]


def test_a_drill_of_the_whole_application_counts_and_gives_the_rto() -> None:
    parts = (proof(2), proof(3, "uploads"))
    fields = {
        "verdict": "PROVEN",
        "checked": 30,
        "stages": [{"name": "start", "seconds": 90}, {"name": "probe", "seconds": 30}],
    }
    whole = observation(4, ago(minutes=30), "application-drill", fields)
    assert whole is not None
    report = judged(*parts, whole)
    assert report.verdict is PROVEN
    assert whys(report, "application") == []
    assert [one.observed for one in report.objectives if one.name == "RTO"] == ["2 min"]
    failed = observation(5, ago(minutes=10), "application-drill", fields | {"verdict": "FAILED"})
    assert failed is not None
    worse = judged(*parts, whole, failed)
    assert worse.verdict is FAILED
    assert whys(worse, "the application") == ["it is recorded as failed"]
    (rto,) = [one for one in worse.objectives if one.name == "RTO"]
    assert rto.state is State.NOT_MEASURED


def test_a_repository_that_was_not_compared_is_told() -> None:
    chain = dataclasses.replace(WHOLE, compared=("local",), uncompared=("offsite",))
    report = judged(proof(2), proof(3, "uploads"), chain=chain)
    assert whys(report, "ledger") == ["it was not compared with the copy in offsite"]


# Any: what the evidence and a proof are given
OBJECTIVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RPO": ({"captures": tuple(captures_of("database", "uploads", begun_at=ago(hours=25)))}, {}),
    "RTO": ({}, {"stages": (Stage("restore", 5 * 3600.0),)}),
    "Copies": ({"captures": tuple(captures_of("database", "uploads")[::2])}, {}),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_that_is_missed_makes_it_stale(name: str) -> None:
    more, of_proof = OBJECTIVES[name]
    report = judged(proof(2, **of_proof), proof(3, "uploads"), **more)
    assert [one.name for one in report.objectives if one.state is State.MISSED] == [name]
    assert report.verdict is STALE
    assert report.because == f"All sources are proven; objectives are missed: {name}."


def test_what_was_not_measured_is_not_met() -> None:
    report = judged(proof(2), proof(3, "uploads"), captures=())
    assert report.verdict is UNKNOWN
    assert "not all is measured: RPO, Copies" in report.because


def test_a_copy_does_not_make_a_capture_younger() -> None:
    """Copying an old snapshot today is no capture of today."""
    old = captures_of("database", "uploads", begun_at=ago(days=3))
    copied = [dataclasses.replace(one, seq=7, begun_at=ago(minutes=5), is_copy=True) for one in old]
    report = judged(proof(2), proof(3, "uploads"), captures=(*old, *copied))
    (rpo,) = [one for one in report.objectives if one.name == "RPO"]
    assert (rpo.state, rpo.observed) == (State.MISSED, "3 days")


def test_records_of_older_versions_are_read() -> None:
    """What the first version wrote, and what nobody should have written."""
    fields = {
        "source": "uploads",
        "repository": "local",
        "snapshot": "1" * 64,
        "tree": "2" * 64,
        "verdict": "PROVEN",
        "checked": 6,
        "findings": [{"code": "x", "severity": "loud", "subject": 1, "message": None}, "text"],
        "stages": [{"name": "restore", "seconds": 1.5}, {"name": "odd", "seconds": "2"}, 7],
    }
    read = observation(4, NOW, "drill", fields)
    assert read is not None
    assert (read.verdict, read.checked, read.seconds) == (PROVEN, 6, 1.5)
    assert read.digests is None
    # What can't be read counts as something that could not be checked.
    assert read.severities == {Severity.UNKNOWN}
    for odd in ({}, {"verdict": ["PROVEN"]}, {"verdict": "FINE", "stages": {}, "versions": 3}):
        assert getattr(observation(5, NOW, "drill", odd), "verdict", "missing") is None
    assert observation(6, NOW, "backup", fields) is None
    odd_captures = {"snapshots": [3, {"source": "a", "repository": "r"}], "seconds": "x"}
    assert [one.source for one in captures(1, NOW, "backup", odd_captures)] == ["", "a"]
    taken = list(captures(1, NOW, "backup", {"snapshots": [{"source": "a"}], "seconds": 60}))
    assert taken[0].begun_at == NOW - timedelta(seconds=60)
    assert list(captures(1, NOW, "drill", {"snapshots": [{"source": "a"}]})) == []
