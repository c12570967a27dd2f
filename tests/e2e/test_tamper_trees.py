"""Restored files and code: one change, one finding, exit status 41."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.command_line import Answer, Place, make_place
from tests.support.code_ground import commit, make_application, write
from tests.support.repository_ground import new_repository
from tests.support.tree_changes import ALSO, CODE, CONFIG, FILES, keeping_time, make_tree


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Files with everything that can be lost, and code, captured and restored once."""
    made = make_place(tmp_path_factory.mktemp("tamper"), CONFIG)
    make_tree(made.uploads)
    make_application(made.path / "app")
    new_repository(made.path / "local")
    assert made.json("backup")["findings"] == []
    for source in ("uploads", "code"):
        restored = made.json("restore", source, "--to", made.path / f"{source}.restored")
        assert restored["verdict"] == "PROVEN"
    return made


def _copy(place: Place, source: str, target: Path) -> Path:
    """A copy with links, times, owners and attributes."""
    restored = place.path / f"{source}.restored"
    subprocess.run(["cp", "-a", str(restored), str(target)], check=True)
    return target


def _prove(place: Place, source: str, target: Path) -> Answer:
    return place.run("--json", "prove", source, "--target", target)


def _loud(answer: Answer) -> set[tuple[str, str]]:
    found = answer.document["findings"]
    return {(one["code"], one["subject"]) for one in found if one["severity"] != "note"}


@pytest.mark.parametrize("name", FILES)
def test_one_change_to_restored_files_is_found(name: str, place: Place, tmp_path: Path) -> None:
    where, change, code, says = FILES[name]
    target = _copy(place, "uploads", tmp_path / "copy")
    keeping_time(target / where, change)
    answer = _prove(place, "uploads", target)
    assert answer.status == 41, answer.text + answer.err
    assert answer.document["verdict"] == "FAILED"
    expected = {(code, where)} | ALSO.get(name, set())
    if name == "hard link split":  # told at the first of the names that were one file
        expected = ALSO[name]
    assert _loud(answer) == expected
    messages = [one["message"] for one in answer.document["findings"] if one["code"] == code]
    assert any(says in one for one in messages), messages


def test_untouched_copies_are_proven(place: Place, tmp_path: Path) -> None:
    for source in ("uploads", "code"):
        target = _copy(place, source, tmp_path / source)
        answer = _prove(place, source, target)
        assert (answer.status, answer.document["findings"]) == (0, []), answer.text


@pytest.mark.parametrize("name", CODE)
def test_one_change_to_restored_code_is_found(name: str, place: Place, tmp_path: Path) -> None:
    change, code, subject = CODE[name]
    target = _copy(place, "code", tmp_path / "copy")
    change(target)
    answer = _prove(place, "code", target)
    assert answer.status == 41, answer.text + answer.err
    assert answer.document["verdict"] == "FAILED"
    if name == "commit missing":
        assert {one for one, _ in _loud(answer)} >= {code}
    else:
        assert _loud(answer) == {(code, subject)}


def test_a_deployment_after_the_capture_is_told_as_such(place: Place, tmp_path: Path) -> None:
    target = _copy(place, "code", tmp_path / "copy")
    write(target / "api/version.php", "<?php echo 2;\n")
    commit(target, "Deploy by hand")
    answer = _prove(place, "code", target)
    assert answer.status == 41
    # Declared files were committed by hand as well; of them only the refs differ.
    assert ("code-ref-differs", "refs/heads/main") in _loud(answer)
    assert ("code-ref-differs", "HEAD") in _loud(answer)
