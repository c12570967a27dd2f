"""One tick of the service: start what is due, judge how things stand, show it, and tell people.

What is decided is decided by pure code from the ledger, the configuration and the time; nothing is
remembered from one tick to the next, so that a service that was killed goes on as if it had not
been. Invariant: whatever fails here is logged and keeps nothing else from being done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from strongroom.errors import StrongroomError
from strongroom.model import Finding
from strongroom.plan.job import APPLICATION_DRILL, DRILL
from strongroom.plan.schedule import Due, due
from strongroom.report.history import Beat
from strongroom.service.alerting import tell
from strongroom.service.application import Application
from strongroom.service.health import Board, publish_metrics, publish_status, standing_here
from strongroom.service.occupancy import SERVICE, SIGN_INTERVAL
from strongroom.service.rendering import time_json
from strongroom.service.scheduling import announce, read_knowledge, timetable_of
from strongroom.service.status import status
from strongroom.service.workflow import Order

LOG: Final = logging.getLogger("strongroom.service")
HOST_QUEUE: Final = "host"
DRILL_QUEUE: Final = "drill"
_DRILLS: Final = frozenset({DRILL, APPLICATION_DRILL})


class Runs(Protocol):
    """Where orders go, and which are under way."""

    def order(self, queue: str, order: Order, workflow: str) -> None:
        """Let it be run, once for each `workflow`."""
        ...

    def jobs(self, application: str) -> dict[str, datetime]:
        """The jobs that wait or are under way, and since when."""
        ...


class Ticker:
    """Ticks for one service."""

    def __init__(self, runs: Runs, board: Board) -> None:
        self._runs, self._board = runs, board
        self._announced = False

    def tick(self, application: Application, now: datetime) -> None:
        """All that is to be done at `now`."""
        self._safely("planning", lambda: self._plan(application, now))
        self._safely("judging", lambda: self._judge(application, now))

    def _safely(self, what: str, effect: Callable[[], None]) -> None:
        try:
            effect()
        except StrongroomError as error:
            LOG.error("%s: %s", what, error)
        except Exception:  # the edge of a tick: the next one is to come
            LOG.exception("%s: something that nobody foresaw", what)

    def _plan(self, application: Application, now: datetime) -> None:
        timetable = timetable_of(application.settings)
        knowledge = read_knowledge(application, timetable, now)
        if not knowledge.is_announced or knowledge.is_set_back:
            announced = announce(application, timetable, now)
            if isinstance(announced, Finding):
                LOG.error("%s: %s", announced.subject, announced.message)
        live = self._runs.jobs(application.name)
        plan = due(timetable.jobs, knowledge.past, live, now)
        for note in plan.notes:
            LOG.warning("%s", note)
        for one in plan.start:
            order = order_of(application.name, one)
            queue = DRILL_QUEUE if one.job.action in _DRILLS else HOST_QUEUE
            self._runs.order(queue, order, workflow_of(application.name, one))

    def _judge(self, application: Application, now: datetime) -> None:
        found = status(application, now, beats=[Beat(SERVICE, now, SIGN_INTERVAL)])
        standing = standing_here(found, now)
        self._board.post(standing)
        monitoring = application.settings.monitoring
        if (output := monitoring.status_file) is not None:
            self._safely("the status file", lambda: publish_status(standing, output, now))
        if (metrics := monitoring.metrics_file) is not None:
            self._safely("the metrics file", lambda: publish_metrics(standing, metrics, now))
        told = tell(application, found.report.checks, now)
        for one in told.findings:
            LOG.warning("%s: %s", one.subject, one.message)


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


def workflow_of(application: str, one: Due) -> str:
    """What tells a run from all others: the same due run is ordered once, whoever asks."""
    return f"{application}/{one.job.name}/{time_json(one.scheduled_for)}"
