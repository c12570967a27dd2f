"""A bucket read as it was before an attack, through every command that reads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.command_line import Place
from tests.e2e.offsite_place import LOCAL, backup, between, content, pruned
from tests.support.bucket_ground import new_bucket
from tests.support.store_servers import S3Server

pytestmark = pytest.mark.xdist_group("immutability")


def test_what_an_attacker_removed_and_overwrote_comes_back(
    moto: S3Server, at: Callable[..., Place], tmp_path: Path
) -> None:
    bucket = new_bucket(moto, versions=True)
    place = at(bucket, others=LOCAL)
    place.json("init")
    (place.uploads / "big").write_bytes(os.urandom(3_000_000))
    _, first = (one["id"] for one in place.json("backup")["snapshots"])
    expected = content(place.uploads)
    moment = between()
    bucket.wreck()
    shutil.rmtree(place.path / "local")
    shutil.rmtree(place.uploads)
    assert place.run("restore", "uploads", "--to", tmp_path / "lost").status != 0

    as_of = ("--store-as-of", moment.isoformat())
    report = place.json("restore", "uploads", "--to", tmp_path / "back", *as_of)
    assert report["verdict"] == "PROVEN"
    assert content(tmp_path / "back") == expected
    assert {one["code"] for one in report["findings"]} == {"repository-unreachable"}, "local's"
    listed = place.json("snapshots", "-r", "offsite", *as_of)
    assert [one["id"] for one in listed["snapshots"]] == [first]
    assert listed["findings"] == []
    assert place.json("check", "offsite", "--read-data", *as_of)["findings"] == []
    assert place.json("drill", "-r", "offsite", *as_of)["verdict"] == "PROVEN"
    target = ("--target", tmp_path / "back")
    assert place.json("prove", "uploads", *target, "-r", "offsite", *as_of)["verdict"] == "PROVEN"
    entries = place.json("ls", "latest:uploads", "-R", "-r", "offsite", *as_of)["entries"]
    assert len(entries) > len(expected)
    dumped = ("dump", first, f"{place.uploads}/big", "-r", "offsite", "-o", tmp_path / "big")
    place.json(*dumped, *as_of)
    assert (tmp_path / "big").read_bytes() == expected["big"]
    place.json("export", first, "-f", "tar", "-o", tmp_path / "all.tar", *as_of)
    assert not any(place.json("diff", first, first, *as_of)[kind] for kind in ("added", "changed"))
    # ... and into a fresh repository, which is seen as it is now.
    place.write_config(place.config.read_text().replace(LOCAL, LOCAL.replace("local", "fresh")))
    place.run("init")
    copied = place.json("copy", "--from", "offsite", "--to", "fresh", *as_of)
    assert [one["from_id"] for one in copied["snapshots"]] == [first]
    assert place.json("drill", "-r", "fresh")["verdict"] == "PROVEN"


def test_a_proof_of_the_past_says_nothing_about_now(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    bucket = new_bucket(moto, versions=True)
    place = at(bucket)
    place.json("init")
    backup(place, b"one")
    moment = between()
    assert place.json("drill", "--store-as-of", moment.isoformat())["verdict"] == "PROVEN"
    assert [one["verdict"] for one in place.snapshots()] == ["UNKNOWN"]
    assert place.json("drill")["verdict"] == "PROVEN"
    assert [one["verdict"] for one in place.snapshots()] == ["PROVEN"]


def test_what_came_later_is_not_missed_in_the_past(
    moto: S3Server, at: Callable[..., Place]
) -> None:
    """Nor what prune dropped later; while what was lost by then is a failure as ever."""
    bucket = new_bucket(moto, versions=True)
    place = at(bucket)
    place.json("init")
    first = backup(place, b"one")["id"]
    moment = between()
    backup(place, b"two")
    pruned(place)
    as_of = ("--store-as-of", moment.isoformat())
    assert [one["id"] for one in place.json("snapshots", *as_of)["snapshots"]] == [first]
    assert place.json("drill", *as_of)["verdict"] == "PROVEN"
    assert first not in {one["id"] for one in place.snapshots()}
    bucket.storage().delete(f"snapshots/{place.snapshots()[0]['id']}")
    between()
    later = datetime.now(UTC) + timedelta(minutes=2)
    answer = place.run("--json", "snapshots", "--store-as-of", later.isoformat())
    assert answer.status == 3
    assert {one["code"] for one in answer.document["findings"]} == {"snapshot-vanished"}


def test_only_what_reads_looks_into_the_past(moto: S3Server, at: Callable[..., Place]) -> None:
    place = at(new_bucket(moto, versions=True), others=LOCAL)
    place.json("init")
    for command in (["backup"], ["prune"], ["init"], ["unlock"]):
        refused = place.run("--json", *command, "--store-as-of", "2026-11-22 14:00")
        assert refused.status == 2
    nothing = place.run("--json", "drill", "-r", "local", "--store-as-of", "2026-11-22 14:00")
    assert nothing.document["error"]["code"] == "usage"
    assert "versions" in nothing.document["error"]["message"]
    wrong = place.run("--json", "snapshots", "--store-as-of", "yesterday")
    assert (wrong.status, wrong.document["error"]["code"]) == (2, "usage")
