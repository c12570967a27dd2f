"""Tables whose rows are left out: their definitions come back, and the manifest says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.model import Severity, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.load import load_database
from strongroom.postgres.proof import prove_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

pytestmark = pytest.mark.xdist_group("postgres-excluded")

SETUP = """
CREATE TABLE kept (id int PRIMARY KEY);
CREATE TABLE cache_pages (id int, body text);
CREATE TABLE "cache Odd" (id int);
CREATE SCHEMA log;
CREATE TABLE log.events (id int);
INSERT INTO kept SELECT generate_series(1, 5);
INSERT INTO cache_pages SELECT n, 'page' FROM generate_series(1, 5) n;
INSERT INTO "cache Odd" VALUES (1);
INSERT INTO log.events VALUES (1);
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


def test_rows_are_left_out_and_definitions_are_not(cluster: Cluster, tmp_path: Path) -> None:
    source = make_database(cluster, "excluding")
    psql(cluster, source, "-c", SETUP)
    store = DirectoryStore(tmp_path / "store")
    store.root.mkdir()
    options = CaptureOptions(exclude_tables=("public.cache*", "log.*"))
    capture = capture_database(source, options, store)
    assert [one.label for one in capture.tables] == ["public.kept"]
    told = [one for one in capture.manifest.coverage if one.kind == "excluded table"]
    assert [one.subject for one in told] == [
        "log.events",
        "public.cache Odd",
        "public.cache_pages",
    ]
    assert {one.status for one in told} == {"not-configured"}
    target = cluster.connection("excluded_copy")
    report = load_database(store, target)
    assert [one for one in report.findings if one.severity is not Severity.NOTE] == []
    proof = prove_database(store, target)
    assert judge(proof.findings, checked=proof.checked).value == "PROVEN"
    counts = 'SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM "cache Odd")'
    assert psql(cluster, target, "-c", counts) == "5|0"


def test_a_partitioned_parent_excludes_its_partitions_and_what_gets_lost_is_told(
    cluster: Cluster, tmp_path: Path
) -> None:
    source = make_database(cluster, "partitioned")
    setup = """
CREATE TABLE pt (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE pt_low PARTITION OF pt FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE pt_lowest PARTITION OF pt_low FOR VALUES FROM (0) TO (5);
CREATE TABLE pt_high PARTITION OF pt FOR VALUES FROM (10) TO (20);
CREATE TABLE refers (pt_id int CONSTRAINT to_pt REFERENCES pt);
CREATE TABLE empty (pt_id int REFERENCES pt);
INSERT INTO pt VALUES (1), (11);
INSERT INTO refers VALUES (1);
"""
    psql(cluster, source, "-c", setup)
    options = CaptureOptions(exclude_tables=("public.pt", "pt", "public.gone*"))
    capture = capture_database(source, options, DirectoryStore(tmp_path))
    assert [one.label for one in capture.tables] == ["public.empty", "public.refers"]
    told = {(one.code, one.subject) for one in capture.findings}
    assert told == {
        ("exclusion-unmatched", "pt"),
        ("exclusion-unmatched", "public.gone*"),
        ("coverage-gap", "public.refers"),
    }
    (gap, *_) = [one for one in capture.findings if one.code == "coverage-gap"]
    assert "foreign key to_pt refers to public.pt" in gap.message
