"""One tick: start what is due, judge how things stand, show it, and tell people.

All is decided by pure code from the records, the configuration and the time; nothing is remembered
from one tick to the next, so that a service that was killed goes on as if it had not been. What is
read and what is done goes through `Ports`: those of the service are in `ticking`, a simulation has
others. Invariant: whatever fails here is logged and keeps nothing else from being done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from strongroom.config import Settings
from strongroom.errors import StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.plan.alerting import Record
from strongroom.plan.job import APPLICATION_DRILL, DRILL
from strongroom.plan.schedule import Due, due
from strongroom.report.check import Check
from strongroom.report.history import Beat, Timetable
from strongroom.report.observation import Scope
from strongroom.service.alerting import AlertReport
from strongroom.service.gathering import promise_of
from strongroom.service.knowledge import ANNOUNCED
from strongroom.service.occupancy import SERVICE, SIGN_INTERVAL
from strongroom.service.order import Order
from strongroom.service.recollection import Recollection
from strongroom.service.rendering import time_json
from strongroom.service.scheduling import announcement, timetable_of
from strongroom.service.status import StatusReport, status_of
from strongroom.service.timetable import timetable_of as dues_of

__all__ = [
    "DRILL_QUEUE",
    "HOST_QUEUE",
    "Placed",
    "Planned",
    "Ports",
    "order_of",
    "plan",
    "safely",
    "tick",
]

LOG: Final = logging.getLogger("strongroom.service")
HOST_QUEUE: Final = "host"
DRILL_QUEUE: Final = "drill"
# That a fleet's database is away is noticed by whoever asks it, and no matter for a moment.
_AWAY: Final = "database-unreachable"
_DRILLS: Final = frozenset({DRILL, APPLICATION_DRILL})


class Ports(Protocol):
    """What a tick reads, and what it does besides deciding. Whatever fails raises."""

    @property
    def settings(self) -> Settings:
        """The configuration that is in force."""
        ...

    def recall(self) -> Recollection:
        """What the ledger tells now."""
        ...

    def scope(self) -> Scope:
        """What is to be judged."""
        ...

    def live(self) -> Mapping[str, datetime]:
        """The jobs that wait or are under way, and since when."""
        ...

    def obstacle(self) -> str:
        """Why nothing can be started or recorded, as far as can be seen; empty where it can."""
        ...

    def record(self, kind: str, fields: Mapping[str, Any]) -> Entry | Finding:  # Any: JSON values
        """Write to the ledger; a finding when that fails."""
        ...

    def order(self, placed: Placed) -> None:
        """Let it be run, once for each `workflow`."""
        ...

    def show(self, found: StatusReport) -> None:
        """This is how things stand."""
        ...

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        """Tell everybody what is to be told of these checks."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """An order, the queue that it waits in, and what tells the run from all others: the same due
    run is ordered once, whoever asks."""

    queue: str
    order: Order
    workflow: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be written down of the schedule, if anything, what is to be started, in this
    order, and what is odd."""

    announcement: Mapping[str, Any] | None  # Any: JSON values
    orders: tuple[Placed, ...]
    notes: tuple[str, ...]


def tick(ports: Ports, now: datetime) -> None:
    """All that is to be done at `now`."""
    known = safely("reading the ledger", ports.recall)
    if known is None:
        return
    obstacle = _started(ports, known, now)
    safely("judging", lambda: _judge(ports, known, obstacle, now))


def safely(
    what: str,
    effect: Callable[[], Any],  # Any: whatever it gives
    failed: Callable[[Exception], None] = lambda _: None,
) -> Any:
    """What the effect gives; None when it fails, which is logged, and `failed` is told."""
    try:
        return effect()
    except StrongroomError as error:
        LOG.error("%s: %s", what, error)
        failed(error)
    except Exception as error:  # the edge of a tick: the next one is to come
        LOG.exception("%s: something that nobody foresaw", what)
        failed(error)
    return None


def _started(ports: Ports, known: Recollection, now: datetime) -> str:
    """Start what is due. Returns why nothing can be started or recorded, empty when it can: it is
    judged at once, since the ledger may be what can't be written."""
    obstacles: list[str] = []

    def failed(error: Exception) -> None:
        if not isinstance(error, StrongroomError):
            obstacles.append(f"a failure that nobody foresaw ({type(error).__name__})")
        elif error.code != _AWAY:
            obstacles.append(error.message)

    safely("planning", lambda: obstacles.extend(_start(ports, known, now)), failed)
    safely("looking for room", lambda: obstacles.append(ports.obstacle()))
    return next(filter(None, obstacles), "")


def _start(ports: Ports, known: Recollection, now: datetime) -> list[str]:
    planned = plan(ports.settings, known, ports.live(), now)
    unrecorded = []
    if planned.announcement is not None:
        recorded = ports.record(ANNOUNCED, planned.announcement)
        if isinstance(recorded, Finding):
            LOG.error("%s: %s", recorded.subject, recorded.message)
            unrecorded.append(recorded.message)
        else:
            known.take(recorded)
    for note in planned.notes:
        LOG.warning("%s", note)
    for placed in planned.orders:
        ports.order(placed)
    return unrecorded


def plan(
    settings: Settings, known: Recollection, live: Mapping[str, datetime], now: datetime
) -> Planned:
    """What is due at `now`, while these jobs wait or are under way; StrongroomError when nobody
    knows what ran."""
    timetable = timetable_of(settings)
    knowledge = known.knowledge(timetable, tuple(settings.repositories), now)
    found = due(timetable.jobs, knowledge.past, live, now)
    return Planned(
        announcement(timetable, knowledge, now),
        tuple(
            Placed(
                DRILL_QUEUE if one.job.action in _DRILLS else HOST_QUEUE,
                order_of(settings.application, one),
                f"{settings.application}/{one.job.name}/{time_json(one.scheduled_for)}",
            )
            for one in found.start
        ),
        found.notes,
    )


def order_of(application: str, one: Due) -> Order:
    """What is to be run: the command that somebody would give."""
    job = one.job
    arguments: tuple[str, ...]
    match job.action:
        case "capture":
            arguments = ("backup", *job.sources)
        case "copy":
            arguments = ("copy", "--missing")
        case "check":
            arguments = ("check", job.repository or "", f"--read-data={job.amount}")
        case "prune":
            arguments = ("prune",)
        case "drill":
            arguments = ("drill", "--next")
        case "application-drill":
            arguments = ("drill", "--application")
        case "kit-drill":
            arguments = ("kit", "drill")
        case _:
            arguments = ("verify", job.action.removeprefix("verify-"))
    return Order(
        application,
        job.name,
        job.action,
        arguments,
        job.sources,
        job.repository,
        time_json(one.scheduled_for),
        one.because,
    )


def _judge(ports: Ports, known: Recollection, obstacle: str, now: datetime) -> None:
    settings = ports.settings
    beats = (Beat(SERVICE, now, SIGN_INTERVAL),)
    timetable = Timetable(dues_of(settings, now), beats, obstacle)
    evidence = known.evidence(ports.scope(), timetable)
    found = status_of(evidence, promise_of(settings), now)
    ports.show(found)
    for one in ports.tell(found.report.checks, known.told, now).findings:
        LOG.warning("%s: %s", one.subject, one.message)
