"""What fails ends in the right status with code and hint; nothing is lost, nothing looks fine.

Issue 2, section 6.6, by way of the command line as a process of its own, for a database, files
and code together. `test_cli_fault` asks more about files alone, `test_cancel` about signals.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.repository import BlobType, Repository, SnapshotView, open_storage
from tests.e2e.command_line import PASSWORD
from tests.support.failure_ground import (
    ROLES,
    SCHEMA,
    Site,
    copy_of,
    execute,
    make_site,
    small_disk,
    temporary_directory,
    url_of,
)

pytestmark = pytest.mark.xdist_group("failures")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE tms")
        execute(cluster, "tms", SCHEMA + ROLES)
        access = cluster.directory / "data" / "pg_hba.conf"
        access.write_text(f"local all locked scram-sha-256\n{access.read_text()}")
        execute(cluster, "postgres", "SELECT pg_reload_conf()")
        os.environ["TMS_URL"] = url_of(cluster, "tms")
        yield cluster
        del os.environ["TMS_URL"]


@pytest.fixture(scope="module")
def pattern(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with one recovery point, to copy from."""
    site = make_site(tmp_path_factory.mktemp("failures") / "tms", url_of(server, "tms"))
    assert site.json("backup")["findings"] == []
    return site


@pytest.fixture
def site(pattern: Site, tmp_path: Path) -> Site:
    return copy_of(pattern, tmp_path / "tms")


def _exists(server: Cluster, database: str) -> bool:
    names = execute(server, "postgres", "SELECT datname FROM pg_database")
    return (database,) in names


# Words


def test_people_get_what_failed_why_and_one_hint(site: Site) -> None:
    """At most three lines, the last of which says what to do; nothing on standard output."""
    (site.path / "key").write_text("not this\n")
    cases = [
        site.child("backup"),
        site.child("restore", "uploads", "--to", site.uploads),
        site.child("backup", "nothing"),
        site.child("--config", "/nowhere.yaml", "backup"),
    ]
    for answer in cases:
        lines = click.unstyle(answer.err).splitlines()
        assert answer.out == b""
        assert len(lines) <= 3, lines
        assert lines[0].startswith("Error: ")
        assert lines[-1].startswith("Hint: ")
        assert lines[-1][-1] in ".`"


# The repository


def test_a_wrong_password(site: Site) -> None:
    before = site.ids()
    right = (site.path / "key").read_text()
    (site.path / "key").write_text("not this\n")
    for command in (["backup"], ["drill"], ["check"], ["snapshots"], ["init"],
                    ["restore", "code", "--to", site.path / "back"]):  # fmt: skip
        message = site.fails(24, "wrong-password", *command)
        assert "not this" not in message
    assert not (site.path / "back").exists()
    (site.path / "key").write_text(right)
    assert site.ids() == before
    site.expect_whole()


def test_no_repository_is_made_in_passing(site: Site) -> None:
    site.store.rename(site.path / "unmounted")
    assert "strongroom init" in site.fails(21, "store-missing", "backup")
    assert not site.store.exists()


def _restores(site: Site, server: Cluster) -> dict[str, int]:
    """How a restore of each source ends."""
    targets = {
        "database": url_of(server, "broken"),
        "uploads": str(site.path / "back"),
        "code": str(site.path / "code-back"),
    }
    ends = {}
    for source, target in targets.items():
        answer = site.child("--json", "restore", source, "--to", target)
        ends[source] = answer.status
        if answer.status:
            assert answer.document["error"]["hint"]
    return ends


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
def test_damaged_packs_are_found_by_everybody(how: str, site: Site, server: Cluster) -> None:
    for pack in site.packs():
        content = pack.read_bytes()
        pack.chmod(0o600)
        if how == "truncated":
            os.truncate(pack, len(content) // 2)
        elif how == "flipped":
            middle = len(content) // 2
            pack.write_bytes(
                content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            )
        else:
            pack.unlink()
    check = site.child("--json", "check", "--read-data")
    assert check.status == 30
    wanted = {"truncated": "pack-size", "flipped": "pack-content", "missing": "pack-missing"}
    assert wanted[how] in {one["code"] for one in check.document["findings"]}
    if how != "flipped":
        assert site.child("--json", "check").status == 30
    drill = site.child("--json", "drill")
    assert drill.status == 41, drill.text
    verdicts = {one["source"]: one["verdict"] for one in drill.document["drills"]}
    # A bit in the middle hits one blob of each pack: not everything need be lost.
    assert "FAILED" in verdicts.values()
    assert "UNKNOWN" not in verdicts.values()
    if how == "flipped":
        return
    assert set(verdicts.values()) == {"FAILED"}
    for source, status in _restores(site, server).items():
        assert 30 <= status <= 36, (source, status)
    # What could not be brought back does not stand there as if it could.
    assert not _exists(server, "broken")
    assert not (site.path / "code-back").exists() or not any((site.path / "code-back").iterdir())
    assert {one["verdict"] for one in site.snapshots()} == {"FAILED"}


def test_a_flipped_bit_is_never_restored(site: Site, server: Cluster, tmp_path: Path) -> None:
    """Each pack's damage is met by a restore of what it holds."""
    met = 0
    for number, pack in enumerate(site.packs()):
        content = pack.read_bytes()
        pack.chmod(0o600)
        pack.write_bytes(bytes([content[0] ^ 0x80]) + content[1:])  # its first blob
        target = tmp_path / f"uploads-{number}"
        answer = site.child("--json", "restore", "uploads", "--to", target)
        assert answer.status in (0, 31, 34)
        met += answer.status != 0
        for file in target.rglob("*") if answer.status else ():
            same = site.uploads / file.relative_to(target)
            assert not file.is_file() or file.read_bytes() == same.read_bytes()
        pack.write_bytes(content)
    assert met >= 1
    site.expect_whole()
    assert _restores(site, server) == {"database": 0, "uploads": 0, "code": 0}
    execute(server, "postgres", "DROP DATABASE broken")


def test_a_missing_index_is_told_and_stops_no_restore(site: Site, server: Cluster) -> None:
    for file in (site.store / "index").iterdir():
        file.unlink()
    check = site.child("--json", "check")
    assert check.status == 30
    assert _restores(site, server) == {"database": 0, "uploads": 0, "code": 0}
    execute(server, "postgres", "DROP DATABASE broken")
    report = site.json("backup")
    assert len(report["snapshots"]) == 3
    assert site.json("drill")["verdict"] == "PROVEN"


def test_a_lost_key_file(site: Site) -> None:
    for file in (site.store / "keys").iterdir():
        file.rename(site.path / "the key")
    assert "copy of the repository" in site.fails(33, "key-damaged", "backup")


def test_rows_that_are_damaged_leave_no_half_database(site: Site, server: Cluster) -> None:
    """The manifest and the schema are whole, so that the load begins."""
    opened = Repository.open(open_storage(str(site.store)), PASSWORD, name="local")
    view = SnapshotView(opened, opened.find("latest", source="database"))
    [blob] = view.node(b"/database/data/public.trainees.copy").content
    place = opened.locate(BlobType.DATA, blob)
    [pack] = (site.store / "data").rglob(place.pack)
    content = bytearray(pack.read_bytes())
    content[place.entry.offset + 40] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    target = url_of(server, "half")
    message = site.fails(31, "pack-damaged", "restore", "database", "--to", target)
    assert blob.hex()[:12] in message
    assert not _exists(server, "half")
    drill = site.child("--json", "drill", "database")
    assert drill.status == 41
    assert [one["code"] for one in drill.document["findings"]] == ["restore-failed"]
    # An empty database of the operator's is not ours to drop.
    execute(server, "postgres", "CREATE DATABASE half")
    site.fails(31, "pack-damaged", "restore", "database", "--to", target)
    assert _exists(server, "half")
    execute(server, "postgres", "DROP DATABASE half")


# The store's disk


def test_a_full_store(tmp_path: Path, server: Cluster) -> None:
    with small_disk(tmp_path / "tms" / "store", "1m") as remount:
        site = make_site(tmp_path / "tms", url_of(server, "tms"))
        site.json("backup", "code")
        before = site.ids()
        (site.uploads / "lpos" / "LPO-9.pdf").write_bytes(os.urandom(3 << 20))
        for _ in range(2):
            message = site.fails(22, "store-full", "backup", "uploads")
            assert "Free space" in message
            assert site.ids() == before
        assert list((site.store / "locks").iterdir()) == []
        assert not any("-tmp-" in one.name for one in site.store.rglob("*"))
        assert site.child("--json", "check", "--read-data").status == 0
        assert site.json("drill", "code")["verdict"] == "PROVEN"
        remount("size=64m")
        report = site.json("backup")
        assert [one["source"] for one in report["snapshots"]] == ["database", "uploads", "code"]
        site.expect_whole()


def test_a_store_that_can_only_be_read(tmp_path: Path, server: Cluster) -> None:
    """No backup, but every restore: such as from a copy on a write-protected disk."""
    with small_disk(tmp_path / "tms" / "store", "64m") as remount:
        site = make_site(tmp_path / "tms", url_of(server, "tms"))
        site.json("backup")
        remount("ro")
        try:
            site.fails(23, "store-refused", "backup")
            assert len(site.ids()) == 3
            assert site.child("--json", "check", "--read-data").status == 0
            assert site.child("--json", "drill").status == 0
            assert _restores(site, server) == {"database": 0, "uploads": 0, "code": 0}
        finally:
            remount("rw")
    execute(server, "postgres", "DROP DATABASE broken")


# The target


def test_a_full_target(site: Site, tmp_path: Path) -> None:
    words = ("restore", "uploads", "--to", tmp_path / "disk" / "back")
    with small_disk(tmp_path / "disk", "64k"):
        message = site.fails(5, "target-space", *words)
        assert "not enough room" in message
        assert "Free space" in message
        assert not list((tmp_path / "disk").iterdir())
        message = site.fails(5, "target-refused", *words, "--ignore-space")
        assert "No space left" in message
        assert "Free space" in message
        left = [one for one in (tmp_path / "disk").rglob("*") if one.is_file()]
        for file in left:
            same = site.uploads / file.relative_to(tmp_path / "disk" / "back")
            assert file.read_bytes() == same.read_bytes()
    assert site.child(*words).status == 0


@pytest.mark.parametrize("command", [
    ["restore", "uploads", "--to", "DISK/back"],
    ["restore", "code", "--to", "DISK/back"],
    ["export", "latest:uploads", "--format", "tar", "--output", "DISK/uploads.tar"],
    ["export", "latest:database", "--format", "sql", "--output", "DISK/tms.sql"],
    ["export", "latest:code", "--format", "git", "--output", "DISK/tms.bundle"],
    ["dump", "latest:database", "/database/manifest.json", "--output", "DISK/manifest.json"],
], ids=lambda command: " ".join(command[:2]) if isinstance(command, list) else None)  # fmt: skip
def test_a_target_that_can_only_be_read(command: list[str], site: Site, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as remount:
        remount("ro")
        told = [one.replace("DISK", str(tmp_path / "disk")) for one in command]
        message = site.fails(5, "target-refused", *told)
        assert "Read-only file system" in message
        assert list((tmp_path / "disk").iterdir()) == []


def test_a_full_disk_under_an_export_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k"):
        output = tmp_path / "disk" / "uploads.tar"
        site.fails(
            5, "target-refused", "export", "latest:uploads", "--format", "tar", "--output", output
        )
        assert list((tmp_path / "disk").iterdir()) == []


def test_a_target_that_holds_something(site: Site, server: Cluster, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious").write_text("mine")
    for source in ("uploads", "code"):
        site.fails(5, "target-not-empty", "restore", source, "--to", tmp_path / "used")
    assert [one.name for one in (tmp_path / "used").iterdir()] == ["precious"]
    rows = execute(server, "tms", "SELECT count(*) FROM trainees")
    message = site.fails(
        5, "target-not-empty", "restore", "database", "--to", url_of(server, "tms")
    )
    assert "does not exist yet" in message
    assert execute(server, "tms", "SELECT count(*) FROM trainees") == rows


def test_a_role_that_may_not_create_a_database(site: Site, server: Cluster) -> None:
    message = site.fails(
        5, "target-refused", "restore", "database", "--to", url_of(server, "new", "reader")
    )
    assert "CREATEDB" in message
    assert not _exists(server, "new")


@pytest.mark.parametrize(
    ("size", "code", "says"),
    [
        ("16m", "sandbox-space", "MiB are needed"),
        ("60m", "drill-stopped", "bulky.*(No space left on device|wrote only)"),
    ],
)
def test_a_sandbox_without_room_proves_nothing_and_blames_nothing(
    size: str, code: str, says: str, tmp_path: Path, server: Cluster
) -> None:
    """UNKNOWN, for the snapshot may be fine: with room it is proven."""
    if not _exists(server, "bulky"):
        execute(server, "postgres", "CREATE DATABASE bulky")
        rows = "SELECT repeat(md5(n::text), 2) || md5((-n)::text) FROM generate_series(1, 250000) n"
        execute(server, "bulky", f"CREATE TABLE bulky AS {rows}")
    url = url_of(server, "bulky")
    site = make_site(tmp_path / "tms", url)
    with temporary_directory() as place, small_disk(place / "state", size):
        (place / "state").chmod(0o711)
        text = site.config.read_text().replace("state: state", f"state: {place}/state")
        site.write_config(text)
        assert site.child("backup", "database", TMS_URL=url).status == 0
        drill = site.child("--json", "drill", "database")
        assert drill.status == 42, drill.text
        [found] = drill.document["findings"]
        assert found["code"] == code
        assert re.search(says, found["message"])
        assert list((place / "state" / "sandbox").iterdir()) == []
    if size != "16m":
        site.write_config(text.replace(f"state: {place}/state", "state: state"))
        assert site.child("drill", "database").status == 0


# The database


def _no_database_snapshot(site: Site) -> None:
    """The failed capture left no snapshot; the one from before restores."""
    kinds = [one["source"] for one in site.snapshots()]
    assert kinds.count("database") == 1
    site.expect_whole()


def test_an_unreachable_database(site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://postgres@127.0.0.1:{port}/tms"
    message = site.fails(11, "database-unreachable", "backup", "database", TMS_URL=url)
    assert message.startswith(f"tms at 127.0.0.1:{port} as postgres: connection to server at ")
    # The other sources are captured all the same, and the status says that one is missing.
    answer = site.child("--json", "backup", TMS_URL=url)
    assert answer.status == 3
    assert [one["source"] for one in answer.document["snapshots"]] == ["uploads", "code"]
    site.fails(11, "database-unreachable", "restore", "database", "--to", url)
    site.fails(11, "database-unreachable", "prove", "database", "--target", url)
    _no_database_snapshot(site)


def test_a_missing_database(site: Site, server: Cluster) -> None:
    url = url_of(server, "no_such")
    site.fails(11, "database-missing", "backup", "database", TMS_URL=url)
    site.fails(11, "database-missing", "prove", "database", "--target", url)


def test_a_refused_login_is_tried_once(site: Site, server: Cluster) -> None:
    log = server.directory / "log"
    refused = "password authentication failed"
    for command in (["backup", "database"], ["doctor"]):
        before = log.read_text().count(refused)
        url = url_of(server, "tms", "locked:hunter2")
        answer = site.child("--json", *command, TMS_URL=url)
        assert answer.status == 12, answer.text
        assert log.read_text().count(refused) == before + 1
        assert "hunter2" not in answer.text + answer.err
    site.fails(12, "database-login", "backup", "database", TMS_URL=url)
    right = url_of(server, "tms", "locked:the%20right%20one")
    assert site.child("backup", "database", TMS_URL=right).status == 0


def test_tables_that_the_role_may_not_read(site: Site, server: Cluster) -> None:
    url = url_of(server, "tms", "reader")
    message = site.fails(13, "database-privilege", "backup", "database", TMS_URL=url)
    assert "public.secrets" in message
    assert "GRANT pg_read_all_data" in message
    _no_database_snapshot(site)


def test_rows_that_row_security_would_hide(site: Site, server: Cluster) -> None:
    url = url_of(server, "tms", "all_reader")
    message = site.fails(13, "database-privilege", "backup", "database", TMS_URL=url)
    assert "public.invoices" in message
    assert "BYPASSRLS" in message
    _no_database_snapshot(site)
    url = url_of(server, "tms", "whole_reader")
    assert site.child("backup", "database", TMS_URL=url).status == 0
    assert site.json("drill", "database")["verdict"] == "PROVEN"


def test_missing_client_programs(site: Site) -> None:
    text = site.config.read_text().replace("env:TMS_URL}", "env:TMS_URL, programs: nowhere}")
    site.write_config(text)
    message = site.fails(14, "client-programs", "backup", "database")
    assert "psql" in message
    doctor = site.child("--json", "doctor")
    assert doctor.status == 14
    _no_database_snapshot(site)


# Names and places


def test_unknown_names(site: Site) -> None:
    assert "Choose from" in site.fails(2, "usage", "backup", "databse")
    site.fails(2, "usage", "drill", "nothing")
    site.fails(2, "usage", "restore", "nothing", "--to", site.path / "x")
    site.fails(2, "usage", "prove", "nothing", "--target", site.path)
    site.fails(26, "snapshot-missing", "drill", "--snapshot", "abcdef123456")
    site.fails(26, "snapshot-missing", "export", "ffff", "-f", "tar", "-o", site.path / "x")
    site.fails(2, "config-missing", "--config", site.path / "none.yaml", "backup")
    assert not (site.path / "x").exists()


def test_sources_that_are_gone(site: Site) -> None:
    site.uploads.rename(site.path / "elsewhere")
    site.fails(15, "path-unreadable", "backup", "uploads")
    (site.path / "app" / ".git").rename(site.path / "git")
    site.fails(16, "code-unreadable", "backup", "code")
    answer = site.child("--json", "backup")
    assert answer.status == 3
    assert [one["source"] for one in answer.document["snapshots"]] == ["database"]
    assert {one["code"] for one in answer.document["errors"]} == {
        "path-unreadable",
        "code-unreadable",
    }
    # What there is comes back, and the newest recovery point does not hold it all.
    drill = site.child("--json", "drill")
    assert drill.status == 42
    assert {one["verdict"] for one in drill.document["drills"]} == {"PROVEN"}
    told = [one["code"] for one in drill.document["findings"]]
    assert told == ["point-incomplete", "point-incomplete"]
    doctor = site.child("--json", "doctor")
    assert doctor.status == 15
