"""Targets that are not like the source: a managed service, other roles, other versions.

The managed service is a project as its customer gets it: an ordinary role that owns the database,
schemas of the service, extensions in a schema of their own, open default privileges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.findings import Severity
from strongroom.model import Finding, Verdict, judge
from strongroom.postgres.accepted import Accepted
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, ClusterOptions, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.fitness import examine_target
from strongroom.postgres.load import LoadOptions, LoadReport, load_database
from strongroom.postgres.proof import ProofOptions, prove_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

HERE = Path(__file__).parent
PLATFORM = str(HERE / "managed_platform.sql")
APPLICATION = str(HERE / "managed_application.sql")

# One cluster serves several of them.
pytestmark = pytest.mark.xdist_group("restore-targets")


@contextmanager
def project(major: int) -> Iterator[Cluster]:
    with throwaway_cluster(major=major, options=ClusterOptions(superuser="supabase_admin")) as made:
        psql(made, made.connection("postgres"), "-f", PLATFORM)
        yield made


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    """The customer's application, captured from a project."""
    store = DirectoryStore(tmp_path_factory.mktemp("captured"))
    with project(15) as source:
        psql(source, source.connection("postgres"), "-f", APPLICATION)
        capture_database(source.connection("postgres"), CaptureOptions(), store)
    return store


def restore(
    store: DirectoryStore, target: Connection, roles: Mapping[str, str] | None = None
) -> tuple[LoadReport, list[Finding], Verdict]:
    """What load and proof say that is more than a note, and the verdict of both."""
    roles = roles or {}
    load = load_database(store, target, LoadOptions(other_roles=roles))
    accepted = Accepted(load.kept, load.unsettled, load.ordinary_role, roles)
    options = ProofOptions(lacking=load.lacking, accepted=accepted, elsewhere=("*",))
    proof = prove_database(store, target, options)
    found = [*load.findings, *proof.findings]
    verdict = judge(found, checked=proof.checked)
    return load, [one for one in found if one.severity is not Severity.NOTE], verdict


def told(found: list[Finding]) -> set[tuple[str, str]]:
    return {(one.code, one.subject) for one in found}


@pytest.mark.parametrize("major", [15, 17])
def test_a_managed_project_takes_what_it_can_and_the_rest_is_named(
    captured: DirectoryStore, major: int
) -> None:
    with project(major) as cluster:
        target = cluster.connection("postgres", user="postgres")
        load, found, verdict = restore(captured, target)
        assert not [one for one in found if one.severity is Severity.FAILURE], found
        assert verdict is Verdict.UNKNOWN
        assert not load.created
        assert {
            ("target-refused", "policy uploads on storage.objects"),
            ("target-refused", "event trigger no_drops"),
            ("target-refused", "publication everything"),
            ("target-refused", "table vault.of_the_service"),
            ("target-own", "table auth.schema_migrations"),
            ("role-made", "role reporting"),
            ("role-made", "role portal"),
        } <= told(found)
        counts = (
            "SELECT (SELECT count(*) FROM public.trainees), (SELECT count(*) FROM auth.users),"
            " (SELECT count(*) FROM public.private), (SELECT count(*) FROM auth.schema_migrations)"
        )
        assert psql(cluster, cluster.connection("postgres"), "-c", counts) == "500|2|1|2"
        kept = {one.subject for one in load.findings if one.code == "target-kept"}
        assert {"table auth.users", "schema storage", "function auth.uid()"} <= kept
        narrowed = {one.subject for one in load.findings if one.code == "target-narrowed"}
        assert "table public.private" in narrowed
        may = "SELECT has_table_privilege('anon', 'public.private', 'SELECT')"
        assert psql(cluster, cluster.connection("postgres"), "-c", may) == "f"
        # What was lent for the load is given back.
        owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'monthly'"
        assert psql(cluster, cluster.connection("postgres"), "-c", owner) == "reporting"
        lent = "SELECT has_schema_privilege('portal', 'reports', 'CREATE')"
        assert psql(cluster, cluster.connection("postgres"), "-c", lent) == "f"


def test_a_preflight_names_beforehand_what_will_not_come_back(captured: DirectoryStore) -> None:
    with project(15) as cluster:
        target = cluster.connection("postgres", user="postgres")
        before = psql(
            cluster, cluster.connection("postgres"), "-c", "SELECT count(*) FROM pg_class"
        )
        fitness = examine_target(captured, target)
        assert fitness.obstacle is None
        assert {
            ("target-refused", "event trigger no_drops"),
            ("target-refused", "publication everything"),
            ("role-made", "role portal"),
        } <= told(list(fitness.findings))
        after = psql(cluster, cluster.connection("postgres"), "-c", "SELECT count(*) FROM pg_class")
        assert before == after


def test_a_role_that_may_not_make_roles_names_those_that_are_absent(
    captured: DirectoryStore,
) -> None:
    """Ownership falls to the restoring role, grants are left out, a policy is for the others."""
    with project(15) as cluster:
        psql(cluster, cluster.connection("postgres"), "-c", "ALTER ROLE postgres NOCREATEROLE")
        target = cluster.connection("postgres", user="postgres")
        fitness = examine_target(captured, target)
        assert ("target-owner", "table reports.monthly") in told(list(fitness.findings))
        _, found, verdict = restore(captured, target)
        assert verdict is Verdict.UNKNOWN, found
        assert {
            ("role-missing", "role reporting"),
            ("role-missing", "role portal"),
            ("target-owner", "table reports.monthly"),
            ("target-grant", "grants on table reports.monthly"),
            ("target-grant", "policy own on public.trainees"),
        } <= told(found)
        roles = "SELECT polroles::regrole[] FROM pg_policy WHERE polname = 'own'"
        assert psql(cluster, target, "-c", roles) == "{authenticated}"


SIMPLE = """
CREATE ROLE clerk; CREATE ROLE "Odd One"; CREATE ROLE reader;
CREATE TABLE t (id int PRIMARY KEY, word text CHECK (word <> ''));
INSERT INTO t VALUES (1, 'a'), (2, 'b');
ALTER TABLE t OWNER TO clerk;
GRANT SELECT ON t TO reader, "Odd One";
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON t TO reader, "Odd One" USING (true);
ALTER DEFAULT PRIVILEGES FOR ROLE clerk GRANT SELECT ON TABLES TO reader;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$;
ALTER FUNCTION f() OWNER TO "Odd One";
"""


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    store = DirectoryStore(tmp_path_factory.mktemp("simple"))
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", SIMPLE)
        capture_database(source, CaptureOptions(), store)
    return store


def test_roles_get_the_names_that_they_have_there(simple: DirectoryStore) -> None:
    roles = {"clerk": "Chief Clerk", "reader": "audience", "Odd One": "audience"}
    with throwaway_cluster(major=15) as cluster:
        server = cluster.connection()
        psql(cluster, server, "-c", 'CREATE ROLE "Chief Clerk"; CREATE ROLE audience')
        target = cluster.connection("copy")
        _, found, verdict = restore(simple, target, roles)
        assert verdict is Verdict.PROVEN, found
        owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 't'"
        assert psql(cluster, target, "-c", owner) == '"Chief Clerk"'
        made = "SELECT count(*) FROM pg_roles WHERE rolname IN ('clerk', 'reader', 'Odd One')"
        assert psql(cluster, target, "-c", made) == "0"
        psql(cluster, target, "-c", "GRANT DELETE ON t TO audience")
        accepted = Accepted(other_roles=roles)
        proof = prove_database(simple, target, ProofOptions(accepted=accepted))
        assert told(proof.findings) == {("structure-differs", "table public.t")}


@pytest.mark.parametrize("major", [13, 14])
def test_a_newer_source_is_tried_on_an_older_server_and_what_does_not_fit_is_named(
    tmp_path: Path, major: int
) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE TABLE plain (id int PRIMARY KEY)",
             "-c", "INSERT INTO plain SELECT generate_series(1, 9)",
             "-c", "CREATE TABLE newer (id int, UNIQUE NULLS NOT DISTINCT (id))",
             "-c", "CREATE VIEW seen WITH (security_invoker) AS SELECT 1 AS one")  # fmt: skip
        capture_database(source, CaptureOptions(), store)
    with throwaway_cluster(major=major) as older:
        target = older.connection("copy")
        fitness = examine_target(store, target)
        assert ("target-older", "server") in told(list(fitness.findings))
        load, _, verdict = restore(store, target)
        assert verdict is Verdict.FAILED
        errors = {one.subject for one in load.findings if one.code == "load-error"}
        assert errors == {"constraint newer_id_key on public.newer", "view public.seen"}
        assert psql(older, target, "-c", "SELECT count(*) FROM plain") == "9"


@pytest.mark.parametrize(("source", "newest"), [(13, 18), (14, 18), (16, 18), (17, 18), (15, 17)])
def test_an_older_source_comes_back_on_a_newer_server(
    tmp_path: Path, source: int, newest: int
) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=source) as cluster:
        database = make_database(cluster, "source")
        psql(cluster, database, "-c", SIMPLE)
        capture_database(database, CaptureOptions(), store)
    with throwaway_cluster(major=newest) as newer:
        assert newer.major == newest
        fitness = examine_target(store, newer.connection("copy"))
        assert fitness.obstacle is None
        assert {one.code for one in fitness.findings} <= {"role-made", "structure-locale"}
        load = load_database(store, newer.connection("copy"))
        assert [one for one in load.findings if one.severity is not Severity.NOTE] == []
        rows = "SELECT string_agg(word, ',' ORDER BY id) FROM t"
        assert psql(newer, newer.connection("copy"), "-c", rows) == "a,b"


OBSTACLES = [
    ("CREATE ROLE r LOGIN", "nowhere", "may not make databases", "CREATEDB"),
    ("CREATE ROLE r LOGIN; CREATE DATABASE theirs", "theirs", "may not make", "GRANT CREATE ON"),
    ("CREATE ROLE r LOGIN SUPERUSER; ALTER ROLE r SET default_transaction_read_only TO on;"
     " CREATE DATABASE theirs", "theirs", "nothing can be written", "primary"),
]  # fmt: skip


@pytest.mark.parametrize(("setup", "name", "message", "hint"), OBSTACLES)
def test_what_would_stop_a_restore_is_told_before_it(
    simple: DirectoryStore, setup: str, name: str, message: str, hint: str
) -> None:
    with throwaway_cluster(major=15) as cluster:
        for statement in setup.split("; "):
            psql(cluster, cluster.connection(), "-c", statement)
        fitness = examine_target(simple, cluster.connection(name, user="r"))
        assert isinstance(fitness.obstacle, TargetError)
        assert message in fitness.obstacle.message
        assert hint in fitness.obstacle.hint


def test_a_tablespace_that_is_not_there_is_told_of_each_table(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=15) as cluster:
        cluster.add_tablespace("fast")
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE TABLE a (id int) TABLESPACE fast",
             "-c", "CREATE TABLE b (id int) TABLESPACE fast",
             "-c", "CREATE TABLE c (id int); CREATE INDEX c_id ON c (id) TABLESPACE fast",
             "-c", "CREATE TABLE d (id int PRIMARY KEY)")  # fmt: skip
        capture_database(source, CaptureOptions(), store)
    with throwaway_cluster(major=15) as other:
        target = other.connection("copy")
        assert told(list(examine_target(store, target).findings)) == {
            ("target-tablespace", "tablespace fast")
        }
        load, found, verdict = restore(store, target)
        assert verdict is Verdict.PROVEN, found
        assert {one.subject for one in found if one.code == "target-tablespace"} == {
            "table public.a", "table public.b", "index public.c_id"
        }  # fmt: skip
        assert load.findings


def test_a_key_that_rows_break_is_told_and_does_not_stay(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE TABLE a (id int PRIMARY KEY)",
             "-c", "CREATE TABLE b (a_id int CONSTRAINT good REFERENCES a)",
             "-c", "CREATE TABLE c (a_id int CONSTRAINT bad REFERENCES a)",
             "-c", "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)",
             "-c", "SET session_replication_role = replica; INSERT INTO c VALUES (2)")  # fmt: skip
        capture_database(source, CaptureOptions(), store)
        target = cluster.connection("copy")
        load = load_database(store, target)
        (told_of,) = [one for one in load.findings if one.severity is not Severity.NOTE]
        assert (told_of.code, told_of.subject) == ("load-error", "constraint bad on public.c")
        assert "(2)" not in told_of.message
        there = "SELECT string_agg(conname, ',' ORDER BY 1) FROM pg_constraint WHERE contype = 'f'"
        assert psql(cluster, target, "-c", there) == "good"
        valid = "SELECT bool_and(convalidated) FROM pg_constraint"
        assert psql(cluster, target, "-c", valid) == "t"


def test_a_mapping_without_a_password_is_told(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE EXTENSION postgres_fdw",
             "-c", "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
             "-c", "CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'x', password 'y')",
             "-c", "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'x')")  # fmt: skip
        capture_database(source, CaptureOptions(), store)
        fitness = examine_target(store, cluster.connection("copy"))
    secrets = [one.subject for one in fitness.findings if one.code == "target-secret"]
    assert secrets == ["user mapping for PUBLIC server far"]


def test_another_encoding_is_told_beforehand(simple: DirectoryStore) -> None:
    with throwaway_cluster(major=15) as cluster:
        options = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        psql(cluster, cluster.connection(), "-c", f"CREATE DATABASE latin {options}")
        fitness = examine_target(simple, cluster.connection("latin"))
    assert ("target-encoding", "database") in told(list(fitness.findings))


def test_an_extension_of_another_place_is_told_beforehand(
    tmp_path: Path, captured: DirectoryStore
) -> None:
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", "CREATE EXTENSION pgcrypto")
        capture_database(source, CaptureOptions(), store)
    assert captured.exists("manifest.json")
    with project(15) as managed:
        fitness = examine_target(store, managed.connection("postgres", user="postgres"))
        assert ("extension-differs", "extension pgcrypto") in told(list(fitness.findings))
    with throwaway_cluster(major=18) as lacking:
        fitness = examine_target(store, lacking.connection("copy"))
        assert ("sandbox-lacks", "extension pgcrypto") in told(list(fitness.findings))


LARGE = """
CREATE ROLE appr; CREATE ROLE reader; CREATE ROLE mgr LOGIN CREATEDB;
SELECT lo_from_bytea(99, 'x'); SELECT lo_from_bytea(100, 'y');
ALTER LARGE OBJECT 99 OWNER TO appr;
GRANT SELECT ON LARGE OBJECT 99 TO reader; GRANT SELECT ON LARGE OBJECT 100 TO appr;
"""


def test_large_objects_belong_to_the_roles_that_are_there(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "captured")
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", LARGE)
        capture_database(source, CaptureOptions(), store)
        target = cluster.connection("mapped")
        _, found, verdict = restore(store, target, {"appr": "mgr", "reader": "mgr"})
        assert verdict is Verdict.PROVEN, found
        owned = "SELECT string_agg(lomowner::regrole || ' ' || lomacl::text, ',' ORDER BY oid)"
        assert psql(cluster, target, "-c", f"{owned} FROM pg_largeobject_metadata") == (
            "mgr {mgr=rw/mgr},postgres {postgres=rw/postgres,mgr=r/postgres}"
        )
        psql(cluster, cluster.connection("postgres"), "-c", "DROP DATABASE source")
        _, found, verdict = restore(store, cluster.connection("refused", user="mgr"))
        assert verdict is Verdict.UNKNOWN, found
        assert ("target-owner", "large object 99") in told(found)
        assert "large-objects.sql" not in {one.subject for one in found}
