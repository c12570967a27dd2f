"""What must be captured: the tables with rows of their own, sequences, matviews, large objects.

Follows pg_dump's rules for what belongs to a database: members of extensions come back with the
extension, except the configuration tables that it declares, which have a filter; rows of foreign
tables live elsewhere. Runs inside the caller's transaction and sees what that sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from strongroom.postgres.inventory_sql import FIRST_USER_OID
from strongroom.postgres.manifest import ExtensionRecord, SequenceRecord
from strongroom.postgres.statement import qualified

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Relation",
    "list_relations",
    "read_collations",
    "read_columns",
    "read_extensions",
    "read_matviews",
    "read_misplaced",
    "read_parents",
    "read_references",
    "read_removals",
    "read_roots",
    "read_sequences",
    "read_sizes",
    "rewritten",
]

_SEQUENCES_AT_ONCE: Final = 200

_NOT_EXTENSION_MEMBER: Final = """
NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::regclass
    AND e.objid = c.oid AND e.deptype = 'e')"""

_RELATIONS: Final = f"""
WITH configuration AS (
    SELECT x.extname, t.oid, x.extcondition[t.place] AS condition
    FROM pg_catalog.pg_extension x, unnest(x.extconfig) WITH ORDINALITY AS t (oid, place))
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
    c.relpersistence::text, c.relfilenode::int8,
    coalesce(x.extname::text, ''), coalesce(x.condition, ''),
    c.relrowsecurity, c.relforcerowsecurity,
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
        ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END,
    pg_catalog.has_schema_privilege(n.oid, 'USAGE')
FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN configuration x ON x.oid = c.oid
WHERE c.relkind IN ('r', 'p', 'f', 'S')
    AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (x.oid IS NOT NULL OR {_NOT_EXTENSION_MEMBER})
ORDER BY n.nspname, c.relname"""

_COLUMNS: Final = """
SELECT a.attrelid::int8,
    coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = ''), '{}'),
    coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> ''), '{}')
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY a.attrelid"""

_MATVIEWS: Final = f"""
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relispopulated
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND n.nspname !~ '^pg_' AND {_NOT_EXTENSION_MEMBER}
ORDER BY n.nspname, c.relname"""

_VIEW_EDGES: Final = """
SELECT DISTINCT r.ev_class::int8, d.refobjid::int8
FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid
    AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    AND d.refclassid = 'pg_catalog.pg_class'::regclass
WHERE d.refobjid <> r.ev_class"""


# Hashes of enumerations come from object ids, which differ from server to server, and arrays, rows
# and ranges may be made of them; what a collation takes for equal is its version's matter.
_ROOTS: Final = """
SELECT c.oid::int8, r.oid::int8, n.nspname::text, r.relname::text
FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid)
    JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE c.oid = ANY(%s) AND c.relispartition AND EXISTS (
    SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a
        JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.relid
    WHERE p.partstrat = 'h' AND (
        EXISTS (SELECT FROM pg_catalog.pg_opclass o WHERE o.oid = ANY(p.partclass::oid[])
            AND o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops'))
        OR EXISTS (SELECT FROM pg_catalog.pg_collation l WHERE l.oid = ANY(p.partcollation::oid[])
            AND NOT l.collisdeterministic)))"""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation as `pg_class` has it, and what the current role may do with it."""

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    filenode: int
    extension: str
    condition: str
    row_security: bool
    forced_row_security: bool
    owned: bool
    readable: bool
    schema_usable: bool

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_rows(self) -> bool:
        """Whether it holds rows of its own: a partitioned parent does not."""
        return self.kind == "r"

    @property
    def lockable(self) -> bool:
        return self.kind in "rp"


def list_relations(connection: psycopg.Connection) -> list[Relation]:
    """Tables, partitioned tables, foreign tables and sequences, sorted by name."""
    return [Relation(*row) for row in connection.execute(_RELATIONS.encode()).fetchall()]


def read_columns(
    connection: psycopg.Connection, oids: Sequence[int]
) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each table its plain and its generated columns, in the order of definition."""
    rows = connection.execute(_COLUMNS.encode(), [list(oids)]).fetchall()
    found = {int(oid): (tuple(plain), tuple(generated)) for oid, plain, generated in rows}
    return {oid: found.get(oid, ((), ())) for oid in oids}


def read_parents(connection: psycopg.Connection, oids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """For each partition the labels of the partitioned tables above it."""
    rows = connection.execute(
        b"SELECT c.oid::int8, array_agg(n.nspname::text || '.' || p.relname::text)"
        b" FROM pg_catalog.pg_class c, pg_catalog.pg_partition_ancestors(c.oid) a"
        b" JOIN pg_catalog.pg_class p ON p.oid = a.relid"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace"
        b" WHERE c.oid = ANY(%s) AND c.relispartition AND a.relid <> c.oid GROUP BY 1",
        [list(oids)],
    ).fetchall()
    return {int(oid): tuple(labels) for oid, labels in rows}


def read_references(
    connection: psycopg.Connection, referring: Sequence[int], referred: Sequence[int]
) -> list[tuple[str, str, str]]:
    """The foreign keys from some tables to others: table, key and the table that is referred to,
    which may be the partitioned one above the other."""
    rows = connection.execute(
        b"WITH RECURSIVE key (referring, referred, name, parent, refers_to) AS ("
        b" SELECT conrelid, confrelid, conname, conparentid, confrelid"
        b" FROM pg_catalog.pg_constraint WHERE contype = 'f'"
        b" AND conrelid = ANY(%s) AND confrelid = ANY(%s)"
        b" UNION ALL SELECT k.referring, k.referred, p.conname, p.conparentid, p.confrelid"
        b" FROM key k JOIN pg_catalog.pg_constraint p ON p.oid = k.parent)"
        b"SELECT DISTINCT n.nspname::text || '.' || c.relname::text, k.name::text,"
        b" m.nspname::text || '.' || r.relname::text FROM key k"
        b" JOIN pg_catalog.pg_class c ON c.oid = k.referring"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        b" JOIN pg_catalog.pg_class r ON r.oid = k.refers_to"
        b" JOIN pg_catalog.pg_namespace m ON m.oid = r.relnamespace"
        b" WHERE k.parent = 0 ORDER BY 1, 2",
        [list(referring), list(referred)],
    ).fetchall()
    return [(str(table), str(key), str(to)) for table, key, to in rows]


def read_misplaced(connection: psycopg.Connection) -> list[str]:
    """Relations that somebody made in PostgreSQL's own schemas, which pg_dump passes over."""
    rows = connection.execute(
        b"SELECT n.nspname::text || '.' || c.relname::text FROM pg_catalog.pg_class c"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        b" WHERE n.nspname IN ('information_schema', 'pg_catalog')"
        b" AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
        b" AND c.oid >= %s AND " + _NOT_EXTENSION_MEMBER.encode() + b" ORDER BY 1",
        [FIRST_USER_OID],
    ).fetchall()
    return [str(name) for (name,) in rows]


def read_roots(
    connection: psycopg.Connection, oids: Sequence[int]
) -> dict[int, tuple[int, str, str]]:
    """The root's oid, schema and name for each partition whose rows may lie in others elsewhere:
    partitions by hash of what another server hashes otherwise."""
    rows = connection.execute(_ROOTS.encode(), [list(oids)]).fetchall()
    return {int(oid): (int(root), str(schema), str(name)) for oid, root, schema, name in rows}


def read_sizes(connection: psycopg.Connection, oids: Sequence[int]) -> dict[int, int]:
    """The tables' sizes on disk in bytes. Opens each table, so the caller holds locks on them."""
    rows = connection.execute(
        b"SELECT oid::int8, coalesce(pg_catalog.pg_table_size(oid::oid), 0)"
        b" FROM unnest(%s::int8[]) oid",
        [list(oids)],
    ).fetchall()
    return dict(rows)


def rewritten(connection: psycopg.Connection, relations: Iterable[Relation]) -> list[Relation]:
    """Those whose file is not the one that the snapshot saw: TRUNCATE shows them as empty.

    `pg_relation_filenode` looks at the catalogue as it is now, not as the snapshot has it.
    """
    tables = {one.oid: one for one in relations if one.has_rows and one.filenode}
    rows = connection.execute(
        b"SELECT oid::int8, pg_catalog.pg_relation_filenode(oid::oid)::int8"
        b" FROM unnest(%s::int8[]) oid",
        [list(tables)],
    ).fetchall()
    return [tables[oid] for oid, now in rows if now != tables[oid].filenode]


def read_sequences(
    connection: psycopg.Connection, relations: Iterable[Relation]
) -> tuple[SequenceRecord, ...]:
    """Each sequence's state as it is now: sequences don't take part in snapshots."""
    sequences = [one for one in relations if one.kind == "S"]
    increments: dict[int, int] = dict(
        connection.execute(
            b"SELECT seqrelid::int8, seqincrement FROM pg_catalog.pg_sequence"
        ).fetchall()
    )
    found: list[SequenceRecord] = []
    for begin in range(0, len(sequences), _SEQUENCES_AT_ONCE):
        part = sequences[begin : begin + _SEQUENCES_AT_ONCE]
        query = " UNION ALL ".join(
            f"SELECT {place}, last_value, is_called FROM {one.sql}"
            for place, one in enumerate(part)
        )
        for place, value, called in connection.execute(query.encode()).fetchall():
            one = part[place]
            found.append(
                SequenceRecord(one.schema, one.name, value, called, increments.get(one.oid, 1))
            )
    return tuple(sorted(found, key=lambda one: (one.schema, one.name)))


def read_matviews(connection: psycopg.Connection) -> tuple[tuple[str, str], ...]:
    """The populated materialised views, each after those that it reads from, through views too."""
    rows = connection.execute(_MATVIEWS.encode()).fetchall()
    names = {int(oid): (schema, name) for oid, schema, name, populated in rows if populated}
    if not names:
        return ()
    edges: dict[int, set[int]] = {oid: set() for oid in names}
    for view, read in connection.execute(_VIEW_EDGES.encode()).fetchall():
        edges.setdefault(view, set()).add(read)
    return tuple(names[oid] for oid in _ordered(edges) if oid in names)


def _ordered(edges: Mapping[int, set[int]]) -> list[int]:
    try:
        return list(TopologicalSorter(edges).static_order())
    except CycleError:
        # Views can be made to refer to each other; any order is as good as another then.
        return list(edges)


def read_extensions(connection: psycopg.Connection) -> tuple[ExtensionRecord, ...]:
    """The installed extensions, sorted by name."""
    rows = connection.execute(
        b"SELECT x.extname::text, n.nspname::text, x.extversion"
        b" FROM pg_catalog.pg_extension x"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace ORDER BY 1"
    ).fetchall()
    return tuple(ExtensionRecord(*row) for row in rows)


def read_collations(connection: psycopg.Connection) -> dict[str, str]:
    """The versions of the collations that the database uses by name, as they were recorded.

    An index is sorted as its collation's version had it: another version is another order.
    """
    found: dict[str, str] = {}
    if connection.info.server_version >= 150000:
        row = connection.execute(
            b"SELECT datcollversion FROM pg_catalog.pg_database WHERE datname = current_database()"
        ).fetchone()
        if row is not None and row[0]:
            found["database"] = str(row[0])
    rows = connection.execute(
        b"SELECT DISTINCT n.nspname::text || '.' || c.collname::text, c.collversion"
        b" FROM pg_catalog.pg_collation c"
        b" JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace"
        b" JOIN pg_catalog.pg_attribute a ON a.attcollation = c.oid AND a.attnum > 0"
        b" WHERE c.collversion IS NOT NULL"
    ).fetchall()
    return found | dict(sorted((str(name), str(version)) for name, version in rows))


def read_removals(connection: psycopg.Connection) -> tuple[str, ...]:
    """Statements for what a new database has and this one lacks; pg_dump doesn't mention it.

    Up to version 14 everybody may create in a new database's schema `public`. Newer programs, which
    we take, expect that nobody may, and leave out what they think is so anyway.
    """
    row = connection.execute(
        b"SELECT pg_catalog.to_regnamespace('public') IS NULL,"
        b" NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpgsql'),"
        b" NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a"
        b"  WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE')"
    ).fetchone()
    assert row is not None
    no_schema, no_language, closed = row
    found = []
    if no_schema:
        found.append("DROP SCHEMA public")
    elif closed and connection.info.server_version < 150000:
        found.append("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if no_language:
        found.append("DROP EXTENSION plpgsql")
    return tuple(found)
