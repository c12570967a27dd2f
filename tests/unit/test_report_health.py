"""The status file and the health document: which verdict is which status, and what they hold."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from strongroom.model import Verdict
from strongroom.report.health import health_document, status_document
from strongroom.report.standing import Attempt, Result, Standing
from tests.support.evidence_ground import NOW, ago
from tests.support.standing_ground import VALID_UNTIL, standing, with_check

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
LATER = VALID_UNTIL + timedelta(seconds=1)

# How things stand, and the status of the whole with its HTTP status.
STATUSES = {
    "all is well": (standing(), "pass", 200),
    "a check that spoils nothing": (standing(checks=with_check("review", STALE)), "warn", 200),
    "an objective is missed": (standing(STALE), "fail", 503),
    "not known": (standing(UNKNOWN), "fail", 503),
    "failed": (standing(FAILED), "fail", 503),
}


@pytest.mark.parametrize("case", STATUSES)
def test_the_status_follows_from_the_verdict(case: str) -> None:
    given, status, http = STATUSES[case]
    assert status_document(given, NOW)["status"] == status
    code, document = health_document(given, NOW)
    assert (code, document["status"], document["verdict"]) == (http, status, given.verdict.value)


@pytest.mark.parametrize(
    ("verdict", "status"), [(PROVEN, "pass"), (STALE, "warn"), (UNKNOWN, "fail"), (FAILED, "fail")]
)
def test_a_check_has_a_status_of_its_own(verdict: Verdict, status: str) -> None:
    given = standing(checks=with_check("space", verdict, "local"))
    assert status_document(given, NOW)["checks"]["space:local"]["status"] == status
    [check] = health_document(given, NOW)[1]["checks"]["local:space"]
    assert (check["status"], check["verdict"]) == (status, verdict.value)


def test_before_the_first_judgement_nothing_is_known() -> None:
    code, document = health_document(None, NOW)
    assert code == 503
    assert document == {
        "status": "fail",
        "verdict": "UNKNOWN",
        "output": "Nothing has been judged yet.",
    }


def test_out_of_date_it_fails_and_says_so() -> None:
    code, document = health_document(standing(), LATER)
    assert (code, document["status"], document["verdict"]) == (503, "fail", "UNKNOWN")
    assert document["output"].startswith("What was judged is out of date")
    assert {one["status"] for [one] in document["checks"].values()} == {"fail"}
    assert status_document(standing(), LATER)["status"] == "fail"


def test_the_file_has_what_the_application_needs() -> None:
    told = status_document(standing(), NOW)
    expected = {
        "schema_version": 1,
        "generated_at": "2026-11-26T12:00:00Z",
        "valid_until": "2026-11-26T12:05:00Z",
        "status": "pass",
        "verdict": "PROVEN",
        "last_success_at": "2026-11-26T09:00:00Z",
        "last_success_age_s": 10800,
        "last_attempt_at": "2026-11-26T09:02:00Z",
        "last_attempt_result": "success",
        "last_verified_restore_at": "2026-11-26T11:00:00Z",
        "rpo_target_s": 86400,
        "rto_target_s": 14400,
        "proof_age_target_s": 604800,
        "recovery_s": 9,
    }
    assert {name: told[name] for name in expected} == expected
    assert told["checks"]["capture:database"] == {
        "title": "Captured",
        "subject": "database",
        "status": "pass",
        "verdict": "PROVEN",
        "since": "2026-11-26T09:00:00Z",
        "value": 10800.0,
        "limit": 86400.0,
        "unit": "seconds",
        "lists": ["daily"],
    }


def test_a_fraction_of_a_second_is_dropped_so_that_nothing_holds_longer() -> None:
    almost = VALID_UNTIL - timedelta(microseconds=1)
    assert status_document(standing(valid_until=almost), NOW)["valid_until"].endswith("12:04:59Z")


NEVER: Standing = standing(UNKNOWN, checks=(), sources=(), attempt=None, recovery_seconds=None)


def test_what_nobody_knows_is_null() -> None:
    told = status_document(NEVER, NOW)
    assert {name for name, value in told.items() if value is None} == {
        "last_success_at", "last_success_age_s", "last_attempt_at", "last_attempt_result",
        "last_verified_restore_at", "recovery_s",
    }  # fmt: skip
    assert told["checks"] == {}


def test_a_failed_attempt_is_told_beside_the_last_success() -> None:
    told = status_document(standing(attempt=Attempt(ago(minutes=5), Result.FAILURE)), NOW)
    assert told["last_attempt_result"] == "failure"
    assert told["last_success_at"] == "2026-11-26T09:00:00Z"


def test_the_document_is_one_of_the_draft() -> None:
    _, document = health_document(standing(), NOW)
    assert document["serviceId"] == "tms"
    [check] = document["checks"]["database:capture"]
    assert check == {
        "componentId": "database",
        "componentType": "datastore",
        "status": "pass",
        "verdict": "PROVEN",
        "title": "Captured",
        "observedValue": 10800.0,
        "observedUnit": "seconds",
        "limit": 86400.0,
        "since": "2026-11-26T09:00:00Z",
        "time": "2026-11-26T12:00:00Z",
    }
    [whole] = document["checks"]["review"]
    assert "componentId" not in whole
    assert "observedUnit" not in whole
    assert document["checks"]["local:space"][0]["componentType"] == "component"


def test_both_are_strict_json() -> None:
    odd = standing(checks=with_check("copies", PROVEN, value=float("nan"), limit=float("inf")))
    json.dumps(status_document(odd, NOW), allow_nan=False)
    json.dumps(health_document(odd, NOW)[1], allow_nan=False)
    assert status_document(odd, NOW)["checks"]["copies"]["value"] is None
