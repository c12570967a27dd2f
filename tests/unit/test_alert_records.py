"""What the ledger has of routes that are dead for long: enough, and little."""

from __future__ import annotations

import json

from strongroom.model import Verdict
from strongroom.report.history import history_of
from strongroom.service.history import told
from tests.support.alert_ground import HOUR, MINUTE, NOW
from tests.support.alert_ledger import ALONE, SILENCE, Teller

P, S, F = Verdict.PROVEN, Verdict.STALE, Verdict.FAILED
NINE = dict.fromkeys(
    (
        "capture:database", "capture:uploads", "space:local", "review", "rto", "schedule",
        "delivery", "errors", "copies",
    ),
    F,
)  # fmt: skip


def test_a_dead_route_has_a_record_a_day() -> None:
    teller = Teller(config=ALONE)
    teller.away = {"operators": SILENCE}
    sent = sum(bool(teller.tick(NOW + n * 10 * MINUTE, NINE).sent) for n in range(20 * 144))
    assert sent > 20 * 45, "it is tried as often as ever"
    recorded = teller.recorded()
    assert 9 + 18 <= len(recorded) <= 9 + 20
    assert [one.get("tries", 1) for one in recorded[:9]] == [1] * 9
    assert all(one["tries"] > 40 for one in recorded[9:])
    assert {one["error"] for one in recorded} == {SILENCE}
    year_bytes = sum(len(json.dumps(one)) for one in recorded[9:]) / 20 * 365
    assert year_bytes < 1 << 20
    last = teller.ledger.records[-1]
    assert told(last)[1].startswith("new FAILED, did not arrive, ")
    # Since when nothing arrives, and why, is known as before.
    deliveries = history_of(teller.ledger.records).deliveries
    assert (deliveries[0].at, deliveries[-1].error) == (NOW, SILENCE)


def test_tries_are_made_as_seldom_as_if_all_were_recorded() -> None:
    teller = Teller()
    teller.away = dict.fromkeys(("operators", "on-call", "dba"), SILENCE)
    tried = [
        minute
        for minute in range(120)
        if any(
            one.message.to == "operators" and not one.message.instead_of
            for one in teller.tick(NOW + minute * MINUTE, {"review": S}).sent
        )
    ]
    assert tried[:6] == [0, 1, 2, 4, 8, 16]
    assert len(tried) <= 9


def test_another_error_is_recorded_and_no_more_than_once_an_hour() -> None:
    teller = Teller()
    errors = (SILENCE, "the connection was refused")
    for number in range(12 * 6):
        teller.away = {"operators": errors[number % 2], "on-call": "x", "dba": "x"}
        teller.tick(NOW + number * 10 * MINUTE, {"review": F})
    mine = [one for one in teller.recorded() if one["to"] == "operators"]
    assert {one["error"] for one in mine} == set(errors)
    assert 3 <= len(mine) <= 14


def test_a_route_that_fails_after_something_arrived_is_recorded_at_once() -> None:
    """Else its newest record would say that alerts arrive."""
    teller = Teller()
    teller.away = {"operators": SILENCE}
    teller.tick(NOW, {"review": S, "rto": P})
    teller.tick(NOW + MINUTE, {"review": S, "rto": P})
    teller.ledger.append(
        "alert",
        {"application": "tms", "key": "", "event": "test", "to": "operators", "delivered": True},
    )
    teller.tick(NOW + 10 * MINUTE, {"review": S, "rto": P})
    assert [one["delivered"] for one in teller.recorded() if one["to"] == "operators"] == [
        False, True, False,
    ]  # fmt: skip


def test_what_arrives_or_changes_is_recorded_as_ever() -> None:
    teller = Teller()
    teller.away = {"operators": SILENCE}
    for minute in range(5):
        teller.tick(NOW + minute * MINUTE, {"review": S})
    teller.tick(NOW + 5 * MINUTE, {"review": F})
    teller.away = {}
    teller.tick(NOW + 6 * MINUTE, {"review": F})
    teller.tick(NOW + HOUR, {"review": P})
    mine = [one for one in teller.recorded() if one["to"] == "operators"]
    assert [(one["verdict"], one["event"], one["delivered"]) for one in mine] == [
        ("STALE", "new", False),
        ("FAILED", "new", False),
        ("FAILED", "new", True),
        ("PROVEN", "recovered", True),
    ]


def test_after_a_start_what_failed_is_tried_soon_and_not_recorded_anew() -> None:
    before = Teller()
    before.away = dict.fromkeys(("operators", "on-call", "dba"), SILENCE)
    for minute in range(100):
        before.tick(NOW + minute * MINUTE, {"review": F})
    after = Teller(before)
    after.away = before.away
    assert after.tick(NOW + 100 * MINUTE, {"review": F}).sent
    assert len(after.recorded()) == len(before.recorded())
    after.away = {}
    arrived = after.tick(NOW + 105 * MINUTE, {"review": F}).sent
    assert {(one.message.to, one.message.event.value) for one in arrived} == {
        (name, "new") for name in ("operators", "on-call", "dba")
    }


def test_a_ledger_that_is_full_is_not_filled_by_what_waits_for_it() -> None:
    teller = Teller()
    teller.ledger.is_full = True
    teller.away = dict.fromkeys(("operators", "on-call", "dba"), SILENCE)
    for minute in range(0, 600, 5):
        teller.tick(NOW + minute * MINUTE, {"review": F})
    assert teller.recorded() == []
    teller.ledger.is_full = False
    teller.tick(NOW + 601 * MINUTE, {"review": F})
    assert 3 <= len(teller.recorded()) <= 9
