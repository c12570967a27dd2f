"""Targets for files that cannot hold all of them as they were, or are to hold them otherwise."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.findings import Severity
from strongroom.sources.files import FilesSource, refuse_unwritable
from tests.support.observation import as_nobody, open_directory, small_disk
from tests.support.repository_ground import capture, new_repository, view_of
from tests.support.tree_ground import make_plain_tree


@pytest.fixture
def plain_file_system() -> Iterator[Path]:
    """A file system without extended attributes."""
    with tempfile.TemporaryDirectory(prefix="strongroom-disk-") as made:
        subprocess.run(["mount", "-t", "ramfs", "ramfs", made], check=True)
        try:
            yield Path(made)
        finally:
            subprocess.run(["umount", made], check=True)


def test_what_has_no_place_for_attributes_names_whose_are_lost(
    plain_file_system: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=1)
    for number in range(14):
        path = tree / f"marked {number:02}"
        path.write_text("x")
        os.setxattr(path, "user.mark", b"1")
    repository = new_repository()
    committed, _ = capture(repository, tree)
    source = FilesSource("tree", tree)
    view = view_of(repository, committed)
    target = plain_file_system / "out"
    (told,) = source.restore(view, str(target)).findings
    assert (told.code, told.subject) == ("metadata-unset", "marked 00")
    assert "for 14 entries: marked 00, marked 01" in told.message
    assert told.message.endswith("and 4 more")
    lost = {one.subject for one in source.prove(view, str(target)).findings}
    assert lost == {f"marked {number:02}" for number in range(14)}
    assert (target / "marked 03").read_text() == "x"


def test_all_files_belong_to_whom_they_are_to_belong(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=2)
    os.chown(tree / "folder 0", 7, 8)
    (tree / "link").symlink_to("folder 0")
    repository = new_repository()
    committed, _ = capture(repository, tree)
    view = view_of(repository, committed)
    source = FilesSource("tree", tree)
    source.own_by(33, 44)
    target = tmp_path / "out"
    assert source.restore(view, str(target)).findings == ()
    for path in (target, *target.rglob("*")):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (33, 44)
    proof = source.prove(view, str(target))
    assert proof.findings == ()
    assert proof.digests is not None
    assert proof.digests.expected == proof.digests.observed
    os.chown(target / "folder 0", 7, 8)
    (found,) = source.prove(view, str(target)).findings
    assert (found.code, found.subject) == ("tree-metadata", "folder 0")
    assert "owner 7:8, not 33:44" in found.message


def test_names_are_told_of_owners_that_could_not_be_set() -> None:
    with open_directory() as base:
        make_plain_tree(base / "tree", seed=3)
        repository = new_repository()
        committed, _ = capture(repository, base / "tree")
        source = FilesSource("tree", base / "tree")
        view = view_of(repository, committed)
        source.restore(view, str(base / "warm"))  # everything is imported by now
        with as_nobody():
            found = source.restore(view, str(base / "out")).findings
        assert {one.severity for one in found} == {Severity.WARNING}
        (owners,) = [one for one in found if one.message.startswith("owner")]
        assert owners.message.count(",") >= 9


def test_a_place_that_takes_nothing_is_told_beforehand(tmp_path: Path) -> None:
    with small_disk(1 << 20, options="ro") as disk, pytest.raises(TargetError) as read_only:
        refuse_unwritable(disk / "new" / "folder")
    assert "Read-only file system" in read_only.value.message
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="not a directory"):
        refuse_unwritable(tmp_path / "file" / "below")
    with open_directory() as base:
        closed = base / "closed"
        closed.mkdir(mode=0o755)
        with as_nobody(), pytest.raises(TargetError) as refused:
            refuse_unwritable(closed / "new")
        assert "may not write" in refused.value.message
        with as_nobody():
            refuse_unwritable(base / "new")
