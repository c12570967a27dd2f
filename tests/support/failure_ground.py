"""Where things go wrong on purpose: a small application on a server, small disks, leftovers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom.postgres.cluster import Cluster
from tests.e2e.command_line import Answer, Place, make_place
from tests.support.code_ground import make_application
from tests.support.demo_ground import AS_ROOT, error_of, run_child
from tests.support.repository_ground import new_repository

CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:TMS_URL}
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app, untracked: [".htaccess", "config/*.php"]}
repositories:
  local: {location: store/local, password: file:key}
state: state
"""

SCHEMA = """
CREATE TABLE trainees (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
INSERT INTO trainees (name) SELECT 'Trainee ' || n FROM generate_series(1, 2000) n;
CREATE TABLE secrets (id integer PRIMARY KEY, note text);
CREATE TABLE invoices (id integer PRIMARY KEY, owner text, amount numeric(12, 2));
INSERT INTO invoices SELECT n, 'anon', n * 1.05 FROM generate_series(1, 500) n;
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON invoices USING (owner = current_user);
"""
ROLES = """
CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'the right one';
CREATE ROLE reader LOGIN;
GRANT SELECT ON trainees, invoices TO reader;
CREATE ROLE all_reader LOGIN;
GRANT pg_read_all_data TO all_reader;
CREATE ROLE whole_reader LOGIN BYPASSRLS;
GRANT pg_read_all_data TO whole_reader;
"""
# A megabyte in each row that takes hardly any room on disk: slow to copy, quick to make.
SLOW_TABLE = """
CREATE TABLE slow (id integer PRIMARY KEY, body text);
INSERT INTO slow SELECT n, repeat(md5(n::text), 32768) FROM generate_series(1, {megabytes}) n;
"""


def url_of(cluster: Cluster, database: str, user: str = "postgres") -> str:
    return f"postgresql://{user}@/{database}?host={cluster.socket_directory}&sslmode=disable"


def execute(cluster: Cluster, database: str, statements: str) -> list[tuple[Any, ...]]:
    """Run statements as the superuser; the rows of the last one."""
    with cluster.connection(database).connect() as session:
        cursor = session.execute(statements.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Site(Place):
    """A place whose failing commands run as processes of their own, with the database's URL.

    Where a command is only asked what is there, it runs in this process; $TMS_URL is then set by
    the fixture that made the server.
    """

    url: str = ""

    @property
    def store(self) -> Path:
        return self.path / "store" / "local"

    def child(self, *arguments: object, **environment: str) -> Answer:
        variables = {"TMS_URL": self.url} | environment
        return run_child("--config", self.config, *arguments, environment=variables)

    def fails(self, status: int, code: str, *arguments: object, **environment: str) -> str:
        """A command that must fail so, in JSON and for people; its message."""
        error = error_of(self.child("--json", *arguments, **environment), status, code)
        assert "Traceback" not in error["message"]
        return f"{error['message']} {error['hint']}"

    def ids(self) -> list[str]:
        return sorted(one["id"] for one in self.snapshots())

    def packs(self) -> list[Path]:
        return sorted(path for path in (self.store / "data").rglob("*") if path.is_file())

    def expect_whole(self) -> None:
        """Our check and stock restic's have nothing to complain about, and no lock stands."""
        findings = self.json("check", "--read-data")["findings"]
        assert {one["severity"] for one in findings} <= {"note"}, findings
        assert list((self.store / "locks").iterdir()) == []
        arguments = ["restic", "-r", str(self.store), "--password-file", str(self.path / "key")]
        subprocess.run([*arguments, "--no-cache", "check"], check=True, capture_output=True)


def make_site(path: Path, url: str) -> Site:
    """Files, code, a configuration, and an empty repository whose key is quick to derive."""
    place = make_place(path, CONFIG)
    make_application(path / "app")
    site = Site(place.path, url)
    new_repository(site.store)
    return site


def copy_of(site: Site, path: Path) -> Site:
    """The same site elsewhere, with its repository."""
    shutil.copytree(site.path, path, symlinks=True)
    return Site(path, site.url)


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of this size, mounted at `place`; gives what mounts it anew otherwise."""
    place.mkdir(parents=True, exist_ok=True)
    owner = f"uid={os.getuid()},gid={os.getgid()},mode=0700"
    mount = [*AS_ROOT, "mount", "-t", "tmpfs", "-o", f"size={size},{owner}", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    try:
        yield lambda how: _remount(place, how)
    finally:
        subprocess.run([*AS_ROOT, "umount", str(place)], check=True)


def _remount(place: Path, how: str) -> None:
    subprocess.run([*AS_ROOT, "mount", "-o", f"remount,{how}", str(place)], check=True)


# Processes


def processes(about: str) -> dict[int, str]:
    """Living processes whose command line, or whose working directory, holds this text."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((entry / "cwd").readlink())
        except OSError:
            continue
        if (about in line or about in where) and int(entry.name) != os.getpid():
            found[int(entry.name)] = f"{line} in {where}"
    return found


def client_programs() -> list[int]:
    """The living children of this process that are client programs of PostgreSQL."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "comm").read_text().strip()
        except OSError:
            continue
        if int(words[1]) == os.getpid() and words[0] != "Z" and name in {"psql", "pg_dump"}:
            found.append(int(entry.name))
    return found


def wait_until(wanted: Callable[[], object], child: subprocess.Popen[bytes] | None = None) -> None:
    """Ask again and again; an AssertionError when it doesn't come true, or the child ends."""
    deadline = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < deadline, "it never came true"
        if child is not None and child.poll() is not None:
            raise AssertionError(f"it ended before: {child.communicate()}")
        time.sleep(0.005)


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A place for a child's temporary files that a server's user can reach, too."""
    place = Path("/var/tmp") / f"failure-ground-{os.getpid()}-{time.monotonic_ns()}"
    place.mkdir(mode=0o711)
    try:
        yield place
    finally:
        for process in processes(str(place)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)
