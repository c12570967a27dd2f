"""For all ledgers: what was appended comes back, and any changed byte shows, of whatever kind the
record is."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.evidence import AUDIT_KINDS, Ledger
from tests.e2e.command_line import Place, make_place

_NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(
    lambda name: name not in {"seq", "at", "kind", "previous", "hash"}
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
_FIELDS = st.dictionaries(_NAMES, _LEAVES | st.lists(_LEAVES, max_size=3), max_size=4)
_KINDS = st.sampled_from(["drill", "key-add", *sorted(AUDIT_KINDS)])


@settings(max_examples=60)
@given(records=st.lists(st.tuples(_KINDS, _FIELDS), min_size=1, max_size=5), data=st.data())
def test_any_changed_byte_shows(
    records: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for kind, fields in records:
            ledger.append(kind, fields)
        assert [(one.kind, dict(one.fields)) for one in ledger.entries()] == records
        assert list(ledger.backwards()) == list(ledger.entries())[::-1]
        assert ledger.verify() == []
        content = bytearray(ledger.path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        ledger.path.write_bytes(content)
        assert ledger.verify() != []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An application whose repositories are away: nothing but the chain can tell."""
    made = make_place(tmp_path_factory.mktemp("edited"))
    (made.path / "state").mkdir()
    ledger = Ledger(made.path / "state/ledger.jsonl")
    for number in range(4):
        ledger.append("drill", {"application": "tms", "source": "uploads", "verdict": "PROVEN"})
        ledger.append("backup", {"application": "tms", "point": f"p{number}", "snapshots": []})
        ledger.append("command-begun", {"application": "tms", "command": "dump", "run": "r"})
        ledger.append("command", {"application": "tms", "command": "dump", "exit_status": 0})
    return made


@settings(max_examples=60)
@given(data=st.data())
def test_verify_names_the_line_of_any_edit(place: Place, data: st.DataObject) -> None:
    path = place.path / "state/ledger.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    edit = data.draw(st.sampled_from(["a byte", "removed", "twice", "exchanged"]))
    if edit == "a byte":
        line = bytearray(lines[number])
        at = data.draw(st.integers(0, len(line) - 2))
        line[at] ^= data.draw(st.integers(1, 255).filter(lambda one: line[at] ^ one != 10))
        lines[number] = bytes(line)
    elif edit == "removed":
        del lines[number]
    elif edit == "twice":
        lines.insert(number, lines[number])
    else:
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda one: one != number))
        lines[number], lines[other] = lines[other], lines[number]
        number = min(number, other)
    first = number + (2 if edit == "twice" else 1)
    try:
        path.write_bytes(b"".join(lines))
        answer = place.run("log", "--verify")
    finally:
        path.write_bytes(whole)
    assert answer.status == 37
    assert f"line {first}: " in answer.text.splitlines()[0]
    assert place.run("log", "--verify").status == 3  # nothing to compare with
