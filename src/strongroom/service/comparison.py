"""Diff: what two snapshots have in common and what not.

Content is the same when the lists of blob ids are: both name the SHA-256 of what they hold. Where
whole directories are the same tree, nothing below them is read. Nothing is restored for that; rows
of tables are compared by `table_comparison`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom.errors import EXIT_FINE, EXIT_UNKNOWN, ConfigError
from strongroom.repository import Node, SnapshotView
from strongroom.service.application import Application
from strongroom.service.listing import text
from strongroom.service.selection import find, reading
from strongroom.service.table_comparison import are_databases, compare_tables

if TYPE_CHECKING:
    from strongroom.postgres.table_difference import TableDifference

OWN_FOLDER = b"/.strongroom"  # metadata about the capture, not part of what was captured
ADDED, REMOVED, CHANGED, METADATA = "added", "removed", "changed", "metadata"


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that is not the same. `what` is added, removed, changed (content, type or link
    target) or metadata (mode, owner, time or attributes alone)."""

    what: str
    path: bytes
    before: Node | None
    after: Node | None

    @property
    def growth_bytes(self) -> int:
        return _size(self.after) - _size(self.before)


@dataclass(frozen=True, slots=True)
class DiffReport:
    """All differences, in the order of their paths; `tables` of databases by name, None where the
    snapshots are not both of databases, or their tables were not to be compared."""

    before: str
    after: str
    differences: tuple[Difference, ...]
    tables: tuple[TableDifference, ...] | None = None

    @property
    def exit_status(self) -> int:
        """UNKNOWN when a table could not be compared."""
        unknown = any(one.because for one in self.tables or ())
        return EXIT_UNKNOWN if unknown else EXIT_FINE

    def paths(self, what: str) -> list[str]:
        return [text(one.path) for one in self.differences if one.what == what]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "from": self.before,
            "to": self.after,
            **{what: self.paths(what) for what in (ADDED, REMOVED, CHANGED, METADATA)},
            "growth_bytes": sum(one.growth_bytes for one in self.differences),
            "tables": None if self.tables is None else [one.as_json() for one in self.tables],
        }


def diff(
    application: Application,
    before: str,
    after: str,
    *,
    tables: Sequence[str] = (),
    rows: bool = False,
    files_only: bool = False,
) -> DiffReport:
    """What changed from one snapshot to another, of the same source or not.

    Of two databases also which rows: of the named `tables`, or of all; `rows` lists them.
    """
    first, second = find(application, before), find(application, after)
    databases = are_databases(first.snapshot, second.snapshot)
    if (tables or rows) and not databases:
        raise ConfigError(
            "--table and --rows are for two snapshots of databases",
            code="usage",
            hint="Leave them out, or name two snapshots of a database.",
        )
    with reading(first) as old, reading(second) as new:
        trees = first.snapshot.tree, second.snapshot.tree
        differences = tuple(_compare(b"", trees[0], old, trees[1], new))
        compared: tuple[TableDifference, ...] | None = None
        if databases and not files_only:
            compared = compare_tables(application, old, new, tables, rows=rows)
    return DiffReport(first.snapshot.id, second.snapshot.id, differences, compared)


def _compare(
    path: bytes,
    old_tree: str | None,
    old: SnapshotView,
    new_tree: str | None,
    new: SnapshotView,
) -> Iterator[Difference]:
    """The differences below a path; a tree is None where that side has no directory."""
    if old_tree == new_tree:
        return
    before = {node.name: node for node in _nodes(old, old_tree)}
    after = {node.name: node for node in _nodes(new, new_tree)}
    for name in sorted(before.keys() | after.keys()):
        here = path + b"/" + name
        if here == OWN_FOLDER:
            continue
        one, other = before.get(name), after.get(name)
        what = _what(one, other)
        if what is not None:
            yield Difference(what, here, one, other)
        below = one.subtree if one else None, other.subtree if other else None
        if below != (None, None):
            yield from _compare(here, below[0], old, below[1], new)


def _nodes(view: SnapshotView, tree: str | None) -> list[Node]:
    return view.repository.read_tree(tree) if tree else []


def _what(before: Node | None, after: Node | None) -> str | None:
    if before is None:
        return ADDED
    if after is None:
        return REMOVED
    if _content(before) != _content(after):
        return CHANGED
    return METADATA if _metadata(before) != _metadata(after) else None


def _content(node: Node) -> tuple[object, ...]:
    return node.type, node.content, node.linktarget, node.device


def _metadata(node: Node) -> tuple[object, ...]:
    # A directory's own time changes with every entry, which is reported already.
    time = node.mtime_ns if node.type != "dir" else 0
    return node.mode, node.uid, node.gid, time, node.xattrs


def _size(node: Node | None) -> int:
    return node.size if node is not None else 0
