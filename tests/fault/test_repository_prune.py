"""Prune: nothing that is needed goes, whatever fails, and whoever writes meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import BusyError, IntegrityError
from strongroom.repository import (
    Committed,
    Node,
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
from strongroom.repository.storage import StoredFile
from tests.support.failing_storage import FailingStorage, copied
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


def test_with_an_index_that_nobody_can_read_nothing_is_pruned(ground: Ground) -> None:
    storage = copied(ground.repository.storage)
    garbage = "index/" + "ab" * 32
    plan = planned(opened(storage), ground.drop)
    storage.save(garbage, b"garbage")
    with pytest.raises(IntegrityError) as refused:
        planned(opened(storage), ground.drop)
    assert (refused.value.code, garbage in refused.value.subject) == ("index-damaged", True)
    # It came after the plan was made: nothing is removed either.
    with pytest.raises(IntegrityError):
        execute(opened(storage), plan, report=PruneReport(), options=AT_ONCE)
    storage.delete(garbage)
    assert_restorable(opened(storage), ground.snapshots)
    assert set(check_codes(opened(storage))) <= HARMLESS


class Fickle(FailingStorage):
    """Lists everything the other way round when told so, as stores may."""

    backwards = False

    def list(self, folder: str) -> Iterator[StoredFile]:
        return iter([*super().list(folder)][:: -1 if self.backwards else 1])


def stored_twice(storage: Storage) -> tuple[Snapshot, Snapshot]:
    """Two captures at once, which both store the same content; the first one something more."""
    made, twice = [], os.urandom(2000)
    with SnapshotWriter([opened(storage)]) as one, SnapshotWriter([opened(storage)]) as other:
        for writer, contents in ((one, (twice, os.urandom(2000))), (other, (twice,))):
            nodes = []
            for number, content in enumerate(contents):
                put = writer.put_bytes(content)
                name = b"%d" % number
                nodes.append(Node(name, "file", 0o100644, content=put.blobs, size=put.size))
            root = writer.put_folder(nodes)
            (committed,) = writer.commit(root, paths=["/"], tags=[], time=datetime.now(UTC))
            made.append(committed.snapshot)
    return made[0], made[1]


def test_of_two_that_prune_at_once_one_gives_way() -> None:
    """Each plan relies on the pack that the other one removes."""
    storage = Fickle(new_repository().storage)
    snapshots = list(stored_twice(storage))
    pruning, plans = [], []
    for storage.backwards in (False, True):
        pruning.append(opened(storage))
        plans.append(planned(pruning[-1], []))
    assert plans[0].going
    assert plans[1].going
    assert plans[0].going.isdisjoint(plans[1].going)
    execute(pruning[0], plans[0], report=PruneReport(), options=AT_ONCE)
    with pytest.raises(BusyError, match="has pruned since"):
        execute(pruning[1], plans[1], report=PruneReport(), options=AT_ONCE)
    assert_restorable(opened(storage), snapshots)
    assert check_codes(opened(storage)) == []


def test_what_is_needed_is_kept_in_whatever_order_the_index_is_read() -> None:
    """Of a blob in two packs, one is to be repacked, and the other one to be deleted."""
    storage = Fickle(new_repository().storage)
    first, second = stored_twice(storage)
    storage.save("data/ab/" + "ab" * 32, b"left over")  # so that the index is read once more
    repository = opened(storage)
    plan = planned(repository, [first.id])
    assert plan.repack
    assert plan.delete
    storage.backwards = True
    execute(repository, plan, report=PruneReport(), options=AT_ONCE)
    assert_restorable(opened(storage), [second])
    assert check_codes(opened(storage)) == []


def test_what_others_did_between_two_captures_is_no_damage(ground: Ground, tmp_path: Path) -> None:
    """One process captures two sources; in between, another one captures and prunes."""
    storage = copied(ground.repository.storage)
    repository = opened(storage)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(os.urandom(50_000))
    assert capture(repository, tmp_path / "a")[1] == []
    since, _ = capture(opened(storage), ground.tree, options=SMALL_PACKS)
    prune(opened(storage), ground.drop)
    (tmp_path / "a" / "file").write_bytes(os.urandom(50_000))
    second, findings = capture(repository, tmp_path / "a")
    assert findings == []
    assert check_codes(opened(storage)) == []
    assert_restorable(opened(storage), [*ground.snapshots[2:], since.snapshot, second.snapshot])


def test_packs_in_no_index_go(ground: Ground) -> None:
    """What a capture left that was stopped before it wrote its index."""
    storage = copied(ground.repository.storage)
    storage.save("data/ab/" + "ab" * 32, b"left over")
    repository = opened(storage)
    assert planned(repository, []).orphans == ("ab" * 32,)
    prune(repository, [])
    assert check_codes(repository) == []
