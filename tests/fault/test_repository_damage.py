"""Damage of every kind: each has its finding, its error and its exit status; nothing looks fine
that isn't, and a capture on top heals what the source still has."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, StorageError, StrongroomError
from strongroom.repository import Committed, Node, Repository, SnapshotView, SnapshotWriter
from strongroom.repository.check import check_repository
from strongroom.repository.pack import BlobType
from strongroom.repository.repository import pack_name
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    check_codes,
    names,
    new_repository,
    reopened,
    restore,
    seal,
    view_of,
)
from tests.support.restic import Restic, stock_restics
from tests.support.tree_ground import describe, make_plain_tree


class Ground:
    """A repository in a directory with a tree captured, and ways to damage it."""

    def __init__(self, base: Path) -> None:
        self.base, self.tree, self.store = base, base / "tree", base / "store"
        make_plain_tree(self.tree, seed=1, files=20)
        self.repository = new_repository(self.store)
        self.committed, _ = capture(self.repository, self.tree, options=SMALL_PACKS)

    def packs(self, blob_type: BlobType) -> list[str]:
        """The names of the packs that hold blobs of a type, the largest first."""
        packs = [pack_name(pack) for pack, entries in reopened(self.repository).index.packs()
                 if entries[0].type is blob_type]  # fmt: skip
        return sorted(packs, key=lambda name: -(self.store / name).stat().st_size)

    def rewrite(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.store / name
        content = change(path.read_bytes())
        path.chmod(0o600)
        path.write_bytes(content)

    def codes(self, *, read_data: bool = False) -> list[str]:
        return check_codes(self.repository, read_data=read_data)

    def restored(self) -> str:
        """The code of the error that a restore ends with; what it restores is right anyway."""
        out = self.base / f"out {len(list(self.base.iterdir()))}"
        code = ""
        try:
            assert restore(self.repository, self.committed, out) == []
            assert describe(out) == describe(self.tree)
        except StrongroomError as error:
            code = error.code
        for path in out.rglob("file*"):
            assert path.read_bytes() == (self.tree / path.relative_to(out)).read_bytes()
        return code

    def captured_again(self) -> tuple[Committed, list[str]]:
        """A capture on top with the damaged snapshot as its parent, and what was noticed."""
        repository = reopened(self.repository)
        committed, findings = capture(repository, self.tree, parent=self.committed.snapshot)
        return committed, sorted({one.code for one in findings})

    def assert_heals(self) -> None:
        """What the source still has is captured again: new and old snapshot restore."""
        committed, _ = self.captured_again()
        out = self.base / "healed"
        assert restore(self.repository, committed, out) == []
        assert describe(out) == describe(self.tree)
        assert self.restored() == ""


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


BOTH = pytest.mark.parametrize("blob_type", list(BlobType))


# Packs


@BOTH
def test_a_missing_pack(ground: Ground, blob_type: BlobType) -> None:
    (ground.store / ground.packs(blob_type)[0]).unlink()
    assert "pack-missing" in ground.codes()
    assert ground.restored() == "pack-damaged"
    committed, noticed = ground.captured_again()
    assert noticed == ["pack-missing"]
    assert committed.added_bytes
    ground.assert_heals()


@BOTH
@pytest.mark.parametrize("keep", ["nothing", "ten bytes", "half", "all but one byte"])
def test_a_truncated_pack(ground: Ground, blob_type: BlobType, keep: str) -> None:
    name = ground.packs(blob_type)[0]
    size = (ground.store / name).stat().st_size
    left = {"nothing": 0, "ten bytes": 10, "half": size // 2, "all but one byte": size - 1}[keep]
    ground.rewrite(name, lambda content: content[:left])
    assert "pack-size" in ground.codes()
    assert {"pack-size", "pack-content"} <= set(ground.codes(read_data=True))
    whole = keep == "all but one byte"  # its blobs are, then
    assert ground.restored() == ("" if whole else "pack-damaged")
    assert ground.captured_again()[1] == ["pack-size"]
    ground.assert_heals()


@BOTH
def test_a_flipped_bit(ground: Ground, blob_type: BlobType) -> None:
    name = ground.packs(blob_type)[0]
    ground.rewrite(name, flipped)
    expected = [] if blob_type is BlobType.DATA else ["tree-unreadable"]
    assert ground.codes() == expected  # data is not read without --read-data
    assert ground.codes(read_data=True) == sorted(["pack-content", *expected])
    assert ground.restored() == "pack-damaged"
    subjects = {one.subject for one in check_repository(ground.repository, read=list).findings}
    assert f"store: {name[-64:]}" in subjects


def test_a_flipped_bit_in_a_header_harms_no_restore(ground: Ground) -> None:
    name = ground.packs(BlobType.DATA)[0]
    ground.rewrite(name, lambda content: content[:-10] + flipped(content[-10:]))
    assert ground.codes(read_data=True) == ["pack-content"]
    assert ground.restored() == ""


def test_a_pack_with_another_pack_s_content(ground: Ground) -> None:
    """Valid bytes under a name that is not theirs."""
    first, second = ground.packs(BlobType.DATA)[:2]
    other = (ground.store / second).read_bytes()
    ground.rewrite(first, lambda _: other)
    assert "pack-content" in ground.codes(read_data=True)
    assert ground.restored() == "pack-damaged"


def test_a_pack_under_another_name(ground: Ground) -> None:
    name = ground.packs(BlobType.DATA)[0]
    renamed = f"data/aa/{'a' * 64}"
    (ground.store / "data/aa").mkdir(exist_ok=True)
    (ground.store / name).rename(ground.store / renamed)
    assert {"pack-missing", "pack-orphaned"} <= set(ground.codes())
    # Its header still says what is in it, and every blob is verified by its own name.
    assert ground.restored() == ""
    ground.assert_heals()


@BOTH
def test_a_damaged_pack_that_is_taken_away_heals(ground: Ground, blob_type: BlobType) -> None:
    name = ground.packs(blob_type)[0]
    ground.rewrite(name, flipped)
    (ground.store / name).unlink()
    ground.assert_heals()


# Index


def index_files(ground: Ground) -> list[Path]:
    return sorted((ground.store / "index").iterdir())


def test_without_any_index_everything_restores(ground: Ground) -> None:
    for path in index_files(ground):
        path.unlink()
    assert {"blob-missing", "pack-orphaned"} <= set(ground.codes())
    assert ground.restored() == ""
    repository = reopened(ground.repository)
    view = view_of(repository, ground.committed)
    path = next(ground.tree.rglob("file*"))
    assert view.read(os.fsencode(path)) == b"".join(view.blocks(os.fsencode(path)))
    ground.assert_heals()
    repair_index(ground, stock_restics()[0])
    assert ground.codes(read_data=True) == []


def test_without_one_of_several_indexes_everything_restores(ground: Ground) -> None:
    before = set(index_files(ground))
    make_plain_tree(ground.tree / "more", seed=2)
    ground.committed, _ = capture(
        ground.repository, ground.tree, parent=ground.committed.snapshot, options=SMALL_PACKS
    )
    (new,) = set(index_files(ground)) - before
    new.unlink()
    assert {"blob-missing", "pack-orphaned"} <= set(ground.codes())
    assert ground.restored() == ""
    ground.assert_heals()
    repair_index(ground, stock_restics()[0])
    assert ground.codes(read_data=True) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 20, "flipped"])
def test_a_garbage_index_stops_nobody(ground: Ground, content: bytes | str) -> None:
    if isinstance(content, bytes):
        name = hashlib.sha256(content).hexdigest()
        (ground.store / "index" / name).write_bytes(content)
        assert ground.codes(read_data=True) == ["index-unreadable"]
    else:
        ground.rewrite(f"index/{index_files(ground)[0].name}", flipped)
        assert {"index-unreadable", "blob-missing"} <= set(ground.codes())
    assert ground.restored() == ""
    forgotten = ["pack-orphaned"] if content == "flipped" else []  # no other index names them
    assert ground.captured_again()[1] == ["index-unreadable", *forgotten]
    ground.assert_heals()


def test_an_index_that_names_a_pack_that_never_was(ground: Ground) -> None:
    entry = {"id": "ab" * 32, "type": "data", "offset": 0, "length": 100}
    packs = [{"id": "cd" * 32, "blobs": [entry]}]
    ground.repository.save_file("index", json.dumps({"packs": packs}).encode())
    assert ground.codes(read_data=True) == ["pack-missing"]
    assert ground.restored() == ""


def test_an_index_that_names_the_wrong_places(ground: Ground) -> None:
    """Sealed with the right key, and wrong: every blob is verified where it is read."""
    (path,) = index_files(ground)
    content = json.loads(reopened(ground.repository).load_file(f"index/{path.name}"))
    for pack in content["packs"]:
        for blob in pack["blobs"]:
            blob["offset"] += 1
    path.unlink()
    ground.repository.save_file("index", json.dumps(content).encode())
    assert "pack-content" in ground.codes(read_data=True)
    assert ground.restored() == "pack-damaged"


def repair_index(ground: Ground, restic: Restic) -> None:
    command = ("repair", "index") if restic.version >= (0, 16) else ("rebuild-index",)
    restic.run(ground.store, *command)


def test_stock_restic_repairs_what_we_then_read(ground: Ground) -> None:
    for restic in stock_restics():
        for path in index_files(ground):
            path.unlink()
        repair_index(ground, restic)
        restic.check(ground.store)
        assert ground.codes(read_data=True) == []
        assert ground.restored() == ""


# Snapshots and trees


@pytest.mark.parametrize("content", [b"", b"garbage" * 20])
def test_a_garbage_snapshot_stops_nobody(ground: Ground, content: bytes) -> None:
    name = hashlib.sha256(content).hexdigest()
    (ground.store / "snapshots" / name).write_bytes(content)
    listed = reopened(ground.repository).snapshots()
    assert [one.id for one in listed.snapshots] == [ground.committed.snapshot.id]
    assert [(one.code, name in one.subject) for one in listed.findings] == [
        ("snapshot-unreadable", True)
    ]
    assert ground.codes() == ["snapshot-unreadable"]
    assert ground.restored() == ""
    ground.assert_heals()


def test_a_damaged_snapshot_is_not_listed(ground: Ground) -> None:
    ground.rewrite(f"snapshots/{ground.committed.snapshot.id}", flipped)
    repository = reopened(ground.repository)
    assert repository.snapshots().snapshots == ()
    with pytest.raises(StorageError) as raised:
        repository.find("latest")
    assert raised.value.code == "snapshot-missing"
    assert ground.codes() == ["snapshot-unreadable"]


def test_a_sealed_snapshot_that_is_none(ground: Ground) -> None:
    ground.repository.save_file("snapshots", b'{"time":"now","tree":7}')
    assert ground.codes() == ["snapshot-unreadable"]


def test_a_snapshot_whose_tree_was_never_stored(ground: Ground) -> None:
    fields = {"time": "2026-11-23T10:00:00Z", "tree": "ab" * 32, "paths": ["/srv"]}
    name = ground.repository.save_file("snapshots", json.dumps(fields).encode())
    assert ground.codes() == ["blob-missing"]
    repository = reopened(ground.repository)
    with pytest.raises(IntegrityError) as raised:
        SnapshotView(repository, repository.find(name)).root()
    assert raised.value.code == "index-damaged"


def test_an_unsorted_tree_and_a_wrong_size(ground: Ground) -> None:
    """What stock restic's check does not look at."""
    with SnapshotWriter([ground.repository]) as writer:
        content = writer.put_bytes(b"seven b")
        wrong = Node(b"wrong", "file", 0o100644, content=content.blobs, size=8)
        nodes = [Node(name, "file", 0o100644) for name in (b"b", b"a")]
        unsorted = writer.put_tree([(b"%d" % n, one.encode()) for n, one in enumerate(nodes)])
        root = writer.put_folder([wrong, Node(b"z", "dir", 0o40755, subtree=unsorted)])
        writer.commit(root, paths=["/"], tags=[], time=ground.committed.snapshot.time)
    assert ground.codes(read_data=True) == ["size-differs", "tree-order"]
    stock_restics()[0].run(ground.store, "check", "--read-data")


# Keys and config


def test_a_wrong_password(ground: Ground) -> None:
    with pytest.raises(StorageError) as raised:
        Repository.open(ground.repository.storage, "wrong", name="store")
    assert (raised.value.code, raised.value.exit_status) == ("wrong-password", 24)


@pytest.mark.parametrize("change", [flipped, lambda content: content[:-20], lambda _: b"garbage"])
def test_a_damaged_key(ground: Ground, change: Callable[[bytes], bytes]) -> None:
    (name,) = names(ground.repository.storage, "keys")
    ground.rewrite(name, change)
    with pytest.raises(IntegrityError) as raised:
        reopened(ground.repository)
    assert (raised.value.code, raised.value.exit_status) == ("key-damaged", 33)
    assert "keys" in raised.value.hint


def test_no_key_and_no_config(ground: Ground) -> None:
    (name,) = names(ground.repository.storage, "keys")
    (ground.store / name).unlink()
    with pytest.raises(IntegrityError) as raised:
        reopened(ground.repository)
    assert raised.value.code == "key-damaged"
    (ground.store / "config").unlink()
    with pytest.raises(IntegrityError) as missing:
        reopened(ground.repository)
    assert missing.value.code == "config-lost"


def test_a_config_sealed_with_another_key(ground: Ground) -> None:
    other = (os.urandom(32), os.urandom(16), os.urandom(16))
    ground.rewrite("config", lambda _: seal(other, b'{"version":2}'))
    with pytest.raises(IntegrityError, match="config"):
        reopened(ground.repository)


def test_everything_at_once_is_told_at_once(ground: Ground) -> None:
    data, tree = ground.packs(BlobType.DATA), ground.packs(BlobType.TREE)
    (ground.store / data[0]).unlink()
    ground.rewrite(data[1], flipped)
    ground.rewrite(tree[0], flipped)
    (ground.store / "snapshots" / ("a" * 64)).write_bytes(b"garbage")
    (ground.store / "index" / ("b" * 64)).write_bytes(b"garbage")
    assert ground.codes(read_data=True) == [
        "index-unreadable", "pack-content", "pack-missing", "snapshot-unreadable",
        "tree-unreadable",
    ]  # fmt: skip
    assert PASSWORD not in repr(check_repository(ground.repository).findings)
