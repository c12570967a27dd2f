"""The metrics: each as its table says, absent where nobody knows, and readable by others."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from strongroom.model import Verdict
from strongroom.report.metrics import METRIC_KINDS, VERDICT_VALUES, metrics_text
from strongroom.report.standing import Attempt, Result, Standing
from tests.support.evidence_ground import NOW, ago
from tests.support.standing_ground import VALID_UNTIL, standing, with_check

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(known: Standing | None, now: datetime = NOW) -> Series:
    """Every series and its value, as another program reads them; none comes twice."""
    found: Series = {}
    for family in text_string_to_metric_families(metrics_text(known, now, "1.2.3").decode()):
        for sample in family.samples:
            assert sample.labels.pop("application") == "tms"
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(known: Standing, name: str, now: datetime = NOW, **labels: str) -> float | None:
    return series(known, now).get((name, frozenset(labels.items())))


def test_a_full_standing_has_every_metric_of_the_table() -> None:
    told = {name for name, _ in series(standing())}
    assert told == set(METRIC_KINDS)


def test_labels_are_those_of_the_table() -> None:
    for name, labels in series(standing()):
        assert {label for label, _ in labels} == set(METRIC_KINDS[name].labels), name


@pytest.mark.parametrize("verdict", Verdict)
def test_verdicts_are_numbers_the_worst_highest(verdict: Verdict) -> None:
    known = standing(verdict, checks=with_check("files", verdict, "uploads"))
    expected = VERDICT_VALUES[verdict]
    assert value(known, "strongroom_verdict") == expected
    assert value(known, "strongroom_check_status", check="files", subject="uploads") == expected
    assert [VERDICT_VALUES[one] for one in Verdict] == [0, 1, 2, 3]


VALUES: dict[str, tuple[dict[str, str], float]] = {
    "strongroom_info": ({"environment": "production", "version": "1.2.3"}, 1),
    "strongroom_judged_timestamp_seconds": ({}, NOW.timestamp()),
    "strongroom_valid_until_timestamp_seconds": ({}, VALID_UNTIL.timestamp()),
    "strongroom_objective_status": ({"objective": "rpo"}, 0),
    "strongroom_objective_target_seconds": ({"objective": "proof_age"}, 604_800),
    "strongroom_objective_target_copies": ({}, 2),
    "strongroom_check_value": ({"check": "capture", "subject": "uploads"}, 10_800),
    "strongroom_check_limit": ({"check": "copies", "subject": ""}, 2),
    "strongroom_check_since_timestamp_seconds": (
        {"check": "space", "subject": "local"},
        ago(days=40).timestamp(),
    ),
    "strongroom_source_verdict": ({"source": "uploads"}, 0),
    "strongroom_last_capture_timestamp_seconds": (
        {"source": "database"},
        ago(hours=3).timestamp(),
    ),
    "strongroom_last_proof_timestamp_seconds": ({"source": "uploads"}, ago(hours=1).timestamp()),
    "strongroom_source_recovery_seconds": ({"source": "uploads"}, 4.55),
    "strongroom_source_size_bytes": ({"source": "database"}, 6 << 20),
    "strongroom_recovery_seconds": ({}, 9.1),
    "strongroom_store_size_bytes": ({"repository": "local"}, 10e9),
    "strongroom_store_free_bytes": ({"repository": "local"}, 9e9),
    "strongroom_last_attempt_timestamp_seconds": ({}, ago(hours=2, minutes=58).timestamp()),
    "backup_last_success_timestamp_seconds": ({}, ago(hours=3).timestamp()),
    "backup_last_verified_restore_timestamp_seconds": ({}, ago(hours=1).timestamp()),
    "backup_last_size_bytes": ({}, 12 << 20),
    "backup_last_run_success": ({}, 1),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_metric_says_what_its_table_says(name: str) -> None:
    labels, expected = VALUES[name]
    assert value(standing(), name, NOW, **labels) == pytest.approx(expected)


@pytest.mark.parametrize("result", [Result.PARTIAL, Result.FAILURE])
def test_an_attempt_that_lacks_something_is_no_success(result: Result) -> None:
    known = standing(attempt=Attempt(ago(minutes=5), result))
    assert value(known, "backup_last_run_success") == 0


def test_out_of_date_the_verdict_is_unknown_and_the_times_stay() -> None:
    later = VALID_UNTIL + timedelta(hours=1)
    known = standing()
    assert value(known, "strongroom_verdict", later) == 2
    assert value(known, "strongroom_check_status", later, check="review", subject="") == 2
    assert value(known, "strongroom_objective_status", later, objective="rpo") == 2
    assert (
        value(known, "strongroom_valid_until_timestamp_seconds", later) == VALID_UNTIL.timestamp()
    )


def test_what_nobody_knows_is_absent() -> None:
    known = standing(
        Verdict.UNKNOWN, checks=(), sources=(), attempt=None, recovery_seconds=None, spaces=()
    )
    assert {name for name, _ in series(known)} == {
        "strongroom_info", "strongroom_verdict", "strongroom_judged_timestamp_seconds",
        "strongroom_valid_until_timestamp_seconds", "strongroom_objective_status",
        "strongroom_objective_target_seconds", "strongroom_objective_target_copies",
    }  # fmt: skip


def test_before_the_first_judgement_there_are_none() -> None:
    assert metrics_text(None, NOW, "1.2.3") == b""
