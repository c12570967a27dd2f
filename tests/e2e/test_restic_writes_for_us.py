"""A repository that stock restic wrote: we open, list, check, restore, prove and go on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from strongroom.repository import Committed, Repository, SnapshotView
from strongroom.repository.storage import LocalStorage
from tests.e2e.test_restic_reads_ours import as_restored_by
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
from tests.support.restic import Restic, stock_restics
from tests.support.tree_ground import describe, make_odd_tree, make_plain_tree


@pytest.fixture(params=stock_restics(), ids=str)
def restic(request: pytest.FixtureRequest) -> Restic:
    found = request.param
    assert isinstance(found, Restic)
    return found


def opened(store: Path) -> Repository:
    return Repository.open(LocalStorage(store), PASSWORD, name="store")


def test_what_restic_wrote_is_restored_and_proven(restic: Restic, tmp_path: Path) -> None:
    tree, store = tmp_path / "tree", tmp_path / "store"
    make_odd_tree(tree)
    restic.run(store, "init", "--repository-version", "2")
    restic.run(store, "backup", "--tag", "source:tree", "--tag", "kind:files", tree)
    repository = opened(store)
    snapshot = repository.find("latest", source="tree")
    assert snapshot.paths == (str(tree),)
    assert check_codes(repository) == []
    committed = Committed("store", snapshot, 0)
    assert restore(repository, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == as_restored_by(restic, describe(tree))
    assert prove(repository, committed, tmp_path / "out") == []
    view = SnapshotView(repository, snapshot)
    assert view.read(os.fsencode(tree / "a/b/c/d/large")) == (tree / "a/b/c/d/large").read_bytes()


@pytest.mark.parametrize("options", [("--compression", "off"), ("--compression", "max")], ids=str)
def test_every_compression_is_read(options: tuple[str, ...], tmp_path: Path) -> None:
    restic = stock_restics()[-1]
    tree, store = tmp_path / "tree", tmp_path / "store"
    make_plain_tree(tree, seed=8)
    (tree / "text").write_bytes(b"strongroom\n" * 100_000)
    new_repository(store)
    restic.run(store, "backup", *options, tree)
    repository = opened(store)
    assert check_codes(repository) == []
    view = SnapshotView(repository, repository.find("latest"))
    view.restore(os.fsencode(tree), tmp_path / "out")
    assert describe(tmp_path / "out") == describe(tree)


def test_we_go_on_where_restic_was(restic: Restic, tmp_path: Path) -> None:
    """Both tools take turns in one repository, and each finds the other's files unchanged."""
    tree, store = tmp_path / "tree", tmp_path / "store"
    make_plain_tree(tree, seed=9)
    new_repository(store)
    restic.run(store, "backup", tree)
    repository = opened(store)
    theirs = repository.find("latest")
    ours, findings = capture(repository, tree, parent=theirs, options=SMALL_PACKS)
    assert findings == []
    assert ours.snapshot.summary["data_blobs"] == 1  # the manifest
    summary = restic.lines(store, "backup", tree)[-1]
    assert (summary["files_new"], summary["files_changed"]) == (0, 0)
    (tree / "folder 0" / "file 0").write_text("changed")
    shutil.rmtree(tree / "folder 1")
    last, _ = capture(reopened(repository), tree, parent=ours.snapshot)
    restic.run(store, "forget", theirs.id, ours.snapshot.id, "--prune")
    restic.check(store)
    repository = opened(store)
    assert check_codes(repository) == []
    assert len(repository.snapshots().snapshots) == 2
    assert restore(repository, last, tmp_path / "out") == []
    assert describe(tmp_path / "out") == describe(tree)


def test_several_keys_and_passwords_work(restic: Restic, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made = new_repository(store)
    (tmp_path / "new").write_text("another password\n")
    restic.run(store, "key", "add", "--new-password-file", tmp_path / "new")
    assert len(names(made.storage, "keys")) == 2
    for password in (PASSWORD, "another password"):
        assert Repository.open(made.storage, password, name="store").id == made.id
    restic.run(store, "check")


def test_version_1_is_refused_with_the_way_out(tmp_path: Path) -> None:
    from strongroom.errors import StorageError

    restic, store = stock_restics()[0], tmp_path / "store"
    restic.run(store, "init", "--repository-version", "1")
    with pytest.raises(StorageError, match="version 1") as raised:
        opened(store)
    assert "restic migrate upgrade_repo_v2" in raised.value.hint
    restic.run(store, "migrate", "upgrade_repo_v2")
    assert opened(store).snapshots().snapshots == ()
