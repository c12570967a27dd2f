"""A command that somebody gives beside a running service: the service carries it out, in its turn,
and whoever gave it sees what it says. Without a service a command is carried out where it is given;
so it is when the database is away in which a fleet's services are asked.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from strongroom.errors import BusyError, StrongroomError
from strongroom.postgres.state_database import parse_state_database
from strongroom.report.history import Beat
from strongroom.report.wording import age
from strongroom.service.application import Application
from strongroom.service.engine import (
    HOST,
    HOST_DRILLS,
    POOL,
    Address,
    EngineClient,
    agent_address,
)
from strongroom.service.occupancy import (
    SERVICE,
    SIGN_INTERVAL,
    holder_notes,
    is_occupied,
    last_sign,
)
from strongroom.service.order import Order, Outcome

_POLL_SECONDS: Final = 0.5
# What an agent leaves for others that makes its own drills.
HERE: Final = "drills-here"
_T = TypeVar("_T")


def follow(
    application: Application,
    action: str,
    arguments: Sequence[str],
    sources: Sequence[str],
    say: Callable[[str], None],
    *,
    watched: timedelta = SIGN_INTERVAL,
) -> Outcome | None:
    """Let the service carry a command out, and wait until it has. `sources` are those that a
    capture is of, all when there are none. None when the database of a fleet is away, so that
    nobody can be asked.

    Interrupted, the run goes on in the service; StrongroomError when that can't be reached.
    BusyError when it is silent for as long as others call it dead, and for `watched` from now on:
    after a host slept, its last sign is old, and it lives.
    """
    job = f"{action}:asked"
    asked = _Asked(application, action, say, watched)
    order = Order(
        application.name, job, action, tuple(arguments), tuple(sources), agent=asked.agent
    )
    try:
        if not asked.put(order):
            return None
        say("the service does it; its log has what happens meanwhile")
        return asked.answer()
    except KeyboardInterrupt:
        say("the run goes on in the service")
        raise
    finally:
        asked.close()


class _Asked:
    """An order to the service that runs here, and how to learn what came of it."""

    def __init__(
        self,
        application: Application,
        action: str,
        say: Callable[[str], None],
        watched: timedelta,
    ) -> None:
        self._application, self._say = application, say
        self._signs = _Signs(application.state, watched)
        is_drill = action.endswith("drill")
        name, where = (*holder_notes(application.state, SERVICE)[1:3], "", "")[:2]
        self._workflow = f"{application.name}/{action}/{secrets.token_hex(8)}"
        # Whose order it is, where any drill worker may carry it out.
        self.agent = name if is_drill and where != HERE else ""
        url = application.state_database
        if url is None or not name:
            self._address: Address = HOST_DRILLS if is_drill else HOST
            self._client = EngineClient(application.state)
            return
        own = agent_address(name)
        self._address = POOL if self.agent else own
        self._workflow = f"{name}/{self._workflow}"
        database = parse_state_database(url, f"{name}, asked")
        self._client = EngineClient(database, own.application)

    def put(self, order: Order) -> bool:
        """Put the order in; False when the database of a fleet is away."""
        try:
            self._client.order(self._address, order, self._workflow)
        except StrongroomError as error:
            if error.code != "database-unreachable":
                raise
            self._say(f"{error}; it is done here")
            return False
        return True

    def answer(self) -> Outcome:
        """What came of it, when that is known, and recorded here."""
        while (outcome := self._patiently(lambda: self._client.outcome(self._workflow))) is None:
            self._wait()
        while self.agent and not self._patiently(
            lambda: self._client.is_handed_over(self._workflow)
        ):
            self._wait()
        return outcome

    def _patiently(self, ask: Callable[[], _T | None]) -> _T | None:
        """The answer; None while the database is away."""
        try:
            return ask()
        except StrongroomError as error:
            if error.code != "database-unreachable":
                raise
            return None

    def _wait(self) -> None:
        if not is_occupied(self._application.state, SERVICE):
            raise BusyError(
                "the service has stopped; the run goes on when it is started again",
                subject=self._application.name,
                hint="See `strongroom log` for what came of it.",
            )
        silent = self._signs.silence(datetime.now(UTC), time.monotonic())
        if silent is not None:
            raise self._gave_up(silent)
        time.sleep(_POLL_SECONDS)

    def _gave_up(self, silent: timedelta) -> BusyError:
        """Nobody waits any longer, so nothing is to be done unseen."""
        withdrawn = self._patiently(lambda: self._client.withdraw(self._workflow))
        what = (
            "so the command was withdrawn, and nothing was done"
            if withdrawn
            else "and the run is not waited for any longer; it goes on when it can"
        )
        then = "run the command again" if withdrawn else "see `strongroom log` for what came of it"
        return BusyError(
            f"the service gave no sign of life for {age(silent)}, {what}",
            subject=self._application.name,
            hint="Look at the service's log and restart it: runs go on where they were. "
            f"Then {then}.",
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


class _Signs:
    """The service's signs of life, as somebody sees them who looks again and again."""

    def __init__(self, folder: Path, watched: timedelta) -> None:
        self._folder, self._watched = folder, watched
        self._seen: tuple[datetime, float] | None = None

    def silence(self, now: datetime, clock: float) -> timedelta | None:
        """For how long it is silent, when that is too long; `clock` only goes forward, in seconds,
        and stands still while the host sleeps."""
        sign = last_sign(self._folder, SERVICE)
        if sign is None:
            return None
        if self._seen is None or self._seen[0] != sign:
            self._seen = sign, clock
        is_dead = now > Beat(SERVICE, sign, SIGN_INTERVAL).silent_from
        if not is_dead or clock - self._seen[1] < self._watched.total_seconds():
            return None
        return now - sign
