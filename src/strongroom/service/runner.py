"""What the steps of a durable run do on this host: start commands, and write down how they ended.

Every run of the schedule leaves one `job` record in the ledger, failed ones too. A step that was
interrupted is done again, so all that is done here may be done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from strongroom.model import Finding
from strongroom.plan.job import CAPTURE
from strongroom.service import ping
from strongroom.service.application import Application
from strongroom.service.child import Children, Ran
from strongroom.service.order import Order, Outcome
from strongroom.service.rendering import time_json

LOG: Final = logging.getLogger("strongroom.service")


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

    def begin(self, order: Order) -> None:
        """A run begins."""
        LOG.info("%s begins: %s", order.job, order.because or "asked for", extra=_about(order))
        if order.action == CAPTURE:
            application = self._application()
            self._tell(ping.note(application, ping.begin(application, order.sources)))

    def run(
        self,
        order: Order,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None,  # Any: JSON values
    ) -> Ran:
        """One command, to its end."""
        is_step = given is not None
        asked = order.was_asked_for and not is_step
        return self._children.run(
            arguments if asked else ["--json", "--quiet", *arguments], given, job=order.job
        )

    def record(self, order: Order, workflow: str, begun_at: datetime, outcome: Outcome) -> None:
        """The run's line in the ledger, unless it stands there already."""
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

    def _tell(self, findings: Sequence[Finding]) -> None:
        for one in findings:
            LOG.error("%s: %s", one.subject, one.message)


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
