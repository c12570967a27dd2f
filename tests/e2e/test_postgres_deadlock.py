"""Sessions of one load deadlock now and then; what failed so is run again, alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.load import LoadOptions, load_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

pytestmark = pytest.mark.xdist_group("postgres-deadlock")

# An index whose making ends in what PostgreSQL says of a deadlock, so many times.
SETUP = """
CREATE SEQUENCE calls;
CREATE FUNCTION shy(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.calls') BETWEEN 101 AND 100 + {times} THEN
        RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected';
    END IF;
    RETURN id;
END $$;
CREATE TABLE found (id int);
INSERT INTO found VALUES (1);
CREATE INDEX found_idx ON found (shy(id));
CREATE INDEX other_idx ON found (abs(id));
SELECT setval('calls', 100);
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.mark.parametrize(("times", "complaints"), [(1, []), (9, ["index public.found_idx"])])
def test_a_deadlock_is_no_difference(
    cluster: Cluster, tmp_path: Path, times: int, complaints: list[str]
) -> None:
    name = f"locked{times}"
    source = make_database(cluster, name)
    psql(cluster, source, "-c", SETUP.format(times=times))
    store = DirectoryStore(tmp_path / "store")
    store.root.mkdir()
    capture_database(source, CaptureOptions(), store)
    target = cluster.connection(f"{name}_copy")
    report = load_database(store, target, LoadOptions())
    errors = [one for one in report.findings if one.code == "load-error"]
    assert [one.subject for one in errors] == complaints
    assert all("deadlock" in one.message for one in errors)
    made = "SELECT count(*) FROM pg_class WHERE relname IN ('found_idx', 'other_idx')"
    assert psql(cluster, target, "-c", made) == ("1" if complaints else "2")
