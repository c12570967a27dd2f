"""Capture: the database's server, the host and the source itself make trouble while it runs.

Databases come from a template on one server; files and code from one site with a recovery point.
What happens "meanwhile" is done by a thread that waits until the capture is really at it, or by a
process that never rests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.programs import find_programs
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy, scene_of
from tests.e2e.transaction_pooler import TransactionPooler
from tests.support.code_ground import git, write
from tests.support.demo_ground import AS_ROOT
from tests.support.failure_ground import (
    CONFIG,
    ROLES,
    SCHEMA,
    SLOW_TABLE,
    Site,
    client_programs,
    copy_of,
    execute,
    make_site,
    small_disk,
    url_of,
)
from tests.support.observation import NOBODY, as_nobody, open_directory

GROUP: Final = "Capture"
SERVER: Final = "corpus-capture"
FILES: Final = "corpus-files"
_SWAPPED: Final = 40
SECRET_FILE: Final = "not ours to capture"

# The URL lies in a file, so that a row can put another one there.
SITE_CONFIG: Final = CONFIG.replace("env:TMS_URL", "file:database.url").replace(
    "path: uploads}", "path: uploads, required: [lpos]}"
)


@dataclass(frozen=True)
class Ground:
    """A server whose database `tms` is a template, and a site with one recovery point of it."""

    cluster: Cluster
    pattern: Site

    def execute(self, database: str, statements: str) -> None:
        execute(self.cluster, database, statements)

    def url(self, database: str, user: str = "postgres") -> str:
        return url_of(self.cluster, database, user)


def write_url(site: Site, url: str) -> None:
    file = site.path / "database.url"
    file.write_text(url + "\n")
    file.chmod(0o600)


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """The server, with roles of every kind, and the captured site."""
    with throwaway_cluster(major=15) as cluster:
        execute(cluster, "postgres", "CREATE DATABASE tms")
        execute(cluster, "tms", SCHEMA + ROLES)
        access = cluster.directory / "data" / "pg_hba.conf"
        access.write_text(f"local all locked scram-sha-256\n{access.read_text()}")
        execute(cluster, "postgres", "SELECT pg_reload_conf()")
        site = make_site(directory, url_of(cluster, "tms"))
        site.write_config(SITE_CONFIG)
        write_url(site, site.url)
        assert site.json("backup")["findings"] == []
        yield Ground(cluster, site)


@contextlib.contextmanager
def _site(grounds: Grounds, setup: str = "") -> Iterator[Scene]:
    """A copy of the site whose database is a copy as well, with these statements run in it."""
    made, path = grounds.shared(ground), grounds.new_directory()
    name = f"copy_{path.name.rpartition('-')[2]}"
    made.execute("postgres", f"CREATE DATABASE {name} TEMPLATE tms")
    try:
        if setup:
            made.execute(name, setup)
        site = copy_of(made.pattern, path)
        write_url(site, made.url(name))
        with scene_of(site, database=name, ground=made) as scene:
            yield scene
    finally:
        made.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _slow_site(grounds: Grounds) -> Iterator[Scene]:
    with _site(grounds, SLOW_TABLE.format(megabytes=128)) as scene:
        yield scene


@contextlib.contextmanager
def _extended_site(grounds: Grounds) -> Iterator[Scene]:
    with _site(grounds, "CREATE EXTENSION pgcrypto") as scene:
        healthy(scene, "backup", "database")
        yield scene


_INDEXED: Final = """
CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION sortable(text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = public
    AS 'SELECT plain($1)';
CREATE INDEX trainees_sortable ON trainees (sortable(name));
"""


@contextlib.contextmanager
def _indexed_site(grounds: Grounds) -> Iterator[Scene]:
    with _site(grounds, _INDEXED) as scene:
        yield scene


def _back_up_and_drill(scene: Scene) -> Seen:
    healthy(scene, "backup", "database")
    return ask("drill", "database")(scene)


@contextlib.contextmanager
def _small_store(grounds: Grounds) -> Iterator[Scene]:
    """A store on a disk of its own, whose size can be changed; the database is random bytes."""
    made, path = grounds.shared(ground), grounds.new_directory()
    noise = "CREATE TABLE noise AS SELECT gen_random_uuid() AS id FROM generate_series(1, 150000)"
    name = f"copy_{path.name.rpartition('-')[2]}"
    made.execute("postgres", f"CREATE DATABASE {name} TEMPLATE tms")
    try:
        made.execute(name, noise)
        with small_disk(path / "store", "64m") as remount:
            site = make_site(path, made.url(name))
            site.write_config(SITE_CONFIG)
            write_url(site, site.url)
            with scene_of(site, database=name, ground=remount) as scene:
                yield scene
    finally:
        made.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(path, ignore_errors=True)


DATABASE = Way("back up a database", SERVER, _site, ask("backup", "database"))
SLOW = Way("back up a database with a large table", SERVER, _slow_site, ask("backup", "database"))
FULL = Way("back up a database to a small disk", SERVER, _small_store, ask("backup", "database"))
EXTENDED = Way("drill a database with an extension", SERVER, _extended_site,
               ask("drill", "database"))  # fmt: skip
INDEXED = Way("drill a database with an index by a function", SERVER, _indexed_site,
              _back_up_and_drill)  # fmt: skip
PRODUCTION = Way("restore files into an empty directory", SERVER, _site,
                 lambda scene: ask("restore", "uploads", "--to", scene.notes.get(
                     "target", str(scene.place.path / "back")))(scene))  # fmt: skip


# Meanwhile


def meanwhile(scene: Scene, act: Callable[[], object]) -> None:
    """Do this as soon as the server copies the large table; it must have come to that."""
    acted = threading.Event()
    over = threading.Event()
    copying = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query ~ '^COPY .*slow'"

    def wait() -> None:
        while not over.is_set():
            if execute(scene.ground.cluster, "postgres", copying):
                acted.set()
                act()
                return
            time.sleep(0.005)

    def came_about() -> None:
        assert acted.is_set(), "the fault never came about"

    def end() -> None:
        over.set()
        thread.join()

    thread = threading.Thread(target=wait)
    thread.start()
    scene.stack.callback(end)
    scene.afterwards.append(came_about)


def _kill_clients(scene: Scene) -> None:
    def kill() -> None:
        for program in client_programs():
            # One that has just ended is not the one that copies.
            with contextlib.suppress(ProcessLookupError):
                os.kill(program, signal.SIGKILL)

    meanwhile(scene, kill)


def _cut_connection(scene: Scene) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^COPY .*slow'"
    meanwhile(scene, lambda: scene.ground.execute("postgres", ended))


def _drop_table(scene: Scene) -> None:
    """Whoever drops it has to wait; what was begun is captured whole."""
    meanwhile(scene, lambda: scene.ground.execute(scene.database, "DROP TABLE secrets, trainees"))

    def held() -> None:
        listed = scene.place.run("ls", "latest:database", "-R").text
        assert "public.trainees.copy" in listed
        assert "public.secrets.copy" in listed

    scene.afterwards.append(held)


def _as(user: str) -> Callable[[Scene], None]:
    return lambda scene: write_url(_site_of(scene), scene.ground.url(scene.database, user))


def _site_of(scene: Scene) -> Site:
    assert isinstance(scene.place, Site)
    return scene.place


def _behind_pooler(scene: Scene) -> None:
    server = scene.ground.cluster.socket_directory / ".s.PGSQL.5432"
    pooler = scene.stack.enter_context(TransactionPooler(server, "postgres", scene.database))
    url = f"postgresql://postgres@127.0.0.1:{pooler.port}/{scene.database}?sslmode=disable"
    write_url(_site_of(scene), url)


def _sandbox_without_extension(scene: Scene) -> None:
    """A host that has another PostgreSQL, built without it."""
    text = scene.place.config.read_text()
    programs = find_programs(18).directory
    scene.place.write_config(text.replace("postgres, ", f"postgres, programs: {programs}, "))


def _rely_on_search_path(scene: Scene) -> None:
    """The index stands, and nothing that loads a dump can build it again."""
    scene.ground.execute(scene.database, "ALTER FUNCTION sortable RESET search_path")


def _at_production(scene: Scene) -> None:
    scene.notes["target"] = str(scene.place.uploads)


def _database_at_production(scene: Scene) -> None:
    scene.notes["target"] = scene.ground.url(scene.database)


def _restore_database(scene: Scene) -> Seen:
    fresh = f"{scene.database}_back"
    if "target" not in scene.notes:
        dropped = f"DROP DATABASE IF EXISTS {fresh} WITH (FORCE)"
        scene.stack.callback(scene.ground.execute, "postgres", dropped)
    target = scene.notes.get("target", scene.ground.url(fresh))
    return ask("restore", "database", "--to", target)(scene)


PRODUCTION_DATABASE = Way("restore a database into a new one", SERVER, _site, _restore_database)


# Files and code that are busy, shut or gone


@contextlib.contextmanager
def _busy_files(grounds: Grounds) -> Iterator[Scene]:
    """A folder that takes its time: a large file comes first, and between looking at a path and
    opening it stands a pattern that is slow to say no to such names."""
    with _files(grounds) as scene:
        text = scene.place.config.read_text()
        scene.place.write_config(text.replace("required: [lpos]", 'exclude: ["*a*a*a*a*x"]'))
        busy = scene.place.uploads / "busy"
        write(busy / "a large one", os.urandom(40 << 20))
        for number in range(_SWAPPED):
            write(busy / f"{'a' * 40}{number}" / "file", "as it should be")
        write(scene.place.path / "outside" / "secret", SECRET_FILE)
        yield scene


@contextlib.contextmanager
def _files(grounds: Grounds) -> Iterator[Scene]:
    path = grounds.new_directory()
    site = make_site(path, "postgresql://nobody@/none")
    site.write_config(SITE_CONFIG)
    write_url(site, site.url)
    with scene_of(site) as scene:
        healthy(scene, "backup", "uploads", "code")
        yield scene
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _files_of_nobody(grounds: Grounds) -> Iterator[Scene]:
    """A user without root's powers owns all of it; all that is imported late is imported."""
    del grounds
    with open_directory() as path:
        site = make_site(path / "tms", "postgresql://nobody@/none")
        site.write_config(SITE_CONFIG)
        write_url(site, site.url)
        with scene_of(site) as scene:
            healthy(scene, "backup", "uploads")
            owner = f"{NOBODY}:{NOBODY}"
            subprocess.run([*AS_ROOT, "chown", "-hR", owner, str(path)], check=True)
            yield scene


def _without_powers(scene: Scene) -> Seen:
    with as_nobody():
        return ask("backup", "uploads")(scene)


UPLOADS = Way("back up files", FILES, _files, ask("backup", "uploads"))
BUSY = Way("back up many files", FILES, _busy_files, ask("backup", "uploads"))
NOBODYS = Way("back up files without root's powers", FILES, _files_of_nobody, _without_powers)
CODE = Way("back up code", FILES, _files, ask("backup", "code"))

_APPEND = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
while True:
    os.write(file, b"x")
"""
_COME_AND_GO = """
import itertools, os, sys
for number in itertools.count():
    os.close(os.open(f"{sys.argv[1]}/v{number}", os.O_CREAT | os.O_WRONLY, 0o644))
    if number >= 50:
        os.unlink(f"{sys.argv[1]}/v{number - 50}")
"""
_SWAP = """
import os, sys
busy, aside, outside, count = sys.argv[1:]
os.mkdir(aside)
names = [f"{'a' * 40}{number}" for number in range(int(count))]
while True:
    for name in names:
        os.rename(f"{busy}/{name}", f"{aside}/{name}")
        os.symlink(outside, f"{busy}/{name}")
    for name in names:
        os.unlink(f"{busy}/{name}")
        os.rename(f"{aside}/{name}", f"{busy}/{name}")
"""


def _restless(scene: Scene, script: str, *arguments: object) -> None:
    """A process that does this over and over until the command has ended."""
    child = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])

    def end() -> None:
        assert child.poll() is None, "it ended by itself"
        child.kill()
        child.wait()

    scene.stack.callback(end)


def _append(scene: Scene) -> None:
    path = scene.place.uploads / "busy" / "a large one"
    before = path.stat().st_size
    _restless(scene, _APPEND, path)
    while path.stat().st_size == before:
        time.sleep(0.005)


def _come_and_go(scene: Scene) -> None:
    busy = scene.place.uploads / "busy"
    _restless(scene, _COME_AND_GO, busy)
    while not list(busy.glob("v*")):
        time.sleep(0.001)


def _swap(scene: Scene) -> None:
    path = scene.place.path
    busy = scene.place.uploads / "busy"
    _restless(scene, _SWAP, busy, path / "aside", path / "outside", _SWAPPED)
    while not (path / "aside").exists():
        time.sleep(0.001)

    def nothing_of_it() -> None:
        listed = scene.place.run("ls", "latest:uploads", "-R").text
        assert "/secret" not in listed

    scene.afterwards.append(nothing_of_it)


def _dirty(scene: Scene) -> None:
    changed = write(scene.place.path / "app" / "public/index.php", "<?php changed();\n")
    os.utime(changed, (1_700_000_000, 1_700_000_000))


def _rewrite_remote(scene: Scene) -> None:
    """Somebody pushes with force, and the deployment follows."""
    path, app = scene.place.path, scene.place.path / "app"
    git(path, "clone", "-q", "--bare", str(app), "remote")
    git(path, "clone", "-q", str(path / "remote"), "developer")
    git(path / "developer", "commit", "-q", "--amend", "-m", "Another story")
    git(path / "developer", "push", "-q", "--force", "origin", "main")
    git(app, "fetch", "-q", str(path / "remote"), "main")
    git(app, "reset", "-q", "--hard", "FETCH_HEAD")


def _library(scene: Scene) -> None:
    """A repository inside of the repository, whose objects are elsewhere."""
    app = scene.place.path / "app"
    head = git(app, "rev-parse", "HEAD")
    git(app, "update-index", "--add", "--cacheinfo", f"160000,{head},library")
    git(app, "commit", "-qm", "Add a library")


def _shallow(scene: Scene) -> None:
    path = scene.place.path
    (path / "app").rename(path / "whole")
    git(path, "clone", "-q", "--depth", "1", f"file://{path}/whole", "app")
    for name in (".htaccess", "config/local.php"):
        write(path / "app" / name, (path / "whole" / name).read_bytes())


# In pieces, so that this file is none.
_PRIVATE_KEY: Final = "-----BEGIN " + "RSA PRIVATE KEY-----\nmade up\n"


def _commit_secret(scene: Scene) -> None:
    app = scene.place.path / "app"
    write(app / "deploy.pem", _PRIVATE_KEY)
    git(app, "add", "deploy.pem")
    git(app, "commit", "-qm", "Deploy")


def _declare_secret(scene: Scene) -> None:
    """What matches `untracked:` is captured, whatever is in it."""
    write(scene.place.path / "app" / "config" / "key.php", _PRIVATE_KEY)


def _lose_most(scene: Scene) -> None:
    for file in (scene.place.uploads / "lpos").iterdir():
        file.unlink()


def _exclude_nothing(scene: Scene) -> None:
    text = scene.place.config.read_text()
    scene.place.write_config(
        text.replace("postgres, ", "postgres, exclude_tables: [public.sessions], ")
    )


def _untimely(scene: Scene) -> None:
    """On a file system that holds times beyond the year 9999."""
    folder = scene.place.uploads / "mounted"
    scene.stack.enter_context(small_disk(folder, "1m"))
    os.utime(write(folder / "file", "of another time"), (2**38, 2**38))


FAULTS = (
    Fault("child killed mid-stream", GROUP, "backup", SLOW, _kill_clients,
          ("capture-aborted",), "exit 19"),
    Fault("disk full mid-write", GROUP, "backup", FULL, lambda scene: scene.ground("size=1m"),
          ("store-full",), "exit 22"),
    Fault("connection cut", GROUP, "backup", SLOW, _cut_connection,
          ("capture-aborted",), "exit 19"),
    Fault("tables dropped during capture", GROUP, "backup", SLOW, _drop_table, (), "exit 0"),
    Fault("role can't read one table", GROUP, "backup", DATABASE, _as("reader"),
          ("database-privilege",), "exit 13"),
    Fault("row security hides rows", GROUP, "backup", DATABASE, _as("all_reader"),
          ("database-privilege",), "exit 13"),
    Fault("transaction pooler", GROUP, "backup", DATABASE, _behind_pooler,
          ("database-unreachable",), "exit 11"),
    Fault("login fails", GROUP, "backup", DATABASE, _as("locked:wrong"),
          ("database-login",), "exit 12"),
    Fault("an excluded table is not there", GROUP, "backup", DATABASE, _exclude_nothing,
          ("exclusion-unmatched",), "exit 0"),
    Fault("file changes while read", GROUP, "backup", BUSY, _append,
          ("file-changed",), "exit 3"),
    Fault("unreadable file", GROUP, "backup", NOBODYS,
          lambda scene: (scene.place.uploads / "lpos/LPO-2.pdf").chmod(0),
          ("file-unreadable",), "exit 3"),
    Fault("vanished file", GROUP, "backup", BUSY, _come_and_go,
          ("file-vanished",), "exit 3", also=("file-changed",)),
    Fault("directory swapped for a symbolic link", GROUP, "backup", BUSY, _swap,
          ("file-changed",), "exit 3", also=("file-vanished", "file-unreadable")),
    Fault("required folder missing", GROUP, "backup", UPLOADS,
          lambda scene: (scene.place.uploads / "lpos").rename(scene.place.uploads / "lpo"),
          ("folder-missing",), "exit 3"),
    Fault("a time that no snapshot can hold", GROUP, "backup", UPLOADS, _untimely,
          ("time-cut",), "exit 0"),
    Fault("code checkout dirty", GROUP, "backup", CODE, _dirty,
          ("code-uncommitted",), "exit 0"),
    Fault("history of the code's remote rewritten", GROUP, "backup", CODE, _rewrite_remote,
          ("code-history-rewritten",), "exit 0"),
    Fault("clone is shallow", GROUP, "backup", CODE, _shallow, ("code-shallow",), "exit 0",
          also=("code-history-rewritten",)),
    Fault("a library's code is elsewhere", GROUP, "backup", CODE, _library,
          ("coverage-gap",), "exit 3"),
    Fault("a secret was committed", GROUP, "backup", CODE, _commit_secret,
          ("code-secret-committed",), "exit 0"),
)  # fmt: skip

OTHER_FAULTS = (
    Fault("extension missing in the sandbox", "Content of the restored database", "drill", EXTENDED,
          _sandbox_without_extension, ("sandbox-version", "sandbox-lacks"), "UNKNOWN",
          also=("structure-unchecked",)),
    Fault("index that no restore can build", "Content of the restored database", "drill", INDEXED,
          _rely_on_search_path, ("load-error", "structure-missing"), "FAILED"),
    Fault("a secret about to be captured", "Files and code", "backup", CODE, _declare_secret,
          ("secret-in-code",), "exit 17"),
    Fault("declared configuration gone", "Files and code", "backup", CODE,
          lambda scene: (scene.place.path / "app/.htaccess").unlink(),
          ("code-untracked-missing",), "exit 3"),
    Fault("backup much smaller than usual", "Time and people", "backup", UPLOADS, _lose_most,
          ("source-shrunk",), "exit 3"),
    Fault("files' drill pointed at production", "Time and people", "restore", PRODUCTION,
          _at_production, ("target-not-empty",), "exit 5"),
    Fault("database's drill pointed at production", "Time and people", "restore",
          PRODUCTION_DATABASE, _database_at_production, ("target-not-empty",), "exit 5"),
)  # fmt: skip
