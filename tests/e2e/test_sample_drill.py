"""A large database drilled in parts: what was covered, what was not, and nothing more than that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.evidence import Ledger
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place, make_place
from tests.support.failure_ground import execute, url_of
from tests.support.repository_ground import PASSWORD, new_repository

pytestmark = pytest.mark.xdist_group("points")

CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:SAMPLE_URL}
repositories:
  local: {location: local, password: file:key}
objectives: {proof_age: 3d}
state: state
"""
# Keys lead from and to the largest table, in a circle as well; one trigger fires whatever happens.
SCHEMA = """
CREATE TABLE trainees (
    id integer PRIMARY KEY, name text NOT NULL, twice integer GENERATED ALWAYS AS (id * 2) STORED
);
CREATE TABLE attendance (
    id integer PRIMARY KEY, trainee integer NOT NULL REFERENCES trainees, note text
);
CREATE TABLE invoices (id integer PRIMARY KEY, trainee integer REFERENCES trainees, body text);
ALTER TABLE trainees ADD COLUMN newest integer REFERENCES invoices DEFERRABLE;
CREATE TABLE marks (at integer, mark integer) PARTITION BY HASH (at);
CREATE TABLE marks_0 PARTITION OF marks FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE marks_1 PARTITION OF marks FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE empty (id integer REFERENCES trainees);
INSERT INTO trainees SELECT n, 'Trainee ' || n FROM generate_series(1, 300) n;
INSERT INTO invoices SELECT n, n, md5(n::text) FROM generate_series(1, 300) n;
INSERT INTO attendance SELECT n, n % 300 + 1, repeat(md5(n::text), 4)
    FROM generate_series(1, 3000) n;
INSERT INTO marks SELECT n, n FROM generate_series(1, 500) n;
UPDATE trainees SET newest = id;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'this trigger must not fire'; END $$;
CREATE TRIGGER loud BEFORE INSERT ON attendance FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE attendance ENABLE ALWAYS TRIGGER loud;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM attendance;
SELECT lo_from_bytea(0, 'a large object');
"""
PARTS = {
    "public.trainees",
    "public.attendance",
    "public.invoices",
    "public.marks_0",
    "public.marks_1",
    "public.empty",
    "large objects",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE tms")
        execute(cluster, "tms", SCHEMA)
        os.environ["SAMPLE_URL"] = url_of(cluster, "tms")
        yield cluster
        del os.environ["SAMPLE_URL"]


@pytest.fixture
def place(server: Cluster, tmp_path: Path) -> Place:
    assert execute(server, "tms", "SELECT n FROM totals") == [(3000,)]
    made = make_place(tmp_path, CONFIG)
    (made.path / "key").write_text(PASSWORD + "\n")
    new_repository(made.path / "local")
    made.json("backup")
    return made


def test_samples_cover_all_of_it_in_turn(place: Place) -> None:
    covered: list[set[str]] = []
    for _ in range(3):
        answer = place.run("--json", "drill", "database", "--sample")
        assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN")
        (drill,) = answer.document["drills"]
        assert [one["code"] for one in drill["findings"]] == ["sample-partial"], drill["findings"]
        sample = drill["sample"]
        assert set(sample["covered"]) | set(sample["not_covered"]) == PARTS
        assert not set(sample["covered"]) & set(sample["not_covered"])
        for name in PARTS:
            assert name in drill["findings"][0]["message"]
        covered.append(set(sample["covered"]))
    assert covered[0] == {"public.attendance"}, "it is more than a third, so it goes alone"
    assert set.union(*covered) == PARTS, "within proof_age, when there is one each day"
    recorded = list(Ledger(place.path / "state/ledger.jsonl").entries("drill"))
    assert [set(one.fields["sample"]["covered"]) for one in recorded] == covered
    assert place.snapshots()[0]["verdict"] == "UNKNOWN"


def test_a_share_that_is_all_is_a_whole_drill(place: Place) -> None:
    report = place.json("drill", "--sample=100%")
    assert report["verdict"] == "PROVEN"
    assert "sample" not in report["drills"][0]
    # A part that is sound takes nothing away from it, and nothing is due before the others.
    answer = place.run("--json", "drill", "database", "--sample=1%")
    assert answer.document["verdict"] == "UNKNOWN"
    assert place.snapshots()[0]["verdict"] == "PROVEN"


def test_a_sample_of_a_damaged_table_fails(place: Place) -> None:
    """Rows are exchanged in the repository's own words: by a capture of another state."""
    packs = [path for path in (place.path / "local/data").rglob("*") if path.is_file()]
    largest = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(content)
    verdicts = []
    for _ in range(4):
        answer = place.run("--json", "drill", "database", "--sample")
        verdicts.append(answer.document["verdict"])
        if verdicts[-1] == "FAILED":
            assert answer.status == 41
            assert answer.document["drills"][0]["sample"]["covered"] == []
    assert "FAILED" in verdicts
    assert "PROVEN" not in verdicts
    assert place.snapshots()[0]["verdict"] == "FAILED"


def test_a_sample_is_refused_where_it_means_nothing(place: Place) -> None:
    answer = place.run("drill", "--sample=0%")
    assert answer.status == 2
    assert "a share is above 0%" in answer.err
    text = place.run("drill", "--sample=10%").text
    assert "sample-partial" in text
    assert "UNKNOWN" in text
