"""How cost grows from a thousand files to a million: first capture, and a day with 100 changes.

The largest size runs once, whatever the number of rounds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import files_workload
from bench.files_suite import LEAST_FILES, ask_about_ours, capture, make_entries
from bench.sample import Book
from bench.suite import Setting

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_CHANGED = 100


def first(size: int) -> str:
    """The measure of a first capture of so many files."""
    return f"scale.first-{size}"


def next_day(size: int) -> str:
    """The measure of a capture of so many files, 100 of them changed."""
    return f"scale.next-day-{size}"


def run_scale(setting: Setting, book: Book) -> None:
    """Measures all sizes."""
    for size in SIZES:
        files = setting.work / f"scale-{size}"
        count = max(LEAST_FILES, round(size * setting.scale))
        total = files_workload.make_tiny(files, seed=setting.seed, count=count)
        print(f"scale: {count} files, {total / 1e6:.1f} MB", flush=True)
        try:
            for number in range(1 if size == max(SIZES) else setting.rounds):
                _round(setting, book, size, files, number)
                shutil.rmtree(setting.work / first(size))
        finally:
            shutil.rmtree(files)


def _round(setting: Setting, book: Book, size: int, files: Path, number: int) -> None:
    entries = make_entries(setting, book, first(size), number, files)
    entries = capture(book, first(size), number, entries)
    _change(files, number)
    entries = capture(book, next_day(size), number, entries)
    if number == 0:
        ask_about_ours(setting, book, entries, first(size))


def _change(files: Path, number: int) -> None:
    """A hundred files, spread over all folders, get other bytes."""
    folders = sorted(files.iterdir())
    for place in range(_CHANGED):
        folder = folders[place * len(folders) // _CHANGED]
        names = sorted(folder.iterdir())
        path = names[place * 7919 % len(names)]
        path.write_text(f"changed in round {number}: {place}\n" * 5)
