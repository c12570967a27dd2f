"""Capture, load and proof of a database that is hard to copy, on every major version there is.

Each version has one cluster for the source and one for what is restored, as a drill has.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.findings import Severity
from strongroom.model import Finding, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, DatabaseCapture, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.connection import Connection
from strongroom.postgres.load import LoadOptions, LoadReport, load_database
from strongroom.postgres.manifest import Manifest
from strongroom.postgres.programs import find_programs
from strongroom.postgres.proof import ProofOptions, ProofReport, prove_database
from strongroom.postgres.sandbox import reference_in, sandbox_for
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

MAJORS = (13, 14, 15, 16, 17, 18)


@dataclass
class Trip:
    """A captured database and the cluster that it is restored into."""

    source: Connection
    store: DirectoryStore
    capture: DatabaseCapture
    cluster: Cluster
    load: LoadReport

    @property
    def restored(self) -> Connection:
        return self.cluster.connection("restored")

    def prove(self, target: Connection | None = None, *, told: bool = True) -> ProofReport:
        options = ProofOptions(
            reference=reference_in(self.cluster, self.store) if told else None,
            lacking=self.load.lacking,
            elsewhere=("foreign table app.far_away",),
        )
        return prove_database(self.store, target or self.restored, options)


SCHEMAS = {
    "rows": ("postgres_roles.sql", ["postgres_rows.sql"]),
    "definitions": ("structure_roles.sql", ["structure_nasty.sql", "structure_database.sql"]),
}


@pytest.fixture(
    scope="module",
    # All tests of a version share its clusters: one worker runs them.
    params=[
        pytest.param(major, id=f"pg{major}", marks=pytest.mark.xdist_group(f"round-trip-{major}"))
        for major in MAJORS
    ],
)
def source_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with throwaway_cluster(major=request.param) as cluster:
        assert cluster.findings == [], "every version must be installed for the tests"
        yield cluster


@pytest.fixture(scope="module", params=sorted(SCHEMAS))
def trip(
    request: pytest.FixtureRequest,
    source_cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trip]:
    roles, scripts = SCHEMAS[request.param]
    if request.param == "definitions" and source_cluster.major >= 18:
        scripts = [*scripts, "structure_nasty_18.sql"]
    psql(source_cluster, source_cluster.connection(), "-f", f"tests/e2e/{roles}")
    source = make_database(source_cluster, f"The {request.param}", *scripts)
    store = DirectoryStore(tmp_path_factory.mktemp("captured"))
    capture = capture_database(source, CaptureOptions(), store)
    with sandbox_for(store) as cluster:
        target = cluster.connection("restored")
        load = load_database(store, target, LoadOptions(own_server=True))
        yield Trip(source, store, capture, cluster, load)


def loud(proof: ProofReport) -> list[Finding]:
    """What counts against the copy: the sources are unsound here and there, on purpose."""
    return [
        one
        for one in proof.findings
        if one.severity is not Severity.NOTE and one.code != "source-unsound"
    ]


def test_a_restored_database_is_proven(trip: Trip) -> None:
    assert trip.capture.findings == []
    assert [one for one in trip.load.findings if one.severity is not Severity.NOTE] == []
    proof = trip.prove()
    assert loud(proof) == []
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
    assert proof.checked > len(trip.capture.tables)
    assert proof.rows == trip.capture.manifest.rows == trip.load.rows
    assert proof.bytes == trip.capture.bytes


def test_capturing_the_copy_gives_the_same_streams(trip: Trip, tmp_path: Path) -> None:
    """I1 by its letter: what is captured of the copy has the bytes of what was captured."""
    again = DirectoryStore(tmp_path)
    capture_database(trip.restored, CaptureOptions(jobs=1), again)
    for table in trip.capture.tables:
        assert again.read(table.file) == trip.store.read(table.file), table.label
    before, after = (_identity(store) for store in (trip.store, again))
    assert after == before


def _identity(store: DirectoryStore) -> Manifest:
    """The manifest without what belongs to one server and moment."""
    manifest = Manifest.from_json(store.read("manifest.json"))
    return Manifest(
        database=manifest.database.__class__(
            **{name: getattr(manifest.database, name) for name in ("owner", "encoding", "collate")},
            name="",
            locale_provider=manifest.database.locale_provider,
            ctype=manifest.database.ctype,
            settings=tuple(sorted(manifest.database.settings)),
        ),
        snapshot=manifest.snapshot.__class__("", "", manifest.snapshot.captured_at.min),
        versions=manifest.versions,
        session=manifest.session,
        tables=tuple(sorted(manifest.tables, key=lambda one: one.file)),
        sequences=manifest.sequences,
        large_objects=manifest.large_objects,
        matviews=manifest.matviews,
        removals=manifest.removals,
        extensions=manifest.extensions,
    )


def test_the_folder_restores_with_psql_alone(trip: Trip) -> None:
    server = trip.cluster.connection()
    environment = server.environment() | {"SKIP_ROLES": "1"}
    programs = find_programs(trip.cluster.major).directory
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "restore.sh", 'by "hand"'],
        cwd=trip.store.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"done: {len(trip.capture.tables)} tables" in done.stderr
    proof = trip.prove(trip.cluster.connection('by "hand"'))
    assert loud(proof) == []


def test_without_a_reference_rewritten_text_is_unknown_and_not_proven(trip: Trip) -> None:
    proof = trip.prove(told=False)
    assert judge(proof.findings, checked=proof.checked) is Verdict.UNKNOWN


def test_the_manifest_and_the_tree_hold_what_they_promise(trip: Trip) -> None:
    manifest = Manifest.from_json(trip.store.read("manifest.json"))
    assert manifest == trip.capture.manifest
    expected = {table.file for table in manifest.tables} | {
        "manifest.json", "inventory.json", "answers.json", "roles.sql", "database.sql",
        "schema.dump", "pre-data.sql", "post-data.sql", "sequences.sql", "restore.sh",
    }  # fmt: skip
    if manifest.large_objects.count:
        expected.add("large-objects.sql")
    found = {str(one.relative_to(trip.store.root)) for one in trip.store.root.rglob("*")}
    assert {name for name in found if name != "data"} == expected
    for table in manifest.tables:
        data = trip.store.read(table.file)
        assert (len(data), data.count(b"\n")) == (table.bytes, table.rows), table.label


def test_no_password_is_captured(trip: Trip) -> None:
    for path in trip.store.root.rglob("*"):
        if path.is_file() and path.name not in {"schema.dump", "pre-data.sql"}:
            text = path.read_bytes()
            assert b"never captured" not in text
            assert b"SCRAM-SHA" not in text
