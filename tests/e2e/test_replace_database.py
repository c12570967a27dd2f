"""Replacing a database: killed at every step, twice and back, previewed, with room or without."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.postgres.cluster import ClusterOptions, throwaway_cluster
from strongroom.postgres.room import free_bytes_of
from strongroom.recovery.room import require_room_on_server
from strongroom.repository import Repository, SnapshotView
from strongroom.repository.storage import LocalStorage
from tests.e2e.command_line import PASSWORD, Place, make_place, run
from tests.e2e.test_cli_database import CONFIG, SCHEMA, Server
from tests.support.failure_ground import wait_until
from tests.support.killing import run_killed

pytestmark = pytest.mark.xdist_group("replace-database")

# Where something of a replacement or a rollback changes, in the order of a run.
PLANNED, LOADED, PROVEN, RENAMED, ENDED = (
    "Journal.write", "load_database", "prove_database", "exchange_databases", "Journal.clear"
)  # fmt: skip


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
    made = make_place(tmp_path_factory.mktemp("replace"), CONFIG)
    assert server.sql("tms", "SELECT n FROM totals") == "500"
    made.json("init")
    made.json("backup")
    return made


def used(server: Server, name: str) -> str:
    """A database in use, and its URL."""
    server.sql("postgres", f"CREATE DATABASE {name}")
    server.sql(name, "CREATE TABLE mine AS SELECT 1 AS id")
    return server.url(name)


def those(server: Server, name: str) -> dict[str, str]:
    """The databases whose names begin so: `mine` or `captured`, by what they hold."""
    names = server.sql(
        "postgres", f"SELECT datname FROM pg_database WHERE datname ~ '^{name}(_|$)'"
    )
    held = "SELECT CASE WHEN to_regclass('mine') IS NULL THEN 'captured' ELSE 'mine' END"
    return {one: server.sql(one, held) for one in names.split()}


def stopped_run(config: Path, *words: str) -> None:
    answer = run("--config", config, "--json", *words)
    assert answer.status == 0, answer.err


def killed_before(step: str, place: Place, *words: str) -> None:
    moments = run_killed(
        stopped_run, place.config, *words, chosen=1, functions=frozenset({step}), changes=False
    )
    assert moments is None, "it was not killed"


@pytest.mark.parametrize("step", [PLANNED, LOADED, PROVEN, RENAMED, ENDED])
def test_a_killed_replacement_is_settled_by_the_next(
    place: Place, server: Server, step: str
) -> None:
    name = f"killed_{step.lower().replace('.', '_')}"
    url = used(server, name)
    words = ("restore", "database", "--to", url, "--replace", name, "--reason", "test")
    killed_before(step, place, *words)
    left = those(server, name)
    assert list(left.values()).count("mine") == 1
    assert left[name] == ("captured" if step == ENDED else "mine")
    again = place.json(*words)
    assert again["verdict"] == "PROVEN"
    is_told = "switch-settled" in {one["code"] for one in again["findings"]}
    assert is_told == (step != PLANNED)
    after = those(server, name)
    assert after.pop(name) == "captured"
    assert "mine" in after.values()
    assert all("_before_" in one for one in after)
    assert not list((place.path / "state" / "switches").iterdir())


@pytest.mark.parametrize("step", [LOADED, PROVEN, ENDED])
def test_a_killed_replacement_is_taken_back_and_no_older_one(
    place: Place, server: Server, step: str
) -> None:
    name = f"undone_{step.lower().replace('.', '_')}"
    url = used(server, name)
    older = f"{name}_replaced_20251122140000"
    server.sql("postgres", f"CREATE DATABASE {older}")
    words = ("restore", "database", "--to", url, "--replace", name, "--reason", "test")
    killed_before(step, place, *words)
    answer = place.run("restore", "--rollback", url)
    assert answer.status == (0 if step == ENDED else 5)
    assert ("nothing was rolled back" in answer.err) == (step != ENDED)
    left = those(server, name)
    assert left[name] == "mine"
    assert older in left
    assert not any("_restored_" in one for one in left)


@pytest.mark.parametrize("step", [PLANNED, RENAMED, ENDED])
def test_a_killed_rollback_goes_back_once(place: Place, server: Server, step: str) -> None:
    name = f"back_{step.lower().replace('.', '_')}"
    url = used(server, name)
    kept = f"{name}_before_20261122140000"
    server.sql("postgres", f"CREATE DATABASE {name}_replaced_20251122140000")
    server.sql("postgres", f"CREATE DATABASE {kept}")
    words = ("restore", "--rollback", url)
    killed_before(step, place, *words)
    answer = place.run(*words)
    if step == PLANNED:  # nobody knows what it was about to do
        assert "nothing was rolled back" in answer.err
        answer = place.run(*words)
    assert answer.status == 0
    left = those(server, name)
    assert left[name] == "captured"
    assert sorted(one for one, holds in left.items() if holds == "mine") == [
        one for one in sorted(left) if "_rolled_back_" in one
    ]
    assert len(left) == 3


def test_there_and_back_and_further_back(place: Place, server: Server) -> None:
    url = used(server, "often")
    server.sql("postgres", "CREATE DATABASE often_replaced_20251122140000")
    server.sql("often_replaced_20251122140000", "CREATE TABLE oldest (id int)")
    report = place.json("restore", "database", "--to", url, "--replace", "often")
    assert report["kept"].startswith("often_before_")
    back = place.json("restore", "--rollback", url, "--reason", "the wrong one")
    assert back["from"] == report["kept"]
    assert server.sql("often", "SELECT count(*) FROM mine") == "1"
    place.json("restore", "--rollback", url)
    assert server.sql("often", "SELECT count(*) FROM oldest") == "0"
    assert place.run("restore", "--rollback", url).status == 5


def test_a_database_that_does_not_exist_has_its_name_when_it_is_proven(
    place: Place, server: Server
) -> None:
    report = place.json("restore", "database", "--to", server.url("fresh"), "--replace", "fresh")
    assert report["verdict"] == "PROVEN"
    assert report["kept"] is None
    assert those(server, "fresh") == {"fresh": "captured"}


def connect_once_it_is_loaded(server: Server, name: str, until: threading.Event) -> None:
    """Somebody who uses the target from when it is being restored beside it."""
    beside = f"SELECT count(*) FROM pg_database WHERE datname ~ '^{name}_restored_'"
    while server.sql("postgres", beside) == "0":
        if until.wait(0.05):
            return
    with server.cluster.connection(name).connect():
        until.wait()


def test_somebody_who_connects_meanwhile_costs_no_proven_copy(place: Place, server: Server) -> None:
    url = used(server, "busy")
    until = threading.Event()
    somebody = threading.Thread(target=connect_once_it_is_loaded, args=(server, "busy", until))
    somebody.start()
    try:
        answer = place.run("restore", "database", "--to", url, "--replace", "busy")
    finally:
        until.set()
        somebody.join()
    assert answer.status == 5
    assert "proven and stays in busy_restored_" in answer.err
    left = those(server, "busy")
    assert left.pop("busy") == "mine"
    assert list(left.values()) == ["captured"]
    # It is nobody's now: the next run names it and leaves it.
    again = place.json("restore", "database", "--to", url, "--replace", "busy")
    assert "restore-left-over" in {one["code"] for one in again["findings"]}
    assert set(left) < set(those(server, "busy"))


# So slow that it is at work for minutes.
SWEPT = """
CREATE TABLE swept WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
    autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)
    AS SELECT n, repeat('x', 500) FROM generate_series(1, 40000) n;
DELETE FROM swept WHERE n % 2 = 0;
"""


def test_a_vacuum_that_runs_by_itself_is_nobody(place: Place) -> None:
    options = ClusterOptions(settings={"autovacuum": "on", "autovacuum_naptime": "1s"})
    with throwaway_cluster(major=15, options=options) as cluster:
        other = Server(cluster)
        url = used(other, "vacuumed")
        other.sql("vacuumed", SWEPT)
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'vacuumed'"
        wait_until(lambda: other.sql("postgres", asked) != "0")
        report = place.json("restore", "database", "--to", url, "--replace", "vacuumed")
        assert report["verdict"] == "PROVEN"
        assert those(other, "vacuumed") == {"vacuumed": "captured", report["kept"]: "mine"}


# Preview


def test_a_preview_compares_tables(place: Place, server: Server) -> None:
    url = used(server, "seen")
    server.sql(
        "seen",
        'CREATE TABLE "Odd name" (a int); INSERT INTO "Odd name" VALUES (1), (2);'
        "CREATE TABLE trainees AS SELECT generate_series(1, 400) AS id; ANALYZE;",
    )
    words = ("restore", "database", "--to", url, "--preview")
    told = place.json(*words, "--replace", "seen")
    assert told["obstacle"] is None
    changes = told["changes"]
    assert [changes[one]["first"] for one in ("created", "changed", "deleted")] == [
        [], ["public.trainees"], ["public.mine"],
    ]  # fmt: skip
    assert changes["same"] == 1
    rows = {one["name"]: (one["rows"], one["rows_there"]) for one in changes["tables"]}
    assert rows["public.trainees"] == (500, 400)
    assert rows["public.mine"] == (None, 1)
    refused = place.run("--json", *words)
    assert refused.status == 5
    assert refused.document["obstacle"]["code"] == "target-not-empty"
    assert refused.document["changes"] == changes
    new = place.json("restore", "database", "--to", server.url("nowhere"), "--preview")
    assert new["changes"]["created"]["count"] == 2
    assert "nowhere" not in those(server, "nowhere")
    text = place.run(*words, "--replace", "seen", "--verbose").text
    assert "    public.trainees: 500 rows captured, 400 rows there" in text.splitlines()
    assert "as captured; what the rows hold was not compared" in text
    assert "leave" not in text
    assert "--replace seen finishes" in refused.document["obstacle"]["hint"]


# Room


def view_of(place: Place, size_bytes: int) -> SnapshotView:
    repository = Repository.open(LocalStorage(place.path / "local"), PASSWORD, name="local")
    snapshot = repository.find("latest")
    summary = {**snapshot.summary, "total_bytes_processed": size_bytes}
    return SnapshotView(repository, replace(snapshot, summary=summary))


def test_a_local_server_tells_its_room(place: Place, server: Server) -> None:
    connection = server.cluster.connection("postgres")
    free = free_bytes_of(connection)
    status = os.statvfs(server.cluster.directory / "data")
    assert isinstance(free, int)
    assert abs(free - status.f_bavail * status.f_frsize) < 1 << 30
    with pytest.raises(TargetError, match="not enough room") as raised:
        require_room_on_server(view_of(place, 1 << 60), connection)
    assert raised.value.code == "target-space"
    assert require_room_on_server(view_of(place, 1), connection) == []


def test_what_is_not_known_of_a_server_is_said_and_refuses_nothing(
    place: Place, server: Server
) -> None:
    server.sql("postgres", "CREATE ROLE plain LOGIN CREATEDB PASSWORD 'x'")
    connection = server.cluster.connection("postgres")
    plain = replace(connection, parameters={**connection.parameters, "user": "plain"})
    reason = free_bytes_of(plain)
    assert reason == "this role may not ask where the server keeps its files"
    (found,) = require_room_on_server(view_of(place, 1 << 60), plain)
    assert found.code == "target-space-unknown"
    away = replace(connection, parameters={**connection.parameters, "host": "db.example.com"})
    (found,) = require_room_on_server(view_of(place, 1 << 60), away)
    assert "on another machine" in found.message


def test_a_database_whose_name_begins_alike_is_not_rolled_back_to(
    place: Place, server: Server
) -> None:
    stem = "tms_production_europe_west_1_customer_portal_"
    blue, green = used(server, stem + "blue"), used(server, stem + "green")
    words = ("restore", "database", "--to", blue, "--replace", stem + "blue", "--reason", "test")
    kept = place.json(*words)["kept"]
    answer = place.run("restore", "--rollback", green)
    assert answer.status == 5
    assert "nothing is kept of an earlier replacement" in answer.err
    held = "SELECT count(*) FROM mine"
    assert server.sql(stem + "green", held) == "1"
    # What an earlier version kept, whose name it only cut, may be the one's or the other's.
    cut = stem[:41] + "_before_20261122140000"
    server.sql("postgres", f'ALTER DATABASE "{kept}" RENAME TO "{cut}"')
    answer = place.run("restore", "--rollback", green)
    assert answer.status == 5
    assert "cannot be told" in answer.err
    server.sql("postgres", f'DROP DATABASE "{stem}green"')
    assert place.run("restore", "--rollback", blue).status == 0
    assert server.sql(stem + "blue", held) == "1"
