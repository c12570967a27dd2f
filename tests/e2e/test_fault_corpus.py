"""The fault corpus, row by row: every fault is detected, and no healthy twin alarms.

Rows that share a server or a repository belong to one xdist group, so that it is made once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import ERROR_KINDS
from strongroom.findings import FINDING_KINDS, Severity
from strongroom.report.check import CHECK_KINDS
from tests.corpus.model import Fault, Grounds, Seen, Way, alarm
from tests.corpus.rows import (
    ELSEWHERE,
    FAULTS,
    GROUPS,
    LISTED,
    NOT_YET,
    WAYS,
    codes_without_row,
)
from tests.house.ground import ROOT


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    made = Grounds(Path(tmp_path_factory.mktemp("corpus")))
    yield made
    made.close()


def _grouped(way: Way) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(way.group)


@pytest.mark.parametrize(
    "way", [pytest.param(one, marks=_grouped(one), id=one.name) for one in WAYS]
)
def test_a_healthy_twin_raises_no_alarm(way: Way, grounds: Grounds) -> None:
    assert alarm(way.run(grounds)) == ""


@pytest.mark.parametrize(
    "fault", [pytest.param(one, marks=_grouped(one.way), id=one.name) for one in FAULTS]
)
def test_a_fault_is_detected(fault: Fault, grounds: Grounds) -> None:
    observed = fault.way.run(grounds, fault.spoil)
    assert fault.missed(observed) == "", observed.told[-3000:]


def test_what_is_not_seen_is_missed() -> None:
    """The judge can say no: to another end, to a code that lacks, to one that is too many."""
    fault = next(one for one in FAULTS if one.outcome == "FAILED" and len(one.codes) == 1)
    right = Seen(fault.outcome, frozenset(fault.codes))
    assert fault.missed(right) == ""
    assert fault.missed(Seen("PROVEN", frozenset(fault.codes))) == "PROVEN, not FAILED"
    assert "not told" in fault.missed(Seen(fault.outcome, frozenset()))
    more = Seen(fault.outcome, frozenset(fault.codes) | {"busy"})
    assert fault.missed(more) == "told besides: busy"
    assert alarm(right) != ""
    assert alarm(Seen("PROVEN", frozenset({"code-uncommitted"}))) != ""
    assert alarm(Seen("exit 0", frozenset(), frozenset({"content-order"}))) == ""


def test_every_listed_fault_is_in_the_corpus_or_openly_not_yet() -> None:
    later = {(one.group, one.name) for one in NOT_YET}
    known = {(one.group, one.name) for one in FAULTS} | later
    listed = {(group, name) for group, names in LISTED.items() for name in names}
    assert listed - known == set()
    assert len(known) == len(FAULTS) + len(NOT_YET), "a name stands for one row"
    assert {one.group for one in FAULTS} == set(GROUPS) == set(LISTED)
    assert later <= listed
    assert all(one.because for one in NOT_YET)


def test_no_check_is_called_as_a_finding_or_an_error() -> None:
    """A row's code says which it is."""
    assert CHECK_KINDS.keys() & (FINDING_KINDS.keys() | ERROR_KINDS.keys()) == set()


def test_every_code_of_a_row_exists() -> None:
    known = FINDING_KINDS.keys() | ERROR_KINDS.keys() | CHECK_KINDS.keys()
    assert {code for one in FAULTS for code in (*one.codes, *one.also)} - known == set()


def test_every_finding_and_check_is_raised_by_a_fault_or_has_a_reason() -> None:
    assert codes_without_row() == set()
    for code, (reason, place) in ELSEWHERE.items():
        assert reason, code
        # The code, or what stands for it in the program, is asked for there.
        assert code in (ROOT / place).read_text(encoding="utf-8"), f"{place} does not ask of {code}"


def test_failures_are_raised_by_rows_unless_they_need_a_liar() -> None:
    """A note may go without a row; a code that fails a verdict hardly."""
    failures = {code for code, kind in FINDING_KINDS.items() if kind.severity is Severity.FAILURE}
    assert failures & ELSEWHERE.keys() <= {
        "size-differs",
        "snapshot-repaired",
        "tree-order",
        "tree-unreadable",
    }
