"""The demo's application for end-to-end tests: on a server of its own, captured once.

Commands run in this process (`run`) or, where signals, environment or exit matter, as a process of
their own (`run_child`, `start_child`). The application is only looked at; tests change copies.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from strongroom.demo import DemoApplication, build_application
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Answer, run
from tests.support.repository_ground import PASSWORD, new_repository

ROWS = 20_000
TIMEOUT_SECONDS = 120
# Put before a program that only root may run; the suite runs as root or with sudo.
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


@dataclass(frozen=True)
class DemoGround:
    """One application with one recovery point, `strongroom.yaml` beside it."""

    cluster: Cluster
    demo: DemoApplication

    @property
    def config(self) -> Path:
        return self.demo.directory / "strongroom.yaml"

    @property
    def password_file(self) -> Path:
        return self.demo.directory / "repository.key"

    def url(self, database: str, user: str = "postgres") -> str:
        """A database of the same server, as commands take it."""
        socket = quote(str(self.cluster.socket_directory), safe="")
        return f"postgresql://{user}@/{quote(database, safe='')}?host={socket}&sslmode=disable"

    def execute(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, triggers silenced; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with self.cluster.connection(database).connect() as session:
            session.execute("SET session_replication_role = replica")
            session.execute("SET client_min_messages = error")
            for statement in statements:
                cursor: psycopg.Cursor[Any] = session.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def run(self, *arguments: object) -> Answer:
        """A command in this process."""
        return run("--config", self.config, *arguments)

    def json(self, *arguments: object) -> dict[str, Any]:
        """The document of a command that must succeed."""
        answer = self.run("--json", *arguments)
        assert answer.status == 0, answer.err + answer.text
        return answer.document


@contextlib.contextmanager
def demo_ground(directory: Path, major: int, rows: int = ROWS) -> Iterator[DemoGround]:
    """Build the application on a new server of this major version, and capture it."""
    with throwaway_cluster(major=major) as cluster:
        assert cluster.major == major, cluster.programs.describe()
        demo = build_application(directory, cluster.connection(), rows)
        ground = DemoGround(cluster, demo)
        ground.password_file.write_text(PASSWORD + "\n")
        ground.password_file.chmod(0o600)
        demo.write_config()
        new_repository(demo.repository)
        report = ground.json("backup")
        assert report["findings"] == report["errors"] == []
        assert [one["source"] for one in report["snapshots"]] == ["database", "uploads", "code"]
        yield ground


def child_environment(changed: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without what points to a database, and with what is given."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | dict(changed or {})


def start_child(
    *arguments: object, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """`strongroom` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "strongroom", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(environment),
        cwd=cwd,
        start_new_session=True,
    )


def end_child(child: subprocess.Popen[bytes]) -> Answer:
    """What it said and how it ended; one that never does is killed, which fails the test."""
    try:
        out, err = child.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"it did not end: {out!r} {err!r}") from None
    return Answer(child.returncode, out, err.decode())


def run_child(
    *arguments: object, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Answer:
    """Run `strongroom` as a process of its own to its end."""
    return end_child(start_child(*arguments, environment=environment, cwd=cwd))


def error_of(answer: Answer, status: int, code: str) -> dict[str, str]:
    """The one JSON error document of a command that failed as it should."""
    assert answer.status == status, (answer.status, answer.text, answer.err)
    document = json.loads(answer.out)
    assert list(document) == ["error"]
    error: dict[str, str] = document["error"]
    assert error["code"] == code, error
    assert error["message"]
    assert error["hint"][-1] in ".`;", error["hint"]
    return error
