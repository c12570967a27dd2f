"""Where the runs of a service are kept, and who carries them out: on a host of its own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from strongroom.service.application import Application
from strongroom.service.engine import HOST, HOST_DRILLS, Engine, EngineClient, QueueLimits
from strongroom.service.tick import DRILL_QUEUE, Placed
from strongroom.service.workflow import Hall

_EXECUTOR: Final = "service"


class Runs(Protocol):
    """Where orders go, and which are under way."""

    def refresh(self, application: Application) -> None:
        """To be called before each tick: what changed since the last one is seen, and written
        down."""
        ...

    def order(self, placed: Placed) -> None:
        """Let it be run, once for each `workflow`."""
        ...

    def jobs(self) -> dict[str, datetime]:
        """The jobs that wait or are under way, and since when."""
        ...

    def forget(self, before: datetime) -> None:
        """Nobody needs what ended before that moment any more; the ledger has it."""
        ...

    def close(self) -> None:
        """Nothing is carried out any more; what is under way goes on later."""
        ...


class HostRuns:
    """The runs of a host of its own, in a file of its state folder.

    They are this folder's, not a host's: one that was renamed, or another one that the folder was
    moved to, goes on with what a crash left.
    """

    def __init__(self, folder: Path, application: str, hall: Hall) -> None:
        self._prefix = f"{application}/"
        self._engine = Engine(folder, HOST.application, _EXECUTOR)
        self._engine.launch(hall, (QueueLimits(HOST), QueueLimits(HOST_DRILLS)))
        self._client = EngineClient(folder)

    def refresh(self, application: Application) -> None:
        """Nothing here could go away."""

    def order(self, placed: Placed) -> None:
        """Let it be run, once for each `workflow`."""
        address = HOST_DRILLS if placed.queue == DRILL_QUEUE else HOST
        self._client.order(address, placed.order, placed.workflow)

    def jobs(self) -> dict[str, datetime]:
        """The jobs that wait or are under way, and since when."""
        return self._client.jobs(self._prefix)

    def forget(self, before: datetime) -> None:
        """Nobody needs what ended before that moment any more."""
        self._client.forget(before)

    def close(self) -> None:
        """Nothing is carried out any more."""
        self._engine.close()
        self._client.close()
