"""The ledger: what is written stays, several writers take turns, a torn line is set aside."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, StorageError
from strongroom.evidence import Entry, Ledger, records


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.jsonl")


def _lines(ledger: Ledger) -> list[bytes]:
    return ledger.path.read_bytes().splitlines(keepends=True)


def test_records_come_back_as_they_were_written(ledger: Ledger) -> None:
    assert list(ledger.entries()) == []
    assert ledger.verify() == []
    first = ledger.append("backup", {"point": "p1", "name": "Größe\n\u2028"})
    second = ledger.append("drill", {"verdict": "PROVEN", "hash_of": [1, 2.5, None]})
    assert [first.seq, second.seq] == [1, 2]
    assert list(ledger.entries()) == [first, second]
    assert list(ledger.entries("drill")) == [second]
    assert ledger.verify() == []


def test_it_belongs_to_its_owner_alone(ledger: Ledger) -> None:
    ledger.append("drill", {})
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_a_record_names_the_hash_of_the_one_before(ledger: Ledger) -> None:
    first = ledger.append("drill", {})
    ledger.append("drill", {})
    assert json.loads(_lines(ledger)[1])["previous"] == first.hash


def test_own_fields_cannot_be_given(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="seq"):
        ledger.append("drill", {"seq": 7})


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("a word is changed", lambda lines: [lines[0].replace(b"PROVEN", b"FAILED"), *lines[1:]]),
        ("a line is removed", lambda lines: [lines[0], *lines[2:]]),
        ("the first line is removed", lambda lines: lines[1:]),
        ("the last line is removed", lambda lines: lines[:-1]),
        ("all lines are removed", lambda lines: lines[:0]),
        ("two lines change places", lambda lines: [lines[1], lines[0], *lines[2:]]),
        ("a line stands twice", lambda lines: [*lines[:2], lines[1], *lines[2:]]),
        ("a line is put in", lambda lines: [lines[0], b'{"seq":2,"hash":"00"}\n', *lines[1:]]),
        ("the end is cut off", lambda lines: [*lines[:-1], lines[-1][:-9]]),
    ],
)
def test_an_edit_shows(ledger: Ledger, what: str, edit: object) -> None:
    for number in range(4):
        ledger.append("drill", {"verdict": "PROVEN", "number": number})
    assert callable(edit)
    ledger.path.write_bytes(b"".join(edit(_lines(ledger))))
    assert ledger.verify() != [], what
    # Whoever writes next covers nothing up.
    with contextlib.suppress(ConfigError):
        ledger.append("drill", {"verdict": "PROVEN", "number": 4})
        ledger.append("drill", {"verdict": "PROVEN", "number": 5})
    assert ledger.verify() != [], what


def test_what_was_cut_off_before_somebody_wrote_on_stays_a_fault(ledger: Ledger) -> None:
    for number in range(4):
        ledger.append("drill", {"verdict": "FAILED", "number": number})
    ledger.path.write_bytes(b"".join(_lines(ledger)[:2]))
    assert ledger.append("drill", {"verdict": "PROVEN"}).seq == 4
    assert [one.kind for one in ledger.entries()] == ["drill", "drill", "ledger-cut", "drill"]
    (fault,) = ledger.verify()
    assert fault.line == 3
    assert fault.message == "records were missing here: the last one was 2, and 4 had been written"
    with pytest.raises(ConfigError, match="records were missing here"):
        records(ledger.content())  # nobody goes on from such a copy


def test_another_last_record_stays_a_fault(tmp_path: Path, ledger: Ledger) -> None:
    ledger.append("drill", {"verdict": "FAILED"})
    other = Ledger(tmp_path / "forged.jsonl")
    other.append("drill", {"verdict": "PROVEN"})
    ledger.path.write_bytes(other.content())
    ledger.append("drill", {"verdict": "PROVEN"})
    assert [one.message for one in ledger.verify()] == [
        "records were missing here: record 1 was another one"
    ]


def test_a_forged_line_with_its_own_right_hash_shows(tmp_path: Path, ledger: Ledger) -> None:
    """Somebody who knows the format still has to write every later line anew."""
    other = Ledger(tmp_path / "forged.jsonl")
    for one in (ledger, other):
        one.append("drill", {"verdict": "FAILED" if one is ledger else "PROVEN"})
        one.append("drill", {"verdict": "PROVEN"})
    ledger.path.write_bytes(_lines(other)[0] + _lines(ledger)[1])
    (fault,) = ledger.verify()
    assert fault.line == 2


def test_a_removed_ledger_cannot_be_begun_anew(ledger: Ledger) -> None:
    ledger.append("drill", {"verdict": "FAILED"})
    ledger.path.unlink()
    assert ledger.verify() != []
    entry = ledger.append("drill", {"verdict": "PROVEN"})
    assert entry.seq == 2
    assert ledger.verify() != []


def test_a_stop_between_line_and_head_is_no_fault(ledger: Ledger) -> None:
    ledger.append("drill", {})
    head = ledger.path.with_name("ledger.jsonl.head")
    kept = head.read_bytes()
    ledger.append("drill", {})
    head.write_bytes(kept)
    assert ledger.verify() == []
    assert ledger.append("drill", {}).seq == 3
    assert ledger.verify() == []


def test_a_torn_line_is_set_aside_and_told(ledger: Ledger) -> None:
    ledger.append("drill", {})
    with ledger.path.open("ab") as file:
        file.write(b'{"seq":2,"at":"2026-')
    assert ledger.append("drill", {}).seq == 3
    assert [one.kind for one in ledger.entries()] == ["drill", "ledger-torn", "drill"]
    assert ledger.verify() == []


def test_a_torn_first_line_is_set_aside(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b'{"seq":1')
    assert ledger.append("drill", {}).seq == 2
    assert ledger.verify() == []


def test_what_is_no_ledger_is_left_alone(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b"something else\n")
    with pytest.raises(ConfigError, match="its last line is no record"):
        ledger.append("drill", {})
    assert ledger.path.read_bytes() == b"something else\n"


# From the newest one on


def test_records_come_from_the_newest_one_on(ledger: Ledger) -> None:
    assert list(ledger.backwards()) == []
    sizes = (10, 70_000, 200, 65_000, 3, 131_072)  # lines within, over and at the ends of blocks
    for number in sizes:
        ledger.append("drill", {"pad": "x" * number})
    forwards = list(ledger.entries())
    assert list(ledger.backwards()) == forwards[::-1]
    with ledger.path.open("ab") as file:
        file.write(b'{"seq":7,"at":"' + b"y" * 80_000)
    assert list(ledger.backwards()) == forwards[::-1]


def test_a_line_that_is_none_is_left_out_backwards_too(ledger: Ledger) -> None:
    for number in range(3):
        ledger.append("drill", {"number": number})
    lines = _lines(ledger)
    ledger.path.write_bytes(lines[0] + lines[1].replace(b"number", b"Number") + lines[2])
    assert [one.seq for one in ledger.backwards()] == [3, 1]


def test_nothing_is_written_when_it_is_decided_so(ledger: Ledger) -> None:
    ledger.append("drill", {})
    assert ledger.append_if("drill", lambda: None) is None
    entry = ledger.append_if("drill", lambda: {"records": len(list(ledger.entries()))})
    assert entry is not None
    assert (entry.seq, entry.fields) == (2, {"records": 1})
    assert ledger.verify() == []


# Going on from a copy


def _copy(tmp_path: Path, records: int = 3) -> bytes:
    other = Ledger(tmp_path / "other" / "ledger.jsonl")
    for number in range(records):
        other.append("backup", {"number": number})
    return other.content()


def test_a_lost_ledger_goes_on_from_a_copy(tmp_path: Path, ledger: Ledger) -> None:
    copy = _copy(tmp_path)
    entry = ledger.adopt(copy, {"records": 3})
    assert (entry.seq, entry.kind) == (4, "ledger-adopted")
    assert ledger.content().startswith(copy)
    assert ledger.verify() == []
    assert ledger.append("drill", {}).seq == 5
    assert ledger.verify() == []


def test_what_was_recorded_meanwhile_follows(tmp_path: Path, ledger: Ledger) -> None:
    meanwhile = [ledger.append("command", {"number": number}) for number in range(2)]
    ledger.adopt(_copy(tmp_path), {}, meanwhile)
    *_, first, second = ledger.entries()
    for one, old in zip((first, second), meanwhile, strict=True):
        assert (one.kind, one.at) == ("command", old.at)
        assert one.fields == {**old.fields, "carried": old.hash}
    assert ledger.verify() == []
    assert ledger.append("drill", {}).seq == 7


@pytest.mark.parametrize("known", [0, 2])
def test_somebody_who_was_faster_is_not_overwritten(
    tmp_path: Path, ledger: Ledger, known: int
) -> None:
    written = [ledger.append("command", {"number": number}) for number in range(3)]
    before = ledger.content()
    with pytest.raises(ConfigError, match="there is a ledger already"):
        ledger.adopt(_copy(tmp_path), {}, written[:known])
    assert ledger.content() == before
    assert ledger.verify() == []


def test_a_copy_that_is_broken_is_not_taken(tmp_path: Path, ledger: Ledger) -> None:
    for broken in (b"", b"something else\n", _copy(tmp_path).replace(b"backup", b"Backup", 1)):
        with pytest.raises(ConfigError, match="this copy is no ledger"):
            ledger.adopt(broken, {})
    assert not ledger.path.exists()


def test_no_room_for_a_copy_leaves_no_empty_ledger(tmp_path: Path) -> None:
    class Full(Ledger):
        @contextlib.contextmanager
        def _temporary(self, beside: Path, content: bytes) -> Iterator[Path]:
            if content:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield beside

    ledger = Full(tmp_path / "state" / "ledger.jsonl")
    with pytest.raises(StorageError, match="No space left"):
        ledger.adopt(_copy(tmp_path), {})
    assert not ledger.path.exists()


def test_who_waited_for_a_ledger_that_is_replaced_writes_into_the_new_one(
    tmp_path: Path, ledger: Ledger
) -> None:
    meanwhile = ledger.append("command", {})
    writer = threading.Thread(target=lambda: Ledger(ledger.path).append("drill", {}))

    class Slow(Ledger):
        """Somebody comes to wait while the copy is being written."""

        def _refuse_others(self, file: int, known: Sequence[Entry]) -> None:
            super()._refuse_others(file, known)
            writer.start()
            writer.join(0.2)

    Slow(ledger.path).adopt(_copy(tmp_path), {}, [meanwhile])
    writer.join()
    assert [one.kind for one in ledger.entries()][3:] == ["ledger-adopted", "command", "drill"]
    assert ledger.verify() == []


def test_a_place_that_cannot_be_written_is_told() -> None:
    with pytest.raises(StorageError, match="the ledger cannot be written") as caught:
        Ledger(Path("/proc/nowhere/ledger.jsonl")).append("drill", {})
    assert caught.value.code == "store-refused"


def _write_many(path: Path, writer: int) -> None:
    for number in range(25):
        Ledger(path).append("drill", {"writer": writer, "number": number, "pad": "x" * 3000})


def test_several_processes_take_turns(ledger: Ledger) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(ledger.path, one)) for one in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert ledger.verify() == []
    entries = list(ledger.entries())
    assert [one.seq for one in entries] == list(range(1, 76))
    for one in range(3):
        mine = [entry.fields["number"] for entry in entries if entry.fields["writer"] == one]
        assert mine == list(range(25))


def test_a_ledger_that_is_being_written_is_whole(ledger: Ledger) -> None:
    """Else a prune that verifies it would take a backup that ends for somebody's edit."""
    writer = threading.Thread(target=lambda: Ledger(ledger.path).append("drill", {}))

    class Interrupted(Ledger):
        """Somebody writes between the reading of the lines and of the head, or waits."""

        def _lines(self) -> Iterator[tuple[int, bytes]]:
            yield from super()._lines()
            writer.start()
            writer.join(0.2)

    ledger.append("drill", {})
    assert Interrupted(ledger.path).verify() == []
    writer.join()
    assert ledger.verify() == []
    assert len(list(ledger.entries())) == 2
