"""What makes a capture or a load impossible is said before the first byte, with code and remedy."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import SourceError, TargetError
from strongroom.findings import Severity
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection, parse_connection
from strongroom.postgres.load import load_database
from strongroom.postgres.preflight import examine_server, find_problems
from strongroom.postgres.proof import prove_database
from tests.e2e.postgres_directory import DirectoryStore, psql
from tests.e2e.transaction_pooler import TransactionPooler

# One cluster serves all of them: one worker runs them.
pytestmark = pytest.mark.xdist_group("postgres-refusals")

PASSWORD = "open sesame 'quoted' \\ ü"

SETUP = """
CREATE SCHEMA private;
CREATE TABLE plain (id int PRIMARY KEY);
CREATE TABLE private.hidden (id serial);
CREATE TABLE secured (id int);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE ROLE reader LOGIN;
CREATE ROLE owner LOGIN;
CREATE ROLE full_reader LOGIN BYPASSRLS;
GRANT pg_read_all_data TO full_reader;
CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'open sesame ''quoted'' \\ ü';
ALTER TABLE secured OWNER TO owner;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader, owner;
GRANT SELECT ON ALL TABLES IN SCHEMA private TO reader;
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        psql(cluster, cluster.connection(), "-c", "CREATE DATABASE tms")
        psql(cluster, cluster.connection("tms"), "-c", SETUP)
        access = cluster.directory / "data" / "pg_hba.conf"
        access.write_text(f"local all guarded scram-sha-256\n{access.read_text()}")
        psql(cluster, cluster.connection(), "-c", "SELECT pg_reload_conf()")
        yield cluster


def refusal(connection: Connection, store: DirectoryStore) -> SourceError:
    with pytest.raises(SourceError) as caught:
        capture_database(connection, CaptureOptions(), store)
    assert list(store.root.iterdir()) == [], "nothing may be written before preflight is through"
    return caught.value


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def test_a_wrong_password_is_tried_once(cluster: Cluster, store: DirectoryStore) -> None:
    log = cluster.directory / "log"
    seen = log.read_text().count("password authentication failed")
    wrong = Connection(cluster.connection("tms", user="guarded").parameters, "not this")
    error = refusal(wrong, store)
    assert error.code == "database-login"
    assert "not this" not in f"{error} {error.hint} {error.subject} {wrong!r}"
    assert log.read_text().count("password authentication failed") == seen + 1


def test_a_password_reaches_children_but_no_argument_list(
    cluster: Cluster, store: DirectoryStore
) -> None:
    url = f"postgresql://guarded@/tms?host={cluster.socket_directory}"
    connection = parse_connection(url, password=PASSWORD)
    seen: list[bytes] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(entry.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        capture_database(connection, CaptureOptions(), store)
    finally:
        stop.set()
        watcher.join()
    assert any(b"pg_dump" in line for line in seen), "the watcher must have seen the children"
    assert not any(b"sesame" in line for line in seen)
    for file in store.root.rglob("*"):
        assert file.is_dir() or b"sesame" not in file.read_bytes()


def test_an_unreachable_server(store: DirectoryStore) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refusal(parse_connection(f"postgresql://u@127.0.0.1:{port}/tms"), store)
    assert error.code == "database-unreachable"
    assert "Connection refused" in error.message
    error = refusal(parse_connection("postgresql:///tms?host=/nowhere"), store)
    assert error.code == "database-unreachable"


def test_a_missing_database(cluster: Cluster, store: DirectoryStore) -> None:
    error = refusal(cluster.connection("nothing"), store)
    assert error.code == "database-missing"


def test_all_obstacles_are_told_at_once(cluster: Cluster, store: DirectoryStore) -> None:
    error = refusal(cluster.connection("tms", user="reader"), store)
    assert error.code == "database-privilege"
    assert "private" in error.message, "the schema that it may not look into"
    assert "public.secured: row security would hide rows from role reader" in error.message
    assert "GRANT pg_read_all_data" in error.hint
    assert 'ALTER ROLE "reader" BYPASSRLS' in error.hint


def test_an_owner_sees_its_rows_unless_security_is_forced(
    cluster: Cluster, store: DirectoryStore
) -> None:
    server = cluster.connection("tms")
    psql(cluster, server, "-c", "GRANT pg_read_all_data TO owner")
    psql(cluster, server, "-c", "ALTER TABLE secured FORCE ROW LEVEL SECURITY")
    error = refusal(cluster.connection("tms", user="owner"), store)
    assert "row security would hide rows from role owner in 1 tables" in error.message
    psql(cluster, server, "-c", "ALTER TABLE secured NO FORCE ROW LEVEL SECURITY")
    capture_database(cluster.connection("tms", user="owner"), CaptureOptions(), store)


def test_a_role_that_only_reads_suffices(cluster: Cluster, store: DirectoryStore) -> None:
    capture = capture_database(
        cluster.connection("tms", user="full_reader"), CaptureOptions(), store
    )
    assert len(capture.tables) == 3
    assert capture.findings == []


def test_a_foreign_large_object_is_told(cluster: Cluster, store: DirectoryStore) -> None:
    server = cluster.connection("tms")
    psql(cluster, server, "-c", "SELECT lo_from_bytea(4711, 'x')")
    try:
        error = refusal(cluster.connection("tms", user="full_reader"), store)
    finally:
        psql(cluster, server, "-c", "SELECT lo_unlink(4711)")
    assert "large object 4711" in error.message


def test_a_proof_without_the_right_to_read_beside_tables_is_unknown(
    cluster: Cluster, store: DirectoryStore
) -> None:
    server = cluster.connection("tms")
    setup = "SELECT lo_from_bytea(4712, 'x'); CREATE SEQUENCE secret_sequence"
    psql(cluster, server, "-c", setup)
    try:
        capture_database(server, CaptureOptions(), store)
        psql(cluster, server, "-c", "REVOKE pg_read_all_data FROM full_reader")
        tables = "GRANT SELECT ON ALL TABLES IN SCHEMA public, private TO full_reader"
        psql(cluster, server, "-c", f"{tables}; GRANT USAGE ON SCHEMA private TO full_reader")
        proof = prove_database(store, cluster.connection("tms", user="full_reader"))
    finally:
        psql(cluster, server, "-c", "SELECT lo_unlink(4712); DROP SEQUENCE secret_sequence")
        psql(cluster, server, "-c", "DROP OWNED BY full_reader")
        psql(cluster, server, "-c", "GRANT pg_read_all_data TO full_reader")
    told = {one.subject for one in proof.findings if one.code == "content-unchecked"}
    assert {"large objects", "public.secret_sequence"} <= told
    assert not {one.code for one in proof.findings if one.code.startswith("content")} - {
        "content-unchecked"
    }


def test_too_few_connections_are_told(cluster: Cluster, store: DirectoryStore) -> None:
    server = cluster.connection("tms")
    psql(cluster, server, "-c", "ALTER ROLE full_reader CONNECTION LIMIT 3")
    try:
        error = refusal(cluster.connection("tms", user="full_reader"), store)
    finally:
        psql(cluster, server, "-c", "ALTER ROLE full_reader CONNECTION LIMIT -1")
    assert "5 more connections are needed and 2 are free" in error.message
    assert "Lower `jobs`" in error.hint


def test_settings_of_the_database_are_not_for_us(cluster: Cluster, store: DirectoryStore) -> None:
    """Here they would let another function answer us than PostgreSQL's own."""
    server = cluster.connection()
    psql(cluster, server, "-c", "CREATE DATABASE odd")
    source = cluster.connection("odd")
    setup = (
        "CREATE TABLE t AS SELECT 1 AS id; CREATE SCHEMA evil;"
        " CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'called'; END $$;"
        " ALTER DATABASE odd SET search_path = evil, pg_catalog"
    )
    psql(cluster, source, "-c", setup)
    capture = capture_database(source, CaptureOptions(), store)
    assert capture.manifest.rows == 1
    found = prove_database(store, source).findings
    assert [one for one in found if one.severity is not Severity.NOTE] == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SET statement_timeout = '1ms'; SELECT pg_sleep(1)", "statement timeout"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "terminating connection"),
        ("SELECT 1 / 0", "division by zero"),
        ("SELECT 'SECRET'::int", "invalid input syntax for type integer"),
    ],
)
def test_whatever_the_server_refuses_is_an_error_with_a_place_and_a_hint(
    cluster: Cluster, statement: str, reason: str
) -> None:
    connection = cluster.connection("tms")
    with (
        pytest.raises(SourceError) as caught,
        connection.explaining(),
        connection.connect() as session,
    ):
        session.execute(statement.encode())
    assert reason in caught.value.message
    assert caught.value.subject == connection.describe()
    assert caught.value.hint
    assert "SECRET" not in str(caught.value)


def test_a_transaction_pooler_is_recognised(cluster: Cluster, store: DirectoryStore) -> None:
    with TransactionPooler(cluster.socket_directory / ".s.PGSQL.5432", "postgres", "tms") as pooler:
        url = f"postgresql://postgres@127.0.0.1:{pooler.port}/tms?sslmode=disable"
        error = refusal(parse_connection(url), store)
    assert "this is a transaction pooler" in error.message
    assert error.hint == "Connect in session mode."


def test_a_known_pooler_port_is_refused_with_the_right_one(cluster: Cluster) -> None:
    address = parse_connection("postgresql://u@aws-0-eu.pooler.supabase.com:6543/postgres")
    with cluster.connection("tms").connect() as session:
        facts = examine_server(session)
        problems = find_problems(address, session, facts, jobs=2)
    assert [one.hint for one in problems] == ["Connect in session mode: port 5432 instead of 6543."]


def test_older_programs_are_refused_with_the_package_to_install(store: DirectoryStore) -> None:
    old = Path("/usr/lib/postgresql/15/bin")
    with throwaway_cluster(major=17) as newer, pytest.raises(SourceError) as caught:
        capture_database(newer.connection(), CaptureOptions(programs=old), store)
    assert caught.value.code == "client-programs"
    assert "older than the server (17)" in caught.value.message
    assert "postgresql-client-17" in caught.value.hint


def test_a_locked_table_is_waited_for_only_so_long(cluster: Cluster, store: DirectoryStore) -> None:
    with cluster.connection("tms").connect(autocommit=False) as other:
        other.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError) as caught:
            capture_database(
                cluster.connection("tms"), CaptureOptions(lock_timeout_seconds=1), store
            )
    assert caught.value.code == "capture-aborted"
    assert "locked by somebody" in caught.value.message


def test_a_target_that_holds_anything_is_refused(cluster: Cluster, store: DirectoryStore) -> None:
    capture_database(cluster.connection("tms"), CaptureOptions(), store)
    with pytest.raises(TargetError) as caught:
        load_database(store, cluster.connection("tms"))
    assert caught.value.code == "target-not-empty"
    assert "relation" in caught.value.message
    psql(cluster, cluster.connection(), "-c", "CREATE DATABASE occupied")
    psql(cluster, cluster.connection("occupied"), "-c", "SELECT lo_create(1)")
    with pytest.raises(TargetError) as caught:
        load_database(store, cluster.connection("occupied"))
    assert "large object 1" in caught.value.message


def test_a_target_that_may_not_be_made_is_refused(cluster: Cluster, store: DirectoryStore) -> None:
    capture_database(cluster.connection("tms"), CaptureOptions(), store)
    with pytest.raises(TargetError) as caught:
        load_database(store, cluster.connection("new one", user="reader"))
    assert caught.value.code == "target-refused"
    assert "CREATEDB" in caught.value.hint


def test_restore_sh_stops_loudly(cluster: Cluster, store: DirectoryStore) -> None:
    """A stream cut at the end of a line loads without any error from psql: the count tells."""
    psql(cluster, cluster.connection("tms"), "-c", "INSERT INTO plain VALUES (1), (2), (3)")
    capture_database(cluster.connection("tms"), CaptureOptions(), store)
    (store.root / "data" / "public.plain.copy").write_bytes(b"1\n2\n")
    environment = cluster.connection().environment()
    environment["PATH"] = f"{cluster.programs.directory}:{environment['PATH']}"
    for keep_going, status in (("", 1), ("1", 3)):
        done = subprocess.run(
            ["sh", "restore.sh", f"again{keep_going}"],
            cwd=store.root,
            env=environment | {"KEEP_GOING": keep_going},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "3 rows were captured, 2 were loaded" in done.stderr
    assert "the database is NOT complete" in done.stderr
