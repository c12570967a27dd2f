"""Archives of uploads as the procedures made them: imported, proven, exported, imported again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command_line import Answer, Place
from tests.support.import_ground import CONFIG, import_place
from tests.support.tree_ground import describe


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = import_place(tmp_path / "here")
    (made.uploads / "lpos" / "linked.pdf").hardlink_to(made.uploads / "lpos" / "LPO-1.pdf")
    (made.uploads / "lpos" / "soft").symlink_to("LPO-2.pdf")
    (made.uploads / "empty").mkdir(mode=0o750)
    for one in (*made.uploads.rglob("*"), made.uploads):  # GNU tar keeps whole seconds
        os.utime(one, (1_769_558_400, 1_769_558_400), follow_symlinks=False)
    return made


def _tar(place: Place, name: str, *arguments: str) -> Path:
    subprocess.run(
        ["tar", "-czf", name, *arguments], cwd=place.path, check=True, capture_output=True
    )
    return place.path / name


def _import(place: Place, *arguments: object) -> Answer:
    return place.run("--json", "import", *arguments, "--source", "uploads")


def _imported(place: Place, *arguments: object) -> dict[str, object]:
    answer = _import(place, *arguments)
    assert answer.status == 0, answer.text + answer.err
    (one,) = answer.document["imported"]
    assert isinstance(one, dict)
    return one


def _snapshots(made: dict[str, object]) -> list[dict[str, str]]:
    listed = made["snapshots"]
    assert isinstance(listed, list)
    return listed


def test_the_two_ways_of_the_procedures(place: Place) -> None:
    """By its own name from beside it, and by its whole path as the nightly script does it."""
    first = _imported(place, _tar(place, "uploads_backup_20260128.tar.gz", "uploads/"))
    second = _imported(place, _tar(place, "uploads_20260129.tar.gz", str(place.uploads)))
    assert first["taken"] == "uploads"
    assert second["taken"] == str(place.uploads).lstrip("/")
    assert first["captured_at"] == "2026-01-28T00:00:00.000000Z"
    assert first["dated_by"] == "its name, the time of day by the newest file in it"
    assert second["captured_at"] == "2026-01-28T20:00:00.000000Z"
    trees = {one["tree"] for one in place.snapshots()}
    assert len(place.snapshots()) == 2
    drill = place.json("drill", "uploads")
    assert drill["verdict"] == "PROVEN", drill["findings"]
    # Nothing was changed since: the live folder is what was imported.
    assert place.json("prove", "uploads", "--target", place.uploads)["verdict"] == "PROVEN"
    assert len(trees) <= 2


def test_what_comes_back_is_what_went_in(place: Place, tmp_path: Path) -> None:
    before = describe(place.uploads)
    _imported(place, _tar(place, "uploads_backup_20260128.tar.gz", "uploads/"))
    place.json("restore", "uploads", "--to", tmp_path / "back")
    subprocess.run(["diff", "-r", str(place.uploads), str(tmp_path / "back")], check=True)
    assert describe(place.uploads) == before
    assert (tmp_path / "back/lpos/linked.pdf").samefile(tmp_path / "back/lpos/LPO-1.pdf")
    assert (tmp_path / "back/lpos/soft").readlink() == Path("LPO-2.pdf")


def test_an_export_is_imported_as_what_it_was(place: Place) -> None:
    place.json("backup", "uploads")
    output = place.path / "20260128.tar.gz"
    place.json("export", "latest:uploads", "--format", "tar.gz", "--output", output)
    made = _imported(place, output)
    changed = place.json("diff", _snapshots(made)[0]["id"], "latest:uploads")
    assert (changed["added"], changed["removed"], changed["changed"]) == ([], [], [])


def test_a_zip_is_taken_as_well(place: Place) -> None:
    shutil.make_archive(str(place.path / "uploads-20260128"), "zip", place.path, "uploads")
    assert _imported(place, place.path / "uploads-20260128.zip")["format"] == "zip"
    assert place.json("drill", "uploads")["verdict"] == "PROVEN"


def test_the_newest_file_tells_the_date_when_no_name_does(place: Place) -> None:
    made = _imported(place, _tar(place, "backup.tar.gz", "uploads"))
    assert made["captured_at"] == "2026-01-28T00:00:00.000000Z"
    assert made["dated_by"] == "the newest file in it"


def test_which_folder_is_meant_is_never_guessed(place: Place) -> None:
    contents = _tar(place, "c-20260128.tar.gz", "-C", "uploads", ".")
    assert _imported(place, contents)["taken"] == "."
    other = _tar(place, "d-20260129.tar.gz", "--transform", "s/^uploads/files/", "uploads")
    error = _import(place, other).document["error"]
    assert (error["code"], "files" in error["message"]) == ("usage", True)
    assert _imported(place, other, "--root", "files")["taken"] == "files"
    error = _import(place, other, "--again", "--root", "../x").document["error"]
    assert error["code"] == "usage"
    whole = _tar(place, "e-20260130.tar.gz", "uploads", "key")
    assert _import(place, whole).document["error"]["code"] == "usage"
    assert _imported(place, whole, "--root", "uploads")["taken"] == "uploads"


def test_what_is_missing_in_an_archive_is_told(place: Place) -> None:
    made = _imported(place, _tar(place, "a-20260128.tar.gz", "--exclude=lpos", "uploads"))
    findings = made["findings"]
    assert isinstance(findings, list)
    assert "folder-missing" in {one["code"] for one in findings}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_a_cut_archive_is_refused_and_nothing_is_left(place: Place, share: float) -> None:
    whole = _tar(place, "whole.tar.gz", "uploads").read_bytes()
    cut = place.path / "uploads_backup_20260128.tar.gz"
    cut.write_bytes(whole[: int(len(whole) * share)])
    answer = _import(place, cut)
    assert (answer.status, answer.document["error"]["code"]) == (10, "file-incomplete")
    assert place.snapshots() == []
    assert list((place.path / "state" / "sandbox").glob("*")) == []


def test_what_is_no_archive_is_refused(place: Place) -> None:
    (place.path / "backup-20260128.sql").write_text("SELECT 1;\n" * 100)
    error = _import(place, place.path / "backup-20260128.sql").document["error"]
    assert error["code"] == "file-unfit"


def test_one_repository_only_when_it_is_named(tmp_path: Path) -> None:
    config = CONFIG.replace(
        "retention:", "  second: {location: second, password: file:key}\nretention:"
    )
    place = import_place(tmp_path / "here", config)
    place.json("backup", "uploads")
    _imported(place, _tar(place, "a-20260128.tar.gz", "uploads"), "--repository", "local")
    place.json("backup", "uploads")
    where = [(one["repository"], one["imported"]) for one in place.snapshots()]
    assert where.count(("local", True)) == 1
    assert where.count(("second", True)) == 0
    (place.uploads / "more").write_text("x")
    made = _imported(place, _tar(place, "b-20260129.tar.gz", "uploads"))
    assert {one["repository"] for one in _snapshots(made)} == {"local", "second"}


def test_code_is_not_imported(tmp_path: Path) -> None:
    config = CONFIG.replace("repositories:", "  code: {kind: git, path: app}\nrepositories:")
    place = import_place(tmp_path / "here", config)
    (place.path / "x").write_text("x")
    answer = place.run("--json", "import", place.path / "x", "--source", "code")
    assert (answer.status, answer.document["error"]["code"]) == (2, "usage")


def test_an_import_that_is_gone_is_missed(place: Place) -> None:
    made = _imported(place, _tar(place, "a-20260128.tar.gz", "uploads"))
    (place.path / "local" / "snapshots" / _snapshots(made)[0]["id"]).unlink()
    answer = place.run("--json", "snapshots")
    assert answer.status == 3
    assert [one["code"] for one in answer.document["findings"]] == ["snapshot-vanished"]
