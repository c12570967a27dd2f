"""A restore takes from an existing tree what is the snapshot's content there, and nothing else."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.repository import BlobType, Committed, Repository
from strongroom.repository.restore import RestoreReport
from tests.support.observation import opened_files
from tests.support.repository_ground import capture, new_repository, prove, view_of
from tests.support.tree_ground import describe, make_odd_tree

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Committed, Path]:
    """A tree of small files and a large one of several chunks, captured."""
    base = tmp_path_factory.mktemp("reuse")
    draw = random.Random(6)
    tree = base / "tree"
    (tree / "folder").mkdir(parents=True)
    for number in range(40):
        (tree / "folder" / f"{number}").write_bytes(draw.randbytes(3_000 + number))
    (tree / "large").write_bytes(draw.randbytes(24 * MEBIBYTE))
    (tree / "empty").touch()
    repository = new_repository(base / "store")
    committed, _ = capture(repository, tree)
    return repository, committed, tree


Ground = tuple[Repository, Committed, Path]


def restore(ground: Ground, target: Path, *existing: Path) -> RestoreReport:
    repository, committed, tree = ground
    view = view_of(repository, committed)
    report = view.restore(os.fsencode(tree), target, existing=existing)
    assert describe(target) == describe(tree)
    assert prove(repository, committed, target) == []
    return report


def copied(ground: Ground, to: Path) -> Path:
    """The tree, restored without any help."""
    assert restore(ground, to).reused_bytes == 0
    return to


def size_of(tree: Path) -> int:
    return sum(one.stat().st_size for one in tree.rglob("*") if one.is_file())


def test_what_is_there_is_not_fetched(ground: Ground, tmp_path: Path) -> None:
    existing = copied(ground, tmp_path / "there")
    store = ground[2].parent / "store"
    view = view_of(ground[0], ground[1])
    trees = {
        pack
        for pack, entries in view.repository.index.packs()
        if any(one.type is BlobType.TREE for one in entries)
    }
    with opened_files(store / "data") as opened:
        report = view.restore(os.fsencode(ground[2]), tmp_path / "out", existing=[existing])
    assert report.reused_bytes == report.size_bytes == size_of(ground[2])
    assert {Path(one).name for one in opened} <= trees
    assert describe(tmp_path / "out") == describe(ground[2])


def _same_size_and_time(path: Path) -> None:
    """One byte is another one, and nothing of the metadata tells."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))
    path.chmod(0o600)
    os.chown(path, 5, 5)


def _grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"appended")


def _shrunk(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def _gone(path: Path) -> None:
    path.unlink()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_same(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "name", "least", "most"),
    [
        # What is still fetched of the changed file, as parts of its size.
        (_same_size_and_time, "large", 0.02, 0.4),
        (_same_size_and_time, "folder/7", 1, 1),
        (_touched, "large", 0, 0),
        (_touched, "folder/7", 0, 0),
        (_grown, "large", 0, 0),
        (_grown, "folder/7", 0, 0),
        (_shrunk, "large", 0.001, 0.4),
        (_shrunk, "folder/7", 1, 1),
        (_gone, "large", 1, 1),
        (_fifo, "folder/7", 1, 1),
        (_folder, "folder/7", 1, 1),
        (_link_to_same, "folder/7", 1, 1),
    ],
)
def test_only_what_differs_is_fetched(
    ground: Ground,
    tmp_path: Path,
    change: Callable[[Path], None],
    name: str,
    least: float,
    most: float,
) -> None:
    existing = copied(ground, tmp_path / "there")
    change(existing / name)
    before = describe(existing)
    report = restore(ground, tmp_path / "out", existing)
    fetched = report.size_bytes - report.reused_bytes
    size = (ground[2] / name).stat().st_size
    assert least * size <= fetched <= most * size
    assert describe(existing) == before


def test_nothing_is_shared_with_what_is_there(ground: Ground, tmp_path: Path) -> None:
    """Whoever writes to the old tree does not write to the new one."""
    existing = copied(ground, tmp_path / "there")
    restore(ground, tmp_path / "out", existing)
    inodes = {one.stat().st_ino for one in existing.rglob("*")}
    for one in (tmp_path / "out").rglob("*"):
        assert one.stat().st_ino not in inodes
        assert one.is_dir() or one.stat().st_nlink == 1


def test_a_folder_that_leads_elsewhere_gives_the_wanted_content_or_none(
    ground: Ground, tmp_path: Path
) -> None:
    existing, outside = copied(ground, tmp_path / "there"), tmp_path / "outside"
    outside.mkdir()
    for one in (existing / "folder").iterdir():
        (outside / one.name).write_bytes(b"x" * one.stat().st_size)
        one.unlink()
    (existing / "folder").rmdir()
    (existing / "folder").symlink_to(outside)
    report = restore(ground, tmp_path / "out", existing)
    assert report.size_bytes - report.reused_bytes == size_of(ground[2] / "folder")


def test_several_trees_complete_each_other(ground: Ground, tmp_path: Path) -> None:
    first, second = copied(ground, tmp_path / "first"), copied(ground, tmp_path / "second")
    (first / "folder" / "1").unlink()
    (second / "large").unlink()
    report = restore(ground, tmp_path / "out", first, second, tmp_path / "nowhere")
    assert report.reused_bytes == report.size_bytes


def test_a_live_writer_changes_nothing_of_what_is_restored(ground: Ground, tmp_path: Path) -> None:
    existing = copied(ground, tmp_path / "there")
    stop = threading.Event()

    def write() -> None:
        draw = random.Random(1)
        with (existing / "large").open("r+b") as file:
            while not stop.is_set():
                file.seek(draw.randrange(24 * MEBIBYTE - 4096))
                file.write(draw.randbytes(4096))
                file.flush()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(3):
            report = restore(ground, tmp_path / f"out {number}", existing)
            assert report.size_bytes == size_of(ground[2])
    finally:
        stop.set()
        writing.join()


def test_a_tree_with_everything_odd_is_the_same_with_and_without(tmp_path: Path) -> None:
    make_odd_tree(tmp_path / "tree")
    repository = new_repository()
    committed, _ = capture(repository, tmp_path / "tree")
    ground = repository, committed, tmp_path / "tree"
    existing = copied(ground, tmp_path / "there")
    report = restore(ground, tmp_path / "out", existing)
    assert report.reused_bytes == report.size_bytes


def test_with_processes_it_is_the_same(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.repository.restore._ENGAGE_FILES", 1)
    existing = copied(ground, tmp_path / "there")
    for number in range(0, 40, 2):
        (existing / "folder" / f"{number}").unlink()
    report = restore(ground, tmp_path / "out", existing)
    assert 0 < report.size_bytes - report.reused_bytes < 100_000
