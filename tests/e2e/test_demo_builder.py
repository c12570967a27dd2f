"""The demo's application is built whole on every server version, and the same on each."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pypdf import PdfReader

from strongroom.config import load_settings, resolve_secret
from strongroom.demo import DemoApplication, build_application
from strongroom.demo.database import open_database
from strongroom.demo.uploads import FOLDERS
from strongroom.errors import ConfigError, SourceError, TargetError
from strongroom.postgres.cluster import throwaway_cluster
from strongroom.postgres.connection import Connection

if TYPE_CHECKING:
    from strongroom.demo.database import Session

ROWS = 6_000
# Each version has one server: one worker runs all tests of it.
MAJORS = [
    pytest.param(one, marks=pytest.mark.xdist_group(f"built-{one}"))
    for one in (13, 14, 15, 16, 17, 18)
]
SEEDS = pytest.mark.xdist_group("built-of-seeds")


@dataclass(frozen=True)
class Built:
    """An application on a running server, and a connection to its database."""

    application: DemoApplication
    session: Session
    server: Connection

    def values(self, query: str) -> list[object]:
        return [next(iter(row.values())) for row in self.session.execute(query)]


@pytest.fixture(scope="module", params=MAJORS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    with throwaway_cluster(major=request.param) as cluster:
        server = cluster.connection()
        assert cluster.major == request.param, "the tests want this very version"
        folder = tmp_path_factory.mktemp(f"demo{request.param}") / "tms"
        application = build_application(folder, server, ROWS)
        with open_database(server, application.database) as session:
            yield Built(application, session, server)


def test_the_tables_hold_exactly_the_rows_asked_for(built: Built) -> None:
    tables = built.values(
        "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE relkind = 'r' AND nspname IN ('public', 'private')"
    )
    counts = {name: built.values(f"SELECT count(*) FROM {name}")[0] for name in tables}
    assert sum(int(str(count)) for count in counts.values()) == ROWS
    empty = [name for name, count in counts.items() if count == 0]
    assert empty == ["public.audit_trail_later"], "only the default partition is empty"
    assert "seed" not in built.values("SELECT nspname FROM pg_namespace")


# What must be there: a name, at least how many, and what to count.
PROMISED = """
enums                     | 7  | pg_type WHERE typtype = 'e'
domains                   | 5  | pg_type WHERE typtype = 'd' AND oid > 16384
generated columns         | 8  | pg_attribute WHERE attgenerated = 's'
identity columns          | 8  | pg_attribute WHERE attidentity <> ''
dropped columns           | 1  | pg_attribute WHERE attisdropped
checks of varchar with IN | 6  | pg_constraint WHERE pg_get_constraintdef(oid) LIKE '%::text = ANY%'
exclusion constraints     | 1  | pg_constraint WHERE contype = 'x'
deferrable keys           | 2  | pg_constraint WHERE contype = 'f' AND condeferrable
partitions                | 17 | pg_class WHERE relispartition AND relkind = 'r'
partial indexes           | 4  | pg_index WHERE indpred IS NOT NULL
expression indexes        | 3  | pg_index WHERE indexprs IS NOT NULL
GIN indexes               | 5  | pg_indexes WHERE indexdef LIKE '% USING gin %'
triggers                  | 11 | pg_trigger WHERE NOT tgisinternal
switched off triggers     | 1  | pg_trigger WHERE tgenabled = 'D'
event triggers            | 1  | pg_event_trigger
policies                  | 20 | pg_policy
restrictive policies      | 1  | pg_policy WHERE NOT polpermissive
forced row security       | 1  | pg_class WHERE relforcerowsecurity
column grants             | 15 | pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16384
default privileges        | 3  | pg_default_acl
definers that pin a path  | 4  | pg_proc WHERE prosecdef AND proconfig::text LIKE '%search_path%'
materialised views        | 3  | pg_matviews WHERE ispopulated
large objects             | 3  | pg_largeobject_metadata
database settings         | 3  | pg_db_role_setting WHERE setdatabase <> 0
publications              | 1  | pg_publication
comments                  | 20 | pg_description WHERE objoid > 16384
odd sequences             | 2  | pg_sequences WHERE increment_by IN (5, -1)
"""


def test_the_schema_has_what_applications_have(built: Built) -> None:
    missing = []
    for line in PROMISED.strip().splitlines():
        what, least, relation = (part.strip() for part in line.split("|"))
        found = int(str(built.values(f"SELECT count(*) FROM {relation}")[0]))
        if found < int(least):
            missing.append(f"{what}: {found}, wanted {least}")
    assert missing == []


def test_newer_servers_get_what_only_they_have(built: Built) -> None:
    version = built.session.info.server_version
    invokers = built.values(
        "SELECT relname FROM pg_class WHERE reloptions::text LIKE '%security_invoker%' ORDER BY 1"
    )
    assert invokers == (
        ["outstanding_invoices", "trainee_certificates"] if version >= 150_000 else []
    )
    if version >= 140_000:
        parsed = built.values("SELECT proname FROM pg_proc WHERE prosqlbody IS NOT NULL")
        assert {"certificate_count", "vat_of"} <= set(parsed)
    virtual = built.values("SELECT attname FROM pg_attribute WHERE attgenerated = 'v'")
    assert virtual == (["days"] if version >= 180_000 else [])


def test_row_security_shows_each_role_its_own(built: Built) -> None:
    session, trainee = built.session, built.application.trainee
    count = "SELECT count(*) FROM public.certificates"
    own = "SELECT count(*) FROM public.certificates c JOIN public.trainees t ON t.id = trainee_id"
    expected = built.values(f"{own} WHERE t.user_id = '{trainee}' AND c.status <> 'revoked'")
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL ROLE anon")
        assert built.values(count)[0] == built.values(f"{count} WHERE status <> 'revoked'")[0]
        assert built.values("SELECT count(*) > 0 FROM public.courses") == [True]
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL ROLE authenticated")
        assert built.values(count) == [0], "nobody in particular has no certificate"
        claims = f'{{"sub": "{trainee}", "role": "authenticated"}}'
        session.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
        assert built.values(count) == expected
        assert expected != [0]
        if session.info.server_version >= 150_000:  # an older one's views see what their owner does
            assert built.values("SELECT count(*) FROM public.trainee_certificates") == expected


def test_every_document_is_the_file_that_its_row_describes(built: Built) -> None:
    uploads = built.application.uploads
    rows = built.session.execute(
        "SELECT kind::text, file_path, size_bytes, sha256 FROM public.documents"
    ).fetchall()
    assert len(rows) == built.application.files >= 15
    assert {row["kind"] for row in rows} == set(FOLDERS)
    for row in rows:
        content = (uploads / row["file_path"]).read_bytes()
        assert row["file_path"].startswith(FOLDERS[row["kind"]] + "/")
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            row["size_bytes"], row["sha256"],
        )  # fmt: skip
        assert len(PdfReader(io.BytesIO(content), strict=True).pages) == 1
    on_disk = {str(path.relative_to(uploads)) for path in uploads.rglob("*.pdf")}
    assert on_disk == {row["file_path"] for row in rows}


def test_sequences_go_on_where_the_rows_end(built: Built) -> None:
    with built.session.transaction(force_rollback=True):
        number = built.values(
            "INSERT INTO public.lpos (organisation_id, amount, received_on)"
            " VALUES (1, 10, '2026-11-20') RETURNING number"
        )[0]
        highest = "SELECT max(substr(number, 5)::bigint) FROM public.lpos WHERE number <> %s"
        row = built.session.execute(highest, (number,)).fetchone()
        assert row is not None
        assert number == f"LPO-{row['max'] + 5}"


def test_the_triggers_work(built: Built) -> None:
    with built.session.transaction(force_rollback=True):
        built.session.execute("UPDATE public.certificates SET status = 'revoked' WHERE id = 1")
        entry = built.values(
            "SELECT new_row ->> 'status' FROM public.audit_trail WHERE table_name = 'certificates'"
            " AND row_key = '1' ORDER BY id DESC LIMIT 1"
        )
        assert entry == ["revoked"]
        built.session.execute("DELETE FROM public.invoice_lines WHERE invoice_id = 1")
        assert [str(net) for net in built.values(
            "SELECT net FROM public.invoices WHERE id = 1"
        )] == ["0.00"]  # fmt: skip


def test_the_configuration_protects_all_three_parts(built: Built) -> None:
    application = built.application
    settings = load_settings(application.write_config())
    assert {name: source.kind for name, source in settings.sources.items()} == {
        "database": "postgres", "uploads": "files", "code": "git",
    }  # fmt: skip
    assert settings.repositories["local"].location == str(application.repository)
    key = application.directory / "repository.key"
    assert key.stat().st_mode & 0o777 == 0o600
    password = settings.repositories["local"].password
    assert password is not None
    first = resolve_secret(password)
    assert len(first) >= 32
    application.write_config()
    assert resolve_secret(password) == first


def test_what_exists_already_is_left_alone(built: Built, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="exists already"):
        build_application(tmp_path / "other", built.server, ROWS)
    with pytest.raises(TargetError) as caught:
        build_application(built.application.directory, built.server, ROWS)
    assert caught.value.code == "target-not-empty"


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What three builds on one server contain: twice from one seed, once from another."""
    found: dict[str, dict[str, str]] = {}
    with throwaway_cluster(major=18) as cluster:
        server = cluster.connection()
        for name, seed in (("first", 7), ("second", 7), ("other", 8)):
            folder = tmp_path_factory.mktemp("seeds") / name
            application = build_application(folder, server, 3_000, database=name, seed=seed)
            with open_database(server, name) as session:
                found[name] = _digests(session, application.uploads)
    return found


@SEEDS
def test_the_same_seed_gives_the_same_rows_and_files(digests: dict[str, dict[str, str]]) -> None:
    assert digests["first"] == digests["second"]


@SEEDS
def test_another_seed_gives_others(digests: dict[str, dict[str, str]]) -> None:
    same = {name for name, digest in digests["first"].items() if digests["other"][name] == digest}
    assert "public.trainees" not in same
    assert "uploads" not in same


def test_too_few_rows_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too few"):
        build_application(tmp_path / "tms", Connection({"host": str(tmp_path)}), 10)
    assert not (tmp_path / "tms").exists()


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        build_application(tmp_path / "tms", Connection({"host": str(tmp_path)}), 3_000)
    assert caught.value.code == "database-unreachable"


def _digests(session: Session, uploads: Path) -> dict[str, str]:
    """Of every table in its physical order, of every large object, and of the uploads folder."""
    found: dict[str, str] = {}
    tables = session.execute(
        "SELECT format('%I.%I', nspname, relname) AS name FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE relkind IN ('r', 'm')"
        " AND nspname IN ('public', 'private', 'reporting')"
    ).fetchall()
    for table in tables:
        digest = hashlib.sha256()
        with (
            session.cursor() as cursor,
            cursor.copy(f"COPY (SELECT * FROM {table['name']}) TO STDOUT") as copy,
        ):
            for block in copy:
                digest.update(block)
        found[table["name"]] = digest.hexdigest()
    for row in session.execute(
        "SELECT oid::text AS oid, md5(lo_get(oid)) AS digest FROM pg_largeobject_metadata"
    ):
        found[f"large object {row['oid']}"] = row["digest"]
    tree = hashlib.sha256()
    for path in sorted(uploads.rglob("*")):
        status = path.stat()
        tree.update(f"{path.relative_to(uploads)} {status.st_mode} {status.st_mtime_ns}".encode())
        if path.is_file():
            tree.update(path.read_bytes())
    found["uploads"] = tree.hexdigest()
    return found
