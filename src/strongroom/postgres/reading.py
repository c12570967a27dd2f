"""A restored database that may be looked at and not changed, for as long as somebody looks.

Not by the role's rights alone: what a function may do that belongs to somebody else, or what
PUBLIC was granted, nobody can foresee, and `default_transaction_read_only` can be switched off by
whoever it binds. So the server itself is started again as a standby that follows nobody: it takes
no change from anybody, and no statement makes it take one. The one role that may log in reads all
and owns nothing; its password is made for this once. All other logins are refused, ours too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from strongroom.model import Finding, finding
from strongroom.postgres.cluster import Cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.statement import quote_literal, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["Reading", "close_to_changes"]

_READER: Final = "strongroom_reader"
_ACCESS: Final = """\
local all {role} scram-sha-256
local all all reject
"""
# A standby cannot read them; whether a table is logged is no matter of its content.
_UNLOGGED: Final = b"""
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY c.oid"""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to reach a database that can only be read; `address` holds the password. `cluster` runs
    until the context in which it was made ends."""

    address: Connection
    cluster: Cluster
    findings: tuple[Finding, ...] = ()

    @property
    def url(self) -> str:
        """The address as any tool takes it, with the password."""
        from urllib.parse import quote

        of = self.address.parameters
        login = f"{quote(of['user'], safe='')}:{quote(self.address.password or '', safe='')}"
        host, name = quote(of["host"], safe=""), quote(of["dbname"], safe="")
        return f"postgresql://{login}@/{name}?host={host}&port={of['port']}"

    @property
    def login(self) -> str:
        """The address without the password, for a program's arguments."""
        from psycopg.conninfo import make_conninfo

        of = self.address.parameters
        return make_conninfo(**{name: of[name] for name in ("host", "port", "user", "dbname")})

    @property
    def pgpass(self) -> str:
        """The line of a password file that lets the role in, over whichever way."""
        return f"*:*:*:{self.address.user}:{self.address.password}\n"

    def at(self, host: str, port: int) -> Reading:
        """The same by another way."""
        parameters = {**self.address.parameters, "host": host, "port": str(port)}
        return replace(self, address=replace(self.address, parameters=parameters))


def close_to_changes(cluster: Cluster, database: str) -> Reading:
    """From here on nothing in the cluster can be changed, and one role alone can log in."""
    password = secrets.token_urlsafe(24)
    address = cluster.connection(database)
    with address.explaining(), address.connect() as session:
        findings = tuple(_make_readable(session, database))
        role = _free_role(session)
        hashed = session.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        ).decode()
        name = quote_name(role)
        for statement in (
            f"CREATE ROLE {name} LOGIN BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE"
            f" NOREPLICATION PASSWORD {quote_literal(hashed)}",
            f"GRANT pg_read_all_data TO {name}",
            f"GRANT CONNECT ON DATABASE {quote_name(database)} TO {name}",
            f"ALTER ROLE {name} SET default_transaction_read_only = on",
            # Large objects have owners, and pg_read_all_data is none.
            f"ALTER ROLE {name} SET lo_compat_privileges = on",
        ):
            session.execute(statement.encode())
    cluster.close_to_changes(_ACCESS.format(role=role))
    reader = cluster.connection(database, user=role)
    return Reading(replace(reader, password=password), cluster, findings)


def _free_role(session: psycopg.Connection) -> str:
    rows = session.execute(b"SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
    taken = {str(row[0]) for row in rows}
    role = _READER
    while role in taken:
        role = f"{_READER}_{secrets.token_hex(3)}"
    return role


def _make_readable(session: psycopg.Connection, database: str) -> Iterator[Finding]:
    """Tables that a standby hides, as plain ones: those first that no other waits for."""
    import psycopg

    waiting = session.execute(_UNLOGGED).fetchall()
    if not waiting:
        return
    told = f"{len(waiting)} unlogged tables are shown as plain ones"
    while waiting:
        left = []
        for schema, table in waiting:
            name = f"{quote_name(str(schema))}.{quote_name(str(table))}"
            try:
                session.execute(f"ALTER TABLE {name} SET LOGGED".encode())
            except psycopg.Error:
                left.append((schema, table))
        if len(left) == len(waiting):
            told += f"; {len(left)} of them cannot be read"
            break
        waiting = left
    yield finding("open-changed", database, told)
