"""The service: it plans, runs, judges and tells, once a minute, until it is stopped.

What is due is decided in `plan`, what it all amounts to in `report`; runs are carried out durably
by the engine, in processes of their own. Here these are put together with a host's signals, its
supervisor and its clock. Invariants: one service for each state folder; nothing that fails here
keeps the rest from being done; what is under way when it stops is finished or taken up again.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from strongroom import __version__
from strongroom.errors import BusyError, StrongroomError
from strongroom.service.application import Application, make_private
from strongroom.service.child import Children
from strongroom.service.configuration import record_configuration
from strongroom.service.engine import Engine, QueueLimits, state_url
from strongroom.service.health import Board
from strongroom.service.ledger_copy import take_up
from strongroom.service.notification import Supervisor
from strongroom.service.occupancy import SERVICE, SIGN_INTERVAL, Hold, sole, touch
from strongroom.service.runner import Runner
from strongroom.service.tick import DRILL_QUEUE, HOST_QUEUE
from strongroom.service.ticking import Ticker

LOG: Final = logging.getLogger("strongroom.service")
_TICK_SECONDS: Final = SIGN_INTERVAL.total_seconds()
# What ended is kept in the engine's own state for so long; the ledger keeps it.
_REMEMBERED: Final = timedelta(days=7)
_FORGET_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Options:
    """How a service runs; `grace` is how long it waits for runs when it is stopped."""

    config: Path
    grace: timedelta = timedelta(seconds=60)


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
        self._wake = threading.Event()
        self._stopping = self._reloading = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; BusyError when another service has this state folder, or
        could have: it was removed or replaced meanwhile, with all that was known."""
        folder = make_private(self._application.state)
        config = str(self._options.config.resolve())
        with sole(folder, SERVICE) as hold, _signals(self._on_stop, self._on_reload):
            runner = Runner(lambda: self._application, self._children, self._wake.set)
            self._begin_records()
            engine = Engine(state_url(folder), socket.gethostname(), runner)
            engine.launch((QueueLimits(HOST_QUEUE, 1), QueueLimits(DRILL_QUEUE, 1)))
            hold.note(config)  # from here on it takes the orders of commands beside it
            try:
                with self._face(self._board) as where:
                    LOG.info("serving %s%s", self._application.name, where)
                    self._work(engine, hold)
            finally:
                self._board.set_ready(False)
                self._supervisor.stopping()
                stopped = self._children.end(self._options.grace)
                engine.close()
                fields = {"event": "stopped", "runs_stopped": stopped}
                self._application.record("service", fields)
                LOG.info("stopped; %d runs go on at the next start", stopped)

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
        application.record("service", {"event": "started", "version": __version__})

    def _work(self, engine: Engine, hold: Hold) -> None:
        ticker = Ticker(engine, self._board)
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
            if forgotten is None or begun - forgotten > _FORGET_SECONDS:
                engine.forget(now - _REMEMBERED)
                forgotten = begun
            if not self._board.ready():
                self._board.set_ready(True)
                self._supervisor.ready("serving")
            self._wait(begun + _TICK_SECONDS)

    def _wait(self, until: float) -> None:
        """Until that moment of the monotonic clock, or a signal; the watchdog is told meanwhile."""
        patience = self._supervisor.patience_seconds
        step = min(_TICK_SECONDS, patience / 3) if patience else _TICK_SECONDS
        while (left := until - time.monotonic()) > 0:
            self._supervisor.alive()
            touch(self._application.state, SERVICE)
            if self._wake.wait(min(left, step)):
                self._wake.clear()
                return

    # Signals

    def _on_stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _on_reload(self) -> None:
        self._reloading = True
        self._wake.set()

    def _reload(self) -> None:
        """The configuration anew; the old one stays in force when the new one has faults, or names
        another application or state folder, which takes a restart."""
        self._reloading = False
        self._supervisor.reloading()
        old = self._application
        try:
            new = Application.load(self._options.config)
            if (new.name, new.state) != (old.name, old.state):
                LOG.error("another application or state folder takes a restart; nothing changed")
            else:
                self._application = new
                old.close()
                LOG.info("the configuration was read anew")
                if (problem := record_configuration(new)) is not None:
                    LOG.error("%s: %s", problem.subject, problem.message)
        except StrongroomError as error:
            LOG.error("the configuration stays as it was: %s", error)
        self._supervisor.ready("serving")


@contextlib.contextmanager
def _signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
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
