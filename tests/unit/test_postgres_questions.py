"""What answers amount to, and what a question leads to; without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strongroom.config.value import parse_expectation
from strongroom.errors import IntegrityError
from strongroom.model import Finding
from strongroom.postgres.access import judge_probe, tell_left_out
from strongroom.postgres.answers import Answers, CollationState, Recorded
from strongroom.postgres.coverage import judge_coverage
from strongroom.postgres.dependence import Dependence, without_rows
from strongroom.postgres.inventory import CatalogObject, Inventory, Value
from strongroom.postgres.manifest import Coverage
from strongroom.postgres.meaning import Asked, judge_query, not_worth_asking
from strongroom.postgres.question import Answer, Outcome, Question

CAPTURED_AT = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
FIVE = Answer(Outcome.ROWS, 1, "1:5:5", 1, "5")
SIX = Answer(Outcome.ROWS, 1, "1:6:6", 1, "6")
MANY = Answer(Outcome.ROWS, 12, "12:1:1")
OTHERS = Answer(Outcome.ROWS, 12, "12:2:2")
NULL = Answer(Outcome.ROWS, 1, "1:0:0", 1, None)
WIDE = Answer(Outcome.ROWS, 1, "1:0:0", 2, "5")
DENIED = Answer(Outcome.DENIED, reason="permission denied for table t")
FAILED = Answer(Outcome.FAILED, reason="column x does not exist")
UNASKED = Answer(Outcome.UNASKED, reason="it took too long")
REFUSED = Answer(Outcome.REFUSED, reason="a cannot become b")


def _object(key: str, section: str, part_of: str = "", **attributes: Value) -> CatalogObject:
    return CatalogObject(key, section, attributes, part_of)


def _inventory(*objects: CatalogObject) -> Inventory:
    return Inventory(150000, {one.key: one for one in objects})


INVENTORY = _inventory(
    _object("policy own on public.notes", "policies", "table public.notes", using="is_mine(owner)"),
    _object("function public.is_mine(text)", "routines", body="SELECT $1 = auth.uid()"),
    _object("function auth.uid()", "routines", body="SELECT current_setting('x')"),
    _object("policy open on public.offers", "policies", "table public.offers", using="on_offer(x)"),
    _object("function public.on_offer(x)", "routines", body="BEGIN RETURN x.ends > now(); END"),
    _object("view public.board", "views", definition="SELECT * FROM public.offers"),
    _object("materialized view public.totals", "views", definition="SELECT 1"),
    _object('view public."Sums"', "views", definition="SELECT * FROM public.totals"),
    _object("table public.notes", "tables"),
    _object("table public.logs", "tables", inherits=["public.all_logs"]),
    _object("table public.all_logs", "tables", inherits=["public.history"]),
)
DEPENDENCE = Dependence(INVENTORY, {"public.logs": "they are left out"})


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ('SELECT count(*) FROM "public"."notes"', ""),
        ("SELECT now_playing, version FROM notes", ""),
        ("SELECT count(*) FROM t WHERE t < Now()", "clock"),
        ("SELECT current_date", "clock"),
        ("SELECT count(*) FROM board", "clock"),
        ("SELECT random()", "chance"),
        ("SELECT current_database()", "the database's name"),
        ('SELECT * FROM "Sums"', "materialised view public.totals"),
        ("SELECT count(*) FROM public.history", "public.logs comes back without its rows"),
        ("SELECT count(*) FROM public.logs", "public.logs comes back without its rows: they are"),
    ],
)
def test_a_question_is_followed_to_what_a_copy_may_answer_otherwise(sql: str, says: str) -> None:
    excuse = DEPENDENCE.excuse(sql)
    assert says in excuse
    assert bool(says) == bool(excuse)


def _query(expect: str, observed: Answer, captured: Answer | None, sql: str = "SELECT 1") -> str:
    query = Question("q", sql, parse_expectation(expect))
    return _told(judge_query(query, Asked(observed, captured, CAPTURED_AT), DEPENDENCE))


def _probe(
    expect: str,
    observed: Answer,
    captured: Answer | None,
    sql: str = "SELECT 1",
    *,
    generated: bool = False,
) -> str:
    probe = Question("p", sql, parse_expectation(expect), role="r", generated=generated)
    return _told(judge_probe(probe, Asked(observed, captured, CAPTURED_AT), DEPENDENCE))


def _told(found: Finding | None) -> str:
    return "" if found is None else f"{found.code}: {found.message}"


@pytest.mark.parametrize(
    ("expect", "observed", "captured", "told"),
    [
        ("> 4", FIVE, None, ""),
        ("> 5", FIVE, FIVE, "query-failed: expected > 5, observed 5"),
        ("> 5", NULL, FIVE, "query-failed: expected > 5, observed nothing (NULL)"),
        ("> 5", MANY, MANY, "query-unchecked: expected > 5 of one value, and it gives 12 rows"),
        ("> 5", WIDE, WIDE, "query-unchecked: expected > 5 of one value, and it gives a row of 2"),
        ("same", FIVE, FIVE, ""),
        ("same", MANY, MANY, ""),
        ("same", SIX, FIVE, "query-failed: 5 at capture, observed 6"),
        ("same", OTHERS, MANY, "query-failed: 12 rows at capture, observed 12 rows, others"),
        ("same", FIVE, None, "query-unchecked: its answer was not recorded"),
        # It ran, and runs no more: that is a difference. If it never did, it may be wrong itself.
        ("> 4", FAILED, FIVE, "query-failed: it ran at capture, and here: column x does not"),
        ("> 4", FAILED, FAILED, "query-unchecked: column x does not exist"),
        ("> 4", FAILED, None, "query-unchecked: column x does not exist"),
        ("> 4", UNASKED, FIVE, "query-unchecked: it took too long"),
        ("> 4", DENIED, FIVE, "query-unchecked: permission denied"),
        ("younger than 1h", FIVE, None, "query-failed: expected younger than 1h, observed 5, capt"),
    ],
)
def test_what_a_querys_answer_amounts_to(
    expect: str, observed: Answer, captured: Answer | None, told: str
) -> None:
    found = _query(expect, observed, captured)
    assert found.startswith(told)
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    ("expect", "observed", "captured", "told"),
    [
        ("same", MANY, MANY, ""),
        ("same", DENIED, DENIED, ""),
        (
            "same",
            OTHERS,
            MANY,
            "access-differs: as r: 12 rows at capture, observed 12 rows, others",
        ),
        ("same", MANY, DENIED, "access-differs: as r: denied (permission"),
        ("same", DENIED, MANY, "access-differs: as r: 12 rows at capture, observed denied"),
        ("same", FAILED, MANY, "access-differs: as r: 12 rows at capture, observed failed"),
        ("same", MANY, None, "access-unchecked: as r: its answer was not recorded"),
        ("same", UNASKED, MANY, "access-unchecked: it took too long"),
        ("denied", DENIED, None, ""),
        ("denied", MANY, None, "access-differs: as r: expected to be denied, observed 12 rows"),
        ("denied", FAILED, None, "access-unchecked: as r: column x"),
        ("denied", REFUSED, None, "access-unchecked: a cannot become b"),
        ("> 4", FIVE, None, ""),
        ("> 5", FIVE, None, "access-differs: as r: expected > 5, observed 5"),
        ("> 5", DENIED, None, "access-differs: as r: expected > 5, observed denied"),
    ],
)
def test_what_a_probes_answer_amounts_to(
    expect: str, observed: Answer, captured: Answer | None, told: str
) -> None:
    found = _probe(expect, observed, captured)
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_a_difference_with_an_excuse_is_unknown_and_one_without_is_not() -> None:
    sql = "SELECT count(*) FROM public.board"
    assert _query("same", SIX, FIVE, sql).startswith("query-unchecked: 5 at capture, observed 6;")
    assert "clock" in _probe("same", OTHERS, MANY, sql)
    assert _query("same", FIVE, FIVE, sql) == ""
    # A comparison is about the copy alone: nothing excuses it.
    assert _query("> 5", FIVE, FIVE, sql).startswith("query-failed")


def test_what_the_server_lacks_explains_why_a_query_does_not_run() -> None:
    query = Question("q", "SELECT 1", parse_expectation("> 4"))
    asked = Asked(FAILED, FIVE, CAPTURED_AT, frozenset({"extension postgis"}))
    assert _told(judge_query(query, asked, DEPENDENCE)).startswith("query-unchecked")
    assert "lacks extension postgis" in _told(judge_query(query, asked, DEPENDENCE))


def test_nobody_is_alarmed_by_a_probe_that_nobody_asked_for() -> None:
    assert _probe("same", REFUSED, MANY, generated=True).startswith("question-left-out")
    # But where the role can be taken on, an answer is wanted.
    assert _probe("same", UNASKED, MANY, generated=True).startswith("access-unchecked")


def test_same_is_not_asked_where_there_is_nothing_to_compare_with() -> None:
    same = Question("q", "SELECT 1", parse_expectation("same"))
    assert "not recorded" in not_worth_asking(same, None)
    assert not_worth_asking(same, UNASKED) == "at capture: it took too long"
    assert not_worth_asking(same, FAILED) == "at capture: column x does not exist"
    assert not_worth_asking(same, DENIED) == ""
    assert not_worth_asking(replace(same, expect=parse_expectation("> 0")), None) == ""


# What is kept


def test_answers_survive_being_written_and_tell_nothing_of_what_a_role_sees() -> None:
    claims = {"sub": "0b7c", "email": "someone@example.com"}
    probe = Question("p", "SELECT name FROM t;", parse_expectation("same"), "r", claims)
    seen = Answer(Outcome.ROWS, 1, "1:5:5", 1, "Someone's name")
    kept = seen.to_keep(probe)
    assert kept == replace(seen, value=None)
    assert kept.same_as(seen)
    generated = Question("t as r", "SELECT count(*) FROM t", probe.expect, "r", generated=True)
    query = Question("q", "SELECT 5", probe.expect)
    answers = Answers(
        '"$user", public',
        (
            Recorded(probe.identity, "p", kept, "r"),
            Recorded(generated.identity, "t as r", FIVE.to_keep(generated), "r", generated.sql),
            Recorded(query.identity, "q", FIVE.to_keep(query)),
        ),
        (("t as s", "it looks at the clock"),),
        {"database": CollationState("1", "2")},
    )
    text = answers.to_json()
    assert Answers.from_json(text) == answers
    assert Answers.from_json(text).to_json() == text
    for secret in (b"0b7c", b"someone@", b"Someone"):
        assert secret not in text
    assert answers.find(replace(probe, name="called otherwise", sql="SELECT name FROM t")) == kept
    assert answers.find(replace(probe, claims={"sub": "1"})) is None
    assert answers.find(replace(probe, role="s")) is None
    assert [one.question() for one in answers.recorded if one.generated] == [generated]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "search_path": "", "recorded": [1]}'],
)
def test_what_are_no_answers_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError) as raised:
        Answers.from_json(data)
    assert raised.value.code == "snapshot-damaged"


def test_what_was_left_out_is_told_unless_there_are_probes() -> None:
    answers = Answers("", left_out=(("t as r", "no time"),))
    assert [_told(one) for one in tell_left_out(answers, has_probes=False)] == [
        "question-left-out: no time"
    ]
    (old,) = tell_left_out(None, has_probes=False)
    assert "older" in old.message
    assert list(tell_left_out(None, has_probes=True)) == []


# Coverage


def test_what_must_be_known_only_leaves_nothing_unproven() -> None:
    registry = [
        Coverage("passwords", "a, b", "needs-action", "Set them."),
        Coverage("subscriptions", "1 of them", "needs-action", "Make slots."),
        Coverage("tablespace", "fast", "needs-action", "Somewhere else."),
        Coverage("excluded table", "public.logs", "not-configured", "Left out."),
        Coverage("vault key", "supabase_vault", "not-configured", "It holds no secrets."),
        Coverage("unlogged table", "public.scratch", "captured", "Captured."),
        Coverage("foreign table", "public.prices", "needs-action", "Elsewhere."),
        Coverage("bucket objects", "storage.objects", "needs-action", "In a bucket."),
    ]
    found = {one.subject for one in judge_coverage(registry)}
    assert found == {"foreign table public.prices", "bucket objects storage.objects"}
    assert list(judge_coverage(registry, ("foreign table public.*", "bucket objects *"))) == []
    assert without_rows(registry) == {
        "public.logs": "they are left out",
        "public.prices": "they live on another server",
    }
