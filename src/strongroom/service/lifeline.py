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
# Which commands a child may carry out: what is ordered may come from another host of a fleet.
COMMANDS: Final = "STRONGROOM_COMMANDS"


def watch_lifeline() -> None:
    """In a child: end as by SIGTERM when the service is gone. Nothing in any other process."""
    given = os.environ.pop(LIFELINE, "")
    if not given.isdecimal():
        return
    threading.Thread(target=_watch, args=(int(given),), name="lifeline", daemon=True).start()


def _watch(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
