"""What a damage touches: the snapshots that need what is damaged, and their paths.

Walked only when something is damaged, and each directory once, however many snapshots share it.
What is found in one of them is then told for all: from the directory up to every root that leads
to it. Counts are exact; paths are listed up to a bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strongroom.errors import IntegrityError
from strongroom.repository.snapshot import Snapshot
from strongroom.repository.tree import Node

# Paths that are listed: of one damage, and of all together.
MOST_OF_ONE: Final = 1_000
MOST_OF_ALL: Final = 50_000
_SHOWN: Final = 3


@dataclass(slots=True)
class Marks:
    """What is damaged, each with the caller's keys for it: directories by their ids, entries by
    their directory and name, blobs of files by their ids."""

    trees: dict[str, set[int]] = field(default_factory=dict)
    entries: dict[tuple[str, bytes], set[int]] = field(default_factory=dict)
    blobs: dict[bytes, set[int]] = field(default_factory=dict)

    def tree(self, tree: str, *keys: int) -> None:
        self.trees.setdefault(tree, set()).update(keys)

    def entry(self, tree: str, name: bytes, *keys: int) -> None:
        self.entries.setdefault((tree, name), set()).update(keys)

    def blob(self, blob_id: bytes, *keys: int) -> None:
        self.blobs.setdefault(blob_id, set()).update(keys)

    @property
    def is_empty(self) -> bool:
        return not (self.trees or self.entries or self.blobs)


@dataclass(frozen=True, slots=True)
class Touched:
    """How many paths a damage touches, in which snapshots (ids), and the first `id:/path`s."""

    count: int = 0
    snapshots: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.count:
            return "touches no snapshot"
        what = _counted(self.count, "path"), _counted(len(self.snapshots), "snapshot")
        more = ", …" if self.count > _SHOWN else ""
        return f"touches {what[0]} of {what[1]}: {', '.join(self.paths[:_SHOWN])}{more}"

    def as_json(self, most: int = MOST_OF_ONE) -> dict[str, Any]:  # Any: JSON values
        """`limit` says how many paths are listed at most; `count` how many there are."""
        return {
            "count": self.count,
            "snapshots": list(self.snapshots[:most]),
            "paths": list(self.paths[:most]),
            "limit": most,
        }


def touched_by(
    read_tree: Callable[[str], list[Node]], snapshots: Sequence[Snapshot], marks: Marks
) -> dict[int, Touched]:
    """What each key of the marks touches; keys that touch nothing are left out.

    What is no directory, as `read_tree` says with an IntegrityError, ends the way down there.
    """
    walk = _Walk(read_tree, marks)
    for number, snapshot in enumerate(snapshots):
        walk.add(number, snapshot.tree)
    left = MOST_OF_ALL
    found: dict[int, Touched] = {}
    for key, hits in sorted(walk.hits.items()):
        count = members = 0
        for tree, names in hits.items():
            ways, reached = walk.ways(tree)
            count += ways * len(names)
            members |= reached
        pairs = sorted(itertools.islice(walk.paths(hits), min(left, MOST_OF_ONE)))
        left -= len(pairs)
        found[key] = Touched(
            count,
            tuple(one.id for number, one in enumerate(snapshots) if members >> number & 1),
            tuple(f"{snapshots[number].short_id}:{path_text(path)}" for number, path in pairs),
        )
    return found


class _Walk:
    """All directories below some roots: which of them lead to a mark, and from where."""

    def __init__(self, read_tree: Callable[[str], list[Node]], marks: Marks) -> None:
        self._read_tree, self._marks = read_tree, marks
        self._leads: dict[str, bool] = {}
        self._above: dict[str, list[tuple[str, bytes]]] = {}
        self._roots: dict[str, list[int]] = {}
        self._ways: dict[str, tuple[int, int]] = {}
        self.hits: dict[int, dict[str, list[bytes]]] = {}

    def add(self, number: int, root: str) -> None:
        """Walk what is below the root of the snapshot with this number."""
        self._roots.setdefault(root, []).append(number)
        if root in self._leads:
            return
        frames = [self._frame(root)]
        while frames:
            tree, inner, left = frames[-1]
            if left:
                subtree = left.pop()[1]
                if subtree not in self._leads:
                    frames.append(self._frame(subtree))
                continue
            frames.pop()
            leading = [(name, subtree) for name, subtree in inner if self._leads[subtree]]
            for name, subtree in leading:
                self._above.setdefault(subtree, []).append((tree, name))
            self._leads[tree] = bool(leading) or self._leads[tree]

    def _frame(self, tree: str) -> tuple[str, list[tuple[bytes, str]], list[tuple[bytes, str]]]:
        """A directory, those in it, and those of them that are still to be walked."""
        keys = self._marks.trees.get(tree, set())
        self._hit(tree, b"", keys)
        self._leads[tree] = bool(keys)
        inner = []
        for node in self._nodes(tree):
            if node.subtree is not None:
                inner.append((node.name, node.subtree))
            keys = set(self._marks.entries.get((tree, node.name), ()))
            for blob_id in node.content:
                keys |= self._marks.blobs.get(blob_id, set())
            if keys:
                self._hit(tree, node.name, keys)
                self._leads[tree] = True
        return tree, inner, list(inner)

    def _nodes(self, tree: str) -> list[Node]:
        try:
            return self._read_tree(tree)
        except IntegrityError:
            return []

    def _hit(self, tree: str, name: bytes, keys: set[int]) -> None:
        for key in keys:
            self.hits.setdefault(key, {}).setdefault(tree, []).append(name)

    def ways(self, tree: str) -> tuple[int, int]:
        """How many paths of all snapshots lead to a directory, and from which snapshots: each
        stands for the bit of its number."""
        waiting = [tree]
        while waiting:
            one = waiting[-1]
            above = self._above.get(one, ())
            unknown = [outer for outer, _ in above if outer not in self._ways]
            if unknown:
                waiting += unknown
                continue
            waiting.pop()
            numbers = self._roots.get(one, ())
            count, members = len(numbers), sum(1 << number for number in numbers)
            for outer, _ in above:
                count += self._ways[outer][0]
                members |= self._ways[outer][1]
            self._ways[one] = (count, members)
        return self._ways[tree]

    def paths(self, hits: Mapping[str, Sequence[bytes]]) -> Iterator[tuple[int, bytes]]:
        """Each path to these entries, with its snapshot's number; directories end in a slash."""
        for tree, names in hits.items():
            for name in names:
                waiting = [(tree, name)]
                while waiting:
                    inner, below = waiting.pop()
                    for number in self._roots.get(inner, ()):
                        yield number, b"/" + below
                    for outer, outer_name in self._above.get(inner, ()):
                        waiting.append((outer, outer_name + b"/" + below))


def path_text(path: bytes) -> str:
    """A path for people and JSON: bytes that are no UTF-8 are escaped."""
    return path.decode("utf-8", "backslashreplace")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
