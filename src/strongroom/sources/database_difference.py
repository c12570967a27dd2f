"""What a restore of a database would do to the tables that are there, by name and number of rows.

The rows that are there are the server's own estimate, since counting them would read the database;
what rows hold is left to the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from strongroom.errors import SourceError
from strongroom.postgres.connection import Connection
from strongroom.postgres.manifest import Manifest
from strongroom.sources.difference import Differences, Tally

__all__ = ["table_differences"]

_COMPARED: Final = "tables by name and number of rows, those there as the server estimates them"
_TABLES: Final = b"""
SELECT n.nspname::text || '.' || c.relname::text,
    CASE WHEN c.reltuples > 0 THEN c.reltuples
        ELSE pg_catalog.pg_stat_get_live_tuples(c.oid) END::bigint,
    pg_catalog.pg_table_size(c.oid)::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = c.oid
        AND e.classid = 'pg_catalog.pg_class'::regclass AND e.deptype = 'e')
ORDER BY 1"""


def table_differences(manifest: Manifest, target: Connection) -> Differences:
    """What the snapshot would do to this database; a missing one has no table. SourceError when
    it can't be asked."""
    there = _tables_of(target)
    created, changed, deleted = Tally(), Tally(), Tally()
    same = 0
    tables: dict[str, tuple[int | None, int | None]] = {}
    for table in sorted(manifest.tables, key=lambda one: one.label):
        if table.extension:
            continue
        rows, _ = there.get(table.label, (None, 0))
        tables[table.label] = (table.rows, rows)
        if rows is None:
            created.add(table.label, table.bytes)
        elif rows != table.rows:
            changed.add(table.label, table.bytes)
        else:
            same += 1
    for label, (rows, size) in there.items():
        if label not in tables:
            tables[label] = (None, rows)
            deleted.add(label, size)
    return Differences(_COMPARED, created.group(), changed.group(), deleted.group(), same, tables)


def _tables_of(target: Connection) -> Mapping[str, tuple[int, int]]:
    try:
        with target.explaining(), target.connect() as session:
            rows = session.execute(_TABLES).fetchall()
    except SourceError as error:
        if error.code == "database-missing":
            return {}
        raise
    return {str(label): (int(rows), int(size)) for label, rows, size in rows}
