"""Diff of two captures of databases, table by table: rows added, removed, changed by key.

A table whose stored pieces are the same in both has the same rows, and is not looked at. The others
come back into a sandbox of each capture, where PostgreSQL compares them; where none differs, there
is no sandbox.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from strongroom.errors import ConfigError
from strongroom.repository import Snapshot, SnapshotView
from strongroom.service.application import Application
from strongroom.service.leftover import sandbox
from strongroom.sources.database import DatabaseSource

if TYPE_CHECKING:
    from strongroom.postgres.manifest import TableRecord
    from strongroom.postgres.rebuilt import Rebuilt
    from strongroom.postgres.table_difference import TableDifference
    from strongroom.postgres.table_shape import TableName

__all__ = ["are_databases", "compare_tables"]


def are_databases(*snapshots: Snapshot) -> bool:
    """Whether all of them are captures of databases."""
    return all(one.kind == "postgres" for one in snapshots)


def compare_tables(
    application: Application,
    before: SnapshotView,
    after: SnapshotView,
    wanted: Sequence[str],
    *,
    rows: bool,
) -> tuple[TableDifference, ...]:
    """Tables whose rows or columns are not the same, in the order of their names; of the `wanted`
    ones only, if any are. ConfigError `usage` for a name that neither capture has."""
    sides = [(_source(application, one), one) for one in (before, after)]
    contents = [_contents(source, view) for source, view in sides]
    differing = {
        label
        for label in contents[0].keys() | contents[1].keys()
        if contents[0].get(label) != contents[1].get(label)
    }
    if wanted:
        _refuse_unknown(wanted, [*contents[0].keys() | contents[1].keys()], sides)
    if not differing:
        return ()
    with ExitStack() as stack:
        rebuilt = []
        for source, view in sides:
            folder = stack.enter_context(sandbox(application))
            rebuilt.append(stack.enter_context(source.rebuilt(view, folder)))
        return tuple(_differences(rebuilt[0], rebuilt[1], differing, wanted, rows=rows))


def _source(application: Application, view: SnapshotView) -> DatabaseSource:
    """The snapshot's source, or one of its name where the configuration has it no more."""
    name = view.snapshot.source or ""
    if name in application.settings.sources:
        source = application.source(name)
        if isinstance(source, DatabaseSource):
            return source
    return DatabaseSource(name, "")


# Columns belong to it: the same bytes mean other rows when the columns are others.
def _contents(source: DatabaseSource, view: SnapshotView) -> Mapping[str, object]:
    return {
        one.label: (one.columns, source.content(view, one)) for one in source.manifest(view).tables
    }


def _refuse_unknown(
    wanted: Sequence[str],
    labels: Sequence[str],
    sides: Sequence[tuple[DatabaseSource, SnapshotView]],
) -> None:
    known = {*labels}
    for source, view in sides:
        known |= {".".join(one.root) for one in source.manifest(view).tables if one.root}
        known |= source.partitioned(view)
    names = known | {one.rpartition(".")[2] for one in known}
    for one in wanted:
        if one not in names:
            near = difflib.get_close_matches(one, names)
            raise ConfigError(
                f"neither snapshot has a table {one}",
                subject="--table",
                code="usage",
                hint=f"Did you mean {near[0]}?" if near else "Name it as schema.table.",
            )


def _differences(
    before: Rebuilt,
    after: Rebuilt,
    differing: set[str],
    wanted: Sequence[str],
    *,
    rows: bool,
) -> Iterator[TableDifference]:
    from strongroom.postgres.row_comparison import Desk
    from strongroom.postgres.table_difference import TableDifference, compare_table

    desk = Desk(before.session)
    yield from _unmade(before, after, differing, wanted)
    for table in sorted(_tables(before, differing) | _tables(after, differing)):
        if wanted and table.label not in wanted and table.name not in wanted:
            continue
        if any(side.why_unmade(table) for side in (before, after)):
            continue
        if before.has_rows(table) and after.has_rows(table):
            found = compare_table(before, after, desk, table, rows=rows)
        else:
            there = [sum(one.rows for one in side.records(table)) for side in (before, after)]
            found = TableDifference(table.label, there[1], there[0], 0)
        if not found.is_empty:
            yield found


def _unmade(
    before: Rebuilt, after: Rebuilt, differing: set[str], wanted: Sequence[str]
) -> Iterator[TableDifference]:
    """Tables that a sandbox lacks something for: nobody knows what happened in them."""
    from strongroom.postgres.table_difference import TableDifference
    from strongroom.postgres.table_shape import TableName

    for label in sorted(differing):
        for side in (before, after):
            names = [
                TableName(one.schema, one.name)
                for one in side.manifest.tables
                if one.label == label
            ]
            reason = next(filter(None, map(side.why_unmade, names)), "")
            if reason and (not wanted or {label, names[0].name} & {*wanted}):
                yield TableDifference(label, None, None, None, because=reason)
                break


def _tables(rebuilt: Rebuilt, differing: set[str]) -> set[TableName]:
    """The tables that these streams belong to: for a partition, the one that it is of."""
    from strongroom.postgres.table_shape import TableName

    def name(one: TableRecord) -> TableName:
        return TableName(one.schema, one.name)

    found = {name(one) for one in rebuilt.manifest.tables if one.label in differing}
    found = {rebuilt.shapes.roots.get(one, one) for one in found}
    return {one for one in found if one in rebuilt.shapes.tables}
