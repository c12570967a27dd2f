"""The durable runs of the service: what it does in steps, each of which is done once.

The engine is DBOS: it keeps what each step came to in the state database, and after a crash goes on
with the first step that nobody knows the end of. Queues, their limits, deduplication, waiting and
recovery are its own; here stands only what the steps are. What a step comes to is stored, so no
secret may be in it (invariant I6); all of it is plain JSON, so that a newer version can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from dbos import DBOS

from strongroom.errors import ERROR_KINDS, Retry
from strongroom.service.child import Ran
from strongroom.service.order import Order, Outcome, parse_order, parse_outcome
from strongroom.service.rendering import time_json

RUN: Final = "strongroom.run"
EVIDENCE: Final = "strongroom.evidence"
# After how long a run that failed, as it might not do later, is made again.
_PATIENCE_SECONDS: Final = (60, 300)
# After how long evidence that could not be written down is tried again.
_AGAIN_SECONDS: Final = 300


class Hall(Protocol):
    """What the steps need of the service. Everything that it does may be done again."""

    def begin(self, order: Order) -> bool:
        """A run begins: whom that concerns is told. False when it has become needless."""
        ...

    def run(
        self, order: Order, arguments: Sequence[str], given: Mapping[str, Any] | None
    ) -> Ran:  # Any: JSON values
        """One command in a process of its own. Does not return while the service stops."""
        ...

    def record(self, order: Order, workflow: str, begun_at: datetime, outcome: Outcome) -> None:
        """The run's line in the ledger, written once, and whom it concerns is told."""
        ...

    def take(self, workflow: str, records: Sequence[Mapping[str, Any]]) -> bool:
        """Records that another host made for this one's application go into the ledger, once;
        False when they can't be written now. `Any`: JSON values."""
        ...


_halls: list[Hall] = []


def serve_in(hall: Hall) -> None:
    """Runs of this process are carried out for this service from here on."""
    _halls[:] = [hall]


@DBOS.workflow(name=RUN)
def run_order(given: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    """Carry out an order in steps; returns how it ended, as JSON."""
    hall, order = _halls[0], parse_order(given)
    begun_at = DBOS.run_step({"name": "begin"}, _begin, hall, order)
    if not begun_at:
        return Outcome(0).as_json()
    outcome = _capture(hall, order) if order.action == "capture" else _command(hall, order)
    DBOS.run_step({"name": "record"}, _record, hall, order, begun_at, outcome)
    return outcome


@DBOS.workflow(name=EVIDENCE)
def take_evidence(given: dict[str, Any]) -> bool:  # Any: JSON values
    """Take what another host did for an application of this one's, however long that takes."""
    while not DBOS.run_step({"name": "take"}, _take, _halls[0], given):
        DBOS.sleep(_AGAIN_SECONDS)
    return True


def _take(hall: Hall, given: Mapping[str, Any]) -> bool:  # Any: JSON values
    return hall.take(str(given["workflow"]), given["records"])


def _begin(hall: Hall, order: Order) -> str:
    return time_json(datetime.now(UTC)) if hall.begin(order) else ""


def _record(hall: Hall, order: Order, begun_at: str, outcome: dict[str, Any]) -> bool:
    # Any: JSON values
    workflow = DBOS.workflow_id or ""
    hall.record(order, workflow, datetime.fromisoformat(begun_at), parse_outcome(outcome))
    return True


# Any in what follows: JSON values, as steps leave them


def _command(hall: Hall, order: Order) -> dict[str, Any]:
    """A run that is one step, made again after a while where that may help."""
    return _patiently(hall, order, order.action, order.arguments, None)


def _capture(hall: Hall, order: Order) -> dict[str, Any]:
    """A capture, a step for each source."""
    given: dict[str, Any] = {"sources": list(order.sources)}
    begun = _patiently(hall, order, "begin-capture", ("step", "begin-capture"), given)
    if begun["exit_status"]:
        return begun
    known = {"begun": begun["document"]}
    parts: list[dict[str, Any]] = []
    for source in begun["document"]["sources"]:
        given = {**known, "parts": parts, "source": source}
        ran = _patiently(hall, order, f"capture {source}", ("step", "capture"), given)
        parts.append(_part(source, ran["document"]))
    given = {**known, "parts": parts}
    ended = _patiently(hall, order, "conclude-capture", ("step", "conclude-capture"), given)
    document = ended["document"]
    if "document" in document:
        document, lines = document["document"], document["lines"]
        said = json.dumps(document, indent=2) if "--json" in order.arguments else "\n".join(lines)
        return {**ended, "document": document, "output": said + "\n"}
    return ended


def _part(source: str, document: dict[str, Any]) -> dict[str, Any]:
    """What came of a source; where its process came to nothing, that."""
    if "error" in document and "source" not in document:
        error = {"subject": "", **document["error"]}
        return {
            "source": source,
            "snapshots": [],
            "described": None,
            "findings": [],
            "own": [],
            "error": error,
            "seconds": 0.0,
        }
    return document


def _patiently(
    hall: Hall,
    order: Order,
    name: str,
    arguments: Sequence[str],
    given: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A step, done again after a while as long as that may help; somebody who waits for the answer
    is not kept waiting."""
    waits = () if order.was_asked_for else _PATIENCE_SECONDS
    for attempt, wait in enumerate((*waits, None), start=1):
        told = name if attempt == 1 else f"{name} (attempt {attempt})"
        ended = DBOS.run_step({"name": told}, _run, hall, order, arguments, given)
        if wait is None or not _may_succeed_later(ended["document"]):
            return ended
        DBOS.sleep(wait)
    raise AssertionError("the last attempt is not followed by a wait")


def _run(
    hall: Hall, order: Order, arguments: Sequence[str], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    ran = hall.run(order, arguments, given)
    return Outcome(ran.exit_status, ran.document, ran.output, ran.messages, ran.records).as_json()


def _may_succeed_later(document: Mapping[str, Any]) -> bool:
    error = document.get("error")
    if not isinstance(error, Mapping):
        return False
    kind = ERROR_KINDS.get(str(error.get("code")))
    return kind is not None and kind.retry is Retry.LATER
