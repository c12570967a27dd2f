"""What a database looks like, by the transactions that wrote its rows and the names of the rest.

A scan without sorting or reading long values, far cheaper than a proof. Whoever deletes or writes
rows is found out; rewriting a table (VACUUM FULL) changes no row and may still look like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from strongroom.postgres.connection import Connection
from strongroom.postgres.inventory_sql import USER_SCHEMA
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["TABLE", "state_of_database"]

TABLE: Final = "table "
"""Begins the names of tables; their value is COUNT:SUM:NEWEST:ADDED of their rows' transactions."""

_ALL: Final = 1 << 32  # beyond every transaction's number

_TABLES: Final = f"""
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA} ORDER BY 1, 2"""
_NAMES: Final = f"""
SELECT 'relation ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind NOT IN ('r', 'm') AND c.relpersistence <> 't' AND {USER_SCHEMA}
UNION SELECT 'function ' || p.oid::regprocedure::text FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {USER_SCHEMA}
UNION SELECT 'constraint ' || k.conname || ' of ' || n.nspname || '.' || c.relname
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {USER_SCHEMA}
UNION SELECT 'trigger ' || t.tgname || ' of ' || n.nspname || '.' || c.relname
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND {USER_SCHEMA}
UNION SELECT 'policy ' || l.polname || ' of ' || n.nspname || '.' || c.relname
    FROM pg_catalog.pg_policy l JOIN pg_catalog.pg_class c ON c.oid = l.polrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {USER_SCHEMA}"""


def state_of_database(
    address: Connection, before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Its tables' rows, and the names of what else it holds. With the state of `before`, rows that
    were written since are counted apart. SourceError when it cannot be read."""
    with address.explaining(), address.connect() as session:
        found = {str(name): "" for (name,) in session.execute(_NAMES.encode()).fetchall()}
        for schema, table in session.execute(_TABLES.encode()).fetchall():
            name = f"{TABLE}{schema}.{table}"
            known = (before or {}).get(name)
            bound = int(known.split(":")[2]) if known else _ALL
            relation = f"{quote_name(schema)}.{quote_name(table)}"
            found[name] = _of_table(session, relation, bound)
        objects = "pg_catalog.pg_largeobject_metadata"
        found["large objects"] = _of_table(session, objects, _ALL).rpartition(":")[0]
        return found


def _of_table(session: psycopg.Connection, relation: str, bound: int) -> str:
    query = f"""
SELECT count(*) FILTER (WHERE x <= {bound}), coalesce(sum(x) FILTER (WHERE x <= {bound}), 0),
    coalesce(max(x), 0), count(*) FILTER (WHERE x > {bound})
FROM (SELECT xmin::text::int8 AS x FROM ONLY {relation}) rows"""
    row = session.execute(query.encode()).fetchone()
    assert row is not None
    return ":".join(map(str, row))
