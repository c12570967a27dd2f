"""Everything that would spoil a capture, asked before the first byte and told all at once.

Looks at the server's version and the programs for it, the kind of connection (a transaction pooler
hands every statement to another session), the role's rights on every table, sequence and large
object, row security that would hide rows, and free connections. Changes nothing in the database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.postgres.catalogue import Relation, list_relations
from strongroom.postgres.connection import Connection
from strongroom.postgres.programs import Programs, find_programs
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "OLDEST_SERVER",
    "Problem",
    "ServerFacts",
    "examine_server",
    "find_problems",
    "is_transaction_pooler",
    "preflight",
]

OLDEST_SERVER: Final = 13
_NAMED: Final = 8
_SUPABASE_POOLER: Final = ".pooler.supabase.com"
_TRANSACTION_PORT: Final = "6543"
# The leader, pg_dump for the schema and pg_dump for large objects, besides the workers.
_OTHER_CONNECTIONS: Final = 3


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a capture must know of its server and role."""

    version: str
    number: int
    role: str
    superuser: bool
    bypasses_row_security: bool
    in_recovery: bool
    encoding: str
    tls: bool
    large_objects: bool

    @property
    def major(self) -> int:
        return self.number // 10000


@dataclass(frozen=True, slots=True)
class Problem:
    """One obstacle: an error code, what it is about, why, and what to do."""

    code: str
    subject: str
    message: str
    hint: str


def preflight(
    connection: Connection, *, jobs: int, programs: Path | None = None
) -> tuple[ServerFacts, Programs]:
    """The server's facts and the programs to capture with.

    Raises `SourceError` with every problem in its message; its code is that of the first.
    """
    with connection.explaining(), connection.connect() as session:
        facts = examine_server(session)
        if facts.major < OLDEST_SERVER:
            raise SourceError(
                f"PostgreSQL {facts.version} is older than {OLDEST_SERVER}, the oldest supported",
                subject=connection.describe(),
                hint=f"Upgrade the server to PostgreSQL {OLDEST_SERVER} or newer.",
            )
        problems = find_problems(connection, session, facts, jobs=jobs)
    chosen: Programs | None = None
    # TLS that nobody asked for is not insisted on within one host.
    tls = connection.wants_tls or (facts.tls and not connection.is_local)
    try:
        chosen = find_programs(facts.major, configured=programs, tls=tls)
    except SourceError as error:
        problems.append(Problem(error.code, error.subject, error.message, error.hint))
    if problems or chosen is None:
        raise _together(connection, problems)
    return facts, chosen


def examine_server(session: psycopg.Connection) -> ServerFacts:
    """The facts as the open session sees them."""
    with _pinned(session):
        row = session.execute(
            b"SELECT current_setting('server_version'), current_user::text, r.rolsuper,"
            b" r.rolbypassrls, pg_catalog.pg_is_in_recovery(), current_setting('server_encoding'),"
            b" EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)"
            b" FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
        ).fetchone()
    assert row is not None
    version, role, superuser, bypass, recovery, encoding, large_objects = row
    return ServerFacts(
        version=str(version).split()[0],
        number=session.info.server_version,
        role=role,
        superuser=superuser,
        bypasses_row_security=superuser or bypass,
        in_recovery=recovery,
        encoding=encoding,
        tls=bool(session.pgconn.ssl_in_use),
        large_objects=large_objects,
    )


def find_problems(
    connection: Connection, session: psycopg.Connection, facts: ServerFacts, *, jobs: int
) -> list[Problem]:
    """All problems that the database itself shows; empty when a capture may begin."""
    problems = _pooler(connection, session)
    with _pinned(session):
        relations = list_relations(session)
        problems += _unreadable(facts, relations)
        problems += _row_security(facts, relations)
        problems += _large_objects(session, facts)
        problems += _connections(session, facts, jobs + _OTHER_CONNECTIONS)
    return problems


@contextlib.contextmanager
def _pinned(session: psycopg.Connection) -> Iterator[None]:
    """A transaction under settings of our own, such as no time limits: those of the database are
    meant for others. They end with it, for behind a pooler the session is not ours alone."""
    with session.transaction():
        pin_settings(session, pinned_settings(session.info.server_version), local=True)
        yield


def _together(connection: Connection, problems: Sequence[Problem]) -> SourceError:
    if len(problems) == 1:
        one = problems[0]
        return SourceError(
            f"{one.subject}: {one.message}",
            subject=connection.describe(),
            code=one.code,
            hint=one.hint,
        )
    lines = [f"{one.subject}: {one.message}" for one in problems]
    hints = list(dict.fromkeys(one.hint for one in problems))
    return SourceError(
        f"{len(problems)} obstacles: " + "; ".join(lines),
        subject=connection.describe(),
        code=problems[0].code,
        hint=" ".join(hints),
    )


def _pooler(connection: Connection, session: psycopg.Connection) -> list[Problem]:
    if not is_transaction_pooler(connection, session):
        return []
    hint = "Connect in session mode"
    if connection.port == _TRANSACTION_PORT:
        hint += ": port 5432 instead of 6543"
    message = "this is a transaction pooler, which cannot hold one snapshot for several sessions"
    return [Problem("database-unreachable", f"port {connection.port}", message, hint + ".")]


def is_transaction_pooler(connection: Connection, session: psycopg.Connection) -> bool:
    """Whether two open sessions run in one server process: a pooler shares it between them."""
    own = session.execute(b"SELECT pg_catalog.pg_backend_pid()").fetchone()
    if connection.host.endswith(_SUPABASE_POOLER) and connection.port == _TRANSACTION_PORT:
        return True
    if own is not None and own[0] == session.info.backend_pid:
        return False
    with connection.connect() as second:
        other = second.execute(b"SELECT pg_catalog.pg_backend_pid()").fetchone()
    return own == other


def _unreadable(facts: ServerFacts, relations: Sequence[Relation]) -> list[Problem]:
    wanted = [one for one in relations if one.kind in "rpS"]
    schemas = sorted({one.schema for one in wanted if not one.schema_usable})
    refused = [one.label for one in wanted if one.schema_usable and not one.readable]
    problems = []
    role = quote_name(facts.role)
    if schemas:
        problems.append(
            Problem(
                "database-privilege",
                _named(schemas),
                f"role {facts.role} may not look into these schemas",
                f"Run: GRANT pg_read_all_data TO {role};"
                if facts.major >= 14
                else f"Run for each schema: GRANT USAGE ON SCHEMA ... TO {role};",
            )
        )
    if refused:
        problems.append(
            Problem(
                "database-privilege",
                _named(refused),
                f"role {facts.role} may not read {len(refused)} tables or sequences",
                f"Run: GRANT pg_read_all_data TO {role};"
                if facts.major >= 14
                else f"Run for each schema: GRANT SELECT ON ALL TABLES IN SCHEMA ... TO {role};",
            )
        )
    return problems


def _row_security(facts: ServerFacts, relations: Sequence[Relation]) -> list[Problem]:
    if facts.bypasses_row_security:
        return []
    hidden = [
        one.label
        for one in relations
        if one.row_security and one.has_rows and not (one.owned and not one.forced_row_security)
    ]
    if not hidden:
        return []
    return [
        Problem(
            "database-privilege",
            _named(hidden),
            f"row security would hide rows from role {facts.role} in {len(hidden)} tables",
            f"Run: ALTER ROLE {quote_name(facts.role)} BYPASSRLS;",
        )
    ]


def _large_objects(session: psycopg.Connection, facts: ServerFacts) -> list[Problem]:
    if facts.superuser or not facts.large_objects:
        return []
    row = session.execute(
        b"SELECT count(*), min(m.oid)::int8 FROM pg_catalog.pg_largeobject_metadata m"
        b" WHERE current_setting('lo_compat_privileges') = 'off'"
        b" AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')"
        b" AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a"
        b"  WHERE a.privilege_type = 'SELECT'"
        b"  AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))"
    ).fetchone()
    if row is None or row[0] == 0:
        return []
    return [
        Problem(
            "database-privilege",
            f"large object {row[1]}",
            f"role {facts.role} may not read {row[0]} large objects",
            f"Grant SELECT ON LARGE OBJECT to {quote_name(facts.role)}, or capture as their owner.",
        )
    ]


def _connections(session: psycopg.Connection, facts: ServerFacts, needed: int) -> list[Problem]:
    row = session.execute(
        b"SELECT current_setting('max_connections')::int"
        b" - CASE WHEN %s THEN 0 ELSE current_setting('superuser_reserved_connections')::int"
        b"   + coalesce(current_setting('reserved_connections', true)::int, 0) END"
        b" - (SELECT count(*)::int FROM pg_catalog.pg_stat_activity"
        b"    WHERE usesysid IS NOT NULL),"  # other columns are hidden from ordinary roles
        b" (SELECT nullif(r.rolconnlimit, -1) - (SELECT count(*)::int"
        b"    FROM pg_catalog.pg_stat_activity a WHERE a.usename = r.rolname)"
        b"  FROM pg_catalog.pg_roles r WHERE r.rolname = current_user),"
        b" (SELECT nullif(d.datconnlimit, -1) - (SELECT count(*)::int"
        b"    FROM pg_catalog.pg_stat_activity a WHERE a.datname = d.datname)"
        b"  FROM pg_catalog.pg_database d WHERE d.datname = current_database())",
        [facts.superuser],
    ).fetchone()
    assert row is not None
    server, role, database = row
    free = min(
        limit
        for limit in (
            server,
            None if facts.superuser else role,
            None if facts.superuser else database,
        )
        if limit is not None
    )
    if free >= needed:
        return []
    return [
        Problem(
            "database-unreachable",
            "connections",
            f"{needed} more connections are needed and {max(free, 0)} are free",
            "Lower `jobs` of the source, or raise the server's or the role's connection limit.",
        )
    ]


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
