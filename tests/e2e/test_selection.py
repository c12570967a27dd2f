"""The latest snapshot is never silently an older one, and one bad repository stops nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_line import CONFIG, Place, make_place

TWO = CONFIG.replace("state:", "  second: {location: second, password: file:key}\nstate:")


def _codes(document: dict[str, Any]) -> set[str]:  # Any: JSON values
    return {one["code"] for one in document["findings"]}


def _backed_up(path: Path, config: str = CONFIG) -> Place:
    place = make_place(path, config)
    place.json("init")
    place.json("backup")
    (place.uploads / "lpos" / "new.txt").write_text("new")
    place.json("backup")
    return place


def _newest(place: Place) -> Path:
    return place.path / "local" / "snapshots" / str(place.snapshots()[-1]["id"])


@pytest.mark.parametrize("code", ["snapshot-unreadable", "snapshot-vanished"])
def test_a_lost_newest_snapshot_is_no_green_of_an_older_one(tmp_path: Path, code: str) -> None:
    place = _backed_up(tmp_path)
    file = _newest(place)
    if code == "snapshot-vanished":
        file.unlink()
    else:
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[::-1])
    drill = place.run("--json", "drill")
    assert drill.status == 41
    assert drill.document["verdict"] == "FAILED"
    assert code in _codes(drill.document)
    back = place.run("--json", "restore", "uploads", "--to", tmp_path / "back")
    assert back.status == 41
    assert code in _codes(back.document)
    assert any((tmp_path / "back").rglob("LPO-1.pdf"))
    listed = place.run("--json", "snapshots")
    assert listed.status == 3
    assert code in _codes(listed.document)
    check = place.run("--json", "check")
    assert check.status == 30
    assert code in _codes(check.document)


def test_a_store_that_cannot_be_listed_stops_nothing(tmp_path: Path) -> None:
    place = _backed_up(tmp_path, TWO)
    shutil.rmtree(tmp_path / "local" / "snapshots")
    (tmp_path / "local" / "snapshots").write_text("no folder")
    report = place.run("--json", "backup")
    assert "repository-failed" in _codes(report.document)
    assert [one["repository"] for one in report.document["snapshots"]] == ["second"]
    drill = place.json("drill")
    assert drill["verdict"] == "PROVEN"
    assert "repository-unreachable" in _codes(drill)


def test_a_ledger_that_cannot_be_read_stops_no_drill(tmp_path: Path) -> None:
    place = _backed_up(tmp_path, TWO)
    (tmp_path / "state" / "ledger.jsonl").unlink()
    (tmp_path / "state" / "ledger.jsonl").mkdir()
    answer = place.run("--json", "drill")
    assert answer.status == 41
    [drill] = answer.document["drills"]
    assert drill["checked"] == 7  # the files were compared all the same
    assert drill["verdict"] == "FAILED"
    assert _codes(drill) == {"ledger-broken", "evidence-unrecorded"}
