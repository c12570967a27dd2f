"""I6 and I5: nothing that a check quotes is told to strangers, and nothing is told too well."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from strongroom.model import Verdict
from strongroom.report.check import CHECK_KINDS, Check
from strongroom.report.health import health_document, status_document
from strongroom.report.judgement import WORST_LAST
from strongroom.report.metrics import VERDICT_VALUES, metrics_text
from tests.support.evidence_ground import NOW, SCOPE
from tests.support.standing_ground import standing

MARK = "qzj"
PUBLIC = (*(one.name for one in SCOPE.sources), *SCOPE.repositories)
# What others wrote, each with a mark that none of our own words has.
_foreign = st.tuples(st.text(max_size=12), st.text(max_size=12)).map(MARK.join)


@st.composite
def _checks(draw: st.DrawFn) -> tuple[Check, ...]:
    return tuple(
        Check(
            draw(st.sampled_from(sorted(CHECK_KINDS))),
            draw(st.one_of(st.just(""), st.sampled_from(PUBLIC), _foreign)),
            draw(st.sampled_from(Verdict)),
            draw(_foreign),
            draw(st.sampled_from([None, NOW])),
            draw(st.one_of(st.none(), st.floats())),
            draw(st.one_of(st.none(), st.floats())),
        )
        for _ in range(draw(st.integers(0, 6)))
    )


@given(_checks(), st.sampled_from(Verdict), st.integers(-10, 10))
def test_no_text_of_others_is_told(
    checks: tuple[Check, ...], verdict: Verdict, minutes: int
) -> None:
    known, now = standing(verdict, checks=checks), NOW + timedelta(minutes=minutes)
    told = [
        json.dumps(status_document(known, now), ensure_ascii=False, allow_nan=False),
        json.dumps(health_document(known, now)[1], ensure_ascii=False, allow_nan=False),
        metrics_text(known, now, "1.2.3").decode(),
    ]
    assert not [one for one in told if MARK in one]


@given(_checks(), st.sampled_from(Verdict), st.integers(-10, 10))
def test_every_rendering_says_the_same_and_none_says_more(
    checks: tuple[Check, ...], verdict: Verdict, minutes: int
) -> None:
    known, now = standing(verdict, checks=checks), NOW + timedelta(minutes=minutes)
    file = status_document(known, now)
    code, document = health_document(known, now)
    assert file["verdict"] == document["verdict"]
    assert file["status"] == document["status"]
    assert (code == 200) == (file["verdict"] == "PROVEN") == (file["status"] != "fail")
    told = Verdict(file["verdict"])
    assert WORST_LAST.index(told) >= WORST_LAST.index(verdict)
    line = f'strongroom_verdict{{application="tms"}} {float(VERDICT_VALUES[told])}'
    assert line in metrics_text(known, now, "1.2.3").decode().splitlines()
    for check in checks:
        name = check.key if check.subject in PUBLIC else check.name
        shown = Verdict(file["checks"][name]["verdict"])
        assert WORST_LAST.index(shown) >= WORST_LAST.index(check.verdict)
