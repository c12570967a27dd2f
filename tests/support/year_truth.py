"""What is so in a simulated world, as far as the ledger could tell, and what may be said of it.

Kept by the world's own events, in their order, and judged in other words than the program's: for
each check the verdicts that are allowed. Where the program is free, several are. Between what must
be well and what must not lies what one run takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from strongroom.model import Verdict
from strongroom.plan.calendar import Calendar
from strongroom.report.judgement import Report
from strongroom.repository import Snapshot

if TYPE_CHECKING:
    from tests.support.year_world import Run, Store, World

P, S, U, F = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
ANY = frozenset(Verdict)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RPO, PROOF_AGE, MONTH, REVIEW = DAY, 7 * DAY, 35 * DAY, 90 * DAY
ANSWERS = (0, 3, 40, 41, 42)


@dataclass(frozen=True)
class Stored:
    """A capture of a source. Times are those of the host's clock."""

    point: str
    begun_at: datetime
    ended_at: datetime
    bytes: int
    tree: str
    places: set[str]


@dataclass(frozen=True)
class Proof:
    at: datetime
    verdict: Verdict
    repository: str | None


@dataclass
class Room:
    """What a store said of its room, and how often since that changed abruptly."""

    at: datetime
    free: float
    steady: int = 0


@dataclass
class Integrity:
    """What checks of a store found: when the last one was, and what stands of it."""

    at: datetime
    lost: bool = False
    broken: set[str] = field(default_factory=set)
    # Whether broken packs went away without a repair, so that only reading all again tells.
    doubtful: bool = False
    repaired: bool = False


class Truth:
    """Everything that was recorded, and the order in which that was."""

    def __init__(self, begin: datetime) -> None:
        self.begin = begin
        self.captures: dict[str, list[Stored]] = defaultdict(list)
        self.proofs: dict[str, list[Proof]] = defaultdict(list)
        self.points: dict[str, dict[str, datetime]] = defaultdict(dict)
        self.proven: dict[str, bool] = {}
        # Which repositories took a copy of what a source had in it then.
        self.copies: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.away: set[str] = set()
        self.rooms: dict[str, Room] = {}
        self.integrity: dict[str, Integrity] = {}
        self.pruned_at: dict[str, tuple[datetime, str]] = {}
        self.failing: dict[tuple[str, str], datetime] = {}
        self.ended: dict[str, datetime] = {}
        self.took: dict[str, list[timedelta]] = defaultdict(list)
        self.told: dict[str, tuple[datetime, bool]] = {}
        self.changed_at = begin
        self.jobs_ended = 0
        self.last_report: Report | None = None
        # Since when nothing was odd: no size, no clock, no ledger that could not be written.
        self.odd_at: datetime | None = None
        self.losses: list[str] = []

    # What happens

    def captured(self, source: str, made: Stored | None) -> None:
        if made is None:
            self.failing["capture", source] = self.begin
            return
        self.failing.pop(("capture", source), None)
        self.captures[source].append(made)
        self.took["capture"].append(made.ended_at - made.begun_at)
        self.away -= made.places

    def copied(self, taker: str, snapshots: Sequence[Snapshot]) -> None:
        self.away.discard(taker)
        self.failing.pop(("copy", ""), None)
        for one in snapshots:
            self.copies[str(one.source), str(one.tree)].add(taker)

    def ran(self, run: Run, status: int, now: datetime) -> None:
        """A run of the schedule ended."""
        order = run.placed.order
        assert run.begun_at is not None
        self.jobs_ended += 1
        self.ended[order.job] = now
        if order.action != "capture":
            self.took[order.job].append(now - run.begun_at)
        good = status in ANSWERS or (order.action == "check" and status == 30)
        if order.action == "capture":
            if not good:
                self.failing |= {("capture", name): now for name in order.sources}
            return
        key = order.action, order.repository or ""
        if not good:
            self.failing[key] = now
        elif status != 3:
            self.failing.pop(key, None)

    def checked(
        self, store: Store, now: datetime, *, read: Collection[str], broken: set[str]
    ) -> None:
        known = self.integrity.setdefault(store.name, Integrity(now))
        self.away.discard(store.name)
        known.at = now
        known.lost = bool(store.lost)
        if broken:
            known.broken |= broken
            known.doubtful = known.repaired = False
        elif known.broken and known.repaired and read:
            known.broken, known.doubtful = set(), False
        elif known.broken and not known.broken & store.packs.keys():
            known.doubtful = True

    def repaired(self, store: Store) -> None:
        if store.name in self.integrity:
            self.integrity[store.name].repaired = True

    def pruned(self, repository: str, now: datetime, policy: str) -> None:
        self.away.discard(repository)
        self.pruned_at[repository] = now, policy if repository == "local" else ""

    def drilled(
        self,
        source: str,
        repository: str | None,
        now: datetime,
        verdict: Verdict,
        one: Snapshot | None,
    ) -> None:
        self.proofs[source].append(Proof(now, verdict, repository))
        if repository is None or one is None:
            return
        self.away.discard(repository)
        self.failing.pop(("drill", ""), None)
        self.proven[one.id] = verdict is P
        if verdict is P:
            self.points[str(one.point)][source] = now

    def told_spaces(self, world: World, stores: Sequence[Store]) -> None:
        now = world.clock()
        for one in stores:
            before = self.rooms.get(one.name)
            free = one.free_bytes / one.total_bytes
            steady = before is not None and abs(before.free - free) < 0.01
            count = before.steady + 1 if before is not None and steady else 0
            self.rooms[one.name] = Room(now, free, count)

    def asked(self, reached: Mapping[str, str]) -> None:
        for name, error in reached.items():
            self.away -= {name}
            self.away |= {name} if error else set()

    def delivered(self, route: str, now: datetime, arrived: bool) -> None:
        self.told[route] = now, arrived

    def configured(self, now: datetime, *, is_first: bool) -> None:
        if not is_first:
            self.changed_at = now

    def odd(self, now: datetime) -> None:
        self.odd_at = now

    def expect_no_loss(self, store: Store, gone: Mapping[str, Sequence[str]]) -> None:
        """I3: neither the newest of a source goes, by its own time or in the order in which they
        were captured, nor the newest that was proven."""
        for source, captures in self.captures.items():
            order = {one.point: place for place, one in enumerate(captures)}
            mine = [one for one in store.snapshots.values() if one.source == source]
            trees = {one.tree for one in mine if self.proven.get(one.id)}
            proven = [one for one in mine if one.tree in trees]
            for some, what in ((mine, "newest"), (proven, "newest proven")):
                for newest in (
                    max(some, key=lambda one: one.time, default=None),
                    max(some, key=lambda one: order.get(str(one.point), -1), default=None),
                ):
                    if newest is not None and newest.id in gone:
                        told = "; ".join(gone[newest.id])
                        self.losses.append(f"the {what} of {source} in {store.name}: {told}")

    # What may be said of it

    def allowed(self, world: World) -> dict[str, frozenset[Verdict]]:
        """For each check, by its key, the verdicts that are right now."""
        now = world.clock()
        made: dict[str, frozenset[Verdict]] = {
            "errors": _errors(self),
            "copies": self._copies(world),
            "off-site": self._off_site(world),
            "schedule": self._schedule(world, now),
            "delivery": self._delivery(now),
            "full-restore": self._full_restore(now),
            "ledger": frozenset({P}) if world.ledger.records else frozenset({P, U}),
            "anomalies": self._anomalies(now),
            "review": self._review(world, now),
        }
        for name in world.contents:
            made[f"capture:{name}"] = self._capture(world, name, now)
            made[f"size:{name}"] = self._size(name)
            made[f"proof:{name}"] = self._proof(name, now)
        made["files:uploads"] = frozenset({P if self.captures["uploads"] else U})
        well = all(made[f"proof:{name}"] <= {P, S} for name in world.contents)
        made["rto"] = frozenset({P}) if well else frozenset({P, U})
        for name in world.stores:
            made[f"space:{name}"] = self._space(name, now)
            made[f"integrity:{name}"] = self._integrity(name, now)
            made[f"retention:{name}"] = self._retention(world, name, now)
        return made

    def _capture(self, world: World, name: str, now: datetime) -> frozenset[Verdict]:
        if not self.captures[name]:
            return frozenset({U})
        newest = self.captures[name][-1]
        age = now - newest.begun_at
        if age < -MINUTE:
            return frozenset({U})
        took = max(one.ended_at - one.begun_at for one in self.captures[name][-5:])
        patience = min(world.settings.schedule.jitter + max(2 * took, 15 * MINUTE), RPO / 2)
        late = RPO + patience + HOUR  # clocks may have gone back
        if age <= RPO:
            return frozenset({P})
        if age <= late:
            return frozenset({P, S})
        if age <= 2 * RPO:
            return frozenset({S})
        return frozenset({S, F} if age <= 2 * late else {F})

    def _size(self, name: str) -> frozenset[Verdict]:
        sizes = [one.bytes for one in self.captures[name]]
        if not sizes:
            return frozenset({U})
        before, newest = sizes[-10:-1], sizes[-1]
        if newest == 0:
            return frozenset({F} if any(before) else {U})
        if all(0.9 * newest < one < 1.1 * newest for one in before):
            return frozenset({P})
        middle = sorted(before[-5:])[len(before[-5:]) // 2]
        if newest < 0.45 * middle or (len(before) > 8 and newest > 2 * max(before)):
            return frozenset({U})
        return frozenset({P, U})

    def _copies(self, world: World) -> frozenset[Verdict]:
        if not all(self.captures[name] for name in world.contents):
            return frozenset({U})
        few = any(len(self._places(name)) < 2 for name in world.contents)
        return frozenset({S if few else P})

    def _places(self, name: str) -> set[str]:
        """Where what the newest capture of a source holds can be had from."""
        newest = self.captures[name][-1]
        return (newest.places | self.copies[name, newest.tree]) - self.away

    def _off_site(self, world: World) -> frozenset[Verdict]:
        if not all(self.captures[name] for name in world.contents):
            return frozenset({U})
        none = any(not self._places(name) for name in world.contents)
        return frozenset({S, U} if none else {P})

    def _schedule(self, world: World, now: datetime) -> frozenset[Verdict]:
        """Well when every job has run since it was due last; not when one that is due each day has
        not for a day and a half. A change of the settings is an excuse for two days."""
        zone = world.declared["zone"]
        times = {
            "capture": world.declared["capture"], "prune": world.declared["prune"],
            "check:local": "0 5 * * 2", "check:offsite": "0 5 * * 5",
            "verify-daily": "0 8 * * *", "verify-weekly": "10 8 * * 1",
            "verify-monthly": "20 8 1 * *", "drill": world.declared["drill"],
        }  # fmt: skip
        times = {name: fields for name, fields in times.items() if fields != "never"}
        ran = [
            name in self.ended
            and (at := Calendar(fields, zone).newest(now)) is not None
            and self.ended[name] >= at
            for name, fields in times.items()
        ]
        if all(ran) and self.changed_at + 40 * DAY < now:
            return frozenset({P})
        daily = [self.ended.get(name, self.begin) for name in times if name not in SELDOM]
        settled = now - max(self.changed_at, self.begin) > 2 * DAY
        took = max((max(each[-5:]) for each in self.took.values() if each), default=HOUR)
        if settled and now - min(daily) > 1.5 * DAY + 2 * took:
            return frozenset({S, U})
        return frozenset({P, S, U})

    def _delivery(self, now: datetime) -> frozenset[Verdict]:
        if not self.told:
            return frozenset({U})
        if any(not arrived for _, arrived in self.told.values()):
            none = not any(arrived for _, arrived in self.told.values())
            return frozenset({F if none else S})
        if self.told.keys() < ROUTES:
            return frozenset({U})
        last = min(at for at, _ in self.told.values())
        return frozenset({P if now - last <= REVIEW else S})

    def _proof(self, name: str, now: datetime) -> frozenset[Verdict]:
        proofs = self.proofs[name]
        if not proofs:
            return frozenset({U})
        newest = {one.repository: one.verdict for one in proofs}
        if F in newest.values():
            return frozenset({F})
        last = proofs[-1]
        if last.verdict is U or now - last.at < -MINUTE:
            return frozenset({U})
        return frozenset({P if now - last.at <= PROOF_AGE else S})

    def _full_restore(self, now: datetime) -> frozenset[Verdict]:
        whole = [min(each.values()) for each in self.points.values() if len(each) == 2]
        if not whole:
            return frozenset({U})
        age = now - max(whole)
        if age < -MINUTE:
            return ANY - {F}
        return frozenset({P if age <= MONTH else S})

    def _space(self, name: str, now: datetime) -> frozenset[Verdict]:
        room = self.rooms.get(name)
        if room is None:
            return frozenset({U})
        if room.free <= 0:
            return frozenset({F})
        if room.free < 0.1 or now - room.at > 8 * DAY:
            return frozenset({S})
        return frozenset({P} if room.steady > 125 else {P, S})

    def _integrity(self, name: str, now: datetime) -> frozenset[Verdict]:
        known = self.integrity.get(name)
        if known is None:
            return frozenset({U})
        if known.lost or (known.broken and not known.doubtful):
            return frozenset({F})
        if known.broken:
            return ANY
        age = now - known.at
        return frozenset({P if age <= PROOF_AGE + DAY else S})

    def _retention(self, world: World, name: str, now: datetime) -> frozenset[Verdict]:
        known = self.pruned_at.get(name)
        if known is None:
            return frozenset({U})
        at, policy = known
        if name == "local" and policy != world.declared["retention"]:
            return frozenset({S})
        return frozenset({P if now - at <= MONTH else S})

    def _anomalies(self, now: datetime) -> frozenset[Verdict]:
        if not any(self.captures.values()):
            return frozenset({U})
        quiet = self.odd_at is None or now - self.odd_at > 45 * DAY
        return frozenset({P} if quiet else {P, U})

    def _review(self, world: World, now: datetime) -> frozenset[Verdict]:
        last = date.fromisoformat(world.declared["review"])
        zone = ZoneInfo(world.declared["zone"])
        age = now - datetime(last.year, last.month, last.day, tzinfo=zone)
        if age < timedelta():
            return frozenset({U})
        return frozenset({P if age <= REVIEW else S})


ROUTES = frozenset({"operators", "on-call", "dba"})
SELDOM = frozenset(
    {"drill", "prune", "check:local", "check:offsite", "verify-weekly", "verify-monthly"}
)


def _errors(truth: Truth) -> frozenset[Verdict]:
    if not truth.jobs_ended and not truth.failing:
        return frozenset({U, P})
    return frozenset({F if truth.failing else P})
