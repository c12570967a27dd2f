"""The demonstration's application after everything is lost: one command on an empty machine, with a
database server of its own, and the application answers."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import SourceError
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import parse_connection
from tests.e2e.command_line import Place
from tests.support.application_ground import told
from tests.support.demo_ground import DemoGround, end_child, error_of, start_child
from tests.support.recovery_ground import ended, free_port

pytestmark = pytest.mark.xdist_group("demo-15")

MAJOR = 15
PASSWORD = "the application's own"
RECOVERY = """
recovery:
  checkout: v1.3.0
  folders: {code: app}
  database_role: tms_app
  database_password: file:app.password
  environment:
    DB_HOST: "{database.host}"
    DB_PORT: "{database.port}"
    DB_NAME: "{database.name}"
    DB_USER: "{database.user}"
    DB_PASSWORD: "{database.password}"
    UPLOADS_PATH: "{uploads}"
  ownership: {uploads: {folder_mode: "755", file_mode: "755"}}
  serve: php -S 127.0.0.1:PORT -t public
  url: http://127.0.0.1:PORT
  watch: 1s
  by_hand: [Point training.example.ae at the new address.]
"""


class Machine:
    """An empty machine with a database server, the configuration, its keys and a repository."""

    def __init__(self, ground: DemoGround, cluster: Cluster, path: Path, port: int) -> None:
        self.cluster, self.port = cluster, port
        path.mkdir()
        demo = ground.demo.directory
        for name in ("repository.key", "trainee.password"):
            shutil.copy2(demo / name, path / name)
        shutil.copytree(demo / "repository", path / "repository")
        (path / "app.password").write_text(PASSWORD)
        (path / "app.password").chmod(0o600)
        # The application's role is asked for its password, which no snapshot holds.
        access = cluster.directory / "data" / "pg_hba.conf"
        access.write_text(f"local all tms_app scram-sha-256\n{access.read_text()}")
        self.execute("SELECT pg_reload_conf()")
        # Nothing of production is known here any more, its places least of all.
        text = ground.config.read_text().replace(str(demo), str(path))
        lines = text.splitlines()
        source = next(one for one in lines if one.startswith("  database: {kind: postgres"))
        text = text.replace(source, "  database: {kind: postgres, url: env:GONE}")
        self.place = Place(path)
        self.place.write_config(text + RECOVERY.replace("PORT", str(port)))

    def url(self, database: str, user: str = "postgres") -> str:
        socket = str(self.cluster.socket_directory).replace("/", "%2F")
        return f"postgresql://{user}@/{database}?host={socket}&sslmode=disable"

    def databases(self) -> set[str]:
        with self.cluster.connection("postgres").connect() as session:
            rows = session.execute("SELECT datname::text FROM pg_database").fetchall()
        return {str(row[0]) for row in rows} - {"postgres", "template0", "template1"}

    def execute(self, statement: str, database: str = "postgres") -> None:
        with self.cluster.connection(database).connect() as session:
            session.execute(statement.encode())

    def health(self) -> dict[str, Any]:  # Any: JSON values
        url = f"http://127.0.0.1:{self.port}/api/health.php"
        with urllib.request.urlopen(url, timeout=10) as answer:
            document: dict[str, Any] = json.loads(answer.read())
        return document


@pytest.fixture(scope="module")
def ground(demo_on: Callable[[int], DemoGround]) -> DemoGround:
    return demo_on(MAJOR)


@pytest.fixture
def machine(ground: DemoGround, tmp_path: Path) -> Iterator[Machine]:
    with throwaway_cluster(major=MAJOR) as cluster:
        yield Machine(ground, cluster, tmp_path / "machine", free_port())


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    with ended(tmp_path / "tms"):
        yield tmp_path / "tms"


def test_one_command_and_the_application_answers(machine: Machine, target: Path) -> None:
    answer = machine.place.run(
        "--json", "recover", "--to", target, "--database", machine.url("tms"), "--reason", "fire"
    )
    document = answer.document
    assert (answer.status, document["verdict"]) == (0, "PROVEN"), document["findings"]
    assert {one["source"]: one["verdict"] for one in document["sources"]} == {
        "database": "PROVEN",
        "uploads": "PROVEN",
        "code": "PROVEN",
    }
    assert machine.databases() == {"tms"}
    assert machine.health()["status"] == "ok"
    names = [one["name"] for one in document["stages"]]
    assert {"restore", "check out", "owners and modes", "serve: php", "requests", "workflow",
            "watch the logs"} <= set(names)  # fmt: skip
    assert document["checked"] > 100
    assert 0 < document["rto_seconds"] < 600
    (passwords,) = (one for one in document["by_hand"] if "Passwords are not captured" in one)
    assert "postgres" in passwords
    assert "tms_app" not in passwords  # it has been set
    assert document["by_hand"][-1] == "Point training.example.ae at the new address."
    # Sources come back at the same time: each had begun before any had ended.
    begun = [one["begun_at"] for one in document["sources"]]
    assert max(begun) < min(one["ended_at"] for one in document["sources"])
    ledger = (machine.place.path / "state/ledger.jsonl").read_text()
    for name in ("trainee.password", "app.password"):
        assert (machine.place.path / name).read_text().strip() not in ledger
    with pytest.raises(SourceError):
        parse_connection(machine.url("tms", "tms_app"), password="another").connect()


def test_killed_while_it_restores_it_goes_on(machine: Machine, target: Path) -> None:
    """`kill -9` again and again, each time a little later, until one run gets through."""
    words = ("--config", machine.place.config, "--json", "recover", "--to", target)
    seconds, kills = 1.5, 0
    while True:
        child = start_child(*words, "--database", machine.url("tms"))
        time.sleep(seconds)
        if child.poll() is not None:
            answer = end_child(child)
            break
        child.kill()
        child.communicate()
        kills += 1
        seconds *= 1.5
        assert kills < 20
    assert kills > 0
    if answer.status == 5:  # the last one was killed after its work was done
        assert "was completed here" in answer.text
    else:
        bad = [one for one in answer.document["findings"] if one["severity"] == "failure"]
        assert answer.document["verdict"] == "PROVEN", bad
    assert machine.databases() == {"tms"}
    assert machine.health()["status"] == "ok"
    assert sorted(one.name for one in target.iterdir()) == [".strongroom", "app", "uploads"]


def test_a_role_that_was_there_keeps_its_password(machine: Machine, target: Path) -> None:
    """It may be somebody else's, too: who has another password for it has to be told."""
    machine.execute("CREATE ROLE tms_app LOGIN PASSWORD 'the old one'")
    words = ("--json", "recover", "--to", target, "--database", machine.url("tms"))
    document = machine.place.run(*words).document
    assert document["verdict"] == "FAILED"
    assert "role tms_app" in {one["subject"] for one in document["findings"]}  # has no comment
    assert machine.databases() != {"tms"}
    document = machine.place.run(*words, "--start-anyway").document
    assert document["verdict"] == "FAILED"
    assert machine.databases() == {"tms"}
    (said,) = told(document, "application-failed")
    assert said.startswith("role tms_app cannot log in, and its password was left as it is")
    parse_connection(machine.url("tms", "tms_app"), password="the old one").connect().close()


def test_an_empty_database_gives_way_and_one_in_use_does_not(
    machine: Machine, target: Path
) -> None:
    machine.execute("CREATE DATABASE empty_one")
    machine.execute("CREATE DATABASE full_one")
    machine.execute("CREATE TABLE precious (id int)", "full_one")
    words = ("--json", "recover", "--to", target, "--database")
    answer = machine.place.run(*words, machine.url("full_one"))
    assert "precious" in error_of(answer, 5, "target-not-empty")["message"]
    assert not target.exists()
    answer = machine.place.run(*words, machine.url("empty_one"))
    assert answer.document["verdict"] == "PROVEN", answer.document["findings"]
    assert machine.databases() == {"empty_one", "full_one"}


def test_a_server_that_does_not_answer_is_told_before_anything_is_written(
    machine: Machine, target: Path
) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/tms"
    answer = machine.place.run("--json", "recover", "--to", target, "--database", url)
    error_of(answer, 11, "database-unreachable")
    assert not target.exists()


def test_a_password_in_the_url_is_refused(machine: Machine, target: Path) -> None:
    url = "postgresql://postgres:hunter2@127.0.0.1/tms"
    answer = machine.place.run("--json", "recover", "--to", target, "--database", url)
    error_of(answer, 2, "usage")
    assert "hunter2" not in answer.text + answer.err
    assert "hunter2" not in (machine.place.path / "state/ledger.jsonl").read_text()


def test_without_a_database_it_asks_for_one(machine: Machine, target: Path) -> None:
    answer = machine.place.run("--json", "recover", "--to", target)
    assert "--database" in error_of(answer, 2, "usage")["hint"]


def test_the_plan_comes_from_the_drills_in_the_repositorys_ledger(
    ground: DemoGround, tmp_path: Path, target: Path
) -> None:
    ground.json("drill", "--application")
    ground.json("backup")
    with throwaway_cluster(major=MAJOR) as cluster:
        machine = Machine(ground, cluster, tmp_path / "machine", free_port())
        words = ("recover", "--to", target, "--database", machine.url("tms"), "--dry-run")
        plan = machine.place.json(*words)
        assert {one["name"] for one in plan["stages"]} >= {"restore database", "workflow"}
        known = {one["name"]: one["seconds"] for one in plan["stages"]}
        assert known["workflow"] > 0
        (passwords,) = (one for one in plan["by_hand"] if "Passwords are not captured" in one)
        assert "tms_app" not in passwords
        assert told(plan, "recovery-older-point")  # the newer one was not drilled
        assert machine.databases() == set()
        assert not target.exists()
