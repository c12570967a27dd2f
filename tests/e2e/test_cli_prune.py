"""Retention from the command line: reasons for each snapshot, and guards that restic hasn't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.command_line import Place
from tests.e2e.snapshot_history import backup, make_history, older
from tests.support.restic import stock_restics


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_history(tmp_path)


def test_a_dry_run_tells_and_removes_nothing(place: Place) -> None:
    model = backup(place, "one")
    dropped = [older(place, model, days) for days in (3, 2)]
    report = place.json("prune", "--dry-run")
    assert {one["id"] for one in report["drop"]} == set(dropped)
    assert all(one["because"] == ["no rule keeps it"] for one in report["drop"])
    (kept,) = (one for one in report["keep"] if one["id"] == model["id"])
    assert kept["because"] == ["last snapshot", "newest of its source"]
    assert len(place.snapshots()) == 3
    told = place.run("prune", "--dry-run")
    assert "drop" in told.text
    assert "newest of its source" in told.text


def test_dropping_most_wants_consent_and_is_remembered(place: Place) -> None:
    model = backup(place, "one")
    for days in (3, 2):
        older(place, model, days)
    refused = place.run("--json", "prune")
    assert refused.status == 2
    assert "2 of 3 snapshots" in refused.document["error"]["message"]
    assert len(place.snapshots()) == 3
    report = place.json("prune", "--yes")
    assert len(report["drop"]) == 2
    assert [one["id"] for one in place.snapshots()] == [model["id"]]
    # It was on purpose, so nothing is missed, and the application is provable as before.
    assert place.json("check")["findings"] == []
    assert place.json("drill")["verdict"] == "PROVEN"
    stock_restics()[0].check(place.path / "local")


def test_what_the_policy_drops_day_by_day_needs_nobody(place: Place) -> None:
    """Many captures between two prunes, as on a host that captures each hour."""
    for content in ("one", "two", "three", "four"):
        model = backup(place, content)
    assert place.run("prune").status == 0
    assert [one["id"] for one in place.snapshots()] == [model["id"]]
    for content in ("five", "six", "seven"):
        backup(place, content)
    assert place.run("prune").status == 0
    assert len(place.snapshots()) == 1


def test_another_policy_wants_consent_while_the_newest_capture_failed_and_after(
    place: Place,
) -> None:
    """A prune that may drop nothing does not make a mistaken policy the usual one."""
    _retain(place, "last: 1", "last: 9")
    for content in ("one", "two", "three"):
        backup(place, content)
    assert place.run("prune").status == 0
    _retain(place, "last: 9", "last: 1")
    away = place.path / "away"
    place.uploads.rename(away)
    assert place.run("backup").status != 0
    assert place.run("prune").status == 0
    away.rename(place.uploads)
    backup(place, "four")
    refused = place.run("--json", "prune")
    assert refused.document["error"]["code"] == "prune-unconfirmed"
    assert (
        "3 of the 3 that were not captured under this policy"
        in (refused.document["error"]["message"])
    )
    assert len(place.snapshots()) == 4


def _retain(place: Place, before: str, after: str) -> None:
    config = place.path / "strongroom.yaml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def test_the_newest_proven_stays(place: Place) -> None:
    proven = backup(place, "one")
    assert place.json("drill")["verdict"] == "PROVEN"
    newest = backup(place, "two")
    middle = older(place, newest, 0.0001)
    report = place.json("prune", "--dry-run")
    reasons = {one["id"]: one["because"] for one in report["keep"]}
    assert "newest proven of its source" in reasons[proven["id"]]
    assert newest["id"] in reasons
    assert [one["id"] for one in report["drop"]] == [middle] or middle in reasons


def test_while_the_newest_capture_failed_nothing_goes(place: Place) -> None:
    model = backup(place, "one")
    older(place, model, 2)
    place.uploads.rename(place.path / "moved")
    assert place.run("backup").status != 0
    report = place.json("prune", "--dry-run")
    assert report["drop"] == []
    assert any("newest capture failed" in one["because"][0] for one in report["keep"])


def test_after_an_unusually_small_capture_nothing_goes(place: Place) -> None:
    model = backup(place, "one")
    for days in (4, 3, 2):
        older(place, model, days, summary={"total_bytes_processed": 10**9})
    report = place.json("prune", "--dry-run")
    assert report["drop"] == []
    assert any("usual are" in one["because"][0] for one in report["keep"])


def test_what_is_not_ours_stays(place: Place) -> None:
    model = backup(place, "one")
    foreign = older(place, model, 9, tags=("somebody else's",))
    report = place.json("prune", "--dry-run")
    reasons = {one["id"]: one["because"] for one in report["keep"]}
    assert reasons[foreign] == ["of another application or source"]


def test_space_is_freed(place: Place) -> None:
    for content in ("one", "two", "three"):
        (place.uploads / "big").write_bytes(os.urandom(3_000_000))
        backup(place, content)
    # Packs of today are too young to go.
    report = place.json("prune", "--yes")
    assert report["repositories"][0]["packs"]["young"] > 0
    for pack in (place.path / "local" / "data").rglob("*"):
        os.utime(pack, (1_700_000_000, 1_700_000_000))
    report = place.json("prune", "--yes")
    assert report["freed_bytes"] > 5_800_000
    assert place.json("check", "--read-data")["findings"] == []
    stock_restics()[-1].check(place.path / "local")


def test_on_top_of_a_damaged_index_nothing_goes(place: Place) -> None:
    model = backup(place, "one")
    older(place, model, 2)
    listed = len(place.snapshots())
    (place.path / "local/index" / ("ab" * 32)).write_bytes(b"garbage")
    answer = place.run("--json", "prune", "--yes")
    assert answer.status != 0
    assert "index files are unreadable" in answer.document["error"]["message"]
    assert len(place.snapshots()) == listed
