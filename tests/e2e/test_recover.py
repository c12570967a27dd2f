"""`recover`: a small application comes back on an empty machine, and what a tired operator does."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import COMMAND
from tests.e2e.command_line import Answer, Place
from tests.support.application_ground import told
from tests.support.demo_ground import error_of
from tests.support.recovery_ground import (
    HEALTHY,
    empty_machine,
    ended,
    free_port,
    make_production,
    serving,
)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Not to be changed."""
    return make_production(tmp_path_factory.mktemp("production") / "tms")


@pytest.fixture
def own(production: Place, tmp_path: Path) -> Place:
    """A production of this test's own."""
    shutil.copytree(production.path, tmp_path / "tms", symlinks=True)
    return Place(tmp_path / "tms")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "srv" / "tms"
    with ended(place):
        yield place


@pytest.fixture
def machine(production: Place, tmp_path: Path, port: int) -> Callable[..., Place]:
    def make(*more: str, of: Place = production, recovery: str | None = None) -> Place:
        text = serving(port, more) if recovery is None else recovery
        return empty_machine(of, tmp_path / "machine", text)

    return make


def recovered(place: Place, target: Path, *arguments: object) -> dict[str, Any]:
    """The document of a recovery, whatever its verdict. Any: JSON values."""
    answer = place.run("--json", "recover", "--to", target, *arguments)
    assert answer.out, answer.err
    return answer.document


def fetched(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def refused(answer: Answer, status: int, code: str) -> str:
    return error_of(answer, status, code)["message"]


def test_one_command_brings_the_application_back(
    machine: Callable[..., Place], production: Place, target: Path, port: int
) -> None:
    place = machine("by_hand: [Point the name at the new address.]")
    answer = place.run("--json", "recover", "--to", target, "--reason", "the host is lost")
    document = answer.document
    assert (answer.status, document["verdict"]) == (0, "PROVEN"), document["findings"]
    assert [(one["source"], one["verdict"]) for one in document["sources"]] == [
        ("uploads", "PROVEN"),
        ("code", "PROVEN"),
    ]
    assert fetched(port, "/health.json") == HEALTHY
    for name in ("lpos/LPO-1.pdf", "quotes/Q 1\nodd.txt"):
        assert (target / "uploads" / name).read_bytes() == (production.uploads / name).read_bytes()
    assert (target / "code/config/app.ini").read_text() == "colour = blue\n"
    assert sorted(one.name for one in target.iterdir()) == [".strongroom", "code", "uploads"]
    names = [one["name"] for one in document["stages"]]
    assert names[:2] == ["find the recovery point", "restore"]
    assert names[-2:] == ["requests", "watch the logs"]
    assert 0 < document["rto_seconds"] < 300
    assert 0 < document["rpo_seconds"] < 3600
    assert document["objectives"] == {"rto_seconds": 4 * 3600.0, "rpo_seconds": 24 * 3600.0}
    assert document["by_hand"] == ["Point the name at the new address."]
    assert told(document, "recovery-unproven")


def test_it_stands_in_the_ledger_with_its_reason(
    machine: Callable[..., Place], target: Path
) -> None:
    place = machine()
    recovered(place, target, "--reason", "the host is lost")
    entries = list(place.ledger.entries())
    kinds = [one.kind for one in entries]
    assert "ledger-adopted" in kinds  # the machine had none
    assert kinds.count("restore") == 2
    record = next(one for one in entries if one.kind == "recovery").fields
    assert (record["verdict"], record["reason"]) == ("PROVEN", "the host is lost")
    assert record["target"] == str(target)
    assert [one["source"] for one in record["snapshots"]] == ["uploads", "code"]
    last = entries[-1]
    assert (last.kind, last.fields["command"]) == (COMMAND, "recover")
    begun = [one for one in entries if one.kind == "command-begun"]
    assert [one.fields["command"] for one in begun if one.fields["reason"]] == ["recover"]


def test_a_second_time_it_is_refused(machine: Callable[..., Place], target: Path) -> None:
    place = machine()
    assert recovered(place, target)["verdict"] == "PROVEN"
    answer = place.run("--json", "recover", "--to", target)
    assert "was completed here" in refused(answer, 5, "target-not-empty")


def test_what_people_read(machine: Callable[..., Place], target: Path, port: int) -> None:
    place = machine("by_hand: [Point the name at the new address.]")
    text = place.run("recover", "--to", target).text
    assert "PROVEN  uploads:" in text
    assert "Recovery took" in text
    assert "What a person must still do:\n  - Point the name at the new address.\n" in text
    assert f"application at http://127.0.0.1:{port}: it is back, identical, and works" in text


def test_owners_modes_links_settings_and_the_production_tag(
    machine: Callable[..., Place], target: Path, port: int
) -> None:
    os.environ["TMS_KEY"] = "correct-horse"
    try:
        place = machine(
            "folders: {code: app}",
            "checkout: production",
            'ownership: {uploads: {folder_mode: "750", file_mode: "640"},'
            ' code: {file_mode: "644"}}',
            "secrets: {key: env:TMS_KEY}",
            'render: {config/live.env: "KEY={secret.key} AT={url} IN={directory} UP={uploads}"}',
            "links: {public/up: uploads}",
            "environment: {KEY: env:TMS_KEY}",
            "prepare: [[/bin/sh, -c, 'test \"$KEY\" = correct-horse && echo $KEY >public/ran']]",
            "smoke: [[/bin/sh, -c, 'test -f public/up/lpos/LPO-1.pdf']]",
        )
        answer = place.run("--json", "--verbose", "recover", "--to", target)
    finally:
        del os.environ["TMS_KEY"]
    assert answer.document["verdict"] == "PROVEN", answer.document["findings"]
    assert fetched(port, "/release.txt") == "one"
    assert fetched(port, "/up/lpos/LPO-1.pdf".replace("pdf", "pdf"))[:4] == "%PDF"
    modes = {
        name: oct(stat.S_IMODE((target / name).stat().st_mode))
        for name in ("uploads", "uploads/lpos", "uploads/lpos/LPO-1.pdf", "app/config/live.env")
    }
    assert list(modes.values()) == ["0o750", "0o750", "0o640", "0o600"], modes
    assert (target / "app/config/live.env").read_text() == (
        f"KEY=correct-horse AT=http://127.0.0.1:{port} IN={target} UP={target}/uploads"
    )
    kept = (target / ".strongroom/recovery.json").read_text()
    ledger = (place.path / "state/ledger.jsonl").read_text()
    assert "correct-horse" not in answer.text + answer.err + kept + ledger


def test_it_goes_on_once_the_cause_is_mended(
    machine: Callable[..., Place], target: Path, tmp_path: Path
) -> None:
    """What is proven is not restored again."""
    place = machine(f"smoke: [[/bin/sh, -c, 'echo not yet; test -f {tmp_path}/mended']]")
    first = recovered(place, target)
    assert first["verdict"] == "FAILED"
    assert told(first, "application-failed") == [
        "smoke: /bin/sh: it ended with status 1: not yet"
    ]
    assert first["rto_seconds"] is None
    before = (target / "uploads").stat().st_ino
    (tmp_path / "mended").touch()
    second = recovered(place, target)
    assert (second["verdict"], second["runs"]) == ("PROVEN", 2), second["findings"]
    assert (target / "uploads").stat().st_ino == before
    assert second["rto_seconds"] > sum(one["seconds"] for one in first["stages"])
    kinds = [one.kind for one in place.ledger.entries()]
    assert kinds.count("restore") == 2


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ("http: [{path: /nothing}]", "application-failed", "/nothing: status is 404"),
        ("http: [{path: /health.json, values: {status: bad}}]", "application-failed", "status is"),
        ("checkout: v9.9", "application-failed", "has no tag v9.9"),
        ("prepare: [no-such-program]", "application-failed", "it did not start"),
        ("user: nobody-of-this-name", "", "no user of this name"),
        ("links: {public: uploads}", "application-unchecked", "holds something at public"),
        ("render: {.env: 'file:/nowhere/template'}", "application-unchecked", "cannot be read"),
    ],
)
def test_what_does_not_work_is_told(
    machine: Callable[..., Place], target: Path, more: str, code: str, said: str
) -> None:
    place = machine(more)
    answer = place.run("--json", "recover", "--to", target)
    assert answer.status != 0
    if not code:
        assert said in refused(answer, 10, "source-failed")
        assert not target.exists()
        return
    assert any(said in one for one in told(answer.document, code)), answer.document["findings"]
    assert (target / "uploads/lpos/LPO-1.pdf").exists()


def test_its_logs_are_watched(machine: Callable[..., Place], target: Path, tmp_path: Path) -> None:
    """What stood there before is old; what a request left there counts."""
    log = tmp_path / "error.log"
    log.write_text("PHP Fatal error: long ago\n")
    place = machine(
        f"logs: {{server: ['{tmp_path}/*.log']}}",
        f"smoke: [[/bin/sh, -c, 'echo PHP Fatal error: just now >>{log}']]",
    )
    document = recovered(place, target)
    assert document["verdict"] == "FAILED"
    assert told(document, "application-failed") == ["its log says: PHP Fatal error: just now"]
    assert document["rto_seconds"] is not None  # it did answer


def test_without_a_section_everything_is_proven_and_nothing_is_known_to_work(
    machine: Callable[..., Place], target: Path
) -> None:
    place = machine(recovery="")
    answer = place.run("--json", "recover", "--to", target)
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN")
    assert [one["verdict"] for one in answer.document["sources"]] == ["PROVEN", "PROVEN"]
    assert told(answer.document, "application-unchecked")


def test_what_was_promised_and_not_kept_is_a_warning(
    machine: Callable[..., Place], target: Path, port: int
) -> None:
    place = machine(recovery=serving(port) + "objectives: {rpo: 0s, rto: 0s}\n")
    document = recovered(place, target)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert told(document, "rto-exceeded")
    assert told(document, "rpo-exceeded")


# A tired operator


def test_a_target_that_holds_something_is_refused(
    machine: Callable[..., Place], target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "thesis.odt").write_text("the only copy")
    answer = machine().run("--json", "recover", "--to", target)
    assert "not empty" in refused(answer, 5, "target-not-empty")
    assert [one.name for one in target.iterdir()] == ["thesis.odt"]


def test_a_wrong_point_is_refused(machine: Callable[..., Place], target: Path) -> None:
    answer = machine().run("--json", "recover", "--to", target, "--point", "zz")
    assert "no recovery point has this id" in refused(answer, 26, "snapshot-missing")
    assert not target.exists()


def test_a_url_is_no_directory(machine: Callable[..., Place]) -> None:
    answer = machine().run("--json", "recover", "--to", "postgresql://db.example.com/tms")
    assert "into a directory" in refused(answer, 2, "usage")


def test_a_missing_secret_is_told_before_anything_is_written(
    machine: Callable[..., Place], target: Path
) -> None:
    place = machine("secrets: {key: env:NOT_SET_ANYWHERE}", "render: {.env: '{secret.key}'}")
    answer = place.run("--json", "recover", "--to", target)
    assert "NOT_SET_ANYWHERE" in refused(answer, 2, "secret-unavailable")
    assert not target.exists()


def test_another_point_cannot_go_on_with_what_was_begun(
    own: Place, machine: Callable[..., Place], target: Path
) -> None:
    own.json("backup")
    points = [one["id"] for one in own.json("snapshots", "--points")["points"]]
    assert len(points) == 2
    place = machine("smoke: ['false']", of=own)
    assert recovered(place, target, "--point", points[0])["verdict"] == "FAILED"
    answer = place.run("--json", "recover", "--to", target, "--point", points[1])
    assert "with another --point" in refused(answer, 2, "usage")
    # Without one it goes on, whatever is newer by now.
    assert recovered(place, target)["point"] == points[0]


def test_an_unreachable_first_repository_is_passed_over(
    own: Place, machine: Callable[..., Place], target: Path
) -> None:
    shutil.rmtree(own.path / "local")
    document = recovered(machine(of=own), target)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert {one["repository"] for one in document["sources"]} == {"second"}
    assert told(document, "repository-unreachable")


def test_a_damaged_copy_gives_way_to_another(
    own: Place, machine: Callable[..., Place], target: Path
) -> None:
    for pack in (own.path / "local" / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(b"\0" * pack.stat().st_size)
    document = recovered(machine(of=own), target)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert {one["repository"] for one in document["sources"]} == {"second"}
    assert told(document, "recovery-copy-failed")
    assert sorted(one.name for one in target.iterdir()) == [".strongroom", "code", "uploads"]


def test_a_newer_point_that_nobody_has_proven_is_told_and_can_be_asked_for(
    own: Place, machine: Callable[..., Place], target: Path, tmp_path: Path
) -> None:
    own.json("drill")
    (own.uploads / "lpos/LPO-3.pdf").write_bytes(b"new work")
    own.json("backup")
    older, newer = (one["id"] for one in own.json("snapshots", "--points")["points"])
    place = machine(of=own)
    plan = recovered(place, target, "--dry-run")
    assert plan["point"] == older
    document = recovered(place, target)
    assert (document["point"], document["verdict"]) == (older, "PROVEN")
    assert f"--point {newer} takes it all the same" in told(document, "recovery-older-point")[0]
    assert not (target / "uploads/lpos/LPO-3.pdf").exists()
    other = tmp_path / "other"
    with ended(target):
        pass
    with ended(other):
        document = recovered(place, other, "--point", newer)
        assert (document["point"], document["verdict"]) == (newer, "PROVEN")
        assert (other / "uploads/lpos/LPO-3.pdf").exists()


def test_a_dry_run_says_how_long_it_took_in_drills_and_writes_nothing(
    own: Place, machine: Callable[..., Place], target: Path
) -> None:
    own.json("drill")
    own.json("copy", "--from", "local", "--to", "second")  # the ledger goes along
    own.json("backup")
    own.json("drill")
    own.json("snapshots", "pin", "latest:uploads", "--reason", "so that the ledger is copied")
    place = machine(of=own)
    plan = recovered(place, target, "--dry-run")
    stages = {one["name"]: one["seconds"] for one in plan["stages"]}
    assert stages["restore uploads"] > 0
    assert stages["restore code"] > 0
    assert plan["rto_seconds"] >= max(stages["restore uploads"], stages["restore code"])
    assert not plan["rto_is_whole"]  # no application was ever drilled
    assert not target.exists()
    text = place.run("recover", "--to", target, "--dry-run").text
    assert "Would recover point" in text
    assert "It would take at least" in text


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.fail("this needs root, which CI has")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_without_room_is_told_before_the_first_byte(
    own: Place, machine: Callable[..., Place], small: Path
) -> None:
    (own.uploads / "film.bin").write_bytes(os.urandom(4 << 20))
    own.json("backup")
    place = machine(of=own)
    answer = place.run("--json", "recover", "--to", small / "tms")
    assert "MiB are needed" in refused(answer, 5, "target-refused")
    assert list(small.iterdir()) == []


def test_a_disk_that_runs_full_is_told_and_it_goes_on_with_more_room(
    own: Place, machine: Callable[..., Place], small: Path
) -> None:
    """A sum of sizes knows nothing of blocks: thousands of small files take more."""
    for number in range(900):
        (own.uploads / f"{number}.txt").write_bytes(b"x" * 10)
    own.json("backup")
    place, target = machine(of=own), small / "tms"
    with ended(target):
        answer = place.run("--json", "recover", "--to", target)
        error = json.loads(answer.out)["error"]
        assert (answer.status, error["code"]) == (5, "target-refused"), error
        assert "space" in error["message"].lower()
        assert not (target / "uploads").exists()
        assert [one.kind for one in place.ledger.entries()].count("recovery-failed") == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert recovered(place, target)["verdict"] == "PROVEN"
        assert len(list((target / "uploads").glob("*.txt"))) == 900
