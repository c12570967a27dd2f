"""What goes wrong gets the right exit status, one JSON document, and a hint; nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from strongroom.repository import Repository, SnapshotWriter, open_storage
from strongroom.service.application import Application
from strongroom.service.backup import backup
from strongroom.sources import CaptureContext, Captured, Source
from strongroom.sources.files import FilesSource
from tests.e2e.command_line import CONFIG, PASSWORD, Answer, Place, make_place, run
from tests.support.code_ground import git, make_application


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An application with one snapshot."""
    made = make_place(tmp_path)
    made.json("init")
    made.json("backup")
    return made


def _check_error(answer: Answer, status: int, code: str) -> dict[str, str]:
    assert answer.status == status, answer.text + answer.err
    error: dict[str, str] = answer.document["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["hint"].endswith((".", "`"))
    return error


def _packs(place: Place) -> list[Path]:
    return [path for path in (place.path / "local" / "data").rglob("*") if path.is_file()]


def test_a_wrong_password(place: Place) -> None:
    (place.path / "key").write_text("something else\n")
    for command in (["backup"], ["snapshots"], ["check"], ["restore", "uploads", "--to", "x"]):
        error = _check_error(place.run("--json", *command), 24, "wrong-password")
        assert str(place.path / "local") in error["message"]


def test_a_missing_repository(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    error = _check_error(place.run("--json", "backup"), 21, "store-missing")
    assert "init" in error["hint"]
    assert not (tmp_path / "local").exists()


def test_a_secret_that_is_not_there(place: Place) -> None:
    (place.path / "key").unlink()
    _check_error(place.run("--json", "backup"), 2, "secret-unavailable")


def test_a_target_that_is_not_empty(place: Place) -> None:
    """Invariant I7: nothing is written where something is."""
    answer = place.run("--json", "restore", "uploads", "--to", place.uploads)
    _check_error(answer, 5, "target-not-empty")
    assert place.json("prove", "uploads", "--target", place.uploads)["verdict"] == "PROVEN"


def test_a_target_that_cannot_be_written(place: Place) -> None:
    # Not even root makes a directory there.
    answer = place.run("--json", "restore", "uploads", "--to", "/sys/strongroom-target")
    _check_error(answer, 5, "target-refused")


def test_unknown_names(place: Place) -> None:
    cases = (
        (["restore", "uploads", "--to", "x", "--snapshot", "abcdef"], 26, "snapshot-missing"),
        (["ls", "latest:nothing"], 26, "snapshot-missing"),
        (["ls", "latest:uploads", "/no/such/place"], 27, "path-missing"),
        (["dump", "latest:uploads", "/no", "--output", "x"], 27, "path-missing"),
        (["backup", "upload"], 2, "usage"),
        (["check", "remote"], 2, "usage"),
        (["snapshots", "--repository", "remote"], 2, "usage"),
        (["restore", "uploads", "--to", "x", "--at", "yesterday"], 2, "usage"),
        (["dump", "latest:uploads", "/no"], 2, "usage"),
        (["restore", "uploads"], 2, "usage"),
        (["backup", "--bogus"], 2, "usage"),
        (["nonsense"], 2, "usage"),
        (["config", "explain", "objectivs"], 2, "usage"),
    )
    for command, status, code in cases:
        _check_error(place.run("--json", *command), status, code)
    assert not Path("x").exists()


def test_a_configuration_with_faults_names_all_of_them(place: Place) -> None:
    place.write_config(CONFIG.replace("kind: files", "kind: file") + "colour: red\n")
    answer = place.run("--json", "backup")
    _check_error(answer, 2, "config-invalid")
    faults = answer.document["error"]["faults"]
    assert len(faults) == 2
    assert "did you mean `files`" in faults[0]
    assert "colour" in faults[1]


def test_no_configuration(tmp_path: Path) -> None:
    answer = run("--json", "--config", tmp_path / "none.yaml", "backup")
    _check_error(answer, 2, "config-missing")


def test_a_source_that_is_gone(place: Place) -> None:
    place.uploads.rename(place.path / "elsewhere")
    _check_error(place.run("--json", "backup"), 15, "path-unreadable")
    assert len(place.snapshots()) == 1


def test_a_source_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    two = CONFIG.replace("repositories:", "  gone: {kind: files, path: gone}\nrepositories:")
    place = make_place(tmp_path, two)
    place.json("init")
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert [one["source"] for one in answer.document["snapshots"]] == ["uploads"]
    (error,) = answer.document["errors"]
    assert (error["source"], error["code"]) == ("gone", "path-unreadable")
    # A drill of all goes on as well, and what has no snapshot is not known to be fine.
    drill = place.run("--json", "drill")
    assert drill.status == 42
    verdicts = {one["source"]: one["verdict"] for one in drill.document["drills"]}
    assert verdicts == {"uploads": "PROVEN", "gone": "UNKNOWN"}


def test_a_required_folder_that_is_missing_makes_it_partial(place: Place) -> None:
    (place.uploads / "lpos").rename(place.uploads / "renamed")
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert [one["code"] for one in answer.document["findings"]] == ["folder-missing"]
    assert len(answer.document["snapshots"]) == 1


@pytest.mark.parametrize(
    "location",
    [
        "sftp:u:s3cret@h:/x",
        "sftp://u:s3cret@h/x",
        "SFTP:u:s3cret@h:/x",
        "rest:https://h/x?token=s3cret",
        "rest:https://s3cret@h/x",
        "s3:https://h/bucket?X-Amz-Signature=s3cret",
        "https://u:s3/cret@h/x",
    ],
)
def test_no_command_repeats_a_credential_in_a_location(tmp_path: Path, location: str) -> None:
    place = make_place(tmp_path, CONFIG.replace("location: local", f'location: "{location}"'))
    for command in (("config", "check"), ("config", "show"), ("init",), ("--verbose", "backup")):
        for flags in ((), ("--json",)):
            answer = place.run(*flags, *command)
            assert answer.status == 2
            assert "repositories.local.location" in answer.text + answer.err
            assert "s3" + "cret" not in answer.text + answer.err
            assert "/cret" not in answer.text + answer.err


def test_a_repository_that_lost_its_config_is_not_begun_anew(place: Place) -> None:
    (place.path / "local/config").rename(place.path / "config.away")
    for command in ("init", "backup", "snapshots"):
        error = _check_error(place.run("--json", command), 38, "config-lost")
        assert "strongroom init" not in error["hint"]
    (place.path / "config.away").rename(place.path / "local/config")
    assert place.run("snapshots").status == 0


def test_a_gap_in_the_code_makes_it_partial_and_advice_does_not(tmp_path: Path) -> None:
    code = "  code: {kind: git, path: app}\nrepositories:"
    place = make_place(tmp_path, CONFIG.replace("repositories:", code))
    application = make_application(tmp_path / "app")
    (application / ".htaccess").unlink()
    index = application / "public/index.php"
    index.write_text("<?php changed();\n")
    os.utime(index, (1_700_000_000, 1_700_000_000))
    place.json("init")
    advised = place.run("--json", "backup", "code")
    assert [one["code"] for one in advised.document["findings"]] == ["code-uncommitted"]
    assert advised.status == 0
    commit_id = git(application, "rev-parse", "HEAD")
    library = make_application(application / "lib")
    git(application, "update-index", "--add", "--cacheinfo", f"160000,{commit_id},lib")
    git(application, "commit", "-qm", "Add a library")
    partial = place.run("--json", "backup", "code")
    codes = [one["code"] for one in partial.document["findings"]]
    assert sorted(codes) == ["code-uncommitted", "coverage-gap"]
    assert partial.status == 3
    # As a source of its own it is captured, so there is no gap any more.
    place.write_config(
        place.config.read_text().replace(
            "repositories:", f"  library: {{kind: git, path: {library}}}\nrepositories:"
        )
    )
    whole = place.run("--json", "backup", "code", "library")
    assert "coverage-gap" not in [one["code"] for one in whole.document["findings"]]
    assert whole.status == 0


def test_one_of_two_repositories_away_makes_it_partial(tmp_path: Path) -> None:
    two = CONFIG.replace("state:", "  second: {location: second, password: file:key}\nstate:")
    place = make_place(tmp_path, two)
    place.json("init")
    (tmp_path / "second").rename(tmp_path / "unmounted")
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert [one["repository"] for one in answer.document["snapshots"]] == ["local"]
    assert [one["code"] for one in answer.document["findings"]] == [
        "repository-failed",
        "repository-behind",
    ]


def test_an_exclusive_lock_means_busy(place: Place) -> None:
    storage = open_storage(str(place.path / "local"))
    lock = Repository.open(storage, PASSWORD, name="local").new_lock(exclusive=True)
    lock.acquire()
    try:
        error = _check_error(place.run("--json", "backup"), 4, "busy")
        assert f"process {os.getpid()}" in error["message"]
    finally:
        lock.release()
    place.json("backup")


def test_the_lock_of_a_dead_process_does_not_stop_anybody(place: Place) -> None:
    code = (
        "import os, sys\n"
        "from strongroom.repository import Repository, open_storage\n"
        "r = Repository.open(open_storage(sys.argv[1]), sys.argv[2], name='local')\n"
        "r.new_lock(exclusive=True).acquire()\n"
        "os._exit(9)\n"
    )
    arguments = [sys.executable, "-c", code, str(place.path / "local"), PASSWORD]
    assert subprocess.run(arguments, check=False).returncode == 9
    report = place.json("backup")
    assert [one["code"] for one in report["findings"]] == ["lock-removed"]


def test_a_full_store_loses_nothing(place: Place) -> None:
    (place.uploads / "lpos" / "large.pdf").write_bytes(os.urandom(3 << 20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        answer = place.run("--json", "backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _check_error(answer, 22, "store-full")
    assert len(place.snapshots()) == 1
    assert place.json("check", "--read-data")["findings"] == []
    assert place.json("drill")["verdict"] == "PROVEN"
    place.json("backup")


def _flip(pack: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)


def test_a_flipped_bit_is_found_by_check_drill_and_restore(place: Place) -> None:
    largest = max(_packs(place), key=lambda path: path.stat().st_size)
    _flip(largest)
    answer = place.run("--json", "check", "--read-data")
    assert answer.status == 30
    assert "pack-content" in [one["code"] for one in answer.document["findings"]]
    drill = place.run("--json", "drill")
    assert drill.status == 41
    assert [one["code"] for one in drill.document["findings"]] == ["restore-failed"]
    assert place.snapshots()[0]["verdict"] == "FAILED"
    target = place.path / "back"
    restore = place.run("--json", "restore", "uploads", "--to", target)
    _check_error(restore, 31, "pack-damaged")


def test_a_truncated_pack_is_found_without_reading_it(place: Place) -> None:
    largest = max(_packs(place), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    os.truncate(largest, largest.stat().st_size // 2)
    answer = place.run("--json", "check")
    assert answer.status == 30
    assert [one["code"] for one in answer.document["findings"]] == ["pack-size"]


def test_without_its_index_a_repository_is_damaged_and_still_restores(place: Place) -> None:
    for file in (place.path / "local" / "index").iterdir():
        file.unlink()
    answer = place.run("--json", "check")
    assert answer.status == 30
    assert place.json("drill")["verdict"] == "PROVEN"


def test_a_lost_ledger_entry_shows(place: Place) -> None:
    place.json("drill")
    ledger = place.path / "state" / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    answer = place.run("--json", "doctor")
    assert answer.status == 30
    (failed,) = [one for one in answer.document["checks"] if one["state"] == "failed"]
    assert failed["name"] == "ledger"


def test_an_unwritable_state_does_not_spoil_a_backup(place: Place) -> None:
    place.write_config(CONFIG.replace("state: state", "state: /sys/strongroom-state"))
    answer = place.run("--json", "backup")
    assert answer.status == 3
    codes = [one["code"] for one in answer.document["findings"]]
    assert codes == ["evidence-unrecorded", "point-unrecorded"]
    assert len(answer.document["snapshots"]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_backup_leaves_everything_clean(place: Place, number: int) -> None:
    """Invariants I2 and I4: nothing of it is visible, and all before it is as it was."""
    (place.uploads / "lpos" / "large.pdf").write_bytes(os.urandom(48 << 20))
    packs = len(_packs(place))
    arguments = [sys.executable, "-m", "strongroom", "--config", str(place.config), "--json"]
    child = subprocess.Popen([*arguments, "backup"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while len(_packs(place)) == packs and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, (out, err)
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert not any((place.path / "local" / "locks").iterdir())
    assert len(place.snapshots()) == 1
    findings = place.json("check", "--read-data")["findings"]
    assert {one["severity"] for one in findings} <= {"note"}
    place.json("backup")


def test_a_reader_who_leaves_is_not_an_error(place: Place) -> None:
    arguments = [sys.executable, "-m", "strongroom", "--config", str(place.config)]
    wanted = place.uploads / "lpos" / "LPO-1.pdf"
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [*arguments, "dump", "latest:uploads", str(wanted)], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    os.close(reading)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert err == b""


def test_secrets_stay_secret(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_URL", "postgresql://tms:hunter2secret@127.0.0.1:1/tms")
    place.write_config(
        CONFIG.replace(
            "repositories:", "  database: {kind: postgres, url: env:SECRET_URL}\nrepositories:"
        )
    )
    said = [
        place.run(*flags, *command)
        for flags in ([], ["--json"], ["--verbose"])
        for command in (["backup"], ["config", "show"], ["doctor"], ["drill"])
    ]
    ledger = (place.path / "state" / "ledger.jsonl").read_text()
    for secret in ("hunter2secret", PASSWORD):
        assert secret not in ledger
        for answer in said:
            assert secret not in answer.text
            assert secret not in answer.err


def test_json_is_one_document_whatever_happens(place: Place) -> None:
    """Messages and progress never get onto standard output, even from several threads."""
    answers = [place.run("--json", "--verbose", "backup"), place.run("--json", "check")]
    for answer in answers:
        assert answer.out.count(b"\n}\n") == 1
        assert answer.document
    assert threading.active_count() == 1 or all(
        one.daemon for one in threading.enumerate() if one is not threading.main_thread()
    )


def test_a_lost_index_is_told_by_whatever_meets_it(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.json("init")
    place.json("backup")
    for file in (place.path / "local" / "index").iterdir():
        file.unlink()
    drill = place.json("drill")
    assert drill["verdict"] == "PROVEN"
    assert "index-incomplete" in {one["code"] for one in drill["findings"]}
    restored = place.json("restore", "uploads", "--to", tmp_path / "back")
    assert "index-incomplete" in {one["code"] for one in restored["findings"]}
    backup = place.json("backup")
    assert {"index-incomplete", "pack-orphaned"} == {one["code"] for one in backup["findings"]}
    assert "index-incomplete" not in {one["code"] for one in place.json("drill")["findings"]}


def test_a_source_that_lost_most_of_it_is_told(place: Place) -> None:
    """An unmounted volume looks like an empty folder."""
    place.json("backup")
    for file in (place.uploads / "lpos").iterdir():
        file.unlink()
    answer = place.run("--json", "backup")
    assert answer.status == 3
    (told,) = answer.document["findings"]
    assert (told["code"], told["subject"]) == ("source-shrunk", "uploads")


def test_a_snapshot_that_vanished_is_told_by_the_next_backup(place: Place) -> None:
    lost = place.json("backup")["snapshots"][0]["id"]
    (place.path / "local" / "snapshots" / lost).unlink()
    answer = place.run("--json", "backup")
    assert answer.status == 3
    assert [one["code"] for one in answer.document["findings"]] == ["snapshot-vanished"]


def test_verbose_traces_an_error_once(place: Place) -> None:
    place.uploads.rename(place.path / "moved")
    for command in (["backup"], ["drill", "--snapshot", "abcdef"]):
        answer = place.run("--verbose", *command)
        assert answer.status not in (0, 1)
        assert answer.err.count("\nstrongroom.errors.") == 1, command


def test_verbose_traces_the_errors_that_do_not_end_a_run(tmp_path: Path) -> None:
    place = make_place(tmp_path, CONFIG.replace("repos", "  more: {kind: files, path: no}\nrepos"))
    place.json("init")
    answer = place.run("--verbose", "backup")
    assert answer.status == 3
    assert answer.err.count("\nstrongroom.errors.") == 1
    assert "source more failed" in answer.err


def test_a_drill_of_an_incomplete_capture_proves_not_all_of_it(place: Place) -> None:
    """Invariant I5: what was not there to be captured cannot come back."""
    (place.uploads / "lpos").rename(place.path / "lpos")
    captured = place.run("--json", "backup")
    assert captured.status == 3
    answer = place.run("--json", "drill")
    assert answer.status == 42
    assert answer.document["verdict"] == "UNKNOWN"
    (told,) = [one for one in answer.document["findings"] if one["code"] == "capture-incomplete"]
    assert told["message"].endswith("were not there to be read: lpos")
    assert place.snapshots()[-1]["verdict"] == "UNKNOWN"
    (place.path / "lpos").rename(place.uploads / "lpos")
    place.json("backup")
    assert place.json("drill")["verdict"] == "PROVEN"


def test_an_error_that_nobody_foresaw_costs_one_source_only(place: Place) -> None:
    class Unforeseen(FilesSource):
        """A source whose author has overlooked something."""

        def capture(self, writer: SnapshotWriter, context: CaptureContext) -> Captured:
            raise RuntimeError(f"a secret of somebody's, {writer}, {context}")

    class Careless(Application):
        def sources(self, names: Sequence[str] = ()) -> list[Source]:
            return [Unforeseen("more", place.uploads), *super().sources(names)]

    report = backup(Careless.load(place.config))
    assert report.exit_status == 3
    assert report.captured == ("uploads",)
    ((source, error),) = report.errors
    assert (source, "RuntimeError" in error.message) == ("more", True)
    ledger = (place.path / "state/ledger.jsonl").read_text()
    assert "RuntimeError" in ledger
    assert "secret" not in json.dumps(report.as_json()) + ledger
