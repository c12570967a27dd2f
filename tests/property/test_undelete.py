"""Whatever happens to tables that refer to each other: what is undeleted is what was captured, and
what diff says of two captures is what an oracle says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.load import LoadOptions
from strongroom.postgres.rebuilt import Rebuilt
from strongroom.postgres.row_comparison import Desk, reading_only
from strongroom.postgres.table_difference import compare_table
from strongroom.postgres.table_shape import TableName, read_shapes
from strongroom.postgres.undelete import Wish, plan_undelete
from strongroom.postgres.undelete_apply import apply_script
from strongroom.postgres.undelete_script import Script, write_script
from tests.e2e.postgres_directory import DirectoryStore

_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\\'\n\r$\t:%"),
    max_size=6,
)
SCHEMA: Final = """\
CREATE TABLE a (id text COLLATE "C" PRIMARY KEY, up text REFERENCES a ON DELETE SET NULL, v text);
CREATE TABLE b (x int, y numeric, up text REFERENCES a ON DELETE CASCADE, v text,
    PRIMARY KEY (x, y));
CREATE TABLE c (id uuid PRIMARY KEY, x int, y numeric, v text,
    FOREIGN KEY (x, y) REFERENCES b ON DELETE CASCADE);
CREATE TABLE d (v text)"""
TABLES: Final = ("a", "b", "c", "d")
# Row of text values by table; references by number of the row that is meant.
Rows = Mapping[str, Sequence[Sequence[str | None]]]


@st.composite
def contents(draw: st.DrawFn) -> Rows:
    values = st.none() | _TEXT
    names = draw(st.lists(_TEXT, min_size=1, max_size=5, unique=True))
    places = st.none() | st.sampled_from(names)
    a = [(one, draw(places), draw(values)) for one in names]
    numbers = st.tuples(st.integers(-9, 9), st.sampled_from(["0", "1.5", "-2", "1e3"]))
    keys = draw(st.lists(numbers, max_size=6, unique=True))
    b = [(str(x), y, draw(places), draw(values)) for x, y in keys]
    ids = draw(st.lists(st.uuids(), max_size=6, unique=True))
    whose = st.sampled_from([*keys, (None, None)])
    c = []
    for one in ids:
        x, y = draw(whose)
        c.append((str(one), None if x is None else str(x), y, draw(values)))
    d = [(draw(values),) for _ in range(draw(st.integers(0, 4)))]
    return {"a": a, "b": b, "c": c, "d": d}


@st.composite
def changes(draw: st.DrawFn) -> list[str]:
    """Statements that delete, change and add."""
    deleted = st.sampled_from(TABLES).flatmap(
        lambda table: st.integers(1, 3).map(
            lambda number: (
                f"DELETE FROM {table} WHERE ctid IN"
                f" (SELECT ctid FROM {table} ORDER BY {table}::text LIMIT {number})"
            )
        )
    )
    changed = st.sampled_from(TABLES).map(
        lambda table: (
            f"UPDATE {table} SET v = coalesce(v, '') || '!' WHERE ctid IN"
            f" (SELECT ctid FROM {table} ORDER BY {table}::text DESC LIMIT 1)"
        )
    )
    added = st.sampled_from(
        ["INSERT INTO a VALUES ('new', NULL, 'n') ON CONFLICT DO NOTHING",
         "INSERT INTO d VALUES ('new')",
         "INSERT INTO b SELECT 99, 1, min(id), 'n' FROM a ON CONFLICT DO NOTHING"]
    )  # fmt: skip
    return draw(st.lists(deleted | changed | added, max_size=6))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@dataclass(frozen=True)
class Live:
    """A database, and how it looks from outside."""

    connection: Connection

    def begin(self, cluster: Cluster, rows: Rows) -> None:
        with cluster.connection().connect() as server:
            name = self.connection.database
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            server.execute(f"CREATE DATABASE {name}".encode())
        with self.connection.connect() as session:
            session.execute(SCHEMA.encode())
            session.execute(b"SET session_replication_role TO replica")
            for table, lines in rows.items():
                for row in lines:
                    places = ", ".join(["%s"] * len(row))
                    session.execute(f"INSERT INTO {table} VALUES ({places})".encode(), row)

    def do(self, statements: list[str]) -> None:
        with self.connection.connect() as session:
            for one in statements:
                session.execute(one.encode())

    def keyed(self) -> dict[str, dict[str, str]]:
        """Each row's text by its key's, by table."""
        keys = {"a": "ROW(id)", "b": "ROW(x, trim_scale(y))", "c": "ROW(id)", "d": "ROW(ctid)"}
        with self.connection.connect() as session:
            return {
                table: dict(session.execute(f"SELECT {key}::text, t::text FROM {table} t".encode()))
                for table, key in keys.items()
            }


@contextmanager
def captured(live: Live, cluster: Cluster, name: str) -> Iterator[Rebuilt]:
    """The database as it is now, captured and rebuilt."""
    with tempfile.TemporaryDirectory() as directory:
        store = DirectoryStore(Path(directory))
        capture_database(live.connection, CaptureOptions(jobs=1), store)
        with cluster.connection().connect() as server:
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        target = cluster.connection(name)
        rebuilt = Rebuilt(store, target, LoadOptions(jobs=1, own_server=True, partial=True))
        try:
            yield rebuilt
        finally:
            rebuilt.close()


def undelete(rebuilt: Rebuilt, live: Live, table: str) -> dict[str, int]:
    """Put back what is gone or changed of a table; returns how many rows of each were included."""
    with tempfile.TemporaryFile() as file, live.connection.connect() as session:
        script = Script(file)
        with reading_only(live.connection, session):
            wish = Wish(table, changed=True, children=True)
            plan = plan_undelete(rebuilt, session, read_shapes(session), wish)
            write_script(plan, session, script, "a snapshot")
        if script.size_bytes:
            apply_script(plan, script, live.connection)
        return {
            one.name: plan.included(found, "missing") + plan.included(found, "changed")
            for one, found in plan.found.items()
        }


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(contents(), changes())
def test_what_is_undeleted_is_what_was_captured(
    cluster: Cluster, rows: Rows, statements: list[str]
) -> None:
    live = Live(cluster.connection("living"))
    live.begin(cluster, rows)
    before = live.keyed()
    with captured(live, cluster, "rebuilt") as rebuilt:
        live.do(statements)
        lost = live.keyed()
        for table in ("c", "a", "b"):
            undelete(rebuilt, live, table)
        after = live.keyed()
        # Everything is there again as it was, and what others added has stayed.
        for table in ("a", "b", "c"):
            assert after[table].items() >= before[table].items()
            new = lost[table].keys() - before[table].keys()
            assert after[table].keys() == before[table].keys() | new
            assert all(after[table][one] == lost[table][one] for one in new)
        assert sorted(after["d"].values()) == sorted(lost["d"].values())
        for table in ("c", "a", "b"):
            assert undelete(rebuilt, live, table) == {table: 0}


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(contents(), changes())
def test_diff_agrees_with_an_oracle(cluster: Cluster, rows: Rows, statements: list[str]) -> None:
    live = Live(cluster.connection("living"))
    live.begin(cluster, rows)
    before = live.keyed()
    with captured(live, cluster, "first") as first:
        live.do(statements)
        after = live.keyed()
        with captured(live, cluster, "second") as second:
            desk = Desk(first.session)
            for table in TABLES:
                name = TableName("public", table)
                found = compare_table(first, second, desk, name, rows=True)
                old, new = before[table], after[table]
                if table == "d":
                    one, other = list(old.values()), list(new.values())
                    assert found.changed is None
                    assert found.removed == _more(one, other)
                    assert found.added == _more(other, one)
                    continue
                changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
                counts = len(new.keys() - old.keys()), len(old.keys() - new.keys()), len(changed)
                assert (found.added, found.removed, found.changed) == counts
                assert len(found.rows) == sum(counts)
                assert all(one.columns for one in found.rows if one.what == "changed")


def _more(some: list[str], others: list[str]) -> int:
    """How many of some are left when each of the others has taken one like it away."""
    left = list(some)
    for one in others:
        if one in left:
            left.remove(one)
    return len(left)
