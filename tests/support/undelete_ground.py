"""A live database that people delete from, with a snapshot of how it was before."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from strongroom.postgres.cluster import throwaway_cluster
from tests.e2e.command_line import Answer, Place, make_place
from tests.e2e.test_cli_database import Server

CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:UNDELETE_URL}
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
state: state
"""

SCHEMA = '''\
CREATE SCHEMA app;
CREATE TYPE app.state AS ENUM ('new', 'paid');
CREATE TABLE app.customers (id uuid PRIMARY KEY, email text NOT NULL UNIQUE, "Full ""name" text);
CREATE TABLE app.invoices (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer uuid NOT NULL REFERENCES app.customers ON DELETE CASCADE,
    total numeric(12, 2),
    twice numeric GENERATED ALWAYS AS (total * 2) STORED,
    state app.state, tags text[], extra jsonb, file bytea, at timestamptz, span interval,
    note text COLLATE "C", price money, ratio float8, doc xml, code char(5)
);
CREATE TABLE app.lines (
    invoice bigint NOT NULL REFERENCES app.invoices ON DELETE CASCADE,
    place int NOT NULL, what text, PRIMARY KEY (invoice, place)
);
CREATE TABLE app.reminders (
    id int PRIMARY KEY, invoice bigint REFERENCES app.invoices ON DELETE SET NULL
);
CREATE TABLE app.staff (id int PRIMARY KEY, boss int REFERENCES app.staff, name text);
CREATE TABLE app.heads (id int PRIMARY KEY, room int NOT NULL);
CREATE TABLE app.rooms (id int PRIMARY KEY, head int NOT NULL REFERENCES app.heads);
ALTER TABLE app.heads ADD CONSTRAINT in_room FOREIGN KEY (room) REFERENCES app.rooms
    DEFERRABLE INITIALLY IMMEDIATE;
CREATE TABLE app.trail (day date, id int, what text, PRIMARY KEY (day, id))
    PARTITION BY RANGE (day);
CREATE TABLE app.trail_1 PARTITION OF app.trail FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE app.trail_2 PARTITION OF app.trail FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE app.plain (x int);
CREATE TABLE app."Odd.table ""x""" ("se:lect" text NOT NULL, "%s" int,
    CONSTRAINT "k""ey" UNIQUE ("se:lect"));
INSERT INTO app.customers
    SELECT gen_random_uuid(), 'c' || n || '@example.com', 'It''s ' || n
    FROM generate_series(1, 20) n;
INSERT INTO app.invoices (customer, total, state, tags, extra, file, at, span, note, price, ratio,
        doc, code)
    SELECT c.id, n * 1.1, 'paid', ARRAY['a"b', NULL, 'c,d'], '{"k": ["é", null]}', '\\x00ff27',
        timestamptz '2026-03-29 01:30:00+01' + n * interval '1 hour', interval '1 mon 2 days 03:04',
        E'line\\nback\\\\slash '' $strongroom$ -- tab\\t :x %s ' || n, 12.5, 0.1 + 0.2,
        '<a>x</a>', 'ab'
    FROM app.customers c CROSS JOIN generate_series(1, 5) n;
INSERT INTO app.invoices (customer) SELECT id FROM app.customers LIMIT 1;
INSERT INTO app.lines SELECT id, place, 'line ' || place FROM app.invoices
    CROSS JOIN generate_series(1, 3) place;
INSERT INTO app.reminders SELECT n, id FROM (
    SELECT id, row_number() OVER (ORDER BY id) n FROM app.invoices) x;
INSERT INTO app.staff VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, 5, 'd'), (5, 4, 'e')
    , (6, 6, 'f');
SET CONSTRAINTS ALL IMMEDIATE;
BEGIN;
SET CONSTRAINTS app.in_room DEFERRED;
INSERT INTO app.heads SELECT n, n FROM generate_series(1, 4) n;
INSERT INTO app.rooms SELECT n, n FROM generate_series(1, 4) n;
COMMIT;
INSERT INTO app.trail SELECT date '2026-06-28' + n, n, 'x' || n FROM generate_series(1, 9) n;
INSERT INTO app.plain SELECT generate_series(1, 5);
INSERT INTO app."Odd.table ""x""" VALUES ('zwei', 2), ('eins', 1), ('$1', NULL), ('Ä', 3);
'''

TABLES = (
    "customers", "invoices", "lines", "reminders", "staff", "heads", "rooms", "trail", "plain",
    'Odd.table "x"',
)  # fmt: skip


@dataclass
class Ground:
    """The live database `tms`, as it was captured until somebody changes it."""

    place: Place
    server: Server
    snapshot: str = ""

    @property
    def url(self) -> str:
        return self.server.url("tms")

    def begin_anew(self) -> None:
        """The live database is again what was captured."""
        self.server.sql("postgres", "DROP DATABASE IF EXISTS tms WITH (FORCE)")
        self.server.sql("postgres", "CREATE DATABASE tms TEMPLATE origin")

    def sql(self, statements: str) -> str:
        return self.server.sql("tms", statements)

    def contents(self) -> dict[str, list[str]]:
        """The rows of every table, as text, in an order of their own."""
        return {
            name: self.sql(
                'SELECT replace(t::text, chr(10), chr(182)) FROM app."{}" t ORDER BY 1'.format(
                    name.replace('"', '""')
                )
            ).splitlines()
            for name in TABLES
        }

    def capture(self) -> str:
        """The id of one more snapshot, of the live database as it is."""
        answer = self.place.run("--json", "backup", "database")
        assert answer.status in (0, 3), answer.text  # it may have shrunk, which is told
        return str(answer.document["snapshots"][0]["id"])

    def undelete(self, *words: object) -> dict[str, Any]:  # Any: JSON values
        answer = self.answer(*words)
        assert answer.status == 0, answer.err + answer.text
        return answer.document

    def answer(self, *words: object) -> Answer:
        """Of the first snapshot, unless another one is named."""
        which = () if "--snapshot" in words else ("--snapshot", self.snapshot)
        return self.place.run("--json", "undelete", "database", *words, *which)

    @contextmanager
    def holding(self, *statements: str) -> Iterator[psycopg.Connection]:
        """Somebody else's session, whose transaction has done this and is not over."""
        with psycopg.connect(self.url) as session:
            for one in statements:
                session.execute(one.encode())
            yield session

    def waiting(self) -> bool:
        """Whether a session of the live database waits for another one's lock."""
        asked = (
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE datname = 'tms' AND wait_event_type = 'Lock'"
        )
        return self.server.sql("postgres", asked) == "t"


@contextmanager
def undelete_ground(directory: Path, major: int) -> Iterator[Ground]:
    """A server of this major version with the live database, and a place with its snapshot."""
    with throwaway_cluster(major=major) as cluster:
        server = Server(cluster)
        server.sql("postgres", "CREATE DATABASE origin")
        # The newest programs at hand were built without libxml.
        server.sql("origin", SCHEMA if major < 18 else SCHEMA.replace("doc xml", "doc text"))
        ground = Ground(make_place(directory, CONFIG), server)
        ground.begin_anew()
        os.environ["UNDELETE_URL"] = ground.url
        try:
            ground.place.json("init")
            report = ground.place.json("backup")
            (ground.snapshot,) = [
                one["id"] for one in report["snapshots"] if one["source"] == "database"
            ]
            yield ground
        finally:
            del os.environ["UNDELETE_URL"]


def in_background(call: Any, *words: object) -> tuple[threading.Thread, list[Any]]:
    """Run a call in a thread; its result, or what it raised, comes into the list."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(call(*words))
        except BaseException as error:  # handed to whoever waits
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, results
