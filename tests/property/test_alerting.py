"""Whatever happens to checks and deliveries: who wants to know knows, once, and nothing is made up.

Worlds of up to three routes and four checks run through random verdicts, at random distances of
time, and messages arrive or don't.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.model import AlertEvent, Verdict
from strongroom.plan.alerting import (
    CALM,
    FLAPPING_CHANGES,
    Change,
    Delivery,
    Route,
    Told,
    plan_alerts,
)
from tests.support.alert_ground import (
    CLOSING,
    HOUR,
    MINUTE,
    NIGHT,
    NOW,
    Tick,
    World,
    all_but,
    standings,
)
from tests.support.alert_ledger import SILENCE, Teller

KEYS = ("capture:database", "capture:uploads", "space:local", "review")
NAMES = ("operators", "on-call", "dba")
RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}

verdicts_of_a_tick = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from(Verdict), min_size=1, max_size=len(KEYS)
)
steps = st.lists(
    st.tuples(
        st.integers(1, 200),  # minutes since the tick before
        verdicts_of_a_tick,
        st.sets(st.sampled_from(NAMES)),  # who can't be reached
    ),
    min_size=1,
    max_size=25,
)
routes_of = st.lists(
    st.builds(
        Route,
        st.sampled_from(NAMES),
        st.booleans(),
        st.sampled_from([2 * HOUR, 24 * HOUR]),
        st.sampled_from([None, NIGHT]),
        st.sampled_from([frozenset[str](), frozenset({"database"}), frozenset({"uploads"})]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.name,
)


def whole(known: dict[str, Verdict], seen: dict[str, Verdict]) -> dict[str, Verdict]:
    """All checks at each tick, well at first: none is withdrawn."""
    return {key: seen.get(key, known.get(key, Verdict.PROVEN)) for key in KEYS}


Step = tuple[int, dict[str, Verdict], set[str]]


def run(routes: list[Route], given_steps: list[Step], *, reachable: bool = False) -> World:
    world = World(routes)
    at, known = NOW, dict.fromkeys(KEYS, Verdict.PROVEN)
    for minutes, seen, away in given_steps:
        at += minutes * MINUTE
        known = whole(known, seen)
        world.tick(at, known, all_but(set() if reachable else away))
    return world


def replay(world: World) -> list[tuple[World, Tick]]:
    """Each tick with the world as it was before."""
    return [
        (World(world.routes, world.zone, Told(), world.ticks[:number]), tick)
        for number, tick in enumerate(world.ticks)
    ]


def changes_of(world: World, key: str, until: datetime) -> list[Change]:
    return [
        one
        for tick in world.ticks
        for one in tick.plan.changes
        if one.key == key and one.at <= until
    ]


def flaps(changes: list[Change], at: datetime) -> bool:
    """Whether more changes than are told one by one lie within an hour, and no calm after them."""
    begun = False
    for number, one in enumerate(changes):
        if number and one.at - changes[number - 1].at >= CALM:
            begun = False
        window = [other for other in changes[: number + 1] if one.at - other.at < CALM]
        begun = begun or len(window) > FLAPPING_CHANGES
    return begun and at - changes[-1].at < CALM


@given(routes_of, steps)
def test_who_can_be_reached_knows_within_the_tick(
    routes: list[Route], given_steps: list[Step]
) -> None:
    """An objective that is missed is told at once to each route that wants it; what is well again,
    too; outside of quiet hours, or FAILED."""
    world = run(routes, given_steps, reachable=True)
    for before, tick in replay(world):
        after = World(world.routes, world.zone, Told(), [*before.ticks, tick])
        for route in routes:
            for key, verdict in tick.verdicts.items():
                belief = after.belief(route.name, key)
                told_of = before.belief(route.name, key) is not Verdict.PROVEN
                if not route.wants(key.partition(":")[2], verdict) and not told_of:
                    continue
                if flaps(changes_of(after, key, tick.at), tick.at):
                    quiet = route.is_quiet(tick.at, world.zone) and verdict is not Verdict.FAILED
                    assert quiet or RANK[belief] >= RANK[verdict]
                elif verdict is Verdict.FAILED or not route.is_quiet(tick.at, world.zone):
                    assert belief is verdict, (route, key)


@given(routes_of, steps)
def test_a_failure_is_tried_at_once_whatever_the_hour_and_the_past(
    routes: list[Route], given_steps: list[Step]
) -> None:
    world = run(routes, given_steps)
    for before, tick in replay(world):
        for change in tick.plan.changes:
            flapping = flaps([*changes_of(before, change.key, tick.at), change], tick.at)
            if change.verdict is not Verdict.FAILED or flapping:
                continue
            for route in routes:
                if route.wants(change.key.partition(":")[2], Verdict.FAILED):
                    tried = {notice.key for _, notice in tick.notices(route.name)}
                    assert change.key in tried


@given(routes_of, steps)
def test_a_failure_that_does_not_arrive_goes_to_somebody_who_can_be_reached(
    routes: list[Route], given_steps: list[Step]
) -> None:
    world = run(routes, given_steps)
    for number, (before, tick) in enumerate(replay(world)):
        after = World(world.routes, world.zone, Told(), [*before.ticks, tick])
        reached = [one.name for one in routes if one.name not in given_steps[number][2]]
        for message, arrived in tick.sent:
            for notice in message.notices:
                failed = notice.verdict is Verdict.FAILED and notice.event not in CLOSING
                if failed and not arrived and reached:
                    assert any(after.belief(name, notice.key) is Verdict.FAILED for name in reached)


@given(routes_of, steps)
def test_nothing_is_told_without_a_cause(routes: list[Route], given_steps: list[Step]) -> None:
    world = run(routes, given_steps)
    by_name = {one.name: one for one in routes}
    for before, tick in replay(world):
        for message, _ in tick.sent:
            route = by_name[message.to]
            assert message.because
            for notice in message.notices:
                check(route, before, tick, message.instead_of, notice.key)
            quiet = route.is_quiet(tick.at, world.zone)
            failed = [
                one
                for one in message.notices
                if one.verdict is Verdict.FAILED and one.event not in CLOSING
            ]
            assert not quiet or len(failed) == len(message.notices)


def check(route: Route, before: World, tick: Tick, instead_of: str, key: str) -> None:
    """One notice of a message to a route is true, and news for it."""
    notice = next(
        one
        for message, one in tick.notices(route.name)
        if one.key == key and message.instead_of == instead_of
    )
    verdict, belief = tick.verdicts[key], before.belief(route.name, key)
    changes = [*changes_of(before, key, tick.at), *(o for o in tick.plan.changes if o.key == key)]
    assert notice.before is belief or notice.event is AlertEvent.PASSED or instead_of
    if notice.event is AlertEvent.RECOVERED:
        assert verdict is Verdict.PROVEN
        assert belief is not Verdict.PROVEN
    elif notice.event is AlertEvent.PASSED:
        assert verdict is belief is Verdict.PROVEN
        assert any(one.verdict is notice.before for one in changes)
        assert route.wants(key.partition(":")[2], notice.before)
    elif notice.event is AlertEvent.FLAPPING:
        assert flaps(changes, tick.at)
    else:
        assert notice.verdict is verdict is not Verdict.PROVEN
        wanted = route.wants(key.partition(":")[2], verdict)
        assert wanted or instead_of or belief is not Verdict.PROVEN


@given(routes_of, steps)
def test_nothing_is_told_twice_without_a_change_or_the_time_to_repeat(
    routes: list[Route], given_steps: list[Step]
) -> None:
    world = run(routes, given_steps)
    for route in routes:
        for key in KEYS:
            told = [
                (tick.at, notice)
                for tick in world.ticks
                for _, notice in tick.notices(route.name, arrived=True)
                if notice.key == key
            ]
            for (first_at, first), (second_at, second) in pairwise(told):
                changed = any(
                    first_at < one.at <= second_at for one in changes_of(world, key, second_at)
                )
                settled = first.event is AlertEvent.FLAPPING
                over = second_at - first_at >= route.repeat
                assert changed or settled or over, (first, second)
                if first.event in CLOSING:
                    assert second.event is not AlertEvent.RECOVERED


@given(routes_of, steps)
def test_in_the_end_everybody_knows_how_things_stand(
    routes: list[Route], given_steps: list[Step]
) -> None:
    """Once all can be reached, whoever was told of something, or wants to, believes what is so."""
    world = run(routes, given_steps)
    at, last = world.ticks[-1].at, dict(world.ticks[-1].verdicts)
    for _ in range(16):  # over the night
        at += HOUR
        world.tick(at, last)
    for route in routes:
        for key, verdict in last.items():
            believed = world.belief(route.name, key)
            assert believed is verdict or (
                believed is Verdict.PROVEN and not route.wants(key.partition(":")[2], verdict)
            )
    settled = plan_alerts(standings(last), world.past, routes, world.zone, at)
    assert settled.changes == ()
    assert settled.messages == ()


@given(routes_of, steps)
def test_a_check_sends_a_bounded_number_of_messages_an_hour(
    routes: list[Route], given_steps: list[Step]
) -> None:
    """Ticks of a minute: a storm of changes is told as flapping."""
    every_minute = [(1, seen, away) for _, seen, away in given_steps] * 3
    world = run(routes, every_minute, reachable=True)
    for route in routes:
        for key in KEYS:
            told = [
                tick.at
                for tick in world.ticks
                for _, notice in tick.notices(route.name, arrived=True)
                if notice.key == key
            ]
            for begin in told:
                assert sum(begin <= one < begin + CALM for one in told) <= FLAPPING_CHANGES + 3


@given(routes_of, steps, st.lists(st.sampled_from(KEYS), min_size=1, unique=True))
def test_what_is_not_looked_at_any_more_is_withdrawn_once(
    routes: list[Route], given_steps: list[Step], gone: list[str]
) -> None:
    world = run(routes, given_steps, reachable=True)
    at, last = world.ticks[-1].at, world.ticks[-1].verdicts
    left = {key: verdict for key, verdict in last.items() if key not in gone}
    left = left or {"other": Verdict.PROVEN}
    told_of = {
        (one.name, key)
        for one in routes
        for key in gone
        if world.belief(one.name, key) is not Verdict.PROVEN
    }
    withdrawn = []
    for _ in range(16):
        at += HOUR
        withdrawn += [
            (message.to, notice.key)
            for message, _ in world.tick(at, left).sent
            for notice in message.notices
            if notice.event is AlertEvent.WITHDRAWN
        ]
    assert sorted(withdrawn) == sorted(told_of)
    assert all(world.belief(name, key) is Verdict.PROVEN for name, key in told_of)


@given(steps, st.sets(st.integers(0, 24)), st.integers(1, 3))
def test_what_is_not_recorded_changes_nothing(
    given_steps: list[Step], full: set[int], times: int
) -> None:
    """The service, which records few of the attempts that fail again, and at times nothing, sends
    what would be sent if all were recorded."""
    teller = Teller()
    world = World(teller.routes)
    at, known = NOW, dict.fromkeys(KEYS, Verdict.PROVEN)
    for number, (minutes, seen, away) in enumerate(given_steps * times):
        at += minutes * MINUTE
        known = whole(known, seen)
        teller.away = dict.fromkeys(away, SILENCE)
        teller.ledger.is_full = number in full
        report = teller.tick(at, known)
        tick = world.tick(at, known, all_but(away))
        assert report.changes == tick.plan.changes
        sent = [(one.message, one.outcome.delivered) for one in report.sent]
        assert sent == list(tick.sent)


@pytest.mark.parametrize("delivered", [True, False])
@given(st.sampled_from(list(AlertEvent)[:-1]), st.sampled_from(Verdict), st.integers(-10, 10**6))
def test_no_past_silences_a_failure(
    delivered: bool, event: AlertEvent, verdict: Verdict, minutes: int
) -> None:
    """A ledger of a clock that was wrong, or of another version."""
    at, now = NOW + minutes * MINUTE, NOW + 48 * HOUR
    told = Delivery("review", "operators", event, verdict, at, delivered)
    past = Told((Change("review", at, Verdict.PROVEN, Verdict.FAILED), *[told] * 40))
    failed = standings({"review": Verdict.FAILED})
    plan = plan_alerts(failed, past, [Route("operators")], World([]).zone, now)
    lately = timedelta(minutes=-5) <= now - at < timedelta(hours=24)
    assert plan.messages or lately
