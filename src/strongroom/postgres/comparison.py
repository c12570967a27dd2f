"""Are two streams of COPY text the same rows in another order, and if not, how far apart are they?

Only asked when the streams differ, so it may cost row-by-row work. Both sides are read once, in
step: rows that stand at the same place and are equal cost next to nothing. Of the others, digests
are counted up on one side and down on the other, so that a shifted or permuted table cancels out.
Memory is bounded: when too many rows stand open, counting stops and 128-bit sums alone decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from strongroom.postgres.exchange import Block

__all__ = ["RowDifference", "compare_rows"]

_OPEN_ROWS: Final = 200_000
_DIGEST_BYTES: Final = 16
_SUMS: Final = 1 << 128


@dataclass(frozen=True, slots=True)
class RowDifference:
    """How two sets of rows differ. `missing` and `extra` are None when they could not be counted.

    `first_row` is the place of the first difference, counted from 1.
    """

    captured_rows: int
    observed_rows: int
    equal: bool
    missing: int | None
    extra: int | None
    first_row: int


def compare_rows(captured: Iterable[Block], observed: Iterable[Block]) -> RowDifference:
    """Compare two streams as multisets of rows; both are read to their ends."""
    counts = [0, 0]
    sums = [0, 0]
    standing: dict[bytes, int] | None = {}
    first = 0
    place = 0
    for expected, seen in zip_longest(_rows(captured), _rows(observed)):
        place += 1
        counts[0] += expected is not None
        counts[1] += seen is not None
        if expected == seen:
            continue
        first = first or place
        for side, row in ((0, expected), (1, seen)):
            if row is None:
                continue
            digest = hashlib.blake2b(row, digest_size=_DIGEST_BYTES).digest()
            sums[side] = (sums[side] + int.from_bytes(digest)) % _SUMS
            if standing is not None:
                standing = _counted(standing, digest, 1 if side == 0 else -1)
    missing = extra = None
    if standing is not None:
        missing = sum(count for count in standing.values() if count > 0)
        extra = -sum(count for count in standing.values() if count < 0)
    equal = sums[0] == sums[1] and counts[0] == counts[1]
    return RowDifference(counts[0], counts[1], equal, missing, extra, first)


def _counted(standing: dict[bytes, int], digest: bytes, step: int) -> dict[bytes, int] | None:
    count = standing.get(digest, 0) + step
    if count:
        standing[digest] = count
    else:
        del standing[digest]
    return standing if len(standing) <= _OPEN_ROWS else None


def _rows(blocks: Iterable[Block]) -> Iterator[bytes]:
    """The lines of a stream, without their ends; what follows the last end is a row, too."""
    rest = b""
    for block in blocks:
        lines = bytes(block).split(b"\n")
        lines[0] = rest + lines[0]
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest
