"""In which order rows can go into tables that refer to each other. Pure."""

from __future__ import annotations

from collections.abc import Collection

from strongroom.postgres.table_shape import ForeignKey, TableName

__all__ = ["in_order"]


def in_order(keys: Collection[ForeignKey], tables: Collection[TableName]) -> list[list[TableName]]:
    """The tables in groups: what a group refers to comes before it, and tables that refer to each
    other in a circle are one group. The same tables give the same order.

    Tarjan's algorithm: a group is complete once all that can be reached from it is.
    """
    parents = {
        table: sorted({one.parent for one in keys if one.child == table and one.parent in tables})
        for table in tables
    }
    number: dict[TableName, int] = {}
    lowest: dict[TableName, int] = {}
    stack: list[TableName] = []
    groups: list[list[TableName]] = []

    def visit(table: TableName) -> None:
        number[table] = lowest[table] = len(number)
        stack.append(table)
        for parent in parents[table]:
            if parent not in number:
                visit(parent)
                lowest[table] = min(lowest[table], lowest[parent])
            elif parent in stack:
                lowest[table] = min(lowest[table], number[parent])
        if lowest[table] == number[table]:
            place = stack.index(table)
            groups.append(sorted(stack[place:]))
            del stack[place:]

    for table in sorted(tables):
        if table not in number:
            visit(table)
    return groups
