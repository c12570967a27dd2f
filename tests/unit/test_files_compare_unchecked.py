"""What a user cannot compare is UNKNOWN, and what matches nothing is no success."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.model import Verdict, judge
from strongroom.sources.files import FilesSource
from tests.support.observation import as_nobody, open_directory
from tests.support.repository_ground import capture, new_repository, view_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "of root").write_bytes(b"content")
    return tree


def test_patterns_that_match_nothing_are_an_error(tree: Path, tmp_path: Path) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    source = FilesSource("uploads", tree)
    with pytest.raises(StorageError, match="matches"):
        source.restore(view_of(repository, committed), str(tmp_path / "new"), include=["nope*"])


def test_owners_that_only_root_can_set_are_unknown_to_others(tree: Path) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    source, view = FilesSource("uploads", tree), view_of(repository, committed)
    with open_directory() as place, as_nobody():
        source.restore(view, str(place / "restored"))
        proof = source.prove(view, str(place / "restored"))
    assert judge(proof.findings, checked=proof.checked) is Verdict.UNKNOWN
    assert [one.code for one in proof.findings] == ["tree-unchecked"]
