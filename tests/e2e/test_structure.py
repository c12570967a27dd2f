"""The structure rung on real servers: quiet after a dump and load, awake to any change."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from strongroom.findings import Severity
from strongroom.model import Finding
from strongroom.postgres import inventory_access
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.inventory import Inventory, take_inventory
from strongroom.postgres.programs import Programs, find_programs
from strongroom.postgres.schema_dump import for_every_server
from strongroom.postgres.structure import compare_structure
from tests.e2e.structure_changes import CHANGES, UNCHECKED, Change

HERE = Path(__file__).parent
MAJORS = (13, 14, 15, 16, 17, 18)


def on(*majors: int) -> list[object]:
    """Major versions as parameters. Each has one cluster: one worker runs all tests of it."""
    return [pytest.param(one, marks=group(one)) for one in majors]


def group(major: int) -> pytest.MarkDecorator:
    return pytest.mark.xdist_group(f"structure-{major}")


@dataclass
class Place:
    """A cluster with the nasty database, and what psql and pg_dump make of it."""

    cluster: Cluster
    programs: Programs
    captured: Inventory
    reference: Inventory

    def connect(self, database: str) -> psycopg.Connection:
        return self.cluster.connection(database).connect(autocommit=False)

    def psql(self, database: str, *arguments: str, script: bytes = b"") -> None:
        connection = self.cluster.connection(database)
        subprocess.run(
            [self.programs.path("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null",
             "-v", f"db={database}", *arguments],
            env=connection.environment(), input=script, check=True, capture_output=True,
        )  # fmt: skip

    def dump(self, database: str, *flags: str) -> bytes:
        connection = self.cluster.connection(database)
        script = subprocess.run(
            [self.programs.path("pg_dump"), *flags, database],
            env=connection.environment(), check=True, capture_output=True,
        ).stdout  # fmt: skip
        return for_every_server(script)

    def dump_of(self, other: Place, database: str, *flags: str) -> bytes:
        """A dump of another place's database with this one's pg_dump."""
        return Place(other.cluster, self.programs, self.captured, self.reference).dump(
            database, *flags
        )

    def create(self, database: str, script: bytes = b"") -> None:
        """A database from a dump, with the settings that a dump leaves behind."""
        self.create_empty(database)
        if script:
            self.psql(database, script=script)
        self.psql(database, "-f", str(HERE / "structure_database.sql"))

    def create_empty(self, database: str) -> None:
        """A database as newer programs think that every new one is; see `read_removals`."""
        self.psql("postgres", "-c", f"CREATE DATABASE {database} TEMPLATE template0")
        if self.cluster.major < 15:
            self.psql(database, "-c", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")

    def inventory(self, database: str) -> Inventory:
        with self.connect(database) as connection:
            return take_inventory(connection)


@pytest.fixture(scope="module")
def places() -> Iterator[Callable[[int], Place]]:
    """The place of a major version, made when it is first asked for."""
    with contextlib.ExitStack() as stack:
        made: dict[int, Place] = {}

        def place_of(major: int) -> Place:
            if major not in made:
                cluster = stack.enter_context(throwaway_cluster(major=major))
                assert cluster.major == major, cluster.programs.describe()
                made[major] = make_place(cluster)
            return made[major]

        yield place_of


def make_place(cluster: Cluster) -> Place:
    empty = Inventory(cluster.major * 10000, {})
    place = Place(cluster, find_programs(cluster.major), empty, empty)
    place.psql("postgres", "-f", str(HERE / "structure_roles.sql"))
    schema = (HERE / "structure_nasty.sql").read_bytes()
    if cluster.major >= 18:
        schema += (HERE / "structure_nasty_18.sql").read_bytes()
    place.create("source", schema)
    place.create("restored", place.dump("source"))
    place.create("plain", place.dump("source", "--schema-only"))
    place.captured = place.inventory("source")
    place.reference = place.inventory("plain")
    return place


@pytest.fixture(params=on(*MAJORS))
def place(request: pytest.FixtureRequest, places: Callable[[int], Place]) -> Place:
    return places(request.param)


def loud(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.severity is not Severity.NOTE]


def test_everything_can_be_read(place: Place) -> None:
    assert place.captured.unreadable == {}
    sections = {one.section for one in place.captured.objects.values()}
    never_here = {"row security of extension tables", "security labels", "parameters"}
    assert not never_here & sections
    assert len(sections) >= 40
    assert Inventory.from_json(place.captured.to_json()) == place.captured


def test_a_dump_and_load_is_no_difference(place: Place) -> None:
    restored = place.inventory("restored")
    findings = compare_structure(place.captured, restored, lambda: place.reference)
    assert loud(findings) == []
    rewritten = {one.subject for one in findings if one.code == "structure-rewritten"}
    assert {
        "constraint role_known on public.trainees",
        "policy own_rows on public.trainees",
        "index public.trainees_role",
        "view app.known",
        "materialized view app.totals",
        "trigger touch on public.trainees",
        "rule log_delete on public.trainees",
        "constraint email_kind on domain app.email",
        "column app.organisations.is_known",
    } <= rewritten
    assert restored.to_json() != place.captured.to_json()


def test_without_a_reference_rewritten_text_is_unknown(place: Place) -> None:
    findings = compare_structure(place.captured, place.inventory("restored"))
    assert {one.code for one in findings} == {"structure-unchecked"}
    assert "policy own_rows on public.trainees" in {one.subject for one in findings}


@pytest.mark.parametrize(
    "script",
    [
        "DROP SCHEMA public; DROP EXTENSION plpgsql",
        "COMMENT ON SCHEMA public IS NULL; ALTER SCHEMA public OWNER TO trainer;"
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; COMMENT ON EXTENSION plpgsql IS 'changed'",
    ],
)
def test_a_database_without_the_usual_things_is_no_difference(place: Place, script: str) -> None:
    for database in ("bare", "bare_restored"):
        place.create_empty(database)
    place.psql("bare", script=script.encode())
    place.psql("bare_restored", script=place.dump("bare"))
    captured, restored = place.inventory("bare"), place.inventory("bare_restored")
    with place.connect("bare_restored") as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS public")
        connection.execute("CREATE TABLE public.planted ()")
        planted = take_inventory(connection)
        connection.rollback()
    for database in ("bare", "bare_restored"):
        place.psql("postgres", "-c", f"DROP DATABASE {database}")
    assert loud(compare_structure(captured, restored, lambda: restored)) == []
    found = loud(compare_structure(captured, planted, lambda: restored))
    assert [(one.code, one.subject) for one in found] == [
        ("structure-extra", "table public.planted")
    ]


@group(18)
@pytest.mark.parametrize("major", [13, 15])
def test_a_newer_server_is_no_difference(places: Callable[[int], Place], major: int) -> None:
    """New attributes, MAINTAIN, NOT NULL constraints, another owner of the schema public, other
    ways to print views."""
    old, new = places(major), places(18)
    dump, plain = (new.dump_of(old, "source", *flags) for flags in ((), ("--schema-only",)))
    new.create(f"from_{major}", dump)
    new.create(f"from_{major}_plain", plain)
    reference = new.inventory(f"from_{major}_plain")
    restored = new.inventory(f"from_{major}")
    findings = compare_structure(old.captured, restored, lambda: reference)
    # Newer versions of an extension: what they consist of was not compared.
    assert {(one.code, one.subject.split()[0]) for one in loud(findings)} == {
        (UNCHECKED, "extension")
    }


@group(18)
def test_a_reference_of_another_version_decides_nothing(places: Callable[[int], Place]) -> None:
    place, other = places(15), places(18)
    observed = place.inventory("restored")
    findings = compare_structure(place.captured, observed, lambda: other.reference)
    assert {one.code for one in findings} == {UNCHECKED}
    assert "the reference database runs PostgreSQL 18" in findings[0].message


def test_a_plain_role_sees_nearly_everything(place: Place) -> None:
    place.psql("postgres", "-c", "DROP ROLE IF EXISTS plain", "-c", "CREATE ROLE plain LOGIN")
    with place.cluster.connection("source", user="plain").connect() as connection:
        seen = take_inventory(connection)
    assert seen.unreadable == {}
    findings = compare_structure(place.captured, seen)
    assert {(one.code, one.subject) for one in findings} == {
        (UNCHECKED, "user mapping for trainer server elsewhere"),
        (UNCHECKED, "user mapping for PUBLIC server elsewhere"),
    }


def test_no_secret_is_read(place: Place) -> None:
    text = place.captured.to_json().decode()
    assert "hush@" not in text
    assert place.captured.objects["user mapping for trainer server elsewhere"].attributes == {
        "options": {"user": "far", "password": "(not read)"}
    }
    assert "nowhere.invalid" not in text


def test_what_cannot_be_read_is_listed(place: Place) -> None:
    with place.connect("restored") as connection:
        connection.execute("REVOKE SELECT ON pg_catalog.pg_event_trigger FROM PUBLIC")
        connection.execute("CREATE ROLE shut_out LOGIN")
        connection.execute("SET LOCAL ROLE shut_out")
        seen = take_inventory(connection)
        connection.rollback()
    assert seen.unreadable == {"event triggers": "permission denied for table pg_event_trigger"}
    findings = loud(compare_structure(place.captured, seen, lambda: place.reference))
    assert (UNCHECKED, "event triggers") in {(one.code, one.subject) for one in findings}
    assert not [one for one in findings if one.subject.startswith("event trigger ")]


def test_the_session_is_left_as_it_was(place: Place) -> None:
    expected = place.inventory("source")
    with place.cluster.connection("source").connect() as connection:
        connection.execute("SET search_path = app")
        connection.execute("SET TIME ZONE 'Asia/Dubai'")
        assert take_inventory(connection) == expected
        connection.execute("BEGIN")
        assert take_inventory(connection) == expected
        for setting, value in (("search_path", "app"), ("timezone", "Asia/Dubai")):
            assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (value,)
        connection.execute("ROLLBACK")


def test_bytes_without_an_encoding_are_read(place: Place) -> None:
    place.psql("postgres", "-c", "CREATE DATABASE bytes ENCODING SQL_ASCII TEMPLATE template0"
               " LC_COLLATE 'C' LC_CTYPE 'C'")  # fmt: skip
    script = "COMMENT ON SCHEMA public IS 'caf\xe9'; CREATE FUNCTION f() RETURNS text LANGUAGE sql"
    place.psql("bytes", script=(script + " SET app.x = '\xe9' AS 'SELECT 1'").encode("latin-1"))
    seen = place.inventory("bytes")
    place.psql("postgres", "-c", "DROP DATABASE bytes")
    assert seen.unreadable == {}
    assert seen.objects["schema public"].attributes["comment"] == "caf\xe9"
    assert seen.objects["function public.f()"].attributes["settings"] == {"app.x": "\xe9"}


def test_many_large_objects_are_told_in_groups(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_access, "LARGE_OBJECTS", 1)
    captured = place.inventory("source")
    groups = [one for one in captured.objects.values() if one.section == "large objects"]
    assert [one.attributes["count"] for one in groups] == [1, 1]
    with place.connect("source") as connection:
        connection.execute("GRANT UPDATE ON LARGE OBJECT 900001 TO anon")
        observed = take_inventory(connection)
        connection.rollback()
    codes = sorted(one.code for one in compare_structure(captured, observed))
    assert codes == ["structure-extra", "structure-missing"]


def test_a_lacking_extension_makes_unknown_what_needs_it(place: Place) -> None:
    with place.connect("restored") as connection:
        connection.execute("DROP EXTENSION citext CASCADE")
        connection.execute("DROP EXTENSION pg_trgm CASCADE")
        observed = take_inventory(connection)
        connection.rollback()
    shrunk = replace(observed, available_extensions=observed.available_extensions - {"pg_trgm"})
    findings = loud(compare_structure(place.captured, shrunk, lambda: place.reference))
    by_subject = {one.subject: one.code for one in findings}
    assert by_subject["extension pg_trgm"] == UNCHECKED
    assert by_subject["index public.trainees_trigram"] == UNCHECKED
    assert by_subject["extension citext"] == "structure-missing"
    assert by_subject["column public.trainees.nick"] == "structure-missing"


def changes_by_major() -> list[object]:
    """All of them on the oldest and the newest version, a part of them on each one between."""
    return [
        pytest.param(major, change, marks=group(major))
        for major in MAJORS
        for number, change in enumerate(CHANGES)
        if change.since <= major and (major in (13, 18) or number % 4 == major % 4)
    ]


@pytest.mark.parametrize(
    ("major", "change"),
    changes_by_major(),
    ids=lambda value: value.sql[:60] if isinstance(value, Change) else None,
)
def test_a_single_change_is_found(
    places: Callable[[int], Place], major: int, change: Change
) -> None:
    place = places(major)
    with place.connect("restored") as connection:
        connection.execute("SET allow_system_table_mods = on")
        connection.execute("SET client_min_messages = error")
        connection.execute(change.sql.replace("{db}", "restored").encode())
        observed = take_inventory(connection)
        connection.rollback()
    findings = loud(compare_structure(place.captured, observed, lambda: place.reference))
    assert {(one.code, one.subject) for one in findings} == set(change.found), findings
    assert len(findings) == len(change.found)
    if change.says:
        assert change.says in findings[0].message
