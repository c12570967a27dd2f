"""A command that somebody gives beside a running service: the service carries it out, in its turn,
and whoever gave it sees what it says. Without a service a command is carried out where it is given;
so it is when the database is away in which a fleet's services are asked.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from strongroom.errors import BusyError, StrongroomError
from strongroom.postgres.state_database import parse_state_database
from strongroom.service.application import Application
from strongroom.service.engine import (
    HOST,
    HOST_DRILLS,
    POOL,
    Address,
    EngineClient,
    agent_address,
)
from strongroom.service.occupancy import SERVICE, holder_notes, is_occupied
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
) -> Outcome | None:
    """Let the service carry a command out, and wait until it has. `sources` are those that a
    capture is of, all when there are none. None when the database of a fleet is away, so that
    nobody can be asked.

    Interrupted, the run goes on in the service; StrongroomError when that can't be reached.
    """
    job = f"{action}:asked"
    asked = _Asked(application, action, say)
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

    def __init__(self, application: Application, action: str, say: Callable[[str], None]) -> None:
        self._application, self._say = application, say
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
        time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()
