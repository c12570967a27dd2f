"""docs/FORMAT.md, "Restore without us", word by word: restic, a shell, psql and git, not us.

Afterwards our own proof is asked whether what came back is what was captured.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.programs import find_programs
from tests.house.ground import ROOT
from tests.support.demo_ground import DemoGround

CHAPTER = "Restore without us"
MAJORS = [
    pytest.param(one, marks=pytest.mark.xdist_group(f"demo-{one}")) for one in (13, 14, 15, 16, 18)
]


def _blocks() -> list[str]:
    """The chapter's shell blocks in their order."""
    text = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {CHAPTER}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/FORMAT.md has no chapter {CHAPTER}"
    return re.findall(r"^```sh\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Returned:
    """What the chapter's commands said, and where they worked."""

    ground: DemoGround
    place: Path
    server: Cluster
    said: str

    def url(self, database: str) -> str:
        host = self.server.socket_directory
        return f"postgresql://postgres@/{database}?host={host}&sslmode=disable"


def _environment(ground: DemoGround, server: Cluster) -> dict[str, str]:
    """What the chapter says to set; no way to Strongroom or Python."""
    programs = find_programs(server.major).directory
    connection = server.connection()
    return {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "RESTIC_REPOSITORY": str(ground.demo.repository),
        "RESTIC_PASSWORD_FILE": str(ground.password_file),
        "RESTIC_CACHE_DIR": str(ground.demo.directory.parent / "cache"),
        "PGHOST": connection.host,
        "PGPORT": connection.port,
        "PGUSER": connection.user,
    }


def _shell(script: str, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-eu", "-c", script],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("major", MAJORS)
def test_the_chapter_brings_everything_back(
    major: int, demo_on: Callable[[int], DemoGround], tmp_path: Path
) -> None:
    ground = demo_on(major)
    blocks = _blocks()
    assert len(blocks) >= 4
    assert not any("strongroom" in line.split() for block in blocks for line in block.splitlines()
                   if not line.startswith("restic snapshots")), blocks  # fmt: skip
    with throwaway_cluster(major=major) as server:
        environment = _environment(ground, server)
        found = _shell("command -v strongroom", tmp_path, environment)
        assert found.returncode != 0, "the test has to do without us"
        done = _shell("\n".join(blocks), tmp_path, environment)
        assert done.returncode == 0, done.stderr
        back = Returned(ground, tmp_path, server, done.stdout + done.stderr)
        _check_database(back)
    _check_trees(back)


def _check_database(back: Returned) -> None:
    assert re.search(r"restore\.sh: done: \d+ tables, 20000 rows", back.said)
    assert "ERROR" not in back.said
    assert "FAILED" not in back.said
    target = back.url("tms_restored")
    answer = back.ground.run("--json", "prove", "database", "--target", target)
    assert answer.status == 0, answer.text
    assert answer.document["verdict"] == "PROVEN"
    assert {one["severity"] for one in answer.document["findings"]} <= {"note"}
    # A second run would write over it: refused, and what is there stays.
    (script,) = (back.place / "restored" / "database").glob("*/restore.sh")
    environment = _environment(back.ground, back.server)
    again = _shell(f"sh '{script}' tms_restored", back.place, environment)
    assert again.returncode != 0
    assert "does it exist already" in again.stderr
    assert back.ground.run("prove", "database", "--target", target).status == 0


def _check_trees(back: Returned) -> None:
    restored = back.place / "restored"
    uploads = restored / "files" / back.ground.demo.uploads.relative_to("/")
    for source, target in (("uploads", uploads), ("code", restored / "app")):
        answer = back.ground.run("--json", "prove", source, "--target", target)
        assert answer.status == 0, answer.text
        assert answer.document["verdict"] == "PROVEN"


# restore.sh by itself


@dataclass(frozen=True)
class Folder:
    """A database's folder of a snapshot, restored by restic, and a server for it."""

    path: Path
    server: Cluster
    environment: dict[str, str]

    def restore(self, database: str, **more: str) -> subprocess.CompletedProcess[str]:
        script = f"sh '{self.path}/restore.sh' {database}"
        return _shell(script, Path("/"), self.environment | more)


@pytest.fixture
def folder(demo_on: Callable[[int], DemoGround], tmp_path: Path) -> Folder:
    ground = demo_on(15)
    # Beside the captured database, on its own server: roles exist already.
    environment = _environment(ground, ground.cluster)
    done = _shell("restic restore latest --tag kind:postgres --target back", tmp_path, environment)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "back").iterdir()
    return Folder(path, ground.cluster, environment)


@pytest.mark.xdist_group("demo-15")
def test_rows_that_are_missing_are_never_called_complete(folder: Folder) -> None:
    """A file cut at the end of a line loads without any error; only the count tells."""
    rows = folder.path / "data" / "public.rooms.copy"
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:-1]))
    done = folder.restore("short")
    assert done.returncode == 1
    assert f"public.rooms.copy: {len(lines)} rows were captured, {len(lines) - 1} were" in (
        done.stderr
    )
    assert "database 'short' is incomplete" in done.stderr
    done = folder.restore("short_too", KEEP_GOING="1")
    assert done.returncode == 3
    assert "NOT complete" in done.stderr


@pytest.mark.xdist_group("demo-15")
def test_a_statement_that_fails_stops_it(folder: Folder) -> None:
    script = folder.path / "post-data.sql"
    script.write_text(script.read_text().replace("int4range(room_id", "no_range(room_id"))
    done = folder.restore("broken")
    assert done.returncode == 1
    assert "no_range" in done.stderr
    assert "FAILED: post-data.sql" in done.stderr
    done = folder.restore("broken_too", KEEP_GOING="1")
    assert done.returncode == 3, done.stderr
    assert "done, with 1 errors: the database is NOT complete" in done.stderr


@pytest.mark.xdist_group("demo-15")
def test_what_is_wrong_with_the_call_is_said(folder: Folder, tmp_path: Path) -> None:
    assert "usage" in folder.restore("").stderr
    done = folder.restore("nowhere", PGHOST=str(tmp_path))
    assert done.returncode == 1
    assert "no connection to the server" in done.stderr
    done = folder.restore("nothing", PATH=_without_psql(tmp_path))
    assert done.returncode == 2
    assert "psql was not found" in done.stderr


def _without_psql(place: Path) -> str:
    """A directory with the POSIX programs that the script names, and nothing else."""
    programs = place / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "sed", "grep", "cat", "printf"):
        where = next(one for one in ("/bin", "/usr/bin") if os.access(f"{one}/{name}", os.X_OK))
        (programs / name).symlink_to(f"{where}/{name}")
    return str(programs)


@pytest.mark.xdist_group("demo-15")
def test_the_script_needs_only_psql_and_posix_programs(folder: Folder) -> None:
    """With nothing else on PATH it works, in a shell that takes POSIX by its word."""
    programs = Path(_without_psql(folder.path))
    (programs / "psql").symlink_to(folder.server.programs.path("psql"))
    done = folder.restore('"plain"', PATH=str(programs), POSIXLY_CORRECT="1")
    assert done.returncode == 0, done.stderr
