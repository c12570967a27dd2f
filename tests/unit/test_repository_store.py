"""A repository as a whole: making, opening, keys, the files outside of packs, reading of blobs."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.repository import (
    FILES,
    Content,
    Folder,
    Repository,
    SnapshotView,
    SnapshotWriter,
    WriterOptions,
)
from strongroom.repository.storage import Buffer, LocalStorage, MemoryStorage
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    key_file,
    names,
    new_repository,
    reopened,
    seal,
    view_of,
)
from tests.support.tree_ground import make_plain_tree


def test_a_new_repository_opens_with_its_password_only(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store")
    made = Repository.create(storage, PASSWORD, name="main")
    again = Repository.open(storage, PASSWORD, name="main")
    assert (again.id, len(made.id)) == (made.id, 64)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
        "config", "data", "index", "keys", "locks", "snapshots"
    ]  # fmt: skip
    with pytest.raises(StorageError) as raised:
        Repository.open(storage, "wrong", name="main")
    assert (raised.value.code, raised.value.exit_status) == ("wrong-password", 24)
    with pytest.raises(StorageError) as raised:
        Repository.create(storage, PASSWORD, name="main")
    assert raised.value.code == "repository-exists"
    assert PASSWORD not in "".join(map(repr, (made, raised.value)))


def test_where_no_repository_is_there_is_said_to_be_none(tmp_path: Path) -> None:
    for storage in (LocalStorage(tmp_path / "nowhere"), MemoryStorage()):
        with pytest.raises(StorageError) as raised:
            Repository.open(storage, PASSWORD, name="main")
        assert raised.value.code == "store-missing"


def half_made(password: str = PASSWORD) -> MemoryStorage:
    """What a `create` leaves that was stopped before its last line."""
    storage = MemoryStorage()
    content = key_file((os.urandom(32), os.urandom(16), os.urandom(16)), password)
    storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    return storage


@pytest.mark.parametrize(("password", "keys"), [(PASSWORD, 1), ("another one", 2)])
def test_what_is_half_made_is_no_repository_and_is_gone_on_with(password: str, keys: int) -> None:
    """The config comes last, so that a stop before leaves nothing that looks like one."""
    storage = half_made(password)
    with pytest.raises(StorageError) as raised:
        Repository.open(storage, PASSWORD, name="main")
    assert raised.value.code == "store-missing"
    assert "run it again" in raised.value.hint
    made = Repository.create(storage, PASSWORD, name="main")
    assert Repository.open(storage, PASSWORD, name="main").id == made.id
    # One password must never open two keys, of which one seals nothing.
    assert len(names(storage, "keys")) == keys


def test_half_a_key_is_removed() -> None:
    """Of a store that keeps half a file under its name: stock restic would stop at it."""
    storage = half_made()
    before = names(storage, "keys")
    storage.save(before[0], storage.load(before[0])[:100])
    Repository.create(storage, PASSWORD, name="main")
    assert len(names(storage, "keys")) == 1
    assert names(storage, "keys") != before


@pytest.mark.parametrize("folder", ["data/aa", "index", "snapshots"])
def test_where_files_of_a_repository_are_none_is_made(folder: str) -> None:
    """Its config was lost: a new one would lock out whoever has the old one."""
    storage = half_made()
    storage.save(f"{folder}/{'aa' * 32}", b"content")
    with pytest.raises(IntegrityError, match="without which nothing can be opened"):
        Repository.create(storage, PASSWORD, name="main")
    with pytest.raises(StorageError):
        storage.load("config")


def test_who_made_a_repository_at_the_same_time_is_noticed() -> None:
    """The other's config came last and counts; its key is found among the two."""
    other = MemoryStorage()
    theirs = Repository.create(other, PASSWORD, name="main")

    class Overtaken(MemoryStorage):
        def save(self, name: str, data: Buffer) -> None:
            super().save(name, data)
            if name == "config":
                for one in ("config", *names(other, "keys")):
                    super().save(one, other.load(one))

    storage = Overtaken()
    with pytest.raises(BusyError, match="another process"):
        Repository.create(storage, PASSWORD, name="main")
    assert len(names(storage, "keys")) == 2
    assert Repository.open(storage, PASSWORD, name="main").id == theirs.id


@pytest.mark.parametrize("folder", ["data", "index", "snapshots"])
@pytest.mark.parametrize("with_key", [True, False])
def test_nothing_is_made_over_a_repository_that_lost_its_config(
    folder: str, with_key: bool
) -> None:
    storage = MemoryStorage()
    Repository.create(storage, PASSWORD, name="main")
    storage.delete("config")
    if not with_key:
        (key,) = storage.list("keys")
        storage.delete(key.name)
    storage.save(f"{folder}/{'0' * 64}", b"sealed")
    before = {file.name for one in ("keys", folder) for file in storage.list(one)}
    for attempt in (Repository.create, Repository.open):
        with pytest.raises(IntegrityError, match=f"`config`.* is lost; {folder} is") as raised:
            attempt(storage, PASSWORD, name="main")
        assert (raised.value.code, raised.value.exit_status) == ("config-lost", 38)
        assert "from a copy of this repository, or restore from another" in raised.value.hint
    assert {file.name for one in ("keys", folder) for file in storage.list(one)} == before


def config_of(**fields: object) -> MemoryStorage:
    """A store whose config holds these fields."""
    storage = MemoryStorage()
    master = (os.urandom(32), os.urandom(16), os.urandom(16))
    content = key_file(master)
    storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    storage.save("config", seal(master, json.dumps(fields).encode()))
    return storage


def test_another_version_is_named_with_its_remedy() -> None:
    with pytest.raises(StorageError, match="version 1") as raised:
        Repository.open(config_of(version=1, id="ab" * 32), PASSWORD, name="main")
    assert "migrate" in raised.value.hint


@pytest.mark.parametrize("fields", [{}, {"version": 2}, {"version": "two", "id": "ab"}])
def test_a_config_without_what_belongs_in_it_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises((IntegrityError, StorageError)):
        Repository.open(config_of(**fields), PASSWORD, name="main")


def test_fields_that_others_add_to_the_config_are_ignored() -> None:
    fields = {
        "version": 2,
        "id": "ab" * 32,
        "chunker_polynomial": "25b468838dcb75",
        "is_hot": False,
    }
    assert Repository.open(config_of(**fields), PASSWORD, name="main").id == "ab" * 32


def test_an_altered_config_is_damage() -> None:
    storage = config_of(version=2, id="ab" * 32)
    storage.save("config", storage.load("config")[:-1] + b"?")
    with pytest.raises(IntegrityError, match="config"):
        Repository.open(storage, PASSWORD, name="main")


def test_one_of_several_keys_is_enough_and_damage_is_told_apart() -> None:
    repository = new_repository()
    storage = repository.storage
    garbage, other = b"garbage", key_file((b"e" * 32, b"k" * 16, b"r" * 16), "another password")
    for content in (garbage, other):
        storage.save(f"keys/{hashlib.sha256(content).hexdigest()}", content)
    assert reopened(repository).id == repository.id
    with pytest.raises(IntegrityError) as damaged:
        Repository.open(storage, "wrong", name="main")
    assert damaged.value.code == "key-damaged"
    storage.delete(f"keys/{hashlib.sha256(garbage).hexdigest()}")
    with pytest.raises(StorageError) as raised:
        Repository.open(storage, "wrong", name="main")
    assert raised.value.code == "wrong-password"


def test_a_key_file_under_another_name_is_damage() -> None:
    storage = new_repository().storage
    (name,) = names(storage, "keys")
    storage.save("keys/" + "a" * 64, storage.load(name))
    storage.delete(name)
    with pytest.raises(IntegrityError) as raised:
        Repository.open(storage, PASSWORD, name="main")
    assert raised.value.code == "key-damaged"


def test_without_keys_nobody_can_read() -> None:
    storage = new_repository().storage
    for name in names(storage, "keys"):
        storage.delete(name)
    with pytest.raises(IntegrityError, match="no key file") as raised:
        Repository.open(storage, PASSWORD, name="main")
    assert raised.value.exit_status == 33


# Files outside of packs


def test_index_snapshot_and_lock_files_are_read_raw_and_compressed() -> None:
    repository = new_repository()
    text = json.dumps({"packs": []}).encode()
    for plain in (text, b"\x02" + zstandard.ZstdCompressor(19).compress(text)):
        sealed = bytes(repository.codec().seal(plain))
        name = f"index/{hashlib.sha256(sealed).hexdigest()}"
        repository.storage.save(name, sealed)
        assert repository.load_file(name) == text
    saved = repository.save_file("index", text)
    assert repository.load_file(f"index/{saved}") == text


@pytest.mark.parametrize("plain", [b"", b"\x01{}", b"\x02", b"\x02garbage", b"text"])
def test_other_forms_are_refused(plain: bytes) -> None:
    repository = new_repository()
    sealed = bytes(repository.codec().seal(plain))
    name = f"index/{hashlib.sha256(sealed).hexdigest()}"
    repository.storage.save(name, sealed)
    with pytest.raises(IntegrityError):
        repository.load_file(name)


def test_the_bytes_of_another_name_are_refused() -> None:
    repository = new_repository()
    saved = repository.save_file("snapshots", b"{}")
    repository.storage.save("snapshots/" + "a" * 64, repository.storage.load(f"snapshots/{saved}"))
    with pytest.raises(IntegrityError, match="not those of its name"):
        repository.load_file("snapshots/" + "a" * 64)


# Writing and reading back


@pytest.mark.parametrize("size", [0, 1, FILES.min_bytes, FILES.min_bytes + 1, 12 << 20])
def test_a_stream_and_bytes_in_memory_become_the_same_content(size: int) -> None:
    repository = new_repository()
    content = hashlib.shake_256(b"stream").digest(size)
    with SnapshotWriter([repository]) as writer:
        blocks = [content[at : at + 100_001] for at in range(0, size, 100_001)]
        streamed, whole = writer.put_stream(blocks, FILES), writer.put_bytes(content)
        assert streamed == whole == Content(whole.blobs, size)
        folder = Folder(0)
        folder.add(b"a/b/stream", streamed)
        (committed,) = writer.commit(
            folder.store(writer), paths=["/a"], tags=[], time=datetime.now(UTC)
        )
    view = view_of(repository, committed)
    assert view.read(b"/a/b/stream") == content
    assert [(node.name, node.mode) for node in view.root()] == [(b"a", stat.S_IFDIR | 0o700)]


def test_the_read_side_finds_walks_and_reads(tmp_path: Path) -> None:
    make_plain_tree(tmp_path / "tree", seed=3)
    (tmp_path / "tree/large").write_bytes(hashlib.shake_256(b"l").digest(5 << 20))
    repository = new_repository()
    committed, _ = capture(repository, tmp_path / "tree", options=SMALL_PACKS)
    view = view_of(repository, committed)
    base = os.fsencode(tmp_path / "tree")
    walked = dict(view.walk(base))
    expected = {os.fsencode(path) for path in (tmp_path / "tree").rglob("*")}
    assert walked.keys() == expected
    assert list(walked) == sorted(walked, key=lambda one: one.split(b"/"))
    large = (tmp_path / "tree/large").read_bytes()
    assert view.read(base + b"/large") == b"".join(view.blocks(base + b"/large")) == large
    pieces = view.pieces(base + b"/large")
    assert sum(piece.length_bytes for piece in pieces) == len(large)
    at = 0
    for piece in pieces:
        assert hashlib.sha256(large[at : at + piece.length_bytes]).digest() == piece.sha256
        at += piece.length_bytes
    assert view.exists(base)
    assert not view.exists(base + b"/nothing")


@pytest.mark.parametrize(
    "path", [b"/nothing", b"/.strongroom/nothing", b"/.strongroom/manifest.json/x"]
)
def test_a_path_that_is_not_there_is_named(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "tree").mkdir()
    repository = new_repository()
    committed, _ = capture(repository, tmp_path / "tree")
    view = SnapshotView(repository, committed.snapshot)
    for ask in (view.node, view.children, view.read, view.pieces):
        with pytest.raises(StorageError, match=r"no such file") as raised:
            ask(path)
        assert raised.value.code == "path-missing"
    with pytest.raises(StorageError):
        view.read(b"/.strongroom")
    with pytest.raises(StorageError):
        view.children(b"/.strongroom/manifest.json")


def test_the_same_content_is_stored_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(5):
        (tree / f"copy {number}").write_bytes(b"strongroom" * 1000)
    repository = new_repository()
    first, _ = capture(repository, tree)
    assert (
        len({node.content for path, node in view_of(repository, first).walk(os.fsencode(tree))})
        == 1
    )
    assert len([1 for _, entries in repository.index.packs() for _ in entries]) <= 20
    second, _ = capture(repository, tree)
    # Only directories above the source may have changed: others work in them.
    assert second.snapshot.summary["data_blobs"] == 0
    kept = [view_of(repository, one).node(os.fsencode(tree)).subtree for one in (first, second)]
    assert kept[0] == kept[1]
    assert second.snapshot.id != first.snapshot.id


def test_several_repositories_get_the_same_snapshot(tmp_path: Path) -> None:
    make_plain_tree(tmp_path / "tree", seed=4)
    one, two = new_repository(name="one"), new_repository(name="two")
    capture(one, tmp_path / "tree")
    capture([one, two], tmp_path / "tree")
    trees = [[snapshot.tree for snapshot in each.snapshots().snapshots] for each in (one, two)]
    assert trees[0][1:] == trees[1]
    assert not set(names(one.storage, "data")) & set(names(two.storage, "data"))
    for repository in (one, two):
        snapshot = repository.find("latest", source="tree")
        view = SnapshotView(reopened(repository), snapshot)
        for path in (tmp_path / "tree").rglob("file*"):
            assert view.read(os.fsencode(path)) == path.read_bytes()


@pytest.mark.parametrize("compression", ["fast", "default", "best"])
def test_every_level_of_compression_reads_back(tmp_path: Path, compression: str) -> None:
    make_plain_tree(tmp_path / "tree", seed=5)
    repository = new_repository()
    committed, _ = capture(
        repository, tmp_path / "tree", options=WriterOptions(compression=compression)
    )
    path = next((tmp_path / "tree").rglob("file*"))
    assert view_of(repository, committed).read(os.fsencode(path)) == path.read_bytes()


def test_nothing_is_visible_before_the_commit() -> None:
    repository = new_repository()
    with SnapshotWriter([repository]) as writer:
        writer.put_bytes(b"content")
        assert names(repository.storage, "snapshots") == []
        assert len(names(repository.storage, "locks")) == 1
    assert names(repository.storage, "snapshots") == names(repository.storage, "locks") == []
