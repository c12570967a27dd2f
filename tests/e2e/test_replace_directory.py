"""Replacing directories from the command line, the way back, parts, and why it was done."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command_line import CONFIG, Place, make_place
from tests.support.code_ground import commit, git, make_application, write
from tests.support.observation import small_disk
from tests.support.tree_ground import describe

WITH_CODE = CONFIG.replace("repositories:", "  code: {kind: git, path: app}\nrepositories:")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Files and code with one recovery point."""
    made = make_place(tmp_path, WITH_CODE)
    make_application(tmp_path / "app")
    made.json("init")
    made.json("backup")
    return made


def test_what_is_there_already_is_not_fetched_and_proves_nothing_of_the_store(
    place: Place,
) -> None:
    (place.uploads / "lpos" / "LPO-1.pdf").write_text("overwritten by mistake")
    report = place.json("restore", "uploads", "--to", place.uploads, "--replace", "uploads")
    assert report["verdict"] == "PROVEN"
    assert report["bytes"] == 180_026
    assert report["reused_bytes"] == 80_019
    assert Path(report["kept"]).name.startswith("uploads.before-")
    # Some of it was never read from the repository.
    verdicts = {one["source"]: one["verdict"] for one in place.snapshots()}
    assert verdicts["uploads"] == "UNKNOWN"
    text = place.run("restore", "uploads", "--to", place.uploads, "--replace", "uploads").text
    assert "175.8 KiB, of which 175.8 KiB were there already" in text
    new = place.json("restore", "uploads", "--to", place.path / "new")
    assert new["reused_bytes"] == 0
    verdicts = {one["source"]: one["verdict"] for one in place.snapshots()}
    assert verdicts["uploads"] == "PROVEN"


def test_there_and_back_and_further_back(place: Place) -> None:
    """Each rollback undoes one replacement; what gave way is kept each time."""
    target = place.path / "elsewhere"
    states = []
    for number in range(2):
        target.mkdir(exist_ok=True)
        (target / "mine").write_text(f"{number}")
        states.append(describe(target))
        place.json("restore", "uploads", "--to", target, "--replace", "elsewhere")
    second = place.json("restore", "--rollback", target, "--reason", "the wrong one")
    assert describe(target) == states[1]
    assert Path(second["kept"]).name.startswith("elsewhere.rolled-back-")
    assert (Path(second["kept"]) / "lpos").is_dir()
    place.json("restore", "--rollback", target)
    assert describe(target) == states[0]
    none = place.run("restore", "--rollback", target)
    assert none.status == 5
    assert "nothing is kept" in none.err
    assert not [one for one in place.path.iterdir() if one.name.startswith(".elsewhere")]


def test_what_an_older_version_kept_comes_back(place: Place) -> None:
    target = place.path / "elsewhere"
    target.mkdir()
    for name in ("elsewhere.replaced-20251122T140000Z", "elsewhere.replaced-20241122T140000Z"):
        (place.path / name).mkdir()
        (place.path / name / name).touch()
    # Names that only look alike.
    (place.path / "elsewhere.before-tomorrowZ").mkdir()
    (place.path / "elsewhere.before-20991122T140000Z").touch()
    place.json("restore", "--rollback", target)
    assert [one.name for one in target.iterdir()] == ["elsewhere.replaced-20251122T140000Z"]


def test_code_is_replaced_and_comes_back(place: Place) -> None:
    app = place.path / "app"
    captured = git(app, "rev-parse", "HEAD")
    write(app / "public" / "index.php", "changed")
    newer = commit(app)
    report = place.json("restore", "code", "--to", app, "--replace", "app")
    assert report["verdict"] == "PROVEN"
    assert git(app, "rev-parse", "HEAD") == captured
    place.json("restore", "--rollback", app)
    assert git(app, "rev-parse", "HEAD") == newer


def test_targets_that_cannot_change_their_name_are_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place.uploads)
    for target, name, said in (
        (tmp_path / "link", "link", "symbolic link"),
        (tmp_path / "key", "key", "not a directory"),
        (tmp_path / "none" / "x", "x", "no such directory"),
        (tmp_path / "uploads" / ".." / "uploads", "uploads", "without `..`"),
    ):
        answer = place.run("restore", "uploads", "--to", target, "--replace", name)
        assert answer.status == 5, target
        assert said in answer.err
    assert not [one for one in tmp_path.iterdir() if "strongroom-switch" in one.name]


def test_only_one_at_a_time(place: Place) -> None:
    from strongroom.recovery.switch_journal import journal_beside, open_journal

    with open_journal(journal_beside(place.uploads), "uploads"):
        answer = place.run("restore", "uploads", "--to", place.uploads, "--replace", "uploads")
        assert answer.status == 4
        assert place.run("restore", "--rollback", place.uploads).status == 4


@pytest.mark.parametrize(
    ("patterns", "files"),
    [
        (["certificates/2026/*"], "a.pdf b.txt c.pdf"),
        (["certificates/**/*.pdf"], "a.pdf c.pdf"),
        (["**/c.pdf"], "c.pdf"),
        (["*.pdf", "!a.pdf"], "c.pdf d.pdf"),
        (["/other/"], "d.pdf e"),
        (["2026"], "a.pdf b.txt c.pdf d.pdf"),
    ],
)
def test_patterns_choose_files(tmp_path: Path, patterns: list[str], files: str) -> None:
    place = make_place(tmp_path, CONFIG.replace("path: uploads, required: [lpos]", "path: in"))
    for name in (
        "certificates/2026/a.pdf", "certificates/2026/b.txt", "certificates/2026/q/c.pdf",
        "other/2026/d.pdf", "other/e",
    ):  # fmt: skip
        write(tmp_path / "in" / name, name)
    place.json("init")
    place.json("backup")
    words = [word for one in patterns for word in ("--include", one)]
    report = place.json("restore", "uploads", "--to", tmp_path / "out", *words)
    found = sorted(one.name for one in (tmp_path / "out").rglob("*") if one.is_file())
    assert found == files.split()
    assert report["files"] == len(found)
    assert report["verdict"] is None
    text = place.run("restore", "uploads", "--to", tmp_path / "again", *words).text
    assert f"{len(found)} file" in text


def test_a_pattern_that_chooses_nothing_leaves_nothing(place: Place) -> None:
    answer = place.run(
        "restore", "uploads", "--to", place.path / "out", "--include", "certificates/2025/*"
    )
    assert answer.status != 0
    assert "no file matches certificates/2025/*" in answer.err
    assert "strongroom ls" in answer.err
    assert not (place.path / "out").exists()


# Why


def reasons(place: Place) -> list[object]:
    return [one.fields["reason"] for one in place.seen() if one.kind in ("restore", "rollback")]


def test_without_a_reason_that_is_said_and_recorded(place: Place) -> None:
    answer = place.run("restore", "uploads", "--to", place.path / "1")
    assert answer.status == 0
    assert "No reason is given, and recorded so" in answer.err
    told = place.run("restore", "uploads", "--to", place.path / "2", "--reason", "an audit")
    assert "reason" not in told.err
    assert reasons(place) == [None, "an audit"]


def test_the_configuration_may_demand_one(place: Place) -> None:
    place.write_config(WITH_CODE + "restore: {reason: required}\n")
    for words in (
        ("restore", "uploads", "--to", place.path / "1"),
        ("restore", "uploads", "--to", place.path / "1", "--reason", " "),
        ("restore", "--rollback", place.uploads),
    ):
        answer = place.run(*words)
        assert answer.status == 2
        assert "demands" in answer.err
    assert not (place.path / "1").exists()
    place.json("restore", "uploads", "--to", place.path / "1", "--preview")
    place.json("restore", "uploads", "--to", place.path / "1", "--reason", "an audit")


def on_a_terminal(place: Place, *words: object, typed: str) -> tuple[int, str]:
    """Exit status and what a terminal shows of a run in which this is typed at the question."""
    command = [sys.executable, "-m", "strongroom", "--config", str(place.config), *map(str, words)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, command)
    shown, is_answered = b"", False
    while select.select([terminal], [], [], 60)[0]:
        try:
            got = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not got:
            break
        shown += got
        if shown.endswith(b": ") and not is_answered:
            is_answered = True
            os.write(terminal, typed.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize(("typed", "recorded"), [("disk lost", "disk lost"), ("", None)])
def test_a_terminal_is_asked(place: Place, typed: str, recorded: str | None) -> None:
    status, shown = on_a_terminal(
        place, "restore", "uploads", "--to", place.path / "1", typed=typed
    )
    assert status == 0, shown
    assert "Why is this restored?" in shown
    assert reasons(place) == [recorded]
    audited = [one for one in place.ledger.entries() if one.fields.get("command") == "restore"]
    assert {one.fields.get("reason") or None for one in audited} == {recorded}


def test_nobody_is_asked_where_a_script_waits(place: Place) -> None:
    for words in (
        ["restore", "uploads", "--to", place.path / "1", "--json"],
        ["restore", "uploads", "--to", place.path / "2", "--reason", "known"],
        ["restore", "uploads", "--to", place.path / "3", "--preview"],
    ):
        status, shown = on_a_terminal(place, *words, typed="not to be typed")
        assert status == 0, shown
        assert "Why" not in shown


def test_a_restore_shows_how_far_it_is(place: Place) -> None:
    """A bar with rate and time left on a terminal, lines in a pipe; so does a replacement."""
    words = ["restore", "uploads", "--to", place.uploads, "--replace", "uploads", "--reason", "x"]
    _, shown = on_a_terminal(place, *words, typed="")
    assert "restore uploads" in shown
    assert "\x1b[?25h" in shown  # the cursor is back
    command = [sys.executable, "-m", "strongroom", "--config", str(place.config)]
    piped = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, check=True)
    assert piped.stderr.startswith("restore uploads: ")
    assert "of about 351.6 KiB" in piped.stderr
    assert "\x1b" not in piped.stderr + piped.stdout


def test_a_full_disk_endangers_nothing_that_is_in_use(place: Place) -> None:
    with small_disk(100 << 10) as disk:
        target = disk / "uploads"
        target.mkdir()
        (target / "mine").write_text("in use")
        words = ("restore", "uploads", "--to", target, "--replace", "uploads", "--ignore-space")
        answer = place.run("--json", *words, "--reason", "test")
        assert answer.status == 5
        error = answer.document["error"]
        assert "No space left" in error["message"]
        assert error["hint"].startswith("Nothing was changed")
        assert "mpty" not in error["hint"]
        assert [one.name for one in disk.iterdir() if one.is_dir()] == ["uploads"]
        assert (target / "mine").read_text() == "in use"


@pytest.mark.parametrize(
    "target",
    [
        "host=h password=hunter2 dbname=x",
        "dbname=x host=h PASSWORD='hunter2'",
        "postgresql://u:hunter2@127.0.0.1:1/x",
        "postgresql://u@127.0.0.1:1/x?password=hunter2",
    ],
)
def test_a_password_is_refused_before_anything_and_kept_nowhere(place: Place, target: str) -> None:
    answer = place.run("restore", "--rollback", target, "--reason", "test")
    assert answer.status == 2, answer.err
    assert "env:NAME" in answer.err
    assert "hunter2" not in answer.err + answer.text
    ledger = b"".join(
        one.read_bytes() for one in (place.path / "state").rglob("*") if one.is_file()
    )
    assert b"hunter2" not in ledger
    assert b"rollback-failed" not in ledger
