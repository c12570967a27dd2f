"""Every check: what evidence it takes to be well, and what makes it anything else."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from typing import Any

import pytest

from strongroom.model import Stage, Verdict
from strongroom.report.check import CHECK_KINDS, WORST_LAST, Check, worst
from strongroom.report.checking import checks, exempt
from strongroom.report.history import Ending, Timetable
from strongroom.report.judgement import judge_evidence
from strongroom.report.observation import WHOLE, Observation, Promise
from tests.support.check_cases import BOTH, GIB, scope, warning
from tests.support.check_cases import CASES as OF_ONE_HOST
from tests.support.evidence_ground import (
    NOW,
    PROMISE,
    SCOPE,
    STORES,
    WATCHED,
    ago,
    captures_of,
    evidence,
    fleet,
    history,
    late,
    look,
    proof,
    run,
    space,
    worker,
)
from tests.support.evidence_ground import WHOLE as CHAIN
from tests.support.fleet_check_cases import FLEET_CASES
from tests.support.kit_check_cases import KIT_CASES, WITH_KIT

CASES = {**OF_ONE_HOST, **FLEET_CASES, **KIT_CASES}

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
PROOFS = (proof(2), proof(3, "uploads"))


def made(
    *observations: Observation, promise: Promise = PROMISE, **more: object
) -> dict[str, Check]:
    """All checks by their keys: of good proofs, unless others are given."""
    known = evidence(*(observations or PROOFS), **more)
    return {one.key: one for one in checks(known, promise, NOW)}


def test_when_all_is_in_order_every_check_is_well() -> None:
    watched: dict[str, Any] = {
        "fleet": fleet(look(), worker()), "timetable": WATCHED, **WITH_KIT
    }  # fmt: skip
    found = made(**watched)
    assert {one: check.verdict for one, check in found.items() if not check.is_well} == {}
    assert {one.name for one in found.values()} == set(CHECK_KINDS)
    assert list(found) == sorted(
        found, key=lambda key: list(CHECK_KINDS).index(key.partition(":")[0])
    )
    report = judge_evidence(evidence(*PROOFS, **watched), PROMISE, NOW)
    assert report.verdict is PROVEN
    assert report.checks == tuple(found.values())


def test_nothing_known_is_unknown_and_nothing_failed() -> None:
    """The first day: what is configured, and not a record."""
    known = evidence(
        captures=(), history=history(
            begun_at=None, runs=(), inspections=(), prunes=(), deliveries=(), spaces=()
        ), chain=dataclasses.replace(CHAIN, records=0, head_seq=0, head_hash=""),
    )  # fmt: skip
    found = checks(known, PROMISE, NOW)
    assert {one.key: one.verdict for one in found} == {
        one.key: PROVEN if one.name == "review" else UNKNOWN for one in found
    }
    assert judge_evidence(known, PROMISE, NOW).verdict is UNKNOWN


@pytest.mark.parametrize("case", CASES)
def test_a_check_comes_to_its_verdict(case: str) -> None:
    given, key, expected, observed = CASES[case]
    check = made(**given)[key]
    assert observed in check.observed
    assert check.verdict is expected
    assert (check.since is None) or check.since <= NOW


def test_every_kind_has_cases_of_well_and_of_not_well() -> None:
    elsewhere = {"proof", "full-restore", "rto", "review"}
    for name in CHECK_KINDS.keys() - elsewhere:
        of_it = {verdict for _, key, verdict, _ in CASES.values() if key.partition(":")[0] == name}
        assert PROVEN in of_it, name
        assert of_it - {PROVEN}, name


def test_since_when_it_is_so() -> None:
    old = made(captures=tuple(captures_of(*BOTH, begun_at=ago(hours=30))))["capture:uploads"]
    assert old.since == ago(hours=30) + timedelta(hours=24, minutes=15)
    failed = run("capture", "database", ending=Ending.FAILED, begun_at=ago(hours=27))
    again = run("capture", "database", ending=Ending.FAILED)
    assert made(history=history(runs=(failed, again)))["errors"].since == failed.at
    few = history(spaces=(space(50, at=ago(days=3)), space(8, at=ago(days=2)), space(7)))
    assert made(history=few)["space:local"].since == ago(days=2)
    lacking = [
        *captures_of(*BOTH, begun_at=ago(days=2)),
        *captures_of("uploads", seq=8, begun_at=ago(days=1), findings=(warning("file-changed"),)),
        *captures_of("uploads", seq=9, findings=(warning("file-unreadable"),)),
    ]
    since = ago(days=1) + timedelta(minutes=5)
    assert made(captures=tuple(lacking))["files:uploads"].since == since
    missed = history(runs=(run("capture", "database", begun_at=ago(hours=27)),))
    assert made(history=missed)["schedule"].since == ago(hours=2, minutes=45)
    stale = made(proof(2, at=ago(days=9)), proof(3, "uploads"))["proof:database"]
    assert stale.since == ago(days=2)


def test_no_run_is_waited_for_beyond_the_time_that_follows() -> None:
    """As whoever runs it waits no longer, whatever the jitter is."""
    patient = dataclasses.replace(PROMISE, jitter=timedelta(days=3000))
    found = made(history=late(), promise=patient)["schedule"]
    assert (found.verdict, found.observed) == (PROVEN, "all 2 that were due did run")
    runs = run("capture", "database", begun_at=ago(days=2)), run("capture", "uploads")
    found = made(history=history(runs=runs), promise=patient)["schedule"]
    assert found.verdict is STALE
    assert "capture of database was due at 2026-11-25 09:00:00 and did not run" in found.observed


def test_the_numbers_stand_beside_their_limits() -> None:
    found = made()
    capture = found["capture:database"]
    assert (capture.value, capture.limit) == (3 * 3600.0, 24.25 * 3600)
    assert capture.until == ago(hours=3) + timedelta(hours=24, minutes=15)
    assert capture.records == (1,)
    assert (found["copies"].value, found["copies"].limit) == (2, 2)
    assert found["space:local"].limit == 10 * GIB
    tight = dataclasses.replace(PROMISE, space_bytes=60 * GIB)
    assert made(promise=tight)["space:local"].verdict is STALE
    assert found["proof:uploads"].records == (3,)


def test_a_day_of_25_hours_is_a_day() -> None:
    """In Berlin clocks went back on 25 October 2026, at one o'clock UTC."""
    begun_at = NOW.replace(month=10, day=25, hour=0)
    stored = tuple(captures_of(*BOTH, begun_at=begun_at, ended_at=begun_at))
    for zone, expected in (("Europe/Berlin", PROVEN), ("UTC", STALE)):
        known = evidence(*PROOFS, captures=stored, scope=scope(time_zone=zone))
        found = checks(known, PROMISE, begun_at + timedelta(hours=25))
        assert {one.verdict for one in found if one.name == "capture"} == {expected}


# Proofs


def test_each_source_is_to_be_proven() -> None:
    found = made(proof(2), proof(3, "uploads", verdict=FAILED, error="a pack is gone"))
    assert found["proof:database"].verdict is PROVEN
    assert found["proof:uploads"].verdict is FAILED
    assert found["proof:uploads"].observed == "a pack is gone"
    assert made(proof(2))["proof:uploads"].verdict is UNKNOWN


def test_everything_together_is_to_come_back() -> None:
    together = made()["full-restore"]
    assert together.verdict is PROVEN
    assert together.observed.startswith(
        "all 2 sources of one recovery point were brought back 1 h ago; the application was not "
    )
    apart = made(proof(2), proof(3, "uploads", point="point 2"))
    assert apart["full-restore"].verdict is UNKNOWN
    old = made(proof(2, at=ago(days=36)), proof(3, "uploads"))
    assert old["full-restore"].verdict is STALE
    month = made(proof(2, at=ago(days=34)), proof(3, "uploads"))
    assert month["full-restore"].verdict is PROVEN


def _started(at_days: float, **more: Any) -> Observation:
    return proof(9, WHOLE, action="application-drill", at=ago(days=at_days), repository="", **more)


def test_an_application_that_can_be_started_is_to_be_started() -> None:
    can = scope(starts=True)
    assert made(scope=can)["full-restore"].verdict is UNKNOWN
    assert made(*PROOFS, _started(20), scope=can)["full-restore"].verdict is PROVEN
    assert made(*PROOFS, _started(36), scope=can)["full-restore"].verdict is STALE
    assert made(*PROOFS, _started(1, verdict=FAILED), scope=can)["full-restore"].verdict is FAILED


def test_recovery_is_to_take_no_longer_than_promised_and_has_a_trend() -> None:
    assert made()["rto"].observed == "9.1 s, all sources in sum"
    earlier = [_started(20 - day, stages=(Stage("all", 60.0),)) for day in range(5)]
    for seconds, words in ((61, "as the median"), (90, "slower than"), (30, "faster than")):
        newest = _started(1, stages=(Stage("all", float(seconds)),))
        told = made(*PROOFS, *earlier, newest)["rto"]
        assert words in told.observed
        assert "of the last 5 drills before it, 1 min" in told.observed
        assert told.verdict is PROVEN
    slow = made(*PROOFS, _started(1, stages=(Stage("all", 5 * 3600.0),)))["rto"]
    assert (slow.verdict, slow.value, slow.limit) == (STALE, 5 * 3600.0, 4 * 3600.0)
    assert made(proof(2))["rto"].verdict is UNKNOWN


REVIEWS = {
    "lately": (date(2026, 11, 1), PROVEN, "reviewed on 2026-11-01, due on 2027-01-30"),
    "too long ago": (date(2026, 8, 1), STALE, "reviewed on 2026-08-01, due on 2026-10-30"),
    "never": (None, UNKNOWN, "nobody says"),
    "yet to come": (date(2027, 8, 1), UNKNOWN, "yet to come"),
}


@pytest.mark.parametrize("case", REVIEWS)
def test_procedures_are_reviewed(case: str) -> None:
    last, expected, observed = REVIEWS[case]
    check = made(promise=dataclasses.replace(PROMISE, review_last=last))["review"]
    assert check.verdict is expected
    assert observed in check.observed


# What does not apply


def test_what_does_not_apply_is_told_and_not_judged() -> None:
    given = scope(
        environment="development",
        told=(),
        sources=SCOPE.sources[:1],
        stores=tuple(dataclasses.replace(one, keeps_all=True) for one in STORES),
    )
    known = evidence(*PROOFS, scope=given, timetable=Timetable())
    names = {one.name for one in checks(known, PROMISE, NOW)}
    left_out = {(one.name, one.subject) for one in exempt(known)}
    assert left_out == {
        ("off-site", ""), ("schedule", ""), ("delivery", ""), ("files", ""), ("space", "offsite"),
        ("kit", ""),
        ("retention", "local"), ("retention", "offsite"),
    }  # fmt: skip
    of_others = {"agent", "workers"}  # which are a controller's to make
    assert names == CHECK_KINDS.keys() - of_others - {
        "off-site", "schedule", "delivery", "files", "retention", "kit", "kit-drill"
    }  # fmt: skip
    assert exempt(evidence(*PROOFS)) == tuple(
        one for one in exempt(known) if one.name in ("space", "kit")
    )


def test_a_broken_ledger_says_nothing_good() -> None:
    chain = dataclasses.replace(CHAIN, faults=("line 3: edited",))
    found = made(chain=chain)
    well = {key for key, one in found.items() if one.is_well}
    assert well == {"review"}
    assert "the ledger that says so is broken" in found["copies"].observed


# What they make of the whole

WEIGHTS = {
    ("capture", STALE): STALE, ("capture", UNKNOWN): UNKNOWN, ("capture", FAILED): FAILED,
    ("size", UNKNOWN): STALE, ("size", FAILED): FAILED, ("errors", FAILED): FAILED,
    ("copies", STALE): STALE, ("copies", UNKNOWN): UNKNOWN,
    ("off-site", FAILED): STALE, ("off-site", UNKNOWN): STALE,
    ("schedule", UNKNOWN): STALE, ("schedule", STALE): STALE, ("delivery", FAILED): STALE,
    ("agent", STALE): STALE, ("agent", UNKNOWN): UNKNOWN, ("agent", FAILED): FAILED,
    ("workers", STALE): STALE, ("workers", UNKNOWN): STALE,
    ("files", UNKNOWN): STALE, ("files", FAILED): FAILED,
    ("space", STALE): STALE, ("space", UNKNOWN): STALE, ("space", FAILED): FAILED,
    ("integrity", UNKNOWN): STALE, ("integrity", FAILED): FAILED,
    ("full-restore", UNKNOWN): STALE, ("full-restore", FAILED): FAILED,
    ("retention", UNKNOWN): STALE, ("ledger", FAILED): UNKNOWN, ("ledger", UNKNOWN): STALE,
    ("anomalies", UNKNOWN): PROVEN, ("review", STALE): PROVEN, ("review", UNKNOWN): PROVEN,
}  # fmt: skip


@pytest.mark.parametrize(("name", "verdict"), WEIGHTS)
def test_a_check_weighs_in_the_whole(name: str, verdict: Verdict) -> None:
    assert Check(name, "", verdict, "").of_whole is WEIGHTS[name, verdict]


@pytest.mark.parametrize("name", CHECK_KINDS)
def test_a_worse_check_never_makes_a_better_whole(name: str) -> None:
    made_of = [Check(name, "", one, "").of_whole for one in WORST_LAST]
    # UNKNOWN may weigh no more than STALE: both say that it is not as promised.
    assert made_of == sorted(made_of, key=WORST_LAST.index)
    assert made_of[0] is PROVEN


@pytest.mark.parametrize("case", CASES)
def test_the_whole_is_never_better_than_what_its_checks_make_of_it(case: str) -> None:
    given, _, _, _ = CASES[case]
    report = judge_evidence(evidence(*PROOFS, **given), PROMISE, NOW)
    assert WORST_LAST.index(report.verdict) >= WORST_LAST.index(
        worst(one.of_whole for one in report.checks)
    )
    assert report.verdict is not PROVEN or report.because.startswith("All 2 sources were restored")


def test_one_drill_is_not_asked_how_things_stand() -> None:
    known = evidence(*PROOFS, drill=2, history=history(prunes=()))
    assert judge_evidence(known, PROMISE, NOW).checks == ()


def test_a_short_period_hides_no_check() -> None:
    whole = judge_evidence(evidence(*PROOFS), PROMISE, NOW)
    short = judge_evidence(evidence(*PROOFS, since=ago(minutes=1)), PROMISE, NOW)
    assert short.checks == whole.checks
    assert short.verdict is UNKNOWN


def test_an_answer_holds_until_something_gets_worse_by_itself() -> None:
    report = judge_evidence(evidence(*PROOFS), PROMISE, NOW)
    assert report.valid_until(timedelta(minutes=5)) == NOW + timedelta(minutes=5)
    # The next capture is due in 21 hours, and is given a quarter of an hour.
    assert report.valid_until(timedelta(days=9)) == NOW + timedelta(hours=21, minutes=15)
