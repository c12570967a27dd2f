"""Restoring a directory tree of a snapshot, in parallel, verifying every blob.

Each file is written under a temporary name in its own directory, gets its metadata, and is
renamed; one flush of the file system precedes success. Symbolic links come after all files, hard
links and directories' metadata last, so that nothing that a snapshot holds can lead a write out
of the target: names are checked when a tree is decoded, the target is empty at the beginning, and
no link exists while files are written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.errors import IntegrityError, TargetError
from strongroom.model import Finding, Progress, Silent, finding
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.repository import Repository
from strongroom.repository.tree import Node
from strongroom.repository.view import BlobRun, SnapshotView, read_run

# Files are planned in groups of this many, so that memory does not grow with the tree.
_GROUP_FILES: Final = 2_000
_RUN_BYTES: Final = 2 << 20
_GAP_BYTES: Final = 256 << 10
_QUEUED_RUNS: Final = 4
_HOLE_BYTES: Final = 4096
_EARLY_WRITEBACK_BYTES: Final = 16 << 10
# After these nothing else could be made either.
_FATAL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_TEMPORARY_PREFIX: Final = b".strongroom-partial-"


@dataclass(slots=True)
class RestoreReport:
    """What was restored, and metadata that could not be set."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _File:
    """A file that is being restored: where, and how many of its blobs are still to come."""

    path: bytes
    node: Node
    offsets: list[int]
    remaining: int
    number: int


def restore_tree(
    view: SnapshotView,
    path: bytes,
    target: Path,
    *,
    include: Callable[[bytes], bool] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> RestoreReport:
    """Restore what the directory `path` of a snapshot holds into `target`.

    `include` chooses files by their path relative to the directory. The target is made when it
    does not exist, and must be empty. Raises IntegrityError when a blob is not what its name
    says: nothing wrong is left under a file's own name.
    """
    top = view.node(path)
    if top.subtree is None:
        raise TargetError("not a directory in this snapshot", subject=os.fsdecode(path))
    run = _Restore(view.repository, os.fsencode(os.path.abspath(target)), workers, progress)
    try:
        run.everything(top, include)
    except OSError as error:
        raise _target_error(target, error) from error
    return run.report


def _target_error(target: Path, error: OSError) -> TargetError:
    reason = os.strerror(error.errno or 0)
    where = os.fsdecode(error.filename) if error.filename else str(target)
    hint = None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free space there, empty the target, then restore again."
    elif error.errno == errno.EROFS:
        hint = "Choose a target on a file system that is not read-only."
    return TargetError(reason, subject=where, hint=hint)


class _Restore:
    """One run: plans groups of files, reads packs in runs, writes files from worker threads."""

    def __init__(
        self, repository: Repository, target: bytes, workers: int, progress: Progress | None
    ) -> None:
        self.report = RestoreReport()
        self._repository = repository
        self._target = target
        self._workers = workers
        self._progress = progress or Silent()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="restore")
        self._waiting: set[Future[None]] = set()
        self._guard = threading.Lock()
        self._stopped = False
        # Nothing that a snapshot holds can be called so by chance.
        self._mark = _TEMPORARY_PREFIX + secrets.token_hex(8).encode()
        self._partial: set[bytes] = set()
        self._owner = (-1, -1)
        self._directories: dict[bytes, Node] = {}
        self._made: set[bytes] = {b""}
        self._first_links: dict[tuple[object, ...], bytes] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._later: list[tuple[bytes, Node]] = []
        self._unset: dict[str, tuple[int, str]] = {}

    def everything(self, top: Node, include: Callable[[bytes], bool] | None) -> None:
        os.makedirs(self._target, mode=0o700, exist_ok=True)
        with os.scandir(self._target) as entries:
            if any(True for _ in entries):
                raise TargetError(
                    "the directory is not empty",
                    subject=os.fsdecode(self._target),
                    code="target-not-empty",
                )
        assert top.subtree is not None
        if top.name:
            self._directories[b""] = top
        try:
            self._learn_owner()
            group: list[_File] = []
            for relative, node in self._walk(top.subtree, include):
                self._take(relative, node, group)
                if len(group) >= _GROUP_FILES:
                    self._restore_group(group)
                    group = []
            self._restore_group(group)
            self._collect(ALL_COMPLETED)
        except BaseException:
            self._stopped = True
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._remove_partial()
        for first, other in self._links:
            os.link(self._absolute(first), self._absolute(other), follow_symlinks=False)
        for relative, node in self._later:
            self._make_special(relative, node)
        for relative in sorted(self._made, key=lambda one: one.count(b"/"), reverse=True):
            self._finish_directory(relative)
        flush_file_system(self._target)
        for what, (count, example) in sorted(self._unset.items()):
            self.report.findings.append(
                finding("metadata-unset", example, f"{what}, for {count} entries")
            )

    def _learn_owner(self) -> None:
        """Whose new files are: another than the process where the target hands its group down."""
        probe = self._absolute(self._mark)
        os.mkdir(probe, 0o700)
        status = os.stat(probe)
        os.rmdir(probe)
        self._owner = (status.st_uid, status.st_gid)

    def _remove_partial(self) -> None:
        """Remove what has no name of its own yet; after a whole restore that is nothing."""
        for temporary in self._partial:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    # Planning

    def _walk(
        self, tree: str, include: Callable[[bytes], bool] | None
    ) -> Iterator[tuple[bytes, Node]]:
        """All chosen entries below that are no directories; these are made on the way."""
        stack = [(b"", tree)]
        while stack:
            prefix, subtree = stack.pop()
            for node in self._repository.read_tree(subtree):
                relative = prefix + node.name
                if node.subtree is not None:
                    stack.append((relative + b"/", node.subtree))
                    self._directories[relative] = node
                    if include is None:
                        self._make_directory(relative)
                elif include is None or include(relative):
                    self._make_directory(relative.rpartition(b"/")[0])
                    yield relative, node

    def _make_directory(self, relative: bytes) -> None:
        if relative in self._made:
            return
        self._make_directory(relative.rpartition(b"/")[0])
        os.mkdir(self._absolute(relative), 0o700)
        self._made.add(relative)

    def _take(self, relative: bytes, node: Node, group: list[_File]) -> None:
        self.report.files += 1
        if node.type != "file":
            self._later.append((relative, node))
            return
        if node.links > 1:
            # With the content, because an inode's number can be given away during a capture.
            file = (node.device_id, node.inode, node.content)
            first = self._first_links.setdefault(file, relative)
            if first != relative:
                self._links.append((first, relative))
                return
        offsets = [0]
        for blob_id in node.content:
            entry = self._repository.locate(BlobType.DATA, blob_id).entry
            offsets.append(offsets[-1] + entry.size_bytes)
        if offsets[-1] != node.size:
            raise IntegrityError(
                f"its blobs hold {offsets[-1]} bytes, its record says {node.size}",
                subject=os.fsdecode(relative),
                code="tree-damaged",
            )
        self.report.size_bytes += node.size
        group.append(_File(relative, node, offsets, len(node.content), self.report.files))

    def _plan(self, group: list[_File]) -> tuple[list[BlobRun], list[list[tuple[_File, int]]]]:
        """The runs to read, and for each key in them the places that want that blob."""
        keys: dict[bytes, int] = {}
        places: list[list[tuple[_File, int]]] = []
        packs: dict[str, list[tuple[int, Location]]] = {}
        for file in group:
            for position, blob_id in enumerate(file.node.content):
                key = keys.setdefault(blob_id, len(places))
                if key == len(places):
                    location = self._repository.locate(BlobType.DATA, blob_id)
                    packs.setdefault(location.pack, []).append((key, location))
                    places.append([])
                places[key].append((file, position))
        runs: list[BlobRun] = []
        for pack, wanted in packs.items():
            wanted.sort(key=lambda one: one[1].entry.offset)
            run: BlobRun | None = None
            for key, location in wanted:
                begin = location.entry.offset
                end = begin + location.entry.length
                if run and begin <= run.end + _GAP_BYTES and end - run.begin <= _RUN_BYTES:
                    run.end = end
                    run.wanted.append((key, location))
                else:
                    run = BlobRun(pack, begin, end, [(key, location)])
                    runs.append(run)
        return runs, places

    # Content

    def _restore_group(self, group: list[_File]) -> None:
        """Hand a group's runs to the workers; waits only while their queue is full."""
        runs, places = self._plan(group)
        for file in group:
            if not file.remaining:
                self._finish_empty(file)
        for run in runs:
            self._waiting.add(self._pool.submit(self._restore_run, run, places))
            if len(self._waiting) >= self._workers + _QUEUED_RUNS:
                self._collect(FIRST_COMPLETED)

    def _collect(self, when: str) -> None:
        done, self._waiting = wait(self._waiting, return_when=when)
        for future in done:
            future.result()

    def _restore_run(self, run: BlobRun, places: list[list[tuple[_File, int]]]) -> None:
        for key, content in read_run(self._repository, run):
            for file, position in places[key]:
                if self._stopped:  # one blob of zeros may stand at thousands of places
                    return
                self._write_blob(file, position, content)

    def _write_blob(self, file: _File, position: int, content: bytes) -> None:
        """Write one blob of a file; whoever writes the last one finishes the file."""
        path = self._absolute(file.path)
        # In the file's own directory: a file system keeps what it makes there close together.
        temporary = b"%s/%s-%d" % (path.rpartition(b"/")[0], self._mark, file.number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._partial.add(temporary)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _write_sparsely(descriptor, content, file.offsets[position])
            with self._guard:
                file.remaining -= 1
                last = not file.remaining
            if last:
                os.ftruncate(descriptor, file.node.size)
                if file.node.size >= _EARLY_WRITEBACK_BYTES:
                    # Starts writing back now, so that the flush at the end has little to do.
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._set_metadata(file.path, descriptor, file.node)
                os.rename(temporary, path)
                self._partial.discard(temporary)
        finally:
            os.close(descriptor)
        self._progress.advance(len(content), int(last))

    def _finish_empty(self, file: _File) -> None:
        path = self._absolute(file.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            self._set_metadata(file.path, descriptor, file.node)
        finally:
            os.close(descriptor)
        self._progress.advance(0, 1)

    # Metadata

    def _set_metadata(self, relative: bytes, target: int | bytes, node: Node) -> None:
        """Owner, attributes, mode and times, in the order in which they don't undo each other."""
        follow = isinstance(target, int)
        what = ""
        try:
            if (node.uid, node.gid) != self._owner:
                what = "owner could not be set"
                os.chown(target, node.uid, node.gid, follow_symlinks=follow)
        except (OSError, OverflowError) as error:
            self._tolerate(what, relative, error)
        try:
            for name, value in node.xattrs.items():
                what = "an extended attribute could not be set"
                os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            self._tolerate(what, relative, error)
        try:
            if node.type != "symlink":
                what = "mode could not be set"
                os.chmod(target, stat.S_IMODE(node.mode))
            what = "time could not be set"
            os.utime(target, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=follow)
        except (OSError, OverflowError) as error:
            self._tolerate(what, relative, error)

    def _tolerate(self, what: str, relative: bytes, error: OSError | OverflowError) -> None:
        """Count metadata that could not be set; one finding tells of all of a kind."""
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        with self._guard:
            subject = relative.decode("utf-8", "backslashreplace") or "."
            count, example = self._unset.get(f"{what}: {reason}", (0, subject))
            self._unset[f"{what}: {reason}"] = (count + 1, example)

    def _make_special(self, relative: bytes, node: Node) -> None:
        path = self._absolute(relative)
        try:
            if node.type == "symlink":
                os.symlink(node.linktarget or b"", path)
            elif node.type == "fifo":
                os.mkfifo(path, 0o600)
            elif node.type in ("dev", "chardev"):
                os.mknod(path, stat.S_IFMT(node.mode) | 0o600, node.device)
            else:
                return
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno in _FATAL:
                raise
            self._tolerate(f"a {node.type} could not be made", relative, error)
            return
        self._set_metadata(relative, path, node)

    def _finish_directory(self, relative: bytes) -> None:
        node = self._directories.get(relative)
        if node is None:
            return
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._absolute(relative), flags)
        try:
            self._set_metadata(relative, descriptor, node)
        finally:
            os.close(descriptor)

    def _absolute(self, relative: bytes) -> bytes:
        return self._target + b"/" + relative if relative else self._target


def _write_sparsely(descriptor: int, content: bytes, offset: int) -> None:
    """Write at an offset, leaving holes for long runs of zeros at either end.

    The file's final size is set by its last blob, so that a hole at the end counts.
    """
    begin, end = 0, len(content)
    if content[:1] == b"\0" or content[-1:] == b"\0":
        leading = end - len(content.lstrip(b"\0"))
        begin = leading if leading >= _HOLE_BYTES else 0
        trailing = end - len(content.rstrip(b"\0"))
        end = end - trailing if trailing >= _HOLE_BYTES else end
    view = memoryview(content)
    while begin < end:
        begin += os.pwrite(descriptor, view[begin:end], offset + begin)


def flush_file_system(path: bytes) -> None:
    """One syncfs: everything restored is on stable storage when it returns."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
