"""Capturing a directory tree: the walk, and how files become content.

Two lanes keep hand-overs rare: files of usual size are read and stored by the batch, large ones
are read and cut by the walker while workers do the rest. A file whose size, times and inode are
those of the parent snapshot is not read; its node is taken over as it is.

The walk holds directories open and works relative to them without following links, so that a
directory swapped for a symbolic link meanwhile leads nowhere. What cannot be read, vanishes or
keeps changing is a finding, never silence. Capture only reads (invariant I7).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from strongroom.errors import IntegrityError, SourceError, StorageError
from strongroom.model import Finding, Progress, finding
from strongroom.repository import BlobType, Node, SnapshotView, SnapshotWriter
from strongroom.repository.encoding import FileRecords
from strongroom.repository.file_reading import (
    FileRecord,
    Problem,
    node_of,
    read_xattrs,
    unreadable,
)
from strongroom.repository.tree import NODE_TYPES, FormerNode, decode_former, holds_time
from strongroom.repository.writer import READ_TOGETHER_BYTES

_BATCH_FILES: Final = 200
# Directories that wait for their content, and what may lie in them together: a node takes about
# half a kilobyte.
_WAITING_DIRECTORIES: Final = 200
_WAITING_ENTRIES: Final = 20_000
_DEEPEST: Final = 400
# Of the system's 4096 for a whole path: below a target, files of such a directory can be made.
_LONGEST_PATH_BYTES: Final = 3072
_COUNT_EVERY: Final = 500
# A change in the same clock tick as the parent's reading would not show in the times.
_RACE_NS: Final = 1_000_000_000
# By so much a file's time may lag behind the clock.
_TICK_NS: Final = 20_000_000
_MOST_CHANGES: Final = 10
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Directory:
    """A directory that is being captured: its open descriptor and what is known of its entries."""

    descriptor: int
    path: bytes
    status: os.stat_result
    above: _Directory | None
    name: bytes
    nodes: dict[bytes, bytes] = field(default_factory=dict)
    pending: list[_Reading] = field(default_factory=list)
    entries: int = 0
    batched: bool = False  # a file of it lies in the batch that is not yet submitted


_FileBatch: TypeAlias = list[tuple[_Directory, bytes]]


@dataclass(slots=True)
class _Reading:
    """Files, of one directory or several, that are being read together."""

    batch: _FileBatch
    records: Future[FileRecords]
    taken: bool = False


@dataclass(slots=True)
class Changes:
    """How many files and directories have changed since a moment, and the first of their paths."""

    since_ns: int
    count: int = 0
    first: list[str] = field(default_factory=list)

    def see(self, path: bytes, status: os.stat_result) -> None:
        """Count it if its content, its attributes or what lies in it may have changed since."""
        latest = max(status.st_ctime_ns, status.st_mtime_ns)
        if latest < self.since_ns - _TICK_NS:
            return
        self.count += 1
        if len(self.first) < _MOST_CHANGES:
            self.first.append(path.decode("utf-8", "backslashreplace"))


@dataclass(slots=True)
class WalkResult:
    """The captured tree's id, the root's own node, and what was met."""

    root: Node
    files: int
    size_bytes: int
    findings: list[Finding]


class TreeWalk:
    """One capture of one directory tree; use `run` once."""

    def __init__(
        self,
        writer: SnapshotWriter,
        *,
        excluded: Callable[[bytes, bool], bool] | None,
        parent: SnapshotView | None,
        parent_path: bytes,
        progress: Progress,
        one_file_system: bool = False,
        changes: Changes | None = None,
    ) -> None:
        """`changes` is told of every file and directory that is captured."""
        self._changes = changes
        self._one_file_system = one_file_system
        self._writer = writer
        self._excluded = excluded
        self._parent = parent
        self._parent_path = parent_path
        self._progress = progress
        self._unchanged_before_ns = 0
        self._files = 0
        self._size_bytes = 0
        self._findings: list[Finding] = []
        self._batch: _FileBatch = []
        self._batch_bytes = 0
        self._skipped: list[int] = []
        self._walked: deque[_Directory] = deque()
        self._waiting_entries = 0
        self._descriptors: set[int] = set()
        self._guard = threading.Lock()
        self._root: Node | None = None

    def run(self, path: bytes) -> WalkResult:
        """Capture the tree at `path`; SourceError `path-unreadable` when there is none."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(
                os.strerror(error.errno or 0), subject=os.fsdecode(path), code="path-unreadable"
            ) from error
        self._descriptors.add(descriptor)
        directory = _Directory(descriptor, b"", os.fstat(descriptor), None, b"")
        try:
            self._examine_time(directory, b"", directory.status)
            if self._changes is not None:
                self._changes.see(b".", directory.status)
            self._walk(directory, self._parent_tree(), 0)
            self._finish_directories(keep=0)
            self._count_skipped()
        except BaseException:
            # Workers may still be reading from these directories.
            for directory in self._walked:
                wait([reading.records for reading in directory.pending])
            raise
        finally:
            for descriptor in self._descriptors:
                os.close(descriptor)
        assert self._root is not None
        self._findings.sort(key=lambda one: (one.subject, one.code))
        return WalkResult(self._root, self._files, self._size_bytes, self._findings)

    # The walk

    def _parent_tree(self) -> str | None:
        """The tree of the former capture; None when it cannot be read: then all is read anew."""
        if self._parent is None:
            return None
        time_ns = int(self._parent.snapshot.time.timestamp() * 1_000_000_000)
        self._unchanged_before_ns = time_ns - _RACE_NS
        try:
            return self._parent.node(self._parent_path).subtree
        except (IntegrityError, StorageError):
            return None

    def _walk(self, directory: _Directory, parent_tree: str | None, depth: int) -> None:
        known = self._known_nodes(parent_tree)
        names = self._names(directory)
        directory.entries = len(names)
        for name in names:
            try:
                status = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
            except OSError as error:
                self._unreadable(directory, name, error)
                continue
            is_directory = stat.S_ISDIR(status.st_mode)
            if self._excluded is not None and self._excluded(directory.path + name, is_directory):
                continue
            self._examine_time(directory, name, status)
            if self._changes is not None:
                self._changes.see(directory.path + name, status)
            former = known.get(name)
            if is_directory:
                subtree = former.subtree if former is not None else None
                self._descend(directory, name, subtree, depth)
            elif stat.S_ISREG(status.st_mode):
                self._take_file(directory, name, status, former)
            else:
                self._take_special(directory, name, status)
        self._walked.append(directory)
        self._waiting_entries += directory.entries
        many = len(self._walked) > _WAITING_DIRECTORIES
        if many or self._waiting_entries > _WAITING_ENTRIES:
            self._finish_directories(keep=len(self._walked) // 2)

    def _names(self, directory: _Directory) -> list[bytes]:
        try:
            return sorted(map(os.fsencode, os.listdir(directory.descriptor)))
        except OSError as error:
            self._unreadable(directory, b"", error)
            return []

    def _known_nodes(self, tree: str | None) -> dict[bytes, FormerNode]:
        if tree is None or self._parent is None:
            return {}
        try:
            content = self._parent.repository.read_blob(BlobType.TREE, bytes.fromhex(tree))
            return decode_former(content)
        except (IntegrityError, StorageError, ValueError):
            return {}  # the parent only spares reading, so without it everything is read

    def _descend(self, above: _Directory, name: bytes, parent_tree: str | None, depth: int) -> None:
        if depth >= _DEEPEST or len(above.path) + len(name) > _LONGEST_PATH_BYTES:
            self._note("file-unreadable", above, name, "directories are nested too deeply")
            return
        try:
            descriptor = os.open(name, _DIRECTORY_FLAGS, dir_fd=above.descriptor)
        except OSError as error:
            self._unreadable(above, name, error)
            return
        self._descriptors.add(descriptor)
        status = os.fstat(descriptor)
        inner = _Directory(descriptor, above.path + name + b"/", status, above, name)
        if self._one_file_system and status.st_dev != above.status.st_dev:
            self._walked.append(inner)  # the place where something is mounted, without that
            return
        self._walk(inner, parent_tree, depth + 1)

    def _finish_directories(self, keep: int) -> None:
        """Store walked directories, innermost first, until at most `keep` wait for content."""
        while len(self._walked) > keep:
            directory = self._walked.popleft()
            self._waiting_entries -= directory.entries
            if directory.batched:
                self._submit_batch()
            for reading in directory.pending:
                if not reading.taken:
                    reading.taken = True
                    self._take_records(reading.batch, reading.records.result())
            node = node_of(directory.name, "dir", directory.status)
            node.xattrs = self._xattrs(directory.descriptor, directory, b"")
            node.subtree = self._writer.put_tree(directory.nodes.items())
            self._descriptors.discard(directory.descriptor)
            os.close(directory.descriptor)
            if directory.above is None:
                self._root = node
            else:
                directory.above.nodes[directory.name] = node.encode()

    # Entries

    def _take_file(
        self,
        directory: _Directory,
        name: bytes,
        status: os.stat_result,
        former: FormerNode | None,
    ) -> None:
        self._files += 1
        if former is not None and self._is_unchanged(former, status):
            directory.nodes[name] = former.encoded
            self._skipped.append(status.st_size)
            if len(self._skipped) >= _COUNT_EVERY:
                self._count_skipped()
        elif status.st_size < READ_TOGETHER_BYTES:
            directory.batched = True
            self._batch.append((directory, name))
            self._batch_bytes += status.st_size
            if self._batch_bytes >= READ_TOGETHER_BYTES or len(self._batch) >= _BATCH_FILES:
                self._submit_batch()
        else:
            record = self._writer.read_large_file(directory.descriptor, name)
            self._take_record(directory, name, record)

    def _is_unchanged(self, former: FormerNode, status: os.stat_result) -> bool:
        if status.st_ctime_ns >= self._unchanged_before_ns:
            return False
        content = former.unchanged_content(status)
        return content is not None and self._writer.holds(content)

    def _submit_batch(self) -> None:
        batch, self._batch = self._batch, []
        cost, self._batch_bytes = self._batch_bytes, 0
        if not batch:
            return
        files = [(directory.descriptor, name) for directory, name in batch]
        reading = _Reading(batch, self._writer.read_files(files, cost_bytes=cost))
        for directory in {id(one[0]): one[0] for one in batch}.values():
            directory.batched = False
            directory.pending.append(reading)

    def _take_records(self, batch: _FileBatch, records: FileRecords) -> None:
        """Put the nodes of files that were read into their directories."""
        for (directory, name), record in zip(batch, records, strict=True):
            if record is None:
                record = self._writer.read_large_file(directory.descriptor, name)
            self._take_record(directory, name, record)

    def _take_record(self, directory: _Directory, name: bytes, record: FileRecord) -> None:
        for code, message in record.problems:
            self._note(code, directory, name, message)
        if record.node is not None:
            directory.nodes[name] = record.node
            self._count(record.size_bytes)

    def _take_special(self, directory: _Directory, name: bytes, status: os.stat_result) -> None:
        node_type = NODE_TYPES.get(stat.S_IFMT(status.st_mode))
        if node_type is None or node_type == "socket":
            self._note("file-skipped", directory, name, "a socket has no content to keep")
            return
        node = node_of(name, node_type, status)
        path = b"/proc/self/fd/%d/%s" % (directory.descriptor, name)
        if node_type == "symlink":
            try:
                node.linktarget = os.readlink(name, dir_fd=directory.descriptor)
            except OSError as error:
                if error.errno == errno.EINVAL:  # it was a link, and is none any more
                    error = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                self._unreadable(directory, name, error)
                return
        elif node_type in ("dev", "chardev"):
            node.device = status.st_rdev
        node.xattrs = self._xattrs(path, directory, name)
        directory.nodes[name] = node.encode()
        self._files += 1

    # Findings and counts

    def _examine_time(self, directory: _Directory, name: bytes, status: os.stat_result) -> None:
        seconds = int(status[stat.ST_MTIME])
        if not holds_time(seconds):
            message = f"modified {seconds} s from 1970, outside of the years 1 to 9999"
            self._note("time-cut", directory, name or b".", message)

    def _xattrs(
        self, target: int | bytes, directory: _Directory, name: bytes
    ) -> dict[bytes, bytes]:
        problems: list[Problem] = []
        xattrs = read_xattrs(target, problems)
        for code, message in problems:
            self._note(code, directory, name, message)
        return xattrs

    def _count(self, size_bytes: int, files: int = 1) -> None:
        with self._guard:
            self._size_bytes += size_bytes
        self._progress.advance(size_bytes, files)

    def _count_skipped(self) -> None:
        """Unchanged files cost microseconds each, so they are counted many at a time."""
        self._count(sum(self._skipped), len(self._skipped))
        self._skipped.clear()

    def _unreadable(self, directory: _Directory, name: bytes, error: OSError) -> None:
        code, message = unreadable(error)
        self._note(code, directory, name, message)

    def _note(self, code: str, directory: _Directory, name: bytes, message: str) -> None:
        subject = (directory.path + name).decode("utf-8", "backslashreplace")
        self._findings.append(finding(code, subject, message))
