"""Targets of which the role that restores cannot read everything: what the load told stays told,
and what could not be compared is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.postgres.cluster import throwaway_cluster
from tests.e2e.command_line import Place, make_place
from tests.e2e.test_cli_database import CONFIG, Server

SCHEMA = """\
CREATE ROLE appr; CREATE ROLE mgr LOGIN CREATEDB CREATEROLE; CREATE ROLE helper LOGIN CREATEDB;
CREATE TABLE own (id int PRIMARY KEY); CREATE TABLE forced (id int PRIMARY KEY);
CREATE TABLE everybodys (id int PRIMARY KEY);
CREATE TABLE cut (id int, twice int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY HASH (id);
CREATE TABLE cut_0 PARTITION OF cut FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE cut_1 PARTITION OF cut FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO own VALUES (1); INSERT INTO forced VALUES (1), (2); INSERT INTO everybodys VALUES (7);
INSERT INTO cut VALUES (1), (2), (3);
ALTER TABLE own OWNER TO appr; ALTER TABLE forced OWNER TO appr; ALTER TABLE cut_0 OWNER TO appr;
ALTER TABLE own ENABLE ROW LEVEL SECURITY; ALTER TABLE forced ENABLE ROW LEVEL SECURITY;
ALTER TABLE forced FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON own USING (id > 1); CREATE POLICY few ON forced USING (id > 1);
"""

pytestmark = pytest.mark.xdist_group("restore-unread")


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
    made = make_place(tmp_path_factory.mktemp("unread"), CONFIG)
    assert server.sql("tms", "SELECT count(*) FROM own") == "1"
    made.json("init")
    made.json("backup")
    return made


def restored(place: Place, server: Server, user: str, name: str, *words: str) -> dict[str, Any]:
    """What is reported of a restore as this role, which must be UNKNOWN."""
    target = server.url(name).replace("postgres@", f"{user}@")
    command = ("restore", "database", "--to", target, "--reason", "test", *words)
    answer = place.run("--json", *command)
    assert answer.status == 42, (answer.status, answer.err)
    document: dict[str, Any] = answer.document
    assert document["verdict"] == "UNKNOWN"
    return document


def told(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["code"], one["subject"]) for one in document["findings"]}


def test_tables_that_cannot_be_read_are_named_and_the_others_compared(
    place: Place, server: Server
) -> None:
    document = restored(place, server, "mgr", "unread")
    unread = {subject for code, subject in told(document) if code == "content-unchecked"}
    assert {"public.own", "public.forced", "public.cut_0"} <= unread
    assert not unread & {"public.everybodys", "public.cut_1"}
    assert ("target-owner", "table public.everybodys") in told(document)
    assert not {one for one in told(document) if one[0] in ("content-differs", "content-missing")}
    assert server.sql("unread", "SELECT count(*) FROM forced") == "2"


def test_row_security_that_binds_the_owner_is_told_of_its_table(
    place: Place, server: Server
) -> None:
    document = restored(place, server, "mgr", "forced", "--role", "appr=mgr")
    unread = {subject for code, subject in told(document) if code == "content-unchecked"}
    assert unread == {"public.forced"}
    assert ("role-mapped", "role appr") in told(document)


def test_a_role_that_would_be_locked_out_keeps_the_database_until_it_is_proven(
    place: Place, server: Server
) -> None:
    owned = "ALTER DATABASE tms OWNER TO appr; REVOKE CONNECT ON DATABASE tms FROM PUBLIC"
    server.sql("postgres", owned)
    place.json("backup")
    document = restored(place, server, "mgr", "locked")
    assert ("target-owner", "database locked") in told(document)
    assert ("content-unchecked", "public.own") in told(document)
    assert "proof-stopped" not in {code for code, _ in told(document)}
    message = next(
        one["message"] for one in document["findings"] if one["subject"] == "database locked"
    )
    assert message.endswith('ALTER DATABASE "locked" OWNER TO "appr"')
    public = "SELECT has_database_privilege('helper', 'locked', 'CONNECT')"
    assert server.sql("postgres", public) == "f"


def test_a_role_that_is_locked_out_all_the_same_tells_what_it_loaded(
    place: Place, server: Server
) -> None:
    server.sql("postgres", "REVOKE CONNECT ON DATABASE tms FROM appr, PUBLIC")
    place.json("backup")
    document = restored(place, server, "helper", "left", "--role", "appr=helper")
    assert ("target-owner", "database left") in told(document)
    assert ("role-mapped", "role appr") in told(document)
    stopped = [one for one in document["findings"] if one["code"] == "proof-stopped"]
    assert "permission denied" in stopped[0]["message"]
    assert server.sql("left", "SELECT count(*) FROM everybodys") == "1"
