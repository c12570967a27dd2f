"""Which version a schema has, by the tables that migration tools keep."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.migration import MigrationRecord, read_migration

pytestmark = pytest.mark.xdist_group("points")

CASES = {
    "none": ("CREATE TABLE migrations (id integer)", None),
    "supabase": (
        "CREATE SCHEMA supabase_migrations; CREATE TABLE supabase_migrations.schema_migrations"
        " (version text PRIMARY KEY, statements text[], name text);"
        "INSERT INTO supabase_migrations.schema_migrations (version) VALUES ('20260102030405'),"
        " ('20260301000000'), ('20260201000000');"
        "CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version text PRIMARY KEY);"
        "INSERT INTO auth.schema_migrations VALUES ('99999999999999')",
        MigrationRecord("supabase", "supabase_migrations.schema_migrations", "20260301000000"),
    ),
    "a platform's own": (
        "CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version text PRIMARY KEY);"
        "INSERT INTO auth.schema_migrations VALUES ('20260301000000')",
        None,
    ),
    "django": (
        "CREATE TABLE django_migrations (id bigint, app text, name text, applied timestamptz);"
        "INSERT INTO django_migrations VALUES (1, 'tms', '0001_initial', '2026-01-01'),"
        " (3, 'tms', '0002_lpo', '2026-02-01'), (2, 'auth', '0012_alter', '2026-01-01')",
        MigrationRecord("django", "public.django_migrations", "tms.0002_lpo"),
    ),
    "laravel": (
        "CREATE TABLE migrations (id integer, migration varchar(255), batch integer);"
        "INSERT INTO migrations VALUES (1, '2014_10_12_000000_users', 1),"
        " (2, '2026_01_01_000001_lpos', 3), (3, '2026_01_01_000000_quotes', 3)",
        MigrationRecord("laravel", "public.migrations", "2026_01_01_000001_lpos"),
    ),
    "flyway": (
        "CREATE TABLE flyway_schema_history (installed_rank integer, version varchar(50),"
        " description text, success boolean);"
        "INSERT INTO flyway_schema_history VALUES (1, '1', 'a', true), (2, '1.10', 'b', true),"
        " (3, NULL, 'repeatable', true), (4, '2', 'c', false)",
        MigrationRecord("flyway", "public.flyway_schema_history", "1.10"),
    ),
    "rails": (
        'CREATE SCHEMA "My App"; CREATE TABLE "My App".schema_migrations (version varchar);'
        """INSERT INTO "My App".schema_migrations VALUES ('9'), ('20260101000000'), ('100')""",
        MigrationRecord("rails", "My App.schema_migrations", "20260101000000"),
    ),
    "ecto": (
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp);"
        "INSERT INTO schema_migrations VALUES (20260101000000), (20260102000000)",
        MigrationRecord("ecto", "public.schema_migrations", "20260102000000"),
    ),
    "golang-migrate": (
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean);"
        "INSERT INTO schema_migrations VALUES (17, false)",
        MigrationRecord("golang-migrate", "public.schema_migrations", "17"),
    ),
    "alembic": (
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
        "INSERT INTO alembic_version VALUES ('b2'), ('a1')",
        MigrationRecord("alembic", "public.alembic_version", "a1, b2"),
    ),
    "empty": ("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)", None),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.fixture
def session(server: Cluster) -> Iterator[psycopg.Connection]:
    with server.connection("postgres").connect() as maintenance:
        maintenance.execute(b"CREATE DATABASE migrated")
        with server.connection("migrated").connect() as made:
            yield made
        maintenance.execute(b"DROP DATABASE migrated WITH (FORCE)")


@pytest.mark.parametrize("name", CASES)
def test_the_newest_version_is_read(session: psycopg.Connection, name: str) -> None:
    statements, expected = CASES[name]
    session.execute(statements.encode())
    with session.transaction():
        session.execute(b"SET TRANSACTION READ ONLY")
        assert read_migration(session) == expected


def test_a_table_that_cannot_be_read_ends_nothing(session: psycopg.Connection) -> None:
    session.execute(
        b"CREATE TABLE alembic_version (version_num varchar(32));"
        b"CREATE ROLE stranger; GRANT USAGE ON SCHEMA public TO stranger"
    )
    with session.transaction():
        session.execute(b"SET LOCAL ROLE stranger")
        assert read_migration(session) is None
        assert session.execute(b"SELECT 1").fetchone() == (1,), "the transaction goes on"
    session.execute(b"DROP OWNED BY stranger; DROP ROLE stranger")
