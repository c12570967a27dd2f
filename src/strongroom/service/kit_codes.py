"""A kit as texts of QR codes, numbered, and back: paper alone is enough to recover.

Each code has a line of its own that says of which kit it is and which of how many, and then whole
lines of the sealed file, so that a scanner that drops white space at the end does no harm. Joined
by hand: the codes in their order, each without its first line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from strongroom.errors import IntegrityError

__all__ = ["MOST_CODES", "codes_of", "is_codes", "joined", "most_bytes"]

_LINES_EACH: Final = 10
_TITLE: Final = "STRONGROOM-KIT"
_FIRST: Final = re.compile(rf".*{_TITLE} ([0-9a-f]+) (\d+)/(\d+)")
# More paper than anybody scans.
MOST_CODES: Final = 60


def codes_of(kit: str, sealed: bytes) -> tuple[str, ...]:
    """The texts of the codes of a sealed file, in their order."""
    lines = sealed.decode("ascii").splitlines()
    parts = [lines[at : at + _LINES_EACH] for at in range(0, len(lines), _LINES_EACH)]
    return tuple(
        "\n".join([f"{_TITLE} {kit[:8]} {number}/{len(parts)}", *part])
        for number, part in enumerate(parts, start=1)
    )


def most_bytes(codes: int) -> int:
    """How many sealed bytes so many codes hold: lines of 64 letters, four for three bytes."""
    return codes * _LINES_EACH * 48


def is_codes(content: bytes) -> bool:
    """Whether a file holds texts of such codes."""
    return _TITLE.encode() in content[:4096]


def _scanned(text: str) -> Iterator[tuple[str, int, int, list[str]]]:
    """Each scan: of which kit, which of how many, and its lines. Readers put words of their own
    before a code (`QR-Code:` by zbarimg), and may add space or empty lines."""
    found: tuple[str, int, int, list[str]] | None = None
    for line in map(str.strip, text.splitlines()):
        if first := _FIRST.fullmatch(line):
            if found is not None:
                yield found
            found = first[1], int(first[2]), int(first[3]), []
        elif found is not None and line:
            found[3].append(line)
    if found is not None:
        yield found


def joined(content: bytes, subject: str) -> bytes:
    """The sealed file of codes that were scanned into one file, in any order, some twice.

    IntegrityError `kit-damaged` when one is missing or is another kit's.
    """
    parts: dict[int, list[str]] = {}
    kits: set[tuple[str, int]] = set()
    for kit, number, count, lines in _scanned(content.decode("utf-8", "replace")):
        kits.add((kit, count))
        # A scan may be cut off: the longer one of two has more of the code.
        if number <= count and len("".join(lines)) > len("".join(parts.get(number, ()))):
            parts[number] = lines
    if len(kits) != 1:
        told = "it has codes of several kits" if kits else "no code of a kit is in it"
        raise IntegrityError(
            told, subject=subject, code="kit-damaged",
            hint="Scan the codes of one kit only." if kits else "Scan the codes of the page.",
        )  # fmt: skip
    ((_, count),) = kits
    missing = [number for number in range(1, count + 1) if number not in parts]
    if missing:
        listed = ", ".join(map(str, missing[:10]))
        raise IntegrityError(
            f"of {count} codes these are missing: {listed}", subject=subject, code="kit-damaged",
            hint="Scan them, too; their order is of no matter.",
        )  # fmt: skip
    return "".join(f"{line}\n" for number in sorted(parts) for line in parts[number]).encode()
