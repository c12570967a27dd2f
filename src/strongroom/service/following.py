"""A command that somebody gives beside a running service: the service carries it out, in its turn,
and whoever gave it sees what it says. Without a service a command is carried out where it is given.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from strongroom.errors import BusyError
from strongroom.service.application import Application
from strongroom.service.engine import EngineClient, state_url
from strongroom.service.occupancy import SERVICE, is_occupied
from strongroom.service.order import Order, Outcome

_POLL_SECONDS: Final = 0.5


def follow(
    application: Application,
    action: str,
    arguments: Sequence[str],
    sources: Sequence[str],
    say: Callable[[str], None],
) -> Outcome:
    """Let the service carry a command out, and wait until it has. `sources` are those that a
    capture is of, all when there are none.

    Interrupted, the run goes on in the service; StrongroomError when that can't be reached.
    """
    queue = "drill" if action.endswith("drill") else "host"
    order = Order(application.name, f"{action}:asked", action, tuple(arguments), tuple(sources))
    workflow = f"{application.name}/{action}/{secrets.token_hex(8)}"
    client = EngineClient(state_url(application.state))
    try:
        client.order(queue, order, workflow)
        say("the service does it; its log has what happens meanwhile")
        while (outcome := client.outcome(workflow)) is None:
            if not is_occupied(application.state, SERVICE):
                raise BusyError(
                    "the service has stopped; the run goes on when it is started again",
                    subject=application.name,
                    hint="See `strongroom log` for what came of it.",
                )
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        say("the run goes on in the service")
        raise
    finally:
        client.close()
    return outcome
