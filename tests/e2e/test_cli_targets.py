"""Restore targets from the command line: what is told beforehand, other roles, other owners."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import throwaway_cluster
from tests.e2e.command_line import Place, make_place
from tests.e2e.test_cli_database import CONFIG, Server

SCHEMA = """\
CREATE ROLE clerk; CREATE ROLE helper LOGIN CREATEDB; CREATE ROLE deputy;
CREATE TABLE papers (id int PRIMARY KEY);
INSERT INTO papers SELECT generate_series(1, 9);
ALTER TABLE papers OWNER TO clerk;
GRANT SELECT ON papers TO helper;
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watching ON sql_drop EXECUTE FUNCTION watch();
"""

pytestmark = pytest.mark.xdist_group("cli-targets")


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
    made = make_place(tmp_path_factory.mktemp("targets"), CONFIG)
    assert server.sql("tms", "SELECT count(*) FROM papers") == "9"
    made.json("init")
    made.json("backup")
    return made


def test_a_preview_names_what_will_not_come_back(place: Place, server: Server) -> None:
    """As an ordinary role, into a database that does not exist: nothing is made."""
    target = server.url("preview").replace("postgres@", "helper@")
    document = place.json("restore", "database", "--to", target, "--preview")
    assert document["obstacle"] is None
    told = {(one["code"], one["subject"]) for one in document["findings"]}
    assert told == {
        ("target-owner", "database"),
        ("target-owner", "table public.papers"),
        ("target-owner", "function public.watch()"),
        ("target-owner", "event trigger watching"),
        ("target-refused", "event trigger watching"),
        # Where its files lie a server tells nobody but a superuser.
        ("target-space-unknown", f"preview at {server.cluster.socket_directory} as helper"),
    }
    shown = place.run("restore", "database", "--to", target, "--preview")
    assert "table public.papers: it belonged to clerk" in shown.text
    exists = "SELECT count(*) FROM pg_database WHERE datname = 'preview'"
    assert server.sql("postgres", exists) == "0"


def test_a_preview_says_that_a_restore_would_be_refused(place: Place, server: Server) -> None:
    server.sql("postgres", "CREATE ROLE nobody LOGIN")
    target = server.url("preview").replace("postgres@", "nobody@")
    answer = place.run("--json", "restore", "database", "--to", target, "--preview")
    assert answer.status == 5
    assert answer.document["obstacle"]["code"] == "target-refused"
    assert "CREATEDB" in answer.document["obstacle"]["hint"]


def test_another_role_takes_what_was_anothers(place: Place, server: Server) -> None:
    words = ("--role", "clerk=deputy", "--reason", "test")
    document = place.json("restore", "database", "--to", server.url("mapped"), *words)
    assert document["verdict"] == "PROVEN"
    assert [one["code"] for one in document["findings"]] == ["role-mapped"]
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'papers'"
    assert server.sql("mapped", owner) == "deputy"
    same = place.json("prove", "database", "--target", server.url("mapped"), "--role", words[1])
    assert same["verdict"] == "PROVEN"
    other = place.run("--json", "prove", "database", "--target", server.url("mapped"))
    assert other.document["verdict"] == "FAILED"
    records = place.json("log", "--limit", "10")
    assert "clerk=deputy" in str(records)


def test_files_get_the_owner_that_is_wanted(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    words = ("--owner", "4321:8765", "--reason", "test")
    document = place.json("restore", "uploads", "--to", str(target), *words)
    assert document["verdict"] == "PROVEN"
    assert {(one.lstat().st_uid, one.lstat().st_gid) for one in target.rglob("*")} == {(4321, 8765)}
    answer = place.run("--json", "restore", "uploads", "--to", str(tmp_path / "x"), "--role", "a=b")
    assert answer.status == 2


def test_a_read_only_place_is_told_in_the_preview(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = str(tmp_path / "file" / "below")
    answer = place.run("--json", "restore", "uploads", "--to", target, "--preview")
    assert answer.status == 5
    assert answer.document["obstacle"]["code"] == "target-refused"
