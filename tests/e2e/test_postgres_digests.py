"""A database's digests: equal for equal content, whatever the order of rows, and for no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from strongroom.model import Digests, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.proof import ProofReport, prove_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

pytestmark = pytest.mark.xdist_group("postgres-digests")

ROWS = """
CREATE TABLE trainees (id int, name text);
INSERT INTO trainees SELECT n, 'trainee ' || n FROM generate_series(1, 20000) AS n;
CREATE TABLE "odd.name" (a text);
INSERT INTO "odd.name" VALUES ('x'), (NULL);
CREATE TABLE empty (a int);
CREATE TABLE parts (a int) PARTITION BY HASH (a);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT generate_series(1, 100);
SELECT lo_from_bytea(7, 'a large object');
"""


@dataclass
class Ground:
    """A captured database, and a server on which copies of it are changed."""

    store: DirectoryStore
    cluster: Cluster

    def prove(self, *changes: str) -> ProofReport:
        """The proof of a copy with these changes."""
        server = self.cluster.connection()
        psql(self.cluster, server, "-c", "DROP DATABASE IF EXISTS changed")
        psql(self.cluster, server, "-c", "CREATE DATABASE changed TEMPLATE source")
        target = self.cluster.connection("changed")
        for change in changes:
            psql(self.cluster, target, "-c", change)
        return prove_database(self.store, target)

    def digests(self, *changes: str) -> Digests:
        found = self.prove(*changes).digests
        assert found is not None
        return found


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    store = DirectoryStore(tmp_path_factory.mktemp("captured"))
    with throwaway_cluster(major=15) as cluster:
        source = make_database(cluster, "source")
        psql(cluster, source, "-c", ROWS)
        capture_database(source, CaptureOptions(), store)
        yield Ground(store, cluster)


def test_equal_content_has_equal_digests(ground: Ground) -> None:
    proof = ground.prove()
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
    assert proof.digests is not None
    assert proof.digests.agree
    assert proof.digests.of == "rows of 5 tables, large objects"
    assert proof.versions["postgresql_source"].startswith("15.")
    assert proof.versions["postgresql_target"].startswith("15.")


def test_the_same_rows_in_another_order_are_the_same(ground: Ground) -> None:
    moved = "UPDATE trainees SET name = name WHERE id = 1"
    proof = ground.prove(moved)
    assert "content-order" in [one.code for one in proof.findings]
    assert proof.digests == ground.digests()


CHANGES = {
    "a row": "UPDATE trainees SET name = 'somebody' WHERE id = 10000",
    "a row less": "DELETE FROM trainees WHERE id = 20000",
    "a row more": 'INSERT INTO "odd.name" VALUES (NULL)',
    "a row in an empty table": "INSERT INTO empty VALUES (1)",
    "a row of a partition": "DELETE FROM parts WHERE a = 50",
    "a table less": "DROP TABLE empty",
    "a column less": "ALTER TABLE trainees DROP COLUMN name",
    "a large object": "SELECT lo_put(7, 0, 'b')",
    "a large object more": "SELECT lo_create(8)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_content_has_another_digest(ground: Ground, change: str) -> None:
    proof = ground.prove(CHANGES[change])
    assert judge(proof.findings, checked=proof.checked) is Verdict.FAILED
    assert proof.digests is not None
    assert proof.digests.expected == ground.digests().expected
    assert not proof.digests.agree


def test_each_change_has_a_digest_of_its_own(ground: Ground) -> None:
    observed = [ground.digests(change).observed for change in CHANGES.values()]
    assert len(set(observed)) == len(CHANGES)
