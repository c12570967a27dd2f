"""A role's login on a server: whether it works, and giving a role that has none its password.

The password itself never travels: the server gets what it would have kept of it (SCRAM), so that
no log of statements holds it.
"""

from __future__ import annotations

from strongroom.errors import SourceError
from strongroom.postgres.connection import Connection
from strongroom.postgres.statement import quote_literal, quote_name
from strongroom.postgres.target import maintenance_connection

__all__ = ["role_exists", "set_password", "try_login"]


def role_exists(server: Connection, role: str) -> bool:
    """Whether the connection's server has a role of this name."""
    with server.explaining(), maintenance_connection(server) as session:
        row = session.execute(
            "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [role]
        ).fetchone()
    return row is not None


def try_login(login: Connection) -> SourceError | None:
    """Why this login is refused; None when it works. Raises `SourceError` when nobody could tell
    at all, since the server is away."""
    try:
        login.connect().close()
    except SourceError as error:
        if error.code != "database-login":
            raise
        return error
    return None


def set_password(server: Connection, role: str, password: str) -> None:
    """Give a role its password; `SourceError` when the connection's own role may not."""
    with server.explaining(), maintenance_connection(server) as session:
        kept = session.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        statement = f"ALTER ROLE {quote_name(role)} PASSWORD {quote_literal(kept.decode())}"
        session.execute(statement.encode())
