"""The database of the Training Management System: its schema, and rows made from a seed.

The rows are made by the server itself, from hashes of their numbers: the same seed and number of
rows give the same rows on every server, and 200,000 of them take some seconds. Foreign keys and
indexes follow the rows. The total of all tables is exactly the number of rows asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from strongroom.errors import TargetError
from strongroom.postgres.connection import Connection

if TYPE_CHECKING:
    import psycopg
    from psycopg.rows import DictRow

    Session: TypeAlias = psycopg.Connection[DictRow]

__all__ = [
    "LEAST_ROWS",
    "OWNER",
    "create_database",
    "database_exists",
    "drop_database",
    "finish_database",
    "first_trainee",
    "open_database",
    "seed_rows",
]

OWNER: Final = "tms_owner"
LEAST_ROWS: Final = 3_000

_BEFORE_ROWS: Final = ("20_types", "30_tables", "35_audit")
_AFTER_ROWS: Final = ("50_constraints", "60_functions", "65_triggers", "70_views", "80_security")

# The share of the rows, and the least number, of each table that grows; the audit trail takes
# what is left.
_SHARES: Final[dict[str, tuple[float, int]]] = {
    "organisations": (0.002, 8),
    "users": (0.006, 12),
    "trainees": (0.12, 100),
    "sessions": (0.01, 24),
    "enrolments": (0.2, 240),
    "attendance": (0.2, 200),
    "quotations": (0.02, 12),
    "lpos": (0.015, 12),
    "invoices": (0.03, 20),
    "payments": (0.025, 12),
    "certificates": (0.12, 40),
}


@contextlib.contextmanager
def open_database(server: Connection, name: str) -> Iterator[Session]:
    """A session in autocommit mode with database `name` of the server; its rows are dicts.

    SourceError when no connection can be made.
    """
    from psycopg.rows import dict_row

    with server.with_database(name).connect() as plain:
        session: Session = cast("Session", plain)
        session.row_factory = dict_row
        yield session


def create_database(server: Connection, name: str) -> None:
    """Create the roles that are missing, and an empty database with the tables.

    The server's user is a superuser. TargetError when the database exists already: nothing
    that this demo did not make is touched (invariant I7).
    """
    from psycopg.sql import SQL, Identifier

    if database_exists(server, name):
        raise TargetError(
            "a database of this name exists already",
            subject=name,
            hint="Choose another server, or drop the database yourself.",
        )
    with open_database(server, "postgres") as session:
        session.execute(_sql("schema", "10_roles"))
        session.execute(
            SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                Identifier(name), Identifier(OWNER)
            )
        )
    with open_database(server, name) as session:
        if session.info.server_version < 150_000:
            # Since 15 the owner of the database owns its schema "public" by way of a role.
            session.execute(f"GRANT ALL ON SCHEMA public TO {OWNER}")
            session.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        _run(session, "schema", _BEFORE_ROWS)


def database_exists(server: Connection, name: str) -> bool:
    """Whether the server has a database of this name."""
    with open_database(server, "postgres") as session:
        found = session.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        return found.fetchone() is not None


def drop_database(server: Connection, name: str) -> None:
    """Drop a database, whoever is connected to it. Its roles stay: they are the server's."""
    from psycopg.sql import SQL, Identifier

    with open_database(server, "postgres") as session:
        session.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def seed_rows(
    session: Session,
    rows: int,
    seed: int,
    write_documents: Callable[[Session], int],
    progress: Callable[[float], None],
) -> int:
    """Fill the tables with exactly `rows` rows; `write_documents` adds those of `documents`.

    Returns what `write_documents` does. `rows` is not less than `LEAST_ROWS`.
    """
    _run(session, "seed", ("10_functions",))
    with session.transaction(), session.cursor() as cursor:
        _become_owner(session)
        cursor.executemany("INSERT INTO seed.plan VALUES (%s, %s)", list(_plan(rows, seed).items()))
    for step, script in enumerate(("20_catalogue", "30_training", "40_sales"), start=1):
        _run(session, "seed", (script,))
        progress(step * 0.15)
    with session.transaction():
        _become_owner(session)
        documents = write_documents(session)
    with session.transaction():
        _become_owner(session)
        left = rows - _count_rows(session)
        session.execute("INSERT INTO seed.plan VALUES ('audit_trail', %s)", (left,))
    _run(session, "seed", ("50_audit", "60_finish"))
    progress(1.0)
    return documents


def finish_database(session: Session, progress: Callable[[float], None]) -> None:
    """Add what follows the rows: constraints, indexes, functions, triggers, views, policies."""
    for step, script in enumerate(_AFTER_ROWS, start=1):
        _run(session, "schema", (script,))
        progress(step / (len(_AFTER_ROWS) + 1))
    with session.transaction():
        session.execute(_sql("schema", "90_server"))
    session.execute("VACUUM (ANALYZE)")
    progress(1.0)


def first_trainee(session: Session) -> tuple[str, str]:
    """Id and e-mail address of the first user who, as a trainee, holds a certificate that is not
    revoked and has a paper."""
    row = session.execute(
        "SELECT u.id::text AS id, u.email FROM public.trainees t"
        " JOIN public.users u ON u.id = t.user_id"
        " JOIN public.certificates c ON c.trainee_id = t.id"
        " JOIN public.documents d ON d.certificate_id = c.id"
        " WHERE c.status <> 'revoked' ORDER BY t.id LIMIT 1"
    ).fetchone()
    return (str(row["id"]), str(row["email"])) if row else ("", "")


def _plan(rows: int, seed: int) -> dict[str, int]:
    plan = {table: max(least, int(rows * share)) for table, (share, least) in _SHARES.items()}
    return plan | {"seed": seed, "rooms": max(8, plan["sessions"] // 150)}


def _sql(folder: str, script: str) -> str:
    place = resources.files(__package__) / folder / f"{script}.sql"
    return place.read_text(encoding="utf-8")


def _run(session: Session, folder: str, scripts: tuple[str, ...]) -> None:
    """Run scripts as the application's owner, each in a transaction of its own."""
    for script in scripts:
        with session.transaction():
            _become_owner(session)
            session.execute(_sql(folder, script))


def _become_owner(session: Session) -> None:
    """For this transaction: the owner's rights, and the office's time zone."""
    session.execute(f"SET LOCAL ROLE {OWNER}")
    session.execute("SET LOCAL timezone = 'Asia/Dubai'")


def _count_rows(session: Session) -> int:
    from psycopg.sql import SQL, Identifier

    tables = session.execute(
        "SELECT nspname, relname FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE relkind = 'r' AND nspname IN ('public', 'private')"
    ).fetchall()
    counts = SQL(" UNION ALL ").join(
        SQL("SELECT count(*) AS rows FROM {}").format(
            Identifier(table["nspname"], table["relname"])
        )
        for table in tables
    )
    counted = session.execute(
        SQL("SELECT sum(rows)::bigint AS rows FROM ({}) AS counted").format(counts)
    ).fetchone()
    return int(counted["rows"]) if counted else 0
