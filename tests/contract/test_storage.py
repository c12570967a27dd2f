"""One suite for every kind of store: a new kind adds a factory here, not tests."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, StorageError
from strongroom.repository import Storage, open_storage
from strongroom.repository.storage import LocalStorage, MemoryStorage, StoredFile

FACTORIES: dict[str, Callable[[Path], Storage]] = {
    "local": lambda path: LocalStorage(path / "deep" / "store"),
    "memory": lambda _: MemoryStorage(),
}


@pytest.fixture(params=FACTORIES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    made = FACTORIES[request.param](tmp_path)
    made.create()
    return made


def named(folder: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"data/{digest[:2]}/{digest}" if folder == "data" else f"{folder}/{digest}"


def test_what_is_saved_is_loaded(storage: Storage) -> None:
    for folder in ("data", "index", "keys", "locks", "snapshots"):
        for content in (b"", b"x", bytes(range(256)) * 100):
            name = named(folder, content)
            storage.save(name, content)
            assert storage.load(name) == content
            assert storage.size(name) == len(content)
    storage.save("config", b"sealed")
    assert storage.load("config") == b"sealed"


@pytest.mark.parametrize("size", [4095, 4096, 1 << 20, (3 << 20) + 4096, (3 << 20) + 5])
def test_buffers_of_any_kind_and_size_are_saved_whole(storage: Storage, size: int) -> None:
    """Page-aligned ones may take another way to the disk."""
    content = hashlib.shake_256(b"%d" % size).digest(size)
    with mmap.mmap(-1, size + 4096) as aligned:
        aligned[:size] = content
        with memoryview(aligned) as whole, whole[:size] as part:
            storage.save(named("data", content), part)
    assert storage.load(named("data", content)) == content
    storage.save("index/" + "1" * 64, bytearray(content))
    assert storage.load("index/" + "1" * 64) == content


def test_parts_are_loaded(storage: Storage) -> None:
    content = bytes(range(256)) * 64
    name = named("data", content)
    storage.save(name, content)
    for offset, length in ((0, 0), (0, 1), (100, 300), (len(content) - 1, 1), (0, len(content))):
        assert storage.load(name, offset, length) == content[offset : offset + length]
    assert storage.load(name, 300) == content[300:]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (10, 1), (11, 0), (1 << 40, 5)])
def test_a_part_beyond_the_end_is_an_error(storage: Storage, offset: int, length: int) -> None:
    storage.save("index/" + "1" * 64, b"0123456789")
    if length:
        with pytest.raises(StorageError):
            storage.load("index/" + "1" * 64, offset, length)
    else:
        assert storage.load("index/" + "1" * 64, offset, length) == b""


@pytest.mark.parametrize("name", ["config", "index/" + "a" * 64, "data/aa/" + "a" * 64])
def test_what_is_not_there_is_said_to_be_missing(storage: Storage, name: str) -> None:
    for ask in (storage.load, storage.size):
        with pytest.raises(StorageError) as raised:
            ask(name)
        assert raised.value.code == "store-missing"
    storage.delete(name)  # gone is gone


def test_a_listing_has_all_files_with_their_sizes(storage: Storage) -> None:
    expected = {}
    for folder in ("data", "snapshots"):
        for number in range(20):
            content = bytes([number]) * number
            name = named(folder, content + folder.encode())
            storage.save(name, content)
            expected[name] = number
    storage.save("config", b"not in any folder")
    for folder in ("data", "snapshots"):
        listed = list(storage.list(folder))
        assert all(isinstance(one, StoredFile) for one in listed)
        assert {one.name: one.size_bytes for one in listed} == {
            name: size for name, size in expected.items() if name.startswith(folder)
        }
    assert list(storage.list("locks")) == []


def test_deleting_removes_one_file(storage: Storage) -> None:
    first, second = named("locks", b"1"), named("locks", b"2")
    storage.save(first, b"1")
    storage.save(second, b"2")
    storage.delete(first)
    assert [one.name for one in storage.list("locks")] == [second]
    with pytest.raises(StorageError):
        storage.load(first)


def test_making_it_twice_harms_nothing(storage: Storage) -> None:
    storage.save("config", b"kept")
    storage.create()
    assert storage.load("config") == b"kept"


def test_it_serves_several_threads(storage: Storage) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            content = b"%d %d" % (number, turn)
            name = named("data", content)
            storage.save(name, content)
            assert storage.load(name) == content
            list(storage.list("data"))
            if turn % 2:
                storage.delete(name)

    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(list(storage.list("data"))) == 40


def test_its_location_shows_no_password(storage: Storage) -> None:
    assert storage.location


# Local stores only: what lies on the disk


def test_a_local_store_leaves_whole_read_only_files(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    name = named("data", b"content")
    storage.save(name, b"content")
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [name[-64:]]
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_local_store_ignores_what_is_not_its_own(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    storage.save("data/aa/" + "a" * 64, b"pack")
    (tmp_path / "data/aa" / ("b" * 64 + "-tmp-0123")).write_bytes(b"half")
    (tmp_path / "data/lost+found").mkdir()
    (tmp_path / "data/stray").write_bytes(b"")
    (tmp_path / "snapshots/README").write_bytes(b"")
    (tmp_path / "snapshots" / ("A" * 64)).write_bytes(b"")
    assert [one.name for one in storage.list("data")] == ["data/aa/" + "a" * 64]
    assert list(storage.list("snapshots")) == []


def test_a_file_that_vanishes_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    for digit in "abc":
        storage.save("locks/" + digit * 64, b"lock")
    listing = storage.list("locks")
    first = next(listing)
    for path in (tmp_path / "locks").iterdir():
        path.unlink()
    assert [first, *listing] == [first]


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.create()
    (tmp_path / "index" / ("a" * 64)).mkdir()
    with pytest.raises(StorageError) as raised:
        storage.save("index/" + "a" * 64, b"content")
    assert raised.value.code == "store-failed"
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["a" * 64]


def test_locations_are_paths_or_a_clear_error(tmp_path: Path) -> None:
    assert open_storage(str(tmp_path)).location == str(tmp_path)
    assert open_storage(f"local:{tmp_path}").location == str(tmp_path)
    assert open_storage("~/store").location == str(Path("~/store").expanduser())
    assert open_storage("with:colon").location == os.path.abspath("with:colon")  # noqa: PTH100
    with pytest.raises(ConfigError) as raised:
        open_storage("s3:https://key:secret@host/bucket")
    assert "secret" not in str(raised.value)
