"""How long a captured database takes to be loaded into a running server, beside `pg_restore -j2`.

Ours is `strongroom restore`, without its proof and with it, from a repository; the peer loads a
directory dump of the same database by two jobs. Both make the database within the measured time;
ours also collects the planner's statistics, which pg_restore leaves to somebody else. Two servers:
one with the settings of our sandboxes, where nothing is durable, and one as initdb leaves it. The
source is gone by then, so that nothing else runs.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench import database_workload
from bench.contenders import OURS, Dump, Strongroom, base_environment
from bench.measure import CommandError, run_measured
from bench.sample import Book, Sample
from bench.server import MAJOR, server
from bench.suite import Entry, Setting, Turn, create_homes, take_turn
from strongroom.postgres.cluster import Cluster, ClusterOptions, start_cluster

SANDBOX, DEFAULT = "load.sandbox", "load.default"
PROVEN = ".proven"
DIRECTORY: Final = "pg_restore -j2 (of -Fd)"
_DUMP, _RESTORED = "directory", "restored"
# Our clusters sort in more memory than a server that nobody has configured.
_UNCONFIGURED = {"maintenance_work_mem": "64MB", "shared_buffers": "128MB"}


def run_load(setting: Setting, book: Book) -> None:
    """Measures the load of one database into two kinds of servers."""
    entry, dump = _prepare(setting, book)
    if entry is None:
        return
    durable = ClusterOptions(directory=setting.work, durable=True, settings=_UNCONFIGURED)
    for measure, options in (
        (SANDBOX, ClusterOptions(directory=setting.work)),
        (DEFAULT, durable),
    ):
        cluster = start_cluster(MAJOR, options)
        try:
            for number in range(setting.rounds):
                _round(setting, book, measure, number, entry, dump, cluster)
        finally:
            cluster.stop()
    shutil.rmtree(setting.work / SANDBOX)


def _prepare(setting: Setting, book: Book) -> tuple[Entry | None, Path]:
    """A repository and a directory dump of the same database."""
    ours = next(one for one in setting.archivers if isinstance(one, Strongroom))
    archive = setting.work / SANDBOX / _DUMP
    with server(setting.work) as source:
        size = database_workload.make_database(source, seed=setting.seed, scale=setting.scale)
        print(f"load: {size / 1e6:.1f} MB on disk", flush=True)
        home = setting.home(ours, SANDBOX, server=source)
        entries = create_homes(book, SANDBOX, 0, [Entry(ours, home)])
        if not entries:
            return None, archive
        dump = Dump(DIRECTORY, source.programs / "pg_dump", ("-Fd", "-j2"))
        environment = {**base_environment(setting.work), **source.environment}
        try:
            run_measured(
                ours.capture_database(home),
                environment=ours.environment(home),
                directory=home.directory,
            )
            run_measured(dump.capture(archive), environment=environment, directory=setting.work)
        except CommandError as error:
            book.note(Sample(SANDBOX, OURS, 0, failure=str(error)))
            return None, archive
    return entries[0], archive


def _round(
    setting: Setting,
    book: Book,
    measure: str,
    number: int,
    entry: Entry,
    archive: Path,
    cluster: Cluster,
) -> None:
    ours = entry.contender
    assert isinstance(ours, Strongroom)
    socket = f"host={cluster.socket_directory}&user={cluster.superuser}"
    target = f"postgresql:///{_RESTORED}?{socket}"
    turn = Turn(
        measure,
        OURS,
        number,
        ours.environment(entry.home),
        entry.home.directory,
        warm=entry.home.repository,
    )
    for name, words in ((measure, ("--no-proof",)), (measure + PROVEN, ())):
        _clear(cluster)
        command = ours.restore_database(entry.home, target, *words)
        usage = take_turn(book, replace(turn, measure=name), command)
        if usage is not None and not words:
            said = "PROVEN" in usage.output
            book.confirm(f"our restore of the database says PROVEN ({measure})", said, "it doesn't")
    _clear(cluster)
    programs = cluster.programs.directory
    script = f'"$1"/psql -Xqc "CREATE DATABASE {_RESTORED} TEMPLATE template0" postgres && '
    script += f'exec "$1"/pg_restore -j2 --exit-on-error -d {_RESTORED} "$2"'
    environment = base_environment(setting.work) | {
        "PGHOST": str(cluster.socket_directory),
        "PGUSER": cluster.superuser,
    }
    peer = Turn(measure, DIRECTORY, number, environment, setting.work, warm=archive)
    if take_turn(book, peer, [["sh", "-c", script, "sh", programs, archive]]) is not None:
        book.note(replace(book.samples[-1], measure=measure + PROVEN))
    _clear(cluster)


def _clear(cluster: Cluster) -> None:
    """What was restored is gone, and the server has nothing left to write."""
    for statement in (f"DROP DATABASE IF EXISTS {_RESTORED}", "CHECKPOINT"):
        subprocess.run(
            [cluster.programs.path("psql"), "-Xqc", statement, "postgres"],
            env=cluster.connection().environment(),
            check=True,
            capture_output=True,
        )
