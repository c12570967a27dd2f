"""Replacing a database: killed at every step, twice and back, previewed, with room or without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.postgres.cluster import throwaway_cluster
from strongroom.postgres.room import free_bytes_of
from strongroom.recovery.room import require_room_on_server
from strongroom.repository import Repository, SnapshotView
from strongroom.repository.storage import LocalStorage
from tests.e2e.command_line import PASSWORD, Place, make_place, run
from tests.e2e.test_cli_database import CONFIG, SCHEMA, Server
from tests.support.killing import run_killed

pytestmark = pytest.mark.xdist_group("replace-database")

# Where something of a replacement or a rollback changes, in the order of a run.
STEPS = frozenset(
    {"write", "forget", "clear", "load_database", "prove_database", "exchange_databases",
     "drop_if_made", "take_name", "with_findings"}
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


def test_a_replacement_killed_at_every_step(place: Place, server: Server) -> None:
    moment = 0
    while True:
        moment += 1
        name = f"killed{moment}"
        url = used(server, name)
        words = ("restore", "database", "--to", url, "--replace", name, "--reason", "test")
        moments = run_killed(
            stopped_run, place.config, *words, chosen=moment, functions=STEPS, changes=False
        )
        if moments is not None:
            break
        left = those(server, name)
        assert list(left.values()).count("mine") == 1, f"after {moment}: {left}"
        assert left[name] == ("mine" if f"{name}_before" not in str(left) else "captured")
        again = place.json(*words)
        assert again["verdict"] == "PROVEN"
        after = those(server, name)
        assert after.pop(name) == "captured"
        assert "mine" in after.values()
        assert all("_before_" in one for one in after), f"after {moment}: {after}"
    assert moment > 6
    assert not list((place.path / "state" / "switches").iterdir())


def test_a_killed_replacement_is_not_rolled_back_further(place: Place, server: Server) -> None:
    """Where it had not come into its place, an older one is not undone; where it had, it is."""
    taken_back = 0
    moment = 0
    while True:
        moment += 1
        name = f"undone{moment}"
        url = used(server, name)
        older = f"{name}_replaced_20251122140000"
        server.sql("postgres", f"CREATE DATABASE {older}")
        words = ("restore", "database", "--to", url, "--replace", name, "--reason", "test")
        moments = run_killed(
            stopped_run, place.config, *words, chosen=moment, functions=STEPS, changes=False
        )
        if moments is not None:
            break
        if not any((place.path / "state" / "switches").iterdir()):
            continue  # nothing had begun, or all was done
        answer = place.run("restore", "--rollback", url)
        taken_back += answer.status == 0
        if answer.status:
            assert "nothing was rolled back" in answer.err
        left = those(server, name)
        assert left[name] == "mine", f"after {moment}: {left}"
        assert older in left
        assert not any("_restored_" in one for one in left)
    assert taken_back


def test_a_rollback_killed_at_every_step_goes_back_once(place: Place, server: Server) -> None:
    moment = 0
    while True:
        moment += 1
        name = f"back{moment}"
        url = used(server, name)
        server.sql("postgres", f"CREATE DATABASE {name}_replaced_20251122140000")
        place.json("restore", "database", "--to", url, "--replace", name)
        words = ("restore", "--rollback", url)
        moments = run_killed(
            stopped_run, place.config, *words, chosen=moment, functions=STEPS, changes=False
        )
        if moments is not None:
            break
        if those(server, name)[name] == "mine" and not any(
            (place.path / "state" / "switches").iterdir()
        ):
            continue
        answer = place.run(*words)
        if answer.status:  # it had not come to a plan
            assert "nothing was rolled back" in answer.err
            place.json(*words)
        left = those(server, name)
        assert left[name] == "mine"
        assert "_rolled_back_" in str(left)
    assert moment > 3


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


def test_somebody_who_connects_meanwhile_costs_no_proven_copy(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.recovery import database_replacement

    url = used(server, "busy")
    restoring = database_replacement.restore
    with server.cluster.connection("postgres").connect() as watch:
        sessions = []

        def restore_and_connect(*arguments: object, **options: object) -> object:
            outcome = restoring(*arguments, **options)  # type: ignore[arg-type]
            sessions.append(server.cluster.connection("busy").connect())
            return outcome

        monkeypatch.setattr(database_replacement, "restore", restore_and_connect)
        answer = place.run("restore", "database", "--to", url, "--replace", "busy")
        assert watch.execute("SELECT 1").fetchone() == (1,)
    for one in sessions:
        one.close()
    assert answer.status == 5
    assert "proven and stays in busy_restored_" in answer.err
    left = those(server, "busy")
    assert left.pop("busy") == "mine"
    assert list(left.values()) == ["captured"]
    # It is nobody's now: the next run names it and leaves it.
    monkeypatch.undo()
    again = place.json("restore", "database", "--to", url, "--replace", "busy")
    assert "restore-left-over" in {one["code"] for one in again["findings"]}
    assert set(left) < set(those(server, "busy"))


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
