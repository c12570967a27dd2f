"""The meaning rung: do the operator's questions get the answers that they must?

A comparison is about one value; `same` is about all rows; an age is counted back from the capture,
so that a drill of an old snapshot tells whether it was fresh then. A question that ran when the
database was captured and does not run in its copy is a failure; one that never ran is not known to
be right, and neither is one that what the server lacks keeps from running.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from strongroom.expectation import Wanted
from strongroom.model import Finding, finding
from strongroom.postgres.dependence import Dependence
from strongroom.postgres.question import Answer, Outcome, Question

__all__ = ["Asked", "Told", "compare_same", "judge_query", "meets", "not_worth_asking"]

_UNRECORDED = "its answer was not recorded when this snapshot was captured; the next one has it"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a copy answered, and the source when it was captured; None when it was not asked.

    `lacking` is what the copy's server was found to lack.
    """

    observed: Answer
    captured: Answer | None
    captured_at: datetime
    lacking: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Why an answer is not as it should be. `unchecked`: nobody knows whether it is."""

    message: str
    unchecked: bool = False


def judge_query(query: Question, asked: Asked, dependence: Dependence) -> Finding | None:
    """What one query's answer amounts to; None when it is as it should be."""
    told = _judge(query, asked, dependence)
    if told is None:
        return None
    return finding(
        "query-unchecked" if told.unchecked else "query-failed", query.name, told.message
    )


def _judge(query: Question, asked: Asked, dependence: Dependence) -> Told | None:
    observed, captured = asked.observed, asked.captured
    if observed.outcome is Outcome.ROWS:
        if query.expect.wanted is Wanted.SAME:
            return compare_same(query, asked, dependence)
        return meets(query, asked)
    ran = captured is not None and captured.outcome is Outcome.ROWS
    if observed.outcome is not Outcome.FAILED or not ran:
        return Told(observed.reason, unchecked=True)
    return _unless_excused(
        f"it ran at capture, and here: {observed.reason}", query, asked, dependence
    )


def meets(question: Question, asked: Asked) -> Told | None:
    """Whether the one value that was observed is what is expected; None when it is."""
    expect, observed = question.expect, asked.observed
    if observed.outcome is not Outcome.ROWS:
        return Told(f"expected {expect.text}, observed {observed.describe()}")
    if (observed.rows, observed.columns) != (1, 1):
        size = f"{observed.rows} rows"
        if observed.rows == 1:
            size = f"a row of {observed.columns} columns"
        return Told(f"expected {expect.text} of one value, and it gives {size}", unchecked=True)
    if expect.accepts(observed.value, moment=asked.captured_at):
        return None
    seen = "nothing (NULL)" if observed.value is None else observed.describe()
    when = ""
    if expect.wanted is Wanted.YOUNGER:
        when = f", captured at {asked.captured_at:%Y-%m-%d %H:%M:%S} UTC"
    return Told(f"expected {expect.text}, observed {seen}{when}")


def not_worth_asking(question: Question, captured: Answer | None) -> str:
    """Why an answer would say nothing; "" when it would: `same` needs one to compare with."""
    if question.expect.wanted is not Wanted.SAME:
        return ""
    if captured is None:
        return _UNRECORDED
    if captured.unknown or captured.outcome is Outcome.FAILED:
        return f"at capture: {captured.reason}"
    return ""


def compare_same(question: Question, asked: Asked, dependence: Dependence) -> Told | None:
    """Whether the answer is the captured one; None when it is."""
    observed, captured = asked.observed.to_keep(question), asked.captured
    if captured is None:
        return Told(_UNRECORDED, unchecked=True)
    if observed.same_as(captured):
        return None
    seen, before = observed.describe(), captured.describe()
    if seen == before:
        seen += ", others"
    message = f"{before} at capture, observed {seen}"
    return _unless_excused(message, question, asked, dependence)


def _unless_excused(message: str, question: Question, asked: Asked, dependence: Dependence) -> Told:
    if asked.lacking and asked.observed.outcome is not Outcome.ROWS:
        lacked = ", ".join(sorted(asked.lacking))
        return Told(f"{message}; the server lacks {lacked}", unchecked=True)
    excuse = dependence.excuse(question.statement)
    if excuse:
        return Told(f"{message}; that need not mean anything: {excuse}", unchecked=True)
    return Told(message)
