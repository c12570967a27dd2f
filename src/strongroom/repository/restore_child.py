"""What a restoring process does: verify the blobs of a run, each of which is a whole file, and
write these files; see `restore`. The run's sealed bytes lie in a slot of shared memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias

from strongroom.errors import IntegrityError
from strongroom.repository.crypto import MasterKey
from strongroom.repository.file_writing import FileWriter, Metadata
from strongroom.repository.pack import BlobCodec
from strongroom.repository.process_child import CarryOut, serve

WholeFile: TypeAlias = tuple[bytes, bytes, tuple[Any, ...]]
"""A file's temporary name, its own, and its metadata as a plain tuple."""

SealedFiles: TypeAlias = tuple[int, int, bytes, int | None, list[WholeFile]]
"""A blob's place and sealed length in the slot, its id, its plaintext's length or None when it is
stored raw, and the files that it is."""

FileAnswer: TypeAlias = list[tuple[str, str]] | None
"""What of a file's metadata could not be set, and why; None where the blob is damaged."""

Written: TypeAlias = list[FileAnswer] | tuple[int, bytes]
"""The answer for each file in turn, or the number and file name of an error of the system."""


# While one waits for the disk, others decode.
_THREADS: Final = 2


def main() -> None:
    """The process's whole life; its greeting is the key and whose new files are."""

    def prepare(memory: memoryview, greeting: Any) -> CarryOut:  # Any: a document
        key, owner = greeting
        child = _Child(memory, MasterKey(*key), FileWriter(owner))

        def carry_out(command: Any, _: Sequence[int]) -> Written:  # Any: ditto
            begin, blobs = command
            try:
                return child.write(begin, blobs)
            except OSError as error:
                name = error.filename if isinstance(error.filename, bytes) else b""
                return (error.errno or 0, name)

        return carry_out

    serve(prepare)


class _Child:
    """The process's state: a codec for each thread, and the shared memory."""

    def __init__(self, memory: memoryview, key: MasterKey, writer: FileWriter) -> None:
        self._memory, self._key, self._writer = memory, key, writer
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(_THREADS)

    def write(self, begin: int, blobs: Sequence[SealedFiles]) -> list[FileAnswer]:
        """Write the files of a run whose sealed bytes begin there."""
        answers = self._pool.map(lambda blob: self._write_files(begin, blob), blobs)
        return [one for answer in answers for one in answer]

    def _write_files(self, begin: int, blob: SealedFiles) -> list[FileAnswer]:
        offset, length, blob_id, plain_length, files = blob
        try:
            with self._memory[begin + offset : begin + offset + length] as sealed:
                content = self._codec().decode(blob_id, sealed, plain_length)
        except IntegrityError:
            return [None] * len(files)
        answer: list[FileAnswer] = []
        for temporary, path, metadata in files:
            unset = self._writer.write_whole(temporary, path, content, Metadata(*metadata))
            answer.append([(one.what, one.reason) for one in unset])  # plain, for `marshal`
        return answer

    def _codec(self) -> BlobCodec:
        codec: BlobCodec | None = getattr(self._local, "codec", None)
        if codec is None:
            codec = self._local.codec = BlobCodec(self._key)
        return codec
