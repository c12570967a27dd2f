"""Dumps that people have from before, as real programs of three versions made them."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.e2e.command_line import Answer, Place
from tests.support.import_ground import CONFIG, OldServer, import_place, old_server

# How pg_dump is called, and by the programs and servers of which versions.
DUMPS = [
    *((major, options) for major in (15, 17, 18) for options in ([], ["--format=custom"])),
    (15, ["--format=directory"]),
    (15, ["--format=tar"]),
    (15, ["--inserts"]),
    (15, ["--clean"]),
    (15, ["--no-owner", "--no-privileges"]),
    (17, ["--create", "--verbose"]),
    (18, ["--format=directory", "--compress=gzip:1"]),
    (18, ["--clean", "--if-exists", "--create"]),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[int], OldServer]]:
    """A server of a version, made when it is first asked for."""
    with contextlib.ExitStack() as stack:
        made: dict[int, OldServer] = {}

        def server(major: int) -> OldServer:
            if major not in made:
                made[major] = stack.enter_context(old_server(major))
            return made[major]

        yield server


@pytest.fixture
def server(servers: Callable[[int], OldServer]) -> OldServer:
    return servers(15)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return import_place(tmp_path / "here")


def _import(place: Place, *arguments: object) -> Answer:
    return place.run("--json", "import", *arguments, "--source", "database")


def _imported(place: Place, *arguments: object) -> dict[str, object]:
    answer = _import(place, *arguments)
    assert answer.status == 0, answer.text + answer.err
    (one,) = answer.document["imported"]
    assert isinstance(one, dict)
    return one


def _refusal(place: Place, *arguments: object) -> tuple[str, str]:
    answer = _import(place, *arguments)
    assert answer.status != 0, answer.text
    error = answer.document["error"]
    assert place.json("snapshots")["snapshots"] == []
    return error["code"], error["message"]


def _drilled(place: Place) -> dict[str, object]:
    answer = place.run("--json", "drill", "database")
    assert answer.status == 0, answer.text
    return answer.document


# What pg_dump makes


@pytest.mark.parametrize(
    ("major", "options"), DUMPS, ids=lambda one: " ".join(one) if isinstance(one, list) else one
)
def test_a_dump_becomes_a_snapshot_of_its_date_that_is_proven(
    servers: Callable[[int], OldServer], place: Place, major: int, options: list[str]
) -> None:
    server = servers(major)
    dump = server.dump(place.path / "tms-2026-01-28_0200.dump", *options)
    made = _imported(place, dump)
    assert made["captured_at"] == "2026-01-27T22:00:00.000000Z"
    assert made["dated_by"] == "its name"
    assert str(made["server"]).startswith(str(server.cluster.major))
    findings = made["findings"]
    assert isinstance(findings, list)
    assert {one["severity"] for one in findings} <= {"note", "warning"}, findings
    assert ("--create" in options) == ("import-locale" not in {one["code"] for one in findings})
    if "--no-owner" not in options:
        (roles,) = [one for one in findings if one["code"] == "import-role-made"]
        assert {"app", "read er", "auditor"} >= set(roles["message"].split(", ")) >= {"app"}
    drill = _drilled(place)
    assert drill["verdict"] == "PROVEN", drill["findings"]


@pytest.mark.parametrize(
    ("packer", "options"), [("gz", []), ("zst", ["--format=custom"]), ("zst", ["--format=tar"])]
)
def test_a_compressed_dump_is_taken_as_it_is(
    server: OldServer, place: Place, packer: str, options: list[str]
) -> None:
    plain = server.dump(place.path / "tms", *options).read_bytes()
    packed = gzip.compress(plain) if packer == "gz" else zstandard.compress(plain)
    dump = place.path / f"backup_20260128.{packer}"
    dump.write_bytes(packed)
    _imported(place, dump)
    assert _drilled(place)["verdict"] == "PROVEN"


def test_the_rows_are_those_of_the_dump(server: OldServer, place: Place, tmp_path: Path) -> None:
    _imported(place, server.dump(place.path / "20260128.sql"))
    place.json("export", "latest:database", "--format", "sql", "--output", tmp_path / "out.sql")
    text = (tmp_path / "out.sql").read_text()
    assert text.count("\\\\connect elsewhere") == 300
    assert "SET LOCAL search_path = public;" in text


@pytest.mark.parametrize("file_format", ["sql", "custom"])
def test_an_export_is_a_dump_like_any_other(
    server: OldServer, place: Place, file_format: str
) -> None:
    """Also for ourselves: it comes in again, and is known to be cut where it is."""
    _imported(place, server.dump(place.path / "20260128.sql"))
    output = place.path / "20260129.out"
    place.json("export", "latest:database", "--format", file_format, "--output", output)
    whole = output.read_bytes()
    assert whole.count(b"database dump complete") == (file_format == "sql")
    cut = place.path / "cut-20260130"
    cut.write_bytes(whole[: len(whole) // 2])
    assert _import(place, cut).document["error"]["code"] == "file-incomplete"
    _imported(place, output)
    drill = _drilled(place)
    assert drill["verdict"] == "PROVEN", drill["findings"]


def test_a_server_with_several_databases_wants_a_name(server: OldServer, place: Place) -> None:
    with server.cluster.connection().connect() as session:
        session.execute(b"DROP DATABASE IF EXISTS other")
        session.execute(b"CREATE DATABASE other")
    dump = server.dump_all(place.path / "cluster-20260128.sql")
    code, message = _refusal(place, dump)
    assert code == "usage"
    assert "other, tms" in message
    made = _imported(place, dump, "--database", "tms")
    assert made["taken"] == "tms"
    assert _drilled(place)["verdict"] == "PROVEN"


def test_nothing_before_the_first_connect_is_lost(place: Place) -> None:
    body = """
CREATE TABLE public.a (t text);
COPY public.a (t) FROM stdin;
one
\\.
CREATE DATABASE other;
\\connect other
CREATE TABLE public.b (t text);
COPY public.b (t) FROM stdin;
two
\\.
"""
    dump = _written(place, body)
    code, message = _refusal(place, dump)
    assert code == "usage"
    assert "before-connect, other" in message
    assert _imported(place, dump, "--database", "before-connect")["taken"] == "before-connect"
    assert place.run("dump", "latest:database", "/database/data/public.a.copy").out == b"one\n"
    assert _drilled(place)["verdict"] == "PROVEN"


def test_a_newer_program_than_the_server_is_no_trouble(
    servers: Callable[[int], OldServer], place: Place
) -> None:
    """Its settings mean nothing to the older server, which is told."""
    old, new = servers(15), servers(18)
    dump = old.dump(place.path / "tms-20260128.sql", program=new.cluster)
    made = _imported(place, dump)
    assert str(made["server"]).startswith("15.")
    findings = made["findings"]
    assert isinstance(findings, list)
    assert ("import-changed", "transaction_timeout") in {
        (one["code"], one["subject"]) for one in findings
    }
    custom = old.dump(place.path / "tms-20260129.dump", "-Fc", program=new.cluster)
    assert str(_imported(place, custom)["server"]).startswith("15.")
    assert _drilled(place)["verdict"] == "PROVEN"


def test_a_dump_of_a_version_that_is_not_here_says_so(server: OldServer, place: Place) -> None:
    dump = server.dump(place.path / "tms-20260128.sql")
    text = dump.read_text().replace(
        "database version " + str(server.cluster.major), "database version 99"
    )
    dump.write_text(text)
    code, message = _refusal(place, dump)
    assert code == "client-programs"
    assert "it is of PostgreSQL 99" in message


# What is cut


def test_a_dump_that_was_cut_is_refused_wherever(server: OldServer, place: Place) -> None:
    whole = server.dump(place.path / "whole.sql").read_bytes()
    end = whole.index(b"dump complete") + len(b"dump complete")
    middle = whole.index(b"name 150")
    places = [middle, end - 3, *random.Random(7).sample(range(1, end), 4)]
    for number, cut in enumerate(places):
        (place.path / f"cut-{number}-20260128.sql").write_bytes(whole[:cut])
    answer = _import(place, *sorted(place.path.glob("cut-*.sql")))
    assert answer.status == 10, answer.text
    assert place.json("snapshots")["snapshots"] == []
    refused = [one for one in place.seen() if one.kind == "import-failed"]
    assert [one.fields["error"]["code"] for one in refused] == ["file-incomplete"] * len(places)
    (place.path / "cut.sql").write_bytes(whole[:middle])
    _, message = _refusal(place, place.path / "cut.sql")
    assert "within the rows of public.trainees" in message


@pytest.mark.parametrize("options", [["-Fc"], ["-Ft"], ["-Fd"]], ids=" ".join)
def test_an_archive_that_was_cut_is_refused(
    server: OldServer, place: Place, options: list[str]
) -> None:
    whole = server.dump(place.path / "whole-20260128", *options)
    if whole.is_dir():
        largest = max(whole.glob("*.dat*"), key=lambda one: one.stat().st_size)
        os.truncate(largest, largest.stat().st_size // 2)
        assert _refusal(place, whole)[0] == "file-incomplete"
        return
    size = whole.stat().st_size
    for share in (0.3, 0.6, 0.9):
        cut = place.path / f"cut-{share}-20260128.dump"
        cut.write_bytes(whole.read_bytes()[: int(size * share)])
        code, message = _refusal(place, cut)
        told = "it is cut or damaged" if "-Ft" in options else "cannot be read to its end"
        assert (code, told in message) == ("file-incomplete", True)


def test_a_compressed_dump_that_was_cut_is_refused(server: OldServer, place: Place) -> None:
    plain = server.dump(place.path / "tms").read_bytes()
    for name, whole in (("gz", gzip.compress(plain)), ("zst", zstandard.compress(plain))):
        cut = place.path / f"cut-20260128.sql.{name}"
        cut.write_bytes(whole[:-20])
        code, message = _refusal(place, cut)
        assert (code, "it is cut" in message) == ("file-incomplete", True)


# What cannot be loaded


HEAD = (
    "-- PostgreSQL database dump\n-- Dumped from database version 15.1\n"
    "SET client_encoding = 'UTF8';\n"
)
TAIL = "\n-- PostgreSQL database dump complete\n"


def _written(place: Place, body: str, name: str = "tms-20260128.sql") -> Path:
    dump = place.path / name
    dump.write_text(HEAD + body + TAIL)
    return dump


def test_what_cannot_be_loaded_is_told_object_by_object(place: Place) -> None:
    body = """
-- Name: pg_graphql; Type: EXTENSION; Schema: -; Owner: -
CREATE EXTENSION pg_graphql WITH SCHEMA public;
-- Name: a; Type: TABLE; Schema: public; Owner: -
CREATE TABLE public.a (id integer);
-- Name: answer; Type: VIEW; Schema: public; Owner: -
CREATE VIEW public.answer AS SELECT graphql.resolve('x') AS x;
-- Name: b; Type: TABLE; Schema: public; Owner: -
CREATE TABLE public.b (id graphql.id);
COPY public.b (id) FROM stdin;
1; DROP TABLE public.a;
DROP TABLE public.a;
\\.
COPY public.a (id) FROM stdin;
1
\\.
"""
    dump = _written(place, body)
    code, message = _refusal(place, dump)
    assert code == "file-unfit"
    for told in ("extension pg_graphql, line 6", "view public.answer", "table public.b"):
        assert told in message
    answer = _import(place, dump, "--incomplete")
    assert answer.status == 3, answer.text
    (made,) = answer.document["imported"]
    found = {one["code"] for one in made["findings"]}
    assert {"import-incomplete", "sandbox-lacks"} <= found
    # The rows of the table that is not there were not taken for statements.
    assert place.run("dump", "latest:database", "/database/data/public.a.copy").out == b"1\n"


@pytest.mark.parametrize(
    "line",
    ["\\! touch {out}", "\\o {out}", "\\copy (SELECT 1) TO '{out}'", "\\i {secret}",
     "COPY (SELECT 1) TO PROGRAM 'touch {out}';", "SELECT pg_read_file('{secret}');"],
)  # fmt: skip
def test_a_dump_can_do_nothing_to_this_host(place: Place, tmp_path: Path, line: str) -> None:
    out, secret = tmp_path / "out", place.path / "key"
    rows = "COPY public.a (id) FROM stdin;\n\\.\n"
    body = (
        "CREATE TABLE public.a (id integer);\n" + rows + line.format(out=out, secret=secret) + "\n"
    )
    answer = _import(place, _written(place, body))
    assert answer.status == 10, answer.text
    assert not out.exists()
    assert "horse" not in answer.text + answer.err


def test_a_dump_reads_and_writes_no_file_of_this_host_by_way_of_its_server(place: Place) -> None:
    """Not even from where nobody can see it: within functions that swallow every error, which the
    load and then the drill run as whoever may do everything in the database."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    out, secret = folder / "out", folder / "secret"
    secret.write_text("horse")
    body = f"""
CREATE FUNCTION public.steal() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE found text := 'nothing';
BEGIN
    BEGIN found := pg_read_file('{secret}'); EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN found := found || length(pg_read_file('/etc/passwd')); EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN COPY (SELECT 1) TO PROGRAM 'touch {out}'; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN COPY (SELECT 1) TO '{out}'; EXCEPTION WHEN OTHERS THEN NULL; END;
    RETURN found;
END
$body$;
CREATE TABLE public.a (t text, CHECK (t = public.steal()));
INSERT INTO public.a VALUES (public.steal());
"""
    try:
        _imported(place, _written(place, body))
        rows = place.run("dump", "latest:database", "/database/data/public.a.copy").out
        assert rows == b"nothing\n"
        place.run("--json", "drill", "database")
        assert not out.exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "line",
    ["COPY public.a (t) FROM PROGRAM 'id';", "copy public.a to program 'id';",
     "COPY public.a (t) FROM '/etc/hostname';", "COPY (SELECT 1) TO '/tmp/x';",
     "INSERT INTO public.a VALUES (pg_read_file('/etc/hostname'));"],
)  # fmt: skip
def test_files_and_programs_of_a_server_are_refused(place: Place, line: str) -> None:
    dump = _written(place, f"CREATE TABLE public.a (t text);\n{line}\n")
    code, message = _refusal(place, dump)
    assert code == "file-unfit"
    if line.lower().startswith("copy"):
        assert "line 5" in message
        answer = _import(place, dump, "--incomplete")
        assert answer.document["error"]["code"] == "file-unfit"


def test_a_dump_without_its_last_line_is_taken_on_request_only(place: Place) -> None:
    dump = place.path / "tms-20260128.sql"
    dump.write_text(HEAD + "CREATE TABLE public.a (id integer);\n")
    assert _refusal(place, dump)[0] == "file-incomplete"
    answer = _import(place, dump, "--incomplete")
    assert answer.status == 3, answer.text
    (made,) = answer.document["imported"]
    assert "import-incomplete" in {one["code"] for one in made["findings"]}
    dump.write_text(HEAD + "CREATE TABLE public.a (id integer")
    answer = _import(place, dump, "--incomplete")
    assert answer.document["error"]["code"] == "file-incomplete"


def test_what_is_refused_is_told_once(place: Place) -> None:
    dump = _written(place, "COPY public.a (t) FROM PROGRAM 'id';\n")
    told = place.run("import", dump, "--source", "database").err
    assert told.count("it copies through a file") == 1
    (line,) = [one for one in told.splitlines() if "it copies through" in one]
    assert line.count(dump.name) == 1
    other = _written(place, "", "other-20260128.sql")
    told = place.run("import", dump, other, "--source", "database").err
    assert not [one for one in told.splitlines() if one.count(dump.name) > 1]


@pytest.mark.parametrize("options", [[], ["-Fc"]], ids=["plain", "custom"])
def test_a_dump_of_the_schema_alone_is_taken_on_request_only(
    server: OldServer, place: Place, options: list[str]
) -> None:
    dump = server.dump(place.path / "tms-20260128.dump", "--schema-only", *options)
    code, message = _refusal(place, dump)
    assert (code, "has rows of none" in message) == ("file-incomplete", True)
    answer = _import(place, dump, "--incomplete")
    assert answer.status == 3, answer.text
    (made,) = answer.document["imported"]
    assert "import-incomplete" in {one["code"] for one in made["findings"]}


@pytest.mark.parametrize("options", [[], ["-Fc"], ["--inserts"]], ids=" ".join)
def test_a_dump_of_empty_tables_is_whole(
    server: OldServer, place: Place, options: list[str]
) -> None:
    with server.cluster.connection().connect() as session:
        session.execute(b"CREATE DATABASE bare")
    try:
        with server.cluster.connection("bare").connect() as session:
            session.execute(b"CREATE TABLE public.a (id integer)")
        made = _imported(place, server.dump(place.path / "b-20260128.dump", *options, "-d", "bare"))
        findings = made["findings"]
        assert isinstance(findings, list)
        assert "import-incomplete" not in {one["code"] for one in findings}
    finally:
        with server.cluster.connection().connect() as session:
            session.execute(b"DROP DATABASE bare")


def test_what_is_no_dump_is_refused(place: Place) -> None:
    (place.path / "empty-20260128.sql").touch()
    assert _refusal(place, place.path / "empty-20260128.sql")[0] == "file-incomplete"
    subprocess.run(["tar", "-czf", "uploads.tar.gz", "uploads"], cwd=place.path, check=True)
    code, message = _refusal(place, place.path / "uploads.tar.gz")
    assert (code, "archive of files" in message) == ("file-unfit", True)
    (place.path / "noise-20260128").write_bytes(b"\1\0" * 500)
    assert _refusal(place, place.path / "noise-20260128")[0] == "file-unfit"
    assert _refusal(place, place.path / "nothing.sql")[0] == "usage"


def test_the_files_of_the_supabase_cli_are_one_dump(place: Place) -> None:
    folder = place.path / "2026-01-28"
    folder.mkdir()
    (folder / "roles.sql").write_text('CREATE ROLE "app";\nRESET ALL;\n')
    (folder / "schema.sql").write_text(
        'SET statement_timeout = 0;\nCREATE TABLE IF NOT EXISTS "public"."a" ("id" integer);\n'
        'ALTER TABLE "public"."a" OWNER TO "app";\nGRANT ALL ON TABLE "public"."a" TO "anon";\n'
        "RESET ALL;\n"
    )
    (folder / "data.sql").write_text(
        "SET session_replication_role = replica;\n" + HEAD
        + 'INSERT INTO "public"."a" ("id") VALUES\n\t(1),\n\t(2);\n' + TAIL + "RESET ALL;\n"
    )  # fmt: skip
    made = _imported(place, folder)
    assert made["format"] == "plain SQL in 3 files"
    assert made["captured_at"] == "2026-01-27T20:00:00.000000Z"
    assert place.run("dump", "latest:database", "/database/data/public.a.copy").out == b"1\n2\n"
    os.truncate(folder / "schema.sql", 60)
    code, message = _refusal_again(place, folder)
    assert (code, "schema.sql" in message) == ("file-incomplete", True)


def _refusal_again(place: Place, *arguments: object) -> tuple[str, str]:
    answer = _import(place, *arguments)
    error = answer.document["error"]
    return error["code"], error["message"]


# What it means for everything else


def test_the_same_file_is_noticed_and_not_stored_twice(server: OldServer, place: Place) -> None:
    dump = server.dump(place.path / "backup.sql")
    (made,) = place.json(
        "import", dump, "--source", "database", "--captured-at", "2026-01-28 02:00"
    )["imported"]
    assert made["dated_by"] == "--captured-at"
    shutil.copy(dump, place.path / "same-20260301.sql")
    again = place.json("import", place.path / "same-20260301.sql", "--source", "database")
    assert again["imported"] == []
    (there,) = again["already_there"]
    assert there["snapshots"] == [{"repository": "local", "id": made["snapshots"][0]["id"]}]
    # Known by the repository alone, on another host.
    shutil.rmtree(place.path / "state")
    assert len(place.json("import", dump, "--source", "database")["already_there"]) == 1
    more = place.json("import", dump, "--source", "database", "--again")
    assert len(more["imported"]) == 1
    assert len(place.snapshots()) == 2


def test_a_date_that_is_not_certain_is_refused(server: OldServer, place: Place) -> None:
    dump = server.dump(place.path / "tms-2099-01-28.sql")
    assert _refusal(place, dump) == (
        "date-unknown",
        "tms-2099-01-28.sql: of which moment it is, is not known: 2099-01-27 20:00 UTC, by its "
        "name, the beginning of that day, is yet to come",
    )
    both = dump.rename(place.path / "tms-03-04-2026.sql")
    assert _refusal(place, both)[0] == "date-unknown"


def _id_of(made: dict[str, object]) -> str:
    listed = made["snapshots"]
    assert isinstance(listed, list)
    return str(listed[0]["id"])


def test_an_import_is_no_capture(server: OldServer, tmp_path: Path) -> None:
    """No objective is met by it, it is not the latest when there is a newer one, and a policy that
    drops it is told at once."""
    url = server.cluster.connection("tms").conninfo()
    config = CONFIG.replace('"postgresql://app@127.0.0.1:1/tms"', f'"{url}"').replace(
        "3650d", "30d"
    )
    place = import_place(tmp_path / "here", config)
    first = _imported(place, server.dump(place.path / "tms-20200101.sql"))
    status = place.run("--json", "status").document
    (line,) = [one for one in status["sources"] if one["source"] == "database"]
    assert line["captured_at"] is None
    # Nor does its proof say how what is captured today comes back.
    assert place.json("drill", "database")["verdict"] == "PROVEN"
    status = place.run("--json", "status").document
    (line,) = [one for one in status["sources"] if one["source"] == "database"]
    assert (line["verdict"], line["proven_at"]) == ("UNKNOWN", None)
    place.json("backup", "database")
    newest = place.snapshots()[-1]
    assert (newest["imported"], newest["source"]) == (False, "database")
    fresh = _imported(place, server.dump(place.path / "tms-20200102.sql", "--inserts"))
    fates = fresh["retention"]
    assert isinstance(fates, list)
    assert [one["keep"] for one in fates] == [False]
    findings = fresh["findings"]
    assert isinstance(findings, list)
    assert "import-not-kept" in {one["code"] for one in findings}
    assert place.json("drill", "database")["drills"][0]["snapshot"] == newest["id"]
    status = place.run("--json", "status").document
    (line,) = [one for one in status["sources"] if one["source"] == "database"]
    # The run began a little before the snapshot's time.
    assert line["captured_at"][:10] == newest["captured_at"][:10]
    pinned = _id_of(fresh)
    place.json("snapshots", "pin", pinned, "--reason", "kept")
    pruned = place.json("prune", "--yes")
    assert {one["id"] for one in place.snapshots()} == {newest["id"], pinned}
    assert _id_of(first) in {one["id"] for one in pruned["drop"]}


def test_several_files_go_in_by_their_dates(server: OldServer, place: Place) -> None:
    names = ["b-20260301.sql", "a-20260302.sql", "c-20260228.sql"]
    for number, name in enumerate(names):
        dump = server.dump(place.path / name)
        dump.write_text(f"-- {number}\n" + dump.read_text())
    (place.path / "d-20260303.sql").write_text("half")
    answer = _import(place, *sorted(place.path.glob("*.sql")))
    assert answer.status == 3, answer.text
    told = answer.document
    assert [one["file"] for one in told["imported"]] == [names[2], names[0], names[1]]
    assert [one["file"] for one in told["errors"]] == ["d-20260303.sql"]
    assert [one["captured_at"][:10] for one in place.snapshots()] == [
        "2026-02-27",
        "2026-02-28",
        "2026-03-01",
    ]
    assert all(one["imported"] for one in place.snapshots())
    records = [one for one in place.seen() if one.kind == "import"]
    assert [one.fields["file"] for one in records] == [names[2], names[0], names[1]]
    assert all(len(one.fields["sha256"]) == 64 for one in records)
