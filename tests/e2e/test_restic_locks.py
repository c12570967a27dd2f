"""Locks between stock restic and us, in both directions, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import BusyError
from strongroom.repository import Repository, SnapshotWriter
from strongroom.repository.prune import PruneOptions, PruneReport, execute, plan_prune
from tests.support.repository_ground import (
    PASSWORD,
    capture,
    names,
    new_repository,
    reopened,
)
from tests.support.restic import Restic, stock_restics


@pytest.fixture(params=stock_restics(), ids=str)
def restic(request: pytest.FixtureRequest) -> Restic:
    found = request.param
    assert isinstance(found, Restic)
    return found


@pytest.fixture
def ground(tmp_path: Path) -> tuple[Repository, Path, Path]:
    tree, store = tmp_path / "tree", tmp_path / "store"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(3 << 20))
    repository = new_repository(store)
    capture(repository, tree)
    return repository, store, tree


Ground = tuple[Repository, Path, Path]


@contextmanager
def frozen(restic: Restic, store: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A restic that was stopped in the middle of a command, its lock in place; killed at the end.

    What it reads from comes through a pipe, so that it waits long enough to be met.
    """
    environment = {"RESTIC_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [restic.program, "--no-cache", "-r", str(store), *command],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while not list((store / "locks").glob("?" * 64)):
                assert child.poll() is None, "restic ended before its lock was seen"
                assert time.monotonic() < deadline
                time.sleep(0.001)
            child.send_signal(signal.SIGSTOP)
            yield child
        finally:
            child.kill()
            child.wait()


def test_restic_s_exclusive_lock_stops_us_until_its_process_is_dead(
    ground: Ground, restic: Restic
) -> None:
    repository, store, tree = ground
    with frozen(restic, store, "prune"):
        with pytest.raises(BusyError) as raised:
            capture(repository, tree)
        assert raised.value.exit_status == 4
        assert "exclusive lock" in raised.value.message
        assert len(names(repository.storage, "locks")) == 1
    _, findings = capture(repository, tree)
    assert [one.code for one in findings] == ["lock-removed"]
    assert names(repository.storage, "locks") == []
    restic.check(store)


def test_restic_s_shared_lock_stops_nobody(ground: Ground, restic: Restic) -> None:
    repository, store, tree = ground
    with frozen(restic, store, "backup", "--stdin"):
        _, findings = capture(repository, tree)
        assert findings == []


def test_our_lock_stops_restic_s_prune_and_not_its_backup(ground: Ground, restic: Restic) -> None:
    repository, store, tree = ground
    with SnapshotWriter([repository]) as writer:
        writer.put_bytes(b"content")
        (name,) = names(repository.storage, "locks")
        answer = restic.attempt(store, "prune")
        assert answer.returncode != 0
        assert b"locked" in answer.stderr
        record = json.loads(restic.run(store, "cat", "lock", name.rpartition("/")[2]))
        assert (record["pid"], record["exclusive"]) == (os.getpid(), False)
        restic.run(store, "backup", tree)
        restic.run(store, "unlock")  # removes stale locks only
        assert names(repository.storage, "locks") == [name]
    restic.run(store, "prune")
    restic.check(store)


def test_our_prune_waits_for_restic_s_backup(
    ground: Ground, restic: Restic, tmp_path: Path
) -> None:
    """What restic stores meanwhile may rely on what our plan would remove."""
    repository, store, tree = ground
    old = repository.snapshots().snapshots[-1]
    content = (tree / "file").read_bytes()
    (tree / "file").write_bytes(b"nothing of it")
    capture(reopened(repository), tree)
    options = PruneOptions(grace=timedelta(0))
    pruning = reopened(repository)
    listed = pruning.snapshots().snapshots
    plan = plan_prune(pruning, listed, [old.id], options=options, now=datetime.now(UTC))
    assert plan.delete
    before = names(repository.storage, "data")
    with frozen(restic, store, "backup", "--stdin", "--stdin-filename", "late") as child:
        with pytest.raises(BusyError):
            execute(pruning, plan, report=PruneReport(), options=options)
        assert set(before) <= set(names(repository.storage, "data"))
        assert old.id in {one.id for one in reopened(repository).snapshots().snapshots}
        child.send_signal(signal.SIGCONT)
        child.communicate(content, timeout=60)
        assert child.returncode == 0
    restic.check(store)
    pruning = reopened(repository)
    execute(pruning, plan, report=PruneReport(), options=options)
    restic.check(store)
    (tmp_path / "back").mkdir()
    restic.run(store, "restore", "latest", "--path", "/late", "--target", tmp_path / "back")
    assert (tmp_path / "back" / "late").read_bytes() == content
    assert old.id not in {one.id for one in reopened(repository).snapshots().snapshots}


def test_unlock_removes_what_we_told_to_remove(ground: Ground, restic: Restic) -> None:
    repository, store, tree = ground
    old = {"time": (datetime.now(UTC) - timedelta(days=2)).isoformat(), "exclusive": True,
           "hostname": "elsewhere", "username": "root", "pid": 7, "uid": 0, "gid": 0}  # fmt: skip
    repository.save_file("locks", json.dumps(old).encode())
    with pytest.raises(BusyError) as raised:
        repository.new_lock(exclusive=True).acquire()
    assert "strongroom unlock" in raised.value.hint
    (file,) = (store / "locks").iterdir()
    os.utime(file, (1_700_000_000, 1_700_000_000))
    _, findings = capture(repository, tree)  # adding hurts nobody who is long gone
    assert [one.code for one in findings] == ["lock-stale"]
    restic.run(store, "unlock")
    _, findings = capture(repository, tree)
    assert findings == []
