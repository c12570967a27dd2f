"""I5: verdicts are monotone. What is not known never reads as fine."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from strongroom.findings import FINDING_KINDS, Severity
from strongroom.model import Finding, Verdict, finding, judge

WORST_LAST = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)

findings = st.lists(
    st.builds(finding, st.sampled_from(sorted(FINDING_KINDS)), st.just("subject"), st.just("why"))
)


def _rank(found: list[Finding], checked: int) -> int:
    return WORST_LAST.index(judge(found, checked=checked))


@given(findings, findings, st.integers(0, 5))
def test_another_finding_never_betters_a_verdict(
    some: list[Finding], more: list[Finding], checked: int
) -> None:
    assert _rank(some, checked) <= _rank(some + more, checked)


@given(findings)
def test_fewer_comparisons_never_better_a_verdict(some: list[Finding]) -> None:
    ranks = [_rank(some, checked) for checked in (100, 1, 0)]
    assert all(before <= after for before, after in pairwise(ranks))


@given(findings)
def test_nothing_compared_is_never_proven(some: list[Finding]) -> None:
    assert judge(some, checked=0) is not Verdict.PROVEN


@given(findings, st.integers(0, 5), st.data())
def test_what_could_not_be_checked_is_never_proven(
    some: list[Finding], checked: int, data: st.DataObject
) -> None:
    unknown = sorted(
        code for code, kind in FINDING_KINDS.items() if kind.severity is Severity.UNKNOWN
    )
    lost = finding(data.draw(st.sampled_from(unknown)), "subject", "could not be checked")
    assert judge([*some, lost], checked=checked) in (Verdict.UNKNOWN, Verdict.FAILED)


@given(findings, st.integers(0, 5))
def test_the_order_of_findings_means_nothing(some: list[Finding], checked: int) -> None:
    assert judge(some, checked=checked) is judge(list(reversed(some)), checked=checked)
