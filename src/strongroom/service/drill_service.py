"""The service of a drill worker: it takes drills from the pool that all agents of a fleet share,
one at a time, and has no application of its own to judge. Its state folder holds one drill's at
most.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ConfigError, StrongroomError
from strongroom.postgres.presence import Presence
from strongroom.postgres.state_database import StateDatabase, parse_state_database
from strongroom.report.fleet import DRILLS
from strongroom.service.application import Application, make_private
from strongroom.service.bell import Bell
from strongroom.service.child import Children
from strongroom.service.daemon import FORGET_SECONDS, forget, signals
from strongroom.service.engine import POOL, Engine, EngineClient, QueueLimits, poll_seconds
from strongroom.service.health import Board
from strongroom.service.heart import Heart
from strongroom.service.notification import Supervisor
from strongroom.service.occupancy import SERVICE, sole
from strongroom.service.worker import Worker, configurations_in

LOG: Final = logging.getLogger("strongroom.service")
_STEP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a drill worker runs: its `name` in the fleet, the folder of its `configurations`, its own
    `state` folder (without one a folder of its name in theirs), within which span its loss is seen,
    and how long it waits for a drill when it is stopped."""

    name: str
    configurations: Path
    state: Path | None = None
    heartbeat: timedelta = timedelta(minutes=3)
    grace: timedelta = timedelta(seconds=60)


class DrillService:
    """Serves until it is stopped. Use `run` from the main thread, once."""

    def __init__(
        self,
        options: WorkerOptions,
        face: Callable[[Board], contextlib.AbstractContextManager[str]],
    ) -> None:
        self._options, self._face = options, face
        known = configurations_in(options.configurations)
        first = Application.load(known[0])
        url = first.state_database
        if url is None:
            raise ConfigError(
                "a drill worker needs the database that the hosts of a fleet have in common",
                subject=f"{known[0]}: state",
                hint="Write `state: env:STATE_DATABASE_URL` there.",
            )
        self._database: StateDatabase = parse_state_database(url, options.name)
        self._folder = options.state or first.state / options.name
        self._board, self._supervisor = Board(), Supervisor()
        self._children = Children(known[0], ("drill",))
        self._bell = Bell()
        self._stopping = False
        self._engine: Engine | None = None

    def run(self) -> None:
        """Until SIGTERM or SIGINT; BusyError when another process has the folder or the name."""
        name, folder = self._options.name, make_private(self._folder)
        heartbeat = self._options.heartbeat
        presence = Presence(self._database, name, DRILLS, "", heartbeat)
        heart = Heart(presence, heartbeat, self._told, self._bell.ring)
        client = EngineClient(self._database, POOL.application)
        with sole(folder, SERVICE), signals(self._on_stop, self._bell.ring):
            worker = Worker(
                name,
                self._options.configurations,
                folder,
                self._children,
                client.hand_over,
            )
            heart.start()
            try:
                if heart.error is not None and heart.error.code != "database-unreachable":
                    raise heart.error
                with self._face(self._board) as where:
                    LOG.info("drilling as %s%s", name, where)
                    self._work(heart, worker, client)
            finally:
                self._board.set_ready(False)
                self._supervisor.stopping()
                stopped = self._children.end(self._options.grace)
                if self._engine is not None:
                    self._engine.close()
                client.close()
                heart.stop()
                LOG.info("stopped; %d drills are for others to make", stopped)

    def _work(self, heart: Heart, worker: Worker, client: EngineClient) -> None:
        self._supervisor.ready("drilling")
        patience = self._supervisor.patience_seconds
        forgotten = time.monotonic() - FORGET_SECONDS
        while not self._stopping:
            if heart.error is None and self._engine is None:
                self._launch(worker)
            elif heart.is_taken and self._engine is not None:
                LOG.error("another process drills under this name")
                self._engine.close()
                self._engine = None
            self._board.set_ready(heart.error is None and self._engine is not None)
            if self._board.ready() and time.monotonic() - forgotten >= FORGET_SECONDS:
                forget(client, datetime.now(UTC))
                forgotten = time.monotonic()
            self._supervisor.alive()
            self._bell.wait(min(_STEP_SECONDS, patience / 3) if patience else _STEP_SECONDS)

    def _launch(self, worker: Worker) -> None:
        engine = Engine(self._database, POOL.application, self._options.name)
        # How many there may be in all is the controller's to say.
        queue = QueueLimits(POOL, kept=True, poll_seconds=poll_seconds(self._options.heartbeat))
        try:
            engine.launch(worker, (queue,))
        except StrongroomError as error:
            LOG.error("no drill can be taken: %s", error)
        else:
            self._engine = engine

    def _told(self) -> Mapping[str, Any]:  # Any: JSON values
        return {"drills": sorted(self._children.jobs)}

    def _on_stop(self) -> None:
        self._stopping = True
        self._bell.ring()
