"""Rows that a condition chooses, as somebody wrote it: `--where` on a captured table.

The condition is asked of the sandbox, of the snapshot's rows, in a read-only transaction. Tables
that it mentions besides come from the snapshot, too; those that only a function of the application
reads are not known, and are empty.
"""

from __future__ import annotations

from typing import Final

from strongroom.errors import ConfigError
from strongroom.postgres.messages import without_values
from strongroom.postgres.rebuilt import Rebuilt, quiet_session
from strongroom.postgres.row_comparison import WORK, Pair
from strongroom.postgres.statement import quote_literal, quote_name
from strongroom.postgres.table_shape import TableName

__all__ = ["choose_rows"]

_MENTIONED: Final = """
WITH RECURSIVE below (oid) AS (
    SELECT {}::regclass::oid
    UNION
    SELECT d.refobjid FROM below b
    JOIN pg_catalog.pg_rewrite r ON r.ev_class = b.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
        AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
)
SELECT DISTINCT n.nspname::text, c.relname::text FROM below b
JOIN pg_catalog.pg_class c ON c.oid = b.oid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2"""


def choose_rows(rebuilt: Rebuilt, pair: Pair, where: str, into: str) -> None:
    """Put the keys of the captured rows for which the condition holds into the table `into`.

    ConfigError `usage` when it is no condition, or mentions tables whose rows were not captured.
    """
    import psycopg

    table = pair.captured.table
    chosen = f"{pair.captured.relation} {quote_name(table.name)} WHERE ({where}\n)"
    path = f"SET LOCAL search_path TO {quote_name(table.schema)}, public"
    keys = pair.kept(pair.rows_key.columns, quote_name(table.name))
    try:
        with quiet_session(rebuilt.target) as session, session.transaction():
            session.execute(path.encode())
            # A statement with a parameter is sent alone, so that nothing can follow it.
            alone = f"SELECT FROM {chosen.replace('%', '%%')} AND %s LIMIT 0"
            session.execute(alone.encode(), [True])
            view = f"{WORK}.condition"
            session.execute(f"CREATE VIEW {view} AS SELECT 1 AS one FROM {chosen}".encode())
            mentioned = session.execute(_MENTIONED.format(quote_literal(view)).encode()).fetchall()
            session.execute(f"DROP VIEW {view}".encode())
        for schema, name in mentioned:
            _load(rebuilt, TableName(schema, name))
        with quiet_session(rebuilt.target) as session, session.transaction(force_rollback=True):
            session.execute(b"SET TRANSACTION READ ONLY")
            session.execute(path.encode())
            statement = f"COPY (SELECT {keys} FROM {chosen}) TO STDOUT"
            with (
                session.cursor().copy(statement.encode()) as source,
                rebuilt.session.cursor().copy(f"COPY {into} FROM STDIN".encode()) as target,
            ):
                for block in source:
                    target.write(block)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        reason = without_values(error.diag.message_primary or str(error))
        raise ConfigError(
            f"this is no condition for rows of {table.label}: {reason}",
            subject="--where",
            code="usage",
            hint='Write it as after WHERE in SQL, such as --where "customer_id = 17".',
        ) from None


def _load(rebuilt: Rebuilt, mentioned: TableName) -> None:
    table = rebuilt.shapes.roots.get(mentioned, mentioned)
    if not rebuilt.has_rows(table):
        raise ConfigError(
            f"the condition mentions {mentioned.label}, whose rows are not in the snapshot",
            subject="--where",
            code="usage",
            hint="Choose by columns of the table itself.",
        )
    rebuilt.load(table)
