"""Taking a script of pg_dump apart: statements, entries, what each is about, and its locks."""

from __future__ import annotations

import pytest

from strongroom.postgres.definitions import halves_of, locks_of, plain_table
from strongroom.postgres.entry_subject import subject_of, table_of
from strongroom.postgres.schema_script import Entry, read_script, split_statements, tokens

STATEMENTS = [
    "SELECT 1;",
    "\nSELECT ';', E'\\';', \";\", $$;$$, $a$ $$;$$ $a$;",
    "\n-- a comment; with a semicolon\n/* another; /* nested; */ ; */ SELECT 2;",
    "\nCREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); SELECT 2);",
    "\nCREATE OR REPLACE FUNCTION f() RETURNS int\n LANGUAGE sql\n BEGIN ATOMIC\n"
    "  SELECT CASE WHEN true THEN 1 END;\n  SELECT 2;\n END;",
    "\nCREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC END;",
    "\nALTER TABLE begin ADD COLUMN case int;",
    "\nCREATE FUNCTION g(a$b int) RETURNS int AS 'SELECT $1;' LANGUAGE sql;",
    "\n\\restrict abc;def\n",
    "SELECT 'it''s; so';",
    "\nSELECT e'a''\\';b', note'x;';",
]


def test_statements_end_where_they_end() -> None:
    text = "".join(STATEMENTS) + "\n\n-- the end\n"
    assert split_statements(text) == [*STATEMENTS, "\n\n-- the end\n"]


@pytest.mark.parametrize("text", ["", "'", '"', "$$", "/*", "$x$;", "E'\\", "(;", "\\", "--"])
def test_what_is_cut_off_is_still_all_there(text: str) -> None:
    assert "".join(split_statements(text)) == text


def test_tokens_leave_out_what_is_quoted() -> None:
    statement = 'CREATE POLICY "TO" ON a.b -- TO c\n FOR ALL TO x, "Y" USING ((z = \'TO q\'));'
    shown = [(one.name, one.depth) for one in tokens(statement)]
    assert shown == [
        ("CREATE", 0), ("POLICY", 0), ("TO", 0), ("ON", 0), ("a", 0), (".", 0), ("b", 0),
        ("FOR", 0), ("ALL", 0), ("TO", 0), ("x", 0), (",", 0), ("Y", 0), ("USING", 0), ("(", 0),
        ("(", 1), ("z", 2), ("=", 2), (")", 1), (")", 0), (";", 0),
    ]  # fmt: skip


SCRIPT = b"""--
-- PostgreSQL database dump
--

\\restrict abc

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

--
-- Name: app; Type: SCHEMA; Schema: -; Owner: clerk
--

CREATE SCHEMA app;


ALTER SCHEMA app OWNER TO clerk;

SET default_tablespace = fast;

SET default_table_access_method = heap;

--
-- Name: t; Type: TABLE; Schema: app; Owner: clerk; Tablespace: fast
--

CREATE TABLE app.t (
    id integer
);


SET default_tablespace = '';

--
-- Name: f(); Type: FUNCTION; Schema: app; Owner: clerk
--

CREATE FUNCTION app.f() RETURNS text LANGUAGE sql AS $$
--
-- Name: none; Type: TABLE; Schema: app; Owner: clerk
--
SELECT 'x';
$$;

\\unrestrict abc
"""


def test_a_script_is_read_by_objects() -> None:
    script = read_script(SCRIPT)
    assert script.preamble == ("SET statement_timeout = 0;", "SET client_encoding = 'UTF8';")
    schema, table, function = script.entries
    assert (schema.kind, schema.name, schema.schema, schema.owner) == ("SCHEMA", "app", "", "clerk")
    assert schema.statements == ("CREATE SCHEMA app;", "ALTER SCHEMA app OWNER TO clerk;")
    assert table.owner == "clerk"
    assert dict(table.state)["default_tablespace"] == "fast"
    assert dict(function.state)["default_tablespace"] == "''"
    assert len(function.statements) == 1
    assert "Name: none" in function.statements[0]


def entry(kind: str, name: str, statement: str = "", schema: str = "s", owner: str = "o") -> Entry:
    return Entry(kind, name, schema, owner, (statement,))


SUBJECTS = [
    (entry("TABLE", "t"), "table s.t", ""),
    (entry("TABLE", "Odd order"), 'table s."Odd order"', ""),
    (entry("TABLE", "order"), 'table s."order"', ""),
    (entry("FUNCTION", "f(integer, text)"), "function s.f(integer, text)", ""),
    (entry("SCHEMA", "s", schema=""), "schema s", ""),
    (entry("POLICY", "t own rows", "CREATE POLICY \"own rows\" ON s.t"),
     'policy "own rows" on s.t', "table s.t"),
    (entry("TRIGGER", "my t x", 'CREATE TRIGGER x ON s."my t"'), 'trigger x on s."my t"',
     'table s."my t"'),
    (entry("FK CONSTRAINT", "t c", "ALTER TABLE ONLY s.t ADD CONSTRAINT c"), "constraint c on s.t",
     "table s.t"),
    (entry("ROW SECURITY", "t"), "row security of table s.t", "table s.t"),
    (entry("ACL", "TABLE t"), "grants on table s.t", "table s.t"),
    (entry("ACL", "COLUMN t.c"), "grants on column s.t.c", "table s.t"),
    (entry("COMMENT", "EXTENSION x", schema=""), "comment on extension x", "extension x"),
    (entry("DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES"),
     "default privileges of o in schema s for tables", ""),
    (entry("EVENT TRIGGER", "e", schema=""), "event trigger e", ""),
    (entry("PUBLICATION TABLE", "p t"), "publication p table s.t", ""),
    (entry("USER MAPPING", "USER MAPPING a SERVER b", schema=""),
     "user mapping for a server b", ""),
    (entry("DOMAIN", "d"), "type s.d", ""),
    (entry("TABLE", "t\xc3\xa4".replace("\xc3\xa4", "\xc3\xa4")), 'table s."tä"', ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "subject", "table"), SUBJECTS)
def test_an_entry_is_called_as_the_inventory_calls_it(one: Entry, subject: str, table: str) -> None:
    assert subject_of(one) == subject
    assert table_of(one) == table


PLAIN = [
    ("CREATE INDEX i ON s.t USING btree (a, lower((b)::text)) WHERE (c = 'x.y'::text);", "s.t"),
    ("CREATE UNIQUE INDEX i ON ONLY s.\"T t\" USING btree (a DESC);", 's."T t"'),
    ("CREATE INDEX i ON s.t USING btree (s.f(a));", ""),
    ("CREATE INDEX i ON s.t USING gist (a s.ops);", ""),
    ("CREATE INDEX i ON s.t USING btree (((a)::s.kind));", ""),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "table"), PLAIN)
def test_an_index_that_needs_only_its_table_is_told_from_others(statement: str, table: str) -> None:
    assert plain_table(entry("INDEX", "i", statement)) == table


def test_what_locks_what() -> None:
    index = entry("INDEX", "i", "CREATE INDEX i ON s.t USING btree (a);")
    assert locks_of(index) == (frozenset(), frozenset({"s.t"}))
    key = entry("CONSTRAINT", "t k", "ALTER TABLE ONLY s.t\n    ADD CONSTRAINT k PRIMARY KEY (a);")
    assert locks_of(key) == (frozenset({"s.t"}), frozenset())
    foreign = entry(
        "FK CONSTRAINT",
        "t f",
        "ALTER TABLE s.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES x.u;",
    )
    assert locks_of(foreign) == (frozenset({"s.t", "x.u"}), frozenset())
    assert plain_table(foreign) == ""
    assert locks_of(entry("TRIGGER", "t x", "CREATE TRIGGER x;")) == (frozenset({""}), frozenset())


def test_a_foreign_key_is_made_first_and_looked_at_then() -> None:
    statement = 'ALTER TABLE ONLY s.t ADD CONSTRAINT "a b" FOREIGN KEY (a) REFERENCES s.u(b);'
    halves = halves_of(entry("FK CONSTRAINT", "t a b", statement))
    assert halves is not None
    made, left = halves
    assert made == statement[:-1] + " NOT VALID;"
    assert left.statements == (
        'ALTER TABLE ONLY s.t VALIDATE CONSTRAINT "a b";',
        'ALTER TABLE ONLY s.t DROP CONSTRAINT "a b";',
    )
    assert subject_of(left) == 'constraint "a b" on s.t'
    assert locks_of(left) == (frozenset({"s.t"}), frozenset())


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE ONLY s.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u(b) NOT VALID;",
        "ALTER TABLE s.parted ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u(b);",
        "ALTER TABLE ONLY s.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES s.u(b) NOT ENFORCED;",
    ],
)
def test_other_foreign_keys_are_made_as_they_are(statement: str) -> None:
    assert halves_of(entry("FK CONSTRAINT", "t c", statement)) is None
