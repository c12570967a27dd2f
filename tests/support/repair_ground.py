"""Two repositories with the same captures, ways to damage one of them, and what that touches.

What a damage touches is worked out from an undamaged copy, blob by blob, not by our check.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from strongroom.repository import BlobType, Committed, Repository, Snapshot, SnapshotView, Storage
from strongroom.repository.giver import Givers
from strongroom.repository.index import Location
from strongroom.repository.pack import PackEntry
from strongroom.repository.repair import RepairPlan, plan_repair
from strongroom.repository.repair_execution import RepairReport, execute_repair
from strongroom.repository.repository import pack_name
from strongroom.repository.storage import LocalStorage
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    check_codes,
    new_repository,
    prove,
    restore,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import describe, make_plain_tree


def opened(store: Path | Storage, name: str = "store") -> Repository:
    """A repository that remembers nothing."""
    storage = LocalStorage(store) if isinstance(store, Path) else store
    return Repository.open(storage, PASSWORD, name=name)


@dataclass(frozen=True)
class Twins:
    """`store` and `second` hold two captures of a tree and one of a tree that shares nothing with
    it; the snapshots are those of `store`."""

    base: Path
    first: Snapshot
    then: Snapshot
    apart: Snapshot

    @property
    def store(self) -> Path:
        return self.base / "store"

    @property
    def second(self) -> Path:
        return self.base / "second"

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        return self.first, self.then, self.apart

    def copy(self, base: Path) -> Twins:
        """The same repositories elsewhere, to be damaged."""
        for name in ("store", "second"):
            shutil.copytree(self.base / name, base / name)
        return Twins(base, self.first, self.then, self.apart)

    # Of the undamaged original

    def pack_of(self, blob_type: BlobType) -> tuple[str, tuple[PackEntry, ...]]:
        """The first capture's largest pack of a type, and what lies in it."""
        index = opened(self.store).index
        needed = {location.pack for location in self._locations(self.first, blob_type)}
        shared = needed - {location.pack for location in self._locations(self.apart, blob_type)}
        packs = [(pack, entries) for pack, entries in index.packs() if pack in shared]
        return max(packs, key=lambda one: (sum(entry.length for entry in one[1]), one[0]))

    def _locations(self, snapshot: Snapshot, blob_type: BlobType) -> Iterator[Location]:
        repository = opened(self.store)
        if blob_type is BlobType.TREE:
            yield repository.locate(blob_type, bytes.fromhex(snapshot.tree))
        for _, node in SnapshotView(repository, snapshot).walk():
            wanted = node.content if blob_type is BlobType.DATA else ()
            if node.subtree and blob_type is BlobType.TREE:
                wanted = (bytes.fromhex(node.subtree),)
            for blob_id in wanted:
                yield repository.locate(blob_type, blob_id)

    def paths_of(self, lost: set[bytes]) -> set[str]:
        """`id:/path` of everything that needs one of these blobs; of what lies below a directory
        that is lost, only the directory."""
        repository = opened(self.store)
        found: set[str] = set()
        for snapshot in self.snapshots:
            waiting = [("/", snapshot.tree)]
            while waiting:
                path, tree = waiting.pop()
                if bytes.fromhex(tree) in lost:
                    found.add(f"{snapshot.short_id}:{path}")
                    continue
                for node in repository.read_tree(tree):
                    inner = path + os.fsdecode(node.name)
                    if node.subtree:
                        waiting.append((inner + "/", node.subtree))
                    elif lost & set(node.content):
                        found.add(f"{snapshot.short_id}:{inner}")
        return found

    def all_paths(self) -> set[str]:
        """`id:/path` of every file and directory."""
        found: set[str] = set()
        for snapshot in self.snapshots:
            found.add(f"{snapshot.short_id}:/")
            for path, node in SnapshotView(opened(self.store), snapshot).walk():
                end = "/" if node.subtree else ""
                found.add(f"{snapshot.short_id}:{os.fsdecode(path)}{end}")
        return found


def make_twins(base: Path) -> Twins:
    tree, apart = base / "tree", base / "apart"
    make_plain_tree(tree, seed=1, files=12)
    make_plain_tree(apart, seed=2, files=4)
    both = [new_repository(base / name, name=name) for name in ("store", "second")]
    first, _ = capture(both, tree, options=SMALL_PACKS)
    (tree / "folder 1" / "new").write_bytes(b"new since then")
    again = [opened(base / name, name) for name in ("store", "second")]
    then, _ = capture(again, tree, parent=first.snapshot, options=SMALL_PACKS)
    again = [opened(base / name, name) for name in ("store", "second")]
    other, _ = capture(again, apart, options=SMALL_PACKS)
    return Twins(base, first.snapshot, then.snapshot, other.snapshot)


# Damages


@dataclass(frozen=True)
class Damage:
    """What was done: to which file, and which blobs are lost by it in this repository."""

    file: str
    lost: frozenset[bytes] = frozenset()
    code: str = ""


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def _index_garbage(twins: Twins, store: Path) -> Damage:
    pack, _ = twins.pack_of(BlobType.DATA)
    repository = opened(twins.store)
    for file in repository.storage.list("index"):
        if pack.encode() in repository.load_file(file.name):
            overwrite(store / file.name, b"garbage" * 20)
            return Damage(file.name, code="index-unreadable")
    raise AssertionError("no index lists it")


def _index_lost(_: Twins, store: Path) -> Damage:
    for path in (store / "index").iterdir():
        path.unlink()
    return Damage("index", code="blob-missing")


def _pack_truncated(twins: Twins, store: Path) -> Damage:
    pack, entries = twins.pack_of(BlobType.DATA)
    path = store / pack_name(pack)
    half = path.stat().st_size // 2
    overwrite(path, path.read_bytes()[:half])
    lost = {one.id for one in entries if one.offset + one.length > half}
    assert 0 < len(lost) < len(entries)
    return Damage(pack_name(pack), frozenset(lost), "pack-size")


def _pack_flipped(twins: Twins, store: Path) -> Damage:
    pack, entries = twins.pack_of(BlobType.DATA)
    path = store / pack_name(pack)
    middle = path.stat().st_size // 2
    overwrite(path, flipped(path.read_bytes()))
    lost = {one.id for one in entries if one.offset <= middle < one.offset + one.length}
    assert len(lost) == 1
    return Damage(pack_name(pack), frozenset(lost), "pack-content")


def _pack_missing(twins: Twins, store: Path) -> Damage:
    pack, entries = twins.pack_of(BlobType.DATA)
    (store / pack_name(pack)).unlink()
    return Damage(pack_name(pack), frozenset(one.id for one in entries), "pack-missing")


def _snapshot_garbage(twins: Twins, store: Path) -> Damage:
    name = f"snapshots/{twins.first.id}"
    overwrite(store / name, flipped((store / name).read_bytes()))
    return Damage(name, code="snapshot-unreadable")


def _trees_missing(twins: Twins, store: Path) -> Damage:
    pack, entries = twins.pack_of(BlobType.TREE)
    (store / pack_name(pack)).unlink()
    return Damage(pack_name(pack), frozenset(one.id for one in entries), "pack-missing")


DAMAGES: Mapping[str, Callable[[Twins, Path], Damage]] = {
    "index garbage": _index_garbage,
    "index lost": _index_lost,
    "pack truncated": _pack_truncated,
    "bit flipped": _pack_flipped,
    "pack missing": _pack_missing,
    "snapshot garbage": _snapshot_garbage,
    "trees missing": _trees_missing,
}


# Repair


def planned(
    store: Path | Storage,
    *givers: Path,
    read_data: bool = True,
    twins: Twins | None = None,
) -> tuple[Repository, RepairPlan, Givers]:
    """A plan for a repository that is opened anew; `twins` tells which snapshots are copies."""
    repository = opened(store)
    asked = Givers([opened(path, path.name) for path in givers])
    times = {one.id: one.time for one in twins.snapshots} if twins else {}
    plan = plan_repair(
        repository,
        asked,
        read_data=read_data,
        is_copy=lambda name, one: times.get(name) == one.time,
    )
    return repository, plan, asked


def repair(
    store: Path | Storage,
    *givers: Path,
    drop_lost: bool = False,
    read_data: bool = True,
    twins: Twins | None = None,
) -> tuple[RepairPlan, RepairReport]:
    """Plan and carry out."""
    repository, plan, asked = planned(store, *givers, read_data=read_data, twins=twins)
    report = RepairReport()
    execute_repair(
        repository,
        plan,
        asked,
        report=report,
        before_dropping=lambda: None,
        drop_lost=drop_lost,
    )
    return plan, report


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a store with its bytes, locks left out."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.parent.name != "locks"
    }


def assert_restores(store: Path, snapshot: Snapshot, out: Path, tree: Path | None = None) -> None:
    """The snapshot comes back and is proven; what comes back is the tree, if one is given."""
    committed = Committed("store", snapshot, 0)
    assert restore(opened(store), committed, out) == []
    assert prove(opened(store), committed, out) == []
    assert tree is None or describe(out) == describe(tree)


def assert_clean(store: Path) -> None:
    """Nothing at all for our check and stock restic's to complain about."""
    assert check_codes(opened(store)) == []
    for restic in stock_restics():
        restic.check(store)
