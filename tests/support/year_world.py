"""A world for a simulated year: a host with a clock of its own, stores that are sets, sources that
are numbers, a ledger in memory, and an engine that runs orders one after another.

Nothing here decides or judges: that is the very code of the service. What runs come to is in
`year_runs`, what goes wrong in `year_fault`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from strongroom.config import Settings, parse_settings
from strongroom.evidence import Entry, Fault, Ledger
from strongroom.repository import Snapshot
from strongroom.service.application import Application
from strongroom.service.backlog import Backlog, Holders
from strongroom.service.tick import DRILL_QUEUE, HOST_QUEUE, Placed

GIB = 1 << 30
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# After how long an attempt is made again that may succeed later, as `workflow` has it.
PATIENCE = (MINUTE, 5 * MINUTE)
REMEMBERED = timedelta(days=7)

CONFIG = """\
version: 1
application: tms
sources:
  database: {{kind: postgres, url: "postgresql://backup@db.example.com/tms"}}
  uploads: {{kind: files, path: /srv/uploads}}
repositories:
  local: {{location: /backup/tms, password: env:KEY, check: "0 5 * * 2"}}
  offsite:
    location: "sftp:backup@offsite.example.com:/tms"
    password: env:KEY
    check: "0 5 * * 5"
retention:
  local: {{{retention}}}
alerts:
  - {{to: env:OPERATORS, name: operators, repeat: 7d}}
  - {{to: env:ON_CALL, name: on-call, when: failure}}
  - {{to: env:DBA, name: dba, about: [database], quiet: "22:00-07:00"}}
schedule:
  capture: "{capture}"
  drill: "{drill}"
  prune: "{prune}"
  time_zone: {zone}
  jitter: {jitter}
review: {{last: {review}}}
state: /nowhere/year-{seed}
"""


class MemoryLedger(Ledger):
    """A ledger without a file, by the world's clock."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        super().__init__(path, clock)
        self.records: list[Entry] = []
        self._by_kind: dict[str, list[Entry]] = defaultdict(list)

    def append_if(
        self,
        kind: str,
        decide: Callable[[], Mapping[str, Any] | None],  # Any: JSON values
    ) -> Entry | None:
        fields = decide()
        if fields is None:
            return None
        seq = len(self.records) + 1
        entry = Entry(seq, self._clock(), kind, dict(fields), f"{seq:064x}")
        self.records.append(entry)
        self._by_kind[kind].append(entry)
        return entry

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        return iter(self.records if kind is None else self._by_kind[kind])

    def verify(self) -> Sequence[Fault]:
        return ()


class WorldApplication(Application):
    """The application on that host."""

    def __init__(self, settings: Settings, ledger: MemoryLedger) -> None:
        super().__init__(settings)
        self._ledger = ledger

    @property
    def ledger(self) -> MemoryLedger:
        return self._ledger

    def must_record_if(
        self,
        kind: str,
        decide: Callable[[], Mapping[str, Any] | None],  # Any: JSON values
    ) -> Entry | None:
        of_run = {"application": self.name, "run": self.run, "by": "root@backup"}

        def whole() -> Mapping[str, Any] | None:  # Any: JSON values
            fields = decide()
            return None if fields is None else {**of_run, **fields}

        return self._ledger.append_if(kind, whole)


@dataclass
class Store:
    """A repository's store. Packs are named by the snapshot that brought them; `lost` has snapshots
    that nobody has acknowledged as gone, with their sources."""

    name: str
    total_bytes: int = 1000 * GIB
    used_bytes: int = 300 * GIB
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    packs: dict[str, int] = field(default_factory=dict)
    read_at: dict[str, datetime] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    away: bool = False
    full: bool = False
    refuses: bool = False
    slow: int = 1

    @property
    def free_bytes(self) -> int:
        return 0 if self.full else max(self.total_bytes - self.used_bytes, 0)

    def add(self, one: Snapshot, added_bytes: int) -> None:
        self.snapshots[one.id] = one
        self.packs[one.id] = max(added_bytes, 1)
        self.used_bytes += added_bytes

    def remove(self, snapshot: str) -> None:
        del self.snapshots[snapshot]
        self.packs.pop(snapshot, None)
        self.read_at.pop(snapshot, None)
        self.damaged.discard(snapshot)


@dataclass
class Content:
    """What a source holds; `error` is the code with which it can't be captured, if it can't."""

    name: str
    kind: str
    size_bytes: float
    share: float = 1.0
    version: int = 0
    error: str = ""

    @property
    def bytes(self) -> int:
        return round(self.size_bytes * self.share)


@dataclass
class Run:
    """An order that waits or is under way. `begun_at` is what the host's clock showed, `ends` is
    the true time of its end."""

    placed: Placed
    since: datetime
    ordered: datetime
    begun: datetime | None = None
    begun_at: datetime | None = None
    ends: datetime | None = None
    attempt: int = 0

    @property
    def job(self) -> str:
        return self.placed.order.job


@dataclass
class Engine:
    """Runs orders one after another, a queue for each kind; knows of each run for a week."""

    queues: dict[str, list[Run]] = field(default_factory=lambda: {HOST_QUEUE: [], DRILL_QUEUE: []})
    known: dict[str, datetime | None] = field(default_factory=dict)
    log: list[Run] = field(default_factory=list)

    def order(self, placed: Placed, now: datetime, true: datetime) -> None:
        if placed.workflow in self.known:
            return
        self.known[placed.workflow] = None
        run = Run(placed, now, true)
        self.queues[placed.queue].append(run)
        self.log.append(run)

    def jobs(self) -> dict[str, datetime]:
        return {run.job: run.since for queue in self.queues.values() for run in queue}

    def forget(self, before: datetime) -> None:
        old = [name for name, ended in self.known.items() if ended is not None and ended < before]
        for name in old:
            del self.known[name]


class World:
    """All of it. `true` is the time that it is; the host's clock shows `skew` more."""

    def __init__(self, seed: int, begin: datetime) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.true = begin
        self.skew = timedelta()
        self.is_down = False
        self.declared = {
            "seed": str(seed),
            "retention": "daily: 30d, weekly: 90d",
            "capture": self.random.choice(("0 2 * * *", "30 2 * * *", "0 2 * * *", "15 1 * * *")),
            "drill": self.random.choice(("0 6 * * 0", "0 6 * * 3")),
            "prune": self.random.choice(("30 4 * * 1", "30 4 * * 4")),
            "zone": self.random.choice(
                ("Europe/Berlin", "America/New_York", "Asia/Dubai", "Australia/Lord_Howe", "UTC")
            ),
            "jitter": self.random.choice(("0s", "0s", "20m")),
            "review": f"{begin:%Y-%m-%d}",
        }
        self.ledger = MemoryLedger(Path(f"/nowhere/year-{seed}/ledger.jsonl"), self.clock)
        self.application = self._configured()
        self.stores = {name: Store(name) for name in self.settings.repositories}
        self.contents = {
            "database": Content("database", "postgres", 20.0 * GIB),
            "uploads": Content("uploads", "files", 60.0 * GIB),
        }
        self.engine = Engine()
        self.failing_routes: set[str] = set()
        # How the next drills go: None, or a code of an error, or of a finding that is a failure.
        self.drill_error = ""
        self.drill_finding = ""
        self.kills = 0
        self._serial = 0
        self._backlogs: dict[str, tuple[Backlog, int]] = {}
        self.config_digest = ""

    @property
    def settings(self) -> Settings:
        return self.application.settings

    def clock(self) -> datetime:
        return self.true + self.skew

    def configure(self, **changed: str) -> None:
        """Another configuration from now on."""
        self.declared |= changed
        self.application = self._configured()

    def _configured(self) -> WorldApplication:
        settings = parse_settings(CONFIG.format(**self.declared), base=Path("/"))
        made = WorldApplication(settings, self.ledger)
        made.clock = self.clock
        return made

    def serial(self) -> str:
        """64 hex digits that nothing else has."""
        self._serial += 1
        return f"{self.seed:08x}{self._serial:056x}"

    def backlog(self, repository: str) -> list[Holders]:
        """What a repository lacks; of what was read before, nothing is read again."""
        found, taken = self._backlogs.setdefault(repository, (Backlog(repository), 0))
        records = self.ledger.records
        for entry in records[taken:]:
            found.take(entry)
        self._backlogs[repository] = found, len(records)
        return found.lacking

    # Runs

    def advance(self, until: datetime, carry_out: Callable[[World, Run], bool]) -> None:
        """Begin and end runs in their order until then; the clock is left there. `carry_out` gives
        whether a run is over, and is not to be tried again."""
        while not self.is_down:
            self._begin()
            ends = [
                (run.ends, queue[0].job, queue)
                for queue in self.engine.queues.values()
                for run in queue[:1]
                if run.ends is not None and run.ends <= until
            ]
            if not ends:
                break
            self.true, _, queue = min(ends, key=lambda one: one[:2])
            run = queue[0]
            if carry_out(self, run):
                queue.pop(0)
                self.engine.known[run.placed.workflow] = self.clock()
            else:
                run.ends = self.true + PATIENCE[run.attempt - 1] + self.takes(run)
        self.true = until

    def _begin(self) -> None:
        for queue in self.engine.queues.values():
            if queue and queue[0].begun is None:
                run = queue[0]
                run.begun, run.begun_at = self.true, self.clock()
                run.ends = self.true + self.takes(run)

    def takes(self, run: Run) -> timedelta:
        """How long it takes, as things are."""
        order = run.placed.order
        names = [order.repository] if order.repository else list(self.stores)
        slow = max(self.stores[str(name)].slow for name in names)
        minutes = {"capture": 12, "copy": 5, "check": 9, "prune": 6, "drill": 25}
        usual = minutes.get(order.action, 1) * self.random.uniform(0.8, 1.2)
        return timedelta(minutes=usual * (slow if order.action in minutes else 1))

    def stop(self) -> None:
        """The host goes down; what is under way is done again when it comes back."""
        self.is_down = True

    def start(self) -> None:
        self.is_down = False
        for queue in self.engine.queues.values():
            for run in queue[:1]:
                if run.begun is not None:
                    run.ends = self.true + self.takes(run)


def year_begin(seed: int) -> datetime:
    """Somewhere in a year, on the full hour."""
    return datetime(2026, 1, 1, 12, tzinfo=UTC) + (seed * 53 % 365) * DAY
