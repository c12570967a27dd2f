"""What a controller sees of a fleet: who is lost, what is recorded, and what that is worth."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from strongroom.evidence import Entry
from strongroom.model import Verdict
from strongroom.report.collection import evidence_of
from strongroom.report.fleet import AGENT, DRILLS, Fleet, Look, look_at, look_json, seen_in
from strongroom.report.judgement import judge_evidence
from strongroom.report.standing import shown, standing_of
from tests.support.evidence_ground import (
    BEAT,
    HOSTILE,
    NOW,
    PROMISE,
    SCOPE,
    WATCHED,
    WHOLE,
    ago,
    evidence,
    fleet,
    look,
    proof,
)

HEARTBEAT = timedelta(minutes=3)
PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED


def record(seq: int, kind: str, at: datetime, **fields: Any) -> Entry:  # Any: JSON values
    return Entry(seq, at, kind, fields, "")


def seen(silent: timedelta, verdict: str | None = "PROVEN", role: str = AGENT) -> Look:
    """A process that said so a while ago, by a document that held for ten minutes."""
    seen_at = NOW - silent
    until = (seen_at + timedelta(minutes=10)).isoformat()
    document = {"verdict": verdict, "valid_until": until} if verdict is not None else {}
    return look_at("crm-2", role, "crm", document, seen_at=seen_at, ago=silent, heartbeat=HEARTBEAT)


def test_who_is_silent_for_three_quarters_of_a_heartbeat_is_lost() -> None:
    """So that whoever looks each quarter sees it within the whole."""
    quarter = HEARTBEAT / 4
    there = seen(3 * quarter)
    assert (there.is_there, there.seen_at, there.verdict) == (True, None, PROVEN)
    lost = seen(3 * quarter + timedelta(milliseconds=1))
    assert (lost.is_there, lost.verdict) == (False, PROVEN)
    assert lost.seen_at is not None


def test_what_an_agent_says_is_believed_as_far_as_it_goes() -> None:
    assert seen(timedelta(), "FAILED").verdict is FAILED
    assert seen(timedelta(), "EXCELLENT").verdict is UNKNOWN
    assert seen(timedelta(), None).verdict is UNKNOWN  # it has not judged yet
    assert seen(timedelta(), None, DRILLS).verdict is None
    old = {"verdict": "PROVEN", "valid_until": ago(minutes=3).isoformat()}
    late = look_at("a", AGENT, "a", old, seen_at=NOW, ago=timedelta(), heartbeat=HEARTBEAT)
    assert late.verdict is UNKNOWN
    failed = {**old, "verdict": "FAILED"}
    late = look_at("a", AGENT, "a", failed, seen_at=NOW, ago=timedelta(), heartbeat=HEARTBEAT)
    assert late.verdict is FAILED


def test_records_tell_of_changes_only() -> None:
    there, lost = look(), look("erp-1", is_there=False, seen_at=ago(minutes=4))
    first = {"members": [look_json(there), look_json(lost)], "forgotten": []}
    known = seen_in(None, 3, ago(hours=3), first)
    assert known.looks == {"crm-2": there, "erp-1": lost}
    back = look("erp-1")
    known = seen_in(known, 5, ago(hours=1), {"members": [look_json(back)], "forgotten": []})
    assert known.looks == {"crm-2": there, "erp-1": back}
    assert known.since == {"crm-2": ago(hours=3), "erp-1": ago(hours=1)}
    assert known.seqs == {"crm-2": 3, "erp-1": 5}
    known = seen_in(known, 6, NOW, {"members": [], "forgotten": ["crm-2", "nobody"]})
    assert set(known.looks) == {"erp-1"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"members": "all", "forgotten": 3},
        {"members": [None, 7, {"name": 5, "is_there": "yes", "verdict": 1, "seen_at": "then"}]},
        {"members": [{"name": "a", "heartbeat_seconds": 1e300}]},
    ],
)
def test_whatever_a_record_holds_it_is_read(fields: dict[str, Any]) -> None:
    known = seen_in(None, 1, NOW, fields)
    assert not any(one.is_there for one in known.looks.values())


def test_evidence_says_what_is_seen_and_since_when_this_host_is_alone() -> None:
    def alone(*told: dict[str, Any]) -> Any:
        records = [
            record(seq, one.pop("kind", "state-database"), ago(hours=9 - seq), **one)
            for seq, one in enumerate(told, start=1)
        ]
        return evidence_of(SCOPE, WHOLE, records).alone_since

    assert alone() is None
    assert alone({"reached": True}) is None
    assert alone({"reached": True}, {"reached": False}, {"reached": False}) == ago(hours=7)
    assert alone({"reached": False}, {"reached": True}) is None
    # A service that is started anew while the database is away does not make that any shorter.
    restarted = {"kind": "service", "event": "started", "agent": "crm-2"}
    assert alone({"reached": False}, restarted, {"reached": False}) == ago(hours=8)
    left = {"kind": "service", "event": "started", "agent": None}
    assert alone({"reached": False}, left) is None
    made = evidence_of(
        SCOPE, WHOLE, [record(1, "fleet", ago(hours=1), members=[look_json(look())])]
    )
    assert made.fleet == Fleet({"crm-2": look()}, {"crm-2": ago(hours=1)}, {"crm-2": 1})


def test_others_are_told_agents_names_and_nothing_that_was_slipped_in() -> None:
    lost = {"is_there": False, "seen_at": ago(minutes=4)}
    seen_fleet = fleet(look(), look("erp-1", **lost), look(HOSTILE, **lost))
    known = evidence(proof(2), proof(3, "uploads"), fleet=seen_fleet, timetable=WATCHED)
    report = judge_evidence(known, PROMISE, NOW)
    assert report.verdict is STALE
    assert "Agent (erp-1)" in report.because
    told = shown(standing_of(report, known, PROMISE, NOW))
    of_agents = {one.subject: one.verdict for one in told if one.name == "agent"}
    assert of_agents == {"crm-2": PROVEN, "erp-1": STALE, "": STALE}
    assert BEAT in WATCHED.beats
