"""The demo's application for a week that takes a minute: the service's own ticks, runs and
commands, with real captures, drills and stores, at the times of a simulated clock.

Only the clock is not real, in this process and in those that it starts, and nobody waits for what
the schedule leaves free: a tick comes each hour, and each minute in which something has ended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import time_machine

from strongroom.evidence import Entry, Ledger
from strongroom.model import Verdict
from strongroom.service.application import Application, make_private
from strongroom.service.child import Children
from strongroom.service.health import Board
from strongroom.service.occupancy import SERVICE, Hold, sole
from strongroom.service.runner import Runner
from strongroom.service.runs import HostRuns
from strongroom.service.ticking import Ticker
from tests.support.demo_ground import DemoGround

HOUR: Final = timedelta(hours=1)
_TRAVELLING: Final = Path(__file__).parent / "travelling"
_PATIENCE_SECONDS: Final = 120
_TOLD: Final = frozenset({"job", "verdict", "alert"})


def next_monday() -> datetime:
    """Its first moment in UTC. What exists now is older than anything then."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=7 - today.weekday())


@dataclass
class Week:
    """A service whose clock is ours; `lines` is what its ledger came to tell, in order."""

    ground: DemoGround
    begin: datetime
    board: Board
    runs: HostRuns
    ticker: Ticker
    clock: time_machine.Traveller
    hold: Hold
    lines: list[str] = field(default_factory=list)
    letters: set[tuple[str, str]] = field(default_factory=set)  # when, and to whom
    _seen: int = 0
    _overall: Verdict | None = None

    def live(self, events: Mapping[timedelta, Callable[[], object]], days: int) -> None:
        """Let these days pass; `events` happen so long after the beginning, each before the tick
        of its hour."""
        for hour in range(days * 24):
            moment = self.begin + hour * HOUR
            self._set(moment)
            if (event := events.get(hour * HOUR)) is not None:
                event()
            self._tick(moment)
            while self._come_to_rest():
                self._read(moment)
                moment += timedelta(minutes=1)
                # Where that took longer, by our clock as well, time must not go back.
                self._set(max(moment, datetime.now(UTC)))
                self._tick(moment)

    def _tick(self, moment: datetime) -> None:
        now = datetime.now(UTC)
        os.utime(self.hold.path, (now.timestamp(), now.timestamp()))
        self.ticker.tick(Application.load(self.ground.config), now)
        self._read(moment)

    def _set(self, now: datetime) -> None:
        self.clock.move_to(now)
        os.environ["STRONGROOM_TEST_NOW"] = str(now.timestamp())

    def _come_to_rest(self) -> bool:
        """Whether anything ran; it has ended."""
        begun = time.monotonic()
        ran = False
        while self.runs.jobs():
            ran = True
            assert time.monotonic() - begun < _PATIENCE_SECONDS, self.runs.jobs()
            time.sleep(0.05)
        return ran

    def _read(self, moment: datetime) -> None:
        """What is new is of this moment. Whatever a tick starts ends after it has told."""
        when = f"{moment:%a %H:%M}"
        entries = list(Ledger(self.ground.demo.state / "ledger.jsonl").entries())
        told = [one for one in entries[self._seen :] if one.kind in _TOLD]
        self._seen = len(entries)
        self.letters |= {(when, one.fields["to"]) for one in told if one.kind == "alert"}
        told.sort(key=lambda one: one.fields["job"] if one.kind == "job" else "")
        self.lines += [f"{when}  {_line(one)}" for one in told]
        standing = self.board.current()
        if standing is not None and standing.verdict is not self._overall:
            self._overall = standing.verdict
            self.lines.append(f"{when}  = {self._overall.value}")


def _line(one: Entry) -> str:
    fields: Mapping[str, Any] = one.fields  # Any: JSON values
    if one.kind == "job":
        error = f" {fields['error']['code']}" if fields["error"] else ""
        verdict = f" {fields['verdict']}" if fields["verdict"] else ""
        return f"{fields['job']} ended: {fields['exit_status']}{verdict}{error}"
    if one.kind == "verdict":
        return f"{fields['key']}: {fields['before']} -> {fields['verdict']}"
    arrived = "" if fields["delivered"] else " NOT DELIVERED"
    return f"   to {fields['to']}: {fields['key']} {fields['event']} {fields['verdict']}{arrived}"


@contextlib.contextmanager
def week_of(ground: DemoGround) -> Iterator[Week]:
    """The service of this application, from the first moment of next Monday on."""
    begin = next_monday()
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "STRONGROOM_TEST_NOW")}
    os.environ["PYTHONPATH"] = str(_TRAVELLING)
    application = Application.load(ground.config)
    folder = make_private(application.state)
    # What it starts sees by its lock that it is the service's.
    with sole(folder, SERVICE) as hold, time_machine.travel(begin, tick=True) as clock:
        children = Children(ground.config)
        board = Board()
        runner = Runner(lambda: Application.load(ground.config), children)
        runs = HostRuns(folder, application.name, runner)
        try:
            yield Week(ground, begin, board, runs, Ticker(runs, board), clock, hold)
        finally:
            runs.close()
            children.end(timedelta())
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
