"""A recovery point's record: in every repository, kept with its snapshots, believed no further
than they bear it out; and points that have none, or a damaged one, come back all the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from strongroom.config import load_settings
from strongroom.repository import Folder, SnapshotWriter
from strongroom.service.application import Application
from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import git, make_application
from tests.support.point_ground import put_record
from tests.support.repository_ground import PASSWORD, new_repository
from tests.support.restic import stock_restics

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
retention: {local: {last: 1}, second: {last: 1}, code: {last: 1}, uploads: {last: 1}}
state: state
"""
REPOSITORIES = ("local", "second")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path / "tms", CONFIG)
    (made.path / "key").write_text(PASSWORD + "\n")
    make_application(made.path / "app")
    for name in REPOSITORIES:
        new_repository(made.path / name)
    return made


def codes(document: dict[str, Any]) -> set[str]:
    return {one["code"] for one in document["findings"]}


def holders(place: Place, repository: str) -> list[dict[str, Any]]:
    """The snapshots in which records lie, as stock restic lists them, oldest first."""
    restic = stock_restics()[0]
    listed = json.loads(
        restic.run(place.path / repository, "snapshots", "--tag", "kind:ledger", "--json")
    )
    return [one for one in listed if any(tag.startswith("point:") for tag in one["tags"])]


def record(place: Place, repository: str, holder: dict[str, Any], target: Path) -> dict[str, Any]:
    """The record as anybody gets it with stock restic."""
    restic = stock_restics()[0]
    restic.run(place.path / repository, "restore", holder["id"], "--target", target)
    read: dict[str, Any] = json.loads((target / ".strongroom/point.json").read_text())
    return read


def points(place: Place) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = place.json("snapshots", "--points")["points"]
    return listed


def lose_packs_of(place: Place, repository: str, holder: dict[str, Any]) -> None:
    """The packs that this snapshot alone needs are cut: its record cannot be read."""
    application = Application(load_settings(place.config))
    opened = application.repository(repository)
    packs = set()
    for node in opened.read_tree(holder["tree"]):
        assert node.subtree is not None
        from strongroom.repository import BlobType

        packs.add(opened.locate(BlobType.TREE, bytes.fromhex(node.subtree)).pack)
    application.close()
    for pack in packs:
        path = place.path / repository / "data" / pack[:2] / pack
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:40])


def test_a_record_lies_in_each_repository(place: Place, tmp_path: Path) -> None:
    report = place.json("backup")
    commit = git(place.path / "app", "rev-parse", "HEAD")
    read = [record(place, name, holders(place, name)[0], tmp_path / name) for name in REPOSITORIES]
    assert read[0] == read[1]
    assert read[0]["point"] == report["recovery_point"]
    assert read[0]["wanted"] == ["uploads", "code"]
    assert [one["source"] for one in read[0]["sources"]] == ["uploads", "code"]
    assert read[0]["sources"][1]["commit"] == commit
    ids = {(one["source"], one["repository"]): one["id"] for one in report["snapshots"]}
    for one in read[0]["sources"]:
        assert one["snapshots"] == {name: ids[one["source"], name] for name in REPOSITORIES}
        assert one["begun_at"] < one["ended_at"]
    assert (read[0]["certainty"], read[0]["missing"]) == ("certain", [])
    for name in REPOSITORIES:
        stock_restics()[0].check(place.path / name)
    assert place.json("check", "--read-data")["findings"] == []


def test_the_listing_shows_points_also_without_a_ledger(place: Place) -> None:
    place.json("backup")
    (place.uploads / "more").write_text("more")
    partly = place.json("backup", "uploads")["recovery_point"]
    listed = points(place)
    assert [one["certainty"] for one in listed] == ["certain", "incomplete"]
    assert listed[0]["commits"] == {"code": git(place.path / "app", "rev-parse", "HEAD")}
    assert (listed[1]["id"], listed[1]["missing"]) == (partly, ["code"])
    assert listed[1]["because"] == ["code is missing: not asked for"]
    shutil.rmtree(place.path / "state")
    assert points(place) == listed
    text = place.run("snapshots", "--points").text
    assert partly in text
    assert "incomplete: code is missing" in text
    assert place.run("snapshots", "--points", "pin", "x").status == 2


def test_a_record_stays_as_long_as_a_snapshot_of_its_point(place: Place) -> None:
    ids = [place.json("backup")["recovery_point"]]
    (place.uploads / "more").write_text("more")
    ids.append(place.json("backup")["recovery_point"])
    place.json("snapshots", "pin", place.snapshots()[0]["id"])
    place.json("prune", "--yes")
    for name in REPOSITORIES:
        told = {tag for one in holders(place, name) for tag in one["tags"] if "point:" in tag}
        assert told == {f"point:{one}" for one in ids}, "the first one is pinned"
    place.json("snapshots", "unpin", place.snapshots()[0]["id"])
    place.json("prune", "--yes")
    for name in REPOSITORIES:
        told = {tag for one in holders(place, name) for tag in one["tags"] if "point:" in tag}
        assert told == {f"point:{ids[1]}"}
        stock_restics()[0].check(place.path / name)
    assert [one["certainty"] for one in points(place)] == ["certain"]


def test_copy_carries_records_along(place: Place) -> None:
    shutil.move(place.path / "second", place.path / "away")
    assert place.run("backup").status == 3
    assert place.run("backup").status == 3
    shutil.move(place.path / "away", place.path / "second")
    place.json("copy", "--from", "local", "--to", "second")
    assert len(holders(place, "second")) == len(holders(place, "local")) == 2
    place.json("copy", "--from", "local", "--to", "second")
    assert len(holders(place, "second")) == 2
    shutil.rmtree(place.path / "state")
    shutil.rmtree(place.path / "local")
    new_repository(place.path / "local")
    assert [one["certainty"] for one in points(place)] == ["certain", "certain"]
    stock_restics()[0].check(place.path / "second")


def test_what_was_away_gets_the_records_that_it_missed(place: Place) -> None:
    place.json("backup")
    shutil.move(place.path / "second", place.path / "away")
    (place.uploads / "more").write_text("more")
    assert place.run("backup").status == 3
    shutil.move(place.path / "away", place.path / "second")
    place.json("backup")
    tags = [{one["tags"][-2] for one in holders(place, name)} for name in REPOSITORIES]
    assert tags[0] == tags[1]
    assert len(tags[0]) == 3


def test_stock_restic_copies_records_as_well(place: Place) -> None:
    place.json("backup")
    restic = stock_restics()[0]
    restic.run(place.path / "third", "init")
    restic.run(
        place.path / "third", "copy", "--from-repo", place.path / "local",
        RESTIC_FROM_PASSWORD=PASSWORD,
    )  # fmt: skip
    place.write_config(CONFIG.replace("second", "third"))
    shutil.rmtree(place.path / "state")
    (listed,) = points(place)
    assert listed["certainty"] == "certain"
    report = place.json("drill", "--repository", "third")
    assert (report["verdict"], report["point"]["certainty"]) == ("PROVEN", "certain")


def test_a_drill_is_of_one_point_from_one_repository(place: Place) -> None:
    place.json("backup")
    first = place.json("drill")
    assert first["verdict"] == "PROVEN"
    assert first["point"]["id"] == points(place)[0]["id"]
    assert {one["repository"] for one in first["drills"]} == {first["point"]["repository"]}
    second = place.json("drill")
    both = {first["point"]["repository"], second["point"]["repository"]}
    assert both == set(REPOSITORIES)
    assert len(first["evidence"]) == 3
    assert place.json("drill", "--repository", "local")["point"]["repository"] == "local"


def test_a_chosen_point_is_drilled_and_older_ones_have_their_turn(place: Place) -> None:
    ids = []
    for number in range(2):
        (place.uploads / "changing").write_text(str(number))
        ids.append(place.json("backup")["recovery_point"])
    assert place.json("drill", "--point", ids[0].upper())["point"]["id"] == ids[0]
    both = place.run("--json", "drill", "--point", ids[0][:4])
    assert both.status == 26
    assert "several recovery points" in both.document["error"]["message"]
    assert place.run("drill", "--point", "zzz").status == 26
    drilled = [place.json("drill", "--next", "--repository", "local")["point"] for _ in range(8)]
    assert [one["id"] == ids[0] for one in drilled[-4:]].count(True) == 1
    turn = next(one for one in drilled[-4:] if one["id"] == ids[0])
    assert any("an older point's turn" in reason for reason in turn["because"])


def test_what_vanished_is_told_at_an_older_points_turn_as_well(place: Place) -> None:
    for number in range(2):
        (place.uploads / "changing").write_text(str(number))
        place.json("backup")
    for _ in range(3):
        place.json("drill", "--next", "--repository", "local")
    (place.uploads / "changing").write_text("gone")
    report = place.json("backup", "uploads")
    for one in report["snapshots"]:
        (place.path / one["repository"] / "snapshots" / one["id"]).unlink()
    answer = place.run("--json", "drill", "--next", "--repository", "local")
    assert (answer.status, codes(answer.document)) == (41, {"snapshot-vanished"})
    assert "an older point's turn" in answer.document["point"]["because"][1]
    assert {one["verdict"] for one in answer.document["drills"]} == {"PROVEN"}


def test_a_capture_of_one_source_is_no_whole_point(place: Place) -> None:
    """As a deployment's hook makes it: the drill is of the point before."""
    whole = place.json("backup")["recovery_point"]
    git(place.path / "app", "commit", "-q", "--allow-empty", "-m", "More")
    place.json("backup", "code")
    report = place.json("drill")
    assert (report["verdict"], report["point"]["id"]) == ("PROVEN", whole)
    shutil.rmtree(place.path / "state")
    assert place.json("drill")["point"]["id"] == whole


def test_where_no_point_is_whole_each_source_is_drilled_by_itself(place: Place) -> None:
    place.json("backup", "uploads")
    place.json("backup", "code")
    report = place.json("drill")
    assert (report["verdict"], report["point"]) == ("PROVEN", None)
    assert [one["source"] for one in report["drills"]] == ["uploads", "code"]


def test_a_source_that_failed_leaves_the_point_incomplete(place: Place) -> None:
    place.json("backup")
    (place.path / "app").rename(place.path / "gone")
    failed = place.run("--json", "backup")
    assert failed.status == 3
    answer = place.run("--json", "drill")
    assert answer.status == 42
    assert answer.document["point"]["id"] == failed.document["recovery_point"]
    assert answer.document["point"]["certainty"] == "incomplete"
    (told,) = [one for one in answer.document["findings"] if one["code"] == "point-incomplete"]
    assert "code" in told["message"]
    # What there is of it from before is drilled all the same.
    verdicts = {one["source"]: one["verdict"] for one in answer.document["drills"]}
    assert verdicts == {"uploads": "PROVEN", "code": "PROVEN"}
    shutil.rmtree(place.path / "state")
    assert place.run("drill").status == 42, "nor does a host without a ledger take it for whole"
    assert "all in all: recovery point" in place.run("drill").text


def test_a_source_of_the_point_that_vanished_is_told(place: Place) -> None:
    place.json("backup")
    for one in place.snapshots():
        if one["source"] == "code":
            (place.path / one["repository"] / "snapshots" / one["id"]).unlink()
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert {"point-incomplete", "snapshot-vanished"} <= codes(answer.document)


def test_a_source_comes_from_another_repository_where_it_must(place: Place) -> None:
    place.json("backup")
    for one in place.snapshots():
        wanted = ("code", "local") if one["source"] == "code" else ("uploads", "second")
        if (one["source"], one["repository"]) == wanted:
            (place.path / one["repository"] / "snapshots" / one["id"]).unlink()
    place.json("snapshots", "acknowledge", "--all")
    report = place.json("drill")
    assert (report["verdict"], report["point"]["repository"]) == ("PROVEN", None)
    assert {one["source"]: one["repository"] for one in report["drills"]} == {
        "uploads": "local",
        "code": "second",
    }


def test_points_of_before_there_were_records_still_work(place: Place) -> None:
    point = place.json("backup")["recovery_point"]
    for name in REPOSITORIES:
        for one in holders(place, name):
            (place.path / name / "snapshots" / one["id"]).unlink()
    shutil.rmtree(place.path / "state")
    report = place.json("drill")
    assert (report["verdict"], report["point"]["id"]) == ("PROVEN", point)
    assert report["point"]["certainty"] is None
    (listed,) = points(place)
    assert (listed["id"], listed["certainty"]) == (point, None)
    assert "no record" in place.run("snapshots", "--points").text


def test_a_record_that_is_not_where_it_was_is_told(place: Place) -> None:
    place.json("backup")
    for one in holders(place, "local"):
        (place.path / "local" / "snapshots" / one["id"]).unlink()
    report = place.json("drill", "--repository", "local")
    assert (report["verdict"], codes(report)) == ("PROVEN", {"point-unrecorded"})


def test_a_damaged_record_makes_the_point_unknown_and_nothing_else(place: Place) -> None:
    place.json("backup")
    lose_packs_of(place, "local", holders(place, "local")[0])
    answer = place.run("--json", "drill", "--repository", "local")
    assert answer.status == 42
    assert codes(answer.document) == {"point-unreadable"}
    assert {one["verdict"] for one in answer.document["drills"]} == {"PROVEN"}
    assert place.json("drill", "--repository", "second")["verdict"] == "PROVEN"
    shutil.rmtree(place.path / "state")
    assert points(place)[0]["certainty"] == "certain", "the other repository has it"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format": 1}', b"[" * 100_000])
def test_what_is_no_record_is_not_taken_for_one(place: Place, content: bytes) -> None:
    point = place.json("backup")["recovery_point"]
    put_record(place, point, content)
    answer = place.run("--json", "drill", "--repository", "local")
    assert answer.status == 42
    assert codes(answer.document) == {"point-unreadable"}


def test_an_altered_record_fails(place: Place, tmp_path: Path) -> None:
    """Whoever has the key can write another one; snapshots and ledger don't bear it out."""
    point = place.json("backup")["recovery_point"]
    fields = record(place, "local", holders(place, "local")[0], tmp_path / "record")
    fields["sources"][0]["tree"] = "00" * 32
    put_record(place, point, json.dumps(fields).encode())
    for has_ledger in (True, False):
        if not has_ledger:
            shutil.rmtree(place.path / "state")
        answer = place.run("--json", "drill", "--repository", "local")
        assert answer.status == 41
        assert "point-differs" in codes(answer.document)
    fields["point"] = "0" * 26
    put_record(place, point, json.dumps(fields).encode())
    assert "point-unreadable" in codes(
        place.run("--json", "drill", "--repository", "local").document
    )


def test_a_record_that_could_not_be_stored_is_told(place: Place) -> None:
    place.json("backup")
    ledger = place.path / "state/ledger.jsonl"
    for file in (place.path / "state").glob("ledger.jsonl*"):
        file.unlink()
    ledger.mkdir()
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert {"evidence-unrecorded", "point-unrecorded"} <= codes(answer.document)


def test_a_snapshot_of_another_tool_changes_nothing(place: Place) -> None:
    place.json("backup")
    application = Application(load_settings(place.config))
    repository = application.repository("local")
    with SnapshotWriter([repository], application.writer_options()) as writer:
        folder = Folder(0)
        folder.add(b"/x", writer.put_bytes(b"x"))
        from datetime import UTC, datetime

        writer.commit(folder.store(writer), paths=["/x"], tags=["point:x"], time=datetime.now(UTC))
    application.close()
    assert place.json("drill")["verdict"] == "PROVEN"
    assert len(points(place)) == 1


def test_stock_restic_lists_it_like_anything_else(place: Place) -> None:
    place.json("backup")
    listed = subprocess.run(
        ["restic", "-r", place.path / "local", "--password-file", place.path / "key", "--no-cache",
         "ls", "latest", "--tag", "kind:ledger"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "/.strongroom/point.json" in listed
    assert "/.strongroom/ledger.jsonl" in listed
