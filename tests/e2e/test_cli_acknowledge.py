"""Vanished snapshots fail everything until somebody says that this is known, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_line import CONFIG, Answer, Place
from tests.e2e.snapshot_history import make_history
from tests.support.demo_ground import error_of

TWO = CONFIG.replace("state:", "  second: {location: second, password: file:key}\nstate:")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_two(tmp_path, CONFIG)


def make_two(path: Path, config: str) -> Place:
    """An application with two recovery points."""
    made = make_history(path, config)
    made.json("backup")
    (made.uploads / "more").write_text("more")
    made.json("backup")
    return made


def lose(place: Place, number: int, repository: str = "local") -> str:
    """Remove the file of a snapshot behind our back; its id."""
    listed = place.run("--json", "snapshots").document["snapshots"]
    found = [one for one in listed if one["repository"] == repository]
    lost = str(found[number]["id"])
    (place.path / repository / "snapshots" / lost).rename(place.path / lost)
    return lost


def codes(answer: Answer) -> list[str]:
    return [one["code"] for one in answer.document["findings"]]


def records(place: Place) -> list[dict[str, Any]]:  # Any: JSON values
    lines = (place.path / "state" / "ledger.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == "acknowledge"]


def statuses(place: Place) -> list[int]:
    """Of all that look for vanished snapshots."""
    commands = (["snapshots"], ["drill"], ["check"])
    return [place.run(*command).status for command in commands]


def test_what_vanished_fails_until_it_is_acknowledged(place: Place) -> None:
    lost = lose(place, 1)
    assert statuses(place) == [3, 41, 30]
    done = place.json("snapshots", "acknowledge", lost[:8], "--reason", "forget by Amina")
    assert done["acknowledged"] == [{"repository": "local", "id": lost, "source": "uploads"}]
    assert statuses(place) == [0, 0, 0]
    (record,) = records(place)
    assert record["snapshots"] == done["acknowledged"]
    assert record["reason"] == "forget by Amina"
    assert "@" in record["by"]
    assert record["at"]
    # What vanishes after that fails again.
    place.json("backup")
    lose(place, 1)
    assert statuses(place) == [3, 41, 30]


def test_all_at_once(tmp_path: Path) -> None:
    place = make_two(tmp_path, TWO)
    lost = {lose(place, 0), lose(place, 0, "second")}
    assert place.run("snapshots").status == 3
    answer = place.run("snapshots", "acknowledge", "--all")
    assert answer.status == 0
    assert answer.text.splitlines()[-1] == "2 snapshots acknowledged"
    assert {one["id"] for record in records(place) for one in record["snapshots"]} == lost
    assert statuses(place) == [0, 0, 0]
    again = place.json("snapshots", "acknowledge", "--all")
    assert again["acknowledged"] == []
    assert len(records(place)) == 1


def test_one_that_comes_back_is_as_good_as_before(place: Place) -> None:
    lost = lose(place, 1)
    place.json("snapshots", "acknowledge", lost)
    (place.path / lost).rename(place.path / "local" / "snapshots" / lost)
    assert [one["id"] for one in place.snapshots()][1] == lost
    drill = place.json("drill")
    assert (drill["verdict"], drill["drills"][0]["snapshot"]) == ("PROVEN", lost)
    assert statuses(place) == [0, 0, 0]


def test_one_that_is_copied_back_is_missed_again(tmp_path: Path) -> None:
    place = make_two(tmp_path, TWO)
    place.json("snapshots", "acknowledge", lose(place, 1))
    place.json("copy", "--from", "second", "--to", "local")
    assert len(place.snapshots()) == 4
    lose(place, 1)
    assert place.run("snapshots").status == 3


def test_what_is_not_gone_cannot_be_acknowledged(place: Place) -> None:
    lost = lose(place, 0)
    (there,) = [str(one["id"]) for one in place.run("--json", "snapshots").document["snapshots"]]
    cases = {
        there[:12]: "it is there, in local",
        "123abc": "no snapshot that was stored and is gone has this id",
        "": "no snapshot",
        "latest:uploads": "no snapshot",
    }
    for wanted, message in cases.items():
        error = error_of(
            place.run("--json", "snapshots", "acknowledge", wanted), 26, "snapshot-missing"
        )
        assert message in error["message"]
        assert f"{lost[:8]} of uploads in local" in error["hint"]
    # Of two, one of which is wrong, none is acknowledged.
    error_of(place.run("--json", "snapshots", "acknowledge", lost, "123"), 26, "snapshot-missing")
    assert records(place) == []
    assert place.run("snapshots").status == 3
    place.json("snapshots", "acknowledge", lost)
    known = error_of(place.run("--json", "snapshots", "acknowledge", lost), 26, "snapshot-missing")
    assert "it was acknowledged on" in known["message"]
    assert known["hint"] == "Leave it: nothing is gone."


def test_what_prune_dropped_needs_no_acknowledgement(place: Place) -> None:
    place.write_config(CONFIG.replace("state:", "retention: {local: {last: 1}}\nstate:"))
    dropped = str(place.snapshots()[0]["id"])
    place.json("prune", "--yes")
    error = error_of(
        place.run("--json", "snapshots", "acknowledge", dropped), 26, "snapshot-missing"
    )
    assert "it was dropped by a prune of" in error["message"]


def test_what_cannot_be_looked_at_is_not_acknowledged(tmp_path: Path) -> None:
    """A store that is away has lost nothing yet, as far as anybody knows."""
    place = make_two(tmp_path, TWO)
    lost = lose(place, 0)
    away = next(str(one["id"]) for one in place.run("--json", "snapshots").document["snapshots"]
                if one["repository"] == "second")  # fmt: skip
    (tmp_path / "second").rename(tmp_path / "unmounted")
    error = error_of(place.run("--json", "snapshots", "acknowledge", away), 26, "snapshot-missing")
    assert "it is in second, which could not be asked" in error["message"]
    partly = place.run("--json", "snapshots", "acknowledge", "--all")
    assert partly.status == 3
    assert codes(partly) == ["repository-unreachable"]
    assert [one["id"] for one in partly.document["acknowledged"]] == [lost]


def test_several_that_are_gone_want_more_digits(place: Place) -> None:
    """Ids are random, so their beginnings are made alike in the ledger."""
    from strongroom.evidence import Ledger

    for digit in "ab":
        stored = [{"id": "12" * 31 + "0" + digit, "source": "uploads", "tree": "00"}]
        fields = {"application": "tms", "from": "x", "to": "local", "snapshots": stored}
        Ledger(place.path / "state" / "ledger.jsonl").append("copy", fields)
    answer = place.run("--json", "snapshots", "acknowledge", "1212")
    error = error_of(answer, 26, "snapshot-missing")
    assert "several that are gone have ids that begin so" in error["message"]
    assert place.json("snapshots", "acknowledge", "12" * 31 + "0A")["acknowledged"]


def test_ids_or_all_are_wanted(place: Place) -> None:
    for arguments in ([], ["1234", "--all"]):
        answer = place.run("--json", "snapshots", "acknowledge", *arguments)
        assert "--all" in error_of(answer, 2, "usage")["hint"]


def test_an_acknowledgement_that_cannot_be_written_down_is_none(place: Place) -> None:
    lost = lose(place, 0)
    ledger = place.path / "state" / "ledger.jsonl"
    last = ledger.read_bytes()
    ledger.write_bytes(last + b"no record\n")
    error_of(place.run("--json", "snapshots", "acknowledge", lost), 2, "config-invalid")
    ledger.write_bytes(last)
    assert place.run("snapshots").status == 3
