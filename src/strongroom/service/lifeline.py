"""What a child process of the service knows of it: which run it is, and if the service lives."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Final

# The descriptor of the pipe that a child watches.
LIFELINE: Final = "STRONGROOM_LIFELINE"
# Which run of the schedule a child is, for its records.
JOB: Final = "STRONGROOM_JOB"
# The descriptor of the configuration's text that the service has in force.
IN_FORCE: Final = "STRONGROOM_CONFIGURATION_IN_FORCE"
# Which commands a child may carry out: what is ordered may come from another host of a fleet.
COMMANDS: Final = "STRONGROOM_COMMANDS"


def watch_lifeline() -> None:
    """In a child: end as by SIGTERM when the service is gone. Nothing in any other process."""
    _take_configuration()
    given = os.environ.pop(LIFELINE, "")
    if not given.isdecimal():
        return
    threading.Thread(target=_watch, args=(int(given),), name="lifeline", daemon=True).start()


_in_force: list[str] = []


def configuration_in_force() -> str | None:
    """The text that the service of this run goes by; None in any other process."""
    return _in_force[-1] if _in_force else None


def _take_configuration() -> None:
    """Once, since what this process starts does not have the descriptor."""
    given = os.environ.pop(IN_FORCE, "")
    if given.isdecimal():
        with os.fdopen(int(given), "rb") as file:
            _in_force[:] = [file.read().decode()]


def _watch(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
