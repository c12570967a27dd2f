"""Locks: who gives way to whom, what is removed, and how long a lock can be relied on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import BusyError, StorageError
from strongroom.repository import Repository, SnapshotWriter
from strongroom.repository import lock as lock_module
from strongroom.repository.storage import Buffer, MemoryStorage
from tests.support.failing_storage import FailingStorage, Failure
from tests.support.repository_ground import (
    PASSWORD,
    capture,
    check_codes,
    names,
    new_repository,
    reopened,
)

HERE = os.uname().nodename


def planted(repository: Repository, **changed: object) -> str:
    """A lock as restic writes it, of a process on another host unless it is changed."""
    fields = {"time": datetime.now(UTC).isoformat(), "exclusive": False, "hostname": "elsewhere",
              "username": "backup", "pid": 7, "uid": 0, "gid": 0} | changed  # fmt: skip
    return "locks/" + repository.save_file("locks", json.dumps(fields).encode())


@pytest.fixture
def repository() -> Repository:
    return new_repository()


@pytest.fixture
def dead() -> int:
    """The number of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def test_a_lock_says_who_holds_it(repository: Repository) -> None:
    lock = repository.new_lock(exclusive=True)
    lock.acquire()
    try:
        (name,) = names(repository.storage, "locks")
        fields = json.loads(repository.load_file(name))
        taken = datetime.fromisoformat(fields.pop("time"))
        assert timedelta(0) <= datetime.now(UTC) - taken < timedelta(minutes=1)
        assert fields.pop("username")
        assert fields == {"exclusive": True, "hostname": HERE, "pid": os.getpid(),
                          "uid": os.getuid(), "gid": os.getgid()}  # fmt: skip
    finally:
        lock.release()
        lock.release()
    assert names(repository.storage, "locks") == []


@pytest.mark.parametrize(
    ("ours", "theirs", "busy"),
    [(False, False, False), (False, True, True), (True, False, True), (True, True, True)],
)
def test_only_shared_locks_go_together(
    repository: Repository, ours: bool, theirs: bool, busy: bool
) -> None:
    planted(repository, exclusive=theirs)
    lock = repository.new_lock(exclusive=ours)
    if busy:
        with pytest.raises(BusyError, match=r"backup@elsewhere \(process 7\)") as raised:
            lock.acquire()
        assert (raised.value.exit_status, raised.value.retry) == (4, "later")
    else:
        lock.acquire()
        lock.confirm()
    lock.release()
    assert len(names(repository.storage, "locks")) == 1


def test_an_old_shared_lock_of_another_host_stops_no_capture(
    repository: Repository, tmp_path: Path
) -> None:
    old = planted(repository, time=(datetime.now(UTC) - timedelta(days=3)).isoformat())
    _, findings = capture(repository, tmp_path)
    assert findings == []
    assert names(repository.storage, "locks") == [old]


def test_an_old_exclusive_lock_of_another_host_is_told_with_the_remedy(
    repository: Repository,
) -> None:
    planted(repository, exclusive=True, time=(datetime.now(UTC) - timedelta(days=3)).isoformat())
    with pytest.raises(BusyError) as raised:
        repository.new_lock(exclusive=True).acquire()
    assert "strongroom unlock" in raised.value.hint
    assert "an exclusive lock since" in raised.value.message


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_lock_of_a_dead_process_is_removed_and_reported(
    repository: Repository, dead: int, exclusive: bool, tmp_path: Path
) -> None:
    planted(repository, hostname=HERE, pid=dead, exclusive=exclusive)
    _, findings = capture(repository, tmp_path)
    assert [(one.code, str(dead) in one.message) for one in findings] == [("lock-removed", True)]
    assert names(repository.storage, "locks") == []


def test_check_reports_the_locks_that_it_removed(repository: Repository, dead: int) -> None:
    planted(repository, hostname=HERE, pid=dead)
    assert check_codes(repository) == ["lock-removed"]
    assert check_codes(repository) == []


@pytest.mark.parametrize("pid", [0, -1, 1 << 70])
def test_a_process_number_that_cannot_be_is_not_taken_for_dead(
    repository: Repository, pid: int
) -> None:
    planted(repository, hostname=HERE, pid=pid, exclusive=True)
    with pytest.raises(BusyError):
        repository.new_lock().acquire()


def test_an_unreadable_lock_counts_and_an_empty_one_does_not(repository: Repository) -> None:
    repository.storage.save("locks/" + "a" * 64, b"")
    lock = repository.new_lock()
    lock.acquire()
    lock.release()
    repository.storage.save("locks/" + "b" * 64, b"garbage")
    with pytest.raises(BusyError, match="cannot be read") as raised:
        repository.new_lock().acquire()
    assert "`strongroom unlock --all`" in raised.value.hint
    assert repository.unlock(everything=False) == []
    assert len(repository.unlock(everything=True)) == 1
    lock = repository.new_lock()
    lock.acquire()
    lock.release()


def test_who_comes_second_gives_way(repository: Repository, tmp_path: Path) -> None:
    """An exclusive lock that appears while ours is young: nothing of ours becomes visible."""
    with SnapshotWriter([repository]) as writer:
        exclusive = planted(repository, exclusive=True)
        writer.put_bytes(b"content")
        root = writer.put_tree([])
        with pytest.raises(BusyError):
            writer.commit(root, paths=[str(tmp_path)], tags=[], time=datetime.now(UTC))
    assert names(repository.storage, "locks") == [exclusive]
    for folder in ("data", "index", "snapshots"):
        assert names(repository.storage, folder) == []


def test_who_was_there_between_look_and_lock_is_noticed_though_gone_soon() -> None:
    """Whoever pruned in that moment has removed what a look at the store still showed."""
    storage = new_repository().storage

    class Slow(FailingStorage):
        def save(self, name: str, data: Buffer) -> None:
            planted(reopened(other), exclusive=True)
            super().save(name, data)

    other = Repository.open(storage, PASSWORD, name="store")
    slow = Repository.open(Slow(storage), PASSWORD, name="store")
    with pytest.raises(BusyError):
        slow.new_lock().acquire()
    assert len(names(storage, "locks")) == 1


def test_two_captures_at_once_do_not_disturb_each_other(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_bytes(os.urandom(100_000))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "file").write_bytes((tmp_path / "one" / "file").read_bytes())
    done: list[object] = []

    def work(name: str) -> None:
        done.append(capture(reopened(repository), tmp_path / name))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
    assert len(repository.snapshots().snapshots) == 2
    assert check_codes(repository) == []
    assert names(repository.storage, "locks") == []


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's minutes as fractions of a second."""
    monkeypatch.setattr(lock_module, "_REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(lock_module, "_GIVE_UP_AFTER", timedelta(seconds=0.3))


@pytest.mark.usefixtures("hurried")
def test_a_lock_is_renewed_before_the_old_one_goes(repository: Repository) -> None:
    lock = repository.new_lock()
    lock.acquire()
    first = names(repository.storage, "locks")
    deadline = time.monotonic() + 10
    while set(first) & set(names(repository.storage, "locks")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lock.confirm()
    lock.release()
    assert names(repository.storage, "locks") == []


@pytest.mark.usefixtures("hurried")
def test_who_cannot_renew_stops_writing_in_time() -> None:
    storage = new_repository().storage
    assert isinstance(storage, MemoryStorage)
    failing = FailingStorage(storage)
    repository = Repository.open(failing, "correct horse battery staple", name="store")
    lock = repository.new_lock()
    lock.acquire()
    lock.confirm()
    failing.fail(Failure(1, lasting=True))
    time.sleep(0.4)
    with pytest.raises(BusyError, match="could not be refreshed"):
        lock.confirm()
    failing.fail(None)
    lock.release()


def test_a_hangup_does_not_end_whoever_holds_a_lock(repository: Repository) -> None:
    """Stock restic asks so whether the process of a lock lives."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    try:
        locks = [repository.new_lock(), repository.new_lock()]
        for lock in locks:
            lock.acquire()
            os.kill(os.getpid(), signal.SIGHUP)
        for lock in locks:
            assert heard == []
            lock.release()
        os.kill(os.getpid(), signal.SIGHUP)
        assert heard == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_store_that_fails_while_locks_are_listed_stops_the_writer() -> None:
    failing = FailingStorage(new_repository().storage)
    repository = Repository.open(failing, "correct horse battery staple", name="store")
    failing.fail(Failure(1, lasting=True))
    with pytest.raises(StorageError):
        repository.new_lock().acquire()
