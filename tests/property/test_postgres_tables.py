"""I1 for databases: whatever the tables hold, the restored copy is PROVEN and captures to the same
bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.model import Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.load import LoadOptions, load_database
from strongroom.postgres.proof import prove_database
from strongroom.postgres.statement import quote_name
from tests.e2e.postgres_directory import DirectoryStore

# PostgreSQL's text holds every character but NUL; a name has at most 63 bytes.
_SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_TEXT = st.text(_SIGNS | st.sampled_from("\\\t\n\r.N{}\",'"), max_size=12)
_SYSTEM = {"tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"}
_NAME = st.text(_SIGNS, min_size=1, max_size=15).filter(lambda name: name not in _SYSTEM)
_INTEGER = st.integers(-(2**63), 2**63 - 1)

# How a type's values are written, as text that PostgreSQL reads.
_VALUES = {
    "text": _TEXT,
    "varchar": _TEXT,
    "bigint": _INTEGER.map(str),
    "numeric": st.decimals(allow_infinity=False, allow_nan=False, places=5).map(str),
    "float8": st.floats(allow_nan=True, allow_infinity=True).map(repr),
    "boolean": st.sampled_from(["t", "f"]),
    "bytea": st.binary(max_size=10).map(lambda data: "\\x" + data.hex()),
    "date": st.dates().map(str) | st.sampled_from(["infinity", "-infinity"]),
    "timestamptz": st.datetimes().map(str),
    "interval": _INTEGER.map(lambda number: f"{number % 10**9} seconds {number % 7} months"),
    "uuid": st.uuids().map(str),
}


@dataclass(frozen=True)
class Table:
    """A generated table: names and types of its columns, and rows of text or None."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str | None, ...], ...]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(
        st.lists(
            st.tuples(_NAME, st.sampled_from(sorted(_VALUES))),
            max_size=5,
            unique_by=lambda column: column[0],
        )
    )
    cells = [st.none() | _VALUES[kind] for _, kind in columns]
    rows = draw(st.lists(st.tuples(*cells), max_size=8))
    return Table(draw(_NAME), tuple(columns), tuple(rows))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.lists(tables(), max_size=5, unique_by=lambda table: table.name))
def test_generated_tables_come_back(cluster: Cluster, made: list[Table]) -> None:
    names = ("source", "restored")
    with cluster.connection().connect() as server:
        for name in names:
            server.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        server.execute(b"CREATE DATABASE source")
    source, target = (cluster.connection(name) for name in names)
    with source.connect() as session:
        for table in made:
            columns = ", ".join(f"{quote_name(name)} {kind}" for name, kind in table.columns)
            relation = quote_name(table.name)
            session.execute(f"CREATE TABLE {relation} ({columns})".encode())
            places = ", ".join(f"%s::{kind}" for _, kind in table.columns)
            values = f"VALUES ({places})" if places else "DEFAULT VALUES"
            statement = f"INSERT INTO {relation.replace('%', '%%')} {values}"
            with session.cursor() as cursor:
                for row in table.rows:
                    cursor.execute(statement.encode(), row)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        store, again = DirectoryStore(Path(first)), DirectoryStore(Path(second))
        capture = capture_database(source, CaptureOptions(), store)
        assert [one.rows for one in sorted(capture.tables, key=lambda one: one.name)] == [
            len(one.rows) for one in sorted(made, key=lambda one: one.name)
        ]
        load = load_database(store, target, LoadOptions())
        assert load.findings == []
        proof = prove_database(store, target)
        assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
        capture_database(target, CaptureOptions(jobs=1), again)
        for record in capture.tables:
            assert again.read(record.file) == store.read(record.file)
