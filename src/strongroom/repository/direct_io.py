"""Writing past the page cache: page-aligned memory, whole blocks, one request.

What nobody reads soon only evicts what applications have cached, costs a copy, and has to be
flushed afterwards. A file system without direct I/O answers EINVAL; then nothing is written here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import threading
import time
from typing import Final

ALIGNMENT_BYTES: Final = 4096
# Smaller files cost a request each, where the page cache would gather them.
_LEAST_BYTES: Final = 48 << 10
_MOST_BYTES: Final = 8 << 20
_JUDGED_AFTER: Final = 64
_SLOW_SECONDS: Final = 0.01


def is_aligned(data: memoryview) -> bool:
    """Whether writable memory begins at a page."""
    if data.readonly:
        return False
    address = ctypes.addressof(ctypes.c_char.from_buffer(data))
    return address % ALIGNMENT_BYTES == 0


def write_direct(descriptor: int, data: memoryview) -> int:
    """Write the aligned beginning of aligned memory; returns how many bytes were written."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    except OSError:
        return 0
    aligned = len(data) - len(data) % ALIGNMENT_BYTES
    done = 0
    try:
        while done < aligned:
            written = os.write(descriptor, data[done:aligned])
            done += written
            if written % ALIGNMENT_BYTES:
                break
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done


class DirectFiles:
    """Writes whole files directly while that is quick; safe to use from several threads.

    A disk that has to move its head for each file is better served by the page cache: where
    files take long, `takes` becomes false.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._usable = True
        self._count = 0
        self._seconds = 0.0

    def takes(self, size_bytes: int) -> bool:
        """Whether a file of this size should be written so."""
        return self._usable and _LEAST_BYTES <= size_bytes <= _MOST_BYTES

    def write(self, descriptor: int, content: bytes) -> int:
        """Write the whole blocks of a new file's content; returns how many bytes that are.

        The rest goes through the page cache: cutting a padded block would read it back first.
        """
        length = len(content) - len(content) % ALIGNMENT_BYTES
        buffer = self._buffer(length)
        begun = time.monotonic()
        with memoryview(buffer) as whole, whole[:length] as data, memoryview(content) as given:
            data[:] = given[:length]
            written = write_direct(descriptor, data)
        # Counted without a lock: a lost count delays the judgement, nothing else.
        self._count += 1
        self._seconds += time.monotonic() - begun
        slow = self._count == _JUDGED_AFTER and self._seconds > _SLOW_SECONDS * _JUDGED_AFTER
        if not written or slow:
            self._usable = False
        return written

    def _buffer(self, size_bytes: int) -> mmap.mmap:
        buffer: mmap.mmap | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < size_bytes:
            buffer = self._local.buffer = mmap.mmap(-1, max(size_bytes, 1 << 20))
        return buffer
