"""Single tables beside the live ones, and the way back from a replacement."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from strongroom.postgres.cluster import throwaway_cluster
from tests.e2e.command_line import Place, make_place
from tests.e2e.test_cli_database import CONFIG, SCHEMA, Server

pytestmark = pytest.mark.xdist_group("cli-tables")

MORE = """\
CREATE SCHEMA audit;
CREATE TYPE audit.kind AS ENUM ('insert', 'delete');
CREATE TABLE audit.trainees (id bigint, what audit.kind, at text COLLATE "C");
INSERT INTO audit.trainees SELECT n, 'insert', 'moment ' || n FROM generate_series(1, 50) n;
CREATE TABLE audit.trail (PRIMARY KEY (day, id), day date, id int) PARTITION BY RANGE (day);
CREATE TABLE audit.trail_2026 PARTITION OF audit.trail
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE audit.below PARTITION OF audit.trail
    FOR VALUES FROM ('2027-01-01') TO ('2028-01-01') PARTITION BY RANGE (id);
CREATE TABLE audit."Trail 2027" PARTITION OF audit.below FOR VALUES FROM (1) TO (100);
INSERT INTO audit.trail VALUES ('2027-11-20', 1);
INSERT INTO audit.trail SELECT '2026-11-20', n FROM generate_series(1, 9) n;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with throwaway_cluster(major=15) as cluster:
        made = Server(cluster)
        made.sql("postgres", "CREATE DATABASE tms")
        made.sql("tms", SCHEMA + MORE)
        os.environ["CLI_TEST_URL"] = made.url("tms")
        yield made
        del os.environ["CLI_TEST_URL"]


@pytest.fixture(scope="module")
def place(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("tables"), CONFIG)
    assert server.sql("tms", "SELECT n FROM totals") == "500"
    made.json("init")
    made.json("backup")
    return made


def schemas(server: Server) -> set[str]:
    names = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%restored%'"
    return set(server.sql("tms", names).split())


def test_deleted_rows_come_back_beside_the_live_table(place: Place, server: Server) -> None:
    before = schemas(server)
    server.sql("tms", "DELETE FROM trainees WHERE id <= 20; UPDATE trainees SET score = 0")
    report = place.json(
        "restore", "database", "--to", "env:CLI_TEST_URL", "--table", "public.trainees",
        "--table", "Odd name", "--reason", "rows were deleted",
    )  # fmt: skip
    assert report["verdict"] is None
    told = {one["subject"]: one["message"] for one in report["findings"]}
    assert told.keys() == {"public.trainees", "public.Odd name"}
    assert {one["code"] for one in report["findings"]} == {"table-restored"}
    assert "500 rows, identical to the snapshot" in told["public.trainees"]
    assert told["public.trainees"].endswith("without twice")
    (made,) = schemas(server) - before
    missing = f"""INSERT INTO trainees (id, status, score) OVERRIDING SYSTEM VALUE
        SELECT id, status, score FROM {made}.trainees r
        WHERE NOT EXISTS (SELECT FROM trainees t WHERE t.id = r.id)"""
    server.sql("tms", missing)
    assert server.sql("tms", "SELECT count(*) FROM trainees") == "500"
    key = f"SELECT count(*) FROM pg_index WHERE indrelid = '{made}.trainees'::regclass"
    assert server.sql("tms", key + " AND indisprimary") == "1"
    assert server.sql("tms", f'SELECT count(*) FROM {made}."Odd name"') == "2"


@pytest.mark.parametrize("name", ["audit.trail", "trail"])
def test_a_partitioned_table_stands_for_its_partitions(
    place: Place, server: Server, name: str
) -> None:
    before = schemas(server)
    report = place.json("restore", "database", "--to", "env:CLI_TEST_URL", "--table", name)
    assert {one["subject"] for one in report["findings"]} == {
        "audit.trail_2026",
        "audit.Trail 2027",
    }
    (made,) = schemas(server) - before
    assert server.sql("tms", f"SELECT count(*) FROM {made}.trail_2026") == "9"
    assert server.sql("tms", f'SELECT count(*) FROM {made}."Trail 2027"') == "1"
    server.sql("tms", f"DROP SCHEMA {made} CASCADE")  # the next one may be of the same second


def test_a_schema_comes_with_its_types_and_partitions(place: Place, server: Server) -> None:
    before = schemas(server)
    place.json("restore", "database", "--to", "env:CLI_TEST_URL", "--table", "audit.*")
    (made,) = schemas(server) - before
    assert made.startswith("audit_restored_")
    assert server.sql("tms", f"SELECT count(*), min(what) FROM {made}.trainees") == "50|insert"
    assert server.sql("tms", f"SELECT count(*) FROM {made}.trail_2026") == "9"
    server.sql("tms", f"DROP SCHEMA {made} CASCADE")  # the next one may be of the same second


def test_a_schema_is_named_by_itself(place: Place, server: Server) -> None:
    before = schemas(server)
    words = ("restore", "database", "--to", "env:CLI_TEST_URL", "--schema", "audit")
    report = place.json(*words, "--table", "public.trainees", "--reason", "to compare")
    made = schemas(server) - before
    assert {name.partition("_restored_")[0] for name in made} == {"audit", "public"}
    (audit,) = [name for name in made if name.startswith("audit")]
    names = f"SELECT relname FROM pg_class WHERE relnamespace = '{audit}'::regnamespace"
    tables = set(server.sql("tms", names + " AND relkind = 'r'").splitlines())
    assert tables == {"trainees", "trail_2026", "Trail 2027"}
    assert len(report["findings"]) == 4
    for name in made:
        server.sql("tms", f"DROP SCHEMA {name} CASCADE")
    unknown = place.run(*words[:-1], "audits")
    assert unknown.status == 2
    assert "no table in a schema audits" in unknown.err
    assert "Did you mean audit?" in unknown.err


def test_a_schema_comes_whole_into_an_empty_database(place: Place, server: Server) -> None:
    server.sql("postgres", "CREATE DATABASE alone")
    words = ("restore", "database", "--to", server.url("alone"))
    report = place.json(*words, "--schema", "audit", "--schema", "public")
    assert {one["code"] for one in report["findings"]} == {"table-restored"}
    assert server.sql("alone", "SELECT count(*), min(what) FROM audit.trainees") == "50|insert"
    assert server.sql("alone", "SELECT count(*) FROM audit.trail") == "10"
    # Keys, checks, generated columns and sequences act as they did.
    added = "INSERT INTO trainees (status, score) VALUES ('new', 7) RETURNING id, twice"
    assert server.sql("alone", added) == "501|14"
    again = place.run(*words, "--schema", "audit")
    assert again.status == 0, "beside what is there now"
    assert (
        server.sql("alone", "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'restored'") == "1"
    )
    # What a table needs of a schema that was left out is told, object by object.
    server.sql("tms", "CREATE TYPE public.kind_of AS ENUM ('a');"
               "CREATE TABLE audit.strange (id int, kind public.kind_of);"
               "INSERT INTO audit.strange VALUES (1, 'a')")  # fmt: skip
    assert place.run("backup", "database").status in (0, 3)
    server.sql("postgres", "CREATE DATABASE lacking")
    lacking = place.run(
        "--json", "restore", "database", "--to", server.url("lacking"), "--schema", "audit"
    )
    assert lacking.status == 41, lacking.text
    told = {(one["code"], one["subject"]) for one in lacking.document["findings"]}
    assert ("content-missing", "audit.strange") in told
    assert ("table-restored", "audit.trainees") in told
    server.sql("tms", "DROP TABLE audit.strange; DROP TYPE public.kind_of")


@pytest.mark.parametrize(
    ("name", "said"),
    [("trainee", "Did you mean"), ("trainees", "several tables"), ("nowhere.*", "no table")],
)
def test_a_name_that_chooses_nothing_is_told(
    place: Place, server: Server, name: str, said: str
) -> None:
    before = schemas(server)
    answer = place.run("restore", "database", "--to", "env:CLI_TEST_URL", "--table", name)
    assert answer.status == 2
    assert said in answer.err
    assert schemas(server) == before


def test_a_target_that_lacks_a_type_is_left_as_it_was(place: Place, server: Server) -> None:
    server.sql("postgres", "CREATE DATABASE bare")
    server.sql("bare", "CREATE SCHEMA audit")
    answer = place.run(
        "--json", "restore", "database", "--to", server.url("bare"), "--table", "audit.trainees"
    )
    assert answer.status == 5
    assert "audit.kind" in answer.document["error"]["message"]
    assert server.sql("bare", "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'restored'") == "0"
    nowhere = place.run(
        "--json", "restore", "database", "--to", server.url("nowhere"), "--table", "audit.trail"
    )
    assert nowhere.document["error"]["code"] == "database-missing"
    assert "CREATE DATABASE" in nowhere.document["error"]["hint"]


def test_parts_that_a_source_does_not_have_are_refused(place: Place, server: Server) -> None:
    for arguments in (
        ("uploads", "--to", place.path / "x", "--table", "a.b"),
        ("database", "--to", server.url("x"), "--include", "*.pdf"),
        ("database", "--to", server.url("x"), "--table", "a.b", "--replace", "x"),
    ):
        answer = place.run("restore", *arguments)
        assert answer.status == 2, answer.err


def test_a_preview_of_tables_wants_a_database_that_is_there(place: Place, server: Server) -> None:
    arguments = ("restore", "database", "--table", "audit.*", "--preview", "--to")
    assert place.json(*arguments, server.url("tms"))["obstacle"] is None
    assert place.run(*arguments, server.url("nowhere")).status != 0


def test_a_replaced_database_comes_back(place: Place, server: Server) -> None:
    server.sql("postgres", "CREATE DATABASE changing")
    server.sql("changing", "CREATE TABLE mine (id int)")
    url = server.url("changing")
    refused = place.run("restore", "--rollback", url)
    assert refused.status == 5
    assert "nothing is kept" in refused.err
    place.json("restore", "database", "--to", url, "--replace", "changing")
    assert server.sql("changing", "SELECT count(*) > 0 FROM trainees") == "t"
    report = place.json("restore", "--rollback", url, "--reason", "the wrong one")
    assert server.sql("changing", "SELECT count(*) FROM mine") == "0"
    assert server.sql(report["kept"], "SELECT count(*) > 0 FROM trainees") == "t"


def test_a_replaced_directory_comes_back(place: Place) -> None:
    target = place.path / "elsewhere"
    target.mkdir()
    (target / "mine").write_text("mine")
    place.json("restore", "uploads", "--to", target, "--replace", "elsewhere")
    assert (target / "lpos").is_dir()
    report = place.json("restore", "--rollback", target)
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert "rolled-back" in report["kept"]
    again = place.run("restore", "--rollback", target)
    assert again.status == 5
    both = place.run("restore", "uploads", "--rollback", target)
    assert both.status == 2
