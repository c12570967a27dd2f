"""Clusters of our own: private, forced to their settings, gone in every case."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import SourceError
from strongroom.postgres.cluster import (
    ClusterOptions,
    remove_leftovers,
    start_cluster,
    throwaway_cluster,
)
from strongroom.postgres.programs import find_programs

MAJORS = (13, 14, 15, 16, 17, 18)


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def running_in(directory: Path) -> list[int]:
    """Processes that mention the directory in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(directory).encode() in word for word in words):
            found.append(int(entry.parent.name))
    return [process for process in found if process != os.getpid()]


@pytest.mark.parametrize("major", MAJORS)
def test_a_throwaway_cluster_is_private_and_leaves_nothing(major: int) -> None:
    with throwaway_cluster(major=major) as cluster:
        assert cluster.major == major
        assert cluster.findings == []
        assert cluster.directory.stat().st_mode & 0o777 == 0o700
        owner = cluster.directory.stat().st_uid
        assert (cluster.directory / "data").stat().st_uid == owner
        assert owner != 0, "PostgreSQL refuses to run as root"
        with cluster.connection().connect() as session:
            settings: dict[str, str] = dict(
                session.execute(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)",
                    [["listen_addresses", "fsync", "archive_mode", "wal_level", "archive_command",
                      "shared_preload_libraries", "autovacuum"]],
                ).fetchall()
            )  # fmt: skip
        assert settings["listen_addresses"] == ""
        assert (settings["fsync"], settings["autovacuum"]) == ("off", "off")
        assert (settings["archive_mode"], settings["wal_level"]) == ("off", "minimal")
        directory = cluster.directory
        assert running_in(directory)
    assert not directory.exists()
    assert running_in(directory) == []


def test_a_cluster_of_another_version_says_so() -> None:
    with throwaway_cluster(major=12) as cluster:
        assert cluster.major > 12
        assert [one.code for one in cluster.findings] == ["sandbox-version"]
        assert cluster.findings[0].message.startswith("wanted PostgreSQL 12, runs 1")


def test_a_version_that_nobody_has_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        start_cluster(99)
    assert caught.value.code == "client-programs"
    assert "postgresql-99" in caught.value.hint


def test_an_error_within_leaves_nothing() -> None:
    seen: list[Path] = []

    def fail() -> None:
        with throwaway_cluster(major=15) as cluster:
            seen.append(cluster.directory)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    directory = seen[0]
    assert not directory.exists()
    assert running_in(directory) == []


def test_a_setting_that_the_server_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    options = ClusterOptions(settings={"max_connections": "0"})
    with pytest.raises(SourceError) as caught:
        start_cluster(15, options)
    assert caught.value.code == "sandbox-failed"
    assert "max_connections" in caught.value.message


def test_a_deep_directory_gets_a_short_socket() -> None:
    base = Path("/var/tmp") / f"strongroom-test-{os.getpid()}" / ("deep" * 20)
    base.mkdir(parents=True)
    try:
        with throwaway_cluster(major=15, options=ClusterOptions(directory=base)) as cluster:
            assert len(str(cluster.socket_directory)) < 80
            sockets = cluster.socket_directory
            with cluster.connection().connect() as session:
                assert session.execute("SELECT 1").fetchone() == (1,)
        assert not sockets.exists()
        assert list(base.iterdir()) == []
    finally:
        shutil.rmtree(base.parent)


def test_programs_that_the_account_cannot_reach_are_copied() -> None:
    """A virtual environment below /root has mode 0700, and the server does not run as root."""
    original = find_programs(18, purpose="server").directory
    hidden = Path("/var/tmp") / f"strongroom-test-{os.getpid()}"
    package = original.parent.parent
    target = hidden / package.name
    shutil.copytree(package, target, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, hidden / libraries.name)
    hidden.chmod(0o700)
    bindir = target / "pginstall" / "bin"
    try:
        with throwaway_cluster(major=18, options=ClusterOptions(programs=bindir)) as cluster:
            if os.geteuid() == 0:
                assert cluster.programs.directory.is_relative_to(cluster.directory)
            with cluster.connection().connect() as session:
                assert session.execute("SHOW server_version").fetchone() == (
                    cluster.programs.version,
                )
    finally:
        shutil.rmtree(hidden)


CHILD = """
import sys, time
from pathlib import Path
from strongroom.postgres.cluster import ClusterOptions, start_cluster
cluster = start_cluster(15, ClusterOptions(durable=sys.argv[1] == "durable"))
print(cluster.directory, flush=True)
time.sleep(60)
"""


def start_and_kill(kind: str) -> Path:
    """Start a cluster in another process and kill that without mercy."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, kind], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        directory = Path(child.stdout.readline().strip())
        assert running_in(directory)
        child.send_signal(signal.SIGKILL)
        child.wait()
    return directory


def test_a_killed_maker_takes_its_throwaway_cluster_along() -> None:
    directory = start_and_kill("throwaway")
    assert eventually(lambda: not directory.exists())
    assert eventually(lambda: running_in(directory) == [])


def test_a_killed_maker_stops_its_durable_cluster_and_doctor_removes_it() -> None:
    directory = start_and_kill("durable")
    assert eventually(lambda: running_in(directory) == [])
    assert (directory / "data" / "PG_VERSION").exists()
    with throwaway_cluster(major=15) as alive:
        removed = remove_leftovers()
        assert directory in removed
        assert alive.directory not in removed, "a cluster in use is no leftover"
    assert not directory.exists()
