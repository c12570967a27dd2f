"""Cutting streams into chunks at positions that their content decides (FastCDC).

The boundaries matter for deduplication only: readers and proofs use the recorded lengths. The
profile is the product's, the same for all repositories, so that one capture can feed many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pyfastcdc import FastCDC

from strongroom.repository.storage.protocol import Buffer


@dataclass(frozen=True, slots=True)
class ChunkProfile:
    """Smallest, average and largest chunk in bytes; only a stream's last one may be smaller."""

    name: str
    min_bytes: int
    average_bytes: int
    max_bytes: int


FILES: Final = ChunkProfile("files", 512 << 10, 1 << 20, 8 << 20)
ROWS: Final = ChunkProfile("rows", 16 << 10, 64 << 10, 256 << 10)

_GATHER_BYTES: Final = 1 << 20


def cut(blocks: Iterable[Buffer], profile: ChunkProfile) -> Iterator[list[memoryview]]:
    """The chunks of a stream, in batches of about one block each.

    The blocks may have any lengths and must not be altered afterwards: chunks are views of them
    where possible. Concatenated, the chunks are the stream; none is empty.
    """
    chunker = FastCDC(profile.average_bytes, min_size=profile.min_bytes, max_size=profile.max_bytes)
    # Gathering spares a scan of the same bytes again and again when blocks are small.
    gather_bytes = max(profile.max_bytes, _GATHER_BYTES)
    parts: list[Buffer] = []
    gathered = 0
    for block in blocks:
        parts.append(block)
        gathered += len(block)
        if gathered < gather_bytes:
            continue
        window = memoryview(b"".join(parts) if len(parts) > 1 else block)
        batch = [chunk.data for chunk in chunker.cut_buf(window)]
        # The last chunk ends where the window does, not where the content says, unless it has
        # reached the largest size: it is cut again together with what follows.
        rest = batch.pop() if len(batch[-1]) < profile.max_bytes else memoryview(b"")
        parts, gathered = [rest], len(rest)
        yield batch
    if gathered:
        yield [chunk.data for chunk in chunker.cut_buf(memoryview(b"".join(parts)))]
