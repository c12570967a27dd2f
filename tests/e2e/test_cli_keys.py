"""Passwords and master keys from the command line: what is said, what is written, what is not."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_line import CONFIG, PASSWORD, Place, make_place
from tests.support.demo_ground import error_of
from tests.support.repository_ground import new_repository
from tests.support.restic import stock_restics

NEW = "another horse, another battery"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An application with one snapshot, and a new password beside the old one."""
    made = make_place(tmp_path)
    new = tmp_path / "new"
    new.write_text(NEW + "\n")
    new.chmod(0o600)
    new_repository(tmp_path / "local")
    made.json("backup")
    return made


def keys(place: Place) -> list[dict[str, Any]]:  # Any: JSON values
    listed: list[dict[str, Any]] = place.json("key", "list")["keys"]
    return listed


def records(place: Place, kind: str) -> list[dict[str, Any]]:  # Any: JSON values
    lines = (place.path / "state" / "ledger.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == kind]


def use_new(place: Place) -> None:
    (place.path / "key").write_text(NEW + "\n")


def restic_opens(place: Place, password: str) -> bool:
    answer = stock_restics()[0].attempt(
        place.path / "local", "--no-lock", "snapshots", RESTIC_PASSWORD=password
    )
    return answer.returncode == 0


def test_a_password_is_changed_from_the_command_line(place: Place) -> None:
    (before,) = keys(place)
    assert before["in_use"]
    assert before["damage"] is None
    done = place.json("key", "passwd", "local", "--new-password", f"file:{place.path / 'new'}")
    assert done["removed"] == before["id"]
    (advice,) = done["advice"]
    assert "repositories.local.password" in advice
    assert place.run("snapshots").status == 24
    use_new(place)
    (after,) = keys(place)
    assert after["id"] == done["added"]
    assert len(place.snapshots()) == 1
    assert place.json("drill")["verdict"] == "PROVEN"
    assert restic_opens(place, NEW)
    assert not restic_opens(place, PASSWORD)
    (record,) = records(place, "key-passwd")
    assert record["added"] == done["added"]
    assert record["removed"] == done["removed"]
    assert "@" in record["by"]


def test_a_second_password_is_added_and_removed(place: Place) -> None:
    said = place.run("key", "add", "local", "--new-password", f"file:{place.path / 'new'}")
    assert said.status == 0
    assert "was added, and opens" in said.text
    (other,) = [one for one in keys(place) if not one["in_use"]]
    assert restic_opens(place, NEW)
    shown = place.run("key", "list").text.splitlines()
    assert len(shown) == 3
    assert [line[0] for line in shown[1:]].count("*") == 1
    error_of(place.run("--json", "key", "remove", "local", "nothing"), 2, "usage")
    removed = place.json("key", "remove", "local", other["id"][:8])
    assert removed["removed"] == other["id"]
    assert not restic_opens(place, NEW)
    (mine,) = keys(place)
    refused = place.run("--json", "key", "remove", "local", mine["id"])
    assert "opened the repository" in error_of(refused, 2, "usage")["message"]
    assert [len(records(place, kind)) for kind in ("key-add", "key-remove")] == [1, 1]


def test_the_same_password_again_wants_no_other_setting(place: Place) -> None:
    """The salt is a new one, and the configuration leads to the password already."""
    reference = f"file:{place.path / 'key'}"
    done = place.json("key", "passwd", "local", "--new-password", reference)
    assert done["advice"] == []
    assert [one["id"] for one in keys(place)] == [done["added"]]


def test_repositories_that_share_a_password_s_place_are_named(place: Place) -> None:
    two = CONFIG.replace("state:", "  second: {location: second, password: file:key}\nstate:")
    place.write_config(two)
    new_repository(place.path / "second")
    done = place.json("key", "passwd", "local", "--new-password", f"file:{place.path / 'new'}")
    assert "password of second" in done["advice"][1]


def test_what_is_no_reference_is_refused_and_not_repeated(place: Place) -> None:
    for command in ("add", "passwd"):
        answer = place.run("--json", "key", command, "local", "--new-password", "hunter2secret")
        error_of(answer, 2, "secret-unavailable")
        assert "hunter2secret" not in answer.text + answer.err
    assert len(keys(place)) == 1


@pytest.mark.parametrize("password", [" begins with a space", "ends with a tab\t", "   "])
def test_what_restic_would_read_otherwise_is_refused(
    place: Place, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD", password)
    answer = place.run("--json", "key", "passwd", "local", "--new-password", "env:ODD")
    assert "white space" in error_of(answer, 2, "usage")["message"]
    assert [one["in_use"] for one in keys(place)] == [True]


def test_without_a_terminal_a_reference_is_wanted(place: Place) -> None:
    arguments = [sys.executable, "-m", "strongroom", "--config", str(place.config), "--json"]
    child = subprocess.run(
        [*arguments, "key", "add", "local"], stdin=subprocess.DEVNULL, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert child.returncode == 2
    assert "--new-password" in json.loads(child.stdout)["error"]["hint"]


def on_a_terminal(place: Place, *arguments: str, typed: list[str]) -> tuple[int, str]:
    """Run a command on a pseudo-terminal and answer its questions; its status and all it shows."""
    command = [sys.executable, "-m", "strongroom", "--config", str(place.config), *arguments]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command)
    shown, answers = b"", list(typed)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1)
        if not ready:
            continue
        try:
            got = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not got:
            break
        shown += got
        if shown.endswith(b": ") and answers:
            os.write(terminal, answers.pop(0).encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_a_terminal_is_asked_twice_and_shows_nothing(place: Place) -> None:
    status, shown = on_a_terminal(place, "key", "passwd", "local", typed=[NEW, "a slip", NEW, NEW])
    assert status == 0, shown
    assert NEW not in shown
    assert "a slip" not in shown
    assert shown.count("New password") == 2
    assert not restic_opens(place, PASSWORD)
    use_new(place)
    assert len(place.snapshots()) == 1


def test_after_a_kill_a_password_opens_and_nothing_is_in_the_way(place: Place) -> None:
    """Invariant I4, with a real process and what its lock leaves behind."""
    folder = place.path / "local"
    reference = f"file:{place.path / 'new'}"
    arguments = ["--config", str(place.config), "key", "passwd", "local", "--new-password"]
    with subprocess.Popen(
        [sys.executable, "-m", "strongroom", *arguments, reference], stderr=subprocess.DEVNULL
    ) as child:
        deadline = time.monotonic() + 60
        while len(list((folder / "keys").iterdir())) < 2 and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.001)
        child.kill()
    if not restic_opens(place, PASSWORD):
        use_new(place)
    assert len(place.snapshots()) == 1
    done = place.json("key", "passwd", "local", "--new-password", reference)
    assert {one["code"] for one in done["findings"]} <= {"lock-removed"}
    use_new(place)
    assert done["added"] in {one["id"] for one in keys(place)}
    assert list((folder / "locks").iterdir()) == []


def test_a_wrong_password_is_told_before_one_is_typed(place: Place) -> None:
    (place.path / "key").write_text("something else\n")
    for command in (["add", "local"], ["passwd", "local"], ["list"], ["remove", "local", "12"]):
        answer = place.run("--json", "key", *command)
        assert "local" in error_of(answer, 24, "wrong-password")["message"]


def test_a_damaged_key_is_named_on_one_line(place: Place) -> None:
    evil = json.dumps({"username": "\x1b[2Jroot\n", "hostname": "h"}).encode()
    (place.path / "local" / "keys" / ("ab" * 32)).write_bytes(evil)
    answer = place.run("key", "list")
    assert answer.status == 3
    assert "abababab" in answer.text
    assert "DAMAGED" in answer.text
    assert "\x1b" not in answer.text
    assert len(answer.text.splitlines()) == 3


def test_a_password_goes_nowhere_but_into_the_key(place: Place) -> None:
    """Invariant I6."""
    reference = f"file:{place.path / 'new'}"
    said = [
        place.run("--verbose", "key", "add", "local", "--new-password", reference),
        place.run("--verbose", "--json", "key", "passwd", "local", "--new-password", reference),
        place.run("key", "export", "local", "--output", place.path / "exported"),
    ]
    use_new(place)
    said.append(place.run("key", "export", "local", "--output", place.path / "exported"))
    ledger = (place.path / "state" / "ledger.jsonl").read_text()
    master = json.loads((place.path / "exported").read_text())
    for secret in (PASSWORD, NEW, master["encrypt"], master["mac"]["k"], master["mac"]["r"]):
        assert secret not in ledger
        for answer in said:
            assert secret not in answer.text + answer.err


# The master key


MASTER = CONFIG.replace("password: file:key", "master_key: file:exported")


def test_a_master_key_is_exported_for_its_owner_alone(place: Place) -> None:
    output = place.path / "exported"
    done = place.run("key", "export", "local", "--output", output)
    assert done.status == 0, done.err
    assert "reads everything" in done.text
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert set(json.loads(output.read_text())) == {"mac", "encrypt"}
    content = output.read_bytes()
    again = place.run("--json", "key", "export", "local", "--output", output)
    error_of(again, 5, "target-refused")
    assert output.read_bytes() == content
    nowhere = place.run("--json", "key", "export", "local", "--output", place.path / "no" / "x")
    error_of(nowhere, 5, "target-refused")
    assert records(place, "key-export")[0]["output"] == str(output)


def test_when_all_keys_are_lost_the_master_key_brings_a_password_back(place: Place) -> None:
    place.json("key", "export", "local", "--output", place.path / "exported")
    for file in (place.path / "local" / "keys").iterdir():
        file.unlink()
    lost = error_of(place.run("--json", "snapshots"), 33, "key-damaged")
    assert "master_key" in lost["hint"]
    assert not restic_opens(place, PASSWORD)
    place.write_config(MASTER)
    assert len(place.snapshots()) == 1
    assert place.json("drill")["verdict"] == "PROVEN"
    assert keys(place) == []
    assert "no key, so no password" in place.run("key", "list").text
    reference = f"file:{place.path / 'new'}"
    refused = place.run("--json", "key", "passwd", "local", "--new-password", reference)
    assert "key add" in error_of(refused, 2, "usage")["hint"]
    place.json("key", "add", "local", "--new-password", reference)
    assert restic_opens(place, NEW)
    place.json("backup")
    place.write_config(CONFIG)
    use_new(place)
    assert len(place.snapshots()) == 2
    stock_restics()[0].run(place.path / "local", "check", RESTIC_PASSWORD=NEW)


def test_what_is_no_master_key_of_this_repository_is_told(place: Place) -> None:
    place.write_config(MASTER)
    exported = place.path / "exported"
    for content in (PASSWORD, "{}", '{"mac": {"k": "", "r": ""}, "encrypt": "c2VjcmV0"}'):
        exported.write_text(content)
        exported.chmod(0o600)
        answer = place.run("--json", "snapshots")
        error = error_of(answer, 2, "secret-unavailable")
        assert "repositories.local.master_key" in error["message"]
        assert "c2VjcmV0" not in answer.text
    other = place.path / "other"
    other.mkdir()
    elsewhere = make_place(other)
    new_repository(other / "local")
    exported.unlink()
    elsewhere.json("key", "export", "local", "--output", exported)
    error_of(place.run("--json", "snapshots"), 24, "wrong-password")


def test_a_master_key_makes_no_new_repository(place: Place) -> None:
    place.json("key", "export", "local", "--output", place.path / "exported")
    place.write_config(MASTER)
    assert [one["repository"] for one in place.json("init")["existing"]] == ["local"]
    place.write_config(MASTER.replace("location: local", "location: elsewhere"))
    error = error_of(place.run("--json", "init"), 2, "usage")
    assert "password" in error["hint"]
    assert not (place.path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("password: file:key, master_key: file:exported", "give one of both"),
        ("access: {}", "local.password: this setting is required"),
        ("master_key: hunter2secret", "a secret is never written here"),
    ],
)
def test_one_of_password_and_master_key_is_wanted(place: Place, given: str, fault: str) -> None:
    place.write_config(CONFIG.replace("password: file:key", given))
    answer = place.run("--json", "config", "check")
    error_of(answer, 2, "config-invalid")
    (told,) = answer.document["error"]["faults"]
    assert fault in told
    assert "hunter2secret" not in answer.text
