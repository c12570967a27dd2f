"""What a table looks like to whoever puts rows into it: columns, keys, foreign keys, triggers.

Read from a live catalogue, in two databases alike, so that both can be compared. A table that has
partitions stands for all of them; a partition by itself has no shape here. What this does not do:
read rows. Names are as the catalogue has them; types are written under an empty `search_path`, so
that they mean the same in every session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.postgres.statement import qualified, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["Column", "ForeignKey", "Key", "Shape", "Shapes", "TableName", "read_shapes"]

_USER_SCHEMA: Final = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_PERIODS_SINCE: Final = 180000

_COLUMNS: Final = f"""
SELECT n.nspname::text, c.relname::text, c.relkind::text, a.attname::text,
    pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(a.atttypid, -1),
    a.attnotnull, a.attgenerated <> '',
    a.attidentity = 'a', a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
    a.attcollation <> 0
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND {_USER_SCHEMA}
LEFT JOIN pg_catalog.pg_attribute a
    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
ORDER BY 1, 2, a.attnum"""

# An index that is unique, of columns that are never null, as they are, for all rows.
_KEYS: Final = f"""
SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY k.place),
    array_agg(oprn.nspname::text ORDER BY k.place), array_agg(o.oprname::text ORDER BY k.place),
    i.relname::text
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid AND NOT c.relispartition
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND {_USER_SCHEMA}
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = i.relam AND m.amname = 'btree'
CROSS JOIN unnest(x.indkey::int2[], x.indclass::oid[]) WITH ORDINALITY k (number, class, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
JOIN pg_catalog.pg_opclass q ON q.oid = k.class
JOIN pg_catalog.pg_amop p ON p.amopfamily = q.opcfamily AND p.amopstrategy = 3
    AND p.amoplefttype = q.opcintype AND p.amoprighttype = q.opcintype
JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
JOIN pg_catalog.pg_namespace oprn ON oprn.oid = o.oprnamespace
WHERE x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
    AND k.place <= x.indnkeyatts
GROUP BY 1, 2, x.indexrelid, x.indisprimary, x.indnkeyatts, i.relname
HAVING bool_and(a.attnotnull) AND count(*) = x.indnkeyatts
ORDER BY 1, 2, x.indisprimary DESC, x.indnkeyatts, i.relname COLLATE "C" """

_FOREIGN_KEYS: Final = """
SELECT k.conname::text, cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text,
    array_agg(ca.attname::text ORDER BY u.place), array_agg(pa.attname::text ORDER BY u.place),
    array_agg(sn.nspname::text ORDER BY u.place), array_agg(so.oprname::text ORDER BY u.place),
    array_agg(mn.nspname::text ORDER BY u.place), array_agg(mo.oprname::text ORDER BY u.place)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND NOT c.relispartition
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid AND NOT p.relispartition
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
CROSS JOIN unnest(k.conkey, k.confkey, k.conppeqop, k.conpfeqop)
    WITH ORDINALITY u (child, parent, same, match, place)
JOIN pg_catalog.pg_attribute ca ON ca.attrelid = c.oid AND ca.attnum = u.child
JOIN pg_catalog.pg_attribute pa ON pa.attrelid = p.oid AND pa.attnum = u.parent
JOIN pg_catalog.pg_operator so ON so.oid = u.same
JOIN pg_catalog.pg_namespace sn ON sn.oid = so.oprnamespace
JOIN pg_catalog.pg_operator mo ON mo.oid = u.match
JOIN pg_catalog.pg_namespace mn ON mn.oid = mo.oprnamespace
WHERE k.contype = 'f' AND k.conparentid = 0{}
GROUP BY k.oid, 1, 2, 3, 4, 5
ORDER BY 2, 3, 1"""

_PARTITIONS: Final = """
SELECT n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text, c.relkind = 'r'
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid)
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') ORDER BY 1, 2"""


class TableName(NamedTuple):
    """A table's schema and name, as the catalogue has them."""

    schema: str
    name: str

    @property
    def label(self) -> str:
        """As people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Column:
    """`plain_type` is the type without a length or precision. `always`: an identity that takes a
    value of ours only when that is said. `filled`: that it gets a value by itself when none is
    given. `collated`: that its order depends on a locale."""

    name: str
    type: str
    plain_type: str
    not_null: bool
    generated: bool
    always: bool
    filled: bool
    collated: bool


@dataclass(frozen=True, slots=True)
class Key:
    """Columns that tell the rows of a table apart, and the operator of each for being equal.
    `index` is the name of what sees to it."""

    columns: tuple[str, ...]
    operators: tuple[str, ...]
    index: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of `child` that name a row of `parent`. `same` are the operators for two values of
    the parent's columns, `match` for a parent's value on the left and a child's on the right."""

    name: str
    child: TableName
    parent: TableName
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    same: tuple[str, ...]
    match: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One table. `keys` are its primary key and then its other unique ones."""

    table: TableName
    is_partitioned: bool
    columns: Mapping[str, Column]
    keys: tuple[Key, ...]

    @property
    def relation(self) -> str:
        """What to read its own rows from: all partitions, and no table that inherits."""
        return self.table.sql if self.is_partitioned else f"ONLY {self.table.sql}"


@dataclass(frozen=True, slots=True)
class Shapes:
    """All tables of a database. `roots` gives for each partition the table that it is of, and
    `leaves` the partitions of each that hold rows."""

    tables: Mapping[TableName, Shape]
    foreign_keys: tuple[ForeignKey, ...]
    roots: Mapping[TableName, TableName] = field(default_factory=dict)
    leaves: Mapping[TableName, tuple[TableName, ...]] = field(default_factory=dict)

    def of_child(self, table: TableName) -> Iterator[ForeignKey]:
        """The foreign keys by which rows of the table name others."""
        return (one for one in self.foreign_keys if one.child == table)

    def of_parent(self, table: TableName) -> Iterator[ForeignKey]:
        """The foreign keys by which others name rows of the table."""
        return (one for one in self.foreign_keys if one.parent == table)


def read_shapes(session: psycopg.Connection) -> Shapes:
    """The shapes of all tables that the session sees; its `search_path` must be empty."""
    keys = _keys(session)
    columns: dict[TableName, dict[str, Column]] = {}
    kinds: dict[TableName, str] = {}
    for schema, name, kind, column, *rest in session.execute(_COLUMNS.encode()).fetchall():
        table = TableName(schema, name)
        kinds[table] = kind
        found = columns.setdefault(table, {})
        if column is not None:
            found[column] = Column(column, *rest)
    tables = {
        table: Shape(table, kinds[table] == "p", found, tuple(keys.get(table, ())))
        for table, found in columns.items()
    }
    roots: dict[TableName, TableName] = {}
    leaves: dict[TableName, list[TableName]] = {}
    for schema, name, root_schema, root_name, holds_rows in session.execute(
        _PARTITIONS.encode()
    ).fetchall():
        root = TableName(root_schema, root_name)
        roots[TableName(schema, name)] = root
        if holds_rows:
            leaves.setdefault(root, []).append(TableName(schema, name))
    return Shapes(
        tables,
        tuple(_foreign_keys(session)),
        roots,
        {root: tuple(below) for root, below in leaves.items()},
    )


def _keys(session: psycopg.Connection) -> dict[TableName, list[Key]]:
    found: dict[TableName, list[Key]] = {}
    for schema, name, columns, schemas, operators, index in session.execute(
        _KEYS.encode()
    ).fetchall():
        key = Key(tuple(columns), tuple(_operators(schemas, operators)), index)
        found.setdefault(TableName(schema, name), []).append(key)
    return found


def _foreign_keys(session: psycopg.Connection) -> Iterator[ForeignKey]:
    # One over periods asks for more than equal values.
    has_periods = session.info.server_version >= _PERIODS_SINCE
    query = _FOREIGN_KEYS.format(" AND NOT k.conperiod" if has_periods else "")
    for row in session.execute(query.encode()).fetchall():
        name, schema, child, parent_schema, parent, columns, parent_columns, *operators = row
        yield ForeignKey(
            name,
            TableName(schema, child),
            TableName(parent_schema, parent),
            tuple(columns),
            tuple(parent_columns),
            tuple(_operators(operators[0], operators[1])),
            tuple(_operators(operators[2], operators[3])),
        )


def _operators(schemas: list[str], names: list[str]) -> Iterator[str]:
    """Operators as they can be written under any `search_path`; PostgreSQL's own plainly."""
    for schema, name in zip(schemas, names, strict=True):
        yield name if schema == "pg_catalog" else f"OPERATOR({quote_name(schema)}.{name})"
