"""Captures and restores with processes: the same as without, and nothing is lost with them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, TargetError
from strongroom.model import Silent
from strongroom.repository import (
    BlobType,
    Committed,
    Repository,
    SnapshotView,
    SnapshotWriter,
    WriterOptions,
)
from strongroom.repository.repository import pack_name
from strongroom.sources.file_walk import TreeWalk
from tests.support.observation import small_disk
from tests.support.repository_ground import (
    capture,
    check_codes,
    new_repository,
    prove,
    reopened,
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


def children(program: str = "encoding_child") -> list[int]:
    """The processes of this one that work so."""
    started: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            started += (task / "children").read_text().split()
    return [
        int(pid) for pid in started if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
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
from tests.fault.test_processes import walk
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


# Restores


class Killing(Silent):
    """Kills working processes once, when the restore has come so far that there are some."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.gone: list[int] = []

    def advance(self, size_bytes: int, items: int = 0) -> None:  # noqa: ARG002
        if not self.gone:
            for pid in children("restore_child")[: self.most]:
                os.kill(pid, signal.SIGKILL)
                self.gone.append(pid)


@pytest.mark.parametrize("killed", [1, BESIDE.workers])
def test_a_restore_goes_on_without_its_processes(tree: Path, tmp_path: Path, killed: int) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    killing = Killing(killed)
    view = SnapshotView(reopened(repository), committed.snapshot, killing)
    target = tmp_path / "restored"
    report = view.restore(os.fsencode(tree), target)
    assert len(killing.gone) == killed
    assert report.findings == []
    assert prove(repository, committed, target) == []
    assert children("restore_child") == []


def test_damage_that_a_process_meets_stops_the_restore(tree: Path, tmp_path: Path) -> None:
    """... unless the blob lies somewhere else as well; nothing wrong stands under a name."""
    store = tmp_path / "store"
    repository = new_repository(store)
    committed, _ = capture(repository, tree)
    victim = tree / "7" / f"file {FILES - 1:05d}"
    blob_id = hashlib.sha256(victim.read_bytes()).digest()
    location = repository.locate(BlobType.DATA, blob_id)
    pack = store / pack_name(location.pack)
    content = bytearray(pack.read_bytes())
    content[location.entry.offset + 20] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    target = tmp_path / "restored"
    with pytest.raises(IntegrityError) as raised:
        restore(repository, committed, target)
    assert raised.value.code == "pack-damaged"
    left = [path for path in target.rglob("*") if path.is_file()]
    assert left  # whatever was whole before the damage was met
    for path in left:
        assert path.read_bytes() == (tree / path.relative_to(target)).read_bytes()


def test_a_full_disk_that_a_process_meets_is_told(tree: Path) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    with small_disk(16 << 20) as disk, pytest.raises(TargetError) as raised:
        restore(repository, committed, disk / "restored")
    assert "No space left" in str(raised.value)
    assert "Free space" in raised.value.hint
