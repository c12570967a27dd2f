"""The texts that a capture writes and a load reads: names, statements, settings, messages, keys."""

from __future__ import annotations

import re

import pytest

from strongroom.errors import IntegrityError
from strongroom.postgres.layout import FileNames
from strongroom.postgres.manifest import DatabaseRecord, Manifest
from strongroom.postgres.messages import (
    Complaint,
    Complaints,
    copy_place,
    from_psql,
    of_the_host,
    without_values,
)
from strongroom.postgres.schema_dump import for_every_server, with_stable_key
from strongroom.postgres.statement import copy_in, copy_out, qualified, quote_literal
from strongroom.postgres.surroundings import create_database_statement, set_clause

DATABASE = DatabaseRecord("d", "o", "UTF8", "libc", "C", "C")


@pytest.mark.parametrize(
    ("schema", "name", "file"),
    [
        ("public", "orders", "data/public.orders.copy"),
        ("a.b", "c", "data/a%2Eb.c.copy"),
        ("a", "b.c", "data/a.b%2Ec.copy"),
        ("public", "odd / name \\ with\nline", "data/public.odd %2F name %5C with%0Aline.copy"),
        ("public", '100% "sure"', "data/public.100%25 %22sure%22.copy"),
        ("-rf", "~", "data/%2Drf.%7E.copy"),
        ("public", "ünïcödé 漢字", "data/public.ünïcödé 漢字.copy"),
    ],
)
def test_names_become_files_that_every_system_holds(schema: str, name: str, file: str) -> None:
    assert FileNames().for_table(schema, name) == file


def test_names_that_a_file_system_may_confuse_get_numbers() -> None:
    names = FileNames()
    assert names.for_table("s", "Case") == "data/s.Case.copy"
    assert names.for_table("s", "case") == "data/s.case~2.copy"
    assert names.for_table("s", "e\u0301") == "data/s.e\u0301.copy"
    assert names.for_table("s", "\u00e9") == "data/s.\u00e9~2.copy"


def test_names_that_would_be_too_long_are_cut_and_told_apart() -> None:
    names = FileNames()
    files = {names.for_table("\n" * 63, "/" * 62 + end) for end in "ab"}
    assert len(files) == 2
    for file in files:
        assert len(file.encode()) <= 255


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("plain", "'plain'"), ("it's", "'it''s'"), ("back\\slash", " E'back\\\\slash'"),
     ("\\'", " E'\\\\'''"), ("", "''")],
)  # fmt: skip
def test_literals_are_safe_whatever_the_settings(value: str, quoted: str) -> None:
    assert quote_literal(value) == quoted


def test_copy_statements() -> None:
    relation = qualified("s", 'odd " name')
    assert copy_out(relation, ["a", 'b"']) == 'COPY "s"."odd "" name" ("a", "b""") TO STDOUT'
    assert copy_out('"s"."t"', []) == 'COPY "s"."t" TO STDOUT'
    assert copy_out('"s"."t"', ["a"], "WHERE a > 1") == (
        'COPY (SELECT "a" FROM ONLY "s"."t" WHERE a > 1) TO STDOUT'
    )
    assert copy_in('"s"."t"', ["a"], freeze=True) == 'COPY "s"."t" ("a") FROM STDIN WITH (FREEZE)'


@pytest.mark.parametrize(
    ("entry", "clause"),
    [
        ("statement_timeout=3s", "SET \"statement_timeout\" TO '3s'"),
        ('search_path="$user", public', "SET \"search_path\" TO '$user', 'public'"),
        ('search_path=a, "b, ""c"', "SET \"search_path\" TO 'a', 'b, \"c'"),
        ("search_path=", "SET \"search_path\" TO ''"),
        ('search_path=""', "SET \"search_path\" TO ''"),
        ("app.list=a, b", "SET \"app.list\" TO 'a, b'"),
        ("app.equal=a=b", "SET \"app.equal\" TO 'a=b'"),
    ],
)
def test_settings_keep_their_lists(entry: str, clause: str) -> None:
    assert set_clause(entry) == clause


def test_a_new_database_gets_the_captured_locale_as_the_server_can_have_it() -> None:
    icu = DatabaseRecord("d", "o", "UTF8", "icu", "C", "C", "de-AT", "&a < b")
    newest = create_database_statement(icu, '"t"', 18)
    assert "LOCALE_PROVIDER = icu ICU_LOCALE = 'de-AT' ICU_RULES = '&a < b'" in newest
    assert "PROVIDER" not in create_database_statement(icu, '"t"', 14)
    builtin = DatabaseRecord("d", "o", "UTF8", "builtin", "C", "C", "C.UTF-8")
    assert "BUILTIN_LOCALE = 'C.UTF-8'" in create_database_statement(builtin, '"t"', 17)
    assert "builtin" not in create_database_statement(builtin, '"t"', 16)
    assert "LOCALE_PROVIDER = libc" in create_database_statement(DATABASE, '"t"', 15)


def script(key: bytes, body: bytes = b"CREATE TABLE t ();\n") -> bytes:
    return b"--\n\n\\restrict " + key + b"\n\n" + body + b"\n\\unrestrict " + key + b"\n\n"


def test_equal_scripts_get_equal_keys_that_depend_on_them() -> None:
    first = with_stable_key(script(b"abc123"))
    assert first == with_stable_key(script(b"XYZ789"))
    other = with_stable_key(script(b"abc123", b"CREATE TABLE u ();\n"))
    keys = [
        re.findall(rb"^\\(?:un)?restrict (\w+)$", text, re.MULTILINE) for text in (first, other)
    ]
    assert len(set(keys[0])) == len(set(keys[1])) == 1
    assert keys[0] != keys[1]
    assert with_stable_key(b"CREATE TABLE t ();\n") == b"CREATE TABLE t ();\n"


def test_a_planted_key_does_not_open_the_script() -> None:
    """A hostile name may hold a line with any key: it would have to hold the script's digest."""
    planted = script(b"random1", b"-- \n\\unrestrict guessed\n\\! rm -rf /\n")
    result = with_stable_key(planted)
    key = re.search(rb"^\\restrict (\w+)$", result, re.MULTILINE)
    assert key is not None
    assert key[1] != b"guessed"
    assert result.count(b"\\unrestrict " + key[1]) == 1
    assert b"\\unrestrict guessed\n" in result


def test_a_script_asks_no_server_for_what_it_does_not_know() -> None:
    before = b"--\n-- a dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\n"
    after = b"SET row_security = off;\n\n--\n-- Name: f\n--\n\nCREATE FUNCTION f() AS $$\n"
    new = b"SET transaction_timeout = 0;\n"
    result = for_every_server(before + new + after + new)
    (asking,) = result.removeprefix(before).removesuffix(after + new).splitlines()
    assert asking.startswith(b"SELECT pg_catalog.set_config(name, '0', false) FROM ")
    assert result == before + asking + b"\n" + after + new
    # What stands in a body is somebody's own.
    assert for_every_server(before + after + new) == before + after + new


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}', b"null", b"\xff"],
)
def test_what_is_no_manifest_is_damaged(damage: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        Manifest.from_json(damage)
    assert caught.value.code == "snapshot-damaged"


SCRIPT = b"""--
-- Name: postgis; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;

--
-- Name: places; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.places (
    spot public.geometry
);
"""
PSQL = """psql:<stdin>:5: ERROR:  extension "postgis" is not available
DETAIL:  Could not open extension control file "/x/postgis.control": No such file.
psql:<stdin>:13: ERROR:  type "public.geometry" does not exist
LINE 2:     spot public.geometry
                 ^
psql:<stdin>:2: WARNING:  something else
"""


def test_complaints_of_psql_get_their_objects() -> None:
    assert from_psql(PSQL, SCRIPT, "pre-data.sql") == [
        Complaint(
            "extension postgis",
            'extension "postgis" is not available DETAIL:  Could not open extension control file'
            ' "/x/postgis.control": No such file.',
        ),
        Complaint("table public.places", 'type "public.geometry" does not exist'),
        Complaint("extension postgis", "something else", warning=True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'could not extend file "base/5/1": No space left on device',
        "server closed the connection unexpectedly",
        "connection to server was lost",
        "terminating connection because of crash of another server process",
        "out of memory",
        "the database system is in recovery mode",
    ],
)
def test_a_host_that_failed_says_nothing_about_the_snapshot(text: str) -> None:
    complaints = [Complaint("table a", 'type "x" does not exist'), Complaint("index b", text)]
    assert of_the_host(complaints) == complaints[1]
    assert of_the_host(complaints[:1]) is None


def test_what_follows_from_a_missing_extension_is_unknown_and_all_else_is_failed() -> None:
    complaints = Complaints()
    complaints.judge([Complaint("table a", 'type "x" does not exist')])
    complaints.judge(from_psql(PSQL, SCRIPT, "pre-data.sql"))
    complaints.judge([Complaint("schema public", 'schema "public" already exists')])
    complaints.judge([Complaint("table b", "out of shared memory")])
    assert [(one.code, one.subject) for one in complaints.findings] == [
        ("load-error", "table a"),
        ("sandbox-lacks", "extension postgis"),
        ("sandbox-lacks", "table public.places"),
        ("load-note", "extension postgis"),
        ("load-note", "schema public"),
        ("load-error", "table b"),
    ]
    assert complaints.lacking == {"extension postgis"}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            'invalid input syntax for type integer: "SECRET"',
            "invalid input syntax for type integer",
        ),
        ('invalid input syntax for type json: "{\nSECRET"', "invalid input syntax for type json"),
        (
            'value "SECRET" is out of range for type integer',
            "value … is out of range for type integer",
        ),
        (
            'could not create unique index "u" DETAIL:  Key (mail, b)=(SECRET, 1) is duplicated.',
            'could not create unique index "u" DETAIL:  Key (mail, b)',
        ),
        (
            "no DETAIL:  Failing row contains (SECRET, x). HINT:  Look.",
            "no HINT:  Look.",
        ),
        ('invalid json DETAIL:  Token "SECRET" is invalid.', "invalid json"),
        ('relation "public.t" does not exist', 'relation "public.t" does not exist'),
        (
            'x DETAIL:  Could not open extension control file "/a": No such file.',
            'x DETAIL:  Could not open extension control file "/a": No such file.',
        ),
    ],
)
def test_no_value_of_a_row_is_told(message: str, shown: str) -> None:
    complaints = Complaints()
    complaints.judge([Complaint("table a", message)])
    assert complaints.findings[0].message == shown == without_values(message)


def test_the_place_in_a_stream_is_told_without_its_text() -> None:
    context = 'JSON data, line 1: {SECRET\nCOPY t, line 12, column "j": "{SECRET"'
    assert copy_place(context) == 'COPY t, line 12, column "j"'
    assert copy_place('COPY t, line 2: "SECRET"') == "COPY t, line 2"
    assert copy_place("SQL function f") == ""
