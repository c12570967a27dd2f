"""Capturing a directory tree: the walk, and how files become content.

Three lanes keep hand-overs rare: tiny files are stored by the walking thread itself, files of
usual size go to the workers in batches, and large ones are cut by the walker while workers do
the rest. A file whose size, times and inode are those of the parent snapshot is not read; its
node is taken over as it is.

The walk holds directories open and works relative to them without following links, so that a
directory swapped for a symbolic link meanwhile leads nowhere. What cannot be read, vanishes or
keeps changing is a finding, never silence. Capture only reads (invariant I7).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from strongroom.errors import IntegrityError, SourceError, StorageError
from strongroom.model import Finding, Progress, finding
from strongroom.repository import FILES, BlobType, Content, Node, SnapshotView, SnapshotWriter
from strongroom.repository.tree import NODE_TYPES, FormerNode, decode_former

_TINY_BYTES: Final = 32 << 10
_LARGE_BYTES: Final = 4 << 20
_BATCH_BYTES: Final = 1 << 20
_BATCH_FILES: Final = 32
_READ_BYTES: Final = 4 << 20
_WAITING_DIRECTORIES: Final = 200
_DEEPEST: Final = 400
# Of the system's 4096 for a whole path: below a target, files of such a directory can be made.
_LONGEST_PATH_BYTES: Final = 3072
_COUNT_EVERY: Final = 500
_ATTEMPTS: Final = 2
# A change in the same clock tick as the parent's reading would not show in the times.
_RACE_NS: Final = 1_000_000_000
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


@dataclass(slots=True)
class _Directory:
    """A directory that is being captured: its open descriptor and what is known of its entries."""

    descriptor: int
    path: bytes
    status: os.stat_result
    above: _Directory | None
    name: bytes
    nodes: dict[bytes, bytes] = field(default_factory=dict)
    pending: list[Future[None]] = field(default_factory=list)
    batched: bool = False  # a file of it lies in the batch that is not yet submitted


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
    ) -> None:
        self._writer = writer
        self._excluded = excluded
        self._parent = parent
        self._parent_path = parent_path
        self._progress = progress
        self._unchanged_before_ns = 0
        self._files = 0
        self._size_bytes = 0
        self._findings: list[Finding] = []
        self._batch: list[tuple[_Directory, bytes]] = []
        self._batch_bytes = 0
        self._skipped: list[int] = []
        self._walked: deque[_Directory] = deque()
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
            self._walk(directory, self._parent_tree(), 0)
            self._finish_directories(keep=0)
            self._count_skipped()
        except BaseException:
            # Workers may still be reading from these directories.
            for directory in self._walked:
                wait(directory.pending)
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
        for name in sorted(map(os.fsencode, os.listdir(directory.descriptor))):
            try:
                status = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
            except OSError as error:
                self._unreadable(directory, name, error)
                continue
            is_directory = stat.S_ISDIR(status.st_mode)
            if self._excluded is not None and self._excluded(directory.path + name, is_directory):
                continue
            former = known.get(name)
            if is_directory:
                subtree = former.subtree if former is not None else None
                self._descend(directory, name, subtree, depth)
            elif stat.S_ISREG(status.st_mode):
                self._take_file(directory, name, status, former)
            else:
                self._take_special(directory, name, status)
        self._walked.append(directory)
        if len(self._walked) > _WAITING_DIRECTORIES:
            self._finish_directories(keep=_WAITING_DIRECTORIES // 2)

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
        self._walk(inner, parent_tree, depth + 1)

    def _finish_directories(self, keep: int) -> None:
        """Store walked directories, innermost first, until at most `keep` wait for content."""
        while len(self._walked) > keep:
            directory = self._walked.popleft()
            if directory.batched:
                self._submit_batch()
            for future in directory.pending:
                future.result()
            node = self._node(directory.name, "dir", directory.status)
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
        elif status.st_size <= _TINY_BYTES:
            self._read_file(directory, name)
        elif status.st_size <= _LARGE_BYTES:
            directory.batched = True
            self._batch.append((directory, name))
            self._batch_bytes += status.st_size
            if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
                self._submit_batch()
        else:
            self._read_file(directory, name, in_walker=True)

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
        future = self._writer.submit(self._read_batch, batch, cost_bytes=cost)
        for directory in {id(one[0]): one[0] for one in batch}.values():
            directory.batched = False
            directory.pending.append(future)

    def _read_batch(self, batch: list[tuple[_Directory, bytes]]) -> None:
        for directory, name in batch:
            self._read_file(directory, name)

    def _read_file(self, directory: _Directory, name: bytes, *, in_walker: bool = False) -> None:
        """Store a file's content and put its node into the directory."""
        try:
            descriptor = _open_file(name, directory.descriptor)
        except OSError as error:
            self._unreadable(directory, name, error)
            return
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                self._note("file-changed", directory, name, "it is no regular file any more")
                return
            for _ in range(_ATTEMPTS):
                content = self._content(descriptor, before, in_walker)
                after = os.fstat(descriptor)
                steady = _same_version(before, after) and content.size == after.st_size
                if steady:
                    break
                before = after
                os.lseek(descriptor, 0, os.SEEK_SET)
            if not steady:
                self._note("file-changed", directory, name, "it changed each time it was read")
            node = self._node(name, "file", after)
            node.size, node.content = content.size, content.blobs
            node.xattrs = self._xattrs(descriptor, directory, name)
            directory.nodes[name] = node.encode()
            self._count(content.size)
        except OSError as error:
            self._unreadable(directory, name, error)
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, status: os.stat_result, in_walker: bool) -> Content:
        if in_walker:
            return self._writer.put_stream(_blocks(descriptor), FILES)
        content = os.read(descriptor, status.st_size + 1)
        if len(content) != status.st_size:
            content = b"".join((content, *_blocks(descriptor)))
        return self._writer.put_bytes(content)

    def _take_special(self, directory: _Directory, name: bytes, status: os.stat_result) -> None:
        node_type = NODE_TYPES.get(stat.S_IFMT(status.st_mode))
        if node_type is None or node_type == "socket":
            self._note("file-skipped", directory, name, "a socket has no content to keep")
            return
        node = self._node(name, node_type, status)
        path = b"/proc/self/fd/%d/%s" % (directory.descriptor, name)
        if node_type == "symlink":
            try:
                node.linktarget = os.readlink(name, dir_fd=directory.descriptor)
            except OSError as error:
                self._unreadable(directory, name, error)
                return
        elif node_type in ("dev", "chardev"):
            node.device = status.st_rdev
        node.xattrs = self._xattrs(path, directory, name)
        directory.nodes[name] = node.encode()
        self._files += 1

    # Metadata and findings

    def _node(self, name: bytes, node_type: str, status: os.stat_result) -> Node:
        linked = status.st_nlink > 1 and node_type != "dir"
        return Node(
            name,
            node_type,
            status.st_mode,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_uid,
            status.st_gid,
            _user(status.st_uid),
            _group(status.st_gid),
            status.st_ino,
            # Only hard links need it, and it changes whenever the host's disks are counted anew.
            status.st_dev if linked else 0,
            links=0 if node_type == "dir" else status.st_nlink,
        )

    def _xattrs(
        self, target: int | bytes, directory: _Directory, name: bytes
    ) -> dict[bytes, bytes]:
        follow = isinstance(target, int)
        try:
            names = os.listxattr(target, follow_symlinks=follow)
            return {
                os.fsencode(one): os.getxattr(target, one, follow_symlinks=follow) for one in names
            }
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                self._note(
                    "file-unreadable", directory, name,
                    f"its extended attributes: {os.strerror(error.errno or 0)}",
                )  # fmt: skip
            return {}

    def _count(self, size_bytes: int, files: int = 1) -> None:
        with self._guard:
            self._size_bytes += size_bytes
        self._progress.advance(size_bytes, files)

    def _count_skipped(self) -> None:
        """Unchanged files cost microseconds each, so they are counted many at a time."""
        self._count(sum(self._skipped), len(self._skipped))
        self._skipped.clear()

    def _unreadable(self, directory: _Directory, name: bytes, error: OSError) -> None:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            self._note("file-vanished", directory, name, "it was listed, then gone")
        elif error.errno in (errno.ELOOP, errno.ENOTDIR):
            self._note("file-changed", directory, name, "it was replaced while it was captured")
        else:
            reason = os.strerror(error.errno or 0)
            self._note("file-unreadable", directory, name, reason)

    def _note(self, code: str, directory: _Directory, name: bytes, message: str) -> None:
        subject = (directory.path + name).decode("utf-8", "backslashreplace")
        self._findings.append(finding(code, subject, message))


def _open_file(name: bytes, directory: int) -> int:
    try:
        return os.open(name, _READ_FLAGS | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # Only the owner may ask for O_NOATIME.
        return os.open(name, _READ_FLAGS, dir_fd=directory)


def _same_version(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _READ_BYTES):
        yield block
