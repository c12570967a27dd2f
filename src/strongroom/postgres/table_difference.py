"""What happened to the rows of one table between two captures: added, removed, changed by key.

Both captures lie in sandboxes. Where nothing tells a table's rows apart, they are counted as they
are: then a changed row is one that was removed and one that was added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strongroom.postgres.rebuilt import Rebuilt
from strongroom.postgres.row_comparison import (
    Desk,
    Pair,
    columns_of,
    digest_of,
    equal,
    given,
    pair_of,
    with_values,
)
from strongroom.postgres.statement import quote_name
from strongroom.postgres.table_shape import Key, TableName

__all__ = ["MOST_ROWS", "RowChange", "TableDifference", "compare_table"]

MOST_ROWS: Final = 1_000
_BATCH: Final = 500
_NO_KEY: Final = Key((), ())


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row: `what` is added, removed or changed; `key` has its key's columns as text, `columns`
    of a changed one the values before and after."""

    what: str
    key: dict[str, str]
    columns: dict[str, tuple[str | None, str | None]]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        document: dict[str, Any] = {"what": self.what, "key": self.key}
        if self.what == "changed":
            document["columns"] = {name: list(both) for name, both in self.columns.items()}
        return document


@dataclass(frozen=True, slots=True)
class TableDifference:
    """How many rows were added, removed and changed; `changed` is None where nothing tells rows
    apart. `rows` are the first ones, if they were wanted; `columns` were added or dropped. All
    numbers are None where the table could not be compared, `because` of this."""

    table: str
    added: int | None
    removed: int | None
    changed: int | None
    columns: tuple[str, ...] = ()
    rows: tuple[RowChange, ...] = ()
    because: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed or self.columns or self.because)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "table": self.table,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "columns": list(self.columns),
            "rows": [one.as_json() for one in self.rows],
            "unchecked": self.because or None,
        }


def compare_table(
    before: Rebuilt, after: Rebuilt, desk: Desk, table: TableName, *, rows: bool
) -> TableDifference:
    """The difference of a table that both captures have, rows listed up to `MOST_ROWS` of each
    kind when they are wanted. `desk` is one of `before`."""
    one, other = before.shapes.tables[table], after.shapes.tables[table]
    pair = pair_of(one, other, sum(record.rows for record in before.records(table)))
    before.load(table)
    after.load(table)
    columns = (
        *(f"-{name}" for name in one.columns if name not in other.columns),
        *(f"+{name}" for name in other.columns if name not in one.columns),
    )
    if pair.key is None:
        removed, added = _as_wholes(desk, after, pair)
        return TableDifference(table.label, added, removed, None, columns)
    return _by_key(desk, after, pair, columns, rows=rows)


def _as_wholes(desk: Desk, after: Rebuilt, pair: Pair) -> tuple[int, int]:
    there = desk.fetch(after.session, pair, _NO_KEY, None)
    here = f"SELECT {digest_of('s', pair.columns)} FROM {pair.captured.relation} s"
    other = f"SELECT digest FROM {there}"
    return (
        desk.count(f"SELECT count(*) FROM ({here} EXCEPT ALL {other}) gone"),
        desk.count(f"SELECT count(*) FROM ({other} EXCEPT ALL {here}) new"),
    )


def _by_key(
    desk: Desk, after: Rebuilt, pair: Pair, columns: tuple[str, ...], *, rows: bool
) -> TableDifference:
    key = pair.rows_key
    there = desk.fetch(after.session, pair, key, None)
    same = equal("s", key.columns, key.operators, "l")
    digest = digest_of("s", pair.columns)
    relation = pair.captured.relation
    gone = f"FROM {relation} s WHERE NOT EXISTS (SELECT FROM {there} l WHERE {same})"
    new = f"FROM {there} l WHERE NOT EXISTS (SELECT FROM {relation} s WHERE {same})"
    other = f"FROM {relation} s JOIN {there} l ON {same} WHERE l.digest <> {digest}"
    removed, added, changed = (desk.count(f"SELECT count(*) {one}") for one in (gone, new, other))
    listed: list[RowChange] = []
    if rows:
        own = [f"s.{quote_name(one)}" for one in key.columns]
        listed += _keys(desk, pair, "removed", own, gone)
        listed += _keys(desk, pair, "added", [f"l.k{n}" for n, _ in enumerate(own, 1)], new)
        listed += _changes(desk, after, pair, other)
    return TableDifference(pair.label, added, removed, changed, columns, tuple(listed))


def _keys(
    desk: Desk, pair: Pair, what: str, names: Sequence[str], query: str
) -> Iterator[RowChange]:
    """The first keys that a query gives, by the names that they have in it."""
    listed = ", ".join(f"{one}::text" for one in names)
    found = desk.rows(f"SELECT {listed} {query} ORDER BY {', '.join(names)} LIMIT {MOST_ROWS}")
    for row in found:
        yield RowChange(what, dict(zip(pair.rows_key.columns, row, strict=True)), {})


def _changes(desk: Desk, after: Rebuilt, pair: Pair, query: str) -> Iterator[RowChange]:
    key = pair.rows_key
    names = [f"s.{quote_name(one)}" for one in key.columns]
    values = ", ".join(f"s.{quote_name(one)}::text" for one in pair.columns)
    keys = ", ".join(f"{one}::text" for one in names)
    found = desk.rows(
        f"SELECT {keys}, {values} {query} ORDER BY {', '.join(names)} LIMIT {MOST_ROWS}"
    )
    width = len(key.columns)
    others = ", ".join(f"t.{quote_name(one)}::text" for one in pair.columns)
    asked = with_values(f"SELECT {others} FROM {given(pair.live, key)} ORDER BY w.place", width)
    for begin in range(0, len(found), _BATCH):
        batch = found[begin : begin + _BATCH]
        now = after.session.execute(asked, columns_of([row[:width] for row in batch])).fetchall()
        for row, seen in zip(batch, now, strict=True):
            yield _change(pair, row[:width], row[width:], seen)


def _change(
    pair: Pair,
    key: Sequence[str],
    before: Sequence[str | None],
    after: Sequence[str | None],
) -> RowChange:
    columns = {
        name: (one, other)
        for name, one, other in zip(pair.columns, before, after, strict=True)
        if one != other
    }
    return RowChange("changed", dict(zip(pair.rows_key.columns, key, strict=True)), columns)
