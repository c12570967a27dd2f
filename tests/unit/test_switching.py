"""Changing the names of two directories, and the journal that says what is being done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from strongroom.errors import BusyError, TargetError
from strongroom.recovery.switch_journal import (
    Operation,
    Plan,
    identity_of,
    journal_beside,
    open_journal,
)
from strongroom.recovery.switching import exchange, move, switch

PLAN = Plan(Operation.REPLACE, "a.restored", "a.before", (1, 2), None, (("a.older", (1, 9)),))


def filled(path: Path) -> Path:
    path.mkdir()
    (path / path.name).touch()
    return path


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


def test_two_names_are_exchanged_at_once(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "first"), filled(tmp_path / "second")
    assert exchange(first, second)
    assert names(first) == ["second"]
    assert names(second) == ["first"]


def test_nobody_sees_the_name_missing(tmp_path: Path) -> None:
    place, incoming = filled(tmp_path / "place"), filled(tmp_path / "incoming")
    missed: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not place.exists():
                missed.append(1)

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(200):
        assert switch(place, incoming, tmp_path / f"{number}")
        move(tmp_path / f"{number}", incoming)
    stop.set()
    looking.join()
    assert missed == []


def test_a_name_that_something_has_is_not_taken(tmp_path: Path) -> None:
    first, empty = filled(tmp_path / "first"), tmp_path / "empty"
    empty.mkdir()  # which a plain rename would take
    with pytest.raises(TargetError, match="File exists"):
        move(first, empty)
    assert (first / "first").exists()


def test_a_switch_that_cannot_keep_what_was_there_is_undone(tmp_path: Path) -> None:
    place, incoming = filled(tmp_path / "place"), filled(tmp_path / "incoming")
    taken = filled(tmp_path / "taken")
    with pytest.raises(TargetError, match="cannot be renamed"):
        switch(place, incoming, taken)
    for one in (place, incoming, taken):
        assert names(one) == [one.name]


def test_the_last_whole_line_of_a_journal_holds(tmp_path: Path) -> None:
    path = journal_beside(tmp_path / "a")
    assert path.name == ".a.strongroom-switch"
    with open_journal(path, "a") as journal:
        assert journal.left is None
        journal.write(Plan(Operation.REPLACE, "x", "y"))
        journal.write(PLAN)
    with path.open("ab") as file:
        file.write(b'{"operation": "rollb')
    with open_journal(path, "a") as journal:
        assert journal.left == PLAN
        journal.forget()
        journal.write(Plan(Operation.ROLLBACK, "x", "y"))
    with open_journal(path, "a") as journal:
        assert journal.left == Plan(Operation.ROLLBACK, "x", "y")
        journal.clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"null\n", b"[]\n", b'{"operation": "replace"}\n', b"\xff"]
)
def test_a_journal_that_is_none_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with open_journal(path, "a") as journal:
        assert journal.left is None


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with (
        open_journal(path, "uploads"),
        pytest.raises(BusyError, match="uploads"),
        open_journal(path, "uploads"),
    ):
        pytest.fail("two have it")
    assert not path.exists()


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match="cannot be written down"),
        open_journal(tmp_path / "nowhere" / "journal", "a"),
    ):
        pytest.fail("it was opened")


def test_long_names_have_a_journal(tmp_path: Path) -> None:
    place = tmp_path / ("ü" * 127)
    with open_journal(journal_beside(place), "a") as journal:
        journal.write(PLAN)
        assert identity_of(journal_beside(place)) is not None
        journal.clear()
