"""What others are told: never better than the report, nor for longer than it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.history import Ending, History, Run, Space
from strongroom.report.judgement import State, judge_evidence
from strongroom.report.standing import Result, Standing, aged, attempt_of, shown, standing_of
from tests.support.evidence_ground import NOW, PROMISE, ago, captures_of, evidence, noticed, proof
from tests.support.standing_ground import CHECKS, VALID_UNTIL, standing, with_check

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED


# Any: values of the fields of an observation or of evidence
def made(*observations: Any, **more: Any) -> Standing:
    known = evidence(*observations, **more)
    return standing_of(judge_evidence(known, PROMISE, NOW), known, PROMISE, VALID_UNTIL)


def test_times_are_those_of_the_source_that_is_furthest_behind() -> None:
    captured = [*captures_of("database", begun_at=ago(hours=3)),
                *captures_of("uploads", begun_at=ago(hours=9))]  # fmt: skip
    told = made(
        proof(2, at=ago(days=2)), proof(3, "uploads", at=ago(days=4)), captures=tuple(captured)
    )
    assert told.captured_at == ago(hours=9)
    assert told.proven_at == ago(days=4)


def test_a_source_that_was_never_captured_leaves_the_time_open() -> None:
    told = made(proof(2), proof(3, "uploads"), captures=tuple(captures_of("database")))
    assert [one.captured_at for one in told.sources] == [ago(hours=3), None]
    assert told.captured_at is None


def test_a_copy_that_failed_since_does_not_count_as_proven_and_the_other_one_does() -> None:
    told = made(
        proof(2, repository="offsite", at=ago(days=3)),
        proof(3, verdict=FAILED, at=ago(days=1)),
        proof(4, "uploads"),
    )
    assert told.sources[0].verdict is FAILED
    assert told.sources[0].proven_at == ago(days=3)


def test_without_a_proof_neither_time_nor_size_nor_recovery_is_told() -> None:
    told = made(captures=tuple(captures_of("database", "uploads", size_bytes=None)))
    for one in told.sources:
        assert (one.proven_at, one.size_bytes, one.recovery_seconds) == (None, None, None)
    assert (told.proven_at, told.size_bytes, told.recovery_seconds) == (None, None, None)


def test_recovery_is_the_sum_or_what_the_drill_of_the_whole_took() -> None:
    assert made(proof(2), proof(3, "uploads")).recovery_seconds == pytest.approx(9.1)
    whole = proof(4, "the application", action="application-drill")
    assert made(proof(2), proof(3, "uploads"), whole).recovery_seconds == pytest.approx(4.55)
    failed = replace(whole, verdict=FAILED)
    assert made(proof(2), proof(3, "uploads"), failed).recovery_seconds is None


def test_the_size_is_the_newest_captures_or_else_the_newest_proofs() -> None:
    stored = tuple(captures_of("database", "uploads", size_bytes=None))
    told = made(proof(2), proof(3, "uploads"), captures=stored)
    assert [one.size_bytes for one in told.sources] == [5 << 20, 5 << 20]
    stored = (*captures_of("database", size_bytes=0), *captures_of("uploads", size_bytes=7))
    told = made(proof(2), proof(3, "uploads"), captures=stored)
    assert [one.size_bytes for one in told.sources] == [0, 7]
    assert told.size_bytes == 7


def test_a_capture_that_lacks_something_does_not_count_as_the_newest() -> None:
    lacking = captures_of(
        "uploads", begun_at=ago(hours=1), findings=(noticed("file-lost", Severity.FAILURE),)
    )
    stored = (*captures_of("database", "uploads"), *(replace(one, seq=2) for one in lacking))
    told = made(proof(3), proof(4, "uploads"), captures=stored)
    assert [one.captured_at for one in told.sources] == [ago(hours=3), ago(hours=3)]


def test_room_is_told_of_configured_stores_as_it_was_last() -> None:
    spaces = (
        Space(1, ago(hours=9), "local", 100, 90),
        Space(1, ago(hours=9), "gone", 100, 90),
        Space(2, ago(hours=1), "local", 100, 7),
    )
    told = made(proof(2), proof(3, "uploads"), history=History(spaces=spaces))
    assert told.spaces == spaces[2:]


def test_objectives_have_the_names_of_the_configuration() -> None:
    assert dict(standing().objectives) == dict.fromkeys(
        ("rpo", "rto", "proof_age", "copies"), State.MET
    )


# --- How long it holds ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "is_fresh"),
    [
        (NOW, True),
        (VALID_UNTIL, True),
        (VALID_UNTIL + timedelta(seconds=1), False),
        (NOW - timedelta(minutes=1), True),
        (NOW - timedelta(minutes=2), False),
    ],
)
def test_out_of_date_or_from_the_future_it_is_unknown(now: datetime, is_fresh: bool) -> None:
    told = aged(standing(), now)
    expected = PROVEN if is_fresh else UNKNOWN
    assert told.verdict is expected
    assert {one.verdict for one in told.checks} == {expected}
    assert {one.verdict for one in told.sources} == {expected}
    assert {state for _, state in told.objectives} == {
        State.MET if is_fresh else State.NOT_MEASURED
    }


def test_what_had_failed_still_has_when_it_is_out_of_date() -> None:
    told = aged(
        standing(FAILED, checks=with_check("files", FAILED, "uploads")), NOW + timedelta(hours=1)
    )
    assert told.verdict is FAILED
    assert told.checks[-1].verdict is FAILED
    assert told.checks[0].verdict is UNKNOWN


# --- What is shown -------------------------------------------------------------------------


def test_subjects_are_shown_when_the_configuration_names_them() -> None:
    checks = (
        Check("capture", "uploads", PROVEN, ""),
        Check("space", "offsite", STALE, ""),
        Check("delivery", "amina@example.com", PROVEN, ""),
        Check("delivery", "https://hooks.example.com/T0P/s3cret", FAILED, "", value=3.0),
        Check("delivery", "+971 4 000 0000", STALE, ""),
    )
    assert [(one.key, one.verdict, one.value) for one in shown(standing(checks=checks))] == [
        ("capture:uploads", PROVEN, None),
        ("space:offsite", STALE, None),
        ("delivery", FAILED, 3.0),
    ]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_not_shown(number: float) -> None:
    [one] = shown(standing(checks=(Check("copies", "", PROVEN, "", value=number, limit=number),)))
    assert (one.value, one.limit) == (None, None)


def test_all_checks_are_shown_in_their_order() -> None:
    assert [one.key for one in shown(standing())] == [one.key for one in CHECKS]


# --- What was tried ------------------------------------------------------------------------


def run_of(seq: int, ending: Ending, subject: str = "", action: str = "capture") -> Run:
    at = ago(hours=10 - seq)
    return Run(seq, at, action, subject, ending, at)


DONE, OPEN = Ending.DONE, Ending.OPEN
ATTEMPTS: dict[str, tuple[tuple[Run, ...], Result | None]] = {
    "none": ((), None),
    "another job": ((run_of(1, DONE, action="drill"),), None),
    "all of it": ((run_of(1, DONE, "database"), run_of(1, DONE, "uploads")), Result.SUCCESS),
    "a part of it": (
        (run_of(1, DONE, "database"), run_of(1, Ending.FAILED, "uploads")),
        Result.PARTIAL,
    ),
    "with something missing": ((run_of(1, Ending.PARTIAL),), Result.PARTIAL),
    "none of it": ((run_of(1, Ending.FAILED, "database"),), Result.FAILURE),
    "stopped": ((run_of(1, OPEN),), Result.FAILURE),
    "the newest one counts": ((run_of(1, Ending.FAILED), run_of(2, DONE)), Result.SUCCESS),
    "failed after a success": ((run_of(1, DONE), run_of(2, Ending.FAILED)), Result.FAILURE),
    "a drill since": ((run_of(1, DONE), run_of(2, OPEN, action="drill")), Result.SUCCESS),
}


@pytest.mark.parametrize("case", ATTEMPTS)
def test_the_newest_attempt_to_capture(case: str) -> None:
    runs, result = ATTEMPTS[case]
    found = attempt_of(runs)
    assert (found.result if found else None) is result
    captures = [one.at for one in runs if one.action == "capture"]
    assert (found.at if found else None) == (captures[-1] if captures else None)
