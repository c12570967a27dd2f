"""For any year: whatever stores, clocks and people do, no verdict is better than the truth (I5),
whoever is to know is told by the next tick, nobody is told without cause, what is due is run once,
and retention leaves the newest and the newest proven (I3).

Twenty seeds here; `python -m tests.support.year --first 20 --seeds 100` runs others by hand, and
one again. The truth is kept by the simulated world and judged in other words than the program's;
the second half of this module shows that it notices a program that is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest

from strongroom.evidence import Entry
from strongroom.model import Verdict
from strongroom.plan.alerting import Record
from strongroom.report.check import Check
from strongroom.service.alerting import AlertReport
from strongroom.service.tick import Placed
from tests.support.year import WorldPorts, Year, told_of

SEEDS = 20
QUARTER = 120
ONE = pytest.mark.xdist_group("year-1")


@functools.lru_cache(maxsize=1)
def year_of(seed: int) -> Year:
    """A year that was lived through; two tests look at the last one."""
    year = Year(seed)
    year.run()
    return year


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=ONE) if seed == 1 else seed for seed in range(SEEDS)]
)
def test_a_year_goes_right(seed: int) -> None:
    year = year_of(seed)
    assert not year.oracle.complaints, told_of(year)
    assert year.ticks > 1000, "the year was not lived through"


def test_a_seed_gives_the_same_year_again() -> None:
    one, other = Year(3, days=40), Year(3, days=40)
    assert one.run() == other.run() == []
    assert _told(one) == _told(other)


def _told(year: Year) -> list[object]:
    """All records but for what tells processes and points from others."""
    return [
        (one.seq, one.at, one.kind, one.fields.get("job"), one.fields.get("observed"))
        for one in year.world.ledger.records
    ]


# What goes wrong comes up, and is told of


@ONE
def test_much_goes_wrong_in_a_year() -> None:
    """Or all that goes right would show nothing."""
    records = year_of(1).world.ledger.records
    told = {one.fields["event"] for one in records if one.kind == "alert"}
    assert {"new", "worse", "reminder", "recovered", "passed"} <= told
    bad = {one.fields["key"] for one in records if one.kind == "verdict"}
    kinds = {key.partition(":")[0] for key in bad}
    assert {"capture", "copies", "errors", "integrity", "proof", "schedule", "space"} <= kinds


# A program that is wrong is noticed


class ForgetsFailures(WorldPorts):
    """A judge that forgets checks that found damage."""

    def take_one(self, entry: Entry) -> None:
        if not (entry.kind == "check" and not entry.fields["sound"]):
            super().take_one(entry)


class ForgetsDrills(WorldPorts):
    """A judge that forgets drills that failed."""

    def take_one(self, entry: Entry) -> None:
        if not (entry.kind == "drill" and entry.fields["verdict"] != "PROVEN"):
            super().take_one(entry)


class TakesAllForDone(WorldPorts):
    """A judge that takes a capture that stored nothing for one that did: by its end alone."""

    def take_one(self, entry: Entry) -> None:
        if entry.kind == "job" and entry.fields["exit_status"] not in (0, 3):
            entry = dataclasses.replace(entry, fields={**entry.fields, "exit_status": 0})
        if not (entry.kind == "command" and entry.fields["error"]):
            super().take_one(entry)


class TellsLate(WorldPorts):
    """Alerts that skip every other tick."""

    ticks = 0

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        self.ticks += 1
        if self.ticks % 2:
            return super().tell(checks, told, now)
        self.told = AlertReport()
        return self.told


class TellsAgain(WorldPorts):
    """Alerts that forget what was told."""

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        return super().tell(checks, told[:0], now)


class TellsTheBetter(WorldPorts):
    """Alerts that leave out what is worst."""

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        known = [one for one in checks if one.verdict is not Verdict.FAILED]
        return super().tell(known, told, now)


class LeavesOut(WorldPorts):
    """A planner that leaves out the captures of three days each month."""

    def order(self, placed: Placed) -> None:
        day = str(placed.order.scheduled_for)[8:10]
        if placed.order.action != "capture" or day not in ("05", "15", "25"):
            super().order(placed)


@pytest.mark.parametrize(
    ("ports", "complaint"),
    [
        (ForgetsFailures, "integrity:"),
        (ForgetsDrills, "proof:"),
        (TakesAllForDone, "errors is PROVEN, not FAILED"),
        (TellsLate, "was not told that"),
        (TellsAgain, "it was told"),
        (TellsTheBetter, "was not told that"),
        (LeavesOut, "was ordered"),
    ],
)
def test_a_program_that_is_wrong_is_noticed(
    ports: Callable[[object], WorldPorts], complaint: str
) -> None:
    found = []
    for seed in range(6):
        year = Year(seed, QUARTER, ports)
        found += year.run()
        if any(complaint in one for one in found):
            return
    pytest.fail(f"nobody complained of {complaint!r}: {found}")


def test_a_verdict_that_is_better_for_want_of_news_is_noticed() -> None:
    year = Year(0, days=30)
    assert year.run() == []
    found = year.ports.last
    assert found is not None
    worse = tuple(
        dataclasses.replace(one, verdict=Verdict.FAILED) if one.name == "ledger" else one
        for one in found.report.checks
    )
    report = dataclasses.replace(found.report, checks=worse)
    year.oracle.expect_no_better(dataclasses.replace(found, report=report))
    assert any(one.startswith("I5: ledger", 17) for one in year.oracle.complaints)


def test_a_retention_that_drops_the_newest_proven_is_noticed() -> None:
    year = Year(0, days=30)
    assert year.run() == []
    store = year.world.stores["local"]
    for one in store.snapshots:
        year.truth.expect_no_loss(store, {one: ["it is in the way"]})
    newest = [one for one in year.truth.losses if one.startswith("the newest of")]
    proven = [one for one in year.truth.losses if one.startswith("the newest proven of")]
    assert newest
    assert proven
    assert len(year.truth.losses) < 4 * len(store.snapshots)
