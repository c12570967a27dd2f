"""How long the messages of one tick may take together, and who delivers them meanwhile.

A tick that waits for a service that hangs plans nothing, gives no sign of life and does not stop.
So all its deliveries have one span of time, which is well below what a supervisor's watchdog
allows; and when the service is to stop, what is under way is left. What was left is not recorded,
so that it is told again after the start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from strongroom.service.delivery import DELIVERY_SECONDS, Outcome
from strongroom.service.messenger import LATE

__all__ = ["MOST_SECONDS", "Dispatch", "never"]

# Of one tick. A route that hangs takes a third of it; some stand-ins may hang besides.
MOST_SECONDS: Final = 90.0
_AT_ONCE: Final = 8
# Nothing is worth trying for less.
_LEAST_SECONDS: Final = 5.0
# A stand-in may take this share of what is left: others are to be asked, too.
_SHARE: Final = 1 / 3
_POLL_SECONDS: Final = 0.1
# So long those who deliver have to end their processes, once all is to stop.
_PARTING_SECONDS: Final = 1.0

Task = Callable[[], Outcome]


def never() -> bool:
    """Of whom nobody can ask to stop."""
    return False


class Dispatch:
    """The deliveries of one tick. `stopping` says whether they are to be left."""

    def __init__(
        self,
        stopping: Callable[[], bool] = never,
        seconds: float = MOST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping, self._clock = stopping, clock
        self._deadline = clock() + seconds
        self.each_seconds = min(DELIVERY_SECONDS, seconds)
        """How long one delivery of those that `carry_out` begins next may take."""

    @property
    def left_seconds(self) -> float:
        return self._deadline - self._clock()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.stopping() or self.left_seconds < _LEAST_SECONDS

    def share(self, number: int) -> None:
        """So many messages are next, and others may be after them."""
        rounds = -(-number // _AT_ONCE)
        wanted = min(DELIVERY_SECONDS / rounds, self.left_seconds * _SHARE)
        self.each_seconds = max(wanted, _LEAST_SECONDS)

    def carry_out(self, tasks: Sequence[Task]) -> list[Outcome | None]:
        """Eight at the same time, so that a service that hangs holds few others up. None for what
        was not begun, or was left since all is to stop; what has no end when the time is over came
        too late. Raises what a task raises."""
        work = _Work(tasks)
        # Not a pool, for whose threads this process would wait at its end.
        for _ in range(min(len(tasks), _AT_ONCE)):
            threading.Thread(target=work.take, name="alert", daemon=True).start()
        while not work.is_done and not self.stopping() and self.left_seconds > 0:
            work.wait(_POLL_SECONDS)
        work.close()
        if self.stopping():
            begun = time.monotonic()
            while work.is_busy and time.monotonic() - begun < _PARTING_SECONDS:
                work.wait(_POLL_SECONDS)
            # What failed may have done so since it was left.
            ended = work.outcomes(None)
            return [one if one is not None and one.delivered else None for one in ended]
        return work.outcomes(Outcome(False, LATE, "Look at the service and at the way to it."))


class _Work:
    """Tasks that several threads take."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._changed = threading.Condition()
        self._next, self._ended = 0, 0
        self._closed = False
        self._outcomes: dict[int, Outcome] = {}
        self._error: BaseException | None = None

    def take(self) -> None:
        """One after another, until there are no more."""
        while True:
            with self._changed:
                if self._closed or self._next == len(self._tasks):
                    return
                number = self._next
                self._next += 1
            outcome: Outcome | None = None
            error: BaseException | None = None
            try:
                outcome = self._tasks[number]()
            except BaseException as raised:
                error = raised  # whoever waits gets it
            with self._changed:
                self._ended += 1
                self._error = self._error or error
                if outcome is not None and not self._closed:
                    self._outcomes[number] = outcome
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until one ends, or for so long."""
        with self._changed:
            if not self.is_done:
                self._changed.wait(seconds)

    @property
    def is_done(self) -> bool:
        return self._ended == len(self._tasks)

    @property
    def is_busy(self) -> bool:
        return self._ended < self._next

    def close(self) -> None:
        """None is begun any more, and what ends later counts for nothing."""
        with self._changed:
            self._closed = True

    def outcomes(self, unended: Outcome | None) -> list[Outcome | None]:
        """Of each task, `unended` of those that were begun and have no end."""
        with self._changed:
            if self._error is not None:
                raise self._error
            return [
                self._outcomes.get(number, unended if number < self._next else None)
                for number in range(len(self._tasks))
            ]
