"""The engine of durable runs: DBOS, as this program uses it. Nothing else knows its API, but for
the steps themselves in `workflow`.

Only a service launches it. Launched twice under one executor's name it would carry out the live
runs of the first a second time; so a name is guarded by whoever launches (`occupancy`, `presence`),
and all others use `EngineClient`, which only puts orders in and asks. The version that runs belong
to is ours and fixed, so that an upgrade of the program goes on with what was under way; what a step
comes to is JSON, which a newer version reads.

Runs are kept in a file of this host, or in the database of a fleet. There each agent has an
`Address` of its own, and all drill workers have one together: to the engine these are applications,
and nobody asks for the queues of another one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    WorkflowStatus,
)
from dbos import error as of_engine

from strongroom.errors import BusyError, StorageError, StrongroomError
from strongroom.postgres.state_database import StateDatabase, explaining, refused
from strongroom.service.occupancy import has_room
from strongroom.service.order import Order, Outcome, parse_order, parse_outcome
from strongroom.service.workflow import EVIDENCE, RUN, Hall, serve_in

STATE_NAME: Final = "runs.sqlite"
_NAME: Final = "strongroom"
# Changes only when steps change so that a run under way cannot be gone on with.
_VERSION: Final = "1"
_WAITING: Final = ["ENQUEUED", "DELAYED"]
_LIVE: Final = [*_WAITING, "PENDING"]
_GIVEN_UP: Final = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", _GIVEN_UP]
_POLL_SECONDS: Final = 1.0
# How long somebody else may hold a host's file.
_LOCKED_SECONDS: Final = 30.0
# In a fleet everybody's polls meet in one database: so many of them in a heartbeat, which makes
# five seconds of three minutes.
_POLLS: Final = 36
_LEAST_POLL_SECONDS: Final = 0.5
_MOST_POLL_SECONDS: Final = 30.0
# The engine repeats some complaints each second for as long as its database is away.
_REPEATED_SECONDS: Final = 600.0
_REPEATED_CHARACTERS: Final = 30
_TOLD_BY_US: Final = "DBOS failed to launch"


@dataclass(frozen=True, slots=True)
class Address:
    """Whose runs wait in which queue."""

    application: str
    queue: str


# On a host of its own.
HOST: Final = Address(_NAME, "host")
HOST_DRILLS: Final = Address(_NAME, "drill")
# In a fleet.
POOL: Final = Address(f"{_NAME}-drill", "drill")


def poll_seconds(heartbeat: timedelta) -> float:
    """How long a process of a fleet waits before it asks its queues again."""
    wanted = heartbeat.total_seconds() / _POLLS
    return min(max(wanted, _LEAST_POLL_SECONDS), _MOST_POLL_SECONDS)


def _version(application: str) -> str:
    """No two applications of the engine may have one."""
    return _VERSION if application == _NAME else f"{application}/{_VERSION}"


def agent_address(name: str) -> Address:
    """Where an agent of a fleet takes its runs."""
    return Address(f"{_NAME}-agent-{name}", f"agent.{name}")


def evidence_address(name: str) -> Address:
    """Where an agent takes what others found out for it: not behind a capture that takes hours."""
    return Address(f"{_NAME}-agent-{name}", f"evidence.{name}")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """A queue, and how many of its runs may be under way in one process, and in all. One that is
    not `kept` as it is gets these limits; one that is gets them only if it is new. It is asked
    again after `poll_seconds`."""

    address: Address
    here: int = 1
    everywhere: int | None = None
    kept: bool = False
    poll_seconds: float = _POLL_SECONDS


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

    def __init__(self, home: Path | StateDatabase, application: str, executor: str) -> None:
        self._explaining = _explaining_at(home)
        config: DBOSConfig = {
            "name": application,
            "application_version": _version(application),
            "executor_id": executor,
            "enable_otlp": False,
            "log_level": "WARNING",
            "serializer": DBOSPortableJSONSerializer(),
            "scheduler_polling_interval_sec": 3600,
            # Nobody here waits for messages; each listener would hold a connection.
            "use_listen_notify": False,
        }
        self._pool = None
        if isinstance(home, StateDatabase):
            config["system_database_engine"] = self._pool = home.engine(kept=True)
        else:
            config["system_database_url"] = _state_url(home)
        self._config = config

    def launch(self, hall: Hall, queues: Sequence[QueueLimits]) -> None:
        """Take up what an earlier process left, and carry out what these queues get. StorageError
        when the file can't be used, SourceError when the database of a fleet can't: nothing is
        launched then."""
        serve_in(hall)
        quieten()
        try:
            with self._explaining():
                DBOS(config=self._config)
                DBOS.listen_queues([one.address.queue for one in queues])
                DBOS.launch()
                for one in queues:
                    DBOS.register_queue(
                        one.address.queue,
                        worker_concurrency=one.here,
                        global_concurrency=one.everywhere,
                        polling_interval_sec=one.poll_seconds,
                        on_conflict="never_update" if one.kept else "always_update",
                    )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing is carried out any more; what is under way goes on at the next launch."""
        DBOS.destroy()
        if self._pool is not None:
            self._pool.dispose()


class EngineClient:
    """Puts orders in, and knows what became of them. Errors of a host's file are StorageErrors,
    and those of a fleet's database SourceErrors, at once."""

    def __init__(self, home: Path | StateDatabase, application: str = _NAME) -> None:
        self._application = application
        self._pool = None
        self._explaining = _explaining_at(home)
        where: dict[str, Any] = {}  # Any: what the library takes
        if isinstance(home, StateDatabase):
            where["system_database_engine"] = self._pool = home.engine(kept=False)
        else:
            where["system_database_url"] = _state_url(home)
        self._client = DBOSClient(
            serializer=DBOSPortableJSONSerializer(),
            application_name=application,
            retry_connection_errors=False,
            lazy=True,
            **where,
        )

    def order(self, address: Address, order: Order, workflow: str) -> None:
        """Put a run in, once: of a `workflow` that is known already nothing is done."""
        self._enqueue(address, RUN, workflow, order.as_json())

    def hand_over(
        self,
        address: Address,
        workflow: str,
        records: Sequence[Mapping[str, Any]],  # Any: JSON values
    ) -> None:
        """Give records that a run made to the agent at this address, once."""
        given = {"workflow": workflow, "records": list(records)}
        self._enqueue(address, EVIDENCE, evidence_of(workflow), given)

    def limit(self, queue: QueueLimits) -> None:
        """Give these limits to a queue that this process takes nothing from."""
        with self._explaining():
            self._client.register_queue(
                queue.address.queue,
                worker_concurrency=queue.here,
                global_concurrency=queue.everywhere,
                polling_interval_sec=queue.poll_seconds,
                application_name=queue.address.application,
            )

    def _enqueue(self, address: Address, name: str, workflow: str, given: dict[str, Any]) -> None:
        # Any: JSON values
        options: EnqueueOptions = {
            "queue_name": address.queue,
            "workflow_name": name,
            "workflow_id": workflow,
            "app_version": _version(address.application),
            "application_name": address.application,
        }
        with self._explaining():
            self._client.enqueue(options, given)

    def live(self, prefix: str = "") -> list[LiveRun]:
        """What waits or is under way, in all processes, of workflows that are called so."""
        return self._runs(_LIVE, prefix=prefix)

    def jobs(self, prefix: str) -> dict[str, datetime]:
        """The jobs of such runs that wait or are under way, and since when."""
        return {one.order.job: one.since for one in self.live(prefix)}

    def begun_by(self, executors: Sequence[str]) -> list[LiveRun]:
        """What these executors had begun, and nobody ended."""
        return self._runs(["PENDING"], executors=executors) if executors else []

    def take_over(self, run: LiveRun) -> None:
        """Let another process carry out what one that is gone had begun."""
        with self._explaining():
            self._client.resume_workflow(run.workflow, queue_name=run.queue)

    def _runs(
        self, status: list[str], *, prefix: str = "", executors: Sequence[str] = ()
    ) -> list[LiveRun]:
        with self._explaining():
            found = self._client.list_workflows(
                name=RUN,
                status=status,
                workflow_id_prefix=prefix or None,
                executor_id=list(executors) or None,
                application_name=self._known(),
                load_output=False,
            )
        return [_live(one) for one in found]

    def _known(self) -> list[str]:
        """To whom it may have given orders."""
        return list({self._application, POOL.application})

    def outcome(self, workflow: str) -> Outcome | None:
        """How a run ended, None as long as it hasn't; BusyError when it never will."""
        found = self._status(workflow)
        if found.status in _LIVE:
            return None
        if found.status == "SUCCESS" and isinstance(found.output, Mapping):
            return parse_outcome(found.output)
        raise BusyError(
            f"the service gave the run up ({found.status.lower()})",
            subject=workflow,
            hint="Look at the service's log, then run the command again.",
        )

    def withdraw(self, workflow: str) -> bool:
        """Let nobody begin a run; whether that was in time: False when it was begun, or when the
        file that it waits in can't be used."""
        try:
            if self._status(workflow).status not in _WAITING:
                return False
            with self._explaining():
                self._client.cancel_workflow(workflow)
        except (BusyError, StorageError):
            return False
        return True

    def is_handed_over(self, workflow: str) -> bool:
        """Whether the records of a run that another host carried out are in the ledger here."""
        return self._status(evidence_of(workflow)).status not in _LIVE

    def _status(self, workflow: str) -> WorkflowStatus:
        with self._explaining():
            found = self._client.list_workflows(
                workflow_ids=[workflow], application_name=self._known()
            )
        if not found:
            raise BusyError(
                "the run is not known any more",
                subject=workflow,
                hint="See `strongroom log` for what came of it.",
            )
        return found[0]

    def forget(self, before: datetime) -> int:
        """Delete what ended before a moment; the ledger has it. Returns how many."""
        with self._explaining():
            ended = self._client.list_workflows(
                name=[RUN, EVIDENCE],
                status=_ENDED,
                completed_before=before.isoformat(),
                load_input=False,
                load_output=False,
                limit=1000,
            )
            if ended:
                self._client.delete_workflows([one.workflow_id for one in ended])
        return len(ended)

    def close(self) -> None:
        """Give the connection back."""
        self._client.destroy()
        if self._pool is not None:
            self._pool.dispose()


def _explaining_at(
    home: Path | StateDatabase,
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What to be within while the database there is asked."""
    if isinstance(home, StateDatabase):
        return _explaining
    return functools.partial(_explaining_file, home / STATE_NAME)


@contextlib.contextmanager
def _explaining_file(file: Path) -> Iterator[None]:
    """Within it, whatever goes wrong with the file of a host's runs is a StorageError; BusyError
    when somebody else holds it for long."""
    from sqlalchemy.exc import SQLAlchemyError

    _wait_until_free(file)
    try:
        yield
    except SQLAlchemyError as error:
        # What follows the first line, and the error itself, may quote a statement and its values.
        why = str(getattr(error, "orig", None) or type(error).__name__).split("\n")[0]
        told = f"the record of runs under way cannot be used: {why}"
        raise _refused_file(file, told, _sqlite_code(error)) from error


def _wait_until_free(file: Path) -> None:
    """BusyError when somebody holds it for long: a service that was stopped while it wrote. The
    engine's own library would wait for ever."""
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS)) as held:
            held.isolation_level = None
            held.execute("BEGIN IMMEDIATE")
            held.execute("ROLLBACK")
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            told = f"the record of runs under way cannot be used: {error}"
            raise _refused_file(file, told, code) from None
        # All else is told by whoever uses it, where it matters.


def _sqlite_code(error: BaseException) -> int:
    """What SQLite calls it, without the particulars; 0 when nobody knows."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return int(code) & 0xFF if isinstance(code, int) else 0


def _refused_file(file: Path, told: str, code: int) -> StrongroomError:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return BusyError(told, subject=str(file), hint="End what reads it, or wait for it.")
    # A disk may refuse what SQLite needs beside the file before it is full to the last byte.
    is_full = code == sqlite3.SQLITE_FULL or (
        code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and not has_room(file.parent)
    )
    if is_full:
        return StorageError(
            told,
            subject=str(file),
            code="store-full",
            hint="Free space where the state folder is: meanwhile nothing can be recorded, and no "
            "run begins.",
        )
    return StorageError(
        told,
        subject=str(file),
        code="store-refused",
        hint=f"Let this user write to it, or move {STATE_NAME} aside: runs under way are "
        "begun anew, and the ledger keeps all evidence.",
    )


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Within it, whatever goes wrong with a fleet's database is a SourceError."""
    try:
        with explaining():
            yield
    except of_engine.DBOSException as error:
        raise refused(error) from None


def evidence_of(workflow: str) -> str:
    """The workflow that takes what a run on another host made."""
    return f"{workflow}/evidence"


def _state_url(folder: Path) -> str:
    """The embedded state database in a folder."""
    return f"sqlite:///{folder / STATE_NAME}"


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


class _Once(logging.Filter):
    """Lets what begins with the same words through once in a while; and not at all what whoever
    launches it says, too."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        begin, now = str(record.msg)[:_REPEATED_CHARACTERS], time.monotonic()
        if begin.startswith(_TOLD_BY_US):
            return False
        if now - self._said.get(begin, -_REPEATED_SECONDS) < _REPEATED_SECONDS:
            return False
        self._said[begin] = now
        return True


def quieten() -> None:
    """Its own messages go where ours go, and nowhere else; each once in a while."""
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = True
    if not any(isinstance(one, _Once) for one in logger.filters):
        logger.addFilter(_Once())
