"""A recovery that goes on: what an earlier run has proven counts only while it still is so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place
from tests.support.application_ground import told
from tests.support.failure_ground import execute, url_of
from tests.support.recovery_ground import RecoveryGround, ended, make_production, recovered

pytestmark = pytest.mark.xdist_group("recover-again")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE production")
        execute(
            cluster,
            "production",
            "CREATE TABLE people (id integer PRIMARY KEY, name text NOT NULL);"
            "INSERT INTO people SELECT n, 'Person ' || n FROM generate_series(1, 500) n",
        )
        yield cluster


@pytest.fixture(scope="module")
def production(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Not to be changed."""
    path = tmp_path_factory.mktemp("production") / "tms"
    return make_production(path, url_of(server, "production"))


@pytest.fixture
def ground(production: Place, tmp_path: Path) -> Iterator[RecoveryGround]:
    made = RecoveryGround(production, tmp_path)
    with ended(made.target):
        yield made


@pytest.fixture
def words(server: Cluster) -> Iterator[tuple[str, str]]:
    yield "--database", url_of(server, "recovered")
    execute(server, "postgres", "DROP DATABASE IF EXISTS recovered WITH (FORCE)")


def test_what_was_emptied_since_is_not_called_identical(
    ground: RecoveryGround, server: Cluster, words: tuple[str, str]
) -> None:
    place = ground.machine(f"smoke: [[/bin/sh, -c, 'test -f {ground.path}/mended']]")
    assert recovered(place, ground.target, *words)["verdict"] == "FAILED"
    (ground.path / "mended").touch()
    execute(server, "recovered", "TRUNCATE people")
    for one in (ground.target / "uploads").rglob("*"):
        if one.is_file():
            one.unlink()
    answer = place.run("--json", "recover", "--to", ground.target, *words)
    document = answer.document
    assert (answer.status, document["verdict"]) == (42, "UNKNOWN"), document["findings"]
    assert {one["source"]: one["verdict"] for one in document["sources"]} == {
        "database": "UNKNOWN",
        "uploads": "UNKNOWN",
        "code": "PROVEN",
    }
    rows, files = told(document, "recovery-changed")
    assert rows.startswith("changed since it was proven at 20")
    assert rows.endswith("public.people held 500 rows, of which 0 stand as they were")
    assert "gone: " in files
    # It stays so, until it is restored again.
    assert recovered(place, ground.target, *words)["verdict"] == "UNKNOWN"
    shutil.rmtree(ground.target / "uploads")
    execute(server, "postgres", "DROP DATABASE recovered WITH (FORCE)")
    document = recovered(place, ground.target, *words)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert execute(server, "recovered", "SELECT count(*) FROM people") == [(500,)]


def test_what_the_application_added_since_is_its_work(
    ground: RecoveryGround, server: Cluster, words: tuple[str, str]
) -> None:
    """And what this recovery has checked out, written and linked itself is no change."""
    place = ground.machine(
        "checkout: production",
        "render: {config/live.env: 'AT={url}'}",
        "links: {public/up: uploads}",
        "prepare: [[/bin/sh, -c, 'date +%N >cache.txt']]",
        f"smoke: [[/bin/sh, -c, 'test -f {ground.path}/mended']]",
    )
    assert recovered(place, ground.target, *words)["verdict"] == "FAILED"
    first = recovered(place, ground.target, *words)
    assert (first["verdict"], told(first, "recovery-changed")) == ("FAILED", [])
    (ground.path / "mended").touch()
    execute(server, "recovered", "INSERT INTO people VALUES (1001, 'somebody new')")
    (ground.target / "uploads/new.txt").write_text("new")
    document = recovered(place, ground.target, *words)
    assert document["verdict"] == "PROVEN", document["findings"]


def test_a_row_or_a_file_written_anew_is_told(
    ground: RecoveryGround, server: Cluster, words: tuple[str, str]
) -> None:
    place = ground.machine(f"smoke: [[/bin/sh, -c, 'test -f {ground.path}/mended']]")
    assert recovered(place, ground.target, *words)["verdict"] == "FAILED"
    (ground.path / "mended").touch()
    execute(server, "recovered", "UPDATE people SET name = 'Person 7' WHERE id = 7")
    (ground.target / "code/config/app.ini").write_text("colour = pink\n")
    document = recovered(place, ground.target, *words)
    assert document["verdict"] == "UNKNOWN"
    rows, files = told(document, "recovery-changed")
    assert rows.endswith("public.people held 500 rows, of which 499 stand as they were")
    assert files.endswith("changed: config/app.ini")
