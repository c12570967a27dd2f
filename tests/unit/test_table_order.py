"""Which key tells rows apart, which table is meant, and what comes first."""

from __future__ import annotations

import pytest

from strongroom.errors import ConfigError
from strongroom.postgres.row_comparison import pair_of
from strongroom.postgres.table_order import in_order
from strongroom.postgres.table_shape import Column, ForeignKey, Key, Shape, Shapes, TableName
from strongroom.postgres.undelete import name_table


def table(name: str) -> TableName:
    schema, _, last = name.rpartition(".")
    return TableName(schema or "public", last)


def refers(child: str, parent: str) -> ForeignKey:
    words = ("a",), ("id",), ("=",), ("=",)
    return ForeignKey(f"{child}_{parent}", table(child), table(parent), *words)


@pytest.mark.parametrize(
    ("edges", "tables", "groups"),
    [
        ("", "b a", "a|b"),
        ("lines>invoices invoices>customers", "lines invoices customers",
         "customers|invoices|lines"),
        # Only what comes back counts: a parent that is there needs no place.
        ("lines>invoices invoices>customers", "lines customers", "customers|lines"),
        ("staff>staff", "staff", "staff"),
        ("a>b b>a c>a", "a b c", "a b|c"),
        ("a>b b>c c>a d>c c>e", "a b c d e", "e|a b c|d"),
        ("a>b a>b a>a", "a b", "b|a"),
    ],
)  # fmt: skip
def test_parents_come_first_and_circles_together(edges: str, tables: str, groups: str) -> None:
    keys = [refers(*one.split(">")) for one in edges.split()]
    found = in_order(keys, [table(one) for one in tables.split()])
    assert [[one.name for one in group] for group in found] == [
        part.split() for part in groups.split("|")
    ]
    again = in_order(keys[::-1], {table(one): 1 for one in reversed(tables.split())})
    assert again == found


def shape(columns: str, *keys: str, name: str = "public.t") -> Shape:
    """`id:integer total:numeric!` are columns, one that ends in ! is generated."""
    made = {}
    for one in columns.split():
        column, _, kind = one.partition(":")
        plain = kind.rstrip("!").replace("_", " ")
        made[column] = Column(
            column, plain, plain.partition("(")[0], True, kind.endswith("!"), False, False, False
        )
    found = tuple(Key(tuple(one.split()), ("=",) * len(one.split()), one) for one in keys)
    return Shape(table(name), False, made, found)


@pytest.mark.parametrize(
    ("captured", "live", "key", "columns", "retyped"),
    [
        (shape("id:integer a:text", "id"), shape("id:integer a:text", "id"), "id", "id a", ""),
        # The primary key of today goes first, if it was one then.
        (shape("id:integer u:uuid", "id", "u"), shape("id:integer u:uuid", "u", "id"), "u",
         "id u", ""),
        (shape("id:integer u:uuid", "id"), shape("id:integer u:uuid", "u", "id"), "id", "id u", ""),
        (shape("id:integer u:uuid", "id"), shape("id:integer u:uuid", "u"), None, "id u", ""),
        (shape("a:text"), shape("a:text"), None, "a", ""),
        (shape("a:integer b:integer", "a b"), shape("a:integer b:integer", "b a"), "b a", "a b",
         ""),
        # A wider number holds the same keys; another type does not.
        (shape("id:integer", "id"), shape("id:bigint", "id"), "id", "id", "id"),
        (shape("id:integer", "id"), shape("id:uuid", "id"), None, "id", "id"),
        (shape("id:integer", "id"), shape("id:numeric", "id"), None, "id", "id"),
        (shape("c:character_varying(5)", "c"), shape("c:text", "c"), "c", "c", "c"),
        # Dropped, added and generated columns are not compared.
        (shape("id:integer old:text g:integer! h:integer", "id"),
         shape("id:integer new:text g:integer! h:integer!", "id"), "id", "id", ""),
        (shape("id:integer old:text", "old"), shape("id:integer", "id"), None, "id", ""),
    ],
)  # fmt: skip
def test_rows_are_told_apart_by_what_is_a_key_on_both_sides(
    captured: Shape, live: Shape, key: str | None, columns: str, retyped: str
) -> None:
    pair = pair_of(captured, live, 0)
    assert pair.key == next((one for one in live.keys if one.index == key), None)
    assert pair.columns == tuple(columns.split())
    assert pair.retyped == tuple(retyped.split())


SHAPES = Shapes(
    {table(one): shape("id:integer", name=one) for one in ("public.a", "audit.a", "public.trail")},
    (),
    {TableName("public", "trail_2026"): TableName("public", "trail")},
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("trail", "public.trail"), ("public.a", "public.a"), ("audit.a", "audit.a")],
)
def test_a_table_is_named_as_far_as_it_takes(wanted: str, found: str) -> None:
    assert name_table(SHAPES, wanted, "here").label == found


@pytest.mark.parametrize(
    ("wanted", "said", "hint"),
    [
        ("a", "several tables are called so: public.a, audit.a", "schema.table"),
        ("trial", "the snapshot has no such table", "Did you mean trail?"),
        ("zzz", "the snapshot has no such table", "schema.table"),
        ("trail_2026", "it is a partition of public.trail", "--where"),
        ("public.trail_2026", "it is a partition of public.trail", "--where"),
    ],
)
def test_a_name_that_means_no_table_is_told(wanted: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        name_table(SHAPES, wanted, "the snapshot")
    assert caught.value.code == "usage"
    assert said in str(caught.value)
    assert hint in caught.value.hint
