"""Copying a repository into another one, and dropping snapshots and freeing their space.

Each round: capture, another day, capture; copy both snapshots into an empty repository; then a
third of all files goes, capture again, and all snapshots but the newest are dropped. Packs are made
to look a month old, since ours spares young ones.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from bench import files_workload
from bench.contenders import OURS
from bench.files_suite import LEAST_FILES, ask_about_ours, capture, make_entries
from bench.measure import CommandError
from bench.sample import Book, Sample
from bench.suite import Entry, Setting, take_turn, turn_of

CAPTURE, COPY, PRUNE = "upkeep.capture", "upkeep.copy", "upkeep.prune"
_FILES = 6_000
_MONTH_SECONDS = 30 * 86_400


def run_upkeep(setting: Setting, book: Book) -> None:
    """Measures copy and prune."""
    for number in range(setting.rounds):
        files = setting.work / "upkeep-files"
        count = max(LEAST_FILES, round(_FILES * setting.scale))
        total = files_workload.make_files(files, seed=setting.seed + number, count=count)
        print(f"upkeep: {count} files, {total / 1e6:.1f} MB", flush=True)
        try:
            _round(setting, book, files, number)
        finally:
            shutil.rmtree(setting.work / CAPTURE, ignore_errors=True)
            shutil.rmtree(files)


def _round(setting: Setting, book: Book, files: Path, number: int) -> None:
    entries = make_entries(setting, book, CAPTURE, number, files)
    entries = capture(book, CAPTURE, number, entries)
    files_workload.next_day(files, seed=setting.seed, day=number + 1)
    entries = capture(book, CAPTURE, number, entries)
    for entry in entries:
        _copy(book, entry, number)
    for path in sorted(files.rglob("*.pdf"))[::3]:
        path.unlink()
    # What is captured now must not go into the second repository as well.
    entries = [entry for entry in entries if _forget_second(book, entry, number)]
    for entry in capture(book, CAPTURE, number, entries):
        _age(entry.home.repository / "data")
        pipeline = entry.contender.keep_last(entry.home)
        take_turn(book, turn_of(entry, PRUNE, number, grows=True), pipeline)
    if number == 0:
        ask_about_ours(setting, book, entries, CAPTURE)


def _copy(book: Book, entry: Entry, number: int) -> None:
    try:
        entry.contender.create_second(entry.home)
    except (CommandError, OSError) as error:
        book.note(Sample(COPY, entry.contender.name, number, failure=str(error)))
        return
    take_turn(book, turn_of(entry, COPY, number), entry.contender.copy(entry.home))
    if number == 0 and entry.contender.name == OURS:
        count = len(list((entry.home.second / "snapshots").iterdir()))
        book.confirm("our copy holds every snapshot", count >= 2, f"{count} snapshots")


def _forget_second(book: Book, entry: Entry, number: int) -> bool:
    try:
        entry.contender.forget_second(entry.home)
    except (CommandError, OSError) as error:
        book.note(Sample(PRUNE, entry.contender.name, number, failure=str(error)))
        return False
    return True


def _age(packs: Path) -> None:
    then = time.time() - _MONTH_SECONDS
    for path in packs.rglob("*"):
        os.utime(path, (then, then))
