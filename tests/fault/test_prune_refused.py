"""Prune where the store refuses to remove some things: what stays keeps all that it needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.repository import Repository, Storage
from strongroom.repository.prune import PruneOptions, PruneReport, execute, plan_prune
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import FailingStorage, copied
from tests.support.prune_ground import Ground
from tests.support.repository_ground import PASSWORD, assert_restorable, check_codes, names
from tests.support.restic import stock_restics

AT_ONCE = PruneOptions(grace=timedelta(0), pack_bytes=64 << 10)
HARMLESS = {"pack-orphaned", "index-hint"}


class Refusing(FailingStorage):
    """A store that refuses to remove what is chosen, as one does that locks objects."""

    def __init__(self, inner: Storage, refuses: Callable[[str], bool]) -> None:
        super().__init__(inner)
        self._refuses = refuses

    def delete(self, name: str) -> None:
        if self._refuses(name):
            raise StorageError("it is locked", subject=name, code="store-refused")
        super().delete(name)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


def opened(storage: Storage) -> Repository:
    return Repository.open(storage, PASSWORD, name="store")


def pruned(storage: Storage, drop: list[str]) -> PruneReport:
    repository, report = opened(storage), PruneReport()
    listed = repository.snapshots().snapshots
    now = datetime.now(UTC)
    plan = plan_prune(repository, listed, drop, options=AT_ONCE, now=now)
    execute(repository, plan, report=report, options=AT_ONCE)
    return report


def test_a_snapshot_that_stays_keeps_what_it_needs(ground: Ground, tmp_path: Path) -> None:
    disk = copied(ground.repository.storage, LocalStorage(tmp_path / "store"))
    stays, goes = ground.snapshots[0], ground.snapshots[1]
    report = pruned(Refusing(disk, lambda name: stays.id in name), ground.drop)
    assert report.dropped == [goes.id]
    assert report.locked == [f"snapshots/{stays.id}"]
    assert report.spared
    assert check_codes(opened(disk)) == []
    assert_restorable(opened(disk), [stays, *ground.snapshots[2:]])
    for restic in stock_restics():
        restic.check(tmp_path / "store")
    # When its lock has run out, the rest goes.
    assert pruned(disk, [stays.id]).dropped == [stays.id]
    assert check_codes(opened(disk)) == []
    assert_restorable(opened(disk), ground.snapshots[2:])


def test_when_no_snapshot_may_go_nothing_does(ground: Ground) -> None:
    storage = copied(ground.repository.storage)
    before = {folder: set(names(storage, folder)) for folder in ("data", "index", "snapshots")}
    with pytest.raises(StorageError) as raised:
        pruned(Refusing(storage, lambda name: name.startswith("snapshots/")), ground.drop)
    assert raised.value.code == "store-refused"
    for folder, known in before.items():
        assert known <= set(names(storage, folder))
    assert_restorable(opened(storage), ground.snapshots)
    assert set(check_codes(opened(storage))) <= HARMLESS


def test_packs_that_an_index_file_goes_on_naming_stay(ground: Ground, tmp_path: Path) -> None:
    disk = copied(ground.repository.storage, LocalStorage(tmp_path / "store"))
    before = set(names(disk, "data"))
    report = pruned(Refusing(disk, lambda name: name.startswith("index/")), ground.drop)
    assert report.dropped == ground.drop
    assert before <= set(names(disk, "data")), "no pack that is still named"
    assert {one.partition("/")[0] for one in report.locked} == {"index"}
    assert set(check_codes(opened(disk))) <= HARMLESS
    assert_restorable(opened(disk), ground.snapshots[2:])
    stock_restics()[-1].check(tmp_path / "store")
    pruned(disk, [])
    assert check_codes(opened(disk)) == []


def test_a_pack_that_is_refused_is_told_and_goes_later(ground: Ground) -> None:
    storage = copied(ground.repository.storage)
    before = set(names(storage, "data"))
    report = pruned(Refusing(storage, lambda name: name.startswith("data/")), ground.drop)
    assert report.locked
    assert set(report.locked) <= before
    assert (report.deleted, report.freed_bytes) == ([], 0)
    assert set(check_codes(opened(storage))) <= HARMLESS
    assert_restorable(opened(storage), ground.snapshots[2:])
    later = pruned(storage, [])
    assert {f"data/{one[:2]}/{one}" for one in later.deleted} >= set(report.locked)
    assert later.freed_bytes > 0
    assert check_codes(opened(storage)) == []
