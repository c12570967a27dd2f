"""Parallel jobs of pg_restore deadlock now and then; what failed so is run again, alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.load import LoadOptions, load_database
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

pytestmark = pytest.mark.xdist_group("postgres-deadlock")

# The real program, but for one entry: of that it says what the real one says of a deadlock.
PG_RESTORE = """#!/bin/sh
case "$*" in *--section=post-data*--jobs*) ;; *) exec {real} "$@" ;; esac
for archive; do :; done
{real} -l "$archive" | grep -v 'INDEX public found_idx ' > "$archive.list"
{real} -L "$archive.list" "$@" || exit
rm "$archive.list"
cat >&2 <<'END'
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3100; 1259 16500 INDEX found_idx postgres
pg_restore: error: could not execute query: ERROR:  deadlock detected
DETAIL:  Process 7 waits for ShareLock on relation 3 of database 4; blocked by process 8.
HINT:  See server log for query details.
Command was: {statement}


pg_restore: warning: errors ignored on restore: 1
END
exit 1
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("statement", "complaints"),
    [
        ("CREATE INDEX found_idx ON public.found\n    USING btree (id);", []),
        ("CREATE INDEX found_idx ON public.nowhere (id);", ["index found_idx postgres"]),
    ],
    ids=["succeeds alone", "fails alone"],
)
def test_a_deadlock_is_no_difference(
    cluster: Cluster, tmp_path: Path, statement: str, complaints: list[str]
) -> None:
    name = f"locked{len(complaints)}"
    source = make_database(cluster, name)
    psql(cluster, source, "-c", "CREATE TABLE found (id int); CREATE INDEX found_idx ON found (id)")
    store = DirectoryStore(tmp_path / "store")
    store.root.mkdir()
    capture_database(source, CaptureOptions(), store)
    programs = tmp_path / "programs"
    programs.mkdir()
    real = cluster.programs.directory
    for program in real.iterdir():
        if program.name != "pg_restore":
            (programs / program.name).symlink_to(program)
    script = programs / "pg_restore"
    script.write_text(PG_RESTORE.format(real=real / "pg_restore", statement=statement))
    script.chmod(0o755)
    target = cluster.connection(f"{name}_copy")
    report = load_database(store, target, LoadOptions(programs=programs))
    errors = [one for one in report.findings if one.code == "load-error"]
    assert [one.subject.removesuffix(" postgres") for one in errors] == [
        one.removesuffix(" postgres") for one in complaints
    ]
    assert all("nowhere" in one.message for one in errors)
    made = "SELECT count(*) FROM pg_class WHERE relname = 'found_idx'"
    assert psql(cluster, target, "-c", made) == ("0" if complaints else "1")
