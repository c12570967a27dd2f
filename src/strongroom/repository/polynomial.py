"""A random irreducible polynomial over GF(2), which stock restic wants in the config.

Our own chunker has no use for it; it lets restic cut its own chunks when it backs up into a
repository that we made. Test: Ben-Or's. Fact: REPOSITORY_FORMAT 1.4.
"""

from __future__ import annotations

import secrets
from typing import Final

DEGREE: Final = 53


def random_irreducible() -> int:
    """An irreducible polynomial of degree 53, one bit a coefficient."""
    while True:
        candidate = secrets.randbits(DEGREE) | 1 << DEGREE | 1
        if is_irreducible(candidate):
            return candidate


def is_irreducible(polynomial: int) -> bool:
    """Ben-Or: no factor in common with x^(2^i) - x for i up to half of the degree."""
    degree = polynomial.bit_length() - 1
    if degree < 1:
        return False
    power = 2  # the polynomial x
    for _ in range(degree // 2):
        power = _square_modulo(power, polynomial)
        if _greatest_common_divisor(polynomial, power ^ 2) != 1:
            return False
    return True


def _modulo(dividend: int, divisor: int) -> int:
    length = divisor.bit_length()
    while (shift := dividend.bit_length() - length) >= 0:
        dividend ^= divisor << shift
    return dividend


def _square_modulo(value: int, modulus: int) -> int:
    # Squaring over GF(2) puts a zero between the bits.
    squared = int("0".join(f"{value:b}"), 2)
    return _modulo(squared, modulus)


def _greatest_common_divisor(left: int, right: int) -> int:
    while right:
        left, right = right, _modulo(left, right)
    return left
