"""What an encoding process does: read files into a batch, encode a batch; see `encoding`.

A batch is a slot of shared memory: plaintext at its beginning, sealed blobs behind it, those of
each key together.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from strongroom.errors import IntegrityError
from strongroom.repository.chunker import FILES, cut
from strongroom.repository.compression import Compressor, Texture
from strongroom.repository.crypto import OVERHEAD_BYTES, MasterKey
from strongroom.repository.file_reading import Content, read_file
from strongroom.repository.pack import BlobCodec
from strongroom.repository.process_child import CarryOut, serve

BATCH_BYTES: Final = 2 << 20  # the most plaintext in one batch
BATCH_BLOBS: Final = 256


def _bound(length: int) -> int:
    """The most bytes that a sealed blob of this plaintext can have, zstd's worst case included."""
    return length + (length >> 7) + 128


SEALED_BYTES: Final = _bound(BATCH_BYTES) + 128 * BATCH_BLOBS  # of one key

BlobPlace: TypeAlias = tuple[bytes, int, int]
"""A blob's id, and where its plaintext begins in the batch and how long it is."""

SealedBlob: TypeAlias = tuple[bytes, int, int | None]
"""A blob's id, its sealed length, and its plaintext's length or None when it is stored raw."""


class Geometry(NamedTuple):
    """How slots lie in the shared memory."""

    keys: int

    @property
    def slot_bytes(self) -> int:
        whole = BATCH_BYTES + self.keys * SEALED_BYTES
        return whole + -whole % mmap.PAGESIZE

    def sealed_at(self, place: int) -> int:
        """Where the sealed blobs of a key begin in a slot."""
        return BATCH_BYTES + place * SEALED_BYTES


class _NoRoomError(Exception):
    """A file has grown beyond what the batch can take."""


class _Child:
    """The process's state: keys, contexts, and the shared memory."""

    def __init__(self, memory: memoryview, effort: str, keys: Sequence[tuple[Any, ...]]) -> None:
        self._memory = memory
        self._geometry = Geometry(len(keys))
        self._codecs = [BlobCodec(MasterKey(*key)) for key in keys]
        self._compressor = Compressor(effort)

    def read(
        self, slot: int, directories: Sequence[int], files: Sequence[tuple[int, bytes]]
    ) -> list[tuple[object, list[BlobPlace]]]:
        """For each file its record and the blobs of its content, now in the batch.

        The record is None for a file that does not fit.
        """
        answer: list[tuple[object, list[BlobPlace]]] = []
        begin = slot * self._geometry.slot_bytes
        with self._memory[begin : begin + BATCH_BYTES] as batch:
            used = 0
            for place, name in files:
                content = _SlotContent(batch, used)
                try:
                    record = read_file(directories[place], name, content.store)
                    # Plain tuples, for `marshal`.
                    told = (record.node, record.size_bytes, tuple(map(tuple, record.problems)))
                    answer.append((told, content.blobs))
                    used = content.end
                except _NoRoomError:
                    answer.append((None, []))
        return answer

    def encode(
        self, slot: int, blobs: Sequence[tuple[str, bytes, int, int, tuple[int, ...]]]
    ) -> list[list[SealedBlob]]:
        """Seal and verify blobs of the batch, given by texture, id, place, length and the keys
        that want them; for each key what now lies in its part of the slot, in order."""
        answer: list[list[SealedBlob]] = [[] for _ in self._codecs]
        begin = slot * self._geometry.slot_bytes
        with self._memory[begin : begin + self._geometry.slot_bytes] as batch:
            ends = [self._geometry.sealed_at(place) for place in range(len(self._codecs))]
            for texture, blob_id, offset, length, wanted in blobs:
                plaintext = batch[offset : offset + length]
                compressed = self._compressor.compress(plaintext, Texture(texture))
                raw = texture != Texture.TREE and len(compressed) >= length
                content = plaintext if raw else compressed
                plain_length = None if raw else length
                for place in wanted:
                    start = ends[place]
                    end = ends[place] = start + len(content) + OVERHEAD_BYTES
                    self._codecs[place].seal_into(batch[start:end], content)
                    self._codecs[place].verify(blob_id, batch[start:end], plain_length)
                    answer[place].append((blob_id, end - start, plain_length))
        return answer


class _SlotContent:
    """One file's content in a batch, read into it and cut into blobs where it lies."""

    def __init__(self, batch: memoryview, begin: int) -> None:
        self._batch = batch
        self._begin = self.end = begin
        self.blobs: list[BlobPlace] = []

    def store(self, descriptor: int, status: os.stat_result) -> Content:
        self._read(descriptor, status.st_size)
        self.blobs.clear()
        view = self._batch[self._begin : self.end]
        offset = self._begin
        chunks = [view] if len(view) <= FILES.min_bytes else [*_chunks(view)]
        for chunk in chunks:
            if length := len(chunk):
                self.blobs.append((hashlib.sha256(chunk).digest(), offset, length))
                offset += length
        return Content(tuple(one[0] for one in self.blobs), len(view))

    def _read(self, descriptor: int, expected: int) -> None:
        """Read to the end; one read is enough for a file that is as long as it was said to be."""
        self.end = self._begin
        while True:
            room = self._batch[self.end : self.end + max(expected, 0) + 1]
            if not room:
                raise _NoRoomError
            count = os.readv(descriptor, [room])
            self.end += count
            if count < len(room):
                if count == expected or not count:
                    return
                expected -= count
            else:
                expected = len(self._batch) - self.end


def _chunks(view: memoryview) -> list[memoryview]:
    return [chunk for batch in cut([view], FILES) for chunk in batch]


def main() -> None:
    """The process's whole life; its greeting is an effort and the keys."""

    def prepare(memory: memoryview, greeting: Any) -> CarryOut:  # Any: a document
        child = _Child(memory, *greeting)

        def carry_out(command: Any, directories: Sequence[int]) -> Any:  # Any: ditto
            slot, files, blobs = command
            try:
                if blobs:
                    return child.encode(slot, blobs)
                return child.read(slot, directories, files)
            except IntegrityError as error:
                return error.message

        return carry_out

    serve(prepare)
