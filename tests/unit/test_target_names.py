"""Names that a target's file system cannot hold are told by name, and nothing is written over."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from strongroom.repository import Node
from strongroom.repository.target_names import TargetNames


def node(name: str, *, is_directory: bool = False) -> Node:
    made = Node(name.encode(), "dir" if is_directory else "file", stat.S_IFREG | 0o644)
    if is_directory:
        made.subtree = "0" * 64
    return made


def test_a_file_system_that_holds_all_names_is_asked_nothing(tmp_path: Path) -> None:
    names = TargetNames(os.fsencode(tmp_path))
    names.learn(os.fsencode(tmp_path / "probe"))
    assert list(tmp_path.iterdir()) == []
    assert names.can_be(b"README", node("README"))
    assert names.can_be(b"readme", node("readme"))
    assert names.can_be(b"x" * 300, node("x" * 300))
    assert names.findings == []


def test_two_names_for_one_are_told_and_the_first_stays(tmp_path: Path) -> None:
    names = TargetNames(os.fsencode(tmp_path), folds_case=True)
    assert names.can_be(b"a", node("a", is_directory=True))
    assert names.can_be(b"a/README", node("README"))
    assert not names.can_be(b"a/readme", node("readme"))
    assert not names.can_be(b"A", node("A", is_directory=True))
    assert not names.can_be(b"A/below", node("below"))
    assert names.can_be("\u00e9".encode(), node("\u00e9"))
    assert not names.can_be("E\u0301".encode(), node("E\u0301"))
    assert [(one.code, one.subject) for one in names.findings] == [
        ("file-unmade", "a/readme"),
        ("file-unmade", "A"),
        ("file-unmade", "A/below"),
        ("file-unmade", "E\u0301"),
    ]
    assert "a/README" in names.findings[0].message


def test_a_name_that_is_refused_is_told_and_the_others_are_not(tmp_path: Path) -> None:
    names = TargetNames(os.fsencode(tmp_path), refuses_some=True)
    long = "x" * 300
    assert not names.can_be(long.encode(), node(long))
    assert not names.can_be(f"folder/{long}".encode(), node(long))
    assert names.can_be(b"folder/short", node("short"))
    assert names.can_be(b"short", node("short"))
    assert [one.subject for one in names.findings] == [long, f"folder/{long}"]
    assert "File name too long" in names.findings[0].message
    assert list(tmp_path.iterdir()) == []
