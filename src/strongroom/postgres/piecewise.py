"""Is a stream what was stored? Compared by the pieces into which it was cut, without a second copy.

The stream is cut at the recorded lengths and each piece's SHA-256 is compared with the recorded
one; the first difference has a place. Reads the stream to its end, and keeps none of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongroom.model import Piece, PieceDigest
from strongroom.postgres.exchange import Block

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a stream first differs: the byte at which the piece begins, and the piece's length."""

    offset: int
    length: int


def first_difference(
    stream: Iterable[Block], pieces: Sequence[Piece], seen: PieceDigest | None = None
) -> Difference | None:
    """Cut `stream` at the recorded lengths and compare digests; reads it to its end.

    None when it is equal from beginning to end. `seen` takes what was read, cut like that; what
    follows after the last recorded length is one more piece.
    """
    place, offset = 0, 0
    digest, open_bytes = hashlib.sha256(), 0
    found: Difference | None = None
    for block in stream:
        view = memoryview(block)
        while view:
            if place == len(pieces):
                found = found or Difference(offset, 0)
                digest.update(view)
                open_bytes += len(view)
                break
            wanted = pieces[place].length_bytes - open_bytes
            part = view[:wanted]
            digest.update(part)
            open_bytes += len(part)
            view = view[wanted:]
            if open_bytes == pieces[place].length_bytes:
                if digest.digest() != pieces[place].sha256:
                    found = found or Difference(offset, open_bytes)
                if seen is not None:
                    seen.add(open_bytes, digest.digest())
                offset += open_bytes
                place, open_bytes, digest = place + 1, 0, hashlib.sha256()
    if open_bytes and seen is not None:
        seen.add(open_bytes, digest.digest())
    if found is None and place < len(pieces):
        found = Difference(offset, pieces[place].length_bytes)
    return found
