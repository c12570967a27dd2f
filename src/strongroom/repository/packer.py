"""From sealed blobs to packs on a store: the last stage of the writer's pipeline, per repository.

Invariant I2: packs are durable before an index names them, and the index before a snapshot is
written. An index names only packs that the store was asked about; `flush` returns only when all
packs are stored, indexed and still there. What fails in the uploading thread is raised at the next
call.

Memory: a fixed number of page-aligned pack buffers; adding a blob waits for a free one.
"""

from __future__ import annotations

import hashlib
import mmap
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.errors import IntegrityError, StorageError, StrongroomError
from strongroom.model import Finding, finding
from strongroom.repository.encoding_child import SealedBlob
from strongroom.repository.index import MAX_BLOBS_PER_FILE, BlobIndex, encode_index
from strongroom.repository.lock import Lock
from strongroom.repository.pack import (
    BlobType,
    PackEntry,
    finish_pack,
    header_bytes,
    whole_pack_bytes,
)
from strongroom.repository.repository import Repository, pack_name
from strongroom.repository.storage.protocol import Buffer

DEFAULT_PACK_BYTES: Final = 16 << 20
_MIN_BUFFER_BYTES: Final = 10 << 20  # holds the largest chunk of any profile, sealed
_INDEX_EVERY_SECONDS: Final = 600.0


@dataclass(slots=True)
class _OpenPack:
    """A pack being filled: its buffer, how far, and what lies in it."""

    type: BlobType
    buffer: mmap.mmap
    used: int
    entries: list[PackEntry]
    is_single: bool = False  # its buffer fits nothing else


@dataclass(frozen=True, slots=True)
class _Observed:
    """An index, its packs that the store does not hold whole with their findings' codes, and how
    many packs it does not name."""

    index: BlobIndex
    lost: dict[str, str]
    unindexed: int


def _memory(size_bytes: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size_bytes)
    except OSError as error:
        raise StorageError(
            f"no memory for a pack of {size_bytes} bytes: {error.strerror}",
            hint="Set a smaller `engine: {memory: ...}`, or free memory on this host.",
        ) from error


class Packer:
    """Adds blobs to one repository. `reserve` and `add` are safe from several threads."""

    def __init__(
        self,
        repository: Repository,
        *,
        pack_bytes: int,
        most_buffers: int,
        may_wait: Callable[[float], bool] = lambda _: True,
        lock: Lock | None = None,
    ) -> None:
        self.repository = repository
        self._may_wait = may_wait
        self._waited_seconds = 0.0
        self._left_behind = False
        self._uploaders = max(1, min(repository.storage.connections, most_buffers - 2))
        self.added_bytes = 0
        self.blob_counts = {BlobType.DATA: 0, BlobType.TREE: 0}
        self.findings: list[Finding] = []
        self._pack_bytes = pack_bytes
        self._capacity = max(pack_bytes, _MIN_BUFFER_BYTES)
        self._free: dict[BlobType, queue.SimpleQueue[mmap.mmap]] = {
            blob_type: queue.SimpleQueue() for blob_type in BlobType
        }
        # Of data, one is filled while others are on their way to the store; trees come slowly.
        self._unmade = {BlobType.DATA: self._uploaders + 1, BlobType.TREE: 1}
        self._guard = threading.Lock()
        self._names = threading.Lock()
        self._open: dict[BlobType, _OpenPack] = {}
        self._pending: dict[BlobType, set[bytes]] = {BlobType.DATA: set(), BlobType.TREE: set()}
        self._uploads: queue.SimpleQueue[_OpenPack | None] = queue.SimpleQueue()
        self._idle = threading.Condition()
        self._unfinished = 0
        self._failure: BaseException | None = None
        self._unindexed: list[tuple[str, list[PackEntry]]] = []
        self._indexed: list[tuple[str, int]] = []
        self._indexed_at = time.monotonic()
        self._lock = lock
        self._owns_lock = lock is None
        self._known = BlobIndex()
        self._fresh = BlobIndex()  # what this run has stored and not yet indexed
        self._threads: list[threading.Thread] = []
        self._records = threading.Lock()

    def begin(self) -> None:
        """Take the lock unless the caller holds one, load the index, and trust only packs that the
        store really holds."""
        if self._lock is None:
            self._lock = self.repository.new_lock()
            self._lock.acquire()
        was_read = self.repository.has_read_index
        observed = self._observe()
        if was_read and (observed.lost or observed.unindexed):
            # Between two sources, say: others may have written and pruned since the index was read.
            self.repository.forget_index()
            observed = self._observe()
        self.findings.extend(self.repository.index_findings)
        self._known = self._trusted(observed)
        for _ in range(self._uploaders):
            thread = threading.Thread(target=self._upload_all, name="upload", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _observe(self) -> _Observed:
        """Compare the index with the store's packs, which are listed after it was read."""
        index = self.repository.index
        sizes = {file.name: file.size_bytes for file in self.repository.storage.list("data")}
        lost = {}
        for pack, expected in index.pack_sizes():
            observed = sizes.get(pack_name(pack))
            if observed != expected:
                lost[pack] = "pack-missing" if observed is None else "pack-size"
        unindexed = sum(not index.has_pack(name.rpartition("/")[2]) for name in sizes)
        return _Observed(index, lost, unindexed)

    def _trusted(self, observed: _Observed) -> BlobIndex:
        """The part of the index whose packs the store holds whole; the rest becomes findings."""
        for pack, code in observed.lost.items():
            message = "its blobs are captured again as far as the sources still have them"
            self.findings.append(finding(code, f"{self.repository.name}: {pack}", message))
        if number := observed.unindexed:
            message = f"{number} packs are in no index; what is missing of them is stored again"
            self.findings.append(finding("pack-orphaned", self.repository.name, message))
        if not observed.lost:
            return observed.index
        trusted = BlobIndex()
        for pack, entries in observed.index.packs():
            if pack not in observed.lost:
                trusted.add_pack(pack, entries)
        return trusted

    def holds(self, blob_ids: tuple[bytes, ...]) -> bool:
        """Whether all these data blobs lie in packs that the store holds."""
        return self._known.has_all_data(blob_ids)

    def holds_tree(self, tree: str) -> bool:
        return self._known.has(BlobType.TREE, bytes.fromhex(tree))

    def reserve(self, blob_type: BlobType, blob_id: bytes) -> bool:
        """Whether the caller must `add` this blob: it is new, and nobody else is adding it."""
        if self._known.has(blob_type, blob_id):
            return False
        pending = self._pending[blob_type]
        with self._names:
            known = self._fresh.has(blob_type, blob_id) or self._known.has(blob_type, blob_id)
            if blob_id in pending or known:
                return False
            pending.add(blob_id)
            return True

    def add(self, blob_type: BlobType, sealed: Buffer, blobs: Sequence[SealedBlob]) -> None:
        """Put sealed blobs, one behind the other in `sealed`, into a pack.

        Waits while all buffers are on their way to the store. Blobs given together must fit into
        one pack.
        """
        length = len(sealed)
        with self._guard:
            self.raise_failure()
            alone = length + header_bytes(len(blobs))
            if alone > self._capacity:
                # The tree of a folder with a million files, for one: a pack of its own.
                pack = _OpenPack(blob_type, _memory(alone), 0, [], is_single=True)
                self._fill(pack, sealed, blobs)
                self._send(pack)
                return
            open_pack = self._open.get(blob_type)
            if open_pack is not None:
                needed = open_pack.used + length + header_bytes(len(open_pack.entries) + len(blobs))
                if needed > self._capacity or open_pack.used >= self._pack_bytes:
                    self._send(self._open.pop(blob_type))
                    open_pack = None
            if open_pack is None:
                open_pack = _OpenPack(blob_type, self._buffer(blob_type), 0, [])
                self._open[blob_type] = open_pack
            self._fill(open_pack, sealed, blobs)

    def _fill(self, pack: _OpenPack, sealed: Buffer, blobs: Sequence[SealedBlob]) -> None:
        pack.buffer[pack.used : pack.used + len(sealed)] = sealed
        for blob_id, sealed_length, plain_length in blobs:
            pack.entries.append(
                PackEntry(pack.type, blob_id, pack.used, sealed_length, plain_length)
            )
            pack.used += sealed_length
        self.blob_counts[pack.type] += len(blobs)

    def flush(self) -> None:
        """Store what is open, wait for all packs, confirm them on the store and index them."""
        self._drain()
        if promised := sum(map(len, self._pending.values())):
            # Somebody relies on blobs whose storing failed and was not noticed: never go on.
            raise IntegrityError(
                f"{promised} blobs were promised and never stored",
                subject=self.repository.name,
                code="verification-failed",
            )
        if self._lock is not None:
            self._lock.confirm()
        earlier = list(self._indexed)
        self._write_index()
        self._confirm(earlier)
        self._indexed.clear()

    def send_rest(self) -> None:
        """Have what is open stored as well; nothing is added after this."""
        with self._guard:
            for blob_type in list(self._open):
                self._send(self._open.pop(blob_type))

    def wait_stored(self, seconds: float, *, others_wait: bool) -> bool:
        """Whether all packs are stored, or have failed, within `seconds`.

        While `others_wait` this counts as being waited for: StorageError when it was too long.
        """
        begun = time.monotonic()
        with self._idle:
            stored = self._idle.wait_for(self._is_idle, timeout=seconds)
        if not stored and others_wait:
            self._waited_seconds += time.monotonic() - begun
            self._must_be_worth_waiting()
        return stored

    def confirm_lock(self) -> None:
        """See `Lock.confirm`; also raises what went wrong in the uploading thread."""
        self.raise_failure()
        if self._lock is not None:
            self._lock.confirm()

    def end(self, *, abandoned: bool) -> None:
        """Stop the thread and release the lock.

        An abandoned run still indexes its whole packs, so that the next one need not send them
        again and no tool sees orphans; when even that fails, prune finds them.
        """
        try:
            for _ in self._threads:
                self._uploads.put(None)
            for thread in self._threads:
                thread.join()
            if abandoned and self._failure is None and self._unindexed:
                self.confirm_lock()
                self._write_index()
        except StrongroomError:
            pass  # the run has failed already, with an error of its own that is being raised
        finally:
            if self._lock is not None and self._owns_lock:
                self.findings.extend(self._lock.findings)
                self._lock.release()

    def raise_failure(self) -> None:
        """Raise what the uploading thread met, if anything."""
        if self._failure is not None:
            raise self._failure

    def _buffer(self, blob_type: BlobType) -> mmap.mmap:
        if self._unmade[blob_type]:
            made = _memory(self._capacity)
            self._unmade[blob_type] -= 1
            return made
        while True:
            begun = time.monotonic()
            try:
                return self._free[blob_type].get(timeout=0.5)
            except queue.Empty:
                self.raise_failure()
            finally:
                self._waited_seconds += time.monotonic() - begun
            self._must_be_worth_waiting()

    def _must_be_worth_waiting(self) -> None:
        """StorageError when it is not: then what waits to be stored is dropped, too."""
        if not self._may_wait(self._waited_seconds):
            self._left_behind = True
            raise StorageError(
                f"it is too slow: the capture has waited {self._waited_seconds:.0f} s for it",
                subject=self.repository.name,
                code="store-unreachable",
                hint="It is caught up from another repository; or use `strongroom copy`.",
            )

    def _send(self, pack: _OpenPack) -> None:
        tail = finish_pack(self.repository.codec(), pack.entries)
        pack.buffer[pack.used : pack.used + len(tail)] = tail
        pack.used += len(tail)
        with self._idle:
            self._unfinished += 1
        self._uploads.put(pack)

    def _drain(self) -> None:
        self.send_rest()
        with self._idle:
            self._idle.wait_for(self._is_idle)
        self.raise_failure()

    def _is_idle(self) -> bool:
        return self._unfinished == 0 or self._failure is not None

    def _upload_all(self) -> None:
        while (pack := self._uploads.get()) is not None:
            try:
                if self._failure is None and not self._left_behind:
                    self._upload(pack)
            except BaseException as error:
                self._failure = error
            finally:
                if not pack.is_single:
                    self._free[pack.type].put(pack.buffer)
                with self._idle:
                    self._unfinished -= 1
                    self._idle.notify_all()

    def _upload(self, pack: _OpenPack) -> None:
        if self._lock is not None:
            self._lock.confirm()
        with memoryview(pack.buffer) as whole, whole[: pack.used] as content:
            name = hashlib.sha256(content).hexdigest()
            self.repository.storage.save(pack_name(name), content)
        with self._records:
            # An index takes less memory than a set; what no index file names yet is not "known".
            self._fresh.add_pack(name, pack.entries)
            self._unindexed.append((name, pack.entries))
            self.added_bytes += pack.used
            count = sum(len(entries) for _, entries in self._unindexed)
            aged = time.monotonic() - self._indexed_at > _INDEX_EVERY_SECONDS
            if count >= MAX_BLOBS_PER_FILE or aged:
                self._write_index()
        with self._names:  # never the guard: whoever adds may hold it, waiting for this pack
            for entry in pack.entries:
                self._pending[entry.type].discard(entry.id)

    def _write_index(self) -> None:
        packs = list(self._unindexed)
        if packs:
            self._confirm((pack, whole_pack_bytes(entries)) for pack, entries in packs)
            self._unindexed.clear()  # once only: a save that fails may have stored it all the same
            self.repository.save_file("index", encode_index(packs))
            with self._names:  # a blob is in the one or the other whenever somebody asks
                for index in {
                    id(one): one for one in (self.repository.index, self._known)
                }.values():
                    for pack, entries in packs:
                        index.add_pack(pack, entries)
                self._fresh = BlobIndex()
            self._indexed += [(pack, whole_pack_bytes(entries)) for pack, entries in packs]
        self._indexed_at = time.monotonic()

    def _confirm(self, packs: Iterable[tuple[str, int]]) -> None:
        """IntegrityError when the store does not hold these packs in their sizes."""
        for pack, expected in packs:
            observed = self.repository.storage.size(pack_name(pack))
            if observed != expected:
                raise IntegrityError(
                    f"the store holds {observed} of {expected} bytes of a pack just written",
                    subject=f"{self.repository.name}: {pack}",
                    code="pack-damaged",
                )
