"""Files as an application's upload folders have them, made from a seed.

`make_files` writes PDF-like files into four folders: objects that read like text between streams
of random bytes (62 %, which no compressor shrinks), sizes lognormal around 107 KB. `next_day`
changes such a tree in place: 1 % added, 0.5 % changed, 0.2 % deleted. `make_tiny` writes files of
about 200 bytes.

Invariant: the same arguments and the same starting tree give the same names, bytes, modes and
modification times, on any machine and Python version.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.words import WORDS

FOLDERS = ("certificates", "invoices", "lpos", "quotes")
FILES = 20_000
TINY_FILES = 20_000

_INCOMPRESSIBLE = 0.62
_MEDIAN_BYTES = 67_500
_SIGMA = 1.0  # mean = median * exp(sigma² / 2), about 107 KB
_LEAST_BYTES, _MOST_BYTES = 2_000, 20_000_000
_STREAM_BYTES = 24_000
_SNIPPETS = 4096
_FIRST_DAY = 1_750_000_000  # June 2025: nothing looks younger than the run
_DAY_SECONDS = 86_400
_ADDED, _CHANGED, _DELETED = 0.01, 0.005, 0.002


@dataclass(frozen=True, slots=True)
class Change:
    """What one day did to a tree, as counts of files."""

    added: int
    changed: int
    deleted: int


def make_files(root: Path, *, seed: int, count: int = FILES) -> int:
    """Writes `count` PDF-like files below `root`, which must be new; returns their bytes."""
    snippets = _snippets(seed)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    total = 0
    for number in range(count):
        rng = Random(f"{seed}/file/{number}")
        path = root / FOLDERS[number % len(FOLDERS)] / f"document-{number:06d}.pdf"
        written = _days_before(rng.randrange(1, 700))
        total += _write(path, _document(rng, snippets, _size(rng)), written)
    return total


def next_day(root: Path, *, seed: int, day: int) -> Change:
    """Changes the tree of `make_files` as day number `day` (from 1) would.

    Half of the changed files grow at their end, as signing a PDF does; the others are written
    anew under their name.
    """
    rng = Random(f"{seed}/day/{day}")
    snippets = _snippets(seed)
    present = sorted(path for folder in FOLDERS for path in (root / folder).iterdir())
    touched = rng.sample(present, k=_share(present, _CHANGED) + _share(present, _DELETED))
    changed, deleted = touched[: _share(present, _CHANGED)], touched[_share(present, _CHANGED) :]
    written = _FIRST_DAY + day * _DAY_SECONDS
    for place, path in enumerate(changed):
        old = path.read_bytes() if place % 2 else b""
        _write(path, old + _document(rng, snippets, _size(rng) // (10 if old else 1)), written)
    for path in deleted:
        path.unlink()
    added = _share(present, _ADDED)
    for number in range(added):
        path = root / rng.choice(FOLDERS) / f"document-day{day:03d}-{number:05d}.pdf"
        _write(path, _document(rng, snippets, _size(rng)), written)
    return Change(added, len(changed), len(deleted))


def make_tiny(root: Path, *, seed: int, count: int = TINY_FILES) -> int:
    """Writes `count` files of 120 to 280 bytes into folders of 1,000; returns their bytes."""
    snippets = _snippets(seed)
    rng = Random(f"{seed}/tiny")
    total = 0
    for number in range(count):
        folder = root / f"{number // 1000:03d}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        body = rng.randbytes(60).hex().encode() + rng.choice(snippets)
        written = _days_before(rng.randrange(1, 700))
        total += _write(folder / f"note-{number:06d}.txt", body[: rng.randrange(120, 281)], written)
    return total


def _share(present: list[Path], share: float) -> int:
    return max(1, round(len(present) * share))


def _days_before(days: int) -> int:
    return _FIRST_DAY - days * _DAY_SECONDS


def _size(rng: Random) -> int:
    size = int(_MEDIAN_BYTES * rng.lognormvariate(0.0, _SIGMA))
    return min(max(size, _LEAST_BYTES), _MOST_BYTES)


def _snippets(seed: int) -> list[bytes]:
    """Pieces of page description, about 200 bytes each, from which the text-like part is drawn."""
    rng = Random(f"{seed}/snippets")
    made = []
    for _ in range(_SNIPPETS):
        x, y, size = rng.randrange(40, 560), rng.randrange(40, 800), rng.randrange(7, 18)
        lines = [" ".join(rng.choices(WORDS, k=8)) for _ in range(2)]
        shown = "".join(f"({line}) Tj 0 -{size + 2} Td\n" for line in lines)
        made.append(f"BT /F{rng.randrange(1, 5)} {size} Tf {x} {y} Td\n{shown}ET\n".encode())
    return made


def _document(rng: Random, snippets: list[bytes], size: int) -> bytes:
    streams = max(1, size // _STREAM_BYTES)
    random_bytes = int(size * _INCOMPRESSIBLE / streams)
    pieces = int(size * (1 - _INCOMPRESSIBLE) / streams / 200)
    parts = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"]
    for number in range(1, streams + 1):
        parts.append(b"%d 0 obj\n<< /Type /Page /Parent 2 0 R /Length %d >>\n" % (number, pieces))
        parts += rng.choices(snippets, k=pieces)
        parts.append(b"endobj\n<< /Filter /DCTDecode /Length %d >>\nstream\n" % random_bytes)
        parts.append(rng.randbytes(random_bytes))
        parts.append(b"\nendstream\nendobj\n")
    parts.append(b"trailer\n<< /Root 1 0 R >>\n%%EOF\n")
    return b"".join(parts)


def _write(path: Path, content: bytes, written: int) -> int:
    """Replaces `path` as applications do it: a new file, then a rename."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.chmod(0o640)
    os.utime(beside, (written, written))
    beside.rename(path)
    return len(content)
