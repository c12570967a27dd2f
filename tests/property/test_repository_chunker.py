"""Cutting is a matter of the bytes alone: not of the blocks in which they arrive."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.repository import FILES, ROWS, ChunkProfile
from strongroom.repository.chunker import cut
from strongroom.repository.polynomial import is_irreducible
from strongroom.repository.storage import Buffer

PROFILES = st.sampled_from([ROWS, ROWS, ChunkProfile("small", 512, 1024, 8192), FILES])


def stream(seed: int, size: int, repeated: bool) -> bytes:
    noise = hashlib.shake_256(seed.to_bytes(4, "little")).digest(size // 7 if repeated else size)
    return (noise * 8)[:size] if repeated else noise


@given(
    content=st.builds(
        stream, st.integers(0, 9), st.integers(0, 3 << 20) | st.integers(0, 70_000), st.booleans()
    ),
    lengths=st.lists(st.integers(0, 400_000) | st.integers(0, 20), max_size=12),
    profile=PROFILES,
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
@settings(max_examples=120)
def test_any_blocks_give_the_same_chunks_and_these_are_the_stream(
    content: bytes, lengths: list[int], profile: ChunkProfile, kind: type[bytes]
) -> None:
    blocks: list[Buffer] = []
    at = 0
    for length in lengths:
        blocks.append(kind(content[at : at + length]))
        at += length
    blocks.append(kind(content[at:]))
    chunks = [bytes(chunk) for batch in cut(blocks, profile) for chunk in batch]
    assert b"".join(chunks) == content
    assert all(chunks)
    assert all(profile.min_bytes <= len(one) <= profile.max_bytes for one in chunks[:-1])
    assert chunks == [bytes(chunk) for batch in cut([content], profile) for chunk in batch]


@given(st.integers(2, 1 << 20), st.integers(2, 1 << 20))
def test_a_product_is_never_irreducible(left: int, right: int) -> None:
    product = 0
    for bit in range(right.bit_length()):
        if right >> bit & 1:
            product ^= left << bit
    assert not is_irreducible(product)
