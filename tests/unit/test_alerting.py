"""Who is told what, and when: the decisions of alerts, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from strongroom.config import parse_settings
from strongroom.model import AlertEvent, Verdict
from strongroom.plan.alerting import (
    Change,
    Delivery,
    Route,
    Told,
    plan_alerts,
    told_record,
)
from strongroom.service.alerting import routes_of
from tests.support.alert_ground import HOUR, MINUTE, NIGHT, NOW, World, all_but, standings

P, S, U, F = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
OPERATORS = Route("operators")
ON_CALL = Route("on-call", failures_only=True)
DBA = Route("dba", passes_over=frozenset({"uploads", "local"}))
SLEEPER = Route("sleeper", quiet=NIGHT)
EVENING = datetime(2026, 11, 26, 21, tzinfo=UTC)


def story(
    routes: list[Route],
    verdicts: list[Verdict],
    *,
    begin: datetime = NOW,
    every: timedelta = MINUTE,
    away: dict[int, set[str]] | None = None,
    key: str = "capture:database",
) -> list[list[str]]:
    """What arrived at each tick, without the check's name."""
    world = World(routes)
    told = []
    for number, verdict in enumerate(verdicts):
        missing = (away or {}).get(number, set())
        tick = world.tick(begin + number * every, {key: verdict}, all_but(missing))
        told.append([line.replace(f"{key} ", "") for line in tick.told()])
    return told


def test_each_change_is_told_once() -> None:
    assert story([OPERATORS], [P, S, S, F, F, U, P, P]) == [
        [],
        ["operators: new STALE"],
        [],
        ["operators: worse FAILED"],
        [],
        ["operators: better UNKNOWN"],
        ["operators: recovered PROVEN"],
        [],
    ]


def test_a_route_for_failures_hears_how_a_failure_goes_on_and_of_no_warning() -> None:
    assert story([ON_CALL], [S, U, P, F, S, S, P], every=HOUR) == [
        [],
        [],
        [],
        ["on-call: new FAILED"],
        ["on-call: better STALE"],
        [],
        ["on-call: recovered PROVEN"],
    ]


def test_what_stays_as_it_is_comes_again_after_its_time() -> None:
    hourly = Route("operators", repeat=3 * HOUR)
    told = story([hourly, ON_CALL], [S] * 8, every=HOUR)
    assert [number for number, lines in enumerate(told) if lines] == [0, 3, 6]
    assert told[3] == ["operators: reminder STALE"]


def test_no_reminder_of_what_a_route_would_not_be_told_of() -> None:
    told = story([Route("on-call", failures_only=True, repeat=HOUR)], [F, S, S, S, S], every=HOUR)
    assert told == [["on-call: new FAILED"], ["on-call: better STALE"], [], [], []]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("capture:database", True),
        ("capture:uploads", False),
        ("space:local", False),
        ("review", True),
        ("delivery:operators", True),
    ],
)
def test_about_leaves_out_other_sources_and_repositories(key: str, told: bool) -> None:
    assert bool(story([DBA], [F], key=key)[0]) is told


def test_what_changed_together_is_one_message_the_worst_first() -> None:
    world = World([OPERATORS])
    world.tick(NOW, {"space:local": S, "capture:database": P, "review": P, "rto": P})
    tick = world.tick(NOW + HOUR, {"space:local": P, "capture:database": F, "review": S, "rto": U})
    assert len(tick.sent) == 1
    assert tick.told() == [
        "operators: new capture:database FAILED",
        "operators: new rto UNKNOWN",
        "operators: new review STALE",
        "operators: recovered space:local PROVEN",
    ]
    message = tick.sent[0][0]
    assert message.event is AlertEvent.NEW
    assert message.because == "capture:database: it was PROVEN, and 3 more"


# Quiet hours


def test_quiet_hours_hold_warnings_back_and_tell_them_afterwards() -> None:
    told = story([SLEEPER], [P, P, S, *[S] * 9], begin=EVENING, every=HOUR)
    assert [number for number, lines in enumerate(told) if lines] == [10]  # seven in the morning
    assert told[10] == ["sleeper: new STALE"]


def test_quiet_hours_never_hold_a_failure_back_and_hold_its_recovery() -> None:
    told = story([SLEEPER], [P, P, F, P, P, F, *[F] * 4, P], begin=EVENING, every=HOUR)
    assert told[2] == ["sleeper: new FAILED"]
    assert told[3] == told[4] == []
    # It came again, and whoever was told of the first time believes it never went.
    assert told[5] == ["sleeper: new FAILED"]
    assert told[10] == ["sleeper: recovered PROVEN"]
    assert sum(map(len, told)) == 3


def test_what_came_and_went_in_the_night_is_told_in_the_morning_once() -> None:
    told = story([SLEEPER], [P, P, S, U, P, *[P] * 8], begin=EVENING, every=HOUR)
    assert [number for number, lines in enumerate(told) if lines] == [10]
    assert told[10] == ["sleeper: passed PROVEN"]
    world = World([SLEEPER])
    for number, verdict in enumerate([P, P, S, U, P, *[P] * 8]):
        tick = world.tick(EVENING + number * HOUR, {"review": verdict})
        for message, _ in tick.sent:
            notice = message.notices[0]
            assert notice.before is U
            assert notice.begun_at == EVENING + 2 * HOUR
            assert notice.ended_at == EVENING + 4 * HOUR


def test_quiet_hours_are_those_of_the_time_zone() -> None:
    dubai = ZoneInfo("Asia/Dubai")
    assert SLEEPER.is_quiet(datetime(2026, 11, 26, 18, 0, tzinfo=UTC), dubai)  # ten there
    assert not SLEEPER.is_quiet(datetime(2026, 11, 26, 17, 59, tzinfo=UTC), dubai)
    assert SLEEPER.is_quiet(datetime(2026, 11, 26, 2, 59, tzinfo=UTC), dubai)
    assert not SLEEPER.is_quiet(datetime(2026, 11, 26, 3, 0, tzinfo=UTC), dubai)


# Flapping


def test_a_storm_is_told_once_and_its_end() -> None:
    told = story([OPERATORS], [F, P, F, P, F, P, F, P, F, P], every=5 * MINUTE)
    assert told[:5] == [
        ["operators: new FAILED"],
        ["operators: recovered PROVEN"],
        ["operators: new FAILED"],
        ["operators: recovered PROVEN"],
        ["operators: flapping FAILED"],
    ]
    assert told[5:] == [[]] * 5
    calm = story([OPERATORS], [F, P, F, P, F, P, *[P] * 13], every=5 * MINUTE)
    assert [number for number, lines in enumerate(calm) if lines] == [0, 1, 2, 3, 4, 17]
    assert calm[17] == ["operators: recovered PROVEN"]


def test_what_is_worse_than_the_storm_is_told_in_it() -> None:
    told = story([OPERATORS], [S, P, S, P, S, P, F, P, F], every=5 * MINUTE)
    assert told[4] == ["operators: flapping STALE"]
    assert told[6] == ["operators: worse FAILED"]
    assert told[7:] == [[], []]


def test_a_storm_that_settles_where_it_was_is_told_so() -> None:
    told = story([OPERATORS], [S, P, S, P, S, *[S] * 12], every=5 * MINUTE)
    assert told[4] == ["operators: flapping STALE"]
    assert told[16] == ["operators: reminder STALE"]


def test_each_storm_is_told() -> None:
    storm = [F, P, F, P, F, P]
    told = story([OPERATORS], [*storm, *[P] * 12, *storm], every=5 * MINUTE)
    flapping = [number for number, lines in enumerate(told) if "flapping" in str(lines)]
    assert flapping == [4, 22]


# What does not arrive


def test_what_does_not_arrive_goes_to_the_next_and_is_tried_again() -> None:
    gone = {"operators"}
    told = story([OPERATORS, ON_CALL, DBA], [S] * 4, away={0: gone, 1: gone}, key="capture:uploads")
    assert told == [
        ["on-call: new STALE"],  # though it wants failures only
        [],
        ["operators: new STALE"],
        [],
    ]


def test_a_stand_in_hears_how_it_goes_on() -> None:
    told = story([OPERATORS, DBA], [S, F, P, P], away={0: {"operators"}}, key="capture:uploads")
    assert told == [
        ["dba: new STALE"],
        ["operators: new FAILED", "dba: worse FAILED"],
        ["operators: recovered PROVEN", "dba: recovered PROVEN"],
        [],
    ]


def test_the_last_in_the_list_is_stood_in_for_by_the_first() -> None:
    told = story([DBA, OPERATORS], [F, F], away={0: {"operators"}}, key="capture:uploads")
    assert told == [["dba: new FAILED"], ["operators: new FAILED"]]


def test_nobody_stands_in_who_knows_or_sleeps() -> None:
    world = World([OPERATORS, SLEEPER, Route("last")])
    tick = world.tick(EVENING + 2 * HOUR, {"review": S}, lambda name: name != "operators")
    assert tick.told() == ["last: new review STALE"]
    assert [message.to for message, _ in tick.sent] == ["operators", "last"]


def test_the_next_one_is_asked_when_the_stand_in_is_away_too() -> None:
    world = World([OPERATORS, ON_CALL, DBA])
    tick = world.tick(NOW, {"capture:uploads": S}, lambda name: name == "dba")
    assert [(message.to, message.instead_of, did) for message, did in tick.sent] == [
        ("operators", "", False),
        ("on-call", "operators", False),
        ("dba", "operators", True),
    ]
    assert tick.sent[2][0].because == (
        "capture:uploads: it was PROVEN; operators could not be reached"
    )


def test_tries_are_made_ever_more_seldom() -> None:
    world = World([OPERATORS])
    tried = [
        minute
        for minute in range(120)
        if world.tick(NOW + minute * MINUTE, {"review": F}, lambda _: False).sent
    ]
    assert tried == [0, 1, 2, 4, 8, 16, 32, 62, 92]


def test_a_change_is_tried_at_once_however_often_it_failed_before() -> None:
    world = World([OPERATORS])
    for minute in range(40):
        world.tick(NOW + minute * MINUTE, {"review": S}, lambda _: False)
    tick = world.tick(NOW + 40 * MINUTE, {"review": F}, lambda _: False)
    assert len(tick.sent) == 1
    assert world.tick(NOW + 40 * MINUTE + MINUTE / 2, {"review": F, "rto": S}).told() == [
        "operators: new review FAILED",
        "operators: new rto STALE",
    ]


def test_a_failure_that_comes_again_is_tried_at_once() -> None:
    world = World([ON_CALL])
    for minute in range(40):
        world.tick(NOW + minute * MINUTE, {"review": F}, lambda _: False)
    assert world.tick(NOW + 40 * MINUTE, {"review": S}, lambda _: False).sent == ()
    assert len(world.tick(NOW + 41 * MINUTE, {"review": F}, lambda _: False).sent) == 1


def test_what_is_over_is_news_for_nobody_else() -> None:
    world = World([OPERATORS, ON_CALL])
    world.tick(NOW, {"review": S, "rto": S, "ledger": P})
    tick = world.tick(NOW + HOUR, {"rto": P, "ledger": P}, all_but({"operators"}))
    assert [message.to for message, _ in tick.sent] == ["operators"]
    assert world.tick(NOW + 2 * HOUR, {"rto": P, "ledger": P}).told() == [
        "operators: recovered rto PROVEN",
        "operators: withdrawn review UNKNOWN",
    ]


def test_what_came_and_went_while_nobody_could_be_reached_is_told() -> None:
    told = story([OPERATORS], [F, P, P], away={0: {"operators"}})
    assert told == [[], ["operators: passed PROVEN"], []]


# Odd pasts


def test_what_is_not_looked_at_any_more_is_withdrawn() -> None:
    world = World([OPERATORS])
    world.tick(NOW, {"review": F, "rto": P})
    assert world.tick(NOW + HOUR, {"rto": P}).told() == ["operators: withdrawn review UNKNOWN"]
    assert world.tick(NOW + 2 * HOUR, {"rto": P}).told() == []
    assert world.tick(NOW + 3 * HOUR, {"rto": P, "review": F}).told() == [
        "operators: new review FAILED"
    ]


def test_without_any_check_nothing_is_decided() -> None:
    world = World([OPERATORS])
    world.tick(NOW, {"review": F})
    tick = world.tick(NOW + HOUR, {})
    assert (tick.plan.changes, tick.sent) == ((), ())


def test_a_new_route_is_told_how_things_stand() -> None:
    world = World([OPERATORS])
    world.tick(NOW, {"review": S, "rto": P})
    world.routes = [OPERATORS, Route("later")]
    assert world.tick(NOW + HOUR, {"review": S, "rto": P}).told() == ["later: new review STALE"]


@pytest.mark.parametrize("hours_ago", [1, 14, 36])
def test_a_new_route_is_not_told_what_was_over_before(hours_ago: int) -> None:
    """Of the night before it came it hears, since its hours would have been quiet."""
    world = World([OPERATORS])
    world.tick(NOW - hours_ago * HOUR, {"review": S})
    world.tick(NOW - hours_ago * HOUR + MINUTE, {"review": P})
    world.routes = [OPERATORS, SLEEPER]
    expected = ["sleeper: passed review PROVEN"] if hours_ago == 14 else []
    assert world.tick(NOW, {"review": P}).told() == expected


def test_a_trial_is_no_word_about_any_check() -> None:
    trial = Delivery("", "operators", AlertEvent.TEST, U, NOW, True)
    plan = plan_alerts(
        standings({"review": P}), Told((trial,)), [OPERATORS], ZoneInfo("UTC"), NOW + HOUR
    )
    assert plan.messages == ()


def test_what_comes_back_has_changed() -> None:
    world = World([])
    world.tick(NOW, {"review": F, "rto": P})
    assert world.tick(NOW + HOUR, {"rto": P}).plan.changes == (
        Change("review", NOW + HOUR, F, None),
    )
    assert world.tick(NOW + 2 * HOUR, {"rto": P, "review": F}).plan.changes == (
        Change("review", NOW + 2 * HOUR, P, F),
    )


def test_a_clock_that_was_ahead_silences_nobody() -> None:
    ahead = Delivery("review", "operators", AlertEvent.NEW, F, NOW + timedelta(days=900), True)
    plan = plan_alerts(
        standings({"review": F}),
        Told((Change("review", NOW, P, F), ahead)),
        [OPERATORS],
        ZoneInfo("UTC"),
        NOW,
    )
    assert [one.event for one in plan.messages] == [AlertEvent.REMINDER]


# Records and settings

ALERT = {
    "key": "capture:database",
    "event": "worse",
    "verdict": "FAILED",
    "to": "operators",
    "delivered": False,
    "error": "it did not answer in time",
    "judged_at": "2026-11-26T12:00:00.000000Z",
    "instead_of": "dba",
}


def test_records_are_read_as_they_were_written() -> None:
    written = NOW + HOUR
    assert told_record("alert", written, ALERT) == Delivery(
        "capture:database", "operators", AlertEvent.WORSE, F, NOW, False, "dba"
    )
    assert told_record("verdict", NOW, {"key": "rto", "before": "PROVEN", "verdict": "STALE"}) == (
        Change("rto", NOW, P, S)
    )
    assert told_record("verdict", NOW, {"key": "rto", "before": "STALE", "verdict": None}) == (
        Change("rto", NOW, S, None)
    )


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("backup", ALERT),
        ("alert", {**ALERT, "key": None}),
        ("alert", {**ALERT, "to": 5}),
        ("alert", {**ALERT, "event": "shouted"}),
        ("alert", {**ALERT, "event": ["new"]}),
        ("verdict", {}),
    ],
)
def test_odd_records_tell_nothing(kind: str, fields: dict[str, object]) -> None:
    assert told_record(kind, NOW, fields) is None


@pytest.mark.parametrize("delivered", ["yes", 1, None])
def test_only_what_arrived_for_certain_was_told(delivered: object) -> None:
    record = told_record("alert", NOW, {**ALERT, "delivered": delivered, "judged_at": "soon"})
    assert isinstance(record, Delivery)
    assert not record.delivered
    assert record.at == NOW


SETTINGS = """
version: 1
application: tms
sources: {database: {kind: postgres, url: env:URL}, uploads: {kind: files, path: /srv/uploads}}
repositories: {local: {location: /backup, password: env:KEY}}
alerts:
  - {to: "mailto:op@example.com", quiet: "22:00-07:00", repeat: 6h}
  - {to: env:PAGER, name: on-call, when: failure, about: [database]}
"""


def test_routes_come_from_the_settings_in_their_order() -> None:
    assert routes_of(parse_settings(SETTINGS)) == (
        Route("1", False, 6 * HOUR, NIGHT),
        Route("on-call", True, 24 * HOUR, None, frozenset({"uploads", "local"})),
    )


def test_the_error_of_an_attempt_is_known_and_plans_nothing() -> None:
    read = told_record("alert", NOW, ALERT)
    assert isinstance(read, Delivery)
    assert read.error == "it did not answer in time"
    odd = told_record("alert", NOW, {**ALERT, "error": 5})
    assert isinstance(odd, Delivery)
    assert (odd, odd.error) == (read, "")
