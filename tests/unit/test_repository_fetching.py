"""Loading from far away: many at a time, never more, and trees in blocks of their packs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError
from strongroom.repository import Repository
from strongroom.repository.fetching import PackBlocks, fetch_each
from strongroom.repository.index import Location
from strongroom.repository.pack import BlobType, PackEntry
from strongroom.repository.repository import pack_name
from strongroom.repository.storage import LocalStorage
from strongroom.repository.storage.protocol import StoredFile
from tests.support.repository_ground import PASSWORD, capture, new_repository, view_of

FILES = [StoredFile(f"snapshots/{number:02}", number) for number in range(20)]
KIB = 1 << 10


class Far(LocalStorage):
    """A directory that is said to be far away, and counts its loads."""

    connections = 4

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.loads: list[str] = []

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.loads.append(name)
        return super().load(name, offset, length)


@pytest.mark.parametrize("at_once", [1, 2, 7, 50])
def test_all_come_in_their_order_and_errors_with_their_file(at_once: int) -> None:
    busy, most, guard = 0, 0, threading.Lock()

    def load(file: StoredFile) -> bytes:
        nonlocal busy, most
        with guard:
            busy += 1
            most = max(most, busy)
        try:
            if file.size_bytes % 7 == 3:
                raise IntegrityError("torn", subject=file.name)
            return file.name.encode()
        finally:
            with guard:
                busy -= 1

    names, torn = [], []
    for file, content in fetch_each(FILES, load, at_once=at_once):
        names.append(file.name)
        try:
            assert content() == file.name.encode()
        except IntegrityError as error:
            torn.append(error.subject)
    assert names == [one.name for one in FILES]
    assert torn == ["snapshots/03", "snapshots/10", "snapshots/17"]
    assert 1 <= most <= at_once


def test_several_are_loaded_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=20)

    def load(_: StoredFile) -> bytes:
        together.wait()  # breaks when fewer than four ever wait
        return b""

    assert [content() for _, content in fetch_each(FILES[:4], load, at_once=4)] == [b""] * 4


def test_whoever_stops_asking_ends_the_loading() -> None:
    loaded: list[str] = []

    def load(file: StoredFile) -> bytes:
        loaded.append(file.name)
        return b""

    for _ in fetch_each(FILES, load, at_once=3):
        break
    assert len(loaded) <= 4
    assert not [one for one in threading.enumerate() if one.name.startswith("fetch")]


def _blob(offset: int, length: int) -> Location:
    return Location("pack", PackEntry(BlobType.TREE, bytes(32), offset, length, length))


def test_neighbours_come_with_one_read_and_blobs_across_two_blocks_are_whole() -> None:
    pack = bytes(number % 251 for number in range(1200 * KIB))
    reads: list[tuple[int, int]] = []

    def load_pack(_: str, begin: int, end: int) -> bytes:
        reads.append((begin, end))
        return pack[begin:end]

    blocks = PackBlocks(load_pack, lambda _: len(pack))
    for begin, length in ((0, 100), (300, 40), (512 * KIB - 50, 200), (1200 * KIB - 10, 10)):
        assert blocks.read(_blob(begin, length)) == pack[begin : begin + length]
    assert reads == [(0, 512 * KIB), (512 * KIB, 1024 * KIB), (1024 * KIB, 1200 * KIB)]


def test_what_is_large_unknown_or_unreadable_is_left_to_be_read_by_itself() -> None:
    def load_pack(*_: object) -> bytes:
        raise IntegrityError("the pack ends too early", subject="pack")

    assert PackBlocks(load_pack, lambda _: 1 << 20).read(_blob(0, 600 * KIB)) is None
    assert PackBlocks(load_pack, lambda _: None).read(_blob(0, 100)) is None
    assert PackBlocks(load_pack, lambda _: 1 << 20).read(_blob(0, 100)) is None


def test_few_blocks_are_kept() -> None:
    blocks = PackBlocks(lambda _, begin, end: bytes(end - begin), lambda _: 1 << 30)
    for number in range(100):
        blocks.read(_blob(number * 512 * KIB, 10))
    assert len(blocks._blocks) <= 16


def test_a_tree_of_many_folders_takes_few_journeys(tmp_path: Path) -> None:
    for number in range(60):
        folder = tmp_path / f"source/folder-{number:02}"
        folder.mkdir(parents=True)
        (folder / "file").write_text(str(number))
    committed, _ = capture(new_repository(tmp_path / "repository"), tmp_path / "source")
    storage = Far(tmp_path / "repository")
    view = view_of(Repository.open(storage, PASSWORD, name="far"), committed)
    assert view.repository.index
    storage.loads.clear()
    names = [path for path, _ in view.walk()]
    assert sum(name.endswith(b"/file") for name in names) == 60
    assert len(storage.loads) <= 3


def test_a_damaged_block_costs_nothing_that_is_whole(tmp_path: Path) -> None:
    (tmp_path / "source/inner").mkdir(parents=True)
    (tmp_path / "source/inner/file").write_text("one")
    committed, _ = capture(new_repository(tmp_path / "repository"), tmp_path / "source")
    view = view_of(Repository.open(Far(tmp_path / "repository"), PASSWORD, name="far"), committed)
    trees = [one for one in view.repository.index.packs() if one[1][0].type is BlobType.TREE]
    (pack, entries), *_ = trees
    last = max(entries, key=lambda one: one.offset)
    place = tmp_path / "repository" / pack_name(pack)
    place.chmod(0o600)
    with place.open("r+b") as file:  # the block ends within its last blob
        file.truncate(last.offset + last.length - 1)
    for entry in entries:
        if entry is last:
            with pytest.raises(IntegrityError, match="ends too early"):
                view.repository.read_tree(entry.id.hex())
        else:
            view.repository.read_tree(entry.id.hex())
