"""`check --read-data=SUBSET`: a little at a time, remembered, and everything in the end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.command_line import CONFIG, Place, make_place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Ten captures, so that there are many packs."""
    made = make_place(tmp_path)
    made.json("init")
    for number in range(10):
        (made.uploads / f"lpos/{number}").write_bytes(os.urandom(50_000))
        made.json("backup")
    return made


def read_once(place: Place, *options: str) -> dict[str, object]:
    report = place.json("check", *options)
    (one,) = report["repositories"]
    assert one["sound"]
    assert isinstance(one, dict)
    return one


def test_a_share_each_day_comes_to_every_byte(place: Place) -> None:
    held = sum(
        file.stat().st_size for file in (place.path / "local/data").rglob("*") if file.is_file()
    )
    left, rounds, total = held, 0, 0
    while left:
        one = read_once(place, "--read-data=20%")
        # A fifth of all, or what is left when that is less.
        assert int(str(one["bytes_read"])) >= min(0.2 * held, left)
        total += int(str(one["bytes_read"]))
        assert int(str(one["never_read_bytes"])) < left
        left = int(str(one["never_read_bytes"]))
        rounds += 1
        assert rounds <= 5
    assert total >= held
    assert one["oldest_read_at"] is not None


def test_what_was_read_lately_is_not_due(place: Place) -> None:
    first = read_once(place, "--read-data")
    assert int(str(first["packs_read"])) == first["packs"]
    again = read_once(place, "--max-age", "30d")
    assert (again["packs_read"], again["bytes_read"]) == (0, 0)
    place.json("backup")  # new packs were never read
    later = read_once(place, "--read-data=1TiB", "--max-age", "30d")
    assert 0 < int(str(later["packs_read"])) < int(str(later["packs"]))
    assert read_once(place, "--max-age", "0s")["packs_read"] == later["packs"]


def test_what_is_due_and_does_not_fit_is_said(place: Place) -> None:
    report = place.json("check", "--read-data=1KiB", "--max-age", "30d")
    assert [one["code"] for one in report["findings"]] == ["pack-unread"]
    told = place.run("check", "--max-duration", "0s", "--max-age", "30d")
    assert told.status == 0
    assert "were not read for 30d" in told.text
    assert place.json("check", "--max-duration", "0s")["bytes_read"] == 0


def test_damage_is_found_in_the_part_that_is_read(place: Place) -> None:
    packs = sorted(file for file in (place.path / "local/data").rglob("*") if file.is_file())
    for pack in packs:
        content = bytearray(pack.read_bytes())
        content[10] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    answer = place.run("--json", "check", "--read-data=30%")
    assert answer.status == 30
    damaged = [one for one in answer.document["findings"] if one["code"] == "pack-content"]
    assert (
        len({one["subject"] for one in damaged}) == answer.document["repositories"][0]["packs_read"]
    )


@pytest.mark.parametrize("wanted", ["--read-data=ten", "--read-data=0%", "--max-age=1y"])
def test_bad_amounts_are_refused(place: Place, wanted: str) -> None:
    answer = place.run("--json", "check", wanted)
    assert answer.status == 2
    assert "such as" in json.dumps(answer.document["error"])


def test_the_repository_may_stand_behind_the_option(place: Place) -> None:
    assert place.json("check", "--read-data", "local")["bytes_read"] > 0


_SECOND = "  away: {location: away, password: file:key}\n"
_THIRD = "  third: {location: third, password: file:key}\n"


def test_one_that_is_away_keeps_no_other_from_being_checked(tmp_path: Path) -> None:
    text = CONFIG.replace("  local:", f"{_SECOND}  local:").replace("state:", f"{_THIRD}state:")
    place = make_place(tmp_path, text)
    place.json("init")
    place.json("backup")
    (tmp_path / "away").rename(tmp_path / "gone")
    next(one for one in (tmp_path / "third/data").rglob("*") if one.is_file()).unlink()
    told = place.run("check")
    assert told.status == 21, told.text + told.err
    assert "local: sound" in told.text
    assert "third: DAMAGED" in told.text
    assert "pack-missing" in told.text
    assert f"Error: {tmp_path / 'away'}" in told.text
    answer = place.run("--json", "check")
    assert answer.status == 21
    (error,) = answer.document["errors"]
    assert (error["repository"], error["code"]) == ("away", "store-missing")
    sound = {one["repository"]: one["sound"] for one in answer.document["repositories"]}
    assert sound == {"local": True, "third": False}
    alone = place.run("--json", "check", "away")
    assert (alone.status, alone.document["error"]["code"]) == (21, "store-missing")
    (tmp_path / "gone").rename(tmp_path / "away")
    whole = place.run("--json", "check")
    assert (whole.status, whole.document["errors"]) == (30, [])
