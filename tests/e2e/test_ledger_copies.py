"""The ledger goes into every repository with each capture, and comes back from there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import Ledger, records
from tests.e2e.command_line import PASSWORD, TWO_REPOSITORIES, Place, make_place
from tests.support.restic import stock_restics

CONFIG = TWO_REPOSITORIES + "retention: {local: {last: 1}, second: {last: 1}}\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, CONFIG)
    made.json("init")
    return made


def ledger_of(place: Place) -> Ledger:
    return Ledger(place.path / "state/ledger.jsonl")


def codes(document: dict[str, Any]) -> list[str]:
    return [one["code"] for one in document["findings"]]


def copied_snapshots(place: Place, repository: str) -> list[dict[str, Any]]:
    restic = stock_restics()[0]
    listed = restic.run(place.path / repository, "snapshots", "--tag", "kind:ledger", "--json")
    found: list[dict[str, Any]] = json.loads(listed)
    return found


def copies(place: Place, repository: str, target: Path) -> list[bytes]:
    """The copies in a repository, oldest first, as stock restic gives them."""
    contents = []
    for number, one in enumerate(copied_snapshots(place, repository)):
        folder = target / f"{repository}-{number}"
        restic = stock_restics()[0]
        restic.run(place.path / repository, "restore", one["id"], "--target", folder)
        contents.append((folder / ".strongroom/ledger.jsonl").read_bytes())
    return contents


def test_each_capture_puts_a_copy_into_each_repository(place: Place, tmp_path: Path) -> None:
    for _ in range(2):
        place.json("backup")
        place.json("drill")
    whole = ledger_of(place).content()
    for repository in ("local", "second"):
        first, second = copies(place, repository, tmp_path / "copies")
        assert whole.startswith(second)
        assert second.startswith(first)
        # The record of the capture itself is in it, and that of every command before it.
        assert [one.kind for one in records(second)] == [
            "configuration", "command", "backup", "command", "drill", "command", "backup",
        ]  # fmt: skip
        stock_restics()[0].check(place.path / repository)
    assert "kind:ledger" not in json.dumps(place.json("snapshots"))
    assert place.json("check", "--read-data")["findings"] == []


def test_a_host_that_lost_its_ledger_goes_on_with_a_copy(place: Place) -> None:
    place.json("backup")
    assert place.json("drill")["verdict"] == "PROVEN"
    place.json("backup")
    before = ledger_of(place).content()
    shutil.rmtree(place.path / "state")
    report = place.json("backup")
    assert "ledger-adopted" in codes(report)
    entries = list(ledger_of(place).entries())
    assert ledger_of(place).content().startswith(before.rpartition(b"\n{")[0])
    # Settings that this host met before it had a ledger again were carried over.
    assert [one.kind for one in entries][-4:] == [
        "ledger-adopted", "configuration", "backup", "command",
    ]  # fmt: skip
    assert ledger_of(place).verify() == []
    assert "ledger-adopted" not in codes(place.json("backup"))
    assert place.json("check")["findings"] == []


def test_what_was_done_on_a_new_host_follows_the_copy(place: Place, tmp_path: Path) -> None:
    """On the worst day people restore first, and back up later."""
    place.json("backup")
    (drilled,) = place.json("drill")["drills"]
    place.json("backup")
    shutil.rmtree(place.path / "state")
    restored = place.json("restore", "uploads", "--to", tmp_path / "back", "--reason", "fire")
    meanwhile = list(ledger_of(place).entries())
    assert [one.kind for one in meanwhile] == [
        "configuration", "command-begun", "restore", "command",
    ]  # fmt: skip
    assert place.run("log", "--verify").status == 3, "it is none that was lost"
    (adopted,) = [
        one for one in place.json("backup")["findings"] if one["code"] == "ledger-adopted"
    ]
    assert adopted["severity"] == "warning"
    assert ledger_of(place).verify() == []
    entries = list(ledger_of(place).entries())
    begin = [one.kind for one in entries].index("ledger-adopted")
    assert entries[begin].fields["carried"] == 4
    carried = entries[begin + 1 : begin + 5]
    for one, old in zip(carried, meanwhile, strict=True):
        assert (one.kind, one.at) == (old.kind, old.at)
        assert one.fields == {**old.fields, "carried": old.hash}
    assert restored["evidence"]["hash"] in [one.fields["carried"] for one in carried]
    verdicts = {one["id"]: one["verdict"] for one in place.snapshots()}
    assert verdicts[drilled["snapshot"]] == "PROVEN", "by the drill of the host that is lost"
    assert place.json("check")["findings"] == []
    assert place.run("log", "--verify").status == 0


def test_each_copy_has_the_ledger_as_it_stood(place: Place, tmp_path: Path) -> None:
    """What writes no snapshot goes along with the next capture."""
    place.json("backup")
    place.json("restore", "uploads", "--to", tmp_path / "back", "--reason", "a look")
    done = list(ledger_of(place).entries())[-1]
    assert (done.kind, done.fields["reason"]) == ("command", "a look")
    captured = place.json("backup")
    for repository in ("local", "second"):
        first, second = copies(place, repository, tmp_path / "copies")
        assert records(first)[-1].kind == "backup"
        head = records(second)[-1]
        assert (head.kind, head.fields["point"]) == ("backup", captured["recovery_point"])
        assert done.hash in [one.hash for one in records(second)]
        # Only the end of the capture itself came later.
        whole = ledger_of(place).content()
        assert whole.startswith(second)
        assert [one.kind for one in records(whole)][head.seq :] == ["command"]


def test_what_vanished_is_noticed_on_a_new_host(place: Place) -> None:
    gone = place.json("backup")["snapshots"][0]["id"]
    place.json("backup")
    shutil.rmtree(place.path / "state")
    (place.path / "local/snapshots" / gone).unlink()
    again = shutil.copytree(place.path / "local", place.path / "as it was")
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert "snapshot-vanished" in codes(answer.document)
    # A backup, too, asks the ledger that it has just taken up.
    shutil.rmtree(place.path / "state")
    shutil.rmtree(place.path / "local")
    again.rename(place.path / "local")
    backup = place.run("--json", "backup")
    assert backup.status == 3
    assert {"ledger-adopted", "snapshot-vanished"} <= set(codes(backup.document))


def test_a_proof_outlives_the_host(place: Place) -> None:
    proven = place.json("backup")["snapshots"][0]
    assert place.json("drill", "--repository", "local")["verdict"] == "PROVEN"
    (place.uploads / "more").write_text("more")
    place.json("backup")
    shutil.rmtree(place.path / "state")
    report = place.json("prune", "--dry-run", "local")
    reasons = {one["id"]: one["because"] for one in report["keep"]}
    assert "newest proven of its source" in reasons[proven["id"]]


@pytest.mark.parametrize("cut", ["the end", "a word"])
def test_a_ledger_that_was_cut_or_changed_is_a_failure(place: Place, cut: str) -> None:
    for _ in range(3):
        place.json("backup")
    path = place.path / "state/ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if cut == "the end":
        path.write_bytes(b"".join(lines[:-3]))  # a capture and what went with it
        path.with_name("ledger.jsonl.head").unlink()
        ledger_of(place).append("drill", {"application": "tms", "note": "hides the cut"})
        expected = "ledger-differs"
    else:
        path.write_bytes(b"".join([lines[0].replace(b"uploads", b"UPLOADS"), *lines[1:]]))
        expected = "ledger-broken"
    answer = place.run("--json", "check", "local")
    assert answer.status == 30
    assert expected in codes(answer.document)


def test_another_host_has_a_ledger_of_its_own(place: Place, tmp_path: Path) -> None:
    place.json("backup")
    shared = CONFIG.replace("location: ", f"location: {place.path}/")
    other = make_place(tmp_path / "other", shared)
    assert "ledger-adopted" in codes(other.json("check", "local"))
    for one in (place, other, place):
        one.json("backup")
    assert other.json("check")["findings"] == []
    assert place.json("check")["findings"] == []
    assert len(copied_snapshots(place, "local")) == 4


def test_old_copies_go_with_their_recovery_point(place: Place) -> None:
    for number in range(3):
        (place.uploads / "changing").write_text(str(number))
        place.json("backup")
    report = place.json("prune", "--yes")
    assert sum("copies of the ledger" in one["because"][0] for one in report["drop"]) == 4
    # The newest of the captures, and the one that tells of the drops.
    assert len(copied_snapshots(place, "local")) == 2
    stock_restics()[0].check(place.path / "local")
    shutil.rmtree(place.path / "state")
    assert "ledger-adopted" in codes(place.json("check"))


def test_a_damaged_copy_stops_nothing(place: Place) -> None:
    place.json("backup")
    before = ledger_of(place).content()
    shutil.rmtree(place.path / "state")
    for pack in (place.path / "local/data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(pack.read_bytes()[:100])
    report = place.run("--json", "backup").document
    assert {"ledger-unreadable", "ledger-adopted"} <= set(codes(report))
    assert ledger_of(place).content().startswith(before.rpartition(b"\n{")[0])


def test_secrets_are_not_in_it(place: Place, tmp_path: Path) -> None:
    place.json("backup")
    (content,) = copies(place, "local", tmp_path / "copies")
    assert PASSWORD.encode() not in content


def test_a_broken_ledger_never_makes_a_verdict_better(place: Place) -> None:
    """Invariant I5: what it no longer tells is not taken for fine."""
    gone = place.json("backup")["snapshots"][0]["id"]
    place.json("backup")
    (place.path / "local/snapshots" / gone).unlink()
    assert place.run("drill").status == 41
    (place.path / "state/ledger.jsonl").write_bytes(b"")
    backup = place.run("--json", "backup")
    assert backup.status == 3
    assert "ledger-broken" in codes(backup.document)
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert "ledger-broken" in codes(answer.document)
    # Put aside, the copies tell what is missing.
    for file in (place.path / "state").glob("ledger.jsonl*"):
        file.rename(place.path / file.name)
    assert "snapshot-vanished" in codes(place.run("--json", "drill").document)


def test_a_ledger_that_cannot_be_read_is_no_clean_one(place: Place) -> None:
    place.json("backup")
    ledger = place.path / "state/ledger.jsonl"
    ledger.unlink()
    ledger.mkdir()
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert "ledger-broken" in codes(answer.document)
