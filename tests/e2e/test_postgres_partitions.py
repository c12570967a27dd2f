"""Partitions by a hash that each server computes otherwise: rows come back, wherever they lie."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from strongroom.model import Finding, Severity, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.load import LoadOptions, load_database
from strongroom.postgres.programs import find_programs
from strongroom.postgres.proof import ProofOptions, prove_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

SETUP = """
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
CREATE TABLE hp (m mood, v int, twice int GENERATED ALWAYS AS (v * 2) STORED) PARTITION BY HASH (m);
CREATE TABLE hp0 PARTITION OF hp FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE hp1 PARTITION OF hp FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE hp2 PARTITION OF hp FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE hp3 (v int, twice int GENERATED ALWAYS AS (v * 2) STORED, m mood);
ALTER TABLE hp ATTACH PARTITION hp3 FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE TABLE deep (m mood[], day int) PARTITION BY RANGE (day);
CREATE TABLE deep1 PARTITION OF deep FOR VALUES FROM (0) TO (100) PARTITION BY HASH (m);
CREATE TABLE deep1a PARTITION OF deep1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE deep1b PARTITION OF deep1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE deep2 PARTITION OF deep FOR VALUES FROM (100) TO (200);
CREATE TABLE plain (k int) PARTITION BY HASH (k);
CREATE TABLE plain0 PARTITION OF plain FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO hp (m, v) SELECT m, v
    FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 50) v;
INSERT INTO deep SELECT ARRAY[m], n
    FROM unnest(enum_range(NULL::mood)) m, generate_series(0, 199) n;
INSERT INTO plain SELECT generate_series(1, 10);
"""


@dataclass
class Restored:
    """What was captured, and the server with a copy of it, in which the types have other ids."""

    store: DirectoryStore
    cluster: Cluster
    copy: Connection
    load_findings: list[Finding]

    def prove(self, target: Connection) -> tuple[Verdict, list[tuple[str, str]]]:
        proof = prove_database(self.store, target, ProofOptions())
        findings = [
            (one.code, one.subject) for one in proof.findings if one.code.startswith("content")
        ]
        return judge(proof.findings, checked=proof.checked), findings


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(major, marks=pytest.mark.xdist_group(f"postgres-partitions-{major}"))
        for major in (15, 18)
    ],
)
def restored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Restored]:
    with throwaway_cluster(major=request.param) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", SETUP)
        store = DirectoryStore(tmp_path_factory.mktemp("captured"))
        capture_database(source, CaptureOptions(), store)
        target = cluster.connection("copy")
        report = load_database(store, target, LoadOptions(own_server=True))
        yield Restored(store, cluster, target, report.findings)


def test_rows_come_back_through_the_root(restored: Restored) -> None:
    assert [one for one in restored.load_findings if one.severity is not Severity.NOTE] == []
    verdict, findings = restored.prove(restored.copy)
    assert verdict is Verdict.PROVEN
    assert findings == [("content-order", "public.deep"), ("content-order", "public.hp")]


def test_the_script_brings_them_back_too(restored: Restored) -> None:
    cluster = restored.cluster
    environment = cluster.connection().environment() | {"SKIP_ROLES": "1"}
    environment["PATH"] = f"{find_programs(cluster.major).directory}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "restore.sh", "by_hand"],
        cwd=restored.store.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert restored.prove(cluster.connection("by_hand"))[0] is Verdict.PROVEN


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE hp SET v = 7000 WHERE v = 7 AND m = 'c'", ("content-differs", "public.hp")),
        ("DELETE FROM deep WHERE day = 3 AND m = '{c}'", ("content-differs", "public.deep")),
        (
            "ALTER TABLE hp DROP COLUMN twice;"
            " ALTER TABLE hp ADD COLUMN twice int GENERATED ALWAYS AS (v * 3) STORED",
            ("content-generated", "public.hp"),
        ),
    ],
)
def test_a_change_is_found_in_whatever_partition(
    restored: Restored, change: str, expected: tuple[str, str]
) -> None:
    cluster = restored.cluster
    psql(cluster, cluster.connection(), "-c", "DROP DATABASE IF EXISTS changed")
    psql(cluster, cluster.connection(), "-c", "CREATE DATABASE changed TEMPLATE copy")
    target = cluster.connection("changed")
    psql(cluster, target, "-c", change)
    verdict, findings = restored.prove(target)
    assert verdict is Verdict.FAILED
    assert expected in findings


def test_the_source_itself_is_proven_partition_by_partition(restored: Restored) -> None:
    verdict, findings = restored.prove(restored.cluster.connection("source"))
    assert verdict is Verdict.PROVEN
    assert findings == []
