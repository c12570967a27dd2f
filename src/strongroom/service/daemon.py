"""The service: it plans, runs, judges and tells, once a minute, until it is stopped.

What is due is decided in `plan`, what it all amounts to in `report`; runs are carried out durably
by the engine, in processes of their own. Here these are put together with a host's signals, its
supervisor and its clock. Invariants: one service for each state folder; nothing that fails here
keeps the rest from being done; what is under way when it stops is finished or taken up again.
A drill worker of a fleet is a service of its own kind: see `drill_service`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

from strongroom import __version__
from strongroom.errors import BusyError, ConfigError, StrongroomError
from strongroom.postgres.state_database import parse_state_database
from strongroom.report.health import status_document
from strongroom.service.application import Application, make_private
from strongroom.service.bell import Bell
from strongroom.service.child import Children
from strongroom.service.configuration import record_configuration
from strongroom.service.fleet import FleetRuns, Membership
from strongroom.service.following import HERE
from strongroom.service.health import Board
from strongroom.service.ledger_copy import take_up
from strongroom.service.notification import Supervisor
from strongroom.service.occupancy import SERVICE, SIGN_INTERVAL, Hold, sole, touch
from strongroom.service.runner import Runner
from strongroom.service.runs import HostRuns, Runs
from strongroom.service.ticking import Ticker

LOG: Final = logging.getLogger("strongroom.service")
_TICK_SECONDS: Final = SIGN_INTERVAL.total_seconds()
# What ended is kept in the engine's own state for so long; the ledger keeps it.
_REMEMBERED: Final = timedelta(days=7)
FORGET_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Options:
    """How a service runs; `grace` is how long it waits for runs when it is stopped, `member` what
    it is in a fleet."""

    config: Path
    grace: timedelta = timedelta(seconds=60)
    member: Membership | None = None

    @property
    def tick_seconds(self) -> float:
        """What is told of this process in a fleet must not be older than its heartbeat."""
        if self.member is None:
            return _TICK_SECONDS
        return min(_TICK_SECONDS, self.member.heartbeat.total_seconds() / 2)


class Daemon:
    """The service of one application. Use `run` from the main thread, once.

    `face` shows a board to others while it is entered, and says in words where.
    """

    def __init__(
        self,
        options: Options,
        application: Application,
        face: Callable[[Board], contextlib.AbstractContextManager[str]],
    ) -> None:
        self._options = options
        self._application = application
        self._face = face
        self._board = Board()
        self._children = Children(options.config)
        self._supervisor = Supervisor()
        self._bell = Bell()
        self._stopping = self._reloading = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; BusyError when another service has this state folder, or
        could have: it was removed or replaced meanwhile, with all that was known."""
        folder = make_private(self._application.state)
        config = str(self._options.config.resolve())
        with sole(folder, SERVICE) as hold, signals(self._on_stop, self._on_reload):
            self._begin_records()
            runs = self._open_runs(folder)
            # From here on it takes the orders of commands beside it.
            hold.note(config, *_notes(self._options.member))
            try:
                with self._face(self._board) as where:
                    LOG.info("serving %s%s", self._application.name, where)
                    self._work(runs, hold)
            finally:
                self._board.set_ready(False)
                self._supervisor.stopping()
                stopped = self._children.end(self._options.grace)
                runs.close()
                fields = {"event": "stopped", "runs_stopped": stopped}
                self._application.record("service", fields)
                LOG.info("stopped; %d runs go on at the next start", stopped)

    def _open_runs(self, folder: Path) -> Runs:
        application, member = self._application, self._options.member
        runner = Runner(lambda: self._application, self._children, self._bell.ring)
        url = application.state_database
        if url is None and member is None:
            return HostRuns(folder, application.name, runner)
        if url is None or member is None:
            raise _unfit(is_shared=url is not None)
        runs = FleetRuns(
            member,
            parse_state_database(url, member.name),
            application,
            runner,
            self._told,
            self._bell.ring,
        )
        runs.open()
        return runs

    def _told(self) -> dict[str, Any]:  # Any: JSON values
        """What the fleet is told of this agent."""
        standing = self._board.current()
        return {} if standing is None else status_document(standing, datetime.now(UTC))

    def _begin_records(self) -> None:
        """A ledger that was lost is taken up from a copy before anything is written."""
        application = self._application
        try:
            found = take_up(application)
        except StrongroomError as error:
            LOG.warning("the ledger's copies cannot be asked: %s", error)
        else:
            for one in found:
                LOG.warning("%s: %s", one.subject, one.message)
        member = self._options.member
        name = member.name if member is not None else None
        fields = {"event": "started", "version": __version__, "agent": name}
        application.record("service", fields)

    def _work(self, runs: Runs, hold: Hold) -> None:
        ticker = Ticker(runs, self._board, lambda: self._stopping)
        forgotten = None
        while not self._stopping:
            if not hold.is_kept():
                raise BusyError(
                    "it was removed or replaced while the service ran",
                    subject=str(hold.path.parent),
                    hint="Start the service again; it takes the ledger up from a repository.",
                )
            if self._reloading:
                self._reload()
            begun, now = time.monotonic(), datetime.now(UTC)
            ticker.tick(self._application, now)
            if forgotten is None or begun - forgotten > FORGET_SECONDS:
                forget(runs, now)
                forgotten = begun
            if not self._board.ready():
                self._board.set_ready(True)
                self._supervisor.ready("serving")
            self._wait(begun + self._options.tick_seconds)

    def _wait(self, until: float) -> None:
        """Until that moment of the monotonic clock, or a signal; the watchdog is told meanwhile."""
        patience = self._supervisor.patience_seconds
        step = min(_TICK_SECONDS, patience / 3) if patience else _TICK_SECONDS
        while (left := until - time.monotonic()) > 0:
            self._supervisor.alive()
            touch(self._application.state, SERVICE)
            if self._bell.wait(min(left, step)):
                return

    # Signals

    def _on_stop(self) -> None:
        self._stopping = True
        self._bell.ring()

    def _on_reload(self) -> None:
        self._reloading = True
        self._bell.ring()

    def _reload(self) -> None:
        """The configuration anew; the old one stays in force when the new one has faults, or names
        another application or state folder, which takes a restart."""
        self._reloading = False
        self._supervisor.reloading()
        old = self._application
        try:
            new = Application.load(self._options.config)
            new.state_folder = old.state_folder
            same = (new.name, new.state, new.settings.state)
            if same != (old.name, old.state, old.settings.state):
                LOG.error("another application or state takes a restart; nothing changed")
            else:
                self._application = new
                old.close()
                LOG.info("the configuration was read anew")
                if (problem := record_configuration(new)) is not None:
                    LOG.error("%s: %s", problem.subject, problem.message)
        except StrongroomError as error:
            LOG.error("the configuration stays as it was: %s", error)
        self._supervisor.ready("serving")


def _notes(member: Membership | None) -> tuple[str, ...]:
    """What a command beside the service has to know: see `following`."""
    if member is None:
        return ()
    return (member.name, HERE if member.drills_here else "")


def _unfit(*, is_shared: bool) -> ConfigError:
    if is_shared:
        return ConfigError(
            "a service of a fleet has a name",
            subject="--agent",
            code="usage",
            hint="Give each host's service its own: `strongroom serve --agent NAME`.",
        )
    return ConfigError(
        "a service of a fleet needs the database that its hosts have in common",
        subject="state",
        code="usage",
        hint="Write `state: env:STATE_DATABASE_URL`, or leave --agent out.",
    )


class _Forgetful(Protocol):
    def forget(self, before: datetime) -> object:
        """What ended before a moment is not known any more."""
        ...


def forget(runs: _Forgetful, now: datetime) -> None:
    """What ended long ago stands in the ledger, and in no other place any more."""
    try:
        runs.forget(now - _REMEMBERED)
    except StrongroomError as error:
        LOG.warning("what ended is not forgotten yet: %s", error)


@contextlib.contextmanager
def signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT stop the service, SIGHUP lets it read its configuration anew."""

    def on_stop(_: int, __: FrameType | None) -> None:
        stop()

    def on_reload(_: int, __: FrameType | None) -> None:
        reload()

    handlers = {signal.SIGTERM: on_stop, signal.SIGINT: on_stop, signal.SIGHUP: on_reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
