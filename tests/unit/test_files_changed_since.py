"""A capture counts what has changed since the database's moment: files, and folders by their
entries."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.repository import SnapshotWriter
from strongroom.sources import CaptureContext
from strongroom.sources.files import FilesSource
from tests.support.repository_ground import new_repository


def changed(tree: Path, since: datetime | None, **options: Any) -> dict[str, Any]:
    source = FilesSource("tree", tree, **options)
    with SnapshotWriter([new_repository()]) as writer:
        captured = source.capture(writer, CaptureContext(datetime.now(UTC), since=since))
    return dict(captured.facts)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    base = tmp_path / "tree"
    for name in ("a/1", "a/2", "b/1", "c"):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return base


@pytest.fixture
def since(tree: Path) -> datetime:
    assert tree.is_dir()
    time.sleep(0.05)  # beyond the clock tick by which a file's time may lag
    return datetime.now(UTC)


def test_an_untouched_tree_has_no_changes(tree: Path, since: datetime) -> None:
    told = changed(tree, since)["changed_since"]
    assert (told["count"], told["first"]) == (0, [])
    assert datetime.fromisoformat(told["moment_at"]) == since
    assert changed(tree, None) == {}


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda tree: (tree / "a/1").write_text("x"), ["a/1"]),
        (lambda tree: (tree / "a/1").chmod(0o600), ["a/1"]),
        (lambda tree: (tree / "a/3").write_text("new"), ["a", "a/3"]),
        (lambda tree: (tree / "a/2").unlink(), ["a"]),
        (lambda tree: (tree / "c").rename(tree / "d"), [".", "d"]),
        (lambda tree: os.utime(tree / "b/1", (0, 0)), ["b/1"]),
    ],
)
def test_whatever_was_changed_is_counted(
    tree: Path, since: datetime, change: Any, first: list[str]
) -> None:
    change(tree)
    told = changed(tree, since)["changed_since"]
    assert (told["count"], told["first"]) == (len(first), first)


def test_what_is_excluded_is_not_counted(tree: Path, since: datetime) -> None:
    (tree / "a/1").write_text("x")
    assert changed(tree, since, exclude=["a/1"])["changed_since"]["count"] == 0


def test_of_many_the_first_are_named(tree: Path, since: datetime) -> None:
    for number in range(30):
        (tree / f"{number:02}").write_text("x")
    told = changed(tree, since)["changed_since"]
    assert told["count"] == 31
    assert len(told["first"]) == 10
    assert changed(tree, since - timedelta(hours=1))["changed_since"]["count"] == 37
