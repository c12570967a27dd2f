"""A database from the command line: capture, drill, restore, prove, replace, export."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place, make_place

CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:CLI_TEST_URL}
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
state: state
"""

SCHEMA = """\
CREATE TABLE trainees (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    status varchar NOT NULL CHECK (status IN ('new', 'active')),
    twice integer GENERATED ALWAYS AS (score * 2) STORED,
    score integer NOT NULL
);
INSERT INTO trainees (status, score) SELECT 'new', n FROM generate_series(1, 500) AS n;
CREATE TABLE "Odd name" ("a ""b" text, c bytea);
INSERT INTO "Odd name" VALUES (E'tab\\t line\\n back\\\\ end', '\\x00ff'), (NULL, NULL);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM trainees;
SELECT lo_from_bytea(0, 'a large object');
"""


@dataclass(frozen=True)
class Server:
    """A cluster with the database `tms`, and how tests ask it."""

    cluster: Cluster

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.cluster.socket_directory}"

    def sql(self, database: str, statements: str) -> str:
        """What psql prints, unaligned."""
        program = self.cluster.programs.path("psql")
        answer = subprocess.run(
            [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database)],
            input=statements,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with throwaway_cluster(major=15) as cluster:
        made = Server(cluster)
        made.sql("postgres", "CREATE DATABASE tms")
        made.sql("tms", SCHEMA)
        os.environ["CLI_TEST_URL"] = made.url("tms")
        yield made
        del os.environ["CLI_TEST_URL"]


@pytest.fixture(scope="module")
def place(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("database"), CONFIG)
    assert server.sql("tms", "SELECT n FROM totals") == "500"
    made.json("init")
    return made


@pytest.fixture(scope="module")
def captured(place: Place) -> Place:
    """The place with one recovery point."""
    report = place.json("backup")
    assert [one["source"] for one in report["snapshots"]] == ["database", "uploads"]
    return place


def test_a_drill_of_everything_is_proven(captured: Place) -> None:
    report = captured.json("drill")
    assert {one["source"]: one["verdict"] for one in report["drills"]} == {
        "database": "PROVEN",
        "uploads": "PROVEN",
    }
    assert report["drills"][0]["checked"] > 5
    assert [one["verdict"] for one in captured.snapshots()] == ["PROVEN", "PROVEN"]


def test_without_a_sandbox_nothing_is_known(captured: Place) -> None:
    captured.write_config(CONFIG.replace("URL}", "URL, programs: nowhere}"))
    try:
        answer = captured.run("--json", "drill", "database")
    finally:
        captured.write_config(CONFIG)
    assert answer.status == 42
    assert answer.document["verdict"] == "UNKNOWN"
    (found,) = answer.document["findings"]
    assert found["code"] == "drill-stopped"
    assert "client-programs" in found["message"]
    assert answer.document["evidence"][0]["seq"] > 0


def test_a_restore_is_proven_and_a_change_is_found(
    captured: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_URL", server.url("restored"))
    preview = captured.json("restore", "database", "--to", "env:RESTORE_URL", "--preview")
    assert preview["obstacle"] is None
    report = captured.json("restore", "database", "--to", "env:RESTORE_URL")
    assert report["verdict"] == "PROVEN"
    assert server.sql("restored", 'SELECT count(*) FROM "Odd name"') == "2"
    again = captured.run("--json", "restore", "database", "--to", "env:RESTORE_URL")
    assert again.status == 5
    assert again.document["error"]["code"] == "target-not-empty"
    server.sql("restored", "UPDATE trainees SET status = 'active' WHERE id = 7")
    proof = captured.run("--json", "prove", "database", "--target", "env:RESTORE_URL")
    assert proof.status == 41
    codes = {one["code"]: one["subject"] for one in proof.document["findings"]}
    assert codes["content-differs"] == "public.trainees"
    # Replacing takes the name typed out, keeps the changed one, and proves what it puts there.
    wrong = captured.run("restore", "database", "--to", "env:RESTORE_URL", "--replace", "tms")
    assert wrong.status == 5
    replaced = captured.json(
        "restore", "database", "--to", "env:RESTORE_URL", "--replace", "restored"
    )
    assert replaced["verdict"] == "PROVEN"
    changed = "SELECT count(*) FROM trainees WHERE status = 'active'"
    assert server.sql("restored", changed) == "0"
    assert server.sql(replaced["kept"], changed) == "1"


def test_a_database_in_use_is_not_replaced(captured: Place, server: Server) -> None:
    server.sql("postgres", "CREATE DATABASE used")
    with server.cluster.connection("used").connect():
        answer = captured.run(
            "--json", "restore", "database", "--to", server.url("used"), "--replace", "used"
        )
    assert answer.status == 5
    assert "somebody is connected" in answer.document["error"]["message"]
    names = "SELECT count(*) FROM pg_database WHERE datname LIKE 'used%'"
    assert server.sql("postgres", names) == "1"


def test_exported_sql_gives_the_same_database(
    captured: Place, server: Server, tmp_path: Path
) -> None:
    output = tmp_path / "tms.sql"
    report = captured.json("export", "latest:database", "--format", "sql", "--output", output)
    assert report["bytes"] == output.stat().st_size
    server.sql("postgres", "CREATE DATABASE from_sql")
    server.sql("from_sql", output.read_text())
    proof = captured.json("prove", "database", "--target", server.url("from_sql"))
    assert proof["verdict"] == "PROVEN"


def test_an_exported_dump_is_one_that_pg_restore_reads(
    captured: Place, server: Server, tmp_path: Path
) -> None:
    output = tmp_path / "tms.dump"
    captured.json("export", "latest:database", "--format", "custom", "--output", output)
    server.sql("postgres", "CREATE DATABASE from_dump")
    program = server.cluster.programs.path("pg_restore")
    arguments = [program, "--exit-on-error", "-d", server.url("from_dump"), str(output)]
    subprocess.run(arguments, check=True, capture_output=True)
    proof = captured.json("prove", "database", "--target", server.url("from_dump"))
    assert proof["verdict"] == "PROVEN"
    assert [path.name for path in tmp_path.iterdir()] == ["tms.dump"]


def test_an_unreachable_database_stops_neither_files_nor_lies(
    captured: Place, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert server.cluster.major >= 15
    monkeypatch.setenv("CLI_TEST_URL", f"postgresql://postgres@/tms?host={tmp_path}")
    answer = captured.run("--json", "backup")
    assert answer.status == 3
    assert [one["source"] for one in answer.document["snapshots"]] == ["uploads"]
    assert [one["code"] for one in answer.document["errors"]] == ["database-unreachable"]
    alone = captured.run("--json", "backup", "database")
    assert alone.status == 11
    doctor = captured.run("--json", "doctor")
    assert doctor.status == 11
    (failed,) = [one for one in doctor.document["checks"] if one["state"] == "failed"]
    assert failed["name"] == "source database"


def test_a_role_without_privileges_captures_nothing(
    captured: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.sql("tms", "CREATE ROLE weak LOGIN")
    monkeypatch.setenv("CLI_TEST_URL", server.url("tms").replace("postgres@", "weak@"))
    before = len(captured.snapshots())
    answer = captured.run("--json", "backup", "database")
    server.sql("tms", "DROP ROLE weak")
    assert answer.status == 13
    assert answer.document["error"]["code"] == "database-privilege"
    assert "trainees" in answer.document["error"]["message"]
    assert len(captured.snapshots()) == before


def test_a_literal_password_is_refused_and_not_repeated(captured: Place) -> None:
    answer = captured.run("--json", "restore", "database", "--to", "postgresql://tms:hunter2@h/db")
    assert answer.status == 2
    assert "hunter2" not in answer.text + answer.err
    assert "this URL holds a password" in answer.document["error"]["message"]
    assert "give env:NAME or file:PATH" in answer.document["error"]["hint"]


def test_an_address_that_names_no_database_is_refused(
    captured: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGDATABASE", raising=False)
    monkeypatch.setenv("CLI_TEST_URL", server.url(""))
    for command in (("backup", "database"), ("doctor",)):
        answer = captured.run("--json", *command)
        assert answer.status == 2
        assert "the address names no database" in answer.text
        assert "HOST:PORT/DATABASE" in answer.text
    written = captured.run("restore", "database", "--to", server.url(""))
    assert written.status == 2
    assert "names no database" in written.err
