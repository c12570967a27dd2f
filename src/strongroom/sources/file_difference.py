"""What a restore of files would create, change and take away, as far as names and metadata tell.

Contents are read only where that is asked for; then they are cut at the recorded blob lengths and
hashed, as the proof does it. Extended attributes and hard links are left to the proof.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

from strongroom.repository import BlobType, Node, SnapshotView
from strongroom.repository.reuse import ExistingTrees
from strongroom.repository.tree import NODE_TYPES
from strongroom.sources.difference import Differences, Tally

__all__ = ["tree_differences"]

_BY_METADATA = "names, types, sizes, times, modes and owners"
_BY_CONTENT = f"{_BY_METADATA}, and contents"


def tree_differences(
    view: SnapshotView,
    root: bytes,
    target: Path,
    *,
    include: Callable[[bytes], bool] | None = None,
    with_contents: bool = False,
) -> Differences:
    """The directory `root` of a snapshot against what is in `target`; nothing is there where there
    is no such directory. With `include`, only files that it chooses count, and nothing is taken
    away."""
    comparison = _Comparison(view, target, include, with_contents=with_contents)
    comparison.run(view.node(root))
    return comparison.differences()


class _Comparison:
    def __init__(
        self,
        view: SnapshotView,
        target: Path,
        include: Callable[[bytes], bool] | None,
        *,
        with_contents: bool,
    ) -> None:
        self._view, self._include = view, include
        self._target = os.fsencode(target.absolute())
        self._trees = ExistingTrees([target]) if with_contents else None
        self._is_root = os.geteuid() == 0
        self._created, self._changed, self._deleted = Tally(), Tally(), Tally()
        self._same = 0

    def differences(self) -> Differences:
        return Differences(
            _BY_METADATA if self._trees is None else _BY_CONTENT,
            self._created.group(),
            self._changed.group(),
            self._deleted.group(),
            self._same,
        )

    def run(self, top: Node) -> None:
        assert top.subtree is not None
        stack = [(b"", top.subtree, True)]
        while stack:
            prefix, tree, is_there = stack.pop()
            there = self._listed(prefix) if is_there else {}
            below = []
            for node in self._view.repository.read_tree(tree):
                relative = prefix + node.name
                status = there.pop(node.name, None)
                if node.subtree is not None:
                    exists = status is not None and stat.S_ISDIR(status.st_mode)
                    below.append((relative + b"/", node.subtree, exists))
                    if self._include is not None:
                        continue
                elif self._include is not None and not self._include(relative):
                    continue
                self._compare(relative, node, status)
            stack += reversed(below)
            if self._include is None:
                for name, status in sorted(there.items()):
                    self._take_away(prefix + name, status)

    def _compare(self, relative: bytes, node: Node, status: os.stat_result | None) -> None:
        name = os.fsdecode(relative)
        if status is None:
            self._created.add(name, node.size)
        elif self._is_same(relative, node, status):
            self._same += 1
        else:
            self._changed.add(name, node.size)

    def _is_same(self, relative: bytes, node: Node, status: os.stat_result) -> bool:
        if NODE_TYPES.get(stat.S_IFMT(status.st_mode)) != node.type:
            return False
        if self._is_root and (status.st_uid, status.st_gid) != (node.uid, node.gid):
            return False
        if node.type == "dir":  # its time changes with every entry, which is told already
            return stat.S_IMODE(status.st_mode) == stat.S_IMODE(node.mode)
        if status.st_mtime_ns != node.mtime_ns:
            return False
        if node.type == "symlink":
            return self._link(relative) == (node.linktarget or b"")
        if stat.S_IMODE(status.st_mode) != stat.S_IMODE(node.mode):
            return False
        if node.type != "file":
            return status.st_rdev == node.device or node.type not in ("dev", "chardev")
        return status.st_size == node.size and self._holds(relative, node)

    def _holds(self, relative: bytes, node: Node) -> bool:
        if self._trees is None:
            return True
        locate = self._view.repository.locate
        lengths = [locate(BlobType.DATA, one).entry.size_bytes for one in node.content]
        offsets = list(itertools.accumulate(lengths, initial=0))
        found = sum(1 for _ in self._trees.pieces(relative, offsets, node.content))
        self._view.progress.advance(node.size, 1)
        return found == len(node.content)

    def _link(self, relative: bytes) -> bytes | None:
        try:
            return os.readlink(self._target + b"/" + relative)
        except OSError:
            return None

    def _take_away(self, relative: bytes, status: os.stat_result) -> None:
        self._deleted.add(os.fsdecode(relative), status.st_size if _is_file(status) else 0)
        if not stat.S_ISDIR(status.st_mode):
            return
        stack = [relative + b"/"]
        while stack:
            prefix = stack.pop()
            for name, inner in sorted(self._listed(prefix).items()):
                size = inner.st_size if _is_file(inner) else 0
                self._deleted.add(os.fsdecode(prefix + name), size)
                if stat.S_ISDIR(inner.st_mode):
                    stack.append(prefix + name + b"/")

    def _listed(self, prefix: bytes) -> dict[bytes, os.stat_result]:
        """What a directory of the target holds; nothing where it can't be read."""
        try:
            with os.scandir(os.path.join(self._target, prefix)) as entries:
                return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        except OSError:
            return {}


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)
