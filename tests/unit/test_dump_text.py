"""Plain dumps as text: the end is found where it is, rows are never looked into, roles are seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strongroom.postgres.dump_text import connected, pieces, role_names, survey_dump

HEAD = b"""--
-- PostgreSQL database dump
--

\\restrict abc

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 18.1

-- Started on 2026-01-28 02:00:01 UTC

SET statement_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET default_tablespace = '';

CREATE TABLE public.orders (id integer, note text);
ALTER TABLE public.orders OWNER TO app;
"""
ROWS = b"""COPY public.orders (id, note) FROM stdin;
1\tGRANT ALL ON x TO thief;
2\t\\connect elsewhere
3\t-- PostgreSQL database dump complete
\\.

"""
TAIL = b"""GRANT SELECT ON TABLE public.orders TO "Read er", auditor;
--
-- PostgreSQL database dump complete
--

\\unrestrict abc
"""
DUMP = HEAD + ROWS + TAIL


def _cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[place : place + size] for place in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_a_whole_dump_is_known_as_one(size: int) -> None:
    facts = survey_dump(_cut(DUMP, size))
    assert facts.complete, facts.ends
    assert facts.ends == ""
    assert (facts.server_major, facts.program_major) == (15, 18)
    assert facts.started == ("2026-01-28 02:00:01", "UTC")
    assert facts.encoding == "UTF8"
    assert facts.missing_roles == ["Read er", "app", "auditor"]
    assert facts.databases == []
    assert facts.tablespaces == []
    assert (facts.tables, facts.size_bytes) == (1, len(DUMP))


@pytest.mark.parametrize("size", [1, 11, 1 << 20])
def test_pieces_lose_nothing(size: int) -> None:
    found = list(pieces(_cut(DUMP, size)))
    assert b"".join(one.content for one in found) == DUMP
    lines = 1
    for one in found:
        assert one.line == lines
        lines += one.content.count(b"\n")
    of_rows = [one for one in found if one.table is not None]
    assert b"".join(one.content for one in of_rows) == b"".join(ROWS.split(b"\n", 1)[1:])[:-1]
    assert of_rows[-1].ends


@pytest.mark.parametrize(
    ("cut_behind", "why"),
    [
        (b"\\connect else", "within the rows of public.orders"),
        (b"FROM stdin;\n", "within the rows of public.orders"),
        (b"3\t-- PostgreSQL database dump complete\n", "within the rows of public.orders"),
        (b"3\t-- PostgreSQL database dump complete\n\\.", "within the rows of public.orders"),
        (b"GRANT SELECT ON TABLE", "within a statement, without pg_dump's last line"),
        (b"auditor;\n", "without pg_dump's last line"),
        (b"auditor;\n--\n-- PostgreSQL database dump comp", "without pg_dump's last line"),
        (b"id integer, ", "within a statement"),
    ],
)
def test_a_cut_is_found_and_said_where(cut_behind: bytes, why: str) -> None:
    place = DUMP.rindex(cut_behind) + len(cut_behind)
    facts = survey_dump([DUMP[:place]])
    assert not facts.complete
    assert why in facts.ends


def test_what_stands_behind_the_end_does_not_count_as_the_end() -> None:
    assert not survey_dump([DUMP, HEAD]).complete
    assert not survey_dump([DUMP, b"SELECT 1;\n"]).complete
    assert survey_dump([DUMP, b"\n\n--\n"]).complete


def test_an_empty_file_is_no_dump() -> None:
    facts = survey_dump([b"--\n-- PostgreSQL database dump complete\n--\n"])
    assert (facts.complete, facts.ends) == (False, "it holds no statement")


def test_a_dump_of_a_server_ends_with_that_of_the_server() -> None:
    whole = (
        b"--\n-- PostgreSQL database cluster dump\n--\nCREATE ROLE app;\nCREATE ROLE postgres;\n"
        b"CREATE TABLESPACE fast OWNER app LOCATION '/fast';\n"
        b"\\connect template1\n" + DUMP + b'\\connect "my db"\n' + DUMP
    )
    assert not survey_dump([whole]).complete
    end = b"--\n-- PostgreSQL database cluster dump complete\n--\n"
    facts = survey_dump([whole + end])
    assert facts.complete
    assert facts.whole_server
    assert facts.server_major == 15
    assert facts.databases == ["template1", "my db"]
    assert facts.tablespaces == ["fast"]
    assert facts.missing_roles == ["Read er", "auditor"]


def test_the_supabase_cli_ends_otherwise() -> None:
    schema = (
        b'SET statement_timeout = 0;\nCREATE TABLE IF NOT EXISTS "public"."a" ();\nRESET ALL;\n'
    )
    assert survey_dump([schema]).complete
    assert not survey_dump([schema[:-11]]).complete


def test_lines_of_windows_are_lines() -> None:
    facts = survey_dump([DUMP.replace(b"\n", b"\r\n")])
    assert facts.complete, facts.ends
    assert facts.tables == 1


@pytest.mark.parametrize(
    ("line", "roles"),
    [
        ("ALTER TABLE public.a OWNER TO app;", ["app"]),
        ('ALTER SCHEMA x OWNER TO "we""ird";', ['we"ird']),
        ("GRANT ALL ON TABLE a TO PUBLIC;", []),
        ("GRANT ALL ON TABLE a TO b WITH GRANT OPTION;", ["b"]),
        ("GRANT reader TO b WITH INHERIT TRUE GRANTED BY postgres;", ["b"]),
        ("REVOKE ALL ON SCHEMA public FROM anon;", ["anon"]),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA p GRANT ALL ON TABLES TO anon;",
         ["o", "anon"]),
        ("CREATE POLICY p ON public.t FOR SELECT TO authenticated, anon USING (true);",
         ["authenticated", "anon"]),
        ("CREATE POLICY p ON public.t USING ((to_x > 1));", []),
        ("CREATE SCHEMA s AUTHORIZATION boss;", ["boss"]),
        ("CREATE USER MAPPING FOR PUBLIC SERVER s;", []),
        ("SET SESSION AUTHORIZATION 'boss';", ["boss"]),
        ("GRANT pg_read_all_data TO x;", ["x"]),
        ("INSERT INTO t VALUES ('ALTER TABLE a OWNER TO thief;');", []),
    ],
)  # fmt: skip
def test_roles_are_seen_where_they_are(line: str, roles: list[str]) -> None:
    assert list(role_names(line)) == roles


@pytest.mark.parametrize(
    ("line", "database"),
    [
        (b"\\connect tms\n", "tms"),
        (b'\\connect "my db"\n', "my db"),
        (b"\\connect -reuse-previous=on \"dbname='o\\'brien x'\"\n", "o'brien x"),
        (b"-- \\connect tms\n", None),
        (b"SELECT 1;\n", None),
    ],
)
def test_databases_are_seen_where_they_are(line: bytes, database: str | None) -> None:
    assert connected(line) == database


@pytest.mark.parametrize(
    "inner",
    [
        "INSERT INTO t VALUES ('one\n{line}two');\n",
        "INSERT INTO t VALUES ('it''s\n{line}two', 'x');\n",
        "INSERT INTO t VALUES (E'it\\'s\n{line}two');\n",
        "CREATE FUNCTION f() AS $body$\n{line}$$ '\n$body$;\n",
        "CREATE FUNCTION f() AS $$\n{line}'\n$$;\n",
        'CREATE TABLE "odd\n{line}" ();\n',
        "/* it's a comment\n{line}*/\n",
        "CREATE TABLE s$x$ (); -- it's\nINSERT INTO t VALUES ('\n{line}');\n",
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "\\connect elsewhere\n",
        "COPY public.thing (id) FROM stdin;\n",
        "ALTER TABLE a OWNER TO thief;\n",
        "-- PostgreSQL database dump complete\n",
    ],
)
def test_lines_in_literals_and_bodies_mean_nothing(inner: str, line: str) -> None:
    whole = HEAD + inner.format(line=line).encode()
    found = [one for one in pieces([whole]) if one.inner]
    assert line.encode() in {one.content for one in found}
    facts = survey_dump([whole])
    assert (facts.databases, facts.tables) == ([], 0)
    assert facts.missing_roles == ["app"]
    assert not facts.complete
    assert survey_dump([whole, TAIL]).complete
    assert not survey_dump([whole[: whole.rindex(line.encode()) + len(line)]]).complete
