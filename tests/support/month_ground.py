"""A month of the service's own ticks, by a clock of the test's, with a ledger on disk and runs that
only write what real ones would; and what all of it holds in memory.
"""

from __future__ import annotations

import functools
import gc
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

from strongroom.config import parse_settings
from strongroom.model import Verdict
from strongroom.repository import Snapshot
from strongroom.service.application import Application, make_private
from strongroom.service.health import Board
from strongroom.service.order import Order, Outcome
from strongroom.service.point import new_point_id
from strongroom.service.runner import job_fields
from strongroom.service.tick import Placed
from strongroom.service.ticking import Ticker
from tests.support import year_records

MINUTE = timedelta(minutes=1)
CONFIG = """\
version: 1
application: tms
sources:
  uploads: {{kind: files, path: {path}/uploads}}
repositories:
  local: {{location: {path}/local, password: "file:{path}/key"}}
state: {path}/state
"""


class Month:
    """A service of which every run ends at once. Each capture of a Sunday fails, so that verdicts
    change."""

    def __init__(self, path: Path, begin: datetime, board: Board | None = None) -> None:
        self.now = begin
        settings = parse_settings(CONFIG.format(path=path), base=path)
        self.application = Application(settings)
        self.application.clock = lambda: self.now
        make_private(self.application.state)
        self.board = board or Board()
        self.ticks = 0
        self._ticker = Ticker(self, self.board)

    def advance(self, span: timedelta, step: timedelta) -> None:
        """Tick until then."""
        until = self.now + span
        while self.now < until:
            self.tick()
            self.now += step

    def tick(self) -> None:
        self.ticks += 1
        self._ticker.tick(self.application, self.now)

    # What the ticks ask of an engine

    def refresh(self, application: Application) -> None:
        assert application is self.application

    def jobs(self) -> dict[str, datetime]:
        return {}

    def forget(self, before: datetime) -> None:
        del before

    def close(self) -> None:
        """Nothing is open."""

    def order(self, placed: Placed) -> None:
        """Carry it out, and write down how it ended."""
        order, workflow = placed.order, placed.workflow
        fails = order.action == "capture" and self.now.weekday() == 6
        match order.action:
            case "capture":
                self._capture(order, fails=fails)
            case "check":
                self._check(str(order.repository))
            case "drill":
                self._drill()
            case _:
                pass
        code = {"code": "path-unreadable", "message": "no", "hint": "Look."} if fails else None
        outcome = Outcome(10 if fails else 0, {"error": code})
        fields = job_fields(order, workflow, self.now - MINUTE, self.now, outcome)
        self.application.must_record("job", fields)

    def _snapshot(self) -> Snapshot:
        number = f"{self.ticks:064x}"
        tags = ("strongroom", "source:uploads", "kind:files", "application:tms")
        return Snapshot(
            number, self.now - MINUTE, number, ("/uploads",),
            (*tags, f"point:{new_point_id(self.now)}"), summary={"total_bytes_processed": 1 << 30},
        )  # fmt: skip

    def _capture(self, order: Order, *, fails: bool) -> None:
        error = {"source": "uploads", "code": "path-unreadable", "message": "no", "hint": "Look."}
        one = self._snapshot()
        fields = year_records.backup(
            str(one.point),
            order.sources,
            [] if fails else [("local", one)],
            begun_at=self.now - MINUTE,
            ended_at=self.now,
            errors=[error] if fails else [],
            spaces=[year_records.space("local", 1 << 40, 1 << 39)],
        )
        self.application.must_record("backup", fields)

    def _check(self, repository: str) -> None:
        fields = year_records.check(
            repository, [], packs=10, read=1, never_read_bytes=0, oldest_read_at=self.now,
            took=MINUTE,
        )  # fmt: skip
        self.application.must_record("check", fields)

    def _drill(self) -> None:
        fields = year_records.drill(
            "uploads", "local", self._snapshot(), Verdict.PROVEN, checked=100, took=MINUTE
        )
        self.application.must_record("drill", fields)


def held_bytes() -> int:
    """What the objects of this process take that somebody still holds. Caches that are bounded are
    emptied; those without a bound hold for ever, and count."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.cache_parameters()["maxsize"]:
            one.cache_clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
