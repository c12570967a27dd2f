"""Content that is on this host already, so that a restore fetches only what differs.

A file under the same name in an existing tree is read, cut at the recorded blob lengths and hashed:
what has a blob's own SHA-256 is that blob, whatever its file's time and owner are, and whoever
writes to it meanwhile. What is given out is the very memory that was hashed. Nothing of the tree is
changed, linked or trusted: a link in it may lead anywhere, and what is found there is the content
that is wanted or it is not.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["ExistingTrees"]


class ExistingTrees:
    """Trees that may hold some of what is restored, the likeliest first; used by many threads."""

    def __init__(self, trees: Sequence[Path]) -> None:
        self._trees = [os.fsencode(one.absolute()) for one in trees]

    def __bool__(self) -> bool:
        return bool(self._trees)

    def pieces(
        self, relative: bytes, offsets: Sequence[int], blob_ids: Sequence[bytes]
    ) -> Iterator[tuple[int, bytes]]:
        """The pieces of a file that are there, each once, by position. `offsets` are those of the
        pieces, and the file's size at the end."""
        missing = list(range(len(blob_ids)))
        for tree in self._trees:
            if not missing:
                return
            for position, content in _matching(tree, relative, offsets, blob_ids, missing):
                missing.remove(position)
                yield position, content


def _matching(
    tree: bytes,
    relative: bytes,
    offsets: Sequence[int],
    blob_ids: Sequence[bytes],
    wanted: Sequence[int],
) -> Iterator[tuple[int, bytes]]:
    descriptor = _opened(tree + b"/" + relative)
    if descriptor is None:
        return
    try:
        is_as_long = os.fstat(descriptor).st_size == offsets[-1]
        for position in tuple(wanted):
            content = _read(descriptor, offsets[position], offsets[position + 1])
            if content is not None and hashlib.sha256(content).digest() == blob_ids[position]:
                yield position, content
            elif not is_as_long:
                return  # after the first difference in a file that grew or shrank, all lies apart
    finally:
        os.close(descriptor)


def _opened(path: bytes) -> int | None:
    """A regular file, opened to be read; None where there is none that can be."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _read(descriptor: int, begin: int, end: int) -> bytes | None:
    """The bytes between two offsets; None when they are not all there, or can't be read."""
    try:
        content = os.pread(descriptor, end - begin, begin)
        while 0 < len(content) < end - begin:
            more = os.pread(descriptor, end - begin - len(content), begin + len(content))
            if not more:
                return None
            content += more
    except OSError:
        return None
    return content if len(content) == end - begin else None
