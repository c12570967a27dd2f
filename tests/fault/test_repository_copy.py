"""Copies between repositories: the same chunks, only what is missing, and nothing by halves."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, StorageError
from strongroom.repository import Committed, Repository, Snapshot
from strongroom.repository.copy import CopyReport, copy_snapshots
from tests.support.failing_storage import FailingStorage, Failure
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    check_codes,
    names,
    new_repository,
    prove,
    reopened,
    restore,
)
from tests.support.restic import stock_restics
from tests.support.tree_ground import make_plain_tree


def copy(source: Repository, target: Repository, snapshots: list[Snapshot]) -> CopyReport:
    report = CopyReport()
    copy_snapshots(reopened(source), reopened(target), snapshots, report=report)
    return report


def all_of(repository: Repository) -> list[Snapshot]:
    return list(repository.snapshots().snapshots)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    make_plain_tree(made, seed=3, files=12, most_bytes=900_000)
    return made


def test_a_copy_is_proven_like_the_original(tree: Path, tmp_path: Path) -> None:
    source, target = new_repository(name="source"), new_repository(name="target")
    committed, _ = capture(source, tree)
    report = copy(source, target, all_of(source))
    ((before, made),) = report.snapshots
    assert before == committed.snapshot.id
    (there,) = all_of(reopened(target))
    assert (there.id, there.tree, there.time) == (
        made,
        committed.snapshot.tree,
        committed.snapshot.time,
    )
    assert there.original == before
    assert there.tags == committed.snapshot.tags
    assert there.parent is None
    assert check_codes(target) == []
    copied_one = Committed("target", there, 0)
    assert restore(target, copied_one, tmp_path / "out") == []
    assert prove(target, copied_one, tmp_path / "out") == []


def test_only_what_is_missing_is_copied(tree: Path) -> None:
    source, target = new_repository(), new_repository()
    first, _ = capture(source, tree)
    assert copy(source, target, all_of(source)).blobs > 10
    (tree / "one more").write_bytes(b"one more file")
    capture(source, tree, parent=first.snapshot)
    report = copy(source, target, all_of(source))
    assert len(report.snapshots) == 1
    # The new file, the trees above it, and the manifest.
    assert report.blobs <= len(tree.parts) + 4
    assert report.added_bytes < 10_000
    again = copy(source, target, all_of(source))
    assert (again.snapshots, again.blobs, again.added_bytes) == ([], 0, 0)


def test_one_capture_of_two_repositories_is_no_reason_to_copy(tree: Path) -> None:
    source, target = new_repository(name="a"), new_repository(name="b")
    capture([source, target], tree)
    assert copy(source, target, all_of(source)).snapshots == []
    assert copy(target, source, all_of(target)).snapshots == []


def test_a_copy_of_a_copy_knows_its_origin(tree: Path) -> None:
    first, second, third = (new_repository(name=name) for name in "abc")
    committed, _ = capture(first, tree)
    copy(first, second, all_of(first))
    copy(second, third, all_of(second))
    assert all_of(reopened(third))[0].original == committed.snapshot.id
    assert copy(third, first, all_of(third)).snapshots == []


def test_a_damaged_blob_is_not_copied(tree: Path, tmp_path: Path) -> None:
    source, target = new_repository(tmp_path / "store"), new_repository()
    capture(source, tree, options=SMALL_PACKS)
    pack = max((tmp_path / "store" / "data").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    with pytest.raises(IntegrityError) as raised:
        copy(source, target, all_of(source))
    assert raised.value.code == "pack-damaged"
    assert all_of(reopened(target)) == []
    assert set(check_codes(target)) <= {"pack-orphaned"}


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for ever"])
@pytest.mark.usefixtures("quick_locks")
def test_a_source_that_cannot_be_read_leaves_a_whole_target(tree: Path, lasting: bool) -> None:
    """At every operation of the source's store; where the target fails: the operation matrix."""
    source, number = new_repository(), 1
    capture(source, tree, options=SMALL_PACKS)
    while True:
        failing, target = FailingStorage(source.storage), new_repository()
        giver = Repository.open(failing, PASSWORD, name="source")
        chosen = all_of(giver)
        failing.fail(Failure(number, lasting=lasting))
        report = CopyReport()
        with contextlib.suppress(StorageError):
            copy_snapshots(giver, reopened(target), chosen, report=report)
        if not failing.failed:
            break
        assert len(report.snapshots) == len(all_of(reopened(target))) == 0, failing.failed
        assert set(check_codes(target)) <= {"pack-orphaned"}, failing.failed
        copy(source, target, chosen)
        assert len(all_of(reopened(target))) == 1
        assert set(check_codes(target)) <= {"pack-orphaned"}, failing.failed
        number += 1
    assert len(report.snapshots) == 1
    assert number > 5


@pytest.mark.parametrize("restic", stock_restics(), ids=str)
def test_stock_restic_knows_what_was_copied(tree: Path, tmp_path: Path, restic: object) -> None:
    from tests.support.restic import Restic

    assert isinstance(restic, Restic)
    source, target = new_repository(tmp_path / "a"), new_repository(tmp_path / "b")
    capture(source, tree)
    copy(source, target, all_of(source))
    restic.check(tmp_path / "b")
    # restic finds nothing left to copy in either direction.
    flag = "--from-repo" if restic.version >= (0, 14) else "--repo2"
    secret = {"RESTIC_FROM_PASSWORD": PASSWORD}
    restic.attempt(tmp_path / "b", "copy", flag, tmp_path / "a", **secret)
    assert len(names(target.storage, "snapshots")) == 1
    # And what restic copies, we know.
    (tree / "more").write_bytes(b"more")
    capture(source, tree)
    done = restic.attempt(tmp_path / "b", "copy", flag, tmp_path / "a", **secret)
    assert done.returncode == 0, done.stderr.decode()
    assert len(names(target.storage, "snapshots")) == 2
    assert copy(source, target, all_of(source)).snapshots == []
    assert dataclasses.asdict(all_of(reopened(target))[1])["original"]
