"""I4: a stop at any instant leaves every earlier snapshot restorable and the repository clean.

Here at random instants of larger captures, and on disks that are full or can only be read; at every
single storage operation: `test_operation_matrix`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.repository import Repository, Storage
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import FailingStorage, Failure, copied
from tests.support.observation import small_disk
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    assert_restorable,
    capture,
    check_codes,
    names,
    new_repository,
    prove,
    restore,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import describe, make_plain_tree

HARMLESS = {"pack-orphaned"}


def opened(storage: Storage | Path) -> Repository:
    if isinstance(storage, Path):
        storage = LocalStorage(storage)
    return Repository.open(storage, PASSWORD, name="store")


# One of several repositories fails


class Ground:
    """A repository with one snapshot, and the tree as it is for the next one."""

    def __init__(self, base: Path) -> None:
        self.tree = base / "tree"
        make_plain_tree(self.tree, seed=1, files=4)
        repository = new_repository()
        self.first, _ = capture(repository, self.tree, options=SMALL_PACKS)
        make_plain_tree(self.tree, seed=2, files=9, most_bytes=90_000)
        self.storage = repository.storage


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
def test_a_repository_that_fails_does_not_stop_the_others(ground: Ground, lasting: bool) -> None:
    """One capture into two repositories; one of them fails at every third of its operations."""
    sound, number, failures = new_repository(name="sound"), 1, 0
    while True:
        storage = copied(ground.storage)
        failing = FailingStorage(storage)
        repository = Repository.open(failing, PASSWORD, name="failing")
        failing.fail(Failure(number, lasting=lasting))
        committed, findings = capture([repository, sound], ground.tree, options=SMALL_PACKS)
        told = {one.code for one in findings}
        if not failing.failed:
            break
        assert told <= {"repository-failed", "lock-removed", "pack-orphaned"}
        newest = max(sound.snapshots().snapshots, key=lambda one: one.time)
        assert newest.tree == committed.snapshot.tree
        if lasting and not failing.failed[0].startswith("delete"):
            assert told == {"repository-failed"}, failing.failed
            assert committed.repository == "sound"
            failures += 1
        assert set(check_codes(opened(storage))) <= HARMLESS
        assert_restorable(opened(storage), [ground.first.snapshot])
        number += 3
    assert told == set()
    assert number > 10
    assert failures > 2 or not lasting
    assert check_codes(sound) == []
    both = [Repository.open(FailingStorage(ground.storage), PASSWORD, name=one) for one in "ab"]
    for one in both:
        assert isinstance(one.storage, FailingStorage)
        one.storage.fail(Failure(3, lasting=True))
    with pytest.raises(StorageError):
        capture(both, ground.tree)


def test_a_store_that_is_gone_from_the_start_is_told(ground: Ground) -> None:
    failing = FailingStorage(copied(ground.storage), Failure(1, lasting=True))
    with pytest.raises(StorageError) as raised:
        opened(failing)
    assert raised.value.exit_status == 20


# Killed and interrupted

CAPTURE = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from strongroom.repository import (
    Repository, SnapshotView, SnapshotWriter, WriterOptions, open_storage
)
from strongroom.sources import CaptureContext
from strongroom.sources.files import FilesSource

signal.signal(signal.SIGINT, signal.default_int_handler)
repository = Repository.open(open_storage(sys.argv[1]), sys.stdin.readline().strip(), name="store")
source = FilesSource("tree", Path(sys.argv[2]))
now = datetime.now(UTC)
parent = SnapshotView(repository, repository.find("latest"))
print("ready", flush=True)
try:
    with SnapshotWriter([repository], WriterOptions(pack_bytes=64 << 10)) as writer:
        captured = source.capture(writer, CaptureContext(now, parent))
        writer.commit(captured.root, paths=source.paths, tags=["source:tree"], time=now)
except KeyboardInterrupt:
    sys.exit(130)
print("done", flush=True)
"""


def duration(store: Path, tree: Path) -> float:
    """How many seconds a capture of a day takes on this machine, now."""
    grow(tree, 100)
    status, seconds = stopped_capture(store, tree, 0, None)
    assert status == 0
    return seconds


def stopped_capture(
    store: Path, tree: Path, after_seconds: float, how: signal.Signals | None
) -> tuple[int, float]:
    """Start a capture in a process of its own and stop it after a while; how it ended, and after
    how many seconds."""
    with subprocess.Popen(
        [sys.executable, "-c", CAPTURE, str(store), str(tree)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin
        assert child.stdout
        child.stdin.write(PASSWORD.encode() + b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"ready\n"
        begun = time.monotonic()
        time.sleep(after_seconds)
        if how is not None:
            child.send_signal(how)
        child.stdout.read()
        return child.wait(timeout=60), time.monotonic() - begun


def moments(count: int, longest_seconds: float) -> list[float]:
    """Random moments of a capture; the seed is printed for whoever looks at a failure."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    return [draw.uniform(0, longest_seconds) for _ in range(count)]


def grow(tree: Path, number: int) -> None:
    """Some twenty new small packs' worth of files."""
    make_plain_tree(tree / f"day {number}", seed=number, files=30, most_bytes=80_000)


@pytest.mark.parametrize("part", range(4))
def test_killed_at_twenty_moments_every_earlier_snapshot_restores(
    tmp_path: Path, part: int
) -> None:
    """Five moments in each of the four parts."""
    restic = stock_restics()[part % len(stock_restics())]
    store, tree = tmp_path / "store", tmp_path / "tree"
    grow(tree, 0)
    repository = new_repository(store)
    capture(repository, tree, options=SMALL_PACKS)
    killed = locks = 0
    for number, moment in enumerate(moments(5, duration(store, tree)), 1):
        grow(tree, number)
        ended, _ = stopped_capture(store, tree, moment, signal.SIGKILL)
        killed += ended == -signal.SIGKILL
        stale = len(names(repository.storage, "locks"))
        repository = opened(store)
        snapshots = list(repository.snapshots().snapshots)
        restic.run(store, "check", "--no-lock")
        assert_restorable(repository, snapshots[-2:])
        committed, findings = capture(
            repository, tree, parent=snapshots[-1], options=SMALL_PACKS, after=timedelta(0)
        )
        codes = [one.code for one in findings]
        orphaned = codes.count("pack-orphaned")  # depends on when it was killed; told once
        assert orphaned <= 1
        assert sorted(codes) == ["lock-removed"] * stale + ["pack-orphaned"] * orphaned
        assert names(repository.storage, "locks") == []
        assert set(check_codes(repository)) <= HARMLESS
        locks += stale
    assert killed, "no capture was killed in its course"
    assert locks, "no capture was killed while it held its lock"
    restic.run(store, "check", "--read-data")
    restic.run(store, "prune")
    restic.check(store)
    assert restore(opened(store), committed, tmp_path / "out") == []
    assert prove(opened(store), committed, tmp_path / "out") == []


def test_interrupted_captures_leave_neither_locks_nor_temporary_files(tmp_path: Path) -> None:
    store, tree = tmp_path / "store", tmp_path / "tree"
    grow(tree, 0)
    capture(new_repository(store), tree, options=SMALL_PACKS)
    interrupted = 0
    for number, moment in enumerate(moments(6, duration(store, tree)), 1):
        grow(tree, number)
        ended, _ = stopped_capture(store, tree, moment, signal.SIGINT)
        assert ended in (0, 130, -signal.SIGINT)  # the last one: after the work was done
        interrupted += ended == 130
        repository = opened(store)
        assert names(repository.storage, "locks") == []
        assert [path.name for path in store.rglob("*-tmp-*")] == []
        assert set(check_codes(repository)) <= HARMLESS
    assert interrupted, "no capture was interrupted in its course"
    stock_restics()[0].run(store, "check", "--read-data")


# Full


def test_a_full_store_is_told_and_every_earlier_snapshot_restores(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=5, files=10)
    with small_disk(4 << 20) as disk:
        store = disk / "store"
        repository = new_repository(store)
        first, _ = capture(repository, tree, options=SMALL_PACKS)
        before = describe(tree)
        (tree / "large").write_bytes(os.urandom(6 << 20))
        for _ in range(2):
            with pytest.raises(StorageError) as raised:
                capture(opened(store), tree, parent=first.snapshot, options=SMALL_PACKS)
            assert (raised.value.code, raised.value.exit_status) == ("store-full", 22)
            assert [path.name for path in store.rglob("*-tmp-*")] == []
        repository = opened(store)
        assert names(repository.storage, "locks") == []
        assert set(check_codes(repository)) <= HARMLESS
        assert restore(repository, first, tmp_path / "out") == []
        assert describe(tmp_path / "out") == before
        stock_restics()[0].run(store, "check", "--read-data", "--no-lock")
        (tree / "large").unlink()
        for orphan in set(names(repository.storage, "data")) - {
            f"data/{pack[:2]}/{pack}" for pack, _ in repository.index.packs()
        }:
            repository.storage.delete(orphan)
        second, _ = capture(opened(store), tree, parent=first.snapshot)
        assert restore(opened(store), second, tmp_path / "again") == []


def test_a_store_that_may_only_be_read_refuses_captures_and_serves_restores(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=6)
    repository = new_repository(tmp_path / "store")
    committed, _ = capture(repository, tree)
    subprocess.run(["mount", "--bind", tmp_path / "store", tmp_path / "store"], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path / "store"], check=True)
        with pytest.raises(StorageError) as raised:
            capture(opened(tmp_path / "store"), tree)
        assert (raised.value.code, raised.value.exit_status) == ("store-refused", 23)
        repository = opened(tmp_path / "store")
        assert check_codes(repository) == []
        assert restore(repository, committed, tmp_path / "out") == []
    finally:
        subprocess.run(["umount", tmp_path / "store"], check=True)
