"""Repair: check names what a damage touches, and repair heals it, or drops just that."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.repository import BlobType, Node, SnapshotView, SnapshotWriter
from strongroom.repository.check import CheckReport, check_repository
from strongroom.repository.copy import CopyReport, copy_snapshots, missing_snapshots
from strongroom.repository.pack import whole_pack_bytes
from strongroom.repository.repair_record import PLACE
from strongroom.repository.repository import pack_name
from strongroom.repository.storage import LocalStorage
from tests.support.failing_storage import FailingStorage
from tests.support.repair_ground import (
    DAMAGES,
    Damage,
    Twins,
    assert_clean,
    assert_restores,
    files_of,
    flipped,
    opened,
    overwrite,
    planned,
    repair,
)
from tests.support.repository_ground import capture, check_codes

ALONE, WITH_SECOND = "alone", "with a second repository"


def checked(store: Path, *, read_data: bool = True) -> CheckReport:
    return check_repository(opened(store), read=list if read_data else None)


def touched_by(report: CheckReport, damage: Damage) -> set[str]:
    """The paths that the report names for the damaged file; their number must be right."""
    found = [one for one in report.findings if one.code == damage.code]
    if damage.file.startswith("data/"):
        found = [one for one in found if damage.file[-64:] in one.subject]
    paths: set[str] = set()
    # A pack's first finding tells what it touches, the others only what else is wrong.
    for one in found if damage.lost == frozenset() else found[:1]:
        touched = report.touched[one]
        assert touched.count == len(touched.paths)
        assert {path[:8] for path in touched.paths} == {one[:8] for one in touched.snapshots}
        paths |= set(touched.paths)
    return paths


# What a damage touches


@pytest.mark.parametrize("name", DAMAGES)
def test_check_names_the_snapshots_and_paths(name: str, original: Twins, twins: Twins) -> None:
    damage = DAMAGES[name](original, twins.store)
    paths = touched_by(checked(twins.store), damage)
    if damage.lost:
        assert paths == original.paths_of(set(damage.lost))
        # Both captures of the tree share what is lost.
        shared = {twins.first.short_id, twins.then.short_id}
        assert {path[:8] for path in paths} == shared
    elif name == "snapshot garbage":
        assert paths == {f"{twins.first.short_id}:/"}
    elif name == "index lost":
        assert paths == original.all_paths()
    else:
        of_tree = {one for one in original.all_paths() if one[:8] != twins.apart.short_id}
        assert {path[:8] for path in paths} <= {one[:8] for one in of_tree}
        assert {path for path in paths if path.startswith(twins.first.short_id)} == {
            path for path in of_tree if path.startswith(twins.first.short_id)
        }


def test_without_reading_check_knows_what_a_truncated_pack_lost(
    original: Twins, twins: Twins
) -> None:
    damage = DAMAGES["pack truncated"](original, twins.store)
    report = checked(twins.store, read_data=False)
    assert touched_by(report, damage) == original.paths_of(set(damage.lost))
    (found,) = [one for one in report.findings if one.code == "pack-size"]
    assert "of 2 snapshots: " in found.message


def test_a_damage_that_nothing_needs_touches_nothing(original: Twins, twins: Twins) -> None:
    """A pack whose blobs lie in another one as well, and garbage beside a sound index."""
    pack, _ = original.pack_of(BlobType.DATA)
    content = (twins.store / pack_name(pack)).read_bytes()
    (twins.store / "index" / ("a" * 64)).write_bytes(b"garbage")
    (twins.store / pack_name(pack)).unlink()
    renamed = twins.store / "data" / "aa" / ("a" * 64)
    renamed.parent.mkdir(exist_ok=True)
    renamed.write_bytes(content)
    report = checked(twins.store, read_data=False)
    told = {one.code: one.message for one in report.findings}
    assert told["pack-missing"].endswith("; touches no snapshot")
    assert told["index-unreadable"].endswith("; touches no snapshot")


def test_a_sound_repository_is_not_walked_twice(original: Twins) -> None:
    watched = FailingStorage(LocalStorage(original.store))
    repository = opened(watched)
    watched.fail(None)
    assert check_repository(repository).touched == {}
    trees = {
        pack_name(pack)
        for pack, entries in opened(original.store).index.packs()
        if entries[0].type is BlobType.TREE
    }
    read = [one for one in watched.operations if one.removeprefix("load ") in trees]
    distinct = {node.subtree for _, node in _nodes(original) if node.subtree}
    distinct |= {one.tree for one in original.snapshots}
    assert len(read) == len(distinct)


def _nodes(twins: Twins) -> Iterator[tuple[bytes, Node]]:
    for snapshot in twins.snapshots:
        yield from SnapshotView(opened(twins.store), snapshot).walk()


# Every damage, with and without a second repository


@pytest.mark.parametrize("giver", [ALONE, WITH_SECOND])
@pytest.mark.parametrize("name", DAMAGES)
def test_repair_heals_or_drops(name: str, giver: str, original: Twins, twins: Twins) -> None:
    damage = DAMAGES[name](original, twins.store)
    givers = [twins.second] if giver == WITH_SECOND else []
    is_lost = not givers and (bool(damage.lost) or name == "snapshot garbage")
    before = files_of(twins.store)
    _, plan, _ = planned(twins.store, *givers, twins=twins)
    assert files_of(twins.store) == before
    assert plan.loses is is_lost
    if is_lost and damage.lost:
        assert set(plan.lost.paths) == original.paths_of(set(damage.lost))
    if damage.lost and givers:
        assert {one.entry.id for one in plan.fetched[0].locations} == damage.lost
    _, report = repair(twins.store, *givers, drop_lost=is_lost, twins=twins)
    assert_clean(twins.store)
    assert_restores(twins.store, twins.apart, twins.base / "out apart", original.base / "apart")
    if is_lost:
        assert report.dropped
    else:
        assert_restores(twins.store, twins.then, twins.base / "out", original.base / "tree")
        trees = sorted(one.tree for one in opened(twins.store).snapshots().snapshots)
        assert trees == sorted(one.tree for one in twins.snapshots)
    # A second run finds nothing to do.
    _, again, _ = planned(twins.store, *givers, twins=twins)
    assert again.is_empty(drop_lost=True)
    assert files_of(twins.second) == files_of(original.second)


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "snapshot garbage"])
def test_healed_snapshots_are_the_same_snapshots(name: str, original: Twins, twins: Twins) -> None:
    DAMAGES[name](original, twins.store)
    repair(twins.store, twins.second)
    there = opened(twins.store).snapshots().snapshots
    assert {(one.id, one.tree) for one in there} == {(one.id, one.tree) for one in twins.snapshots}
    assert_restores(twins.store, twins.first, twins.base / "out first")


def test_a_snapshot_s_copy_takes_the_place_of_its_garbage(original: Twins, twins: Twins) -> None:
    DAMAGES["snapshot garbage"](original, twins.store)
    plan, report = repair(twins.store, twins.second, twins=twins)
    assert [(one.id, one.giver) for one in plan.returning] == [(twins.first.id, "second")]
    (made,) = report.made
    assert (made.former, report.dropped) == (twins.first.id, [twins.first.id])
    back = opened(twins.store).find(made.id)
    assert (back.tree, back.time, back.tags) == (
        twins.first.tree, twins.first.time, twins.first.tags,
    )  # fmt: skip
    assert_restores(twins.store, back, twins.base / "out")


# What is lost


def lacking(store: Path, former: str) -> SnapshotView:
    """The repaired snapshot that stands in another one's place."""
    repository = opened(store)
    (found,) = [one for one in repository.snapshots().snapshots if one.original == former]
    return SnapshotView(repository, found)


@pytest.mark.parametrize("name", ["pack truncated", "bit flipped", "pack missing"])
def test_only_what_is_lost_is_dropped(name: str, original: Twins, twins: Twins) -> None:
    damage = DAMAGES[name](original, twins.store)
    _, report = repair(twins.store, drop_lost=True)
    for former in (twins.first, twins.then):
        view = lacking(twins.store, former.id)
        assert view.snapshot.tags == (*former.tags, "repaired")
        assert (view.snapshot.time, view.snapshot.paths) == (former.time, former.paths)
        lost = {
            path.partition(":")[2]
            for path in original.paths_of(set(damage.lost))
            if path.startswith(former.short_id)
        }
        kept = {os.fsdecode(path) for path, node in view.walk() if node.type == "file"}
        every = {
            os.fsdecode(path)
            for path, node in SnapshotView(opened(original.store), former).walk()
            if node.type == "file"
        }
        assert kept == every - lost | {os.fsdecode(PLACE)}
        told = json.loads(view.read(PLACE))
        assert told == {
            "format": 1, "snapshot": former.id, "count": len(lost), "lacks": sorted(lost),
        }  # fmt: skip
        (made,) = [one for one in report.made if one.former == former.id]
        assert made.lacks == tuple(sorted(lost))
    assert_clean(twins.store)
    left = {one.id for one in opened(twins.store).snapshots().snapshots}
    assert twins.apart.id in left
    assert not {twins.first.id, twins.then.id} & left


def test_with_its_root_a_snapshot_is_lost(original: Twins, twins: Twins) -> None:
    DAMAGES["trees missing"](original, twins.store)
    _, report = repair(twins.store, drop_lost=True)
    assert twins.first.id in report.dropped
    assert not [one for one in report.made if one.former == twins.first.id]
    assert_clean(twins.store)


def test_without_consent_nothing_is_dropped(original: Twins, twins: Twins) -> None:
    """What is whole in the damaged pack moves; the pack's file stays, and no index names it."""
    damage = DAMAGES["bit flipped"](original, twins.store)
    plan, report = repair(twins.store)
    assert plan.loses
    assert report.moved_blobs
    assert (report.dropped, report.deleted) == ([], [])
    assert (twins.store / damage.file).exists()
    assert opened(twins.store).index.entries(damage.file[-64:]) is None
    there = {one.id for one in opened(twins.store).snapshots().snapshots}
    assert there == {one.id for one in twins.snapshots}
    assert check_codes(opened(twins.store)) == ["blob-missing", "pack-orphaned"]
    before = files_of(twins.store)
    again, _ = repair(twins.store)
    assert again.is_empty(drop_lost=False)
    assert again.loses
    assert files_of(twins.store) == before
    # The next capture of what the source still has heals it, and then the file goes.
    capture(opened(twins.store), original.base / "tree")
    healed, report = repair(twins.store)
    assert healed.is_whole
    assert report.deleted == [damage.file[-64:]]
    assert_clean(twins.store)
    assert_restores(twins.store, twins.first, twins.base / "out")


def test_a_repaired_snapshot_does_not_stand_for_the_whole_one(
    original: Twins, twins: Twins
) -> None:
    """`copy` brings the whole one, and does not take the repaired one for it."""
    DAMAGES["pack missing"](original, twins.store)
    repair(twins.store, drop_lost=True)
    ours, theirs = opened(twins.store), opened(twins.second, "second")
    wanted = missing_snapshots(ours, theirs.snapshots().snapshots)
    assert {one.time for one in wanted} == {twins.first.time, twins.then.time}
    copy_snapshots(theirs, ours, wanted, report=CopyReport())
    assert_clean(twins.store)
    (back,) = [
        one
        for one in opened(twins.store).snapshots().snapshots
        if one.time == twins.then.time and not one.is_repaired
    ]
    assert_restores(twins.store, back, twins.base / "out", original.base / "tree")


def test_a_giver_whose_blob_is_damaged_as_well_gives_the_others(
    original: Twins, twins: Twins
) -> None:
    damage = DAMAGES["pack missing"](original, twins.store)
    lost = min(damage.lost)
    second = opened(twins.second, "second")
    place = second.index.find(BlobType.DATA, lost)
    path = twins.second / pack_name(place.pack)
    content = bytearray(path.read_bytes())
    content[place.entry.offset + 20] ^= 1
    overwrite(path, bytes(content))
    plan, report = repair(twins.store, twins.second, drop_lost=True)
    assert plan.lost_data == {lost}
    assert report.fetched_blobs == len(damage.lost) - 1
    assert set(plan.lost.paths) == original.paths_of({lost})
    assert_clean(twins.store)


def test_two_damaged_repositories_heal_each_other(original: Twins, twins: Twins) -> None:
    DAMAGES["pack missing"](original, twins.store)
    second = Twins(original.base, *original.snapshots)
    trees = [
        pack
        for pack, entries in opened(twins.second, "second").index.packs()
        if entries[0].type is BlobType.TREE
    ]
    for pack in trees:
        (twins.second / pack_name(pack)).unlink()
    assert second.first.id == twins.first.id
    for store, giver in ((twins.store, twins.second), (twins.second, twins.store)):
        plan, report = repair(store, giver)
        assert plan.is_whole
        assert report.fetched_blobs
    assert_clean(twins.store)
    assert_clean(twins.second)


# Indexes that say what is not so


def test_an_index_that_names_the_wrong_places_is_put_right(twins: Twins) -> None:
    repository = opened(twins.store)
    for file in list(repository.storage.list("index")):
        content = json.loads(repository.load_file(file.name))
        for pack in content["packs"]:
            for blob in pack["blobs"]:
                blob["offset"] += 1
        repository.save_file("index", json.dumps(content).encode())
        repository.storage.delete(file.name)
    plan, report = repair(twins.store)
    assert plan.is_whole
    assert not report.moved_blobs
    assert_clean(twins.store)
    assert_restores(twins.store, twins.then, twins.base / "out")


def test_packs_in_no_index_are_listed_and_those_listed_twice_once(twins: Twins) -> None:
    repository = opened(twins.store)
    first, *others = list(repository.storage.list("index"))
    repository.save_file("index", repository.load_file(others[0].name))
    repository.storage.delete(first.name)
    plan, _ = repair(twins.store)
    assert plan.listed_anew
    assert plan.repeated
    assert_clean(twins.store)


def test_a_renamed_pack_is_moved_under_its_own_name(original: Twins, twins: Twins) -> None:
    pack, entries = original.pack_of(BlobType.DATA)
    renamed = twins.store / "data" / "aa" / ("a" * 64)
    renamed.parent.mkdir(exist_ok=True)
    (twins.store / pack_name(pack)).rename(renamed)
    _, report = repair(twins.store)
    assert report.moved_blobs == len(entries)
    assert report.deleted == ["a" * 64]
    assert_clean(twins.store)


def test_without_reading_what_the_structure_shows_is_mended(original: Twins, twins: Twins) -> None:
    """Packs of the right size are trusted, but for directories: they are read anyway."""
    DAMAGES["pack missing"](original, twins.store)
    pack, entries = original.pack_of(BlobType.TREE)
    path = twins.store / pack_name(pack)
    assert path.stat().st_size == whole_pack_bytes(entries)
    overwrite(path, flipped(path.read_bytes()))
    plan, _ = repair(twins.store, twins.second, read_data=False)
    assert plan.is_whole
    assert [one.id for one in plan.damaged] == [pack]
    assert plan.bytes_read < sum(len(one) for one in files_of(twins.store).values()) / 2
    assert_clean(twins.store)
    assert_restores(twins.store, twins.then, twins.base / "out", original.base / "tree")


def test_a_directory_that_may_not_be_used_stays_as_it_is(twins: Twins) -> None:
    """Whole bytes that no tool of ours would write: there is nothing to salvage, and it is told."""
    with SnapshotWriter([opened(twins.store)]) as writer:
        nodes = [Node(name, "file", 0o100644) for name in (b"b", b"a")]
        root = writer.put_tree([(b"%d" % n, one.encode()) for n, one in enumerate(nodes)])
        made = writer.commit(root, paths=["/"], tags=[], time=twins.then.time)[0].snapshot
    before = files_of(twins.store)
    plan, _ = repair(twins.store, drop_lost=True)
    assert not plan.is_whole
    assert plan.malformed.paths == (f"{made.short_id}:/",)
    assert files_of(twins.store) == before


class _BadSectors(FailingStorage):
    """A disk on which one file can't be read, as a kernel tells it."""

    bad: str = ""

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if name == self.bad and (length is None or offset <= 100 < offset + length):
            failure = OSError(errno.EIO, os.strerror(errno.EIO))
            raise StorageError(failure.strerror or "", subject=name) from failure
        return super().load(name, offset, length)


@pytest.mark.parametrize("blob_type", list(BlobType))
def test_bad_sectors_are_a_damage_like_others(
    blob_type: BlobType, original: Twins, twins: Twins
) -> None:
    pack, entries = original.pack_of(blob_type)
    storage = _BadSectors(LocalStorage(twins.store))
    storage.bad = pack_name(pack)
    (bad,) = [one for one in entries if one.offset <= 100 < one.offset + one.length]
    plan, report = repair(storage, twins.second)
    assert [one.entry.id for one in plan.fetched[0].locations] == [bad.id]
    assert report.moved_blobs == len(entries) - 1
    assert report.deleted == [pack]
    assert_clean(twins.store)
