"""What wakes a service that waits: a signal, a run that ended, somebody who is seen otherwise.

An event of the threading library will not do: a handler of signals runs in the very thread that
waits, and would wait for ever for the lock that this thread holds for a moment. Putting something
into a simple queue is allowed there.
"""

from __future__ import annotations

import queue


class Bell:
    """Rung by anybody, handlers of signals included; heard by one thread."""

    def __init__(self) -> None:
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Whoever waits goes on, or does not wait at all the next time."""
        self._rung.put(None)

    def wait(self, seconds: float) -> bool:
        """Until it is rung, or for so long; whether it was. However often it was, that is once."""
        try:
            self._rung.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return False
        for _ in range(self._rung.qsize()):
            self._rung.get()
        return True
