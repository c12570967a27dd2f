"""Writing a snapshot: a pipeline over a bounded queue, into one or several repositories at once.

    read -> cut -> SHA-256 -> dedupe -> zstd -> seal -> verify -> pack -> store -> index -> snapshot

A source pushes streams, bytes and trees; heavy steps run in worker threads, in compiled code
that releases the interpreter lock. What waits for a worker is bounded in bytes, not in items.
Content is read, cut, hashed and compressed once, whatever the number of repositories.

Invariants: nothing is visible before `commit` (I2); leaving the context without a commit leaves
every earlier snapshot as it was (I4).
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

from strongroom.errors import BusyError, IntegrityError, StorageError, StrongroomError
from strongroom.model import Finding, finding
from strongroom.repository.chunker import FILES, ROWS, ChunkProfile, cut
from strongroom.repository.compression import Texture
from strongroom.repository.encoding import Encoder, FileRecords
from strongroom.repository.encoding_child import SealedBlob
from strongroom.repository.file_reading import Content, FileRecord, blocks_of, read_file
from strongroom.repository.lock import Lock
from strongroom.repository.pack import BlobType
from strongroom.repository.packer import DEFAULT_PACK_BYTES, Packer
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot, encode_snapshot
from strongroom.repository.storage.protocol import Buffer
from strongroom.repository.tree import Node, encode_tree

T = TypeVar("T")

READ_TOGETHER_BYTES: Final = 1 << 20  # below the size of which files are read by the batch
_PACK_BUFFERS: Final = 4  # of all repositories together; one in filling, two on their way
_GLANCE_SECONDS: Final = 0.05
_HERE_BYTES: Final = 32 << 10  # smaller files are stored sooner than handed over to a thread


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """Bounds of the pipeline. `queue_bytes` is plaintext waiting for a worker or in one.

    `processes` encode blobs beside the capture, once it is a large one; as many as there are
    workers when not given. A repository for which the capture has waited for `wait_seconds` in
    all is left behind while there are others.
    """

    workers: int = 2
    processes: int | None = None
    wait_seconds: float = 30.0
    queue_bytes: int = 16 << 20
    pack_bytes: int = DEFAULT_PACK_BYTES
    compression: str = "default"


@dataclass(frozen=True, slots=True)
class Committed:
    """A snapshot as one repository now has it, and by how much that repository grew."""

    repository: str
    snapshot: Snapshot
    added_bytes: int


class _Budget:
    """How many bytes may be under way; taking waits until they are given back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def take(self, amount: int) -> int:
        """Wait for `amount` (at most the whole budget) and return what was taken."""
        amount = min(amount, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._used + amount <= self._limit)
            self._used += amount
        return amount

    def give(self, amount: int) -> None:
        with self._changed:
            self._used -= amount
            self._changed.notify_all()


class SnapshotWriter:
    """Collects one snapshot; a context manager. Its methods are safe from several threads."""

    def __init__(
        self,
        repositories: Sequence[Repository],
        options: WriterOptions = WriterOptions(),
        *,
        locks: Mapping[str, Lock] = MappingProxyType({}),
    ) -> None:
        """`locks` are those that the caller holds already, by the repository's name."""
        most_buffers = max(3, _PACK_BUFFERS // len(repositories))
        self._packers = [
            Packer(
                repository,
                pack_bytes=options.pack_bytes,
                most_buffers=most_buffers,
                may_wait=self._may_wait,
                lock=locks.get(repository.name),
            )
            for repository in repositories
        ]
        self._most_waiting_seconds = options.wait_seconds
        self._encoder = Encoder(
            [repository.key for repository in repositories],
            self._reserve,
            self._deliver,
            effort=options.compression,
            processes=options.workers if options.processes is None else options.processes,
        )
        self._budget = _Budget(options.queue_bytes)
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="blob")
        self._committed = False
        self._failed: dict[str, StrongroomError] = {}
        self._guard = threading.Lock()

    @property
    def findings(self) -> list[Finding]:
        """What was noticed about the repositories; complete after the context is left."""
        found = [one for packer in self._packers for one in packer.findings]
        for name, error in self._failed.items():
            found.append(finding("repository-failed", name, str(error)))
        return found

    def __enter__(self) -> Self:
        try:
            for packer in self._packers:
                try:
                    packer.begin()
                except StrongroomError as error:
                    self._fail(packer, error)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as ending:  # an interrupt leaves no lock behind
            # Last in, first out: nobody's lock stands longer because another store is slow.
            for packer in sorted(self._packers, key=lambda one: not self._has_failed(one)):
                abandoned = not self._committed or self._has_failed(packer)
                ending.callback(packer.end, abandoned=abandoned)
            ending.callback(self._encoder.close)
            self._pool.shutdown(wait=True, cancel_futures=True)

    # What a source pushes

    def put_stream(self, blocks: Iterable[Buffer], profile: ChunkProfile) -> Content:
        """Store a stream of unknown length. The blocks must not be altered afterwards.

        The calling thread reads and cuts; workers do the rest.
        """
        blobs: list[bytes] = []
        waiting: deque[Future[list[bytes]]] = deque()
        size = 0
        texture = Texture.ROWS if profile is ROWS else Texture.FILE
        try:
            for batch in cut(blocks, profile):
                length = sum(map(len, batch))
                size += length
                waiting.append(self.submit(self._store_batch, batch, texture, cost_bytes=length))
                while waiting and waiting[0].done():
                    blobs.extend(waiting.popleft().result())
        finally:
            # Also when the source fails: what a worker meets must not get lost.
            for future in waiting:
                blobs.extend(future.result())
        return Content(tuple(blobs), size)

    def put_bytes(self, content: Buffer) -> Content:
        """Store content that is in memory, in the calling thread."""
        if len(content) <= FILES.min_bytes:
            return Content((self._store_data(content),) if len(content) else (), len(content))
        blobs = tuple(map(self._store_data, itertools.chain(*cut([content], FILES))))
        return Content(blobs, len(content))

    def read_files(
        self, files: Sequence[tuple[int, bytes]], *, cost_bytes: int
    ) -> Future[FileRecords]:
        """Read and store files of less than READ_TOGETHER_BYTES, given by their directory's open
        descriptor and their name, beside the calling thread; waits for a place in the queue.

        Of the records, None stands for a file that has grown: `read_large_file` takes it.
        """
        if self._encoder.engaged:
            return self._encoder.read(files)
        if cost_bytes > _HERE_BYTES * len(files):
            return self.submit(self._read_files, files, cost_bytes=cost_bytes)
        done: Future[FileRecords] = Future()
        done.set_result(self._read_files(files))
        return done

    def read_large_file(self, directory: int, name: bytes) -> FileRecord:
        """Read and store a file of any size; the calling thread reads, workers do the rest."""
        return read_file(
            directory, name, lambda descriptor, _: self.put_stream(blocks_of(descriptor), FILES)
        )

    def _read_files(self, files: Sequence[tuple[int, bytes]]) -> FileRecords:
        return [read_file(directory, name, self._put_whole) for directory, name in files]

    def _put_whole(self, descriptor: int, status: os.stat_result) -> Content:
        content = os.read(descriptor, status.st_size + 1)
        if len(content) != status.st_size:
            content = b"".join((content, *blocks_of(descriptor)))
        return self.put_bytes(content)

    def put_tree(self, nodes: Iterable[tuple[bytes, bytes]]) -> str:
        """Store a directory from `(name, encoded node)` pairs; returns its id in hex."""
        return self._store(BlobType.TREE, Texture.TREE, encode_tree(nodes)).hex()

    def put_folder(self, nodes: Iterable[Node]) -> str:
        """Store a directory from nodes; returns its id in hex."""
        return self.put_tree((node.name, node.encode()) for node in nodes)

    def holds(self, blob_ids: tuple[bytes, ...]) -> bool:
        """Whether every repository holds all these data blobs, so they need not be read."""
        for packer in self._alive():  # noqa: SIM110 - called for every file: no generator
            if not packer.holds(blob_ids):
                return False
        return True

    def submit(self, task: Callable[..., T], *arguments: object, cost_bytes: int) -> Future[T]:
        """Run a task in a worker as soon as `cost_bytes` are free; waits for that.

        A task may call `put_bytes` and `put_tree`, never `submit` or `put_stream`.
        """
        taken = self._budget.take(cost_bytes)
        try:
            future = self._pool.submit(task, *arguments)
        except BaseException:
            self._budget.give(taken)
            raise
        future.add_done_callback(lambda _: self._budget.give(taken))
        return future

    # The end

    def commit(
        self,
        root: str,
        *,
        paths: Sequence[str],
        tags: Sequence[str],
        time: datetime,
        parent: str | None = None,
        summary: dict[str, Any] | None = None,  # Any: counts and times
    ) -> list[Committed]:
        """Make the tree `root` visible as a snapshot in every repository that still works.

        Raises the first repository's error when none does.
        """
        self._encoder.flush()
        committed: dict[int, Committed] = {}
        waiting = dict(enumerate(self._packers))
        for packer in self._alive():
            packer.send_rest()
        while waiting:
            # Whose packs are stored comes first: a slow store must not hold up the others.
            for place, packer in list(waiting.items()):
                try:
                    if self._has_failed(packer):
                        del waiting[place]
                    elif self._is_ready(packer, others_wait=bool(committed)):
                        del waiting[place]
                        committed[place] = self._commit_to(
                            packer, root, paths, tags, time, parent, summary
                        )
                except (StorageError, BusyError) as error:
                    self._fail(packer, error)
                except IntegrityError as error:
                    # The store does not hold what it was given; a fault of this host's memory
                    # would hit every repository.
                    if error.code == "verification-failed":
                        raise
                    self._fail(packer, error)
        self._alive()
        self._committed = True
        return [committed[place] for place in sorted(committed)]

    def _is_ready(self, packer: Packer, *, others_wait: bool) -> bool:
        """Whether all that was put is stored or has failed, as far as others wait for that."""
        if len(self._alive()) == 1:
            return True
        return packer.wait_stored(_GLANCE_SECONDS, others_wait=others_wait)

    def _commit_to(
        self,
        packer: Packer,
        root: str,
        paths: Sequence[str],
        tags: Sequence[str],
        time: datetime,
        parent: str | None,
        summary: dict[str, Any] | None,
    ) -> Committed:
        packer.flush()
        counted = dict(summary or {})
        counted["data_blobs"] = packer.blob_counts[BlobType.DATA]
        counted["tree_blobs"] = packer.blob_counts[BlobType.TREE]
        counted["data_added_packed"] = packer.added_bytes
        snapshot = Snapshot(
            id="",
            time=time,
            tree=root,
            paths=tuple(paths),
            tags=tuple(tags),
            hostname=socket.gethostname(),
            username=_username(),
            parent=parent,
            summary=counted,
        )
        content = encode_snapshot(snapshot, os.getuid(), os.getgid())
        packer.confirm_lock()
        snapshot_id = packer.repository.save_file("snapshots", content)
        name = packer.repository.name
        return Committed(name, replace(snapshot, id=snapshot_id), packer.added_bytes)

    # Blobs

    def _store_batch(self, batch: list[memoryview], texture: Texture) -> list[bytes]:
        return [self._store(BlobType.DATA, texture, chunk) for chunk in batch]

    def _store_data(self, plaintext: Buffer) -> bytes:
        return self._store(BlobType.DATA, Texture.FILE, plaintext)

    def _store(self, blob_type: BlobType, texture: Texture, plaintext: Buffer) -> bytes:
        blob_id = hashlib.sha256(plaintext).digest()
        if wanted := self._reserve(blob_type, blob_id):
            try:
                self._encoder.put(blob_type, texture, blob_id, plaintext, wanted)
            except OSError as error:
                # Not the source's: whoever reads a file must not take it for that.
                raise StorageError(
                    f"this host refuses: {error.strerror or error}", subject="capture"
                ) from error
        return blob_id

    def _reserve(self, blob_type: BlobType, blob_id: bytes) -> list[int]:
        """The places of the packers that must be given this blob."""
        self._alive()
        return [
            place
            for place, packer in enumerate(self._packers)
            if not self._has_failed(packer) and packer.reserve(blob_type, blob_id)
        ]

    def _deliver(
        self, place: int, blob_type: BlobType, sealed: Buffer, blobs: Sequence[SealedBlob]
    ) -> None:
        packer = self._packers[place]
        if self._has_failed(packer):
            return
        try:
            packer.add(blob_type, sealed, blobs)
        except (StorageError, BusyError, IntegrityError) as error:
            self._fail(packer, error)

    # Repositories that fail meanwhile

    def _may_wait(self, seconds: float) -> bool:
        """Whether a repository may hold up the capture any longer."""
        others = len(self._packers) - len(self._failed) > 1
        return not others or seconds < self._most_waiting_seconds

    def _alive(self) -> list[Packer]:
        if not self._failed:
            return self._packers
        alive = [one for one in self._packers if not self._has_failed(one)]
        if not alive:
            raise next(iter(self._failed.values()))
        return alive

    def _has_failed(self, packer: Packer) -> bool:
        return packer.repository.name in self._failed

    def _fail(self, packer: Packer, error: StrongroomError) -> None:
        with self._guard:
            self._failed.setdefault(packer.repository.name, error)
        self._alive()


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
