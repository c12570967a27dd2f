"""The measures of files: first capture, next day, unchanged, restore, check; and tiny files.

Round n captures the tree as n days have left it, lets one more day pass and captures again: every
round has new content, and all contenders of a round have the same. Contenders take turns within
each measure. In the first round, outside of the clock, restored trees are compared with their
source and stock restic reads our repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import files_workload
from bench.contenders import FLUSHED, OURS, PROOF, VERIFY, Restic, Strongroom
from bench.sample import Book
from bench.suite import Entry, Setting, ask_stock_restic, create_homes, take_turn, turn_of

FIRST, NEXT, UNCHANGED = "files.first", "files.next-day", "files.unchanged"
RESTORE, CHECK, TINY = "files.restore", "files.check", "tiny.first"
LEAST_FILES = 50


def run_files(setting: Setting, book: Book) -> None:
    """Measures everything about the PDF-like files."""
    files = setting.work / "uploads"
    count = max(LEAST_FILES, round(files_workload.FILES * setting.scale))
    total = files_workload.make_files(files, seed=setting.seed, count=count)
    print(f"files: {count} files, {total / 1e6:.1f} MB", flush=True)
    try:
        for number in range(setting.rounds):
            _round(setting, book, files, number)
            shutil.rmtree(setting.work / FIRST)
    finally:
        # Not earlier: ext4 steps over inodes that were freed in the last minutes, one by one,
        # which makes the next contender's files ten times as dear to create.
        shutil.rmtree(setting.work / RESTORE, ignore_errors=True)
        shutil.rmtree(files)


def run_tiny(setting: Setting, book: Book) -> None:
    """Measures the first capture of tiny files."""
    files = setting.work / "tiny"
    count = max(LEAST_FILES, round(files_workload.TINY_FILES * setting.scale))
    total = files_workload.make_tiny(files, seed=setting.seed, count=count)
    print(f"tiny: {count} files, {total / 1e6:.1f} MB", flush=True)
    try:
        for number in range(setting.rounds):
            entries = make_entries(setting, book, TINY, number, files)
            capture(book, TINY, number, entries)
            if number == 0:
                ask_about_ours(setting, book, entries, TINY)
            shutil.rmtree(setting.work / TINY)
    finally:
        shutil.rmtree(files)


def _round(setting: Setting, book: Book, files: Path, number: int) -> None:
    entries = make_entries(setting, book, FIRST, number, files)
    entries = capture(book, FIRST, number, entries)
    change = files_workload.next_day(files, seed=setting.seed, day=number + 1)
    print(f"files: a day passes: {change}", flush=True)
    entries = capture(book, NEXT, number, entries)
    entries = capture(book, UNCHANGED, number, entries)
    for entry in with_verification(entries):
        _restore(setting, book, number, entry)
    for entry in entries:
        take_turn(book, turn_of(entry, CHECK, number), entry.contender.check(entry.home))
    if number == 0:
        ask_about_ours(setting, book, entries, FIRST)


def make_entries(
    setting: Setting, book: Book, family: str, number: int, files: Path
) -> list[Entry]:
    """The contenders of a round, each in a fresh home from which it captures `files`."""
    made = [Entry(one, setting.home(one, family, files=files)) for one in setting.archivers]
    return create_homes(book, family, number, made)


def capture(book: Book, measure: str, number: int, entries: Sequence[Entry]) -> list[Entry]:
    """Lets each entry capture; returns those that did."""
    return [
        entry
        for entry in entries
        if take_turn(
            book,
            turn_of(entry, measure, number, warm=entry.home.source_files, grows=True),
            entry.contender.capture_files(entry.home),
        )
    ]


def with_verification(entries: Sequence[Entry]) -> list[Entry]:
    """Each contender once more, as one that reads what it has restored again; restic also as one
    that flushes it to the disk, as we always do."""
    made: list[Entry] = []
    for entry in entries:
        made.append(entry)
        if isinstance(entry.contender, Restic):
            name = entry.contender.name + VERIFY
            twin = replace(entry.contender, name=name, restore_words=("--verify",))
            made.append(replace(entry, contender=twin))
            name = entry.contender.name + FLUSHED
            made.append(
                replace(entry, contender=replace(twin, name=name, restore_words=(), flushed=True))
            )
        elif isinstance(entry.contender, Strongroom):
            proving = replace(entry.contender, name=entry.contender.name + PROOF, restore_words=())
            made.append(replace(entry, contender=proving))
    return made


def _restore(setting: Setting, book: Book, number: int, entry: Entry) -> None:
    target = setting.work / RESTORE / f"{number} {entry.contender.name}"
    target.parent.mkdir(exist_ok=True)
    pipeline = entry.contender.restore_files(entry.home, target)
    done = take_turn(book, turn_of(entry, RESTORE, number), pipeline)
    if done and number == 0:
        difference = first_difference(entry.home.source_files, target)
        sentence = f"{entry.contender.name} restored names, bytes, modes, owners and times exactly"
        book.confirm(sentence, difference is None, difference or "")


def ask_about_ours(setting: Setting, book: Book, entries: Sequence[Entry], family: str) -> None:
    """Lets stock restic read our repository among these."""
    for entry in entries:
        if entry.contender.name == OURS:
            ask_stock_restic(setting, book, entry.home, family)


def first_difference(source: Path, target: Path) -> str | None:
    """Where a restored tree differs from its source; None when nowhere.

    The restored tree may lie deeper in the target, under the source's own path.
    """
    inside = target.joinpath(*source.resolve().parts[1:])
    expected, observed = _describe(source), _describe(inside if inside.is_dir() else target)
    for name in sorted(expected.keys() | observed.keys()):
        if expected.get(name) != observed.get(name):
            return f"{name}: expected {expected.get(name)}, observed {observed.get(name)}"
    return None


def _describe(root: Path) -> dict[str, tuple[object, ...]]:
    """What is in a tree, by name: mode, owner, group, time in nanoseconds, and SHA-256."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            facts = path.stat()
            digest = "" if name in folders else _digest(path)
            identity = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, digest)
            found[str(path.relative_to(root))] = identity
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
