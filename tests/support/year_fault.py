"""What goes wrong in a simulated year: the store, time and people groups of the fault corpus, each
with its healing, drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tests.support import year_records
from tests.support.year_truth import Truth
from tests.support.year_world import DAY, GIB, HOUR, Store, World

Effect = Callable[[World, Truth, str], None]
# Nothing goes wrong before everything has run for a while.
_SETTLED: Final = 15 * DAY


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong with a subject, from `begin` to `end`, by the true time."""

    kind: str
    subject: str
    begin: datetime
    end: datetime

    def __str__(self) -> str:
        about = f" ({self.subject})" if self.subject else ""
        return f"{self.begin:%m-%d %H:%M} to {self.end:%m-%d %H:%M} {self.kind}{about}"


@dataclass(frozen=True)
class Kind:
    """How it begins and ends, what it may be about, how often a year and for how long. Two of one
    `group` never come together."""

    begin: Effect
    end: Effect
    subjects: tuple[str, ...]
    number: float
    least: timedelta
    most: timedelta
    group: str = ""


def _nothing(_: World, __: Truth, ___: str) -> None:
    """It heals by itself, or never."""


def _of_store(name: str, value: object, healed: object) -> tuple[Effect, Effect]:
    def begin(world: World, _: Truth, subject: str) -> None:
        setattr(world.stores[subject], name, value)

    def end(world: World, _: Truth, subject: str) -> None:
        setattr(world.stores[subject], name, healed)

    return begin, end


def _of_size(share: float) -> tuple[Effect, Effect]:
    def change(world: World, truth: Truth, subject: str, value: float) -> None:
        world.contents[subject].share = value
        truth.odd(world.clock())

    return (
        lambda world, truth, subject: change(world, truth, subject, share),
        lambda world, truth, subject: change(world, truth, subject, 1.0),
    )


def _nearly_full(world: World, _: Truth, subject: str) -> None:
    store = world.stores[subject]
    store.total_bytes = store.used_bytes * 100 // 95


def _enlarged(world: World, _: Truth, subject: str) -> None:
    world.stores[subject].total_bytes = 1000 * GIB


def _rot(world: World, _: Truth, subject: str) -> None:
    store = world.stores[subject]
    newest = list(store.packs)[-1:]
    store.damaged.update(world.random.choice((newest, [world.random.choice([*store.packs])])))


def _repair(world: World, truth: Truth, subject: str) -> None:
    """What another repository has is brought back. If nobody noticed yet, so much the better."""
    store = world.stores[subject]
    store.damaged.clear()
    world.application.record("repaired", year_records.repaired(subject))
    truth.repaired(store)


def _lose(world: World, _: Truth, subject: str) -> None:
    store = world.stores[subject]
    for one in world.random.sample([*store.snapshots], world.random.randint(1, 2)):
        store.lost[one] = str(store.snapshots[one].source)
        store.remove(one)


def _acknowledge(world: World, _: Truth, subject: str) -> None:
    store: Store = world.stores[subject]
    gone = [(subject, one, source) for one, source in store.lost.items()]
    world.application.record("acknowledge", year_records.acknowledge(gone))
    store.lost.clear()


def _cut_off(world: World, _: Truth, subject: str) -> None:
    is_database = world.contents[subject].kind == "postgres"
    world.contents[subject].error = "database-unreachable" if is_database else "path-unreadable"


def _reached(world: World, _: Truth, subject: str) -> None:
    world.contents[subject].error = ""


def _of_drills(name: str, code: str) -> tuple[Effect, Effect]:
    def begin(world: World, _: Truth, __: str) -> None:
        setattr(world, name, code)

    def end(world: World, _: Truth, __: str) -> None:
        setattr(world, name, "")

    return begin, end


def _clock(world: World, truth: Truth, subject: str) -> None:
    world.skew = timedelta(hours=int(subject))
    truth.odd(world.clock())


def _clock_right(world: World, truth: Truth, _: str) -> None:
    truth.odd(world.clock())
    world.skew = timedelta()
    truth.odd(world.clock())


def _silence(world: World, _: Truth, subject: str) -> None:
    world.failing_routes |= set(subject.split(","))


def _heard(world: World, _: Truth, subject: str) -> None:
    world.failing_routes -= set(subject.split(","))


def _kill(world: World, _: Truth, __: str) -> None:
    world.kills = 1


def _reconfigure(world: World, truth: Truth, subject: str) -> None:
    name, _, value = subject.partition("=")
    world.configure(**{name: value})
    truth.changed_at = world.clock()


def _prune_again(world: World, truth: Truth, _: str) -> None:
    world.configure(prune="30 4 * * 6")
    truth.changed_at = world.clock()


def _review(world: World, _: Truth, __: str) -> None:
    world.configure(review=f"{world.clock():%Y-%m-%d}")


_STORES = ("local", "offsite")
_SOURCES = ("database", "uploads")
_ROUTES = ("operators", "on-call", "dba", "operators,on-call", "operators,on-call,dba")
_CLOCKS = ("-1", "1", "-1", "1", "-24", "30")
_CLOCKS_FAR = ("-72", "72", "-120", "100", "7200")
_SETTINGS = (
    "capture=45 3 * * *",
    "capture=0 2 * * *",
    "drill=0 6 * * 2",
    "retention=daily: 14d, weekly: 90d",
    "retention=daily: 30d, weekly: 90d",
)
KINDS: Final[Mapping[str, Kind]] = {
    "store away": Kind(
        *_of_store("away", True, False), _STORES, 8, HOUR, 6 * DAY, "reach"),
    "store away for a moment": Kind(
        *_of_store("away", True, False), _STORES, 6, HOUR / 4, 5 * HOUR, "reach"),
    "store full": Kind(*_of_store("full", True, False), _STORES, 2, DAY, 5 * DAY, "room"),
    "store nearly full": Kind(_nearly_full, _enlarged, _STORES, 1, DAY, 9 * DAY, "room"),
    "store slow": Kind(*_of_store("slow", 40, 1), _STORES, 2, 5 * HOUR, 3 * DAY, "speed"),
    "store rots": Kind(_rot, _repair, _STORES, 3, DAY, 25 * DAY, "damage"),
    "store loses snapshots": Kind(_lose, _acknowledge, _STORES, 3, DAY, 20 * DAY, "loss"),
    "prune refused": Kind(
        *_of_store("refuses", True, False), _STORES, 1, 3 * DAY, 40 * DAY, "prune"),
    "source unreachable": Kind(_cut_off, _reached, _SOURCES, 4, HOUR, 4 * DAY, "source"),
    "source small": Kind(*_of_size(0.4), _SOURCES, 2, DAY, 6 * DAY, "size"),
    "source empty": Kind(*_of_size(0.0), _SOURCES, 1, DAY, 4 * DAY, "size"),
    "source large": Kind(*_of_size(3.0), _SOURCES, 1, DAY, 6 * DAY, "size"),
    "drill impossible": Kind(
        *_of_drills("drill_error", "sandbox-failed"), ("",), 2, DAY, 16 * DAY, "drill"),
    "drill fails": Kind(
        *_of_drills("drill_finding", "content-differs"), ("",), 1, DAY, 16 * DAY, "drill"),
    "host down": Kind(
        lambda world, _, __: world.stop(), lambda world, _, __: world.start(), ("",), 4, 6 * HOUR,
        9 * DAY, "host"),
    "host down for a moment": Kind(
        lambda world, _, __: world.stop(), lambda world, _, __: world.start(), ("",), 6, HOUR / 4,
        6 * HOUR, "host"),
    "clock wrong": Kind(_clock, _clock_right, _CLOCKS, 3, HOUR, 4 * DAY, "clock"),
    "clock far off": Kind(_clock, _clock_right, _CLOCKS_FAR, 1, HOUR, 2 * DAY, "clock"),
    "alerts unheard": Kind(_silence, _heard, _ROUTES, 4, HOUR, 5 * DAY, "alerts"),
    "run killed": Kind(_kill, _nothing, ("",), 5, HOUR, HOUR, "kill"),
    "settings changed": Kind(_reconfigure, _nothing, _SETTINGS, 3, HOUR, HOUR, "settings"),
    "prune switched off": Kind(
        lambda world, truth, _: _reconfigure(world, truth, "prune=never"), _prune_again, ("",), 1,
        2 * DAY, 45 * DAY, "settings"),
    "procedures reviewed": Kind(_review, _nothing, ("",), 3.5, HOUR, HOUR, "review"),
}  # fmt: skip


def troubles_of(world: World, end: datetime) -> list[Trouble]:
    """What goes wrong until `end`, in the order in which it begins."""
    found: list[Trouble] = []
    for name, kind in KINDS.items():
        found += _of_kind(world, name, kind, end)
    busy: dict[tuple[str, str], datetime] = {}
    chosen = []
    for one in sorted(found, key=lambda one: (one.begin, one.kind)):
        group = KINDS[one.kind].group
        # Stores and sources each have their own; of all others there is one.
        key = group, one.subject if one.subject in (*_STORES, *_SOURCES) else ""
        if busy.get(key, one.begin) <= one.begin:
            busy[key] = one.end + HOUR
            chosen.append(one)
    return chosen


def _of_kind(world: World, name: str, kind: Kind, end: datetime) -> Iterator[Trouble]:
    draw = world.random
    at = world.true + _SETTLED
    while True:
        at += draw.expovariate(kind.number / 365) * DAY
        if at >= end:
            return
        span = kind.least + draw.random() ** 2 * (kind.most - kind.least)
        yield Trouble(name, draw.choice(kind.subjects), at, at + span)
