"""Captures with encoding processes: the same result as without, and nothing lost with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.model import Silent
from strongroom.repository import Committed, Repository, SnapshotWriter, WriterOptions
from strongroom.sources.file_walk import TreeWalk
from tests.support.repository_ground import (
    capture,
    check_codes,
    new_repository,
    prove,
    restore,
    view_of,
)

FILES = 2_400  # enough for the processes to be started with many still to come
ALONE = WriterOptions(processes=0)
BESIDE = WriterOptions()
MIDST = f"7/file {FILES - 200:05d}".encode()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many") / "tree"
    for number in range(FILES):
        path = root / f"{number // 300}" / f"file {number:05d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d " % number * (1 + number % 400))
    (root / "large").write_bytes(b"".join(b"row %d\n" % number for number in range(900_000)))
    return root


def children() -> list[int]:
    """The encoding processes of this one."""
    started: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            started += (task / "children").read_text().split()
    return [
        int(pid)
        for pid in started
        if b"encoding_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def walk(
    repositories: list[Repository],
    tree: Path,
    options: WriterOptions = BESIDE,
    act: Callable[[list[int]], object] = lambda _: None,
) -> tuple[list[Committed], list[str]]:
    """One capture of the tree as the root of a snapshot, and the codes of its findings.

    In its midst, `act` is told which encoding processes there are.
    """

    def excluded(path: bytes, _: bool) -> bool:
        if path == MIDST:
            act(children())
        return False

    with SnapshotWriter(repositories, options) as writer:
        path = os.fsencode(tree)
        walking = TreeWalk(
            writer, excluded=excluded, parent=None, parent_path=path, progress=Silent()
        )
        result = walking.run(path)
        assert result.root.subtree
        committed = writer.commit(
            result.root.subtree, paths=[str(tree)], tags=[], time=datetime.now(UTC)
        )
    return committed, [one.code for one in [*result.findings, *writer.findings]]


def test_processes_store_what_threads_store(tree: Path) -> None:
    seen: list[int] = []
    (alone,), _ = walk([new_repository()], tree, ALONE, seen.extend)
    assert seen == []
    (beside,), findings = walk([new_repository()], tree, act=seen.extend)
    assert len(seen) == BESIDE.workers
    assert findings == []
    assert beside.snapshot.tree == alone.snapshot.tree
    assert children() == []


def test_one_reading_feeds_several_repositories(tree: Path, tmp_path: Path) -> None:
    repositories = [new_repository(name=name) for name in ("first", "second")]
    committed, findings = walk(repositories, tree)
    assert findings == []
    assert len({one.snapshot.tree for one in committed}) == 1
    for repository, one in zip(repositories, committed, strict=True):
        assert check_codes(repository) == []
        target = tmp_path / repository.name
        view_of(repository, one).restore(b"/", target)
        assert (target / "large").read_bytes() == (tree / "large").read_bytes()


@pytest.mark.parametrize("killed", [1, BESIDE.workers])
def test_a_killed_process_costs_nothing_but_time(tree: Path, killed: int) -> None:
    (expected,), _ = walk([new_repository()], tree, ALONE)
    repository = new_repository()
    gone: list[int] = []

    def kill(pids: list[int]) -> None:
        for pid in pids[:killed]:
            os.kill(pid, signal.SIGSTOP)  # so that what it has been given is never answered
        time.sleep(0.05)
        for pid in pids[:killed]:
            os.kill(pid, signal.SIGKILL)
            gone.append(pid)

    (committed,), findings = walk([repository], tree, act=kill)
    assert len(gone) == killed
    assert findings == []
    assert committed.snapshot.tree == expected.snapshot.tree
    assert check_codes(repository) == []


def test_a_file_that_outgrows_its_batch_is_read_by_the_walker(tree: Path) -> None:
    # Listed with its old size, and not yet handed over when the next name is looked at.
    grown = tree / "7" / f"file {FILES - 201:05d}"
    before = grown.read_bytes()

    def grow(pids: list[int]) -> None:
        assert pids
        with grown.open("ab") as file:
            file.write(b"more and more " * 400_000)

    repository = new_repository()
    try:
        (committed,), findings = walk([repository], tree, act=grow)
        assert findings == []
        view = view_of(repository, committed)
        assert len(before) < len(grown.read_bytes())
        assert view.read(b"/7/" + os.fsencode(grown.name)) == grown.read_bytes()
    finally:
        grown.write_bytes(before)


def test_no_process_survives_its_capture(tree: Path, tmp_path: Path) -> None:
    """The end of the parent, however sudden, ends its children."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from tests.fault.test_encoding_processes import walk
from tests.support.repository_ground import new_repository

def end(pids):
    print(*pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

walk([new_repository(Path({str(tmp_path / "store")!r}))], Path({str(tree)!r}), act=end)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    pids = [int(text) for text in ended.stdout.split()]
    assert len(pids) == BESIDE.workers
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_what_processes_stored_restores_exactly(tree: Path, tmp_path: Path) -> None:
    repository = new_repository()
    committed, findings = capture(repository, tree)
    assert findings == []
    target = tmp_path / "restored"
    assert restore(repository, committed, target) == []
    assert prove(repository, committed, target) == []
