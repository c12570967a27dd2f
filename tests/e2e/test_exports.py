"""The demo's snapshots as files for other tools: psql, pg_restore, tar and git bring them back.

`test_cli_export` asks more about archives; here the whole application goes through each format.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.code_ground import git
from tests.support.demo_ground import DemoGround

# What belongs to the server and not into a dump of one database's content.
OF_THE_SERVER = {
    ("structure-differs", "database"),
    ("structure-missing", "settings of role authenticated in this database"),
    ("structure-missing", "settings of role tms_app in this database"),
}


def _expect_all_content(ground: DemoGround, database: str) -> None:
    """Everything is there; only settings of the database itself are not in a dump."""
    answer = ground.run("--json", "prove", "database", "--target", ground.url(database))
    loud = {
        (one["code"], one["subject"])
        for one in answer.document["findings"]
        if one["severity"] != "note"
    }
    assert loud == OF_THE_SERVER, answer.text


def _client(ground: DemoGround, program: str, *arguments: object) -> None:
    done = subprocess.run(
        [ground.cluster.programs.path(program), *map(str, arguments)],
        env=ground.cluster.connection().environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.xdist_group("demo-15")
def test_psql_loads_the_exported_sql(demo_on: Callable[[int], DemoGround], tmp_path: Path) -> None:
    ground, output = demo_on(15), tmp_path / "tms.sql"
    report = ground.json("export", "latest:database", "--format", "sql", "--output", output)
    assert output.stat().st_mode & 0o777 == 0o600
    assert report["bytes"] == output.stat().st_size
    ground.execute("postgres", "CREATE DATABASE by_sql TEMPLATE template0")
    _client(ground, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "by_sql", "-f", output)
    _expect_all_content(ground, "by_sql")


@pytest.mark.xdist_group("demo-18")
def test_pg_restore_loads_the_exported_dump(
    demo_on: Callable[[int], DemoGround], tmp_path: Path
) -> None:
    ground, output = demo_on(18), tmp_path / "tms.dump"
    ground.json("export", "latest:database", "--format", "custom", "--output", output)
    assert output.stat().st_mode & 0o777 == 0o600
    assert output.read_bytes()[:5] == b"PGDMP"
    ground.execute("postgres", "CREATE DATABASE by_dump TEMPLATE template0")
    _client(ground, "pg_restore", "--exit-on-error", "--jobs=2", "-d", "by_dump", output)
    _expect_all_content(ground, "by_dump")


@pytest.mark.xdist_group("demo-15")
@pytest.mark.parametrize("file_format", ["tar", "tar.gz"])
def test_tar_unpacks_files_and_a_databases_folder(
    file_format: str, demo_on: Callable[[int], DemoGround], tmp_path: Path
) -> None:
    ground = demo_on(15)
    for source in ("uploads", "database"):
        output = tmp_path / f"{source}.{file_format}"
        ground.json("export", f"latest:{source}", "--format", file_format, "--output", output)
        subprocess.run(["tar", "-xf", str(output), "-C", str(tmp_path)], check=True)
    proof = ground.json("prove", "uploads", "--target", tmp_path / "uploads")
    assert proof["verdict"] == "PROVEN"
    assert (tmp_path / "database" / "restore.sh").stat().st_mode & 0o100
    assert (tmp_path / "database" / "data" / "public.trainees.copy").stat().st_size > 1000


@pytest.mark.xdist_group("demo-15")
def test_git_clones_bundles_and_bare_repositories(
    demo_on: Callable[[int], DemoGround], tmp_path: Path
) -> None:
    ground = demo_on(15)
    for name in ("tms.bundle", "tms.git"):
        ground.json("export", "latest:code", "--format", "git", "--output", tmp_path / name)
        clone = tmp_path / f"clone of {name}"
        git(tmp_path, "clone", "-q", str(tmp_path / name), str(clone))
        for ref in ("HEAD", "v1.0.0", "v1.1.0", "v1.2.0"):
            assert git(clone, "rev-parse", ref) == git(ground.demo.code, "rev-parse", ref)
        assert git(clone, "fsck", "--full", "--strict") == ""
    # A release is the tagged tree and nothing of the host: no configuration that isn't in Git.
    output = tmp_path / "tms-1.2.tar.gz"
    options = ["--format", "tar.gz", "--tag", "v1.2.0", "--output", output]
    ground.json("export", "latest:code", *options)
    listed = subprocess.run(["tar", "-tzf", str(output)], check=True, capture_output=True)
    files = sorted(
        line.partition("/")[2]
        for line in listed.stdout.decode().splitlines()
        if not line.endswith("/")
    )
    assert files == git(ground.demo.code, "ls-tree", "-r", "--name-only", "v1.2.0").split("\n")
    assert ".htaccess" not in files
