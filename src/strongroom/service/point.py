"""The id of a recovery point: sortable by time, unique without asking anybody."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # without i, l, o and u, which are misread


def new_point_id(now: datetime) -> str:
    """26 characters: 48 bits of milliseconds since the epoch, then 80 random bits (a ULID)."""
    number = int(now.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
