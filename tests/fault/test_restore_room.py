"""Room is asked for before the first byte, and a disk that runs full leaves nothing of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.model import Verdict
from strongroom.recovery import replace_content
from strongroom.recovery.room import require_room, room_of
from strongroom.repository import SnapshotView
from strongroom.sources.files import FilesSource
from tests.support.killing import run_killed
from tests.support.observation import small_disk
from tests.support.replacement_ground import LATER, NOW, replace, replace_here
from tests.support.repository_ground import capture, new_repository, view_of
from tests.support.tree_ground import describe

MEBIBYTE = 1 << 20


def captured(tree: Path) -> tuple[FilesSource, SnapshotView]:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    return FilesSource("tree", tree), view_of(repository, committed)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three mebibytes in twelve files."""
    made = tmp_path / "tree"
    made.mkdir()
    for number in range(12):
        (made / f"{number}").write_bytes(os.urandom(MEBIBYTE // 4))
    return made


def test_too_few_bytes_are_told_before_the_first(tree: Path) -> None:
    source, view = captured(tree)
    with small_disk(2 * MEBIBYTE) as disk:
        with pytest.raises(TargetError, match="3 MiB are needed, 2 MiB are free") as raised:
            require_room(source, view, disk / "to be made" / "deep")
        assert (raised.value.code, raised.value.exit_status) == ("target-space", 5)
        assert list(disk.iterdir()) == []
    with small_disk(4 * MEBIBYTE) as disk:
        assert require_room(source, view, disk) == []


def test_too_few_inodes_are_told(tree: Path) -> None:
    source, view = captured(tree)
    with (
        small_disk(64 * MEBIBYTE, options="nr_inodes=12") as disk,
        pytest.raises(TargetError, match="13 inodes are needed, 11 are free"),
    ):
        require_room(source, view, disk)


def test_many_small_files_take_whole_blocks(tmp_path: Path) -> None:
    tree = tmp_path / "small"
    tree.mkdir()
    for number in range(600):
        (tree / f"{number}").write_bytes(b"x")
    source, view = captured(tree)
    with small_disk(2 * MEBIBYTE) as disk, pytest.raises(TargetError, match="are needed"):
        require_room(source, view, disk)


def test_holes_and_second_links_take_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "sparse"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        file.truncate(64 * MEBIBYTE)
    (tree / "one").write_bytes(os.urandom(MEBIBYTE))
    for number in range(8):
        os.link(tree / "one", tree / f"again {number}")
    source, view = captured(tree)
    with small_disk(12 * MEBIBYTE) as disk:
        assert require_room(source, view, disk) == []
        source.restore(view, str(disk / "out"))


def test_room_is_that_of_the_place_to_be(tmp_path: Path) -> None:
    assert room_of(tmp_path / "not" / "there").free_bytes > 0
    with small_disk(MEBIBYTE) as disk:
        room = room_of(disk)
        assert room.free_bytes == MEBIBYTE
        assert room.free_files is not None


def _in_use(disk: Path) -> Path:
    place = disk / "uploads"
    place.mkdir()
    (place / "mine").write_text("work of today")
    return place


@pytest.mark.parametrize("roomy", [False, True], ids=["asked", "told to begin"])
def test_a_replacement_without_room_leaves_all_as_it_was(tree: Path, roomy: bool) -> None:
    """The copy beside needs room of its own, for what is there is kept."""
    source, view = captured(tree)
    with small_disk(2 * MEBIBYTE) as disk:
        place = _in_use(disk)
        before = describe(place)
        said = "No space left" if roomy else "not enough room"
        with pytest.raises(TargetError, match=said):
            replace_content(
                source, view, str(place), typed="uploads", now=NOW, records=disk, roomy=roomy
            )
        assert [one.name for one in disk.iterdir()] == ["uploads"]
        assert describe(place) == before


def test_what_a_stopped_run_has_left_gives_way(tree: Path) -> None:
    """A copy in part is used again where there is room for both, and else removed first."""
    store = tree.parent / "store"
    capture(new_repository(store), tree)
    with small_disk(5 * MEBIBYTE) as disk:
        place = _in_use(disk)
        before_the_proof = frozenset({"prove"})
        run_killed(replace_here, store, place, chosen=1, functions=before_the_proof, changes=False)
        assert room_of(disk).free_bytes < 3 * MEBIBYTE
        done = replace(store, place, LATER)
        assert done.outcome.verdict is Verdict.PROVEN
        assert done.outcome.reused_bytes == 0
        assert len(list(disk.iterdir())) == 2
