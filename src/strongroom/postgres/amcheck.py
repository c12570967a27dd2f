"""The deep look at a restored copy: PostgreSQL's own `amcheck` over every index and table.

It reads whole indexes against their tables and tables page by page, so it is for sandboxes only:
there the extension may be installed, and nobody waits. It finds what no comparison of rows can,
such as an index that misses a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.model import Finding, finding
from strongroom.postgres.inventory_sql import USER_SCHEMA
from strongroom.postgres.messages import without_values
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["check_deeply"]

_HEAPS_SINCE: Final = 140000
_NAMED: Final = 5

_INDEXES: Final = f"""
SELECT i.indexrelid::bigint, n.nspname::text || '.' || c.relname::text
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND {USER_SCHEMA}
WHERE c.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relpersistence <> 't' ORDER BY 2"""
_HEAPS: Final = f"""
SELECT c.oid::bigint, n.nspname::text || '.' || c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'heap'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND {USER_SCHEMA}
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' ORDER BY 2"""


def check_deeply(session: psycopg.Connection) -> tuple[int, list[Finding]]:
    """How many indexes and tables were looked at, and what was found in them.

    Installs `amcheck` in the session's database where it is missing.
    """
    import psycopg

    schema = _installed_in(session)
    if schema is None:
        try:
            session.execute(b"CREATE EXTENSION amcheck WITH SCHEMA pg_catalog")
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            reason = without_values(error.diag.message_primary or str(error))
            return 0, [finding("amcheck-unchecked", "amcheck", reason)]
        schema = _installed_in(session)
    assert schema is not None
    checked, found = _check_indexes(session, quote_name(schema))
    if session.info.server_version < _HEAPS_SINCE:
        message = "PostgreSQL 13 has no check of tables: only their indexes were looked at"
        return checked, [*found, finding("question-left-out", "amcheck", message)]
    heaps, more = _check_heaps(session, quote_name(schema))
    return checked + heaps, found + more


def _installed_in(session: psycopg.Connection) -> str | None:
    row = session.execute(
        b"SELECT n.nspname::text FROM pg_catalog.pg_extension x"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname = 'amcheck'"
    ).fetchone()
    return None if row is None else str(row[0])


def _check_indexes(session: psycopg.Connection, schema: str) -> tuple[int, list[Finding]]:
    import psycopg

    found = []
    rows = session.execute(_INDEXES.encode()).fetchall()
    for oid, label in rows:
        try:
            # True: each row of the table is looked for in the index, too.
            session.execute(f"SELECT {schema}.bt_index_check({oid}::oid, true)".encode())
        except (psycopg.errors.IndexCorrupted, psycopg.errors.DataCorrupted) as error:
            reason = without_values(error.diag.message_primary or str(error))
            found.append(finding("amcheck-failed", f"index {label}", reason))
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            reason = without_values(error.diag.message_primary or str(error))
            found.append(finding("amcheck-unchecked", f"index {label}", reason))
    return len(rows), found


def _check_heaps(session: psycopg.Connection, schema: str) -> tuple[int, list[Finding]]:
    import psycopg

    found = []
    rows = session.execute(_HEAPS.encode()).fetchall()
    for oid, label in rows:
        query = f"SELECT blkno, msg FROM {schema}.verify_heapam({oid}::oid, check_toast => true)"
        try:
            told = session.execute(f"{query} LIMIT {_NAMED}".encode()).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            reason = without_values(error.diag.message_primary or str(error))
            found.append(finding("amcheck-unchecked", f"table {label}", reason))
            continue
        if told:
            places = "; ".join(f"page {page}: {without_values(str(why))}" for page, why in told)
            found.append(finding("amcheck-failed", f"table {label}", places))
    return len(rows), found
