"""Servers and databases that are not like most: encodings, locales, missing parts, standbys."""

from __future__ import annotations

import ipaddress
import os
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from strongroom.errors import SourceError
from strongroom.findings import Severity
from strongroom.model import Finding, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, ClusterOptions, start_cluster, throwaway_cluster
from strongroom.postgres.connection import parse_connection
from strongroom.postgres.load import LoadOptions, LoadReport, load_database
from strongroom.postgres.programs import find_programs
from strongroom.postgres.proof import ProofOptions, prove_database
from strongroom.postgres.sandbox import reference_in, sandbox_for
from tests.e2e.postgres_directory import DirectoryStore, psql

# One cluster serves all of them: one worker runs them.
pytestmark = pytest.mark.xdist_group("postgres-odd-servers")

LATIN = "ENCODING 'LATIN1' LOCALE 'C'"
ASCII = "ENCODING 'SQL_ASCII' LOCALE 'C'"
ICU = "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de-AT'"

ODD = [
    ("latin", LATIN, """CREATE TABLE "täble" AS SELECT 'ä' AS "cölumn" UNION ALL SELECT 'é'"""),
    ("bytes", ASCII, r"CREATE TABLE t (a text); INSERT INTO t VALUES (E'\xff\xfe\x80'), ('ü')"),
    ("nothing", "", "SELECT 1"),
    ("no public schema", "", "DROP SCHEMA public; DROP EXTENSION plpgsql; CREATE SCHEMA s;"
     " CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1)"),
    ("another locale", ICU, "CREATE TABLE t (a text PRIMARY KEY);"
     " INSERT INTO t VALUES ('b'), ('ä');"
     " CREATE COLLATION two (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
     " CREATE TABLE u (x text COLLATE two UNIQUE); INSERT INTO u VALUES ('a')"),
    ("extensions", "", 'CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp";'
     " CREATE TABLE t (id uuid DEFAULT uuid_generate_v4(), l text COMPRESSION lz4);"
     " INSERT INTO t (l) VALUES ('x'); CREATE TABLE other (a int);"
     " CREATE VIEW hashed AS SELECT digest('a', 'md5') AS it"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def newer() -> Iterator[Cluster]:
    """A server without ICU, lz4, pgcrypto and uuid-ossp."""
    with throwaway_cluster(major=18) as cluster:
        yield cluster


def capture(cluster: Cluster, name: str, options: str, script: str, to: Path) -> DirectoryStore:
    server = cluster.connection()
    psql(cluster, server, "-c", f'DROP DATABASE IF EXISTS "{name}"')
    psql(cluster, server, "-c", f'CREATE DATABASE "{name}" TEMPLATE template0 {options}')
    psql(cluster, cluster.connection(name), "-c", script)
    store = DirectoryStore(to)
    capture_database(cluster.connection(name), CaptureOptions(), store)
    return store


def trip(store: DirectoryStore, cluster: Cluster, name: str) -> tuple[LoadReport, list[Finding]]:
    """What the load reported, and what load and proof found besides notes."""
    target = cluster.connection(f"{name} again")
    load = load_database(store, target, LoadOptions(own_server=True))
    reference = reference_in(cluster, store)
    proof = prove_database(store, target, ProofOptions(reference=reference, lacking=load.lacking))
    assert proof.checked > 0
    found = [*load.findings, *proof.findings]
    return load, [one for one in found if one.severity is not Severity.NOTE]


@pytest.mark.parametrize(("name", "options", "script"), ODD, ids=[case[0] for case in ODD])
def test_an_odd_database_comes_back_to_its_own_kind(
    cluster: Cluster, tmp_path: Path, name: str, options: str, script: str
) -> None:
    store = capture(cluster, name, options, script, tmp_path)
    _, found = trip(store, cluster, name)
    assert found == []


@pytest.mark.parametrize("name", ["another locale", "extensions"])
def test_what_the_server_lacks_makes_unknown_and_is_named(
    cluster: Cluster, newer: Cluster, tmp_path: Path, name: str
) -> None:
    options, script = next(case[1:] for case in ODD if case[0] == name)
    store = capture(cluster, name, options, script, tmp_path)
    load, found = trip(store, newer, name)
    assert judge(found, checked=1) is Verdict.UNKNOWN, found
    subjects = {one.subject for one in found}
    if name == "extensions":
        assert {"extension pgcrypto", "extension uuid-ossp"} <= load.lacking
        assert {"extension pgcrypto", "table public.t", "public.t"} <= subjects
        assert "view public.hashed" in subjects
        assert not {one for one in subjects if "other" in one}, "what needs nothing is proven"
    else:
        assert {"locale de-AT", "ICU", "collation public.two"} <= load.lacking
        assert {"database", "collation public.two", "public.u"} <= subjects


def test_an_older_database_comes_back_to_a_newer_server(
    cluster: Cluster, newer: Cluster, tmp_path: Path
) -> None:
    script = "CREATE TABLE t (a varchar(5) CHECK (a IN ('x', 'y'))); INSERT INTO t VALUES ('x')"
    store = capture(cluster, "older", "", script, tmp_path)
    _, found = trip(store, newer, "older")
    assert found == []


def test_a_sandbox_has_the_bootstrap_role_of_the_source(tmp_path: Path) -> None:
    """As on Supabase: the first superuser has a name of its own and `postgres` is none."""
    options = ClusterOptions(superuser="supabase_admin")
    with throwaway_cluster(major=15, options=options) as cluster:
        server = cluster.connection()
        psql(cluster, server, "-c", "CREATE ROLE postgres LOGIN CREATEDB BYPASSRLS")
        psql(cluster, server, "-c", "ALTER ROLE supabase_admin SET search_path = extensions")
        psql(cluster, server, "-c", "CREATE DATABASE tms OWNER postgres")
        own = cluster.connection("tms", user="postgres")
        psql(cluster, own, "-c", "CREATE TABLE t (a int)")
        psql(cluster, cluster.connection("tms"), "-c", "CREATE TABLE public.theirs (a int)")
        store = DirectoryStore(tmp_path)
        capture_database(cluster.connection("tms"), CaptureOptions(), store)
    with sandbox_for(store) as cluster:
        assert cluster.superuser == "supabase_admin"
        _, found = trip(store, cluster, "tms")
    assert found == []


def control(cluster: Cluster, action: str) -> None:
    """Runs pg_ctl as whom the server runs as."""
    owner = cluster.directory.stat()
    log = str(cluster.directory / "standby.log")
    subprocess.run(
        [cluster.programs.path("pg_ctl"), "-D", str(cluster.directory / "data"), "-w", "-m", "fast",
         action, *(["-l", log] if action == "restart" else [])],
        user=owner.st_uid, group=owner.st_gid, extra_groups=[] if os.geteuid() == 0 else None,
        cwd=cluster.directory, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_standby_is_captured_without_its_unlogged_tables(tmp_path: Path) -> None:
    primary = start_cluster(15, ClusterOptions(durable=True))
    try:
        psql(primary, primary.connection(), "-c", "CREATE TABLE kept AS SELECT 1 AS id")
        psql(primary, primary.connection(), "-c", "CREATE UNLOGGED TABLE scratch (a int)")
        # A standby made in place: the very same server, started again in recovery.
        signal = primary.directory / "data" / "standby.signal"
        signal.touch()
        owner = (primary.directory / "data").stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        control(primary, "restart")
        row = psql(primary, primary.connection(), "-c", "SELECT pg_is_in_recovery()")
        assert row == "t"
        store = DirectoryStore(tmp_path)
        captured = capture_database(primary.connection(), CaptureOptions(), store)
    finally:
        control(primary, "stop")
        primary.stop()
    assert [one.label for one in captured.tables] == ["public.kept"]
    assert captured.manifest.snapshot.from_standby
    told = [one for one in captured.manifest.coverage if one.kind == "unlogged table"]
    assert [(one.subject, one.status) for one in told] == [("public.scratch", "not-exportable")]


def certificate(host: str, at: Path, owner: os.stat_result) -> None:
    """A certificate for an address that vouches for itself, and its key for the server alone."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made for a test")])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (at / "server.crt").write_bytes(made.public_bytes(encoding))
    secret = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (at / "server.key").write_bytes(secret)
    (at / "server.key").chmod(0o600)
    for file in ("server.crt", "server.key"):
        os.chown(at / file, owner.st_uid, owner.st_gid)


def test_a_server_that_wants_tls(tmp_path: Path) -> None:
    """Everything goes through TLS, children included; programs without TLS are not an answer."""
    host = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
    options = ClusterOptions(settings={"listen_addresses": host})
    with throwaway_cluster(major=15, options=options) as cluster:
        server, data = cluster.connection(), cluster.directory / "data"
        certificate(host, data, data.stat())
        access = "local all all trust\nhostssl all all 127.0.0.0/8 trust\n"
        (data / "pg_hba.conf").write_text(access)
        psql(cluster, server, "-c", "CREATE DATABASE tms")
        psql(cluster, cluster.connection("tms"), "-c", "CREATE TABLE t AS SELECT 1 AS a")
        psql(cluster, server, "-c", "ALTER SYSTEM SET ssl = on")
        psql(cluster, server, "-c", "SELECT pg_reload_conf()")
        url = f"postgresql://postgres@{host}/tms?sslmode="
        verified = parse_connection(f"{url}verify-full&sslrootcert={data / 'server.crt'}")
        captured = capture_database(verified, CaptureOptions(), DirectoryStore(tmp_path))
        assert captured.manifest.rows == 1
        assert captured.programs.tls
        with pytest.raises(SourceError) as refused:
            capture_database(
                parse_connection(f"{url}disable"), CaptureOptions(), DirectoryStore(tmp_path)
            )
        assert refused.value.code == "database-login"
        without = find_programs(18).directory
        with pytest.raises(SourceError) as unfit:
            capture_database(verified, CaptureOptions(programs=without), DirectoryStore(tmp_path))
        assert unfit.value.code == "client-programs"
        assert "without TLS" in unfit.value.message
        unverified = parse_connection(f"{url}verify-full&sslrootcert=/nowhere")
        with pytest.raises(SourceError) as untrusted:
            capture_database(unverified, CaptureOptions(), DirectoryStore(tmp_path))
        assert untrusted.value.code == "database-unreachable"
        assert "sslrootcert" in untrusted.value.hint
