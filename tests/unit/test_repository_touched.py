"""What a damage touches: all snapshots that share it, exact counts, bounded lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from strongroom.errors import IntegrityError, StorageError
from strongroom.repository import Node, Snapshot
from strongroom.repository.touched import MOST_OF_ONE, Marks, Touched, touched_by

BLOB = b"b" * 32


class Trees:
    """Directories by made-up ids; counts how often each is read."""

    def __init__(self, trees: Mapping[str, Mapping[str, str | bytes | None]]) -> None:
        self._trees = trees
        self.read: list[str] = []

    def __call__(self, tree: str) -> list[Node]:
        self.read.append(tree)
        if tree not in self._trees:
            raise IntegrityError("lost")
        return [_node(name, inner) for name, inner in self._trees[tree].items()]


def _node(name: str, inner: str | bytes | None) -> Node:
    if isinstance(inner, str):
        return Node(name.encode(), "dir", 0o40755, subtree=inner)
    return Node(name.encode(), "file", 0o100644, content=(inner,) if inner else ())


def snapshots(*roots: str) -> list[Snapshot]:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return [Snapshot(f"{n}" * 64, at, root, ("/",)) for n, root in enumerate(roots, 1)]


def marks_of(
    *, trees: Mapping[str, int] | None = None, blobs: Mapping[bytes, int] | None = None
) -> Marks:
    marks = Marks()
    for tree, key in (trees or {}).items():
        marks.tree(tree, key)
    for blob, key in (blobs or {}).items():
        marks.blob(blob, key)
    return marks


def test_a_directory_that_snapshots_share_is_told_for_each_and_read_once() -> None:
    trees = Trees(
        {
            "one": {"etc": "shared", "new": None},
            "two": {"etc": "shared", "usr": "sound"},
            "three": {"usr": "sound"},
            "shared": {"bad": BLOB, "good": None},
            "sound": {"good": None},
        }
    )
    found = touched_by(trees, snapshots("one", "two", "three"), marks_of(blobs={BLOB: 7}))
    assert found == {
        7: Touched(2, ("1" * 64, "2" * 64), ("11111111:/etc/bad", "22222222:/etc/bad"))
    }
    assert sorted(trees.read) == ["one", "shared", "sound", "three", "two"]


def test_of_a_lost_directory_the_directory_is_told() -> None:
    trees = Trees({"root": {"a": "lost", "b": "lost", "c": None}})
    found = touched_by(trees, snapshots("root", "lost"), marks_of(trees={"lost": 0}))
    assert found[0].count == 3
    assert found[0].paths == ("11111111:/a/", "11111111:/b/", "22222222:/")


def test_a_file_counts_once_for_a_damage_however_many_of_its_blobs_it_hit() -> None:
    other = b"c" * 32
    nodes = [Node(b"file", "file", 0o100644, content=(BLOB, other, BLOB))]
    marks = marks_of(blobs={BLOB: 1, other: 1})
    found = touched_by(lambda _: nodes, snapshots("root"), marks)
    assert (found[1].count, found[1].paths) == (1, ("11111111:/file",))


def test_an_entry_is_told_apart_from_one_of_the_same_name_elsewhere() -> None:
    trees = Trees({"root": {"a": "left", "b": "right"}, "left": {"x": None}, "right": {"x": None}})
    marks = Marks()
    marks.entry("left", b"x", 3)
    found = touched_by(trees, snapshots("root"), marks)
    assert found == {3: Touched(1, ("1" * 64,), ("11111111:/a/x",))}


def test_more_ways_than_anybody_can_list_are_counted() -> None:
    """Forty directories, each twice in the one above: a million million paths."""
    depth = 40
    inner: dict[str, dict[str, str | bytes | None]] = {
        f"{n}": {"a": f"{n + 1}", "b": f"{n + 1}"} for n in range(depth)
    }
    trees = Trees({**inner, f"{depth}": {"bad": BLOB}})
    found = touched_by(trees, snapshots("0"), marks_of(blobs={BLOB: 0}))
    assert found[0].count == 2**depth
    assert len(found[0].paths) == MOST_OF_ONE
    assert len(trees.read) == depth + 1
    told = found[0].as_json(5)
    assert (told["count"], told["limit"], len(told["paths"])) == (2**depth, 5, 5)


def test_a_path_as_deep_as_a_file_system_allows() -> None:
    depth = 2_000
    inner: dict[str, dict[str, str | bytes | None]] = {
        f"{n}": {"d": f"{n + 1}"} for n in range(depth)
    }
    trees = Trees({**inner, f"{depth}": {"bad": BLOB}})
    found = touched_by(trees, snapshots("0"), marks_of(blobs={BLOB: 0}))
    assert found[0].paths == (f"11111111:/{'d/' * depth}bad",)


def test_a_store_that_fails_is_no_answer() -> None:
    def fail(_: str) -> list[Node]:
        raise StorageError("away")

    with pytest.raises(StorageError):
        touched_by(fail, snapshots("root"), marks_of(blobs={BLOB: 0}))


def test_what_it_says_to_people() -> None:
    paths = tuple(f"11111111:/{name}" for name in "abcd")
    assert str(Touched()) == "touches no snapshot"
    assert str(Touched(1, ("1" * 64,), paths[:1])) == "touches 1 path of 1 snapshot: 11111111:/a"
    assert str(Touched(1204, ("1", "2"), paths)) == (
        "touches 1,204 paths of 2 snapshots: 11111111:/a, 11111111:/b, 11111111:/c, …"
    )
