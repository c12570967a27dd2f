"""Reading files and encoding blobs beside the capture, in processes of their own.

    files or blobs -> [batch in shared memory] -> child: read, cut, SHA-256
                   -> which are new? -> child: zstd, seal, open, unzstd, SHA-256 -> deliver

The processes are started only when a capture has proven to be a large one: until then, and for
blobs larger than a batch, the thread that brings a blob encodes it. What a process leaves that
dies is done here.

Invariant: what is delivered was verified where it lies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from strongroom.errors import IntegrityError
from strongroom.repository.compression import Compressor, Texture
from strongroom.repository.crypto import MasterKey
from strongroom.repository.encoding_child import (
    BATCH_BLOBS,
    BATCH_BYTES,
    Geometry,
    SealedBlob,
)
from strongroom.repository.file_reading import FileRecord, Problem
from strongroom.repository.pack import BlobCodec, BlobType
from strongroom.repository.process_pool import ProcessPool, start_pool
from strongroom.repository.storage.protocol import Buffer

_PROGRAM: Final = "from strongroom.repository.encoding_child import main; main()"
_FULL_BYTES: Final = 1 << 20  # from here on a batch is sent
_SLOTS_A_CHILD: Final = 2  # one being encoded, one being read or filled
# A smaller capture ends before processes have paid for their start.
ENGAGE_BYTES: Final = 64 << 20
ENGAGE_BLOBS: Final = 1_500

Deliver: TypeAlias = Callable[[int, BlobType, Buffer, Sequence[SealedBlob]], None]
"""Takes sealed blobs that lie one behind the other: for which key (its place), their type, bytes,
and what they are. The bytes are valid during the call only."""

Reserve: TypeAlias = Callable[[BlobType, bytes], Sequence[int]]
"""The places of the keys for which a blob has to be encoded; nobody else is told the same."""

FileRecords: TypeAlias = list[FileRecord | None]
"""What became of each file; None for one that must be read by whoever asked."""


@dataclass(slots=True)
class _Batch:
    """A slot of the shared memory that is being filled, read or encoded.

    `blobs` are given by texture, id, place, length and keys; while `records` waits, the files are
    being read.
    """

    slot: int
    type: BlobType
    used: int = 0
    blobs: list[tuple[str, bytes, int, int, Sequence[int]]] = field(default_factory=list)
    files: int = 0
    records: Future[FileRecords] | None = None


class Encoder:
    """Encodes blobs for several keys and delivers them in any order, from any thread.

    `put`, `read` and `flush` raise what went wrong in an earlier delivery or encoding.
    """

    def __init__(
        self,
        keys: Sequence[MasterKey],
        reserve: Reserve,
        deliver: Deliver,
        *,
        effort: str,
        processes: int,
    ) -> None:
        self._keys = tuple(keys)
        self._reserve, self._deliver = reserve, deliver
        self._effort = effort
        self._processes = processes
        self._geometry = Geometry(len(keys))
        self._local = threading.local()
        self._guard = threading.Lock()
        self._seen_bytes = self._seen_blobs = 0
        self.engaged = False
        self._pool: ProcessPool[_Batch] | None = None
        self._open: dict[BlobType, _Batch] = {}
        self._idle = threading.Condition()
        self._unfinished = 0
        self._failure: BaseException | None = None

    def put(
        self,
        blob_type: BlobType,
        texture: Texture,
        blob_id: bytes,
        plaintext: Buffer,
        wanted: Sequence[int],
    ) -> None:
        """Encode a blob for the keys at these places; waits while all batches are under way."""
        self._raise_failure()
        length = len(plaintext)
        if length > BATCH_BYTES or not self._is_engaged(length):
            self._encode_here(blob_type, texture, blob_id, plaintext, wanted)
            return
        with self._guard:
            batch = self._open.get(blob_type)
            if batch is not None and batch.used + length > BATCH_BYTES:
                self._send(batch)
                batch = None
            if batch is None:
                batch = self._open[blob_type] = self._new_batch(blob_type, self._send_open)
            begin = batch.slot * self._geometry.slot_bytes + batch.used
            assert self._pool is not None
            self._pool.memory[begin : begin + length] = plaintext
            batch.blobs.append((str(texture), blob_id, batch.used, length, tuple(wanted)))
            batch.used += length
            if batch.used >= _FULL_BYTES or len(batch.blobs) >= BATCH_BLOBS:
                self._send(batch)

    def read(self, files: Sequence[tuple[int, bytes]]) -> Future[FileRecords]:
        """Store files, given by their directory's descriptor and their name, in a child.

        They should hold less than a batch together. The records are there before the blobs are.
        """
        self._raise_failure()
        batch = self._new_batch(BlobType.DATA, self._send_open_guarded)
        batch.files = len(files)
        records: Future[FileRecords] = Future()
        batch.records = records
        directories = list(dict.fromkeys(directory for directory, _ in files))
        places = {directory: place for place, directory in enumerate(directories)}
        named = [(places[directory], name) for directory, name in files]
        self._hand_over(batch, (batch.slot, named, ()), directories)
        return records

    def flush(self) -> None:
        """Everything that was put or read has been delivered when this returns."""
        self._send_open_guarded()
        with self._idle:
            self._idle.wait_for(lambda: not self._unfinished or self._failure is not None)
        self._raise_failure()

    def close(self) -> None:
        """End the processes; what was not delivered yet may never be."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    # In this process

    def _encode_here(
        self,
        blob_type: BlobType,
        texture: Texture,
        blob_id: bytes,
        plaintext: Buffer,
        wanted: Sequence[int],
    ) -> None:
        codecs: list[BlobCodec] | None = getattr(self._local, "codecs", None)
        if codecs is None:
            codecs = self._local.codecs = [BlobCodec(key) for key in self._keys]
            self._local.compressor = Compressor(self._effort)
        compressed = self._local.compressor.compress(plaintext, texture)
        for place in wanted:
            blob = codecs[place].encode(
                blob_id, plaintext, compressed, keep_raw=blob_type is BlobType.DATA
            )
            told = (blob_id, len(blob.sealed), blob.plain_length)
            self._deliver(place, blob_type, blob.sealed, [told])

    # In the children

    def _is_engaged(self, length: int) -> bool:
        """Whether the processes are at work; starts them once it is worth it."""
        if self.engaged:
            return True
        with self._guard:
            self._seen_bytes += length
            self._seen_blobs += 1
            enough = self._seen_bytes >= ENGAGE_BYTES or self._seen_blobs >= ENGAGE_BLOBS
            if enough and self._processes:
                self._start()
            return self.engaged

    def _start(self) -> None:
        keys = [(key.encrypt, key.mac_k, key.mac_r) for key in self._keys]
        processes, self._processes = self._processes, 0
        self._pool = start_pool(
            lambda: ProcessPool(
                _PROGRAM,
                (self._effort, keys),
                processes=processes,
                slots=_SLOTS_A_CHILD * processes,
                slot_bytes=self._geometry.slot_bytes,
                answered=self._answered,
                left=self._leave,
            )
        )
        self.engaged = self._pool is not None

    def _new_batch(self, blob_type: BlobType, send_open: Callable[[], None]) -> _Batch:
        """An empty batch; waits for one to become free.

        Batches that are being filled are sent first: they may hold all slots that there are.
        """
        assert self._pool is not None
        slot = self._pool.try_slot()
        if slot is None:
            send_open()
            slot = self._pool.take_slot(self._raise_failure)
        with self._idle:
            self._unfinished += 1
        return _Batch(slot, blob_type)

    def _send_open_guarded(self) -> None:
        with self._guard:
            self._send_open()

    def _send_open(self) -> None:
        for batch in list(self._open.values()):
            self._send(batch)

    def _send(self, batch: _Batch) -> None:
        """Have a batch of blobs encoded."""
        del self._open[batch.type]
        self._hand_over(batch, (batch.slot, (), batch.blobs))

    def _hand_over(
        self, batch: _Batch, command: Any, directories: Sequence[int] = ()
    ) -> None:  # Any: a command of `encoding_child`
        assert self._pool is not None
        if not self._pool.give(batch, command, directories):
            self.engaged = False
            self._leave(batch)

    def _answered(self, batch: _Batch, answer: Any) -> Any:  # Any: of and for `encoding_child`
        """Go on with what a child answers: its next command, None when the batch is done."""
        try:
            if isinstance(answer, str):
                raise IntegrityError(answer, code="verification-failed")
            if self._failure is not None:
                raise self._failure
            if batch.records is None:
                self._deliver_batch(batch, answer)
            elif self._wants(batch, answer):
                return (batch.slot, (), batch.blobs)
        except BaseException as error:
            self._fail(batch, error)
        self._finish(batch)
        return None

    def _wants(self, batch: _Batch, answer: Any) -> bool:  # Any: what `_Child.read` gives
        """Whether any blob of the files that were read into a batch is to be encoded."""
        records: FileRecords = []
        for told, blobs in answer:
            for blob_id, offset, length in blobs:
                if wanted := self._reserve(BlobType.DATA, blob_id):
                    batch.blobs.append((str(Texture.FILE), blob_id, offset, length, tuple(wanted)))
            if told is None:
                records.append(None)
            else:
                node, size, problems = told
                records.append(FileRecord(node, size, tuple(Problem(*one) for one in problems)))
        assert batch.records is not None
        waiting, batch.records = batch.records, None
        waiting.set_result(records)
        return bool(batch.blobs)

    def _deliver_batch(self, batch: _Batch, answer: list[list[SealedBlob]]) -> None:
        assert self._pool is not None
        base = batch.slot * self._geometry.slot_bytes
        with memoryview(self._pool.memory) as memory:
            for place, blobs in enumerate(answer):
                if blobs:
                    begin = base + self._geometry.sealed_at(place)
                    end = begin + sum(length for _, length, _ in blobs)
                    with memory[begin:end] as sealed:
                        self._deliver(place, batch.type, sealed, blobs)

    def _leave(self, batch: _Batch) -> None:
        """Do without a child: encode a batch here, leave files to whoever asked."""
        try:
            if self._failure is not None:
                raise self._failure
            if batch.records is not None:
                batch.records.set_result([None] * batch.files)
            assert self._pool is not None
            base = batch.slot * self._geometry.slot_bytes
            for texture, blob_id, offset, length, wanted in batch.blobs:
                plaintext = self._pool.memory[base + offset : base + offset + length]
                self._encode_here(batch.type, Texture(texture), blob_id, plaintext, wanted)
        except BaseException as error:
            self._fail(batch, error)
        self._finish(batch)

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        self._failure = self._failure or error
        if batch.records is not None and not batch.records.done():
            batch.records.set_exception(error)

    def _finish(self, batch: _Batch) -> None:
        assert self._pool is not None
        self._pool.free_slot(batch.slot)
        with self._idle:
            self._unfinished -= 1
            self._idle.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
