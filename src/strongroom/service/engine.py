"""The engine of durable runs: DBOS, as this program uses it. Nothing else knows its API, but for
the steps themselves in `workflow`.

Only a service launches it. Launched twice under one executor's name it would carry out the live
runs of the first a second time; so a name is guarded by whoever launches (`occupancy`), and a
command line beside a service uses `EngineClient`, which only puts orders in. The version that runs
belong to is ours and fixed, so that an upgrade of the program goes on with what was under way; what
a step comes to is JSON, which a newer version reads.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
)

from strongroom.errors import BusyError, StorageError
from strongroom.service.order import Order, Outcome, parse_order, parse_outcome
from strongroom.service.workflow import RUN, Hall, run_order, serve_in

STATE_NAME: Final = "runs.sqlite"
_NAME: Final = "strongroom"
# Changes only when steps change so that a run under way cannot be gone on with.
_VERSION: Final = "1"
_LIVE: Final = ["ENQUEUED", "PENDING", "DELAYED"]
_GIVEN_UP: Final = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", _GIVEN_UP]
_POLL_SECONDS: Final = 1.0


def state_url(folder: Path) -> str:
    """The embedded state database in a folder."""
    return f"sqlite:///{folder / STATE_NAME}"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """A queue, and how many of its runs may be under way in one process, and in all."""

    name: str
    here: int
    everywhere: int | None = None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is waiting or under way."""

    workflow: str
    order: Order
    begun: bool
    executor: str
    queue: str
    since: datetime


class Engine:
    """The engine of one service process. Launch once; close once."""

    def __init__(self, url: str, executor: str, hall: Hall) -> None:
        serve_in(hall)
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": url,
            "application_version": _VERSION,
            "executor_id": executor,
            "enable_otlp": False,
            "log_level": "WARNING",
            "serializer": DBOSPortableJSONSerializer(),
            "scheduler_polling_interval_sec": 3600,
        }
        _quieten()
        DBOS(config=config)

    def launch(self, queues: Sequence[QueueLimits]) -> None:
        """Take up what an earlier process left, and carry out what these queues get; StorageError
        when the state database can't be used."""
        from sqlalchemy.exc import SQLAlchemyError

        DBOS.listen_queues([one.name for one in queues])
        try:
            DBOS.launch()
        except SQLAlchemyError as error:
            DBOS.destroy()
            why = str(getattr(error, "orig", None) or type(error).__name__).split("\n")[0]
            raise StorageError(
                f"the record of runs under way cannot be used: {why}",
                subject=STATE_NAME,
                code="store-refused",
                hint=f"Let this user write to it, or move {STATE_NAME} aside: runs under way are "
                "begun anew, and the ledger keeps all evidence.",
            ) from error
        for one in queues:
            DBOS.register_queue(
                one.name,
                worker_concurrency=one.here,
                global_concurrency=one.everywhere,
                polling_interval_sec=_POLL_SECONDS,
                on_conflict="always_update",
            )

    def order(self, queue: str, order: Order, workflow: str) -> None:
        """Put a run in, once: of a `workflow` that is known already nothing is done."""
        with SetWorkflowID(workflow):
            DBOS.enqueue_workflow(queue, run_order, order.as_json())

    def live(self) -> list[LiveRun]:
        """What waits or is under way, in all processes."""
        found = DBOS.list_workflows(name=RUN, status=_LIVE, load_output=False)
        return [_live(one) for one in found]

    def jobs(self, application: str) -> dict[str, datetime]:
        """The jobs of an application that wait or are under way, and since when."""
        return {
            one.order.job: one.since for one in self.live() if one.order.application == application
        }

    def forget(self, before: datetime) -> int:
        """Delete what ended before a moment; the ledger has it. Returns how many."""
        ended = DBOS.list_workflows(
            name=RUN,
            status=_ENDED,
            completed_before=before.isoformat(),
            load_input=False,
            load_output=False,
            limit=1000,
        )
        if ended:
            DBOS.delete_workflows([one.workflow_id for one in ended])
        return len(ended)

    def close(self) -> None:
        """Nothing is carried out any more; what is under way goes on at the next launch."""
        DBOS.destroy()


class EngineClient:
    """Puts orders in beside a service, and follows them."""

    def __init__(self, url: str) -> None:
        self._client = DBOSClient(
            system_database_url=url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_NAME,
            retry_connection_errors=False,
        )

    def order(self, queue: str, order: Order, workflow: str) -> None:
        """Put a run in."""
        options: EnqueueOptions = {
            "queue_name": queue,
            "workflow_name": RUN,
            "workflow_id": workflow,
            "app_version": _VERSION,
        }
        self._client.enqueue(options, order.as_json())

    def outcome(self, workflow: str) -> Outcome | None:
        """How a run ended, None as long as it hasn't; BusyError when it never will."""
        [found] = self._client.list_workflows(workflow_ids=[workflow])
        if found.status in _LIVE:
            return None
        if found.status == "SUCCESS" and isinstance(found.output, Mapping):
            return parse_outcome(found.output)
        raise BusyError(
            f"the service gave the run up ({found.status.lower()})",
            subject=workflow,
            hint="Look at the service's log, then run the command again.",
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.destroy()


def _live(one: WorkflowStatus) -> LiveRun:
    given = one.input["args"][0] if one.input else {}
    return LiveRun(
        one.workflow_id,
        parse_order(given),
        one.status == "PENDING",
        one.executor_id or "",
        one.queue_name or "",
        datetime.fromtimestamp((one.created_at or 0) / 1000, UTC),
    )


def _quieten() -> None:
    """Its own messages go where ours go, and nowhere else."""
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = True
