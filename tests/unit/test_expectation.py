"""What is expected of an answer: what is nonsense, and what meets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.config.value import (
    check_answer,
    check_question,
    parse_expectation,
)
from strongroom.expectation import Wanted

CAPTURED_AT = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value", "accepted"),
    [
        ("> 0", "1", True),
        ("> 0", "0", False),
        ("> 0", None, False),
        ("> 0", "many", False),
        ("> 9", "10", True),  # as numbers, not as text
        (">= 5", "5", True),
        (">= 5", "4.99", False),
        ("<5", "-3", True),
        ("<= 1.5", "1.50", True),
        ("< 5", "NaN", False),
        ("0", "0", True),
        ("0", "0.00", True),
        ("0", "00", True),
        ("0", "1", False),
        ("0", None, False),
        ("= 1e3", "1000", True),
        ("!= 3", "4", True),
        ("!= 3", "3.0", False),
        ("<> x", "y", True),
        ("!= x", None, False),
        ("valid", "valid", True),
        ("valid", "Valid", False),
        ("two words", "two words", True),
        ("= same", "same", True),
        ("true", "true", True),
        ("true", "false", False),
        ("younger than 26h", "2026-11-21 12:00:01+00", True),
        ("younger than 26h", "2026-11-21 12:00:00+00", False),
        ("younger than 26h", "2026-11-22T17:00:00+04:00", True),
        ("younger than 26h", "2026-11-21 12:30:00", True),  # no zone: UTC
        ("Younger  Than 2d", "2026-11-21", True),
        ("younger than 1d", "2026-11-21", False),
        ("younger than 1d", "2026-11-23 00:00:00+00", True),  # not yet
        ("younger than 1d", "infinity", False),
        ("younger than 1d", "7", False),
        ("younger than 1d", None, False),
    ],
)
def test_a_value_meets_an_expectation_or_not(text: str, value: str | None, accepted: bool) -> None:
    assert parse_expectation(text).accepts(value, moment=CAPTURED_AT) is accepted


def test_words_with_a_meaning_of_their_own() -> None:
    assert parse_expectation(" same ").wanted is Wanted.SAME
    assert parse_expectation("Denied").wanted is Wanted.DENIED
    assert parse_expectation("younger than 26h").age == timedelta(hours=26)
    assert parse_expectation("= denied").wanted is Wanted.COMPARED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an expectation is wanted"),
        ("   ", "an expectation is wanted"),
        (">", "something to compare with follows >"),
        (">=  ", "something to compare with follows >="),
        ("> many", "> compares with a number"),
        ("> = 5", "> compares with a number"),
        ("< inf", "< compares with a number"),
        ("=> 5", "=> is no comparison"),
        ("== 5", "== is no comparison"),
        ("=~ x", "=~ is no comparison"),
        ("younger", "an age is written"),
        ("younger than", "an age is written"),
        ("younger 26h", "an age is written"),
        ("younger that 26h", "an age is written"),
        ("younger than 26h ago", "an age is written"),
        ("older than 26h", "an age is written"),
        ("younger than 26", "a duration is a whole number"),
        ("younger than tomorrow", "a duration is a whole number"),
        ("younger than 0h", "no time at all"),
    ],
)
def test_nonsense_is_a_fault_that_says_what_is_wanted(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_expectation(text)


def test_a_query_denies_nobody() -> None:
    assert check_answer("> 0") == "> 0"
    with pytest.raises(ValueError, match="for probes"):
        check_answer("denied")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "  select count(*) from t;",
        "WITH x AS (SELECT 1) TABLE x",
        "(SELECT 1) UNION (SELECT 2)",
        "-- how many?\nSELECT 1",
        "/* DELETE */ VALUES (1)",
    ],
)
def test_a_question_begins_as_what_only_reads(text: str) -> None:
    assert check_question(text) == text


@pytest.mark.parametrize("text", ["", ";", "DELETE FROM t", "-- SELECT\nDROP TABLE t", "EXPLAIN x"])
def test_anything_else_is_no_question(text: str) -> None:
    with pytest.raises(ValueError, match="changes nothing"):
        check_question(text)
