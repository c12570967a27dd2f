"""Several repositories: one capture, many copies, and what was left behind is caught up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import PASSWORD, TWO_REPOSITORIES, Place, make_place
from tests.support.restic import stock_restics
from tests.support.store_servers import RestServer, rclone_rest

CONFIG = TWO_REPOSITORIES


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, CONFIG)
    made.json("init")
    return made


def trees(place: Place) -> dict[str, set[str]]:
    """The trees of all snapshots by repository."""
    found: dict[str, set[str]] = {}
    for one in place.json("snapshots")["snapshots"]:
        found.setdefault(one["repository"], set()).add(one["tree"])
    return found


def test_a_repository_that_was_away_is_caught_up_by_hand(place: Place) -> None:
    (place.path / "second").rename(place.path / "away")
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert answer.document["copies"] == {"uploads": ["local"]}
    codes = {one["code"] for one in answer.document["findings"]}
    assert codes == {"repository-failed", "repository-behind"}
    (place.path / "away").rename(place.path / "second")
    report = place.json("copy", "--from", "local", "--to", "second")
    assert len(report["snapshots"]) == 1
    assert trees(place)["second"] == trees(place)["local"]
    again = place.json("copy", "--from", "local", "--to", "second")
    assert (again["snapshots"], again["already_there"]) == ([], 1)
    place.json("check")
    stock_restics()[0].check(place.path / "second")
    (drill,) = place.json("drill", "--repository", "second")["drills"]
    assert drill["verdict"] == "PROVEN"


def test_an_unreadable_snapshot_makes_a_copy_of_all_partial(place: Place) -> None:
    (place.path / "second").rename(place.path / "away")
    for _ in range(2):
        assert place.run("backup").status == 3
    (place.path / "away").rename(place.path / "second")
    captured = sorted(one["id"] for one in place.snapshots() if one["repository"] == "local")
    bad, good = (place.path / "local" / "snapshots" / one for one in captured)
    bad.chmod(0o600)
    bad.write_bytes(bad.read_bytes()[::-1])
    answer = place.run("--json", "copy", "--from", "local", "--to", "second")
    assert answer.status == 3
    assert [one["code"] for one in answer.document["findings"]] == ["snapshot-unreadable"]
    assert [one["from_id"] for one in answer.document["snapshots"]] == [good.name]
    named = place.run("copy", good.name, "--from", "local", "--to", "second")
    assert named.status == 0


def test_the_next_backup_catches_up_itself(place: Place) -> None:
    """... what it captures: older points come by `copy`."""
    place.json("backup")
    shutil.rmtree(place.path / "second")
    assert place.run("backup").status == 3
    place.json("init")
    report = place.json("backup")
    assert report["copies"] == {"uploads": ["local", "second"]}


def test_enough_copies_are_a_success(place: Place) -> None:
    place.write_config(CONFIG + "minimum_copies: 1\n")
    shutil.rmtree(place.path / "second")
    answer = place.run("--json", "backup")
    assert answer.status == 0, answer.err
    assert answer.document["minimum_copies"] == 1
    assert answer.document["copies"] == {"uploads": ["local"]}
    assert "repository-failed" in {one["code"] for one in answer.document["findings"]}
    place.write_config(CONFIG + "minimum_copies: 3\n")
    refused = place.run("config", "check")
    assert refused.status == 2
    assert "only 2 repositories" in refused.text + refused.err


def test_a_copy_that_is_gone_is_missed(place: Place) -> None:
    """A copied snapshot counts as stored: its disappearance is noticed as any other."""
    (place.path / "second").rename(place.path / "away")
    place.run("backup")
    (place.path / "away").rename(place.path / "second")
    place.json("copy", "--from", "local", "--to", "second")
    for file in (place.path / "second" / "snapshots").iterdir():
        file.unlink()
    answer = place.run("--json", "check", "second")
    assert answer.status != 0
    assert "snapshot-vanished" in {one["code"] for one in answer.document["findings"]}


def test_one_snapshot_is_copied_by_its_id(place: Place) -> None:
    shutil.rmtree(place.path / "second")
    place.run("backup")
    (place.uploads / "more").write_text("more")
    place.run("backup")
    place.json("init")
    ids = [one["id"] for one in place.json("snapshots")["snapshots"]]
    report = place.json("copy", ids[0][:10], "--from", "local", "--to", "second")
    assert [one["from_id"] for one in report["snapshots"]] == [ids[0]]
    for arguments in (
        ("--from", "local", "--to", "local"),
        ("--from", "local", "--to", "nowhere"),
        ("ffff", "--from", "local", "--to", "second"),
    ):
        assert place.run("copy", *arguments).status != 0


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    with rclone_rest(tmp_path_factory.mktemp("rest")) as server:
        yield server


def test_a_copy_elsewhere_restores_and_is_proven(
    rest: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REST_USER", str(rest.access.user))
    monkeypatch.setenv("REST_PASSWORD", str(rest.access.password))
    elsewhere = (
        f"  second: {{location: '{rest.location('tms')}', password: file:key,\n"
        "    access: {user: env:REST_USER, password: env:REST_PASSWORD}}\n"
    )
    config = CONFIG.replace("  second: {location: second, password: file:key}\n", elsewhere)
    place = make_place(tmp_path, config)
    place.json("init")
    report = place.json("backup", "--limit-upload", "20MiB")
    assert report["copies"] == {"uploads": ["local", "second"]}
    drill = place.json("drill", "--repository", "second")
    assert drill["verdict"] == "PROVEN"
    shutil.rmtree(place.path / "local")
    target = tmp_path / "back"
    assert place.json("restore", "uploads", "--to", target)["verdict"] == "PROVEN"
    # The password of the store is in no record.
    ledger = (place.path / "state" / "ledger.jsonl").read_text()
    assert str(rest.access.password) not in ledger
    assert PASSWORD not in ledger


def test_what_a_repository_missed_in_earlier_runs_is_caught_up(place: Place) -> None:
    place.json("backup")
    (place.path / "second").rename(place.path / "away")
    for number in range(2):
        (place.uploads / "changing").write_text(str(number))
        assert place.run("backup").status == 3
    (place.path / "away").rename(place.path / "second")
    (place.uploads / "changing").write_text("at last")
    report = place.json("backup")
    assert "catch up second" in {one["name"] for one in report["stages"]}
    assert trees(place)["second"] == trees(place)["local"]
    assert len(trees(place)["local"]) == 4
    again = place.json("backup")
    assert "catch up second" not in {one["name"] for one in again["stages"]}
    assert place.json("check")["findings"] == []


def test_a_new_repository_does_not_get_the_past_unasked(place: Place) -> None:
    config = place.config.read_text()
    place.write_config(
        "\n".join(line for line in config.splitlines() if "second" not in line) + "\n"
    )
    place.json("backup")
    (place.uploads / "changing").write_text("more")
    place.write_config(config)
    shutil.rmtree(place.path / "second")
    place.json("init")
    place.json("backup")
    assert len(trees(place)["second"]) == 1
    assert len(trees(place)["local"]) == 2


def test_who_has_what_was_missed_gives_it(place: Place) -> None:
    """Also when the first that had it is away now."""
    config = place.config.read_text()
    line = "  second: {location: second, password: file:key}\n"
    place.write_config(config.replace(line, line + line.replace("second", "third")))
    place.json("init")
    place.json("backup")
    (place.path / "second").rename(place.path / "away")
    (place.uploads / "changing").write_text("missed")
    assert place.run("backup").status == 3
    (place.path / "away").rename(place.path / "second")
    (place.path / "local").rename(place.path / "away")
    assert place.run("backup").status == 3
    (place.path / "away").rename(place.path / "local")
    assert trees(place)["second"] == trees(place)["third"]
