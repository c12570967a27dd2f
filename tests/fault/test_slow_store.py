"""A store that is too slow is left behind: the others have their snapshot within the bound, the
finding says so, and a copy brings what is missing later."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from strongroom.repository import Committed, Repository, Storage, WriterOptions
from strongroom.repository.copy import CopyReport, copy_snapshots
from strongroom.repository.storage import Buffer
from strongroom.service.application import Application
from strongroom.service.backup import backup
from tests.support.failing_storage import FailingStorage
from tests.support.repository_ground import (
    PASSWORD,
    capture,
    check_codes,
    names,
    new_repository,
    reopened,
    restore,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import describe

HURRIED = WriterOptions(pack_bytes=64 << 10, wait_seconds=0.2)


class HeldStorage(FailingStorage):
    """Takes no pack before something has come true; whoever waits for it until then waits long."""

    def __init__(self, inner: Storage, until: Callable[[], object]) -> None:
        super().__init__(inner)
        self._until = until

    def save(self, name: str, data: Buffer) -> None:
        deadline = time.monotonic() + 60
        while name.startswith("data/") and not self._until():
            assert time.monotonic() < deadline, "the capture waits for the slow store"
            time.sleep(0.01)
        super().save(name, data)


def make_tree(path: Path, files: int) -> Path:
    """Two of the files make a pack."""
    path.mkdir()
    for number in range(files):
        (path / f"{number}").write_bytes(os.urandom(40_000))
    return path


def is_done(repository: Repository) -> bool:
    """Whether it has its snapshot, and the capture has let go of it."""
    storage = repository.storage
    return names(storage, "snapshots") != [] and names(storage, "locks") == []


@pytest.mark.parametrize("slow_first", [False, True])
@pytest.mark.parametrize("files", [2, 20], ids=["within the buffers", "beyond the buffers"])
def test_a_slow_store_does_not_hold_up_the_others(
    tmp_path: Path, files: int, slow_first: bool
) -> None:
    tree = make_tree(tmp_path / "tree", files)
    fast = new_repository(name="fast")
    inner = new_repository(tmp_path / "slow").storage
    held = HeldStorage(inner, lambda: is_done(fast))
    slow = Repository.open(held, PASSWORD, name="slow")
    both = [slow, fast] if slow_first else [fast, slow]
    committed, findings = capture(both, tree, options=HURRIED)
    assert committed.repository == "fast"
    assert [(one.code, one.subject) for one in findings] == [("repository-failed", "slow")]
    assert "it is too slow: the capture has waited" in findings[0].message
    assert "strongroom copy" not in findings[0].message  # that is its hint
    assert restore(fast, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == describe(tree)
    # What was on its way when the capture went on is of use, and nothing else is left.
    assert names(inner, "locks") == names(inner, "snapshots") == []
    assert check_codes(slow) == []
    stock_restics()[0].check(tmp_path / "slow")
    sent = set(names(inner, "data"))
    assert 1 <= len(sent) < len(names(fast.storage, "data")) or files == 2

    report = CopyReport()
    source = reopened(fast)
    copy_snapshots(source, reopened(slow), source.snapshots().snapshots, report=report)
    assert len(report.snapshots) == 1
    assert sent < set(names(inner, "data")) or report.blobs == 0
    (snapshot,) = reopened(slow).snapshots().snapshots
    assert restore(slow, Committed("slow", snapshot, 0), tmp_path / "again") == []
    assert describe(tmp_path / "again") == describe(tree)
    assert check_codes(slow) == []


def test_a_slow_store_that_is_the_only_one_is_waited_for(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", 12)
    begun = time.monotonic()
    held = HeldStorage(new_repository().storage, lambda: time.monotonic() > begun + 1.5)
    slow = Repository.open(held, PASSWORD, name="slow")
    committed, findings = capture(slow, tree, options=HURRIED)
    assert findings == []
    assert restore(slow, committed, tmp_path / "out") == []


def test_a_backup_catches_up_what_was_left_behind(tmp_path: Path) -> None:
    make_tree(tmp_path / "uploads", 20)
    (tmp_path / "key").write_text(PASSWORD)
    (tmp_path / "key").chmod(0o600)
    config = tmp_path / "strongroom.yaml"
    config.write_text(
        "version: 1\napplication: tms\n"
        "sources:\n  uploads: {kind: files, path: uploads}\n"
        "repositories:\n"
        "  slow: {location: slow, password: file:key}\n"
        "  fast: {location: fast, password: file:key}\n"
        "objectives: {copies: 2}\nstate: state\n"
    )
    fast, slow = (new_repository(tmp_path / name) for name in ("fast", "slow"))

    begun = time.monotonic()

    class Hurried(Application):
        def storage(self, name: str, *, as_of: datetime | None = None) -> Storage:
            made = super().storage(name, as_of=as_of)
            if name == "fast":
                return made
            return HeldStorage(made, lambda: time.monotonic() > begun + 3)

        def writer_options(self) -> WriterOptions:
            return replace(super().writer_options(), wait_seconds=0.2)

    report = backup(Hurried.load(config))
    assert report.copies == {"uploads": ("fast", "slow")}
    assert report.exit_status == 0
    assert [(one.code, one.subject) for one in report.point.findings] == [
        ("repository-failed", "slow")
    ]
    assert [one.name for one in report.stages] == ["uploads", "catch up slow"]
    trees = {reopened(one).snapshots().snapshots[0].tree for one in (fast, slow)}
    assert len(trees) == 1
    assert check_codes(slow) == check_codes(fast) == []
