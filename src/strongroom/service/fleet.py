"""A host's part in a fleet: its runs are kept in the database that all hosts have in common.

An agent takes what is in its own queue; its drills go to whichever drill worker is free. The ledger
and all locks stay on the host. Cut off from the database, an agent makes captures and copies by
itself, straight through, since these protect data; all else waits, and is made up for once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.model import Finding
from strongroom.plan.job import CAPTURE, COPY
from strongroom.postgres.presence import Presence
from strongroom.postgres.state_database import StateDatabase
from strongroom.report.fleet import AGENT, DRILLS, Fleet, look_json, seen_in
from strongroom.service.application import Application
from strongroom.service.engine import (
    POOL,
    Engine,
    EngineClient,
    QueueLimits,
    agent_address,
    evidence_address,
    poll_seconds,
)
from strongroom.service.heart import Heart
from strongroom.service.order import Order, Outcome
from strongroom.service.runner import Runner
from strongroom.service.tick import DRILL_QUEUE, Placed

LOG: Final = logging.getLogger("strongroom.service")
# What is seen of the others, and whether the state database is.
SEEN: Final = "fleet"
REACHED: Final = "state-database"
DEFAULT_HEARTBEAT: Final = timedelta(minutes=3)
_ALONE: Final = frozenset({CAPTURE, COPY})


@dataclass(frozen=True, slots=True)
class Membership:
    """What a process is in a fleet: its name; within which span its loss is seen; whether it
    watches the others, and then how many drills the whole fleet may make at once; and whether it
    makes its own drills itself."""

    name: str
    heartbeat: timedelta = DEFAULT_HEARTBEAT
    controller: bool = False
    most_drills: int | None = None
    drills_here: bool = False


class FleetRuns:
    """The runs of an agent. `document` is what it says of itself, `wake` is called when something
    changed that the next tick should know."""

    def __init__(
        self,
        member: Membership,
        database: StateDatabase,
        application: Application,
        runner: Runner,
        document: Callable[[], Mapping[str, Any]],  # Any: JSON values
        wake: Callable[[], None],
    ) -> None:
        self._member, self._database, self._runner = member, database, runner
        self._address = agent_address(member.name)
        self._engine: Engine | None = None
        self._client = EngineClient(database, self._address.application)
        presence = Presence(database, member.name, AGENT, application.name, member.heartbeat)
        self._heart = Heart(presence, member.heartbeat, document, wake, watches=member.controller)
        self._told_alone: bool | None = None
        self._lost = self._is_limited = False
        self._guard = threading.Lock()
        self._straight: dict[str, datetime] = {}
        self._seen: Fleet | None = None

    def open(self) -> None:
        """Take the name, and begin to carry out orders, as soon as the database is there. Raises
        when it is there and refuses, or somebody else has the name."""
        try:
            self._heart.start()
            if self._heart.error is not None:
                raise self._heart.error
            self._launch()
        except StrongroomError as error:
            if error.code != "database-unreachable":
                self.close()
                raise
            LOG.warning("%s", error)

    @property
    def is_alone(self) -> bool:
        """Whether no run can be ordered now."""
        return self._lost or self._engine is None or self._heart.error is not None

    def refresh(self, application: Application) -> None:
        """Launch what could not be launched before; give up what another process has taken; write
        down whether this host is alone, and, for a controller, how the others are."""
        self._lost = False
        try:
            self._connect()
        finally:
            self._tell(application)
        if self._member.controller and not self.is_alone:
            self._watch(application)

    def _connect(self) -> None:
        if self._heart.error is None:
            if self._engine is None:
                self._launch()
            self._limit()
        elif self._heart.is_taken and self._engine is not None:
            LOG.error("another process goes on with what this one had begun")
            self._engine.close()
            self._engine = None

    def _tell(self, application: Application) -> None:
        alone = self.is_alone
        if alone == self._told_alone:
            return
        error = str(self._heart.error or "no run can be ordered") if alone else None
        recorded = application.record(REACHED, {"reached": not alone, "error": error})
        if isinstance(recorded, Finding):
            LOG.error("%s: %s", recorded.subject, recorded.message)
        else:
            self._told_alone = alone

    def _launch(self) -> None:
        engine = Engine(self._database, self._address.application, self._member.name)
        seconds = poll_seconds(self._member.heartbeat)
        mine = (self._address, evidence_address(self._member.name))
        engine.launch(self._runner, [QueueLimits(one, poll_seconds=seconds) for one in mine])
        self._engine = engine

    def _limit(self) -> None:
        """How many drills there may be at once is the controller's to say, once."""
        if self._member.controller and not self._is_limited:
            seconds = poll_seconds(self._member.heartbeat)
            most = self._member.most_drills
            self._client.limit(QueueLimits(POOL, everywhere=most, poll_seconds=seconds))
            self._is_limited = True

    def order(self, placed: Placed) -> None:
        """Let it be run, once for each `workflow`; alone at once and straight through, if it
        protects data, and else not now."""
        order, workflow = placed.order, f"{self._member.name}/{placed.workflow}"
        if self.is_alone:
            if order.action in _ALONE:
                with self._guard:
                    self._straight[order.job] = datetime.now(UTC)
                arguments = (order, f"{workflow}/alone")
                threading.Thread(target=self._alone, args=arguments, daemon=True).start()
            return
        address = self._address
        if placed.queue == DRILL_QUEUE and not self._member.drills_here:
            address, order = POOL, replace(order, agent=self._member.name)
        self._client.order(address, order, workflow)

    def _alone(self, order: Order, workflow: str) -> None:
        begun_at = datetime.now(UTC)
        try:
            if self._runner.begin(order):
                ran = self._runner.run(order, order.arguments, None)
                outcome = Outcome(ran.exit_status, ran.document, ran.output, ran.messages)
                self._runner.record(order, workflow, begun_at, outcome)
        except StrongroomError as error:
            LOG.error("%s: %s", order.job, error)
        finally:
            with self._guard:
                self._straight.pop(order.job, None)

    def jobs(self) -> dict[str, datetime]:
        """The jobs that wait or are under way: what this process itself knows of, too, which is
        all that can be known when the database is away."""
        with self._guard:
            here = {**self._runner.jobs(datetime.now(UTC)), **self._straight}
        if self.is_alone:
            return here
        try:
            return {**here, **self._client.jobs(f"{self._member.name}/")}
        except StrongroomError as error:
            LOG.warning("%s", error)
            self._lost = True
            return here

    def forget(self, before: datetime) -> None:
        """Nobody needs what ended before that moment any more."""
        if not self.is_alone:
            self._client.forget(before)

    def close(self) -> None:
        """Nothing is carried out any more; the name is given back."""
        if self._engine is not None:
            self._engine.close()
        self._client.close()
        self._heart.stop()

    # The controller

    def _watch(self, application: Application) -> None:
        """Write down who is seen otherwise than before, and let drills of workers that are lost be
        carried out by others."""
        names = self._heart.names
        if names is None:
            return
        known = self._seen = self._seen or _seen_before(application)
        changed = [one for one in self._heart.looks if known.looks.get(one.name) != one]
        gone = sorted(known.looks.keys() - names)
        if changed or gone:
            for one in changed:
                LOG.info("%s is %s", one.name, "there" if one.is_there else "not heard of any more")
            fields = {"members": [look_json(one) for one in changed], "forgotten": gone}
            made = application.must_record(SEEN, fields)
            self._seen = seen_in(known, made.seq, made.at, made.fields)
        lost = [one.name for one in self._heart.looks if one.role == DRILLS and not one.is_there]
        for run in self._client.begun_by(lost):
            LOG.warning("%s is lost: another worker does its drill %s", run.executor, run.workflow)
            self._client.take_over(run)


def _seen_before(application: Application) -> Fleet:
    """What an earlier process saw of the fleet."""
    found = Fleet({}, {}, {})
    for one in application.ledger.entries(SEEN):
        if one.fields.get("application") == application.name:
            found = seen_in(found, one.seq, one.at, one.fields)
    return found
