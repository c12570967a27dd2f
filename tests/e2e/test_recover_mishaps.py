"""What a tired operator does wrong while everything is down: what `recover` says then, word by
word, and that nothing is lost by it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, ClusterOptions, throwaway_cluster
from strongroom.repository import BlobType, Repository, SnapshotView
from strongroom.repository.storage import LocalStorage
from strongroom.service.recovery_journal import journal_in
from tests.e2e.command_line import PASSWORD, Answer, Place
from tests.support.application_ground import told
from tests.support.demo_ground import end_child, error_of, start_child
from tests.support.failure_ground import (
    execute,
    small_disk,
    temporary_directory,
    url_of,
    wait_until,
)
from tests.support.older_servers import path_with_older_servers
from tests.support.recovery_ground import (
    RecoveryGround,
    ended,
    free_port,
    make_production,
    recovered,
)

pytestmark = pytest.mark.xdist_group("recover-mishaps")

PEOPLE = """
CREATE TABLE people (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO people SELECT n, 'Person ' || n FROM generate_series(1, 500) n;
CREATE ROLE tms_app LOGIN;
ALTER TABLE people OWNER TO tms_app;
ALTER DATABASE production OWNER TO tms_app;
"""
HOLDINGS = "SELECT count(*) FROM people"


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """Production's database server, on which there is room for a recovered database, too."""
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE production")
        execute(cluster, "production", PEOPLE)
        yield cluster


@pytest.fixture(scope="module")
def production(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Not to be changed."""
    path = tmp_path_factory.mktemp("production") / "tms"
    return make_production(path, url_of(server, "production"))


@pytest.fixture
def ground(production: Place, server: Cluster, tmp_path: Path) -> Iterator[RecoveryGround]:
    """Afterwards production's rows and the repositories must be what they were."""
    before = all_of(production, server)
    made = RecoveryGround(production, tmp_path)
    with ended(made.target):
        yield made
    assert all_of(production, server) == before


@pytest.fixture
def database(server: Cluster) -> Iterator[str]:
    """The URL of a database that is to be."""
    yield url_of(server, "recovered")
    execute(server, "postgres", "DROP DATABASE IF EXISTS recovered WITH (FORCE)")
    assert databases(server) == {"production"}


def databases(server: Cluster) -> set[str]:
    rows = execute(server, "postgres", "SELECT datname::text FROM pg_database")
    return {str(one[0]) for one in rows} - {"postgres", "template0", "template1"}


def refused(answer: Answer, status: int, code: str) -> tuple[str, str]:
    """What it says, and the hint."""
    error = error_of(answer, status, code)
    return error["message"], error["hint"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in sorted(folder.rglob("*"))
        if one.is_file()
    }


def all_of(production: Place, server: Cluster) -> object:
    """What must not be lost."""
    stores = [files_of(production.path / name) for name in ("local", "second")]
    return stores, execute(server, "production", HOLDINGS)


# The wrong point


def test_a_point_that_nobody_knows(ground: RecoveryGround, database: str) -> None:
    answer = ground.machine().run(
        "--json", "recover", "--to", ground.target, "--database", database, "--point", "zz"
    )
    assert refused(answer, 26, "snapshot-missing") == (
        "zz: no recovery point has this id",
        "List them with `strongroom snapshots --points`.",
    )
    assert not ground.target.exists()


def test_the_id_of_a_snapshot_instead(ground: RecoveryGround, database: str) -> None:
    place = ground.machine()
    one = next(one for one in place.snapshots() if one["source"] == "uploads")
    point = place.json("snapshots", "--points")["points"][0]["id"]
    words = ("recover", "--to", ground.target, "--database", database)
    answer = place.run("--json", *words, "--point", one["id"][:10])
    assert refused(answer, 26, "snapshot-missing") == (
        f"{one['id'][:10]}: no recovery point has this id; it is that of a snapshot of uploads, "
        f"which belongs to point {point}",
        "List them with `strongroom snapshots --points`.",
    )
    assert not ground.target.exists()


def test_an_older_point_is_taken_and_it_is_said_what_that_loses(
    ground: RecoveryGround, database: str
) -> None:
    own = ground.own()
    own.json("backup")
    older, newer = (one["id"] for one in own.json("snapshots", "--points")["points"])
    words = ("--database", database, "--point", older)
    document = recovered(ground.machine(), ground.target, *words)
    assert (document["verdict"], document["point"]) == ("PROVEN", older)
    (said,) = told(document, "recovery-older-point")
    assert said.endswith(f"newer than {older}, which was asked for")
    found = next(one for one in document["findings"] if one["code"] == "recovery-older-point")
    assert found["subject"] == f"point {newer}"


def test_going_on_with_another_point(ground: RecoveryGround, database: str) -> None:
    own = ground.own()
    own.json("backup")
    points = [one["id"] for one in own.json("snapshots", "--points")["points"]]
    place = ground.machine("smoke: ['false']")
    words = ("--database", database)
    assert recovered(place, ground.target, *words, "--point", points[0])["verdict"] == "FAILED"
    answer = place.run("--json", "recover", "--to", ground.target, *words, "--point", points[1])
    assert refused(answer, 2, "usage") == (
        f"{ground.target}: the recovery of tms to point {points[0]} was begun here, with another "
        "--point",
        "Go on with the same words, or recover into another directory.",
    )
    # Without one it goes on, whatever is newer by now.
    assert recovered(place, ground.target, *words)["point"] == points[0]


# A full disk


def test_a_disk_without_room(ground: RecoveryGround, tmp_path: Path, database: str) -> None:
    """It is told before the first byte."""
    own = ground.own()
    (own.uploads / "film.bin").write_bytes(os.urandom(4 << 20))
    own.json("backup")
    with small_disk(tmp_path / "small", "2m"):
        target = tmp_path / "small" / "tms"
        answer = ground.machine().run("--json", "recover", "--to", target, "--database", database)
        assert refused(answer, 5, "target-refused") == (
            f"{target}: about 4 MiB are needed, 2 MiB are free",
            "Free space there, or choose another directory.",
        )
        assert list(target.parent.iterdir()) == []


def test_a_database_server_without_room(
    ground: RecoveryGround, server: Cluster, tmp_path: Path
) -> None:
    """It is told before the first byte, so that nobody else on that server is harmed."""
    execute(server, "postgres", "CREATE DATABASE large TEMPLATE production")
    rows = "CREATE TABLE large AS SELECT repeat(md5(n::text), 32768) FROM generate_series(1, {}) n"
    execute(server, "large", rows.format(160))
    try:
        ground.production = make_production(tmp_path / "large", url_of(server, "large"))
    finally:
        execute(server, "postgres", "DROP DATABASE large WITH (FORCE)")
    # Where the server's own user gets through.
    with temporary_directory() as folder, small_disk(folder / "small", "128m"):
        (folder / "small").chmod(0o711)
        options = ClusterOptions(directory=folder / "small")
        with throwaway_cluster(major=15, options=options) as other:
            words = ("--to", ground.target, "--database", url_of(other, "tms"))
            place = ground.machine()
            said, hint = refused(place.run("--json", "recover", *words), 5, "target-space")
            assert "MiB of rows are to be loaded, " in said
            assert "--ignore-space" in hint
            assert databases(other) == set()
            assert not ground.target.exists()
            plan = recovered(place, ground.target, *words[2:], "--dry-run", "--ignore-space")
            assert plan["dry_run"]


def test_a_disk_that_runs_full(
    ground: RecoveryGround, tmp_path: Path, server: Cluster, database: str
) -> None:
    """A sum of sizes knows nothing of blocks: hundreds of small files take more."""
    own = ground.own()
    for number in range(900):
        (own.uploads / f"{number}.txt").write_bytes(b"x" * 10)
    own.json("backup")
    place, target = ground.machine(), tmp_path / "small" / "tms"
    with small_disk(target.parent, "2m") as remount, ended(target):
        words = ("--json", "recover", "--to", target, "--database", database)
        said, hint = refused(place.run(*words), 5, "target-refused")
        assert said.startswith(f"{target}/")
        # Whichever of uploads and code was the first to find none; git has words of its own.
        assert re.search(r": No space left on device|no space is left|Out of diskspace", said)
        assert hint == "Free space there, then run the command again: it goes on."
        assert not (target / "uploads").exists()
        # What the disk had no part in is back already.
        assert execute(server, "recovered", HOLDINGS) == [(500,)]
        assert [one.kind for one in place.ledger.entries()].count("recovery-failed") == 1
        remount("size=64m")
        document = recovered(place, target, "--database", database)
        assert (document["verdict"], document["runs"]) == ("PROVEN", 2), document["findings"]
        assert len(list((target / "uploads").glob("*.txt"))) == 900


# A target that isn't empty


def test_a_directory_that_holds_something(
    ground: RecoveryGround, server: Cluster, database: str
) -> None:
    ground.target.mkdir(parents=True)
    (ground.target / "thesis.odt").write_text("the only copy")
    answer = ground.machine().run(
        "--json", "recover", "--to", ground.target, "--database", database
    )
    assert refused(answer, 5, "target-not-empty") == (
        f"{ground.target}: the directory is not empty",
        "Choose an empty target.",
    )
    assert files_of(ground.target) == {"thesis.odt": b"the only copy"}
    assert databases(server) == {"production"}


def test_the_live_database(ground: RecoveryGround, server: Cluster) -> None:
    url = url_of(server, "production")
    answer = ground.machine().run("--json", "recover", "--to", ground.target, "--database", url)
    said, hint = refused(answer, 5, "target-not-empty")
    assert said == (
        f"production at {server.socket_directory} as postgres: the database is not empty: it "
        "holds relation public.people and 1 more"
    )
    assert hint == "Name a database that does not exist yet; it will be created."
    assert not ground.target.exists()


@pytest.mark.parametrize("kind", ["TYPE mood AS ENUM ('good')", "DOMAIN mood AS text"])
def test_a_database_with_nothing_but_a_type(
    ground: RecoveryGround, server: Cluster, kind: str
) -> None:
    """It would be dropped for the one that is restored."""
    execute(server, "postgres", "CREATE DATABASE recovered")
    execute(server, "recovered", f"CREATE {kind}")
    try:
        answer = ground.machine().run(
            "--json", "recover", "--to", ground.target, "--database", url_of(server, "recovered")
        )
        said, _ = refused(answer, 5, "target-not-empty")
        assert "the database is not empty: it holds type public.mood" in said
        assert execute(server, "recovered", "SELECT to_regtype('mood')::text") == [("mood",)]
    finally:
        execute(server, "postgres", "DROP DATABASE recovered WITH (FORCE)")


def test_what_is_recovered_already(ground: RecoveryGround, database: str) -> None:
    place = ground.machine()
    point = recovered(place, ground.target, "--database", database)["point"]
    answer = place.run("--json", "recover", "--to", ground.target, "--database", database)
    said, hint = refused(answer, 5, "target-not-empty")
    assert said.startswith(
        f"{ground.target}: the recovery of tms to point {point} was completed here at "
    )
    assert hint == ("Recover into another directory; `strongroom prove` compares what is here.")
    assert (ground.target / "uploads/lpos/LPO-1.pdf").exists()


def test_an_empty_database_that_belongs_to_another_role(
    ground: RecoveryGround, server: Cluster
) -> None:
    """What is restored could not take its name in the end."""
    execute(server, "postgres", "CREATE ROLE maker LOGIN CREATEDB")
    execute(server, "postgres", "CREATE DATABASE recovered OWNER tms_app")
    try:
        url = url_of(server, "recovered", "maker")
        answer = ground.machine().run("--json", "recover", "--to", ground.target, "--database", url)
        said, hint = refused(answer, 5, "target-refused")
        assert said.endswith(
            "as maker: it belongs to tms_app, so that what is restored could not take its name"
        )
        assert hint == "Connect as that role, or drop this empty database: it is made anew."
        assert not ground.target.exists()
    finally:
        execute(server, "postgres", "DROP DATABASE recovered WITH (FORCE)")
        execute(server, "postgres", "DROP ROLE maker")


# A typo in a URL


@pytest.mark.parametrize(
    ("url", "status", "code", "said", "hint"),
    [
        (
            "postgrsql://tms@db.example.com/tms", 2, "usage",
            "--database: a database is named by a reference such as env:DATABASE_URL, or by "
            "postgresql://USER@HOST:PORT/DATABASE without a password",
            "Put the URL into a variable or a file, and give env:NAME or file:PATH.",
        ),
        (
            "postgresql://tms@127.0.0.1:FREE", 2, "usage",
            "--database: this names no database; name it: postgresql://USER@HOST:PORT/DATABASE, or "
            "dbname=NAME",
            "Put the URL into a variable or a file, and give env:NAME or file:PATH.",
        ),
        (
            "env:NEW_DATABSE_URL", 2, "secret-unavailable",
            "env:NEW_DATABSE_URL: is not set",
            "Set the environment variable NEW_DATABSE_URL.",
        ),
        (
            "postgresql://tms@127.0.0.1:FREE/tms", 11, "database-unreachable",
            "tms at 127.0.0.1:FREE as tms: connection to server at \"127.0.0.1\", port FREE "
            "failed: Connection refused",
            "Check host, port and that the server is running.",
        ),
    ],
)  # fmt: skip
def test_a_typo_in_the_databases_url(
    ground: RecoveryGround, url: str, status: int, code: str, said: str, hint: str
) -> None:
    port = str(free_port())
    answer = ground.machine().run(
        "--json", "recover", "--to", ground.target, "--database", url.replace("FREE", port)
    )
    assert refused(answer, status, code) == (said.replace("FREE", port), hint)
    assert not ground.target.exists()


def test_the_databases_url_as_directory(ground: RecoveryGround) -> None:
    url = "postgresql://db.example.com/tms"
    answer = ground.machine().run("--json", "recover", "--to", url)
    assert refused(answer, 2, "usage") == (
        "--to: this is a URL, and the application goes into a directory",
        "Name a directory; the database's URL belongs to --database.",
    )


def test_a_typo_in_the_only_repositorys_location(ground: RecoveryGround, database: str) -> None:
    place = ground.machine()
    text = place.config.read_text()
    wrong = text.replace(f"{ground.production.path}/local", f"{ground.production.path}/lcoal")
    place.write_config(wrong.replace(f"{ground.production.path}/second", "/nowhere/at/all"))
    answer = place.run("--json", "recover", "--to", ground.target, "--database", database)
    said, _ = refused(answer, 21, "store-missing")
    assert said == f"{ground.production.path}/lcoal: there is no repository here"
    assert not ground.target.exists()


# Killed half-way


def test_killed_half_way(ground: RecoveryGround, server: Cluster, database: str) -> None:
    """Started again with the same words, it goes on and says so."""
    place = ground.machine("smoke: [[sleep, '20']]")
    words = ("--config", place.config, "recover", "--to", ground.target, "--database", database)
    child = start_child(*words)
    try:
        wait_until((ground.target / ".strongroom/output").exists, child)
        answer = place.run("--json", *words[2:])  # while it runs, nobody else may
        said, hint = refused(answer, 4, "busy")
        assert said == (
            f"{ground.target / '.strongroom'}: another recovery is running (process {child.pid})"
        )
        assert hint == "Use that one, or stop it: it holds recovery.lock."
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    place.write_config(place.config.read_text().replace("[[sleep, '20']]", "['true']"))
    text = place.run("recover", "--to", ground.target, "--database", database).text
    assert "in 2 runs, it may take" in text
    assert "with which it was begun" in text
    assert databases(server) == {"production", "recovered"}
    assert sorted(one.name for one in ground.target.iterdir()) == [
        ".strongroom",
        "code",
        "uploads",
    ]


def test_interrupted_half_way(
    ground: RecoveryGround, server: Cluster, tmp_path: Path, database: str
) -> None:
    """Ctrl-C, or a host that shuts down: nothing half-done is left, and it goes on."""
    execute(server, "postgres", "CREATE DATABASE slow TEMPLATE production")
    slow = (
        "CREATE TABLE slow AS SELECT n, repeat(md5(n::text), 32768) FROM generate_series(1, {}) n"
    )
    execute(server, "slow", slow.format(100))
    try:
        ground.production = make_production(tmp_path / "slow", url_of(server, "slow"))
        place = ground.machine()
        words = ("--config", place.config, "--json", "recover", "--to", ground.target)
        child = start_child(*words, "--database", database)
        copying = "SELECT 1 FROM pg_stat_activity WHERE query ~ '^COPY' AND datname ~ 'recovering'"
        wait_until(lambda: execute(server, "postgres", copying), child)
        begun = time.monotonic()
        child.send_signal(signal.SIGTERM)
        answer = end_child(child)
        assert time.monotonic() - begun < 60
        assert refused(answer, 130, "interrupted") == (
            "the run was cancelled",
            "Run the command again.",
        )
        assert databases(server) == {"production", "slow"}
        assert sorted(one.name for one in ground.target.iterdir())[:1] == [".strongroom"]
        document = recovered(place, ground.target, "--database", database)
        assert (document["verdict"], document["runs"]) == ("PROVEN", 2)
    finally:
        execute(server, "postgres", "DROP DATABASE slow WITH (FORCE)")


@pytest.mark.usefixtures("database")
def test_killed_where_no_database_may_be_made(ground: RecoveryGround, server: Cluster) -> None:
    """Then nothing could be loaded beside it, and nobody knows whose the rows in it are."""
    execute(server, "postgres", "CREATE DATABASE recovered OWNER tms_app")
    try:
        place = ground.machine()
        url = url_of(server, "recovered", "tms_app")
        words = ("--json", "recover", "--to", ground.target, "--database", url)
        child = start_child("--config", place.config, *words)
        try:
            wait_until(lambda: (journal := journal_in(ground.target)) and journal.loading, child)
        finally:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        if not execute(server, "recovered", "SELECT 1 FROM pg_class WHERE relname = 'people'"):
            execute(server, "recovered", "CREATE TABLE half (id integer)")
            execute(server, "recovered", "ALTER TABLE half OWNER TO tms_app")
        said, hint = refused(place.run(*words), 5, "target-not-empty")
        assert said.endswith("; an earlier run has begun to load it and was stopped")
        assert hint == (
            "Drop this database and create it again, empty; then run the command again."
        )
        execute(server, "postgres", "DROP DATABASE recovered WITH (FORCE)")
        execute(server, "postgres", "CREATE DATABASE recovered OWNER tms_app")
        document = recovered(place, ground.target, "--database", url)
        assert document["verdict"] == "PROVEN", document["findings"]
        assert execute(server, "recovered", HOLDINGS) == [(500,)]
    finally:
        execute(server, "postgres", "DROP DATABASE IF EXISTS recovered WITH (FORCE)")


def spoil_rows(store: Path) -> None:
    """The rows of `people` are damaged in this repository, and nothing else is."""
    repository = Repository.open(LocalStorage(store), PASSWORD, name="local")
    snapshot = next(one for one in repository.snapshots().snapshots if one.source == "database")
    node = SnapshotView(repository, snapshot).node(b"/database/data/public.people.copy")
    name, entry = repository.locate(BlobType.DATA, node.content[0])
    pack = next(store.joinpath("data").rglob(name))
    content = bytearray(pack.read_bytes())
    content[entry.offset + entry.length // 2] ^= 0x10
    pack.chmod(0o600)
    pack.write_bytes(content)


@pytest.mark.usefixtures("database")
def test_a_copy_that_fails_where_no_database_may_be_made(
    ground: RecoveryGround, server: Cluster
) -> None:
    """What was loaded of it stays there then: it is said why, and how another copy is taken."""
    spoil_rows(ground.own().path / "local")
    execute(server, "postgres", "CREATE DATABASE recovered OWNER tms_app")
    try:
        place = ground.machine()
        url = url_of(server, "recovered", "tms_app")
        words = ("--json", "recover", "--to", ground.target, "--database", url)
        said, hint = refused(place.run(*words), 5, "target-not-empty")
        assert "; the copy in local failed while it was loaded (database: " in said
        assert hint == (
            "Drop this database and create it again, empty; then run the command again, with "
            "--repository and the name of another one."
        )
        execute(server, "postgres", "DROP DATABASE recovered WITH (FORCE)")
        execute(server, "postgres", "CREATE DATABASE recovered OWNER tms_app")
        more = ("--database", url, "--repository", "second")
        document = recovered(place, ground.target, *more)
        assert document["verdict"] == "PROVEN", document["findings"]
        assert execute(server, "recovered", HOLDINGS) == [(500,)]
    finally:
        execute(server, "postgres", "DROP DATABASE IF EXISTS recovered WITH (FORCE)")


# The first repository does not answer


def test_an_unreachable_first_repository(ground: RecoveryGround, database: str) -> None:
    own = ground.own()
    shutil.rmtree(own.path / "local")
    place = ground.machine()
    answer = place.run(
        "--json", "recover", "--to", ground.target, "--database", database, "--repository", "local"
    )
    said, _ = refused(answer, 21, "store-missing")
    assert said == f"{own.path}/local: there is no repository here"
    assert not ground.target.exists()
    document = recovered(place, ground.target, "--database", database)
    assert document["verdict"] == "PROVEN", document["findings"]
    assert {one["repository"] for one in document["sources"]} == {"second"}
    assert told(document, "repository-unreachable") == [
        f"{own.path}/local: there is no repository here"
    ]


# A server of another version


@pytest.mark.parametrize("major", [17, 18])
def test_a_newer_server(ground: RecoveryGround, major: int) -> None:
    with throwaway_cluster(major=major) as other:
        url, place = url_of(other, "tms"), ground.machine()
        document = recovered(place, ground.target, "--database", url)
        assert document["verdict"] == "PROVEN", document["findings"]
        assert execute(other, "tms", HOLDINGS) == [(500,)]
        assert databases(other) == {"tms"}
        records = [one.fields for one in place.ledger.entries("restore")]
        (versions,) = (one["versions"] for one in records if one["source"] == "database")
        assert versions["postgresql_source"].startswith("15.")
        assert versions["postgresql_target"].startswith(f"{major}.")


def test_an_older_server_that_lacks_something(
    ground: RecoveryGround, server: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lacks is named, what could be had is kept aside, and nobody is sent there."""
    monkeypatch.setenv("PATH", path_with_older_servers())
    execute(server, "postgres", "CREATE DATABASE newer TEMPLATE production")
    execute(server, "newer", "ALTER TABLE people ADD UNIQUE NULLS NOT DISTINCT (name)")
    try:
        ground.production = make_production(tmp_path / "newer", url_of(server, "newer"))
        ground.production.json("backup")
    finally:
        execute(server, "postgres", "DROP DATABASE newer WITH (FORCE)")
    with throwaway_cluster(major=13) as other:
        url = url_of(other, "tms")
        document = recovered(ground.machine(), ground.target, "--database", url)
        assert document["verdict"] == "FAILED"
        subjects = {one["subject"] for one in document["findings"] if one["severity"] == "failure"}
        assert any("people_name_key" in one for one in subjects), subjects
        assert told(document, "application-unchecked") == [
            "it was not started: database is not what was captured; --start-anyway starts it all "
            "the same"
        ]
        (aside,) = databases(other)
        assert document["sources"][0]["target"].startswith(f"{aside} at ")
        assert aside.startswith("tms_recovering_")
        assert execute(other, aside, HOLDINGS) == [(500,)]
        assert (ground.target / "uploads/lpos/LPO-1.pdf").exists()
        place = Place(ground.path / "machine")
        document = recovered(place, ground.target, "--database", url, "--start-anyway")
        assert document["verdict"] == "FAILED"
        assert document["rto_seconds"] is not None  # it answers
        assert databases(other) == {"tms"}
        kinds = [one.kind for one in place.ledger.entries()]
        assert kinds.count("restore") == 3  # nothing was restored again
    # It was that server's fault: for another one the newest point is still the one to take.
    words = ("--database", url_of(server, "tms"), "--dry-run")
    plan = recovered(place, ground.path / "other", *words)
    assert plan["point"] == document["point"]
    assert told(plan, "recovery-older-point") == []
