"""Whether every file that a database refers to is among the captured files, and is what it says.

A path of the database is relative to the folder of the files, after the configured prefix. What it
leads to is looked for in a snapshot's tree or in a folder on disk. One that can't be looked for
(absolute, a URL, out of the folder) is told as unchecked: nobody knows where it leads.

Invariant: a SELECT that names everything wrong gives a few findings with counts, not one for each.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from strongroom.errors import StorageError
from strongroom.model import Finding, finding
from strongroom.postgres.references import Reference, UnansweredError
from strongroom.repository import Node, SnapshotView

__all__ = ["Comparison", "FilesInSnapshot", "FilesOnDisk", "compare_references", "find_orphans"]

_MOST_TOLD: Final = 20
_FIRST: Final = 10
_URL: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
_FOLDERS_HELD: Final = 500
_KEY_BYTES: Final = 12
_MOST_LINKS: Final = 8


class Found(Protocol):
    """A file that is there."""

    @property
    def size_bytes(self) -> int: ...

    def hash(self, name: str) -> str:
        """The hex digits of its content's `sha256` or `md5`."""
        ...


class Files(Protocol):
    """Where files are looked for; paths are relative to the source's folder."""

    def find(self, path: bytes) -> Found | str:
        """The file at a path, or why there is none: `missing`, `a directory` ..."""
        ...


@dataclass(slots=True)
class Comparison:
    """What came of one SELECT: rows looked at, findings, and which files were referred to."""

    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    referred: set[bytes] = field(default_factory=set)


def compare_references(
    rows: Iterable[Reference],
    files: Files,
    *,
    subject: str,
    prefix: str = "",
    missing: str = "reference-missing",
    unchecked: str = "reference-unchecked",
) -> Comparison:
    """Look every row's file up; `subject` says whose references they are, for the counts.

    `missing` and `unchecked` are the codes for a file that is not there, and for what could not be
    asked or looked for. Errors in reading the files pass through.
    """
    result, told = Comparison(), _Told(subject, unchecked)
    begin = prefix.encode()
    try:
        for row in rows:
            path = _relative(row.path, begin)
            if path is None:
                told.unchecked.add(row.path)
                continue
            result.checked += 1
            result.referred.add(_key(path))
            found = files.find(path)
            if isinstance(found, str):
                told.add(missing, path, f"a row refers to it: {found}")
            elif difference := _difference(row, found):
                told.add("reference-differs", path, difference)
    except UnansweredError as error:
        result.complete = False
        result.findings.append(finding(unchecked, subject, str(error)))
    result.findings += told.findings(bool(prefix))
    result.complete = result.complete and not told.unchecked.count
    return result


def find_orphans(
    view: SnapshotView, root: bytes, referred: set[bytes], source: str
) -> Iterator[Finding]:
    """A note when files of a snapshot are in no row: how many, and the first of them."""
    orphans = _Some()
    for path, node in view.walk(root):
        if node.type == "file":
            inner = path[len(root.rstrip(b"/")) + 1 :]
            if _key(inner) not in referred:
                orphans.add(inner)
    if orphans.count:
        message = f"no row refers to {orphans.count} files: {orphans.first}"
        yield finding("file-orphaned", source, message)


def _key(path: bytes) -> bytes:
    # Of millions of paths, a digest of each is held.
    return hashlib.blake2b(path, digest_size=_KEY_BYTES).digest()


def _relative(path: bytes, prefix: bytes) -> bytes | None:
    """The path below the files' folder; None when it leads nowhere that can be looked for."""
    if not path.startswith(prefix):
        return None
    rest = path[len(prefix) :]
    if prefix:
        rest = rest.lstrip(b"/")
    if rest.startswith(b"/") or _URL.match(rest) or b"\0" in rest:
        return None
    parts = [one for one in rest.split(b"/") if one not in (b"", b".")]
    return b"/".join(parts) if parts and b".." not in parts else None


def _difference(row: Reference, found: Found) -> str:
    """What the row says of the file and is not so; empty when all is as it says."""
    if row.size_bytes is not None and row.size_bytes != found.size_bytes:
        return f"its row says {row.size_bytes} bytes, it has {found.size_bytes}"
    for name, expected in (("sha256", row.sha256), ("md5", row.md5)):
        if expected is not None and (observed := found.hash(name)) != expected:
            return f"its row says {name} {expected}, it has {observed}"
    return ""


@dataclass(slots=True)
class _Some:
    """How many there are, and the first few."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: bytes) -> None:
        self.count += 1
        if len(self.names) < _FIRST:
            self.names.append(_text(path))

    @property
    def first(self) -> str:
        more = f" and {self.count - len(self.names)} more" if self.count > len(self.names) else ""
        return ", ".join(self.names) + more


class _Told:
    """Findings of one SELECT: the first of each code one by one, the others as a count."""

    def __init__(self, subject: str, unchecked: str) -> None:
        self.unchecked = _Some()
        self._code = unchecked
        self._subject = subject
        self._counts: dict[str, int] = {}
        self._findings: list[Finding] = []

    def add(self, code: str, path: bytes, message: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        if self._counts[code] <= _MOST_TOLD:
            self._findings.append(finding(code, _text(path), message))

    def findings(self, has_prefix: bool) -> Iterator[Finding]:
        yield from self._findings
        for code, count in self._counts.items():
            if count > _MOST_TOLD:
                message = f"{count} in all, of which the first {_MOST_TOLD} are named"
                yield finding(code, self._subject, message)
        if self.unchecked.count:
            why = "do not begin with `prefix:`, or lead out of the files' folder after it"
            if not has_prefix:
                why = "are absolute, URLs or lead out of the files' folder: see `prefix:`"
            message = f"{self.unchecked.count} paths {why}: {self.unchecked.first}"
            yield finding(self._code, self._subject, message)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


# Where files are looked for


class FilesInSnapshot:
    """The tree of a files snapshot below the captured folder."""

    def __init__(self, view: SnapshotView, root: bytes) -> None:
        self._view = view
        self._tree = view.node(root).subtree
        self._root = root.rstrip(b"/")
        self._folders: OrderedDict[str, dict[bytes, Node]] = OrderedDict()
        if self._tree is None:
            raise StorageError(f"{_text(root)} is no directory", code="path-missing")

    def find(self, path: bytes) -> Found | str:
        for _ in range(_MOST_LINKS):
            parts = path.split(b"/")
            node, depth = self._walk(parts)
            if node is None:
                return "it is not in the snapshot"
            if node.type == "file":
                return _StoredFile(self._view, self._root + b"/" + path, node)
            if node.type != "symlink":
                return f"in the snapshot it is a {node.type}"
            followed = self._follow(parts[:depth], node.linktarget or b"", parts[depth + 1 :])
            if followed is None:
                return "a symbolic link leads out of what is captured"
            path = followed
        return "it lies behind too many symbolic links"

    def _walk(self, parts: Sequence[bytes]) -> tuple[Node | None, int]:
        """The node at a path, or the first link on the way to it, and how deep it lies."""
        tree, node = self._tree, None
        for depth, part in enumerate(parts):
            node = self._children(tree).get(part) if tree is not None else None
            if node is None or node.type == "symlink":
                return node, depth
            tree = node.subtree
        return node, len(parts)

    def _follow(
        self, folder: Sequence[bytes], target: bytes, rest: Sequence[bytes]
    ) -> bytes | None:
        """The path that a link in `folder` leads to; None outside of the captured folder."""
        base = self._root + b"/" + b"".join(one + b"/" for one in folder)
        whole = os.path.normpath(os.path.join(base, target, *rest))
        inside = whole.startswith(self._root + b"/")
        return whole[len(self._root) + 1 :] if inside else None

    def _children(self, tree: str) -> dict[bytes, Node]:
        if tree not in self._folders:
            nodes = self._view.repository.read_tree(tree)
            self._folders[tree] = {one.name: one for one in nodes}
            if len(self._folders) > _FOLDERS_HELD:
                self._folders.popitem(last=False)
        self._folders.move_to_end(tree)
        return self._folders[tree]


@dataclass(frozen=True, slots=True)
class _StoredFile:
    view: SnapshotView
    path: bytes
    node: Node

    @property
    def size_bytes(self) -> int:
        return self.node.size

    def hash(self, name: str) -> str:
        if name == "sha256" and len(self.node.content) == 1:
            # A blob's name is that of its bytes, and a restore of the same snapshot verifies it.
            return self.node.content[0].hex()
        digest = hashlib.new(name, usedforsecurity=False)
        for block in self.view.blocks(self.path, workers=1):
            digest.update(block)
        return digest.hexdigest()


class FilesOnDisk:
    """A folder as it is now."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fsencode(folder)

    def find(self, path: bytes) -> Found | str:
        whole = os.path.join(self._folder, path)
        try:
            status = os.stat(whole)
        except OSError as error:
            return f"on disk: {os.strerror(error.errno or 0)}"
        if not stat.S_ISREG(status.st_mode):
            return "on disk it is no file"
        return _FileOnDisk(whole, status.st_size)


@dataclass(frozen=True, slots=True)
class _FileOnDisk:
    path: bytes
    size_bytes: int

    def hash(self, name: str) -> str:
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, name).hexdigest()
