"""How long deliveries may take together, and what becomes of them when all is to stop."""

from __future__ import annotations

import threading

import pytest

from strongroom.service.delivery import DELIVERY_SECONDS, Outcome
from strongroom.service.dispatch import MOST_SECONDS, Dispatch, never

ARRIVED = Outcome(True)
REFUSED = Outcome(False, "the connection was refused")
WATCHDOG_SECONDS = 300
EIGHT = 8


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def blocked() -> Outcome:
    """Nothing ever comes of it."""
    threading.Event().wait()
    return ARRIVED


def test_outcomes_are_in_the_order_of_the_tasks() -> None:
    outcomes = [ARRIVED, REFUSED] * 15
    tasks = [lambda one=one: one for one in outcomes]
    assert Dispatch().carry_out(tasks) == outcomes
    assert Dispatch().carry_out([]) == []


def test_what_has_no_end_in_time_came_too_late_and_what_never_began_was_not_tried() -> None:
    tasks = [lambda: ARRIVED, *[blocked] * EIGHT, lambda: ARRIVED]
    outcomes = Dispatch(seconds=0.5).carry_out(tasks)
    assert outcomes[0] == ARRIVED
    late = [one.error for one in outcomes[1:-1] if one is not None]
    assert late == ["it did not answer in time"] * EIGHT
    assert outcomes[-1] is None


def test_what_is_under_way_is_left_when_all_is_to_stop() -> None:
    stop = threading.Event()

    def stopped() -> Outcome:
        stop.set()
        return REFUSED

    dispatch = Dispatch(stop.is_set)
    assert dispatch.carry_out([blocked, lambda: ARRIVED, stopped]) == [None, ARRIVED, None]
    assert dispatch.is_over


def test_what_a_task_raises_is_raised() -> None:
    def wrong() -> Outcome:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        Dispatch().carry_out([wrong, lambda: ARRIVED])


@pytest.mark.parametrize("first", [1, 8, 9, 30, 1000])
def test_a_tick_in_which_everybody_hangs_is_bounded(first: int) -> None:
    """All messages at once, then one stand-in after another."""
    clock = Clock()
    begun = clock.seconds
    dispatch = Dispatch(never, clock=clock)
    asked, number = 0, first
    while not dispatch.is_over:
        dispatch.share(number)
        assert 0 < dispatch.each_seconds <= DELIVERY_SECONDS
        rounds = -(-number // EIGHT)
        clock.seconds += min(rounds * dispatch.each_seconds, dispatch.left_seconds)
        asked, number = asked + 1, 1
    assert clock.seconds - begun <= MOST_SECONDS < WATCHDOG_SECONDS / 2
    assert asked >= (6 if first <= 30 else 1)
