"""The benchmark measures what it says: every contender really runs, and is verified."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import database_suite, files_suite, load_suite
from bench.contenders import FLUSHED, OURS, PROOF, RESTIC, VERIFY, Archiver, Restic, Strongroom
from bench.sample import Book, Sample
from bench.suite import Setting


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that the server's user can pass; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def _setting(tmp_path: Path) -> Setting:
    found = shutil.which("restic", path="/usr/bin")
    assert found is not None, "restic is missing: apt-get install restic"
    stock = Path(found)
    archivers: list[Archiver] = [Strongroom(), Restic(RESTIC, stock)]
    return Setting(tmp_path, 1, 0.0005, 1, archivers, stock)


def _runs(samples: list[Sample]) -> dict[str, list[str]]:
    """Who succeeded in what, in order."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        assert sample.failure is None, sample
        assert sample.wall_seconds > 0
        assert sample.cpu_seconds > 0
        found.setdefault(sample.measure, []).append(sample.contender)
    return found


def test_files_are_captured_restored_and_checked_by_all(tmp_path: Path) -> None:
    book = Book()
    files_suite.run_files(_setting(tmp_path), book)
    both = [OURS, RESTIC]
    assert _runs(book.samples) == {
        files_suite.FIRST: both,
        files_suite.NEXT: both,
        files_suite.UNCHANGED: both,
        files_suite.RESTORE: [OURS, OURS + PROOF, RESTIC, RESTIC + VERIFY, RESTIC + FLUSHED],
        files_suite.CHECK: both,
    }
    assert book.faults == []
    assert len(book.verified) == 6
    assert not list(tmp_path.iterdir())
    first, unchanged = (
        next(one for one in book.samples if one.measure == measure and one.contender == OURS)
        for measure in (files_suite.FIRST, files_suite.UNCHANGED)
    )
    assert first.grown_bytes is not None
    assert unchanged.grown_bytes is not None
    assert first.grown_bytes > 100 * unchanged.grown_bytes > 0


def test_a_database_is_captured_and_loaded_by_all(reachable: Path) -> None:
    book = Book()
    database_suite.run_database(_setting(reachable), book)
    both = [OURS, RESTIC]
    dumps = [database_suite.CUSTOM, database_suite.DIRECTORY, database_suite.ZSTD]
    loaders = [
        database_suite.RESTORE_CUSTOM,
        database_suite.RESTORE_DIRECTORY,
        database_suite.RESTORE_AND_READ,
    ]
    assert _runs(book.samples) == {
        database_suite.FIRST: [*both, *dumps],
        database_suite.LOAD: [OURS, *loaders],
        database_suite.NEXT: both,
        database_suite.UNCHANGED: both,
    }
    assert book.faults == []
    assert "our drill of the database says PROVEN" in book.verified
    assert not list(reachable.iterdir())


def test_a_database_is_loaded_into_both_kinds_of_servers(reachable: Path) -> None:
    book = Book()
    load_suite.run_load(_setting(reachable), book)
    both = [OURS, load_suite.DIRECTORY]
    assert _runs(book.samples) == {
        load_suite.SANDBOX: both,
        load_suite.SANDBOX + load_suite.PROVEN: both,
        load_suite.DEFAULT: [*both, load_suite.ANALYZED],
        load_suite.DEFAULT + load_suite.PROVEN: both,
    }
    assert book.faults == []
    assert len(book.verified) == 2
    assert not list(reachable.iterdir())
