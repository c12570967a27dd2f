"""Who is there in a fleet: each process says so in the state database, with what it knows.

One row for each name, by the database's own clock, so that hosts whose clocks differ agree on who
is late. A name is held by one process at a time: an advisory lock, which ends with its connection,
keeps a second one off. No secret is in a row (invariant I6).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import BusyError, SourceError, StrongroomError
from strongroom.report.fleet import Member

if TYPE_CHECKING:
    import psycopg

_TABLE: Final = """
CREATE SCHEMA IF NOT EXISTS strongroom;
CREATE TABLE IF NOT EXISTS strongroom.presence (
    name text PRIMARY KEY,
    role text NOT NULL,
    application text NOT NULL,
    seen_at timestamptz NOT NULL,
    document jsonb NOT NULL
)
"""
_SAY: Final = """
INSERT INTO strongroom.presence (name, role, application, seen_at, document)
VALUES (%s, %s, %s, clock_timestamp(), %s)
ON CONFLICT (name) DO UPDATE SET
    role = EXCLUDED.role, application = EXCLUDED.application,
    seen_at = EXCLUDED.seen_at, document = EXCLUDED.document
"""
_SEE: Final = """
SELECT name, role, application, document, seen_at, clock_timestamp() - seen_at
FROM strongroom.presence ORDER BY name
"""
# The first half of the key of our advisory locks.
_LOCKS: Final = 0x5372
_PATIENCE_SECONDS: Final = 10


class Presence:
    """The table of who is there. Connects when it is first needed, and again when that was lost."""

    def __init__(self, url: str, name: str, role: str) -> None:
        self._url = url
        self._name, self._role = name, role
        self._connection: psycopg.Connection[Any] | None = None  # Any: rows of any shape

    def say(self, application: str, document: Mapping[str, Any]) -> None:
        """This process is there and knows this; BusyError when another one has its name.
        `Any`: JSON values."""
        with self._connected() as connection:
            connection.execute(_SAY, (self._name, self._role, application, json.dumps(document)))

    def see(self) -> list[Member]:
        """Everybody who ever was there, by name."""
        with self._connected() as connection:
            return [
                Member(name, role, application, document, seen_at, ago)
                for name, role, application, document, seen_at, ago in connection.execute(_SEE)
            ]

    def forget(self, name: str) -> None:
        """Somebody is not to be there any more."""
        with self._connected() as connection:
            connection.execute("DELETE FROM strongroom.presence WHERE name = %s", (name,))

    def close(self) -> None:
        """Give the connection and the name back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:  # Any: rows of any shape
        import psycopg

        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise SourceError(
                _first_line(error),
                subject="the state database",
                code="database-unreachable",
                hint="Check that the server is running and that `state` leads to it.",
            ) from error
        except StrongroomError:
            self.close()
            raise

    def _connect(self) -> psycopg.Connection[Any]:  # Any: rows of any shape
        import psycopg

        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=_PATIENCE_SECONDS,
            application_name=f"strongroom {self._role}",
            # A connection that hangs must not hold a minute's work up.
            options=f"-c statement_timeout={_PATIENCE_SECONDS}s",
            keepalives_idle=_PATIENCE_SECONDS,
            keepalives_interval=_PATIENCE_SECONDS // 2,
            keepalives_count=2,
            tcp_user_timeout=_PATIENCE_SECONDS * 1000,
        )
        try:
            taken = connection.execute(
                "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCKS, self._name)
            ).fetchone()
            if taken != (True,):
                raise BusyError(
                    "another process of this name is connected to the state database",
                    subject=self._name,
                    hint="Give each its own name with --agent.",
                )
            # Two that come at once would both find it missing.
            connection.execute("SELECT pg_advisory_lock(%s, 0)", (_LOCKS,))
            connection.execute(_TABLE)
            connection.execute("SELECT pg_advisory_unlock(%s, 0)", (_LOCKS,))
        except BaseException:
            connection.close()
            raise
        return connection


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
