"""The database that the hosts of a fleet have in common: how it is reached, and by whom.

The engine keeps its runs in it, `presence` who is there. It gets its connections from here, so that
no other library ever sees the password (invariant I6). Whatever fails is a SourceError that says so
without the address. Not for transaction poolers: who has a name is known by a session's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import ConfigError, SourceError
from strongroom.postgres.connection import Connection, parse_connection

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy

SUBJECT: Final = "the state database"
_PATIENCE_SECONDS: Final = 10
# How long a connection whose other end says nothing is believed in, here and by the server: a host
# that was cut off must not keep its name for hours.
_HERE: Final = {
    "connect_timeout": str(_PATIENCE_SECONDS),
    "keepalives_idle": str(_PATIENCE_SECONDS),
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": str(_PATIENCE_SECONDS * 1000),
}
_THERE: Final = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET idle_in_transaction_session_timeout = '60s'",
)
# Connections that the engine of one process holds, and how many more for a moment.
_HELD: Final = 2
_MORE: Final = 3


class StateDatabase:
    """Where a fleet's state is; `who` names this process among the server's sessions."""

    def __init__(self, connection: Connection, who: str) -> None:
        named = {"application_name": f"strongroom {who}"}
        self._connection = replace(
            connection, parameters={**connection.parameters, **_HERE, **named}
        )

    def connect(self) -> psycopg.Connection[Any]:  # Any: rows of any shape
        """A session, in which each statement is its own transaction; SourceError when there is
        none to be had."""
        with explaining():
            made = _prepared(self._connection, autocommit=True)
            made.execute(f"SET statement_timeout = '{_PATIENCE_SECONDS}s'")
            return made

    def engine(self, *, kept: bool) -> sqlalchemy.Engine:
        """What the engine asks for connections; unless they are `kept`, each is closed at once."""
        import sqlalchemy

        where = "postgresql+psycopg://"
        if not kept:
            return sqlalchemy.create_engine(
                where, creator=self._retried, poolclass=sqlalchemy.NullPool
            )
        return sqlalchemy.create_engine(
            where,
            creator=self._retried,
            pool_size=_HELD,
            max_overflow=_MORE,
            pool_timeout=3 * _PATIENCE_SECONDS,
            # Asking first would double what idle hosts ask; what fails is tried again anyway.
            pool_pre_ping=False,
        )

    def _retried(self) -> psycopg.Connection[Any]:  # Any: rows of any shape
        """The engine tries again what begins with these words, and gives up what doesn't, such as
        a host name that isn't found for a while."""
        import psycopg

        try:
            return _prepared(self._connection, autocommit=False)
        except SourceError as error:
            raise psycopg.OperationalError(f"connection failed: {error.message}") from None


def parse_state_database(url: str, who: str) -> StateDatabase:
    """The database that a URL names; ConfigError, which does not quote it, when it names none."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            "what it leads to is no URL of a PostgreSQL database",
            subject="state",
            hint="Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE where `state` leads.",
        )
    return StateDatabase(parse_connection(url), who)


def _prepared(connection: Connection, *, autocommit: bool) -> psycopg.Connection[Any]:  # Any: rows
    made = connection.connect(autocommit=True)
    try:
        for one in _THERE:
            made.execute(one)
        made.autocommit = autocommit
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Within it, whatever the database or its libraries say is a SourceError."""
    import psycopg
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except SourceError as error:
        raise SourceError(
            error.message, subject=SUBJECT, code=error.code, hint=error.hint
        ) from None
    except DBAPIError as error:
        raise refused(error.orig or error) from None
    except (psycopg.Error, SQLAlchemyError) as error:
        raise refused(error) from None


def refused(error: BaseException) -> SourceError:
    """What went wrong with the database, by the first line of an error: what follows may quote a
    statement and its values."""
    import psycopg

    lines = str(error).strip().splitlines()
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return SourceError(
            lines[0],
            subject=SUBJECT,
            code="database-privilege",
            hint="Let the role of its URL own that database: it makes schemas and tables there.",
        )
    return SourceError(
        lines[0] if lines else type(error).__name__,
        subject=SUBJECT,
        code="database-unreachable",
        hint="Check that the server runs, and that this host may connect to it.",
    )
