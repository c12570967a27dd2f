"""The main path from the command line: init, backup, look, restore, prove, drill, check."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from strongroom.evidence import Ledger
from tests.e2e.command_line import CONFIG, PASSWORD, Place, make_place, run
from tests.support.repository_ground import new_repository
from tests.support.tree_ground import make_socket


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One application with two snapshots; tests only look at it, or add to it."""
    made = make_place(tmp_path_factory.mktemp("path"))
    assert made.json("init")["created"] == [
        {"repository": "local", "location": str(made.path / "local")}
    ]
    made.json("backup")
    (made.uploads / "lpos" / "LPO-3.pdf").write_bytes(b"new")
    (made.uploads / "lpos" / "LPO-2.pdf").unlink()
    (made.uploads / "lpos" / "LPO-1.pdf").chmod(0o640)
    made.json("backup", "uploads")
    return made


def test_a_backup_reports_every_copy(place: Place) -> None:
    report = place.json("backup")
    assert report["recovery_point"]
    assert report["findings"] == []
    (one,) = report["snapshots"]
    assert one["source"] == "uploads"
    assert one["repository"] == "local"
    assert len(one["id"]) == len(one["tree"]) == 64
    assert one["bytes"] == sum(
        path.stat().st_size for path in place.uploads.rglob("*") if path.is_file()
    )
    assert one["added_bytes"] >= 0
    assert one["seconds"] > 0


def test_tags_are_those_of_the_interface(place: Place) -> None:
    from strongroom.repository import Repository, open_storage

    opened = Repository.open(open_storage(str(place.path / "local")), PASSWORD, name="local")
    newest = opened.find("latest", source="uploads")
    point = place.snapshots()[-1]["recovery_point"]
    assert newest.tags == (
        "strongroom",
        "source:uploads",
        "kind:files",
        "application:tms",
        f"point:{point}",
    )
    assert newest.paths == (str(place.uploads),)
    assert newest.parent is not None
    assert newest.size_bytes == place.snapshots()[-1]["bytes"]


def test_diff_says_what_was_added_removed_and_changed(place: Place) -> None:
    first, second = (one["id"] for one in place.snapshots()[:2])
    base = str(place.uploads / "lpos")
    report = place.json("diff", first[:10], second[:10])
    assert report["added"] == [f"{base}/LPO-3.pdf"]
    assert report["removed"] == [f"{base}/LPO-2.pdf"]
    assert report["changed"] == []
    assert report["metadata"] == [f"{base}/LPO-1.pdf"]
    assert report["growth_bytes"] == 3 - (7 + 80_000)


def test_ls_shows_odd_names_on_one_line(place: Place) -> None:
    answer = place.run("ls", "latest:uploads", "--recursive")
    lines = answer.text.splitlines()
    assert any("quotes/Q 1\\nodd.txt" in line for line in lines)
    assert lines[-1].endswith("entries")
    paths = [one["path"] for one in place.json("ls", "latest:uploads", "-R")["entries"]]
    assert f"{place.uploads}/quotes/Q 1\nodd.txt" in paths


def test_dump_gives_the_bytes_of_a_file(place: Place) -> None:
    wanted = place.uploads / "lpos" / "LPO-1.pdf"
    answer = place.run("dump", "latest:uploads", wanted)
    assert answer.out == wanted.read_bytes()


def test_dump_into_a_file_never_overwrites(place: Place, tmp_path: Path) -> None:
    wanted, copy = place.uploads / "lpos" / "LPO-1.pdf", tmp_path / "copy.pdf"
    report = place.json("dump", "latest:uploads", wanted, "--output", copy)
    assert report["bytes"] == len(copy.read_bytes())
    assert copy.read_bytes() == wanted.read_bytes()
    assert place.run("dump", "latest:uploads", wanted, "--output", copy).status == 5
    for directory in (place.uploads, "/"):
        refused = place.run("dump", "latest:uploads", directory)
        assert refused.status == 27
        assert "this is a directory" in refused.err
        assert "`strongroom ls`" in refused.err


def test_a_restore_ends_with_its_proof(place: Place, tmp_path: Path) -> None:
    answer = place.run("restore", "uploads", "--to", tmp_path / "back", "--reason", "a test")
    assert answer.status == 0, answer.err
    assert answer.text.splitlines()[-1].startswith("PROVEN  uploads: identical to snapshot ")
    restored = {
        path.relative_to(tmp_path / "back"): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert restored == {
        path.relative_to(place.uploads): path.read_bytes()
        for path in place.uploads.rglob("*")
        if path.is_file()
    }
    assert place.snapshots()[-1]["verdict"] == "PROVEN"
    assert place.snapshots()[0]["verdict"] == "UNKNOWN"
    last = list(Ledger(place.path / "state" / "ledger.jsonl").entries("restore"))[-1]
    assert last.fields["reason"] == "a test"


def test_an_old_snapshot_is_found_by_its_time(place: Place, tmp_path: Path) -> None:
    first = place.snapshots()[0]
    report = place.json(
        "restore", "uploads", "--to", tmp_path / "old", "--at", first["captured_at"]
    )
    assert report["snapshot"] == first["id"]
    assert (tmp_path / "old" / "lpos" / "LPO-2.pdf").exists()


def test_a_part_comes_back_without_a_verdict(place: Place, tmp_path: Path) -> None:
    report = place.json("restore", "uploads", "--to", tmp_path / "part", "--include", "LPO-3.pdf")
    assert report["verdict"] is None
    files = [path.name for path in (tmp_path / "part").rglob("*") if path.is_file()]
    assert files == ["LPO-3.pdf"]


def test_a_changed_byte_is_found(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    place.json("restore", "uploads", "--to", target)
    assert place.json("prove", "uploads", "--target", target)["verdict"] == "PROVEN"
    changed = target / "lpos" / "LPO-1.pdf"
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    content[1000] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    answer = place.run("--json", "prove", "uploads", "--target", target)
    assert answer.status == 41
    assert answer.document["verdict"] == "FAILED"
    (found,) = answer.document["findings"]
    assert found["code"] == "tree-content"
    assert "LPO-1.pdf" in found["subject"]
    # The snapshot is not to blame for what became of a copy.
    assert place.snapshots()[-1]["verdict"] != "FAILED"


def test_a_drill_leaves_nothing_but_its_record(place: Place) -> None:
    report = place.json("drill")
    assert report["verdict"] == "PROVEN"
    assert {stage["name"] for stage in report["stages"]} >= {"uploads: sandbox"}
    assert list((place.path / "state" / "sandbox").iterdir()) == []
    (evidence,) = report["evidence"]
    entry = list(Ledger(place.path / "state" / "ledger.jsonl").entries("drill"))[-1]
    assert (entry.seq, entry.hash) == (evidence["seq"], evidence["hash"])
    assert entry.fields["snapshot"] == report["drills"][0]["snapshot"]


def test_check_reads_everything(place: Place) -> None:
    report = place.json("check", "local", "--read-data")
    assert report["findings"] == []
    assert report["packs"] > 0
    assert report["bytes_read"] > 0


def test_the_doctor_finds_nothing_wrong(place: Place) -> None:
    report = place.json("doctor")
    assert {one["state"] for one in report["checks"]} <= {"fine", "warning"}
    names = {one["name"] for one in report["checks"]}
    assert {"engine", "ledger", "source uploads", "repository local", "leftovers"} <= names


def test_the_doctor_removes_what_a_killed_drill_left(place: Place) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    left = place.path / "state" / "sandbox" / f"strongroom-drill-{child.pid}-0badcafe"
    mine = place.path / "state" / "sandbox" / f"strongroom-drill-{os.getpid()}-0badcafe"
    for folder in (left, mine):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    report = place.json("doctor", "--clean")
    assert str(left) in report["removed"]
    assert str(mine) not in report["removed"]
    assert not left.exists()
    assert mine.exists()
    (mine / "file").unlink()
    mine.rmdir()


def test_init_twice_is_harmless(place: Place) -> None:
    report = place.json("init")
    assert report["created"] == []
    assert [one["repository"] for one in report["existing"]] == ["local"]


def test_init_without_a_configuration_writes_one_that_is_valid(tmp_path: Path) -> None:
    config = tmp_path / "new" / "strongroom.yaml"
    report = run("--config", config, "--json", "init")
    assert report.status == 0
    assert report.document["wrote_config"] is True
    assert run("--config", config, "config", "check").status == 0


def test_several_repositories_get_the_same_capture(tmp_path: Path) -> None:
    two = CONFIG.replace("state:", "  second: {location: second, password: file:key}\nstate:")
    place = make_place(tmp_path, two)
    place.json("init")
    report = place.json("backup")
    assert [one["repository"] for one in report["snapshots"]] == ["local", "second"]
    assert len({one["tree"] for one in report["snapshots"]}) == 1
    assert len({one["id"] for one in report["snapshots"]}) == 2
    # One of the copies is enough to restore, and the other one's loss is said.
    (tmp_path / "local").rename(tmp_path / "lost")
    answer = place.run("restore", "uploads", "--to", tmp_path / "back")
    assert answer.status == 0
    assert "local: " in answer.err
    assert "(second, " in answer.text


def test_replacing_keeps_what_was_there(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.json("init")
    place.json("backup")
    (place.uploads / "lpos" / "LPO-1.pdf").write_text("overwritten by mistake")
    preview = place.run("--json", "restore", "uploads", "--to", place.uploads, "--preview")
    assert preview.status == 5
    assert preview.document["obstacle"]["code"] == "target-not-empty"
    wrong = place.run("restore", "uploads", "--to", place.uploads, "--replace", "upload")
    assert wrong.status == 5
    report = place.json("restore", "uploads", "--to", place.uploads, "--replace", "uploads")
    assert report["verdict"] == "PROVEN"
    assert report["target"] == str(place.uploads)
    kept = Path(report["kept"])
    assert (kept / "lpos" / "LPO-1.pdf").read_text() == "overwritten by mistake"
    assert (place.uploads / "lpos" / "LPO-1.pdf").read_bytes().startswith(b"%PDF-1 ")
    assert place.json("prove", "uploads", "--target", place.uploads)["verdict"] == "PROVEN"


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(place: Place) -> None:
    arguments = [sys.executable, "-m", "strongroom", "--config", str(place.config), "backup"]
    piped = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert piped.stderr.startswith("uploads: ")
    assert "\x1b" not in piped.stderr + piped.stdout
    ours, theirs = pty.openpty()
    # Wide enough for every column of the bar.
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # what reading the end of a terminal raises
        while block := os.read(ours, 4096):
            drawn += block
    out, _ = child.communicate()
    os.close(ours)
    assert child.returncode == 0
    assert b"uploads" in drawn
    assert b"\x1b[?25h" in drawn  # the cursor is back
    assert "\x1b" not in out
    assert out.startswith("Recovery point ")


def test_the_listing_s_words_are_sources_and_its_commands_are_commands(tmp_path: Path) -> None:
    """Also for a source that is called like a command of the listing."""
    named = CONFIG.replace("repositories:", "  pin: {kind: files, path: uploads}\nrepositories:")
    place = make_place(tmp_path, named)
    new_repository(tmp_path / "local")
    place.json("backup")

    def sources(*words: str) -> list[str]:
        answer = place.run("snapshots", *words)
        assert answer.status == 0, (words, answer.err)
        return [one["source"] for one in json.loads(answer.out)["snapshots"]]

    for words in (
        ["--json", "uploads"],
        ["uploads", "--json"],
        ["-r", "local", "uploads", "--json"],
        ["uploads", "-rlocal", "--json"],
        ["--repository=local", "--json", "--quiet", "uploads"],
    ):
        assert sources(*words) == ["uploads"], words
    assert sources("--json", "--", "pin") == ["pin"]
    assert sources("uploads", "pin", "--json") == ["uploads", "pin"]
    for words in (
        ["pin", "latest:uploads", "--json"],
        ["--json", "--limit-upload", "1MiB", "pin", "latest:pin"],
        ["--quiet", "unpin", "--json", "latest:pin"],
    ):
        answer = place.run("snapshots", *words)
        assert answer.status == 0, (words, answer.err)
        assert {"pinned", "unpinned"} & json.loads(answer.out).keys()
    refused = place.run("--json", "snapshots", "-r", "local", "pin", "latest:uploads")
    assert refused.status == 2
    assert "belongs to the listing" in refused.document["error"]["message"]


def test_the_source_itself_is_proven_with_what_its_capture_left_out(tmp_path: Path) -> None:
    place = make_place(tmp_path, CONFIG.replace("[lpos]", "[lpos], exclude: ['*.tmp']"))
    (place.uploads / "half.tmp").write_bytes(b"half")
    make_socket(place.uploads / "socket")
    place.json("init")
    assert "note  file-skipped  socket: " in place.run("backup", "--verbose").text
    (tmp_path / "current").symlink_to(place.uploads)
    answer = place.run("prove", "uploads", "--target", tmp_path / "current", "--verbose")
    assert answer.status == 0, answer.text
    assert "note  tree-left-out  half.tmp: 2 entries" in answer.text
    (place.uploads / "new").touch()
    assert place.run("prove", "uploads", "--target", place.uploads).status == 41
