"""Captures that are disturbed: they tell and leave nothing running, or they are whole."""

from __future__ import annotations

import _thread
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from strongroom.errors import SourceError, StorageError
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.catalogue import list_relations, rewritten
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.exchange import Block
from tests.e2e.postgres_directory import DirectoryStore, psql
from tests.support.failure_ground import client_programs, url_of

# One cluster serves all of them: one worker runs them.
pytestmark = pytest.mark.xdist_group("postgres-capture-faults")

ROWS = 200_000
SETUP = f"""
CREATE TABLE big AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, {ROWS}) g;
CREATE TABLE small AS SELECT g AS id FROM generate_series(1, 10) g;
CREATE SEQUENCE counter;
SELECT nextval('counter');
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.fixture
def source(cluster: Cluster) -> Connection:
    psql(cluster, cluster.connection(), "-c", "DROP DATABASE IF EXISTS tms")
    psql(cluster, cluster.connection(), "-c", "CREATE DATABASE tms")
    psql(cluster, cluster.connection("tms"), "-c", SETUP)
    return cluster.connection("tms")


class DisturbedStore(DirectoryStore):
    """Calls `disturb` once, when the first block of a file has arrived."""

    def __init__(self, root: Path, path: str, disturb: Callable[[], None]) -> None:
        super().__init__(root)
        self._path, self._disturb = path, disturb

    def put(self, path: str, blocks: Iterable[Block], *, rows: bool) -> None:
        super().put(path, self._watched(blocks) if path == self._path else blocks, rows=rows)

    def _watched(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for number, block in enumerate(blocks):
            yield block
            if number == 0:
                self._disturb()


BIG, SMALL = "data/public.big.copy", "data/public.small.copy"


def programs_with(directory: Path, cluster: Cluster, name: str, script: str) -> Path:
    """The cluster's client programs, but for one that is a shell script."""
    directory.mkdir()
    for each in ("psql", "pg_dump", "pg_dumpall", "pg_restore"):
        if each != name:
            (directory / each).symlink_to(cluster.programs.path(each))
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    return directory


def sessions(cluster: Cluster) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'tms'"
    return int(psql(cluster, cluster.connection(), "-c", query))


def assert_nothing_runs(cluster: Cluster) -> None:
    assert client_programs() == []
    deadline = time.monotonic() + 10
    while sessions(cluster) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sessions(cluster) == 0


def test_a_killed_server_process_aborts_the_capture(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    def kill() -> None:
        copying = "query ~ '^COPY .*big'"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {copying}"
        assert psql(cluster, cluster.connection(), "-c", end) == "t"

    with pytest.raises(SourceError) as caught:
        capture_database(source, CaptureOptions(), DisturbedStore(tmp_path, BIG, kill))
    assert caught.value.code == "capture-aborted"
    assert caught.value.message in {
        "public.big: terminating connection due to administrator command",
        "public.big: connection to server was lost",
    }
    assert not (tmp_path / "manifest.json").exists()
    assert_nothing_runs(cluster)


def test_a_lost_leader_is_told_where_its_snapshot_is_missed(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    """Whoever wants the snapshot after that is only told that there is none of this name."""
    real = cluster.programs.path("psql")
    leader = "datname = 'tms' AND application_name = 'strongroom'"
    end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {leader}"
    # Later, when the leader has read what it reads itself.
    script = f'sleep 1\n{real} -d "{url_of(cluster, "postgres")}" -c "{end}" >&2\nexec {real} "$@"'
    programs = programs_with(tmp_path / "programs", cluster, "psql", script)
    store = DirectoryStore(tmp_path / "captured")
    with pytest.raises(SourceError) as caught:
        capture_database(source, CaptureOptions(jobs=1, programs=programs), store)
    assert caught.value.code == "capture-aborted"
    # On a busy host the leader may still read, and tell itself what became of it.
    lost = "snapshot was lost: |terminating connection|server closed the connection"
    assert re.search(lost, caught.value.message), caught.value.message
    assert_nothing_runs(cluster)


def test_a_killed_psql_aborts_the_capture(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    def kill() -> None:
        for child in client_programs():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(SourceError) as caught:
        capture_database(source, CaptureOptions(jobs=1), DisturbedStore(tmp_path, BIG, kill))
    assert caught.value.code == "capture-aborted"
    assert_nothing_runs(cluster)


def test_a_full_store_stops_everything_and_keeps_its_own_error(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise StorageError("no space left", code="store-full")

    with pytest.raises(StorageError) as caught:
        capture_database(source, CaptureOptions(), DisturbedStore(tmp_path, SMALL, refuse))
    assert caught.value.code == "store-full"
    assert_nothing_runs(cluster)


def test_an_interrupt_stops_everything(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    store = DisturbedStore(tmp_path, BIG, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        capture_database(source, CaptureOptions(), store)
    assert_nothing_runs(cluster)


@pytest.mark.parametrize("statement", ["TRUNCATE", "ALTER TABLE", "DROP TABLE"])
def test_whoever_would_rewrite_a_table_waits(
    cluster: Cluster, source: Connection, tmp_path: Path, statement: str
) -> None:
    """Requests that wait for us neither empty a table nor lock us out: the leader reads it."""
    rest = " ADD COLUMN later int DEFAULT 1" if statement.startswith("ALTER") else ""
    others: list[threading.Thread] = []

    def disturb() -> None:
        for table in ("big", "small"):
            other = threading.Thread(
                target=psql, args=(cluster, source, "-c", f"{statement} {table}{rest}")
            )
            other.start()
            others.append(other)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while psql(cluster, cluster.connection(), "-c", waiting) != "2":
            time.sleep(0.02)

    store = DisturbedStore(tmp_path, BIG, disturb)
    capture = capture_database(source, CaptureOptions(jobs=1), store)
    for other in others:
        other.join()
    assert {one.label: one.rows for one in capture.tables} == {
        "public.big": ROWS,
        "public.small": 10,
    }
    assert [one.columns for one in capture.tables] == [("id", "note"), ("id",)]
    assert store.read(SMALL) == b"".join(b"%d\n" % number for number in range(1, 11))


def test_what_is_committed_during_a_capture_is_not_in_it(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    change = (
        "INSERT INTO small VALUES (99); UPDATE big SET note = 'new'; CREATE TABLE late (id int);"
        " SELECT nextval('counter') FROM generate_series(1, 100)"
    )

    def disturb() -> None:
        psql(cluster, source, "-c", change)

    store = DisturbedStore(tmp_path, BIG, disturb)
    capture = capture_database(source, CaptureOptions(jobs=1), store)
    assert {one.label: one.rows for one in capture.tables} == {
        "public.big": ROWS,
        "public.small": 10,
    }
    assert b"new" not in store.read(BIG)
    assert b"late" not in store.read("pre-data.sql")
    # Sequences take no part in snapshots: what was read may be ahead of the rows, never behind.
    assert capture.manifest.sequences[0].last_value in {1, 101}


def test_whoever_comes_between_our_locks_gets_its_turn(
    cluster: Cluster, source: Connection, tmp_path: Path
) -> None:
    """A TRUNCATE that waits for the leader makes pg_dump wait, and so the leader for ever."""
    programs = programs_with(
        tmp_path / "programs",
        cluster,
        "pg_dump",
        f'sleep 0.5\nexec {cluster.programs.path("pg_dump")} "$@"',
    )

    def truncate() -> None:
        locked = "SELECT count(*) FROM pg_locks WHERE relation = 'small'::regclass"
        while psql(cluster, source, "-c", locked) == "0":
            time.sleep(0.01)
        psql(cluster, source, "-c", "TRUNCATE small")

    other = threading.Thread(target=truncate)
    other.start()
    store = DirectoryStore(tmp_path / "captured")
    capture = capture_database(source, CaptureOptions(programs=programs), store)
    other.join()
    rows = {one.label: one.rows for one in capture.tables}
    assert rows == {"public.big": ROWS, "public.small": 0}


def test_a_rewritten_table_is_told_from_an_empty_one(cluster: Cluster, source: Connection) -> None:
    """Without a lock, TRUNCATE makes a table look empty in older snapshots: its file gives it
    away."""
    with source.connect(autocommit=False) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        relations = list_relations(session)
        assert rewritten(session, relations) == []
        psql(cluster, source, "-c", "TRUNCATE small")
        row = session.execute("SELECT count(*) FROM small").fetchone()
        assert row == (0,), "this is the trap"
        assert [one.label for one in rewritten(session, relations)] == ["public.small"]


def test_tables_made_while_a_capture_begins_are_in_it_or_not_at_all(
    source: Connection, tmp_path: Path
) -> None:
    stop = threading.Event()

    def make_tables() -> None:
        number = 2
        with source.connect() as session:
            while not stop.is_set():
                number += 1
                session.execute(f"CREATE TABLE made_{number} AS SELECT {number} AS id".encode())
                session.execute(f"DROP TABLE IF EXISTS made_{number - 2}".encode())
                time.sleep(0.05)

    maker = threading.Thread(target=make_tables)
    maker.start()
    store = DirectoryStore(tmp_path)
    try:
        capture = capture_database(source, CaptureOptions(lock_timeout_seconds=5), store)
    finally:
        stop.set()
        maker.join()
    script = store.read("pre-data.sql").decode()
    for table in capture.tables:
        assert f"CREATE TABLE {table.label} " in script
    assert script.count("CREATE TABLE ") == len(capture.tables)
