"""A compressed file as the bytes that were compressed, read to its very end.

An end of file in the middle of a stream, a wrong checksum and anything behind the last stream are
told with their places: a file that was cut must never be taken for a whole one. Memory is bounded
whatever the file says of itself.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from strongroom.errors import SourceError

__all__ = ["IncompleteError", "compression_of", "plain_blocks"]

_BLOCK_BYTES: Final = 1 << 18
# Zstandard gives out all that a block of input holds, of which a few bytes can be 128 KiB each.
_ZSTD_BLOCK_BYTES: Final = 1 << 12
_MOST_WINDOW_BYTES: Final = 1 << 27
_MAGIC: Final = {
    "gzip": b"\x1f\x8b",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
}


class IncompleteError(SourceError):
    """A file that ends too early or is not what it was when it was made."""

    default_code = "file-incomplete"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def compression_of(path: Path) -> str | None:
    """How a file is compressed, by its first bytes; None when it is not."""
    with path.open("rb") as file:
        begin = file.read(8)
    return next((name for name, magic in _MAGIC.items() if begin.startswith(magic)), None)


def plain_blocks(path: Path) -> Iterator[bytes]:
    """What a file holds, decompressed when it is compressed.

    Raises `IncompleteError` (`file-incomplete`) when a compressed stream does not come to its end.
    """
    kind = compression_of(path)
    with path.open("rb") as file:
        if kind is None:
            while block := file.read(_BLOCK_BYTES):
                yield block
            return
        size = _ZSTD_BLOCK_BYTES if kind == "zstd" else _BLOCK_BYTES
        yield from _streams(path, kind, iter(lambda: file.read(size), b""))


def _streams(path: Path, kind: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """One stream after another, as such files may have them."""
    make, errors = _maker(kind)
    current: _Decompressor | None = make()
    done = 0
    for block in blocks:
        given = block
        while given:
            if current is None:
                if not given.strip(b"\0"):
                    break  # padding, as tapes have it
                if not given.startswith(_MAGIC[kind][: len(given)]):
                    raise IncompleteError(
                        f"what follows the {kind} stream at byte {done} is not {kind}",
                        subject=str(path),
                    )
                current = make()
            try:
                yield from _decompressed(current, given)
            except errors as error:
                raise IncompleteError(
                    f"its {kind} stream is damaged near byte {done}: {error}", subject=str(path)
                ) from None
            given = current.unused_data if current.eof else b""
            if current.eof:
                current = None
        done += len(block)
    if current is not None:
        raise IncompleteError(
            f"it is cut: its {kind} stream has no end, after {done} bytes", subject=str(path)
        )


def _decompressed(one: _Decompressor, given: bytes) -> Iterator[bytes]:
    plain = one.decompress(given)
    while plain:
        yield plain
        if one.eof:
            return
        plain = one.decompress(b"")


class _Gzip:
    """zlib's object, bounded, with the checksum that gzip has at its end."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, _BLOCK_BYTES)


class _Bounded:
    """bz2's or lzma's object, bounded."""

    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, /) -> bytes:
        if not data and self._inner.needs_input:
            return b""
        return self._inner.decompress(data, _BLOCK_BYTES)


class _Zstd:
    """Zstandard's object, fed a little at a time since it can't be bounded."""

    def __init__(self) -> None:
        import zstandard

        made = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
        self._inner = made.decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, /) -> bytes:
        return self._inner.decompress(data) if data else b""


def _maker(kind: str) -> tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]:
    match kind:
        case "gzip":
            return _Gzip, (zlib.error,)
        case "bzip2":
            return lambda: _Bounded(bz2.BZ2Decompressor()), (OSError, EOFError)
        case "xz":
            memory = 1 << 29
            return lambda: _Bounded(lzma.LZMADecompressor(memlimit=memory)), (lzma.LZMAError,)
        case _:
            import zstandard

            return _Zstd, (zstandard.ZstdError,)
