"""A simulated year: seeded, by a clock of its own, planned, judged and told by the very code of the
service. `Year(seed).run()` gives what was wrong, in words; nothing is right.

Twenty seeds are run by `tests/property/test_simulated_year.py`; more, or one again, by hand:

    python -m tests.support.year --first 20 --seeds 100
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from strongroom.config import Settings
from strongroom.config.operation import Alert
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.plan.alerting import Record
from strongroom.report.alert_text import Letter
from strongroom.report.check import Check
from strongroom.report.observation import Scope
from strongroom.service.alerting import AlertReport, tell
from strongroom.service.delivery import Outcome
from strongroom.service.gathering import scope_of
from strongroom.service.place import Mount
from strongroom.service.recollection import Recollection
from strongroom.service.scheduling import timetable_of
from strongroom.service.status import StatusReport
from strongroom.service.tick import Placed, tick
from tests.support.year_fault import KINDS, Trouble, troubles_of
from tests.support.year_oracle import Oracle, occurrences, overlapping, wrong_captures
from tests.support.year_runs import Runs
from tests.support.year_truth import Truth
from tests.support.year_world import DAY, HOUR, REMEMBERED, Run, World, year_begin

# How many hours lie between two ticks where nothing is due, at least and at most.
STEP_HOURS = 3.0, 20.0
LATE = timedelta(seconds=20)
MOUNTS = [Mount("/", "ext4", "/dev/sda1"), Mount("/backup", "nfs4", "nas:/backup")]


class WorldPorts:
    """What a tick reads and does, in a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._known = Recollection("tms")
        self._taken = 0
        self._scope: tuple[Settings, Scope] | None = None
        self.found: StatusReport | None = None
        self.last: StatusReport | None = None
        self.told = AlertReport()

    def take(self) -> StatusReport | None:
        """What the last tick showed, once."""
        self.last, self.found = self.found, None
        return self.last

    @property
    def settings(self) -> Settings:
        return self.world.settings

    def recall(self) -> Recollection:
        """A ledger only grows: what was read is not read again."""
        self._take()
        return self._known

    def _take(self) -> None:
        records = self.world.ledger.records
        for entry in records[self._taken :]:
            self.take_one(entry)
        self._taken = len(records)

    def take_one(self, entry: Entry) -> None:
        """A record that was written since the last tick."""
        self._known.take(entry)

    def scope(self) -> Scope:
        if self._scope is None or self._scope[0] is not self.settings:
            self._scope = self.settings, scope_of(self.settings, MOUNTS)
        return self._scope[1]

    def live(self) -> Mapping[str, datetime]:
        return self.world.engine.jobs()

    def obstacle(self) -> str:
        return ""

    def record(self, kind: str, fields: Mapping[str, Any]) -> Entry | Finding:  # Any: JSON values
        recorded = self.world.application.record(kind, fields)
        self._taken += isinstance(recorded, Entry)  # the tick takes it itself
        return recorded

    def order(self, placed: Placed) -> None:
        world = self.world
        world.engine.order(placed, world.clock(), world.true)

    def show(self, found: StatusReport) -> None:
        self.found = found

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        self.told = tell(self.world.application, checks, now, post=self._post, told=told)
        return self.told

    def _post(self, alert: Alert, _: Letter) -> Outcome:
        silent = alert.name in self.world.failing_routes
        return Outcome(not silent, "the address does not answer" if silent else None)


class Year:
    """One year of one seed. Other ports than those of the world are for tests of the oracle."""

    def __init__(
        self, seed: int, days: int = 365, ports: Callable[[World], WorldPorts] = WorldPorts
    ) -> None:
        begin = year_begin(seed)
        self.world = World(seed, begin)
        self.truth = Truth(begin)
        self.begin, self.end = begin, begin + days * DAY
        self.troubles = troubles_of(self.world, self.end)
        self.oracle = Oracle(self.world, self.truth)
        self.ports = ports(self.world)
        self.ticks = 0
        self._runs = Runs(self.truth)
        self._steps = random.Random(seed)
        self._errors: list[str] = []

    def run(self) -> list[str]:
        """What was wrong; it ends soon after something was."""
        handler = _Errors(self._errors)
        logger = logging.getLogger("strongroom.service")
        logger.addHandler(handler)
        logger.propagate = False
        try:
            self._run()
        finally:
            logger.removeHandler(handler)
            logger.propagate = True
        return self.oracle.complaints

    def _run(self) -> None:
        world = self.world
        waiting = self._events()
        while world.true < self.end and not self.oracle.complaints:
            until = self._next(world.true)
            while waiting and waiting[0][0] <= until:
                at, one, begins = waiting.pop(0)
                self._advance(max(at, world.true))
                kind = KINDS[one.kind]
                (kind.begin if begins else kind.end)(world, self.truth, one.subject)
            self._advance(until)
            if not world.is_down:
                self._tick()
        self.oracle.complaints += wrong_captures(world.engine.log, [*self._days()])

    def _events(self) -> list[tuple[datetime, Trouble, bool]]:
        both = [(one.begin, one, True) for one in self.troubles]
        both += [(one.end, one, False) for one in self.troubles]
        return sorted(both, key=lambda one: (one[0], one[2], one[1].kind))

    def _advance(self, until: datetime) -> None:
        grown = (until - self.world.true) / DAY
        for content in self.world.contents.values():
            content.size_bytes *= 1 + 0.0005 * grown
        self.world.advance(until, self._carry_out)

    def _carry_out(self, world: World, run: Run) -> bool:
        content = world.contents["database" if world.random.random() < 0.8 else "uploads"]
        content.version += run.job == "capture"
        others = [queue[0] for queue in world.engine.queues.values() if queue]
        for one in others:
            if one is not run and one.begun is not None and overlapping(one.job, run.job):
                self.oracle.complaints.append(f"{run.job} and {one.job} at once, {world.true}")
        return self._runs.carry_out(world, run)

    def _next(self, true: datetime) -> datetime:
        """When the service looks next: some time or other, and just after something is due."""
        world, settings = self.world, self.world.settings
        host = true + world.skew
        found = [true + self._steps.uniform(*STEP_HOURS) * HOUR]
        for job in timetable_of(settings).jobs:
            at = job.calendar.after(host - LATE - job.jitter) if job.fields else None
            if at is not None:
                due = at + job.jitter + LATE - world.skew
                found += [due] if due > true else []
        last = [run for run in world.engine.log[-20:] if run.job == "capture" and run.begun]
        if last and ("capture", "database") in self.truth.failing:
            again = last[-1].begun + HOUR + LATE if last[-1].begun else true
            found += [again] if again > true else []
        return min(found)

    def _tick(self) -> None:
        world, now = self.world, self.world.clock()
        self.ticks += 1
        world.engine.forget(now - REMEMBERED)
        tick(self.ports, now)
        found = self.ports.take()
        if self._errors or found is None:
            self.oracle.complaints += self._errors or ["nothing was judged"]
            return
        self.truth.last_report = found.report
        self.oracle.after_tick(found, self.ports.told)
        if self.ticks % 97 == 0:
            self.oracle.expect_no_better(found)

    def _days(self) -> list[tuple[datetime, bool]]:
        """When captures were due, and whether each must have been made: not while the host was
        down, the clock wrong, or the settings changed, nor just after; nor in a year in which they
        were due at two times."""
        world = self.world
        reached = min(self.end, world.true)
        odd = ("host down", "clock", "settings")
        spans = [
            (one.begin - 2 * DAY, one.end + 4 * DAY)
            for one in self.troubles
            if one.kind.startswith(odd)
        ]
        times = occurrences(
            world.declared["capture"], world.declared["zone"], self.begin + DAY, reached - DAY
        )
        changed = any(one.subject.startswith("capture=") for one in self.troubles)
        return [
            (at, not changed and not any(begin <= at <= end for begin, end in spans))
            for at in times
        ]


class _Errors(logging.Handler):
    """What a tick logs because nobody foresaw it, or because something could not be done."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(self.format(record))


def told_of(year: Year) -> str:
    """What was wrong with a seed, and what went before: for whoever looks into it."""
    world = year.world
    settings = ", ".join(f"{name}: {value}" for name, value in world.declared.items())
    since = world.true - 30 * DAY
    troubles = [str(one) for one in year.troubles if one.begin <= world.true and one.end >= since]
    records = [_line(one) for one in world.ledger.records[-40:] if one.kind != "command"]
    parts = {"wrong": year.oracle.complaints, "troubles": troubles, "records": records}
    told = [f"{name}:\n" + "\n".join(f"  {one}" for one in each) for name, each in parts.items()]
    return f"seed {world.seed} ({settings})\n" + "\n".join(told)


_TELLING = (
    "job", "exit_status", "repository", "source", "key", "before", "verdict", "event", "to",
    "delivered", "sound", "observed",
)  # fmt: skip


def _line(one: Entry) -> str:
    fields = ", ".join(f"{name} {one.fields[name]}" for name in _TELLING if name in one.fields)
    return f"{one.seq} {one.at:%Y-%m-%d %H:%M} {one.kind}: {fields}"


def main() -> None:
    """Run years by hand, and tell of each that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.year")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds")
    chosen = parser.parse_args()
    wrong = 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        year = Year(seed)
        wrong += bool(year.run())
        if year.oracle.complaints:
            print(told_of(year), flush=True)
        else:
            print(f"seed {seed}: {year.ticks} ticks, nothing wrong", flush=True)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
