"""What a capture cannot hold, or holds without comparing it, is said when it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import throwaway_cluster
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

SETUP = """
CREATE TABLE t (id int);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM t;
CREATE TABLE information_schema.lost AS SELECT 1 AS id;
CREATE FOREIGN DATA WRAPPER dummy;
CREATE SERVER far FOREIGN DATA WRAPPER dummy;
CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'SECRET');
CREATE SUBSCRIPTION news CONNECTION 'dbname=x password=SECRET' PUBLICATION p
    WITH (connect = false);
"""


@pytest.mark.parametrize("major", [13, 18])
def test_what_is_not_compared_or_not_captured_is_told(tmp_path: Path, major: int) -> None:
    with throwaway_cluster(major=major) as cluster:
        source = make_database(cluster, "source")
        for statement in SETUP.split(";\n"):
            psql(cluster, source, "-c", statement)
        capture = capture_database(source, CaptureOptions(), DirectoryStore(tmp_path))
        psql(cluster, source, "-c", "ALTER SUBSCRIPTION news SET (slot_name = NONE)")
        psql(cluster, source, "-c", "DROP SUBSCRIPTION news")
    (gap,) = capture.findings
    assert (gap.code, gap.subject) == ("coverage-gap", "information_schema.lost")
    coverage = {one.kind: one for one in capture.manifest.coverage}
    view, mapping = coverage["materialised view"], coverage["user mapping"]
    assert (view.subject, mapping.subject) == ("public.counted", "public on far")
    assert "not compared" in view.explanation
    for one in (mapping, coverage["subscriptions"]):
        assert "password" in one.explanation
        assert "not compared" in one.explanation
    assert not [one for one in coverage.values() if "SECRET" in f"{one}"]
