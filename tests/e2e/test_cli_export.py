"""Exports are read by the tools they are for: tar and git; hooks capture what Git deploys."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from strongroom.service.point import new_point_id
from tests.e2e.command_line import CONFIG, Place, make_place


def _git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    answer = subprocess.run(
        ["git", *identity, "-C", str(directory), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.strip()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Uploads with all that tar can hold, and code with a tag."""
    config = CONFIG.replace("repositories:", "  code: {kind: git, path: app}\nrepositories:")
    made = make_place(tmp_path_factory.mktemp("export"), config)
    lpos = made.uploads / "lpos"
    (lpos / "linked.pdf").hardlink_to(lpos / "LPO-1.pdf")
    (lpos / "soft").symlink_to("LPO-2.pdf")
    (lpos / "empty").mkdir(mode=0o750)
    (lpos / "nothing").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(lpos) + b"/not utf8 \xff")).write_text("x")
    (lpos / ("long " * 45)).write_text("y")
    os.utime(lpos / "nothing", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    os.setxattr(lpos / "nothing", "user.note", b"kept")
    app = made.path / "app"
    app.mkdir()
    _git(app, "init", "-q", "-b", "main")
    (app / "index.php").write_text("<?php echo 'one';\n")
    _git(app, "add", ".")
    _git(app, "commit", "-qm", "One")
    _git(app, "tag", "v1.0")
    made.json("init")
    made.json("backup")
    return made


@pytest.mark.parametrize("file_format", ["tar", "tar.gz"])
def test_tar_gives_the_tree_back(place: Place, tmp_path: Path, file_format: str) -> None:
    output = tmp_path / f"uploads.{file_format}"
    report = place.json("export", "latest:uploads", "--format", file_format, "--output", output)
    assert report["bytes"] == output.stat().st_size
    arguments = ["tar", "--extract", "--xattrs", "--file", str(output), "-C", str(tmp_path)]
    subprocess.run(arguments, check=True, capture_output=True)
    restored = tmp_path / "uploads"
    assert (restored / "lpos/linked.pdf").samefile(restored / "lpos/LPO-1.pdf")
    proof = place.json("prove", "uploads", "--target", restored)
    assert proof["verdict"] == "PROVEN"


def test_the_same_snapshot_gives_the_same_archive(place: Place, tmp_path: Path) -> None:
    first, second = (
        place.json("export", "latest:uploads", "-f", "tar.gz", "-o", tmp_path / f"{name}.tar.gz")
        for name in ("a", "b")
    )
    assert first["sha256"] == second["sha256"]


def test_an_export_never_overwrites_and_leaves_nothing_half(place: Place, tmp_path: Path) -> None:
    output = tmp_path / "there.tar"
    output.write_text("mine")
    answer = place.run("--json", "export", "latest:uploads", "-f", "tar", "-o", output)
    assert answer.status == 5
    assert output.read_text() == "mine"
    missing = place.run("--json", "export", "latest:uploads", "-f", "tar", "-o", tmp_path / "no/x")
    assert missing.status == 5
    assert [path.name for path in tmp_path.iterdir()] == ["there.tar"]


def test_git_clones_what_was_exported(place: Place, tmp_path: Path) -> None:
    output = tmp_path / "app.bundle"
    place.json("export", "latest:code", "--format", "git", "--output", output)
    subprocess.run(
        ["git", "clone", "-q", str(output), str(tmp_path / "clone")],
        check=True,
        capture_output=True,
    )
    assert _git(tmp_path / "clone", "tag") == "v1.0"
    assert _git(tmp_path / "clone", "rev-parse", "v1.0") == _git(
        place.path / "app", "rev-parse", "v1.0"
    )


def test_a_tag_gives_a_release_archive(place: Place, tmp_path: Path) -> None:
    output = tmp_path / "app.tar.gz"
    report = place.json(
        "export", "latest:code", "--format", "tar.gz", "--tag", "v1.0", "--output", output
    )
    assert report["tag"] == "v1.0"
    subprocess.run(["tar", "-xzf", str(output), "-C", str(tmp_path)], check=True)
    assert (tmp_path / "code-v1.0" / "index.php").exists()
    missing = place.run(
        "--json", "export", "latest:code", "-f", "tar", "--tag", "v9", "-o", tmp_path / "x"
    )
    assert missing.status == 27


def test_a_hook_captures_what_git_deploys(place: Place) -> None:
    app = place.path / "app"
    before = len(place.snapshots())
    report = place.json("hook", "install", "code")
    assert {Path(one["hook"]).name for one in report["installed"]} == {
        "post-receive",
        "post-merge",
        "post-checkout",
        "post-rewrite",
        "post-commit",
    }
    log = Path(report["installed"][0]["log"])
    _git(app, "checkout", "-q", "-b", "next")
    _git(app, "commit", "-q", "--allow-empty", "-m", "Two")
    _git(app, "checkout", "-q", "main")
    deadline = time.monotonic() + 60
    while len(place.snapshots()) < before + 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    captured = [one["source"] for one in place.snapshots()][before:]
    assert captured == ["code", "code"], log.read_text()  # the commit, and the switch
    removed = place.json("hook", "remove")
    assert len(removed["removed"]) == 5
    assert place.json("hook", "remove")["removed"] == []


def test_recovery_points_sort_by_time_and_differ() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    points = [new_point_id(now + timedelta(milliseconds=step)) for step in range(50)]
    assert points == sorted(points)
    assert len({new_point_id(now) for _ in range(100)}) == 100
    assert all(len(point) == 26 for point in points)


def test_completion_can_be_installed() -> None:
    import sys

    environment = {**os.environ, "_STRONGROOM_COMPLETE": "bash_source"}
    script = subprocess.run(
        [sys.executable, "-m", "strongroom"], env=environment, capture_output=True, check=False
    )
    assert b"complete" in script.stdout
    environment |= {
        "_STRONGROOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "strongroom sna",
        "COMP_CWORD": "1",
    }
    words = subprocess.run(
        [sys.executable, "-m", "strongroom"], env=environment, capture_output=True, check=False
    )
    assert words.stdout.split() == [b"plain,snapshots"]
