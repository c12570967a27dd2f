"""Repair on stores that fail, with others at work, killed: nothing more is lost (I4)."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import BusyError, StorageError, StrongroomError
from strongroom.repository import Snapshot
from strongroom.repository.repair_execution import RepairReport, execute_repair
from strongroom.repository.storage import LocalStorage
from tests.house.ground import ROOT
from tests.support.failing_storage import FailingStorage, Failure, copied
from tests.support.repair_ground import (
    DAMAGES,
    Twins,
    assert_clean,
    assert_restores,
    files_of,
    opened,
    planned,
    repair,
)
from tests.support.repository_ground import (
    SMALL_PACKS,
    assert_restorable,
    capture,
    check_codes,
    names,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import make_plain_tree

ALONE, WITH_SECOND = "alone", "with a second repository"


def damaged_storage(original: Twins, base: Path) -> Path:
    """Everything at once: an index, a snapshot, a pack of files and one of directories."""
    store = original.copy(base).store
    DAMAGES["bit flipped"](original, store)
    DAMAGES["trees missing"](original, store)
    DAMAGES["index garbage"](original, store)
    (store / "snapshots" / ("a" * 64)).write_bytes(b"garbage")
    return store


def attempt(storage: FailingStorage, *givers: Path, drop_lost: bool) -> str:
    """One repair on a store that fails; the code of the error that it ended with, or nothing."""
    try:
        repair(storage, *givers, drop_lost=drop_lost)
    except StrongroomError as error:
        return error.code
    return ""


@pytest.mark.parametrize("share", range(3))
@pytest.mark.parametrize("giver", [ALONE, WITH_SECOND])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.usefixtures("quick_locks")
def test_whatever_operation_fails_nothing_more_is_lost(
    original: Twins, tmp_path: Path, lasting: bool, giver: str, share: int
) -> None:
    source = LocalStorage(damaged_storage(original, tmp_path))
    givers = [original.second] if giver == WITH_SECOND else []
    whole = FailingStorage(copied(source))
    assert attempt(whole, *givers, drop_lost=True) == ""
    # What only reads was shown to be harmless by the plan's own test; of that, some.
    numbers = [
        number
        for number, what in enumerate(whole.operations, 1)
        if not what.startswith("load data") or number % 5 == 0
    ]
    for number in numbers[share::3]:
        storage = copied(source)
        failing = FailingStorage(storage, Failure(number, lasting=lasting))
        code = attempt(failing, *givers, drop_lost=True)
        assert failing.failed, f"operation {number} was not reached"
        failed = failing.failed[0]
        assert code or failed.startswith(("delete locks", "list locks")), failed
        for lock in list(storage.list("locks")):  # of a process that is alive: this one
            storage.delete(lock.name)
        assert_restorable(opened(storage), [original.apart])
        if givers:  # what they can heal was never dropped
            there = {one.id for one in opened(storage).snapshots().snapshots}
            assert {one.id for one in original.snapshots} <= there
        repair(storage, *givers, drop_lost=True)
        assert check_codes(opened(storage)) == [], failed
        assert_restorable(opened(storage), [original.apart])
        repaired = [one for one in opened(storage).snapshots().snapshots if one.is_repaired]
        assert len(repaired) == (0 if givers else 1), failed
        if number % 17 == 0:
            on_disk = tmp_path / f"{number}"
            copied(storage, LocalStorage(on_disk))
            stock_restics()[0].check(on_disk)


KILLED = """
import sys
from pathlib import Path
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import FailingStorage, Failure, How
from tests.support.repair_ground import repair

changes = frozenset({"save", "delete"})
failure = Failure(int(sys.argv[2]), how=How.KILLED, of=changes)
repair(FailingStorage(LocalStorage(Path(sys.argv[1])), failure), drop_lost=True)
"""


def test_killed_at_any_change_it_goes_on(original: Twins, tmp_path: Path) -> None:
    """Its lock stays behind, and stops nobody: its process is dead."""
    source = LocalStorage(damaged_storage(original, tmp_path))
    whole = FailingStorage(copied(source))
    assert attempt(whole, drop_lost=True) == ""
    changes = [one for one in whole.operations if one.startswith(("save", "delete"))]
    assert len(changes) > 15
    for number in range(1, len(changes) + 1, 3):
        store = tmp_path / f"killed {number}"
        copied(source, LocalStorage(store))
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, store, str(number)], cwd=ROOT, check=False
        )
        assert ended.returncode == -signal.SIGKILL, changes[number - 1]
        assert_restorable(opened(store), [original.apart])
        repair(store, drop_lost=True)
        assert check_codes(opened(store)) == [], changes[number - 1]
        assert names(LocalStorage(store), "locks") == []
        stock_restics()[0].check(store)


def test_a_damaged_snapshot_stays_until_it_is_written_down(original: Twins, twins: Twins) -> None:
    DAMAGES["pack missing"](original, twins.store)
    repository, plan, givers = planned(twins.store)

    def refuse() -> None:
        raise StorageError("no space left for the ledger", code="store-full")

    report = RepairReport()
    with pytest.raises(StorageError, match="ledger"):
        execute_repair(
            repository, plan, givers, report=report, before_dropping=refuse, drop_lost=True
        )
    assert set(report.dropping) == {twins.first.id, twins.then.id}
    assert report.dropped == []
    there = {one.id for one in opened(twins.store).snapshots().snapshots}
    assert {twins.first.id, twins.then.id} <= there
    _, again = repair(twins.store, drop_lost=True)
    # What the first run made of them is taken, not made once more.
    made = [one.id for one in opened(twins.store).snapshots().snapshots if one.is_repaired]
    assert sorted(one.id for one in again.made) == sorted(made)
    assert len(made) == 2
    assert_clean(twins.store)


# Several at once


def test_while_somebody_uses_the_repository_nothing_is_removed(
    original: Twins, twins: Twins
) -> None:
    damage = DAMAGES["bit flipped"](original, twins.store)
    before = files_of(twins.store)
    other = opened(twins.store).new_lock()
    other.acquire()
    try:
        with pytest.raises(BusyError):
            repair(twins.store, twins.second)
    finally:
        other.release()
    after = files_of(twins.store)
    assert before.items() <= after.items()
    assert damage.file in after
    repair(twins.store, twins.second)
    assert_clean(twins.store)


def test_two_repairs_at_once(original: Twins, twins: Twins) -> None:
    """Both have planned before one of them acts: the other one is told, or finds nothing to do."""
    DAMAGES["bit flipped"](original, twins.store)
    DAMAGES["trees missing"](original, twins.store)
    plans = [planned(twins.store, twins.second) for _ in range(2)]
    for repository, plan, givers in plans:
        with contextlib.suppress(BusyError):
            execute_repair(
                repository, plan, givers, report=RepairReport(), before_dropping=lambda: None
            )
    repair(twins.store, twins.second)
    assert_clean(twins.store)
    assert_restores(twins.store, twins.then, twins.base / "out", original.base / "tree")


def test_captures_and_repairs_at_once_lose_nothing(original: Twins, twins: Twins) -> None:
    DAMAGES["bit flipped"](original, twins.store)
    failures: list[BaseException] = []
    captured: list[Snapshot] = []

    def guarded(work: Callable[[int], None]) -> None:
        for turn in range(4):
            try:
                work(turn)
            except BusyError:
                pass
            except BaseException as error:
                failures.append(error)

    def write(turn: int) -> None:
        tree = twins.base / "written"
        make_plain_tree(tree, seed=turn, files=5)
        captured.append(capture(opened(twins.store), tree, options=SMALL_PACKS)[0].snapshot)

    def mend(_: int) -> None:
        repair(twins.store, twins.second)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (write, mend, mend)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert captured
    repair(twins.store, twins.second)
    assert_clean(twins.store)
    assert_restorable(opened(twins.store), [*twins.snapshots, *captured])


def test_what_came_back_meanwhile_is_not_dropped(original: Twins, twins: Twins) -> None:
    DAMAGES["pack missing"](original, twins.store)
    repository, plan, givers = planned(twins.store)
    assert plan.loses
    capture(opened(twins.store), original.base / "tree", options=SMALL_PACKS)
    with pytest.raises(BusyError) as raised:
        execute_repair(
            repository,
            plan,
            givers,
            report=RepairReport(),
            before_dropping=lambda: None,
            drop_lost=True,
        )
    assert "Run the command again" in raised.value.hint
    there = {one.id for one in opened(twins.store).snapshots().snapshots}
    assert {one.id for one in twins.snapshots} <= there
    plan, _ = repair(twins.store, drop_lost=True)
    assert not plan.loses
    assert_clean(twins.store)


# Stores that refuse


class _Refusing(FailingStorage):
    """A store that takes no new files, or lets none but locks be removed."""

    takes: bool = True

    def save(self, name: str, data: bytes | bytearray | memoryview) -> None:
        if not self.takes:
            raise StorageError("read-only", subject=name, code="store-refused")
        super().save(name, data)

    def delete(self, name: str) -> None:
        if not name.startswith("locks/"):
            raise StorageError("append-only", subject=name, code="store-refused")
        super().delete(name)


def test_a_read_only_store_is_told(original: Twins, twins: Twins) -> None:
    DAMAGES["bit flipped"](original, twins.store)
    before = files_of(twins.store)
    storage = _Refusing(LocalStorage(twins.store))
    storage.takes = False
    with pytest.raises(StorageError) as raised:
        repair(storage, twins.second)
    assert (raised.value.code, raised.value.exit_status) == ("store-refused", 23)
    assert files_of(twins.store) == before


@pytest.mark.parametrize("name", DAMAGES)
def test_an_append_only_store_gets_what_can_be_added(
    name: str, original: Twins, twins: Twins
) -> None:
    """... once; what would have to go is told, and everything restores."""
    DAMAGES[name](original, twins.store)
    storage = _Refusing(LocalStorage(twins.store))
    if name == "index lost":  # nothing has to go
        repair(storage, twins.second)
        assert_clean(twins.store)
        return
    for _ in range(2):
        with pytest.raises(StorageError) as raised:
            repair(storage, twins.second, twins=twins)
        assert raised.value.code == "store-refused"
        assert "lets nothing be removed" in raised.value.message
        told = files_of(twins.store)
    with pytest.raises(StorageError):
        repair(storage, twins.second, twins=twins)
    assert files_of(twins.store).keys() == told.keys()
    assert_restores(twins.store, twins.then, twins.base / "out", original.base / "tree")
