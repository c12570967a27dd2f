"""What the steps of a durable run do on this host: start commands, and write down how they ended.

Every run of the schedule leaves one `job` record in the ledger, failed ones too. A step that was
interrupted is done again, so all that is done here may be done twice. In a fleet orders and records
come out of a database that other hosts write to: nothing is taken from it that the service would
not do by itself, and no record that a drill worker does not make.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strongroom.errors import ERROR_KINDS, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.plan.job import CAPTURE
from strongroom.service import ping
from strongroom.service.application import Application
from strongroom.service.child import Children, Ran
from strongroom.service.order import Order, Outcome
from strongroom.service.rendering import time_json

LOG: Final = logging.getLogger("strongroom.service")
# What a drill on another host tells of.
HANDED_OVER: Final = frozenset({"drill", "point-drill", "application-drill", "job"})
_MARK: Final = "handed_over"
# Options that would lead a run to other settings or records than this service's.
_ELSEWHERE: Final = re.compile(r"-[a-zA-Z]*c|--config|--state")
# How long a run of which nobody works on a step counts as one that goes on.
_PATIENCE: Final = timedelta(hours=1)


def _nothing() -> None:
    """Where nobody wants to know."""


class Runner:
    """Carries out orders for the application whose configuration is in force; `ended` is called
    when a run has ended and is written down."""

    def __init__(
        self,
        application: Callable[[], Application],
        children: Children,
        ended: Callable[[], None] = _nothing,
    ) -> None:
        self._application = application
        self._children = children
        self._ended = ended
        self._guard = threading.Lock()
        self._under_way: dict[str, _UnderWay] = {}

    def begin(self, order: Order) -> bool:
        """A run begins; False when it was made otherwise since it was ordered."""
        application = self._application()
        if _was_made(application, order):
            LOG.info("%s is done already", order.job, extra=_about(order))
            return False
        LOG.info("%s begins: %s", order.job, order.because or "asked for", extra=_about(order))
        if order.action == CAPTURE:
            self._tell(ping.note(application, ping.begin(application, order.sources)))
        return True

    def jobs(self, now: datetime) -> dict[str, datetime]:
        """The jobs whose runs go on here, as far as this process knows, and since when: what waits
        for a database that is away is given up on after an hour."""
        working = self._children.jobs
        with self._guard:
            return {
                one.job: one.begun_at
                for one in self._under_way.values()
                if one.job in working or now - one.begun_at < _PATIENCE
            }

    def run(
        self,
        order: Order,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None,  # Any: JSON values
    ) -> Ran:
        """One command, to its end. A run of the schedule goes by the configuration that is in
        force here; a command that somebody gave goes by the file as they see it."""
        application = self._application()
        if (refused := refusal(order, application.name)) is not None:
            return refused
        with self._guard:
            known = _UnderWay(order.job, datetime.now(UTC))
            self._under_way.setdefault(_key(order), known)
        text = None if order.was_asked_for else application.config_text
        return self._children.run(words(order, arguments, given), given, job=order.job, text=text)

    def record(self, order: Order, workflow: str, begun_at: datetime, outcome: Outcome) -> None:
        """The run's line in the ledger, unless it stands there already."""
        with self._guard:
            self._under_way.pop(_key(order), None)
        ended_at = datetime.now(UTC)
        told = LOG.warning if outcome.exit_status else LOG.info
        told(
            "%s ended with status %d after %.1f s%s",
            order.job,
            outcome.exit_status,
            (ended_at - begun_at).total_seconds(),
            f": {outcome.error['message']}" if outcome.error else "",
            extra={**_about(order), "exit_status": outcome.exit_status},
        )
        application = self._application()
        known = application.ledger.entries("job")
        if any(one.fields.get("workflow") == workflow for one in known):
            return
        if order.action == CAPTURE:
            status, document = outcome.exit_status, outcome.document
            pinged = ping.end(application, order.sources, status, document)
            self._tell(ping.note(application, pinged))
        recorded = application.record(
            "job", job_fields(order, workflow, begun_at, ended_at, outcome)
        )
        if isinstance(recorded, Finding):
            self._tell([recorded])
        self._ended()

    def take(self, workflow: str, records: Sequence[Mapping[str, Any]]) -> bool:
        """Records that a drill worker made for this application, as far as they aren't there yet;
        False when the ledger can't be written. `Any`: JSON values."""
        application = self._application()
        try:
            known = {one.fields[_MARK] for one in application.ledger.entries() if _is_marked(one)}
            for number, one in enumerate(records):
                mark = f"{workflow}/{number}"
                fields = one["fields"]
                if mark in known or not _may_be_taken(one, application.name):
                    continue
                # When it was done counts, not when it arrived.
                given = {**fields, "observed_at": one["at"], _MARK: mark}
                application.must_record(str(one["kind"]), given)
        except StrongroomError as error:
            LOG.error("what a drill worker found is not written down yet: %s", error)
            return False
        LOG.info("%d records of a drill elsewhere were taken into the ledger", len(records))
        self._ended()
        return True

    def _tell(self, findings: Sequence[Finding]) -> None:
        for one in findings:
            LOG.error("%s: %s", one.subject, one.message)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    job: str
    begun_at: datetime


def _key(order: Order) -> str:
    return json.dumps(order.as_json())


def _was_made(application: Application, order: Order) -> bool:
    """Whether a run of this job, for this time or a later one, stands in the ledger."""
    if order.was_asked_for:
        return False
    now = datetime.now(UTC)
    wanted = datetime.fromisoformat(order.scheduled_for)
    for one in application.ledger.entries("job"):
        fields = one.fields
        if (fields.get("application"), fields.get("job")) == (application.name, order.job):
            made = fields.get("scheduled_for")
            if isinstance(made, str) and wanted <= datetime.fromisoformat(made) <= now:
                return True
    return False


def _is_marked(one: Entry) -> bool:
    return _MARK in one.fields


def _may_be_taken(one: Mapping[str, Any], application: str) -> bool:  # Any: JSON values
    kind, fields = one["kind"], one["fields"]
    if kind in HANDED_OVER and fields.get("application") == application:
        return True
    LOG.error("a record of kind %s was handed over that is not this application's to have", kind)
    return False


def words(
    order: Order, arguments: Sequence[str], given: Mapping[str, Any] | None
) -> Sequence[str]:  # Any: JSON values
    """The command line of a step: a document is wanted but by somebody who asked for the whole."""
    asked = order.was_asked_for and given is None
    return arguments if asked else ["--json", "--quiet", *arguments]


def refusal(order: Order, application: str) -> Ran | None:
    """What comes of an order that this service does not carry out, None of all others. Which
    commands those are is told to the child itself: see `Children`."""
    told = ""
    if order.application != application:
        told = f"it is for {order.application}, and this is the service of {application}"
    elif any(_ELSEWHERE.match(word) for word in order.arguments):
        told = "it names another configuration or state folder"
    if not told:
        return None
    LOG.error("an order to %s is refused: %s", order.action, told, extra=_about(order))
    kind = ERROR_KINDS["usage"]
    error = {"code": kind.code, "message": f"the order is refused: {told}", "hint": kind.hint}
    return Ran(kind.exit_status, json.dumps({"error": error}), (error["message"],))


def job_fields(
    order: Order, workflow: str, begun_at: datetime, ended_at: datetime, outcome: Outcome
) -> dict[str, Any]:  # Any: JSON values
    """What the ledger holds of a run of the schedule."""
    return {
        "job": order.job,
        "action": order.action,
        "sources": list(order.sources),
        "repository": order.repository,
        "scheduled_for": order.scheduled_for or None,
        "because": order.because,
        "begun_at": time_json(begun_at),
        "seconds": round(max(0.0, (ended_at - begun_at).total_seconds()), 3),
        "exit_status": outcome.exit_status,
        "verdict": outcome.verdict,
        "error": dict(outcome.error) if outcome.error else None,
        "workflow": workflow,
    }


def _about(order: Order) -> dict[str, str]:
    return {"job": order.job, "application": order.application}
