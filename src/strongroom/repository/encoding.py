"""Reading files and encoding blobs beside the capture, in processes of their own.

    files or blobs -> [batch in shared memory] -> child: read, cut, SHA-256
                   -> which are new? -> child: zstd, seal, open, unzstd, SHA-256 -> deliver

One interpreter's lock lets about two processors work; processes share nothing but the memory in
which a batch lies. They are started only when a capture has proven to be a large one: until then,
and for blobs larger than a batch, the thread that brings a blob encodes it.

Invariants: what is delivered was verified where it lies; memory is bounded by the number of
batches, and whoever brings more waits. A child that dies (the kernel's choice when memory is
short) costs speed and nothing else: what it had been given is done here. Keys go through a socket.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import queue
import socket
import subprocess
import sys
import threading
from collections import deque
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
    receive_message,
    send_message,
)
from strongroom.repository.file_reading import FileRecord, Problem
from strongroom.repository.pack import BlobCodec, BlobType
from strongroom.repository.storage.protocol import Buffer

_LOG: Final = logging.getLogger("strongroom")
_PROGRAM: Final = "from strongroom.repository.encoding_child import main; main()"
_SOCKET_BYTES: Final = 1 << 20

_FULL_BYTES: Final = 1 << 20  # from here on a batch is sent
_SLOTS_A_CHILD: Final = 3  # one being encoded, one being read, one being filled
# A smaller capture ends before processes have paid for their start.
ENGAGE_BYTES: Final = 24 << 20
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
        self._memory: mmap.mmap | None = None
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._open: dict[BlobType, _Batch] = {}
        self._children: list[_Child] = []
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
                batch = self._open[blob_type] = self._new_batch(blob_type)
            begin = batch.slot * self._geometry.slot_bytes + batch.used
            assert self._memory is not None
            self._memory[begin : begin + length] = plaintext
            batch.blobs.append((str(texture), blob_id, batch.used, length, tuple(wanted)))
            batch.used += length
            if batch.used >= _FULL_BYTES or len(batch.blobs) >= BATCH_BLOBS:
                self._send(batch)

    def read(self, files: Sequence[tuple[int, bytes]]) -> Future[FileRecords]:
        """Store files, given by their directory's descriptor and their name, in a child.

        They should hold less than a batch together. The records are there before the blobs are.
        """
        self._raise_failure()
        batch = self._new_batch(BlobType.DATA)
        batch.files = len(files)
        records: Future[FileRecords] = Future()
        batch.records = records
        directories = list(dict.fromkeys(directory for directory, _ in files))
        places = {directory: place for place, directory in enumerate(directories)}
        named = [(places[directory], name) for directory, name in files]
        if not self._hand_over(batch, (batch.slot, named, ()), directories):
            self._leave(batch)
        return records

    def flush(self) -> None:
        """Everything that was put or read has been delivered when this returns."""
        with self._guard:
            for batch in list(self._open.values()):
                self._send(batch)
        with self._idle:
            self._idle.wait_for(lambda: not self._unfinished or self._failure is not None)
        self._raise_failure()

    def close(self) -> None:
        """End the processes; what was not delivered yet may never be."""
        for child in self._children:
            child.end()
        for child in self._children:
            child.thread.join()
        self._children.clear()
        if self._memory is not None:
            self._memory.close()
            self._memory = None

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
            if enough and self._memory is None and self._processes:
                self._start()
            return self.engaged

    def _start(self) -> None:
        slots = _SLOTS_A_CHILD * self._processes
        try:
            descriptor = os.memfd_create("strongroom-batches", os.MFD_CLOEXEC)
        except (AttributeError, OSError):  # not Linux, or no descriptor left
            self._processes = 0
            return
        try:
            size = slots * self._geometry.slot_bytes
            os.truncate(descriptor, size)
            self._memory = mmap.mmap(descriptor, size)
            keys = [(key.encrypt, key.mac_k, key.mac_r) for key in self._keys]
            for _ in range(self._processes):
                with contextlib.suppress(OSError):
                    self._children.append(_Child(descriptor, (self._effort, keys)))
        finally:
            os.close(descriptor)
        for slot in range(slots):
            self._free.put(slot)
        for child in self._children:
            child.thread = threading.Thread(
                target=self._receive, args=(child,), name="encoded", daemon=True
            )
            child.thread.start()
        self.engaged = bool(self._children)

    def _new_batch(self, blob_type: BlobType) -> _Batch:
        """An empty batch; waits for one to become free."""
        while True:
            try:
                slot = self._free.get(timeout=0.5)
            except queue.Empty:
                self._raise_failure()
                continue
            with self._idle:
                self._unfinished += 1
            return _Batch(slot, blob_type)

    def _send(self, batch: _Batch) -> None:
        """Have a batch of blobs encoded."""
        del self._open[batch.type]
        if not self._hand_over(batch, (batch.slot, (), batch.blobs)):
            self._leave(batch)

    def _hand_over(
        self, batch: _Batch, message: Any, directories: Sequence[int] = ()
    ) -> bool:  # Any: a command of `encoding_child.serve`
        """Give a batch to the child that has the least to do; False when none is left."""
        for child in sorted(self._children, key=lambda one: len(one.batches)):
            if child.give(batch, message, directories):
                return True
        self.engaged = False
        return False

    def _receive(self, child: _Child) -> None:
        """Go on with what a child answers; once it is gone, do what it leaves."""
        while (answer := child.receive()) is not None:
            batch = child.batches.popleft()
            try:
                if isinstance(answer, str):
                    raise IntegrityError(answer, code="verification-failed")
                if self._failure is not None:
                    raise self._failure
                if batch.records is None:
                    self._deliver_batch(batch, answer)
                elif self._wants(batch, answer):
                    if not child.give(batch, (batch.slot, (), batch.blobs)):
                        self._leave(batch)
                    continue
            except BaseException as error:
                self._fail(batch, error)
            self._finish(batch)
        for batch in child.abandon():
            self._leave(batch)

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
        assert self._memory is not None
        base = batch.slot * self._geometry.slot_bytes
        with memoryview(self._memory) as memory:
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
            assert self._memory is not None
            base = batch.slot * self._geometry.slot_bytes
            for texture, blob_id, offset, length, wanted in batch.blobs:
                plaintext = self._memory[base + offset : base + offset + length]
                self._encode_here(batch.type, Texture(texture), blob_id, plaintext, wanted)
        except BaseException as error:
            self._fail(batch, error)
        self._finish(batch)

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        self._failure = self._failure or error
        if batch.records is not None and not batch.records.done():
            batch.records.set_exception(error)

    def _finish(self, batch: _Batch) -> None:
        self._free.put(batch.slot)
        with self._idle:
            self._unfinished -= 1
            self._idle.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Child:
    """An encoding process: our end of its socket, and the batches not answered yet, in order."""

    def __init__(self, memory: int, greeting: object) -> None:
        self.batches: deque[_Batch] = deque()
        self.thread: threading.Thread
        self._alive = True
        self._guard = threading.Lock()
        self._pipe, theirs = socket.socketpair()
        with theirs:
            # Whatever is under way fits, so that neither side ever waits for the other to read.
            for end in (self._pipe, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
            # A session of its own: Ctrl-C is for us, and the end of its commands ends it.
            self._program = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(memory), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(memory, theirs.fileno()),
                start_new_session=True,
            )
        self._send(greeting, ())

    def give(self, batch: _Batch, message: object, directories: Sequence[int] = ()) -> bool:
        """Hand over a batch; False when the process is gone."""
        with self._guard:
            if not self._alive:
                return False
            self.batches.append(batch)
            # Sent or not, from here on the receiving thread answers for the batch.
            self._send(message, directories)
            return True

    def receive(self) -> Any:  # Any: what `encoding_child.serve` sends
        """The next answer; None when the process is gone."""
        try:
            return receive_message(self._pipe)[0]
        except OSError:
            return None

    def abandon(self) -> list[_Batch]:
        """No batch is taken from now on; returns those that were not answered."""
        with self._guard:
            self._alive = False
            left = list(self.batches)
            self.batches.clear()
        self._pipe.close()
        status = self._program.wait()
        if left:
            _LOG.warning("an encoding process ended with status %d; its work is done here", status)
        return left

    def end(self) -> None:
        """Let the process end; at once when it has something to do."""
        with self._guard:
            if self._alive and self.batches:
                self._program.kill()
            with contextlib.suppress(OSError):
                self._pipe.shutdown(socket.SHUT_WR)

    def _send(self, message: object, directories: Sequence[int]) -> None:
        with contextlib.suppress(OSError):  # it has gone: the receiving thread notices
            send_message(self._pipe, message, directories)
