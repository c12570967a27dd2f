"""How long a captured database takes to be loaded, beside `pg_restore -j2` of a directory dump.

In a sandbox: our drill without its proof, and with it, against pg_restore; all make, start and end
the very same kind of throw-away cluster, where nothing is durable, within the measured time. On a
server as initdb leaves it: `strongroom restore`, without its proof and with it, against pg_restore
into a new database, alone and followed by the ANALYZE that ours ends with. The source is gone by
then, so that nothing else runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
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
ANALYZED: Final = "pg_restore -j2 (of -Fd), then analyzed"
_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_DUMP, _RESTORED = "directory", "restored"
# Our clusters sort in more memory than a server that nobody has configured.
_UNCONFIGURED = {"maintenance_work_mem": "64MB", "shared_buffers": "128MB"}


def run_load(setting: Setting, book: Book) -> None:
    """Measures the load of one database into a sandbox, and into a plain server."""
    entry, archive, programs = _prepare(setting, book)
    if entry is None:
        return
    for number in range(setting.rounds):
        _sandbox_round(setting, book, number, entry, archive, programs)
    durable = ClusterOptions(directory=setting.work, durable=True, settings=_UNCONFIGURED)
    cluster = start_cluster(MAJOR, durable)
    try:
        for number in range(setting.rounds):
            _default_round(setting, book, number, entry, archive, cluster)
    finally:
        cluster.stop()
    shutil.rmtree(setting.work / SANDBOX)


def _prepare(setting: Setting, book: Book) -> tuple[Entry | None, Path, Path]:
    """A repository and a directory dump of the same database, and the programs that made it."""
    ours = next(one for one in setting.archivers if isinstance(one, Strongroom))
    archive = setting.work / SANDBOX / _DUMP
    with server(setting.work) as source:
        size = database_workload.make_database(source, seed=setting.seed, scale=setting.scale)
        print(f"load: {size / 1e6:.1f} MB on disk", flush=True)
        home = setting.home(ours, SANDBOX, server=source)
        entries = create_homes(book, SANDBOX, 0, [Entry(ours, home)])
        if not entries:
            return None, archive, source.programs
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
            return None, archive, source.programs
    return entries[0], archive, source.programs


def _sandbox_round(
    setting: Setting, book: Book, number: int, entry: Entry, archive: Path, programs: Path
) -> None:
    ours = entry.contender
    assert isinstance(ours, Strongroom)
    environment = {**ours.environment(entry.home), "PYTHONPATH": str(_CHECKOUT)}
    turn = Turn(
        SANDBOX, OURS, number, environment, entry.home.directory, warm=entry.home.repository
    )
    config = entry.home.directory / "strongroom.yaml"
    words: list[str | Path] = ["-m", "bench.load_from_snapshot", config, "database"]
    take_turn(book, turn, [[sys.executable, *words]])
    usage = take_turn(
        book, replace(turn, measure=SANDBOX + PROVEN), ours.drill_database(entry.home)
    )
    if usage is not None:
        said = "PROVEN" in usage.output
        book.confirm("our drill of the loaded database says PROVEN", said, "it doesn't")
    loader: list[str | Path] = ["-m", "bench.load_with_pg_restore", str(MAJOR), programs, archive]
    environment = base_environment(setting.work) | {"PYTHONPATH": str(_CHECKOUT)}
    peer = Turn(SANDBOX, DIRECTORY, number, environment, setting.work, warm=archive)
    if take_turn(book, peer, [[sys.executable, *loader]]) is not None:
        book.note(replace(book.samples[-1], measure=SANDBOX + PROVEN))


def _default_round(
    setting: Setting, book: Book, number: int, entry: Entry, archive: Path, cluster: Cluster
) -> None:
    ours = entry.contender
    assert isinstance(ours, Strongroom)
    place = f"host={cluster.socket_directory}&user={cluster.superuser}"
    target = f"postgresql:///{_RESTORED}?{place}"
    home = entry.home
    environment = ours.environment(home)
    turn = Turn(DEFAULT, OURS, number, environment, home.directory, warm=home.repository)
    for name, words in ((DEFAULT, ("--no-proof",)), (DEFAULT + PROVEN, ())):
        _clear(cluster)
        command = ours.restore_database(home, target, *words)
        usage = take_turn(book, replace(turn, measure=name), command)
        if usage is not None and not words:
            said = "PROVEN" in usage.output
            book.confirm("our restore of the database says PROVEN", said, "it doesn't")
    make = f'"$1"/psql -Xqc "CREATE DATABASE {_RESTORED} TEMPLATE template0" postgres'
    load = f'"$1"/pg_restore -j2 --exit-on-error -d {_RESTORED} "$2"'
    analyze = f'"$1"/vacuumdb -q -j2 --analyze-only -d {_RESTORED}'
    environment = base_environment(setting.work) | {
        "PGHOST": str(cluster.socket_directory),
        "PGUSER": cluster.superuser,
    }
    for name, steps in ((DIRECTORY, (make, load)), (ANALYZED, (make, load, analyze))):
        _clear(cluster)
        script = " && ".join(steps)
        peer = Turn(DEFAULT, name, number, environment, setting.work, warm=archive)
        command = [["sh", "-c", script, "sh", cluster.programs.directory, archive]]
        if take_turn(book, peer, command) is not None and name == DIRECTORY:
            book.note(replace(book.samples[-1], measure=DEFAULT + PROVEN))
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
