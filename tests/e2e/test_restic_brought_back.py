"""What stock restic stored of a directory comes back by our commands, when its id is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.command_line import CONFIG, PASSWORD, Answer, Place, make_place
from tests.support.restic import Restic, stock_restics
from tests.support.tree_ground import describe, make_socket

SECOND = "  papers: {kind: files, path: papers}\n  code: {kind: git, path: app}\n"


@pytest.fixture(params=stock_restics(), ids=str)
def restic(request: pytest.FixtureRequest) -> Restic:
    found = request.param
    assert isinstance(found, Restic)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, CONFIG.replace("repositories:", SECOND + "repositories:"))
    made.json("init")
    return made


def _stored(restic: Restic, place: Place, *paths: Path) -> str:
    """The id of restic's own snapshot of these paths."""
    local = place.path / "local"
    printed = restic.run(local, "backup", "--json", *paths, RESTIC_PASSWORD=PASSWORD)
    found = str(json.loads(printed.splitlines()[-1])["snapshot_id"])
    return next(str(one["id"]) for one in place.snapshots() if str(one["id"]).startswith(found))


def _codes(answer: Answer) -> list[str]:
    return [one["code"] for one in answer.document["findings"]]


def test_a_directory_comes_back_is_proven_and_drilled(restic: Restic, place: Place) -> None:
    (place.uploads / "lpos" / "LPO-1.pdf").chmod(0o640)
    make_socket(place.uploads / "socket")
    wanted = ("--snapshot", _stored(restic, place, place.uploads)[:10])
    target = place.path / "back"
    restored = place.run("restore", "uploads", "--to", target, *wanted)
    assert restored.status == 0, restored.text + restored.err
    assert "warning  snapshot-foreign  local: snapshots/" in restored.text
    assert f"made it of {place.uploads}" in restored.text
    assert "PROVEN  uploads: identical to" in restored.text
    assert describe(target) == describe(place.uploads)
    for path in (target, place.uploads):
        proven = place.run("--json", "prove", "uploads", "--target", path, *wanted)
        assert proven.document["verdict"] == "PROVEN", proven.text
        assert "snapshot-foreign" in _codes(proven)
    drilled = place.run("--json", "drill", "uploads", *wanted)
    assert (drilled.status, drilled.document["verdict"]) == (0, "PROVEN")
    assert [one["verdict"] for one in place.snapshots()] == ["PROVEN"]
    (target / "lpos" / "LPO-1.pdf").chmod(0o600)
    (target / "quotes" / "added").touch()
    changed = place.run("--json", "prove", "uploads", "--target", target, *wanted)
    assert changed.status == 41
    assert {"tree-metadata", "tree-extra"} <= set(_codes(changed))


def test_it_is_taken_by_id_alone_and_for_the_source_that_is_named(place: Place) -> None:
    restic = stock_restics()[0]
    wanted = _stored(restic, place, place.uploads)
    for words in (
        ("restore", "uploads", "--to", place.path / "back"),
        ("restore", "code", "--to", place.path / "back", "--snapshot", wanted),
        ("drill", "--snapshot", wanted),
    ):
        answer = place.run("--json", *words)
        assert (answer.status, answer.document["error"]["code"]) == (26, "snapshot-missing"), words
    assert not (place.path / "back").exists()


def test_what_is_not_one_directory_is_refused_clearly(place: Place) -> None:
    restic, target = stock_restics()[0], place.path / "back"
    several = _stored(restic, place, place.uploads / "lpos", place.uploads / "quotes")
    single = _stored(restic, place, place.uploads / "lpos" / "LPO-1.pdf")
    for wanted, status, told in ((several, 26, "of 2 paths"), (single, 27, "is no directory")):
        for words in (("restore", "uploads", "--to"), ("prove", "uploads", "--target")):
            answer = place.run("--json", *words, target, "--snapshot", wanted)
            assert answer.status == status, answer.text
            assert told in answer.document["error"]["message"]
            assert not target.exists()


def test_a_relative_path_is_refused_clearly(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.path)
    wanted = _stored(stock_restics()[0], place, Path("uploads"))
    answer = place.run("--json", "restore", "uploads", "--to", "back", "--snapshot", wanted)
    assert answer.status == 27, answer.text
    assert "relative path" in answer.document["error"]["hint"]
    assert not (place.path / "back").exists()
