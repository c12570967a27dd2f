"""Who is there in a fleet: each process says so in the state database, with what it knows.

One row for each name, by the database's own clock, so that hosts whose clocks differ agree on who
is late. A name is held by one process at a time: an advisory lock, which ends with its session,
keeps a second one off. No secret is in a row (invariant I6).
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import BusyError
from strongroom.postgres.state_database import StateDatabase, explaining

if TYPE_CHECKING:
    import psycopg

_TABLE: Final = """
CREATE SCHEMA IF NOT EXISTS strongroom;
CREATE TABLE IF NOT EXISTS strongroom.presence (
    name text PRIMARY KEY,
    role text NOT NULL,
    application text NOT NULL,
    holder text NOT NULL,
    heartbeat interval NOT NULL,
    seen_at timestamptz NOT NULL,
    document jsonb NOT NULL
)
"""
_SAY: Final = """
INSERT INTO strongroom.presence (name, role, application, holder, heartbeat, seen_at, document)
VALUES (%s, %s, %s, %s, %s, clock_timestamp(), %s)
ON CONFLICT (name) DO UPDATE SET
    role = EXCLUDED.role, application = EXCLUDED.application, holder = EXCLUDED.holder,
    heartbeat = EXCLUDED.heartbeat, seen_at = EXCLUDED.seen_at, document = EXCLUDED.document
"""
_SEE: Final = """
SELECT name, role, application, heartbeat, seen_at, clock_timestamp() - seen_at, document
FROM strongroom.presence ORDER BY name
"""
_EXISTS: Final = "SELECT to_regclass('strongroom.presence') IS NOT NULL"
_HOLDER: Final = "SELECT holder FROM strongroom.presence WHERE name = %s"
_TAKE: Final = "SELECT pg_try_advisory_lock(hashtextextended('strongroom.' || %s, 0))"
_MAKING: Final = "hashtextextended('strongroom', 1)"


@dataclass(frozen=True, slots=True)
class Sign:
    """A process as it last said how it stands: `document` is its status, `ago` how long ago that
    was by the database's clock, `heartbeat` after how long a silence it counts as lost."""

    name: str
    role: str
    application: str
    heartbeat: timedelta
    seen_at: datetime
    ago: timedelta
    document: Mapping[str, Any]  # Any: JSON values


class Presence:
    """One process's place in the table of who is there. Connects when it is first needed, and again
    when that was lost. For one thread at a time."""

    def __init__(
        self,
        database: StateDatabase,
        name: str,
        role: str,
        application: str,
        heartbeat: timedelta,
    ) -> None:
        self._database, self.name = database, name
        self._role, self._application, self._heartbeat = role, application, heartbeat
        self._holder = secrets.token_hex(8)
        self._session: psycopg.Connection[Any] | None = None  # Any: rows of any shape
        self.is_taken = False

    def say(self, document: Mapping[str, Any]) -> None:  # Any: JSON values
        """This process is there and knows this; BusyError when another one has its name, which
        `is_taken` tells from a session of its own that the server still believes in."""
        told = json.dumps(document)
        own = (self.name, self._role, self._application, self._holder, self._heartbeat, told)
        with self._connected() as session:
            session.execute(_SAY, own)

    def see(self) -> list[Sign]:
        """Everybody who ever was there, by name."""
        with self._connected() as session:
            return [Sign(*row) for row in session.execute(_SEE)]

    def close(self) -> None:
        """Give the session and the name back."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:  # Any: rows of any shape
        try:
            with explaining():
                if self._session is None or self._session.closed:
                    self._session = self._connect()
                yield self._session
        except BaseException:
            self.close()
            raise

    def _connect(self) -> psycopg.Connection[Any]:  # Any: rows of any shape
        session = self._database.connect()
        try:
            make_table(session)
            self.is_taken = False
            if session.execute(_TAKE, (self.name,)).fetchone() != (True,):
                found = session.execute(_HOLDER, (self.name,)).fetchone()
                self.is_taken = found is not None and found[0] != self._holder
                raise BusyError(
                    "another process of this name is connected to the state database",
                    subject=self.name,
                    hint="Give each its own name with --agent.",
                )
        except BaseException:
            session.close()
            raise
        return session


def make_table(session: psycopg.Connection[Any]) -> None:  # Any: rows of any shape
    """The table is there from here on."""
    if session.execute(_EXISTS).fetchone() == (True,):
        return
    # Two that come at once would both find it missing.
    session.execute(f"SELECT pg_advisory_lock({_MAKING})")
    try:
        session.execute(_TABLE)
    finally:
        session.execute(f"SELECT pg_advisory_unlock({_MAKING})")


def signs_in(database: StateDatabase) -> list[Sign]:
    """Everybody who ever was there, asked by somebody who isn't."""
    with database.connect() as session, explaining():
        make_table(session)
        return [Sign(*row) for row in session.execute(_SEE)]


def forget(database: StateDatabase, name: str) -> bool:
    """Somebody is not to be there any more; False when nobody has this name."""
    with database.connect() as session, explaining():
        make_table(session)
        gone = "DELETE FROM strongroom.presence WHERE name = %s"
        return session.execute(gone, (name,)).rowcount > 0
