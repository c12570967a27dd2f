"""Restoring a directory tree of a snapshot, in parallel, verifying every blob.

Each file is written under a temporary name in its own directory, gets its metadata, and is
renamed; one flush of the file system precedes success. Symbolic links come after all files, hard
links and directories' metadata last, so that nothing that a snapshot holds can lead a write out
of the target: names are checked when a tree is decoded, the target is empty at the beginning, and
no link exists while files are written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from strongroom.errors import IntegrityError, TargetError
from strongroom.model import Finding, Progress, Silent, finding
from strongroom.repository.file_writing import (
    FileWriter,
    Metadata,
    Unset,
    flush_file_system,
    metadata_of,
    reason_of,
)
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType
from strongroom.repository.process_pool import ProcessPool, start_pool
from strongroom.repository.repository import Repository
from strongroom.repository.restore_child import WholeFile, Written
from strongroom.repository.reuse import ExistingTrees
from strongroom.repository.target_names import TargetNames
from strongroom.repository.tree import Node
from strongroom.repository.view import BlobRun, SnapshotView, gather_runs, read_run

# Files are planned in groups of this many, so that memory does not grow with the tree.
_GROUP_FILES: Final = 2_000
_RUN_BYTES: Final = 2 << 20
_QUEUED_SPANS: Final = 4
# What is read at once from a store that is far away, where each request costs a journey; and how
# many wait for one at the same time.
_FAR_BYTES: Final = 8 << 20
_FAR_READERS: Final = 3
# A smaller restore ends before processes have paid for their start.
_ENGAGE_FILES: Final = 1_500
_ENGAGE_BYTES: Final = 24 << 20
_PROGRAM: Final = "from strongroom.repository.restore_child import main; main()"
_SLOTS_A_CHILD: Final = 3
_RUN_BLOBS: Final = 200
# After these nothing else could be made either.
_FATAL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_REUSED_FILES: Final = 32
_MOST_NAMED: Final = 10
_TEMPORARY_PREFIX: Final = b".strongroom-partial-"


@dataclass(slots=True)
class RestoreReport:
    """What was restored, how much of it came from an existing tree, and metadata that could not be
    set."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    reused_bytes: int = 0


@dataclass(slots=True)
class _File:
    """A file that is being restored: where, how many of its blobs are still to come, and the
    positions of those that need not be fetched."""

    path: bytes
    node: Node
    offsets: list[int]
    remaining: int
    number: int
    found: set[int] = field(default_factory=set)


_Places: TypeAlias = list[list[tuple[_File, int]]]
"""For each key of a plan the files that want its blob, and at which position."""


@dataclass(slots=True)
class _Job:
    """A run that a process restores: its slot, and its files in the order of the answer."""

    slot: int
    run: BlobRun
    places: _Places
    files: list[tuple[int, Location, _File, bytes]]


def restore_tree(
    view: SnapshotView,
    path: bytes,
    target: Path,
    *,
    include: Callable[[bytes], bool] | None = None,
    existing: Sequence[Path] = (),
    owner: tuple[int, int] | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> RestoreReport:
    """Restore what the directory `path` of a snapshot holds into `target`.

    `include` chooses files by their path relative to the directory; what trees in `existing` hold
    of them is read there. All of it belongs to `owner` when that is given. The target is made when
    it does not exist, and must be empty. Raises
    IntegrityError when a blob is not what its name says: nothing wrong is left under a file's own
    name.
    """
    top = view.node(path)
    if top.subtree is None:
        raise TargetError("not a directory in this snapshot", subject=os.fsdecode(path))
    run = _Restore(view.repository, os.fsencode(os.path.abspath(target)), workers, progress)
    run.existing = ExistingTrees(existing)
    run.new_owner = owner
    try:
        run.everything(top, include)
    except OSError as error:
        raise _target_error(target, error) from error
    return run.report


def _told(what: str, count: int, named: Sequence[str]) -> str:
    """How many entries something was with, and which."""
    if count == 1:
        return f"{what}, for 1 entry"
    more = f" and {count - len(named)} more" if count > len(named) else ""
    return f"{what}, for {count} entries: {', '.join(named)}{more}"


def _target_error(target: Path, error: OSError) -> TargetError:
    reason = os.strerror(error.errno or 0)
    where = os.fsdecode(error.filename) if error.filename else str(target)
    hint = None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free space there, empty the target, then restore again."
    elif error.errno == errno.EROFS:
        hint = "Choose a target on a file system that is not read-only."
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = "Choose a target where this user may write, or restore as root."
    return TargetError(reason, subject=where, hint=hint)


class _Restore:
    """One run: plans groups of files, reads packs in runs, writes files from worker threads."""

    def __init__(
        self, repository: Repository, target: bytes, workers: int, progress: Progress | None
    ) -> None:
        self.report = RestoreReport()
        self.existing = ExistingTrees(())
        self.new_owner: tuple[int, int] | None = None
        self._repository = repository
        self._target = target
        self._progress = progress or Silent()
        self._writer = FileWriter((-1, -1))
        self._processes = workers
        self._processed: ProcessPool[_Job] | None = None
        self._seen_files = self._seen_bytes = 0
        self._idle = threading.Condition()
        self._unfinished = 0
        self._failure: BaseException | None = None
        far = repository.storage.connections > 1
        self._span_bytes = _FAR_BYTES if far else _RUN_BYTES
        self._threads = max(workers, _FAR_READERS) if far else workers
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="restore")
        self._waiting: set[Future[None]] = set()
        self._guard = threading.Lock()
        self._stopped = False
        # Nothing that a snapshot holds can be called so by chance.
        self._mark = _TEMPORARY_PREFIX + secrets.token_hex(8).encode()
        self._partial: set[bytes] = set()
        self._directories: dict[bytes, Node] = {}
        self._made: set[bytes] = {b""}
        self._first_links: dict[tuple[object, ...], bytes] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._later: list[tuple[bytes, Node]] = []
        self._unset: dict[str, list[str]] = {}
        self._unset_count: Counter[str] = Counter()
        self._names = TargetNames(self._target)

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
            self._finish_runs()
        except BaseException:
            self._stopped = True
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            if self._processed is not None:
                self._processed.close()
            self._remove_partial()
        for relative, node in self._later:
            self._make_special(relative, node)
        for first, other in self._links:
            try:
                os.link(self._absolute(first), self._absolute(other), follow_symlinks=False)
            except FileNotFoundError as error:  # what could not be made cannot be linked either
                self._tolerate(other, [Unset("a hard link could not be made", reason_of(error))])
        for relative in sorted(self._made, key=lambda one: one.count(b"/"), reverse=True):
            self._finish_directory(relative)
        flush_file_system(self._target)
        for what, named in sorted(self._unset.items()):
            told = _told(what, self._unset_count[what], named)
            self.report.findings.append(finding("metadata-unset", named[0], told))
        self.report.findings += self._names.findings

    def _learn_owner(self) -> None:
        """Whose new files are: another than the process where the target hands its group down."""
        probe = self._absolute(self._mark)
        os.mkdir(probe, 0o700)
        status = os.stat(probe)
        os.rmdir(probe)
        self._writer = FileWriter((status.st_uid, status.st_gid))
        self._names.learn(probe)

    def _metadata(self, node: Node) -> Metadata:
        """What a node's entry gets here."""
        metadata = metadata_of(node)
        if self.new_owner is None:
            return metadata
        uid, gid = self.new_owner
        return metadata._replace(uid=uid, gid=gid)

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
                if not self._names.can_be(relative, node):
                    continue
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
        if node.links > 1:
            # With what it holds, because an inode's number can be given away during a capture.
            held = (node.content, node.linktarget, node.device)
            file = (node.type, node.device_id, node.inode, *held)
            first = self._first_links.setdefault(file, relative)
            if first != relative:
                self._links.append((first, relative))
                return
        if node.type != "file":
            self._later.append((relative, node))
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

    def _plan(self, group: list[_File]) -> tuple[list[BlobRun], _Places]:
        """The spans to read, and for each key in them the places that want that blob."""
        keys: dict[bytes, int] = {}
        places: _Places = []
        wanted: list[tuple[int, Location]] = []
        for file in group:
            for position, blob_id in enumerate(file.node.content):
                if position in file.found:
                    continue
                key = keys.setdefault(blob_id, len(places))
                if key == len(places):
                    wanted.append((key, self._repository.locate(BlobType.DATA, blob_id)))
                    places.append([])
                places[key].append((file, position))
        most = _RUN_BLOBS * (self._span_bytes // _RUN_BYTES)
        return gather_runs(wanted, run_bytes=self._span_bytes, most_blobs=most), places

    # Content

    def _restore_group(self, group: list[_File]) -> None:
        """Hand a group's spans to the workers; waits only while their queue is full."""
        if self.existing:
            self._reuse(group)
        self._engage([file for file in group if len(file.found) < len(file.node.content)])
        spans, places = self._plan(group)
        for file in group:
            if not file.node.content:
                self._finish_empty(file)
        for span in spans:
            self._raise_failure()
            self._waiting.add(self._pool.submit(self._restore_span, span, places))
            if len(self._waiting) >= self._threads + _QUEUED_SPANS:
                self._collect(FIRST_COMPLETED)

    def _restore_span(self, span: BlobRun, places: _Places) -> None:
        """Read what lies close together at once, and restore it run by run."""
        try:
            content = self._repository.load_pack(span.pack, span.begin, span.end)
        except IntegrityError:
            self._restore_run(span, places)  # blob by blob, and from other copies of them
            return
        with memoryview(content) as stored:
            for run in gather_runs(span.wanted, run_bytes=_RUN_BYTES, most_blobs=_RUN_BLOBS):
                part = stored[run.begin - span.begin : run.end - span.begin]
                whole = self._processed is not None and self._is_of_whole_files(run, places)
                (self._send_run if whole else self._restore_run)(run, places, part)

    def _reuse(self, group: list[_File]) -> None:
        """Write what is there already, in parallel; what is not is planned afterwards."""
        batches = [group[at : at + _REUSED_FILES] for at in range(0, len(group), _REUSED_FILES)]
        tasks = [self._pool.submit(self._reuse_batch, one) for one in batches]
        for task in tasks:
            task.result()

    def _reuse_batch(self, files: list[_File]) -> None:
        for file in files:
            self._raise_failure()
            reused = 0
            for position, content in self.existing.pieces(
                file.path, file.offsets, file.node.content
            ):
                if self._stopped:
                    return
                file.found.add(position)
                self._write_blob(file, position, content)
                reused += len(content)
            with self._guard:
                self.report.reused_bytes += reused

    def _is_of_whole_files(self, run: BlobRun, places: _Places) -> bool:
        """Whether each blob of the run is a file, or some files, by itself; not too many."""
        if run.end - run.begin > _RUN_BYTES or len(run.wanted) > _RUN_BLOBS:
            return False
        return all(
            len(places[key]) < _RUN_BLOBS
            and all(len(file.node.content) == 1 for file, _ in places[key])
            for key, _ in run.wanted
        )

    def _collect(self, when: str) -> None:
        done, self._waiting = wait(self._waiting, return_when=when)
        for future in done:
            future.result()

    def _restore_run(self, run: BlobRun, places: _Places, stored: memoryview | None = None) -> None:
        for key, content in read_run(self._repository, run, stored):
            for file, position in places[key]:
                if self._stopped:  # one blob of zeros may stand at thousands of places
                    return
                self._write_blob(file, position, content)

    def _write_blob(self, file: _File, position: int, content: bytes) -> None:
        """Write one blob of a file; whoever writes the last one finishes the file."""
        path, temporary = self._absolute(file.path), self._temporary(file)
        metadata = self._metadata(file.node)
        self._partial.add(temporary)
        last = True
        unset: list[Unset] = []
        if len(file.node.content) == 1:
            unset = self._writer.write_whole(temporary, path, content, metadata)
        else:
            descriptor = self._writer.write_part(temporary, content, file.offsets[position])
            try:
                with self._guard:
                    file.remaining -= 1
                    last = not file.remaining
                if last:
                    size = file.node.size
                    unset = self._writer.finish(descriptor, temporary, path, size, metadata)
            finally:
                os.close(descriptor)
        if last:
            self._partial.discard(temporary)
        self._tolerate(file.path, unset)
        self._progress.advance(len(content), int(last))

    def _temporary(self, file: _File) -> bytes:
        """In the file's own directory: a file system keeps what it makes there close together."""
        folder = self._absolute(file.path).rpartition(b"/")[0]
        return b"%s/%s-%d" % (folder, self._mark, file.number)

    # Runs of whole files, in processes of their own

    def _engage(self, group: list[_File]) -> None:
        """Start the processes once a restore has proven to be a large one."""
        self._seen_files += len(group)
        self._seen_bytes += sum(file.node.size for file in group)
        if not self._processes:
            return
        if self._seen_files >= _ENGAGE_FILES or self._seen_bytes >= _ENGAGE_BYTES:
            key = self._repository.key
            processes, self._processes = self._processes, 0
            self._processed = start_pool(
                lambda: ProcessPool(
                    _PROGRAM,
                    ((key.encrypt, key.mac_k, key.mac_r), self._writer.owner),
                    processes=processes,
                    slots=_SLOTS_A_CHILD * processes,
                    slot_bytes=_RUN_BYTES,
                    answered=self._answered,
                    left=self._leave,
                )
            )

    def _send_run(self, run: BlobRun, places: _Places, stored: memoryview) -> None:
        """Hand a run to a process; its files are restored some time after this returns."""
        pool = self._processed
        assert pool is not None
        self._raise_failure()
        slot = pool.take_slot(self._raise_failure)
        begin = slot * pool.slot_bytes
        pool.memory[begin : begin + len(stored)] = stored
        job = _Job(slot, run, places, [])
        blobs = []
        for key, location in run.wanted:
            entry = location.entry
            files: list[WholeFile] = []
            for file, _ in places[key]:
                temporary = self._temporary(file)
                self._partial.add(temporary)
                job.files.append((key, location, file, temporary))
                metadata = tuple(self._metadata(file.node))
                files.append((temporary, self._absolute(file.path), metadata))
            offset = entry.offset - run.begin
            blobs.append((offset, entry.length, entry.id, entry.plain_length, files))
        with self._idle:
            self._unfinished += 1
        if not pool.give(job, (begin, blobs)):
            self._leave(job)

    def _answered(self, job: _Job, answer: Written) -> None:
        """Take what a process says of a run's files."""
        try:
            if isinstance(answer, tuple):
                number, name = answer
                raise OSError(number, os.strerror(number), name)
            for (_, location, file, temporary), unset in zip(job.files, answer, strict=True):
                if unset is None:
                    content = self._repository.read_blob(BlobType.DATA, location.entry.id)
                    self._write_blob(file, 0, content)
                    continue
                self._partial.discard(temporary)
                self._tolerate(file.path, [Unset(*one) for one in unset])
                self._progress.advance(file.node.size, 1)
        except BaseException as error:
            self._failure = self._failure or error
        self._finish_job(job)

    def _leave(self, job: _Job) -> None:
        """Restore what a process has left, without it."""
        try:
            self._raise_failure()
            self._restore_run(job.run, job.places)
        except BaseException as error:
            self._failure = self._failure or error
        self._finish_job(job)

    def _finish_job(self, job: _Job) -> None:
        assert self._processed is not None
        self._processed.free_slot(job.slot)
        with self._idle:
            self._unfinished -= 1
            self._idle.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _finish_runs(self) -> None:
        """Wait for all that was handed to threads and processes."""
        self._collect(ALL_COMPLETED)
        with self._idle:
            self._idle.wait_for(lambda: not self._unfinished or self._failure is not None)
        self._raise_failure()

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
        self._tolerate(relative, self._writer.set_metadata(target, self._metadata(node)))

    def _tolerate(self, relative: bytes, unset: Sequence[Unset]) -> None:
        """Count metadata that could not be set; one finding tells of all of a kind, and names the
        first of them."""
        for what, reason in unset:
            with self._guard:
                subject = relative.decode("utf-8", "backslashreplace") or "."
                kind = f"{what}: {reason}"
                self._unset_count[kind] += 1
                named = self._unset.setdefault(kind, [])
                if len(named) < _MOST_NAMED:
                    named.append(subject)

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
            self._tolerate(relative, [Unset(f"a {node.type} could not be made", reason_of(error))])
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
