"""How things stand, as values for tests of health and metrics: two sources, two repositories."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.history import Ending, History, Run, Space
from strongroom.report.judgement import judge_evidence
from strongroom.report.standing import Standing, standing_of
from tests.support.evidence_ground import NOW, PROMISE, ago, captures_of, evidence, proof

# What a check saw quotes what others wrote: none of it is anybody's business.
OBSERVED = "/srv/tms/uploads on db-7.internal, table public.salaries, password hunter2"
VALID_UNTIL = NOW + timedelta(minutes=5)

CHECKS = (
    Check("capture", "database", Verdict.PROVEN, OBSERVED, ago(hours=3), 10_800.0, 86_400.0),
    Check("capture", "uploads", Verdict.PROVEN, OBSERVED, ago(hours=3), 10_800.0, 86_400.0),
    Check("size", "database", Verdict.PROVEN, OBSERVED, None, 6_291_456.0),
    Check("copies", "", Verdict.PROVEN, OBSERVED, None, 2.0, 2.0),
    Check("space", "local", Verdict.PROVEN, OBSERVED, ago(days=40), 9e9, 1e9),
    Check("review", "", Verdict.PROVEN, OBSERVED),
)


# Any: the fields as the value has them
def standing(verdict: Verdict = Verdict.PROVEN, **more: Any) -> Standing:
    """All is well, judged now, but for what is given; `verdict` replaces the report's."""
    known = evidence(
        proof(2),
        proof(3, "uploads"),
        captures=tuple(captures_of("database", "uploads", size_bytes=6 << 20)),
        history=History(
            runs=(Run(1, ago(hours=2, minutes=58), "capture", "", Ending.DONE, ago(hours=3)),),
            spaces=(Space(1, ago(hours=2), "local", 10_000_000_000, 9_000_000_000),),
        ),
    )
    report = replace(judge_evidence(known, PROMISE, NOW), checks=CHECKS)
    made = standing_of(report, known, PROMISE, VALID_UNTIL)
    return replace(made, **({"verdict": verdict} | more))


def with_check(check: str, verdict: Verdict, subject: str = "", **more: Any) -> tuple[Check, ...]:
    """The checks that are well, and one that came out so."""
    kept = tuple(one for one in CHECKS if (one.name, one.subject) != (check, subject))
    return (*kept, Check(check, subject, verdict, OBSERVED, **more))
