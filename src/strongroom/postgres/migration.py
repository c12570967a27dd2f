"""Which version a database's schema has, as the migration tool that made it has written it down.

The tables are those of the tools themselves, told apart by their names and columns; tables of
Supabase's own services (`auth.schema_migrations` and the like) say nothing about the application.
Reads in the session's snapshot, and never lets it fail: what can't be read is no version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom.postgres.statement import qualified

if TYPE_CHECKING:
    import psycopg

__all__ = ["MigrationRecord", "read_migration"]

# Schemas of a platform's own services, whose migrations are not the application's.
_FOREIGN: Final = frozenset(
    {"auth", "storage", "realtime", "_realtime", "_analytics", "supabase_functions", "graphql"}
)


@dataclass(frozen=True, slots=True)
class MigrationRecord:
    """The newest version of the schema, the table that says so, and the tool whose table it is."""

    tool: str
    table: str
    version: str


@dataclass(frozen=True, slots=True)
class _Tool:
    """How a tool keeps its versions: its table, the columns that tell it apart, and the SELECT of
    the newest version as one text, with {table} in it. Of several tools the first one counts."""

    name: str
    table: str
    columns: frozenset[str]
    newest: str
    schema: str = ""


_TOOLS: Final = (
    _Tool(
        "supabase",
        "schema_migrations",
        frozenset({"version"}),
        "SELECT max(version)::text FROM {table}",
        schema="supabase_migrations",
    ),
    _Tool(
        "django",
        "django_migrations",
        frozenset({"id", "app", "name", "applied"}),
        "SELECT app || '.' || name FROM {table} ORDER BY applied DESC, id DESC LIMIT 1",
    ),
    _Tool(
        "laravel",
        "migrations",
        frozenset({"migration", "batch"}),
        "SELECT migration::text FROM {table} ORDER BY batch DESC, migration DESC LIMIT 1",
    ),
    _Tool(
        "flyway",
        "flyway_schema_history",
        frozenset({"installed_rank", "version", "success"}),
        "SELECT version::text FROM {table} WHERE success AND version IS NOT NULL"
        " ORDER BY installed_rank DESC LIMIT 1",
    ),
    _Tool(
        "golang-migrate",
        "schema_migrations",
        frozenset({"version", "dirty"}),
        "SELECT version::text FROM {table} ORDER BY version DESC LIMIT 1",
    ),
    _Tool(
        "ecto",
        "schema_migrations",
        frozenset({"version", "inserted_at"}),
        "SELECT version::text FROM {table} ORDER BY version DESC LIMIT 1",
    ),
    _Tool(
        "rails",
        "schema_migrations",
        frozenset({"version"}),
        # Numbers as text: the longer one is the larger one.
        "SELECT version::text FROM {table}"
        " ORDER BY length(version::text) DESC, version::text DESC LIMIT 1",
    ),
    _Tool(
        "alembic",
        "alembic_version",
        frozenset({"version_num"}),
        # Branches have a version each.
        "SELECT string_agg(version_num::text, ', ' ORDER BY version_num::text) FROM {table}",
    ),
)

_TABLES: Final = b"""
SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    AND c.relname::text = ANY(%s)
GROUP BY 1, 2
ORDER BY n.nspname::text <> 'public', 1, 2"""


def read_migration(session: psycopg.Connection) -> MigrationRecord | None:
    """The newest version of the schema in the session's snapshot; None when no tool keeps one.

    The session is in a transaction, which goes on also when a table can't be read.
    """
    rows = session.execute(_TABLES, [sorted({one.table for one in _TOOLS})]).fetchall()
    tables = [
        (str(schema), str(name), frozenset(map(str, columns))) for schema, name, columns in rows
    ]
    for tool, schema in _present(tables):
        version = _newest(session, tool, schema)
        if version is not None:
            return MigrationRecord(tool.name, f"{schema}.{tool.table}", version)
    return None


def _present(
    tables: Iterable[tuple[str, str, frozenset[str]]],
) -> list[tuple[_Tool, str]]:
    """The tools whose tables are there, each with its table's schema; a table is one tool's."""
    found: dict[tuple[str, str], tuple[_Tool, str]] = {}
    for tool in _TOOLS:
        for schema, name, columns in tables:
            fits = name == tool.table and tool.columns <= columns
            wanted = schema == tool.schema if tool.schema else schema not in _FOREIGN
            if fits and wanted:
                found.setdefault((schema, name), (tool, schema))
    return list(found.values())


def _newest(session: psycopg.Connection, tool: _Tool, schema: str) -> str | None:
    import psycopg

    statement = tool.newest.replace("{table}", qualified(schema, tool.table))
    try:
        with session.transaction():  # a savepoint
            row = session.execute(statement.encode()).fetchone()
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return None
    return str(row[0]) if row is not None and row[0] is not None else None
