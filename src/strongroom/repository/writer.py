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
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import zstandard

from strongroom.errors import BusyError, IntegrityError, StorageError, StrongroomError
from strongroom.model import Finding, finding
from strongroom.repository.chunker import FILES, ChunkProfile, cut
from strongroom.repository.pack import BlobType
from strongroom.repository.packer import DEFAULT_PACK_BYTES, Packer
from strongroom.repository.repository import Repository
from strongroom.repository.snapshot import Snapshot, encode_snapshot
from strongroom.repository.storage.protocol import Buffer
from strongroom.repository.tree import Node, encode_tree

T = TypeVar("T")

COMPRESSION_LEVELS: Final = {"fast": 1, "default": 3, "best": 9}


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """Bounds of the pipeline. `queue_bytes` is plaintext waiting for a worker or in one."""

    workers: int = 2
    queue_bytes: int = 32 << 20
    pack_bytes: int = DEFAULT_PACK_BYTES
    compression: str = "default"


@dataclass(frozen=True, slots=True)
class Content:
    """Stored content: the ids of its blobs in order, and its length in bytes."""

    blobs: tuple[bytes, ...]
    size: int


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
        self, repositories: Sequence[Repository], options: WriterOptions = WriterOptions()
    ) -> None:
        buffers = 3 if len(repositories) == 1 else 2
        self._packers = [
            Packer(repository, pack_bytes=options.pack_bytes, buffers=buffers)
            for repository in repositories
        ]
        self._level = COMPRESSION_LEVELS[options.compression]
        self._budget = _Budget(options.queue_bytes)
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="blob")
        self._local = threading.local()
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
            for packer in self._packers:
                ending.callback(packer.end, abandoned=not self._committed)
            self._pool.shutdown(wait=True, cancel_futures=True)

    # What a source pushes

    def put_stream(self, blocks: Iterable[Buffer], profile: ChunkProfile) -> Content:
        """Store a stream of unknown length. The blocks must not be altered afterwards.

        The calling thread reads and cuts; workers do the rest.
        """
        blobs: list[bytes] = []
        waiting: deque[Future[list[bytes]]] = deque()
        size = 0
        for batch in cut(blocks, profile):
            length = sum(map(len, batch))
            size += length
            waiting.append(self.submit(self._store_batch, batch, cost_bytes=length))
            while waiting and waiting[0].done():
                blobs.extend(waiting.popleft().result())
        for future in waiting:
            blobs.extend(future.result())
        return Content(tuple(blobs), size)

    def put_bytes(self, content: Buffer) -> Content:
        """Store content that is in memory, in the calling thread."""
        if len(content) <= FILES.min_bytes:
            whole = self._store(BlobType.DATA, content) if len(content) else b""
            return Content((whole,) if whole else (), len(content))
        blobs = tuple(
            self._store(BlobType.DATA, chunk) for batch in cut([content], FILES) for chunk in batch
        )
        return Content(blobs, len(content))

    def put_tree(self, nodes: Iterable[tuple[bytes, bytes]]) -> str:
        """Store a directory from `(name, encoded node)` pairs; returns its id in hex."""
        return self._store(BlobType.TREE, encode_tree(nodes)).hex()

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
        committed = []
        for packer in self._alive():
            try:
                committed.append(self._commit_to(packer, root, paths, tags, time, parent, summary))
            except (StorageError, BusyError) as error:
                self._fail(packer, error)
            except IntegrityError as error:
                # The store does not hold what it was given; a fault of this host's memory would
                # hit every repository.
                if error.code == "verification-failed":
                    raise
                self._fail(packer, error)
        self._alive()
        self._committed = True
        return committed

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

    def _store_batch(self, batch: list[memoryview]) -> list[bytes]:
        return [self._store(BlobType.DATA, chunk) for chunk in batch]

    def _store(self, blob_type: BlobType, plaintext: Buffer) -> bytes:
        blob_id = hashlib.sha256(plaintext).digest()
        compressed: bytes | None = None
        for packer in self._alive():
            if not packer.reserve(blob_type, blob_id):
                continue
            if compressed is None:
                compressed = self._compressor().compress(plaintext)
            blob = packer.repository.codec().encode(
                blob_id, plaintext, compressed, keep_raw=blob_type is BlobType.DATA
            )
            try:
                packer.add(blob_type, blob)
            except (StorageError, BusyError, IntegrityError) as error:
                self._fail(packer, error)
        return blob_id

    def _compressor(self) -> zstandard.ZstdCompressor:
        compressor: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = zstandard.ZstdCompressor(level=self._level)
            self._local.compressor = compressor
        return compressor

    # Repositories that fail meanwhile

    def _alive(self) -> list[Packer]:
        if not self._failed:
            return self._packers
        alive = [one for one in self._packers if one.repository.name not in self._failed]
        if not alive:
            raise next(iter(self._failed.values()))
        return alive

    def _fail(self, packer: Packer, error: StrongroomError) -> None:
        with self._guard:
            self._failed.setdefault(packer.repository.name, error)
        self._alive()


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
