"""Prune: nothing that is needed goes, whatever fails, and whoever writes meanwhile."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.repository import (
    Committed,
    Folder,
    Repository,
    Snapshot,
    SnapshotWriter,
    Storage,
)
from strongroom.repository.prune import (
    PruneOptions,
    PrunePlan,
    PruneReport,
    execute,
    plan_prune,
)
from strongroom.repository.storage import MemoryStorage
from strongroom.repository.storage.protocol import StoredFile
from tests.support.failing_storage import FailingStorage, Failure, copied
from tests.support.prune_ground import Ground
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    assert_restorable,
    capture,
    check_codes,
    names,
    new_repository,
    prove,
    reopened,
    restore,
    view_of,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import make_plain_tree

AT_ONCE = PruneOptions(grace=timedelta(0), pack_bytes=64 << 10)
HARMLESS = {"pack-orphaned", "index-hint"}


def planned(repository: Repository, drop: list[str], options: PruneOptions = AT_ONCE) -> PrunePlan:
    listed = repository.snapshots().snapshots
    return plan_prune(repository, listed, drop, options=options, now=datetime.now(UTC))


def prune(repository: Repository, drop: list[str]) -> PruneReport:
    opened, report = reopened(repository), PruneReport()
    execute(opened, planned(opened, drop), report=report, options=AT_ONCE)
    return report


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def opened(storage: Storage) -> Repository:
    return Repository.open(storage, PASSWORD, name="store")


def size_of(storage: Storage) -> int:
    return sum(one.size_bytes for one in storage.list("data"))


def test_space_is_freed_and_the_rest_is_whole(ground: Ground, tmp_path: Path) -> None:
    repository = opened(copied(ground.repository.storage))
    before = size_of(repository.storage)
    plan = planned(repository, ground.drop)
    assert plan.freed_bytes > 400_000
    report = prune(repository, ground.drop)
    after = size_of(repository.storage)
    assert report.dropped == ground.drop
    # Headers of packs and what is sealed anew are a little.
    assert abs((before - after) - plan.freed_bytes) < 20_000
    assert check_codes(repository) == []
    assert_restorable(reopened(repository), ground.snapshots[2:])
    newest = Committed("store", ground.snapshots[-1], 0)
    assert restore(repository, newest, tmp_path / "out") == []
    assert prove(repository, newest, tmp_path / "out") == []
    assert planned(reopened(repository), []).is_empty


def test_a_plan_touches_nothing(ground: Ground) -> None:
    watched = FailingStorage(ground.repository.storage)
    planned(opened(watched), ground.drop)
    assert not [one for one in watched.operations if one.startswith(("save", "delete"))]


def test_young_packs_stay(ground: Ground) -> None:
    repository = opened(copied(ground.repository.storage))
    careful = PruneOptions(grace=timedelta(hours=1))
    plan = planned(repository, ground.drop, careful)
    assert plan.young
    assert not plan.delete
    assert not plan.repack
    later = datetime.now(UTC) + timedelta(hours=2)
    listed = repository.snapshots().snapshots
    old = plan_prune(repository, listed, ground.drop, options=careful, now=later)
    assert old.delete


def test_little_waste_is_left_alone(ground: Ground) -> None:
    repository = opened(copied(ground.repository.storage))
    tolerant = PruneOptions(grace=timedelta(0), max_unused=10.0, pack_bytes=4096)
    plan = planned(repository, ground.drop, tolerant)
    assert plan.delete
    assert not plan.repack
    strict = PruneOptions(grace=timedelta(0), max_unused=0.0, pack_bytes=4096)
    assert planned(repository, ground.drop, strict).repack


def test_stock_restic_agrees(tmp_path: Path) -> None:
    ground = Ground(tmp_path, tmp_path / "store")
    prune(ground.repository, ground.drop)
    for restic in stock_restics():
        restic.check(tmp_path / "store")
    # And when it prunes what is left, nothing is left to do for us.
    stock_restics()[-1].run(tmp_path / "store", "forget", ground.snapshots[2].id, "--prune")
    assert check_codes(ground.repository) == []
    assert_restorable(reopened(ground.repository), ground.snapshots[3:])


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("share", range(4))
def test_whatever_operation_fails_nothing_needed_is_lost(
    ground: Ground, lasting: bool, share: int, tmp_path: Path
) -> None:
    whole = FailingStorage(copied(ground.repository.storage))
    first = opened(whole)
    whole.fail(None)
    execute(first, planned(first, ground.drop), report=PruneReport(), options=AT_ONCE)
    count = len(whole.operations)
    for number in range(1 + share, count + 1, 4):
        storage = copied(ground.repository.storage)
        failing = FailingStorage(storage)
        repository = opened(failing)
        failing.fail(Failure(number, lasting=lasting))
        with contextlib.suppress(StorageError, BusyError):
            plan = planned(repository, ground.drop)
            execute(repository, plan, report=PruneReport(), options=AT_ONCE)
        assert failing.failed, f"operation {number} was not reached"
        for lock in list(storage.list("locks")):  # of a process that is alive: this one
            storage.delete(lock.name)
        after = opened(storage)
        codes = set(check_codes(after))
        assert codes <= HARMLESS, (failing.failed, codes)
        assert_restorable(after, ground.snapshots[2:])
        # The next run goes on and ends clean.
        left = {one.id for one in after.snapshots().snapshots}
        prune(after, [one for one in ground.drop if one in left])
        assert check_codes(after) == []
        if number % 11 == 0:
            on_disk = tmp_path / f"{number} {lasting}"
            copied(storage, new_repository(on_disk).storage)


def test_what_is_captured_meanwhile_stays_whole(ground: Ground) -> None:
    """A capture between plan and deletion relies on blobs that were about to go."""
    repository = opened(copied(ground.repository.storage))
    plan = planned(repository, ground.drop)
    # What day 0 alone had is captured again: every blob of it is known, and none is sent.
    old = view_of(repository, Committed("store", ground.snapshots[0], 0))
    content = old.read(os.fsencode(ground.tree) + b"/only of day 0")
    (ground.tree / "back again").write_bytes(content)
    try:
        since, _ = capture(reopened(repository), ground.tree, options=SMALL_PACKS)
    finally:
        (ground.tree / "back again").unlink()
    report = PruneReport()
    execute(repository, plan, report=report, options=AT_ONCE)
    assert report.spared
    assert check_codes(repository) == []
    assert_restorable(reopened(repository), [*ground.snapshots[2:], since.snapshot])


def test_while_somebody_writes_nothing_is_removed(ground: Ground) -> None:
    repository = opened(copied(ground.repository.storage))
    before = names(repository.storage, "data"), names(repository.storage, "snapshots")
    other = reopened(repository).new_lock()
    other.acquire()
    try:
        plan = planned(repository, ground.drop)
        with pytest.raises(BusyError):
            execute(repository, plan, report=PruneReport(), options=AT_ONCE)
    finally:
        other.release()
    assert set(before[0]) <= set(names(repository.storage, "data"))
    assert before[1] == names(repository.storage, "snapshots")
    assert_restorable(reopened(repository), ground.snapshots)


class Backwards(MemoryStorage):
    """Another host's view of the same store, which lists files in another order."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__()
        self.__dict__ = storage.__dict__

    def list(self, folder: str) -> Iterator[StoredFile]:
        yield from reversed(list(super().list(folder)))


def test_a_plan_that_another_prune_has_overtaken_is_not_carried_out() -> None:
    """Of blobs that lie in two packs each would spare the one that the other deletes."""
    storage = MemoryStorage()
    repository = new_repository(storage)
    content, kept = os.urandom(50_000), []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(SnapshotWriter([reopened(repository)], SMALL_PACKS))
            for _ in range(2)
        ]
        for number, writer in enumerate(writers):
            folder = Folder(number)
            folder.add(b"twice stored", writer.put_bytes(content))
            now = datetime.now(UTC)
            kept += writer.commit(folder.store(writer), paths=["/"], tags=[], time=now)
    first, second = opened(storage), opened(Backwards(storage))
    plans = [planned(first, []), planned(second, [])]
    assert len(plans[0].delete) == len(plans[1].delete) == 1
    assert plans[0].delete != plans[1].delete
    execute(second, plans[1], report=PruneReport(), options=AT_ONCE)
    with pytest.raises(BusyError, match="has pruned since"):
        execute(first, plans[0], report=PruneReport(), options=AT_ONCE)
    prune(repository, [])
    assert check_codes(repository) == []
    assert_restorable(reopened(repository), [one.snapshot for one in kept])


def test_on_top_of_damage_nothing_is_pruned(ground: Ground) -> None:
    storage = copied(ground.repository.storage)
    needed = planned(opened(storage), ground.drop)
    victims = [
        one.name
        for one in storage.list("data")
        if one.name[-64:] not in {*needed.delete, *needed.repack}
    ]
    storage.delete(victims[0])
    with pytest.raises(IntegrityError) as raised:
        planned(opened(storage), ground.drop)
    assert raised.value.code == "pack-damaged"
    lost = copied(ground.repository.storage)
    for one in list(lost.list("index")):
        lost.delete(one.name)
    with pytest.raises(IntegrityError) as unindexed:
        planned(opened(lost), ground.drop)
    assert unindexed.value.code == "index-damaged"


def test_packs_in_no_index_go(ground: Ground) -> None:
    """What a capture left that was stopped before it wrote its index."""
    storage = copied(ground.repository.storage)
    storage.save("data/ab/" + "ab" * 32, b"left over")
    repository = opened(storage)
    assert planned(repository, []).orphans == ("ab" * 32,)
    prune(repository, [])
    assert check_codes(repository) == []


def test_several_programs_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two Strongrooms and one restic on one repository, while one of them prunes."""
    store = tmp_path / "store"
    repository = new_repository(store)
    restic = stock_restics()[-1]
    failures: list[BaseException] = []
    kept: list[Snapshot] = []
    guard = threading.Lock()

    def guarded(work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:
            failures.append(error)

    def ours(number: int) -> None:
        tree = tmp_path / f"tree {number}"
        for turn in range(5):
            make_plain_tree(tree, seed=turn % 2, files=5, most_bytes=60_000)
            with contextlib.suppress(BusyError):
                committed, _ = capture(reopened(repository), tree, options=SMALL_PACKS)
                with guard:
                    kept.append(committed.snapshot)

    def theirs() -> None:
        tree = tmp_path / "tree 9"
        for turn in range(4):
            make_plain_tree(tree, seed=turn % 2, files=5, most_bytes=60_000)
            restic.attempt(store, "backup", tree, "--quiet")

    def pruning() -> None:
        for _ in range(8):
            opened_now = reopened(repository)
            with guard:
                drop = [one.id for one in kept[:-2]]
                del kept[:-2]
            with contextlib.suppress(BusyError):
                there = {one.id for one in opened_now.snapshots().snapshots}
                plan = planned(opened_now, [one for one in drop if one in there])
                execute(opened_now, plan, report=PruneReport(), options=AT_ONCE)

    workers = [lambda: ours(1), lambda: ours(2), theirs, pruning]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    restic.check(store)
    assert set(check_codes(repository)) <= HARMLESS
    assert_restorable(reopened(repository), list(repository.snapshots().snapshots))
