"""The unchanged source is proven to be its snapshot; a copy may hold nothing besides."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from strongroom.model import Verdict, judge
from strongroom.repository import SnapshotView
from strongroom.sources.files import FilesSource
from tests.support.repository_ground import capture, new_repository, view_of
from tests.support.tree_ground import make_plain_tree, make_socket

_EXCLUDED = ["cache/", "*.tmp"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=1)
    (tree / "cache").mkdir()
    (tree / "cache" / "page").write_bytes(b"again")
    (tree / "folder 1" / "half.tmp").write_bytes(b"half")
    make_socket(tree / "folder 1" / "socket")
    return tree


def _codes(view: SnapshotView, source: Path, target: Path) -> list[tuple[str, str]]:
    """What a proof finds, under today's configuration, which excludes nothing."""
    proof = FilesSource("tree", source).prove(view, str(target))
    assert proof.checked
    return [(one.code, one.subject) for one in proof.findings]


def test_the_live_source_may_hold_what_its_capture_left_out(tree: Path) -> None:
    repository = new_repository()
    committed, noticed = capture(repository, tree, exclude=_EXCLUDED)
    assert [one.code for one in noticed] == ["file-skipped"]
    view = view_of(repository, committed)
    proof = FilesSource("tree", tree).prove(view, str(tree))
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
    (note,) = proof.findings
    assert (note.code, note.subject) == ("tree-left-out", "cache")
    assert note.message.startswith("3 entries ")
    (tree / "folder 2" / "new").touch()
    (tree / "cache.d").mkdir()
    found = _codes(view, tree, tree)
    assert ("tree-extra", "cache.d") in found
    assert ("tree-extra", "folder 2/new") in found


def test_a_copy_may_not(tree: Path, tmp_path: Path) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree, exclude=_EXCLUDED)
    view, copy = view_of(repository, committed), tmp_path / "copy"
    FilesSource("tree", tree).restore(view, str(copy))
    assert _codes(view, tree, copy) == []
    (copy / "cache").mkdir()
    make_socket(copy / "folder 1" / "socket")
    extra = [one for one in _codes(view, tree, copy) if one[0] == "tree-extra"]
    assert extra == [("tree-extra", "cache"), ("tree-extra", "folder 1/socket")]


def test_what_was_not_left_out_then_is_too_much_now(tree: Path) -> None:
    repository = new_repository()
    shutil.rmtree(tree / "cache")
    committed, _ = capture(repository, tree)
    (tree / "cache").mkdir()
    source = FilesSource("tree", tree, exclude=_EXCLUDED)
    found = source.prove(view_of(repository, committed), str(tree)).findings
    assert ("tree-extra", "cache") in [(one.code, one.subject) for one in found]


def test_mounts_in_the_live_source(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "mounted").mkdir(parents=True)
    (tree / "own").write_bytes(b"own")
    repository = new_repository()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "mounted"], check=True)
    try:
        (tree / "mounted" / "theirs").write_bytes(b"theirs")
        committed, _ = capture(repository, tree, one_file_system=True)
        assert _codes(view_of(repository, committed), tree, tree) == [
            ("tree-left-out", "mounted/theirs")
        ]
    finally:
        subprocess.run(["umount", tree / "mounted"], check=True)


def test_a_link_to_the_directory_is_the_directory(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(tree)
    repository = new_repository()
    for path in (link, tree):
        committed, _ = capture(repository, path, exclude=_EXCLUDED)
        view = view_of(repository, committed)
        for target in (link, tree):
            assert _codes(view, path, target) == [("tree-left-out", "cache")]


def test_a_link_inside_stays_a_link(tree: Path, tmp_path: Path) -> None:
    (tree / "inner").symlink_to("folder 1")
    repository = new_repository()
    committed, _ = capture(repository, tree, exclude=_EXCLUDED)
    copy = tmp_path / "copy"
    view = view_of(repository, committed)
    FilesSource("tree", tree).restore(view, str(copy))
    (copy / "inner").unlink()
    (copy / "inner").mkdir()
    assert ("tree-metadata", "inner") in _codes(view, tree, copy)
