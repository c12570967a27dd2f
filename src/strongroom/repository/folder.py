"""A directory tree that exists only in a snapshot, such as a database's dump files."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace

from strongroom.repository.file_reading import Content
from strongroom.repository.tree import Node
from strongroom.repository.writer import SnapshotWriter


class Folder:
    """Collects files and directories by path and stores them as trees.

    Directories on the way are made with mode 0700 and the given time, unless they were put
    themselves. Adding is safe from several threads.
    """

    def __init__(self, mtime_ns: int) -> None:
        self._mtime_ns = mtime_ns
        self._nodes: dict[tuple[bytes, ...], Node] = {}
        self._guard = threading.Lock()

    def add(
        self, path: bytes, content: Content, *, mode: int = 0o600, mtime_ns: int | None = None
    ) -> None:
        """Put a file at a path relative to the folder, e.g. `data/public.users.copy`."""
        time_ns = self._mtime_ns if mtime_ns is None else mtime_ns
        node = self._made(path, "file", stat.S_IFREG | mode, time_ns)
        node.content, node.size, node.links = content.blobs, content.size, 1
        self.add_node(path, node)

    def add_node(self, path: bytes, node: Node) -> None:
        """Put a node as it is at a path; a directory keeps its subtree unless things lie in it."""
        parts = tuple(part for part in path.split(b"/") if part)
        with self._guard:
            self._nodes[parts] = replace(node, name=parts[-1])

    def store(self, writer: SnapshotWriter) -> str:
        """Store all directories; returns the id of the root in hex."""
        with self._guard:
            children: dict[tuple[bytes, ...], dict[bytes, Node]] = {(): {}}
            for parts, node in self._nodes.items():
                for depth in range(len(parts) - 1):
                    above, name = parts[:depth], parts[depth]
                    if name not in children.setdefault(above, {}):
                        children[above][name] = self._nodes.get(parts[: depth + 1]) or self._made(
                            name, "dir", stat.S_IFDIR | 0o700, self._mtime_ns
                        )
                children.setdefault(parts[:-1], {})[parts[-1]] = node
            for parts in sorted(children, key=len, reverse=True):
                tree = writer.put_folder(children[parts].values())
                if parts:
                    children[parts[:-1]][parts[-1]].subtree = tree
        return tree

    def _made(self, path: bytes, node_type: str, mode: int, time_ns: int) -> Node:
        return Node(
            path.rpartition(b"/")[2],
            node_type,
            mode,
            mtime_ns=time_ns,
            ctime_ns=time_ns,
            uid=os.getuid(),
            gid=os.getgid(),
        )
