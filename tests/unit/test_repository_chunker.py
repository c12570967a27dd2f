"""Where streams are cut, and restic"s polynomials. The cut points decide what deduplicates: a
change of these numbers would store everything a second time."""

from __future__ import annotations

import hashlib
from itertools import accumulate

import pytest

from strongroom.repository import FILES, ROWS, ChunkProfile
from strongroom.repository.chunker import cut
from strongroom.repository.polynomial import DEGREE, is_irreducible, random_irreducible

NOISE = hashlib.shake_256(b"strongroom").digest(24 << 20)
ROWS_TEXT = b"".join(b"%d\tTrainee %d\t2026-01-%02d\n" % (n, n * 7919 % 104729, n % 28)
                     for n in range(60_000))  # fmt: skip

# How many cut points there are, the first four, and a fingerprint of all.
GOLDEN_FILES = (19, [1055255, 2268627, 3590035, 4666419], "9a47a4ebb8f00fd6")
GOLDEN_ROWS = (21, [159535, 179113, 266406, 381454], "b0e12194b8ab7129")


def cuts(content: bytes, profile: ChunkProfile, block: int = 1 << 20) -> list[int]:
    blocks = (content[at : at + block] for at in range(0, len(content), block))
    return list(accumulate(len(chunk) for batch in cut(blocks, profile) for chunk in batch))


def fingerprint(points: list[int]) -> str:
    return hashlib.sha256(repr(points).encode()).hexdigest()[:16]


def test_the_cut_points_of_files_are_pinned() -> None:
    points = cuts(NOISE, FILES)
    assert (len(points), points[:4], fingerprint(points)) == GOLDEN_FILES


def test_the_cut_points_of_rows_are_pinned() -> None:
    points = cuts(ROWS_TEXT, ROWS)
    assert (len(points), points[:4], fingerprint(points)) == GOLDEN_ROWS


@pytest.mark.parametrize("profile", [FILES, ROWS], ids=lambda one: one.name)
def test_chunks_keep_their_limits(profile: ChunkProfile) -> None:
    for content in (NOISE, bytes(20 << 20), b"ab" * (5 << 20)):
        ends = cuts(content, profile)
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        assert max(sizes) <= profile.max_bytes
        assert min(sizes[:-1], default=profile.min_bytes) >= profile.min_bytes
        assert ends[-1] == len(content)


@pytest.mark.parametrize("size", [0, 1, FILES.min_bytes - 1, FILES.min_bytes, FILES.min_bytes + 1])
def test_short_streams_are_one_chunk_or_none(size: int) -> None:
    assert cuts(NOISE[:size], FILES) == [size][: size and 1]


def test_an_edit_moves_no_cut_point_far_away() -> None:
    changed = NOISE[: 4 << 20] + b"an insertion" + NOISE[4 << 20 :]
    before = {len(NOISE) - point for point in cuts(NOISE, FILES)}
    after = {len(changed) - point for point in cuts(changed, FILES)}
    assert len(before - after) <= 3


# Polynomials


def factors(polynomial: int) -> bool:
    """Whether some polynomial of at most half of the degree divides it: trying them all."""
    degree = polynomial.bit_length() - 1
    for divisor in range(2, 1 << (degree // 2 + 1)):
        rest = polynomial
        while (shift := rest.bit_length() - divisor.bit_length()) >= 0:
            rest ^= divisor << shift
        if rest == 0:
            return True
    return False


def test_irreducibility_agrees_with_trial_division() -> None:
    for polynomial in range(2, 1 << 11):
        assert is_irreducible(polynomial) is not factors(polynomial), bin(polynomial)


def test_known_polynomials() -> None:
    assert is_irreducible(0x3DA3358B4DC173)
    assert not is_irreducible(0x3DA3358B4DC173 ^ 2)
    assert not is_irreducible(1)
    assert not is_irreducible(0)


def test_a_random_polynomial_has_the_degree_that_restic_uses() -> None:
    made = {random_irreducible() for _ in range(3)}
    assert len(made) == 3
    for polynomial in made:
        assert polynomial.bit_length() - 1 == DEGREE == 53
        assert is_irreducible(polynomial)
