"""A restored database that an application is about to use: nothing in it acts by itself.

Subscriptions are switched off, scheduled jobs of pg_cron set inactive, queued calls of pg_net
removed; and the server is asked once more whether it archives. That none of these could act in our
own clusters anyway (nothing is preloaded, no worker may start, there is no network) is on purpose:
either wall alone holds. It changes what was restored, so proofs come before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.model import Finding, finding
from strongroom.postgres.connection import Connection
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["ApplicationRole", "application_role", "quarantine"]

_INERT: Final = {"archive_mode": "off", "max_logical_replication_workers": "0"}


@dataclass(frozen=True, slots=True)
class ApplicationRole:
    """The role that the application logs in as, and whether it may."""

    name: str
    may_log_in: bool


def quarantine(target: Connection) -> list[Finding]:
    """Make inert what acts by itself; a note tells what there was.

    SourceError when the server archives or replicates all the same, or refuses.
    """
    with target.explaining(), target.connect() as session:
        _ask_inert(session, target)
        session.execute("SET session_replication_role = replica")
        told = [
            f"{count} {what}"
            for what, count in (
                ("subscriptions disabled", _disable_subscriptions(session)),
                ("scheduled jobs set inactive", _stop(session, "cron.job", _STOP_JOBS)),
                ("queued calls removed", _stop(session, "net.http_request_queue", _EMPTY_QUEUE)),
            )
            if count
        ]
    return [finding("sandbox-quarantined", target.database, ", ".join(told))] if told else []


def application_role(target: Connection, wanted: str | None) -> ApplicationRole | None:
    """The role of this name, or the database's owner; None when the server has no such role."""
    with target.explaining(), target.connect() as session:
        row = session.execute(
            "SELECT r.rolname, r.rolcanlogin FROM pg_catalog.pg_roles r"
            " WHERE r.rolname = coalesce(%s, (SELECT o.rolname FROM pg_catalog.pg_database d"
            " JOIN pg_catalog.pg_roles o ON o.oid = d.datdba"
            " WHERE d.datname = pg_catalog.current_database()))",
            [wanted],
        ).fetchone()
    return None if row is None else ApplicationRole(str(row[0]), bool(row[1]))


def _ask_inert(session: psycopg.Connection, target: Connection) -> None:
    for name, wanted in _INERT.items():
        row = session.execute("SELECT pg_catalog.current_setting(%s, true)", [name]).fetchone()
        if row is None or row[0] != wanted:
            raise SourceError(
                f"the sandbox's server says {name} = {row[0] if row else None}, not {wanted}",
                subject=target.describe(),
                code="sandbox-failed",
            )


def _disable_subscriptions(session: psycopg.Connection) -> int:
    rows = session.execute(
        "SELECT s.subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d"
        " ON d.oid = s.subdbid WHERE s.subenabled AND d.datname = pg_catalog.current_database()"
    ).fetchall()
    for row in rows:
        session.execute(f"ALTER SUBSCRIPTION {quote_name(str(row[0]))} DISABLE".encode())
    return len(rows)


_STOP_JOBS: Final = "UPDATE cron.job SET active = false WHERE active"
_EMPTY_QUEUE: Final = "DELETE FROM net.http_request_queue"


def _stop(session: psycopg.Connection, table: str, statement: str) -> int:
    """Run a statement on a table that few databases have; returns how many rows it touched."""
    row = session.execute("SELECT pg_catalog.to_regclass(%s)", [table]).fetchone()
    if row is None or row[0] is None:
        return 0
    return session.execute(statement.encode()).rowcount
