"""Release archives out of a snapshot."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest

from strongroom.errors import StorageError, TargetError
from strongroom.repository import SnapshotView
from strongroom.sources.code import CodeSource
from strongroom.sources.code_export import export_release
from tests.support.code_ground import DECLARED, Ground, commit, git, make_application, write


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    application = make_application(tmp_path_factory.mktemp("export") / "app")
    write(application / ".gitattributes", "internal export-ignore\n")
    write(application / "internal/notes.txt", "not for release\n")
    commit(application, "Take notes")
    git(application, "tag", "rel/2.0")
    return application


@pytest.fixture(scope="module")
def view(application: Path) -> SnapshotView:
    return Ground().capture(CodeSource("tms", application, untracked=DECLARED))[1]


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz"])
def test_a_tag_becomes_an_archive(view: SnapshotView, tmp_path: Path, archive_format: str) -> None:
    output = tmp_path / f"release.{archive_format}"
    exported = export_release(view, output, archive_format, tag="v1.0")
    assert exported.size_bytes == output.stat().st_size
    with tarfile.open(output) as archive:
        modes = {one.name: one.mode & 0o111 for one in archive.getmembers() if one.isfile()}
    assert modes == {
        "tms-v1.0/.gitignore": 0,
        "tms-v1.0/bin/deploy": 0o111,
        "tms-v1.0/public/index.php": 0,
    }


def test_without_a_tag_it_is_what_was_checked_out(view: SnapshotView, tmp_path: Path) -> None:
    exported = export_release(view, tmp_path / "release.zip", "zip")
    assert exported.name == "rel/2.0"
    with zipfile.ZipFile(tmp_path / "release.zip") as archive:
        assert "tms-rel-2.0/api/health.php" in archive.namelist()
        assert not any("internal" in name or "local.php" in name for name in archive.namelist())


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "zip"])
def test_the_same_tag_gives_the_same_bytes(
    view: SnapshotView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive_format: str
) -> None:
    hashes = set()
    for number, zone in enumerate(("Asia/Dubai", "UTC")):
        monkeypatch.setenv("TZ", zone)
        output = tmp_path / str(number)
        export_release(view, output, archive_format, tag="v1.0")
        hashes.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_the_whole_history_as_a_bundle_or_a_bare_repository(
    view: SnapshotView, application: Path, tmp_path: Path
) -> None:
    head = git(application, "rev-parse", "HEAD")
    export_release(view, tmp_path / "all.bundle", "git")
    git(tmp_path, "clone", "-q", "all.bundle", "clone")
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == head
    export_release(view, tmp_path / "all.git", "git")
    assert git(tmp_path / "all.git", "for-each-ref") == git(application, "for-each-ref")
    assert git(tmp_path / "all.git", "rev-parse", "--is-bare-repository") == "true"


def test_what_is_there_is_not_overwritten(view: SnapshotView, tmp_path: Path) -> None:
    output = write(tmp_path / "release.tar", "mine")
    with pytest.raises(TargetError) as caught:
        export_release(view, output, "tar", tag="v1.0")
    assert caught.value.code == "target-not-empty"
    assert output.read_text() == "mine"


def test_an_unknown_tag_names_those_there_are(view: SnapshotView, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        export_release(view, tmp_path / "x.tar", "tar", tag="v9")
    assert caught.value.code == "path-missing"
    assert "v1.0" in caught.value.hint
    with pytest.raises(TargetError):
        export_release(view, tmp_path / "nowhere/x.tar", "tar", tag="v1.0")
    assert list(tmp_path.iterdir()) == []
