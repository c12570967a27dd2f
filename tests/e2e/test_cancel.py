"""Ctrl-C, SIGTERM, kill -9 and company: nothing half-done is visible, nothing is left running.

Each command is a process of its own, interrupted where it really works: while rows stream, while
files are written, while a sandbox's server runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Answer
from tests.support.code_ground import git, write
from tests.support.demo_ground import end_child, error_of, start_child
from tests.support.failure_ground import (
    SCHEMA,
    SLOW_TABLE,
    Site,
    execute,
    make_site,
    processes,
    temporary_directory,
    url_of,
    wait_until,
)

pytestmark = pytest.mark.xdist_group("cancel")

COPYING = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^COPY' AND datname = '{}'"
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE tms")
        execute(cluster, "tms", SCHEMA + SLOW_TABLE.format(megabytes=150))
        os.environ["TMS_URL"] = url_of(cluster, "tms")
        yield cluster
        del os.environ["TMS_URL"]


@pytest.fixture(scope="module")
def site(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Sources that take a second or two each, with one recovery point of all.

    Its tests add snapshots and damage nothing, so they share it.
    """
    made = make_site(tmp_path_factory.mktemp("cancel") / "tms", url_of(server, "tms"))
    with (made.uploads / "lpos" / "large.bin").open("wb") as file:
        file.truncate(300 * MEBIBYTE)  # a hole: large to read, nothing to store
    _grow_code(made, 1)
    made.json("backup")
    return made


def _grow_code(site: Site, number: int) -> None:
    """Two dozen mebibytes that git keeps as they are."""
    git(site.path / "app", "config", "core.compression", "0")
    write(site.path / "app" / "assets" / f"film-{number}.bin", os.urandom(24 * MEBIBYTE))
    git(site.path / "app", "add", "assets")
    git(site.path / "app", "commit", "-q", "-m", f"Film {number}")


class Interrupted:
    """A command in a directory for temporary files of its own, and how it was interrupted."""

    def __init__(self, site: Site, temporary: Path, *arguments: object) -> None:
        self.site = site
        self._temporary = temporary
        variables = {"TMS_URL": site.url, "TMPDIR": str(temporary)}
        self.child = start_child(
            "--config", site.config, "--json", *arguments, environment=variables
        )

    def when(self, ready: Callable[[], object]) -> Interrupted:
        try:
            wait_until(ready, self.child)
        except BaseException:
            self.child.kill()
            self.child.communicate()
            raise
        return self

    def locked(self) -> bool:
        """Whether it holds a lock, as anything that reads or writes a repository does."""
        return any((self.site.store / "locks").iterdir())

    def runs(self, name: str) -> bool:
        """Whether a child of it runs this program."""
        return any(name in line for line in _children(self.child.pid).values())

    def stop(self, number: int) -> Answer:
        self.child.send_signal(number)
        return end_child(self.child)

    def expect_clean(self) -> None:
        """No lock, no temporary file, no process, no sandbox."""
        assert not self.locked()
        assert [one.name for one in self._temporary.iterdir() if not _is_probe(one)] == []
        half = [one for one in self.site.store.rglob("*") if "-tmp-" in one.name]
        assert half == []
        assert _sandboxes(self.site, self.child.pid) == []
        assert processes(str(self._temporary)) == {}
        assert processes(f"strongroom-drill-{self.child.pid}-") == {}


def _is_probe(path: Path) -> bool:
    """Python tries a directory for temporary files with such a file, once; an interrupt may come
    between its making and its removal."""
    return path.is_file() and path.read_bytes() in (b"", b"blat")


def _children(parent: int) -> dict[int, str]:
    """The living descendants of a process, with their command lines."""
    known: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            known[int(entry.name)] = (int(fields[1]), line)
    found: dict[int, str] = {}
    wanted = {parent}
    while wanted:
        wanted = {pid for pid, (above, _) in known.items() if above in wanted} - found.keys()
        found |= {pid: known[pid][1] for pid in wanted}
    return found


def _sandboxes(site: Site, pid: int) -> list[Path]:
    places = (site.path / "state" / "sandbox", Path("/var/tmp"))
    return [one for place in places for one in place.glob(f"strongroom-drill-{pid}-*")]


@pytest.fixture
def temporary() -> Iterator[Path]:
    with temporary_directory() as place:
        yield place


# The command, and when it is in the middle of its work.


def _backup_database(site: Site, temporary: Path, server: Cluster) -> Interrupted:
    run = Interrupted(site, temporary, "backup", "database")
    return run.when(lambda: execute(server, "postgres", COPYING.format("tms"))[0][0])


def _backup_files(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    os.utime(site.uploads / "lpos" / "large.bin")  # else it is not read
    run = Interrupted(site, temporary, "backup", "uploads")
    run.when(run.locked)
    time.sleep(0.1)
    return run


def _backup_code(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    _grow_code(site, time.monotonic_ns())
    run = Interrupted(site, temporary, "backup", "code")
    return run.when(lambda: run.runs("pack-objects") or run.runs("bundle"))


def _restore_database(site: Site, temporary: Path, server: Cluster) -> Interrupted:
    run = Interrupted(site, temporary, "restore", "database", "--to", url_of(server, "back"))
    return run.when(lambda: execute(server, "postgres", COPYING.format("back"))[0][0])


def _restore_files(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    target = site.path / "back"
    run = Interrupted(site, temporary, "restore", "uploads", "--to", target)
    return run.when(target.exists)


def _restore_code(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    target = site.path / "back"
    run = Interrupted(site, temporary, "restore", "code", "--to", target)
    return run.when(lambda: run.runs("index-pack") or run.runs("git"))


def _drill_database(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    run = Interrupted(site, temporary, "drill", "database")
    # The server of its sandbox runs and rows are being loaded.
    return run.when(lambda: run.runs("COPY"))


def _drill_files(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    run = Interrupted(site, temporary, "drill", "uploads")
    return run.when(lambda: _restored_in(site, run.child.pid))


def _drill_code(site: Site, temporary: Path, _: Cluster) -> Interrupted:
    run = Interrupted(site, temporary, "drill", "code")
    return run.when(lambda: run.runs("index-pack") or run.runs("git"))


def _restored_in(site: Site, pid: int) -> bool:
    return any(
        (one / "restored").exists() for two in _sandboxes(site, pid) for one in two.iterdir()
    )


BEGIN: dict[str, Callable[[Site, Path, Cluster], Interrupted]] = {
    "backup database": _backup_database,
    "backup files": _backup_files,
    "backup code": _backup_code,
    "restore database": _restore_database,
    "restore files": _restore_files,
    "restore code": _restore_code,
    "drill database": _drill_database,
    "drill files": _drill_files,
    "drill code": _drill_code,
}
CASES = [(name, signal.SIGINT) for name in BEGIN] + [
    ("backup database", signal.SIGTERM),
    ("restore code", signal.SIGTERM),
    ("drill database", signal.SIGTERM),
]


@pytest.mark.parametrize(("name", "number"), CASES, ids=lambda one: str(getattr(one, "name", one)))
def test_a_cancelled_command_leaves_nothing_half_done(
    name: str, number: signal.Signals, site: Site, server: Cluster, temporary: Path
) -> None:
    before = site.ids()
    run = BEGIN[name](site, temporary, server)
    answer = run.stop(number)
    error_of(answer, 130, "interrupted")
    assert "Traceback" not in answer.err
    run.expect_clean()
    assert site.ids() == before
    databases = {row[0] for row in execute(server, "postgres", "SELECT datname FROM pg_database")}
    assert "back" not in databases
    left = [one for one in (site.path / "back").rglob("*") if one.is_file()]
    for file in left:  # files are only ever seen whole
        assert (
            file.stat().st_size
            == (site.uploads / file.relative_to(site.path / "back")).stat().st_size
        )
    if name.endswith("code"):
        assert not left
    subprocess.run(["rm", "-rf", str(site.path / "back")], check=True)


# Worse than a signal


SESSIONS = {
    "that copies": "query ~ '^COPY'",
    "that leads and is needed again": "application_name = 'strongroom' AND query !~ '^COPY'"
    " AND state = 'idle in transaction'",
}


@pytest.mark.parametrize("which", SESSIONS)
def test_a_killed_session_commits_nothing(
    which: str, site: Site, server: Cluster, temporary: Path
) -> None:
    before = site.ids()
    run = _backup_database(site, temporary, server)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tms' AND "
    run.when(lambda: execute(server, "postgres", end + SESSIONS[which]))
    error = error_of(end_child(run.child), 19, "capture-aborted")
    # Which of these libpq sees first depends on what it was doing.
    lost = "terminating connection|connection to server was lost|server closed the connection"
    assert re.search(lost, error["message"])
    run.expect_clean()
    assert site.ids() == before


@pytest.mark.parametrize("also", ["", "its watchdog too"])
def test_what_a_killed_drill_leaves_is_removed_on_request(
    also: str, site: Site, server: Cluster, temporary: Path
) -> None:
    run = _drill_database(site, temporary, server)
    [sandbox] = _sandboxes(site, run.child.pid)
    if also:
        for pid, line in _children(run.child.pid).items():
            if "strongroom-watchdog" in line:
                os.kill(pid, signal.SIGKILL)
    run.child.kill()
    run.child.communicate()
    if not also:  # the watchdog stops the server and takes its directory away
        wait_until(lambda: not processes(str(sandbox)))
    assert sandbox.exists()
    assert bool(processes(str(sandbox))) is bool(also)
    if also:
        seen = {one["name"]: one for one in site.run("--json", "doctor").document["checks"]}
        assert seen["leftovers"]["state"] == "warning"
        assert "doctor --clean" in seen["leftovers"]["remedy"]
        assert sandbox.exists(), "the doctor only looks"
    cleaned = site.run("--json", "doctor", "--clean").document
    assert any(str(sandbox) in one for one in cleaned["removed"]), cleaned["removed"]
    wait_until(lambda: not processes(str(sandbox)))
    assert not sandbox.exists()
    seen = {one["name"]: one["state"] for one in cleaned["checks"]}
    assert seen["leftovers"] == "fine"
    # The lock of the dead is no obstacle, and its removal is told.
    report = site.json("backup", "uploads")
    assert {one["code"] for one in report["findings"]} <= {"lock-removed"}
    assert list((site.store / "locks").iterdir()) == []


def test_after_all_that_two_backups_at_once_are_fine(
    site: Site, server: Cluster, temporary: Path
) -> None:
    """The last one; what made the others slow is made small first."""
    os.truncate(site.uploads / "lpos" / "large.bin", MEBIBYTE)
    execute(server, "tms", "DELETE FROM slow WHERE id > 5")
    before = len(site.ids())
    both = [Interrupted(site, temporary, "backup") for _ in range(2)]
    answers = [end_child(one.child) for one in both]
    # Two sources are less than half of what they were: a run that says so ends with 3. One that
    # began when the other had ended may count what that saw as usual.
    told = [{found["code"] for found in one.document["findings"]} for one in answers]
    assert all(codes <= {"source-shrunk"} for codes in told), told
    assert [one.status for one in answers] == [3 if codes else 0 for codes in told]
    assert any(told)
    points = {one.document["recovery_point"] for one in answers}
    assert len(points) == 2
    assert len(site.ids()) == before + 6
    both[0].expect_clean()
    site.expect_whole()
    assert site.json("drill")["verdict"] == "PROVEN"
    # Nothing that was cancelled counts against a snapshot.
    assert all(one["verdict"] != "FAILED" for one in site.snapshots())
