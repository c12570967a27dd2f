"""How hard to compress what, with zstd; decided by measurement (docs/decisions/0004).

Files are tried cheaply first: documents and pictures hardly shrink, and a pass without entropy
coding of literals costs half of the usual one. Only what shrinks to less than three fifths is text
enough to be worth the usual level. Rows in small chunks shrink as far at level 1 as at level 3.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import zstandard

from strongroom.repository.storage.protocol import Buffer

EFFORTS: Final = ("fast", "default", "best")

# Levels for files, rows and trees; a cheap first pass over files or not.
_LEVELS: Final = {
    "fast": (1, 1, 3, True),
    "default": (3, 1, 3, True),
    "best": (9, 9, 9, False),
}
# Smaller files are quick at any level, and every byte of overhead counts.
_CHEAP_FROM_BYTES: Final = 8 << 10


class Texture(StrEnum):
    """What kind of content a blob has, as far as compression cares."""

    FILE = "file"
    ROWS = "rows"
    TREE = "tree"


class Compressor:
    """One thread's zstd contexts for an effort (one of EFFORTS)."""

    def __init__(self, effort: str) -> None:
        files, rows, trees, cheaply = _LEVELS[effort]
        levels = {Texture.FILE: files, Texture.ROWS: rows, Texture.TREE: trees}
        made = {level: zstandard.ZstdCompressor(level=level) for level in set(levels.values())}
        self._by_texture = {texture: made[level] for texture, level in levels.items()}
        self._cheap = _cheap_compressor() if cheaply else None

    def compress(self, plaintext: Buffer, texture: Texture) -> bytes:
        """One zstd frame, which may be longer than the plaintext."""
        if (
            self._cheap is not None
            and texture is Texture.FILE
            and len(plaintext) >= _CHEAP_FROM_BYTES
        ):
            frame = self._cheap.compress(plaintext)
            if 5 * len(frame) > 3 * len(plaintext):
                return frame
        return self._by_texture[texture].compress(plaintext)


def _cheap_compressor() -> zstandard.ZstdCompressor:
    """Matches only: with this strategy a target length above 0 leaves literals as they are.

    The tables fit into a processor's first cache.
    """
    parameters = zstandard.ZstdCompressionParameters(
        strategy=zstandard.STRATEGY_FAST,
        target_length=1,
        min_match=5,
        hash_log=14,
        chain_log=6,
        search_log=1,
        window_log=18,
        write_content_size=1,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)
