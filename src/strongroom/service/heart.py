"""The heart of a process in a fleet: a thread that says four times within a heartbeat that it is
there, and sees who else is. It goes on while a tick takes its time, and nothing here waits for a
database that is away longer than that takes to notice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.postgres.presence import Presence
from strongroom.report.fleet import Look
from strongroom.service.members import look_of

LOG: Final = logging.getLogger("strongroom.service")
_BEATS: Final = 4


class Heart:
    """Beats until it is stopped. `document` is what to say; `changed` is called when the database
    went away or came back, and, where the heart `watches`, when somebody is seen otherwise: `looks`
    are of those whom it knows about now, `names` of all, None before it has seen anybody."""

    def __init__(
        self,
        presence: Presence,
        heartbeat: timedelta,
        document: Callable[[], Mapping[str, Any]],  # Any: JSON values
        changed: Callable[[], None],
        *,
        watches: bool = False,
    ) -> None:
        self._presence = presence
        self._begun: float | None = None
        self._seconds = heartbeat.total_seconds() / _BEATS
        self._document, self._changed, self._watches = document, changed, watches
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heart", daemon=True)
        self.error: StrongroomError | None = None
        self.looks: tuple[Look, ...] = ()
        self.names: frozenset[str] | None = None

    @property
    def is_taken(self) -> bool:
        """Whether another process has the name now."""
        return self._presence.is_taken

    def start(self) -> None:
        """Beat for the first time, of which `error` tells how it ended, and go on."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """No more; the name is given back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._presence.close()

    def _go_on(self) -> None:
        while not self._stop.wait(self._seconds):
            self.beat()

    def beat(self) -> None:
        """Once, now."""
        before, looks = self.error, self.looks
        try:
            self._presence.say(self._document())
            if self._watches:
                self._see()
        except StrongroomError as error:
            self.error, self._begun = error, None
            if before is None:
                LOG.warning("%s", error)
        else:
            self.error = None
            self._begun = self._begun or time.monotonic()
            if before is not None:
                LOG.warning("the state database is there again")
        if (self.error is None) != (before is None) or looks != self.looks:
            self._changed()

    def _see(self) -> None:
        """Of those who are silent only what this process has heard for long enough itself: while
        the database was away, nobody could say anything."""
        here = timedelta(seconds=time.monotonic() - self._begun if self._begun else 0.0)
        seen = [one for one in self._presence.see() if one.name != self._presence.name]
        looks = [(look_of(one), one.heartbeat) for one in seen]
        self.looks = tuple(look for look, limit in looks if look.is_there or here > limit)
        self.names = frozenset(one.name for one in seen)
