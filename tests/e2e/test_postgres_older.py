"""Sources of old versions, seen from a host with newer programs, and from one without their server.

What holds for all versions alike is asked in `test_tamper`, `test_structure` and others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.findings import Severity
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.load import LoadOptions, load_database
from strongroom.postgres.proof import ProofOptions, prove_database
from strongroom.postgres.sandbox import reference_in, sandbox_for
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql
from tests.support.demo_ground import DemoGround
from tests.support.older_servers import path_without_older_servers

# The oldest: the way from it to a newer server is the longest.
OLDEST = 13
DEMO = pytest.mark.xdist_group(f"demo-{OLDEST}")

DATABASES = {
    "rows": ("postgres_roles.sql", ["postgres_rows.sql"]),
    "definitions": ("structure_roles.sql", ["structure_nasty.sql", "structure_database.sql"]),
}


# A host without a server of the source's version


@pytest.fixture
def ground(demo_on: Callable[[int], DemoGround], monkeypatch: pytest.MonkeyPatch) -> DemoGround:
    """The application on the oldest version, on a host that has lost all older servers."""
    made = demo_on(OLDEST)
    monkeypatch.setenv("PATH", path_without_older_servers())
    return made


@DEMO
def test_a_drill_in_a_newer_sandbox_compares_everything_and_warns(ground: DemoGround) -> None:
    answer = ground.run("--json", "drill", "database")
    assert answer.status == 0, answer.text
    assert answer.document["verdict"] == "PROVEN"
    found = [one for one in answer.document["findings"] if one["severity"] != "note"]
    assert [(one["code"], one["subject"]) for one in found] == [("sandbox-version", "sandbox")]
    assert found[0]["message"].startswith(f"wanted PostgreSQL {OLDEST}, runs 15.")


@DEMO
def test_doctor_says_what_to_install(ground: DemoGround) -> None:
    answer = ground.run("--json", "doctor")
    (sandbox,) = [
        one for one in answer.document["checks"] if one["name"] == "source database: sandbox"
    ]
    assert sandbox["state"] == "warning"
    assert sandbox["remedy"] == f"Install PostgreSQL {OLDEST} on the host that drills."


@pytest.mark.parametrize(
    ("major", "name"),
    [
        pytest.param(major, name, marks=pytest.mark.xdist_group(f"older-{major}"))
        for major, name in ((13, "rows"), (13, "definitions"), (16, "definitions"))
    ],
)
def test_a_hard_database_comes_back_on_the_newest_version(
    major: int, name: str, tmp_path: Path
) -> None:
    roles, scripts = DATABASES[name]
    store = DirectoryStore(tmp_path)
    with throwaway_cluster(major=major) as cluster:
        assert cluster.major == major, cluster.programs.describe()
        psql(cluster, cluster.connection(), "-f", f"tests/e2e/{roles}")
        source = make_database(cluster, name, *scripts)
        capture_database(source, CaptureOptions(), store)
    with sandbox_for(store, major=18) as sandbox:
        target = sandbox.connection("restored")
        load = load_database(store, target, LoadOptions(own_server=True))
        reference = reference_in(sandbox, store)
        options = ProofOptions(
            reference=reference, lacking=load.lacking, elsewhere=("foreign table *",)
        )
        proof = prove_database(store, target, options)
    assert [one for one in load.findings if one.severity is not Severity.NOTE] == []
    found = [one for one in proof.findings if one.severity is not Severity.NOTE]
    found = [one for one in found if one.code != "source-unsound"]
    # Newer versions of an extension: what they consist of was not compared.
    assert {(one.code, one.subject.split()[0]) for one in found} == (
        {("structure-unchecked", "extension")} if name == "definitions" else set()
    )


# The oldest server's own ways


@pytest.fixture(scope="module")
def oldest() -> Iterator[Cluster]:
    with throwaway_cluster(major=OLDEST) as cluster:
        assert cluster.major == OLDEST, cluster.programs.describe()
        yield cluster


@pytest.mark.xdist_group(f"older-{OLDEST}")
def test_an_ordinary_role_captures(oldest: Cluster, tmp_path: Path) -> None:
    """There `pg_read_all_data` is not yet, and some columns of catalogues are for superusers."""
    psql(oldest, oldest.connection(), "-c", "CREATE ROLE reader LOGIN")
    tms = make_database(oldest, "tms")
    made = "CREATE TABLE trainees AS SELECT n AS id FROM generate_series(1, 9) n"
    psql(oldest, tms, "-c", made, "-c", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    store = DirectoryStore(tmp_path)
    own = oldest.connection("tms", user="reader")
    captured = capture_database(own, CaptureOptions(), store)
    assert captured.findings == []
    assert captured.manifest.rows == 9


@pytest.mark.xdist_group(f"older-{OLDEST}")
@pytest.mark.parametrize("closed", [True, False])
def test_the_schema_public_is_as_open_as_it_was(
    oldest: Cluster, tmp_path: Path, closed: bool
) -> None:
    """A new database of this version lets everybody create there, and newer programs forget it."""
    name = "closed" if closed else "open"
    source = make_database(oldest, name)
    if closed:
        psql(oldest, source, "-c", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    store = DirectoryStore(tmp_path)
    capture_database(source, CaptureOptions(), store)
    again = oldest.connection(f"{name}_again")
    load_database(store, again, LoadOptions(own_server=True))
    granted = "SELECT nspacl FROM pg_namespace WHERE nspname = 'public'"
    before, after = (psql(oldest, one, "-c", granted) for one in (source, again))
    assert set(after.strip("{}").split(",")) == set(before.strip("{}").split(","))
    proof = prove_database(store, again)
    assert [one for one in proof.findings if one.severity is not Severity.NOTE] == []
