"""What belongs to the whole server and yet to a database: roles and what they may set."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from strongroom.model import Severity, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import throwaway_cluster
from strongroom.postgres.load import LoadOptions, load_database, read_manifest
from strongroom.postgres.manifest import DatabaseRecord, RoleRecord
from strongroom.postgres.proof import prove_database
from strongroom.postgres.sandbox import sandbox_for
from strongroom.postgres.target import apply_settings, create_roles
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

SERVER = """
CREATE ROLE staff; CREATE ROLE alice IN ROLE staff; CREATE ROLE bob IN ROLE staff;
CREATE ROLE chief IN ROLE alice;
"""
PARAMETERS = """
GRANT SET ON PARAMETER log_statement TO alice;
GRANT SET, ALTER SYSTEM ON PARAMETER "app.level" TO staff WITH GRANT OPTION;
GRANT SET ON PARAMETER log_min_duration_statement TO PUBLIC;
GRANT SET ON PARAMETER log_duration TO bob;
"""


@pytest.mark.parametrize("major", [14, 15, 18])
def test_roles_and_what_they_may_set_come_back(tmp_path: Path, major: int) -> None:
    with throwaway_cluster(major=major) as cluster:
        psql(cluster, cluster.connection(), "-c", SERVER)
        if major >= 15:
            psql(cluster, cluster.connection(), "-c", PARAMETERS)
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE TABLE t (a int); GRANT SELECT ON t TO alice")
        store = DirectoryStore(tmp_path)
        capture_database(source, CaptureOptions(), store)
        unchanged = prove_database(store, source)
        assert judge(unchanged.findings, checked=unchanged.checked) is Verdict.PROVEN
    with sandbox_for(store) as cluster:
        target = cluster.connection("restored")
        load = load_database(store, target, LoadOptions(own_server=True))
        proof = prove_database(store, target)
    findings = [*load.findings, *proof.findings]
    assert [one for one in findings if one.severity is not Severity.NOTE] == []


def test_a_refused_setting_is_told_without_its_value() -> None:
    settings = (("ALTER DATABASE ", """ SET "no such.secret" TO 'SECRET'"""),)
    record = DatabaseRecord("d", "postgres", "UTF8", "libc", "C", "C", settings=settings)
    with throwaway_cluster(major=15) as cluster:
        (found,) = apply_settings(cluster.connection("postgres"), record)
    assert found.code == "load-error"
    assert 'SET "no such.secret" TO …' in found.message
    assert "SECRET" not in found.message.replace("no such.secret", "")


def test_a_load_that_is_stopped_leaves_no_role_half_made(tmp_path: Path) -> None:
    """The next one would take it for somebody else's, and leave it as it is."""
    slow = RoleRecord("half", ("CREATE ROLE half", "SELECT pg_sleep(60)"))
    ended: list[BaseException] = []
    with throwaway_cluster(major=15) as cluster:
        source, store = make_database(cluster, "source"), DirectoryStore(tmp_path)
        capture_database(source, CaptureOptions(), store)
        manifest = replace(read_manifest(store), roles=(slow,))

        def make() -> None:
            try:
                create_roles(source, manifest, ["half"])
            except psycopg.OperationalError as error:
                ended.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        with cluster.connection("postgres").connect() as session:
            sleeping = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
            until = time.monotonic() + 30
            while not session.execute(f"SELECT 1 {sleeping}".encode()).fetchall():
                assert time.monotonic() < until
            session.execute(f"SELECT pg_terminate_backend(pid) {sleeping}".encode())
            thread.join(30)
            assert ended
            made = session.execute(b"SELECT 1 FROM pg_roles WHERE rolname = 'half'").fetchall()
    assert made == []
