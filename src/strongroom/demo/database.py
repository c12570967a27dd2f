"""The database of the Training Management System: its schema, and rows made from a seed.

The rows are made by the server itself, from hashes of their numbers: the same seed and number of
rows give the same rows on every server, and 200,000 of them take some seconds. Foreign keys and
indexes follow the rows. The total of all tables is exactly the number of rows asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigError, SourceError, TargetError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import DictRow

__all__ = [
    "LEAST_ROWS",
    "OWNER",
    "create_database",
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


def open_database(server: str, name: str) -> Connection[DictRow]:
    """A connection in autocommit mode to database `name` of the server that `server` describes.

    `server` is a libpq connection string. SourceError `database-unreachable` when nobody answers.
    """
    import psycopg
    from psycopg.rows import dict_row

    try:
        return psycopg.connect(
            server, dbname=name, autocommit=True, row_factory=dict_row, connect_timeout=10
        )
    except psycopg.OperationalError as error:
        message = str(error).strip() or "no answer"
        raise SourceError(message, subject=name, code="database-unreachable") from error


def create_database(server: str, name: str) -> None:
    """Create the roles that are missing, and an empty database with the tables.

    The connecting role is a superuser. TargetError when the database exists already: nothing
    that this demo did not make is touched (invariant I7).
    """
    from psycopg.sql import SQL, Identifier

    with open_database(server, "postgres") as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if found is not None:
            raise TargetError(
                "a database of this name exists already", subject=name,
                hint="Choose another server, or drop the database yourself.",
            )  # fmt: skip
        connection.execute(_sql("schema", "10_roles"))
        connection.execute(
            SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                Identifier(name), Identifier(OWNER)
            )
        )
    with open_database(server, name) as connection:
        if connection.info.server_version < 150_000:
            # Since 15 the owner of the database owns its schema "public" by way of a role.
            connection.execute(f"GRANT ALL ON SCHEMA public TO {OWNER}")
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        _run(connection, "schema", _BEFORE_ROWS)


def seed_rows(
    connection: Connection[DictRow],
    rows: int,
    seed: int,
    write_documents: Callable[[Connection[DictRow]], int],
    progress: Callable[[float], None],
) -> int:
    """Fill the tables with exactly `rows` rows; `write_documents` adds those of `documents`.

    Returns what `write_documents` does. ConfigError when `rows` is less than `LEAST_ROWS`.
    """
    if rows < LEAST_ROWS:
        raise ConfigError(
            f"{rows} rows are too few for an application", subject="rows", code="usage",
            hint=f"Ask for {LEAST_ROWS} or more.",
        )  # fmt: skip
    _run(connection, "seed", ("10_functions",))
    with connection.transaction(), connection.cursor() as cursor:
        _become_owner(connection)
        cursor.executemany("INSERT INTO seed.plan VALUES (%s, %s)", list(_plan(rows, seed).items()))
    for step, script in enumerate(("20_catalogue", "30_training", "40_sales"), start=1):
        _run(connection, "seed", (script,))
        progress(step * 0.15)
    with connection.transaction():
        _become_owner(connection)
        documents = write_documents(connection)
    with connection.transaction():
        _become_owner(connection)
        left = rows - _count_rows(connection)
        connection.execute("INSERT INTO seed.plan VALUES ('audit_trail', %s)", (left,))
    _run(connection, "seed", ("50_audit", "60_finish"))
    progress(1.0)
    return documents


def finish_database(connection: Connection[DictRow], progress: Callable[[float], None]) -> None:
    """Add what follows the rows: constraints, indexes, functions, triggers, views, policies."""
    for step, script in enumerate(_AFTER_ROWS, start=1):
        _run(connection, "schema", (script,))
        progress(step / (len(_AFTER_ROWS) + 1))
    with connection.transaction():
        connection.execute(_sql("schema", "90_server"))
    connection.execute("VACUUM (ANALYZE)")
    progress(1.0)


def first_trainee(connection: Connection[DictRow]) -> str:
    """The id of the first user who, as a trainee, holds a certificate that is not revoked."""
    row = connection.execute(
        "SELECT t.user_id::text AS id FROM public.trainees t"
        " JOIN public.certificates c ON c.trainee_id = t.id"
        " WHERE t.user_id IS NOT NULL AND c.status <> 'revoked' ORDER BY t.id LIMIT 1"
    ).fetchone()
    return str(row["id"]) if row else ""


def _plan(rows: int, seed: int) -> dict[str, int]:
    plan = {table: max(least, int(rows * share)) for table, (share, least) in _SHARES.items()}
    return plan | {"seed": seed, "rooms": max(8, plan["sessions"] // 150)}


def _sql(folder: str, script: str) -> str:
    place = resources.files(__package__) / folder / f"{script}.sql"
    return place.read_text(encoding="utf-8")


def _run(connection: Connection[DictRow], folder: str, scripts: tuple[str, ...]) -> None:
    """Run scripts as the application's owner, each in a transaction of its own."""
    for script in scripts:
        with connection.transaction():
            _become_owner(connection)
            connection.execute(_sql(folder, script))


def _become_owner(connection: Connection[DictRow]) -> None:
    """For this transaction: the owner's rights, and the office's time zone."""
    connection.execute(f"SET LOCAL ROLE {OWNER}")
    connection.execute("SET LOCAL timezone = 'Asia/Dubai'")


def _count_rows(connection: Connection[DictRow]) -> int:
    from psycopg.sql import SQL, Identifier

    tables = connection.execute(
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
    counted = connection.execute(
        SQL("SELECT sum(rows)::bigint AS rows FROM ({}) AS counted").format(counts)
    ).fetchone()
    return int(counted["rows"]) if counted else 0
