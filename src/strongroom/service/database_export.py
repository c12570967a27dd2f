"""A database's snapshot as one file: plain SQL for `psql`, or a custom dump for `pg_restore`.

The SQL is put together from the snapshot itself, without any server; it begins and ends as that of
pg_dump does, so that it is known for a dump, and known to be cut where it is. The custom dump is
made by pg_dump from a sandbox into which the snapshot was restored, since no other program writes
them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from strongroom.errors import SourceError
from strongroom.model import Finding
from strongroom.postgres import layout
from strongroom.postgres.dump_text import is_trailer, pieces
from strongroom.postgres.manifest import Manifest
from strongroom.postgres.statement import copy_in, qualified
from strongroom.repository import SnapshotView
from strongroom.sources import Source


def sql_blocks(view: SnapshotView, folder: bytes) -> Iterator[bytes]:
    """The statements that make the database's content in an empty database, in order.

    Roles are not part of it: they belong to the server, and stand in the snapshot's `roles.sql`.
    """
    manifest = Manifest.from_json(view.read(folder + b"/" + layout.MANIFEST.encode()))
    snapshot = view.snapshot
    yield _lines(
        "--",
        "-- PostgreSQL database dump",
        "--",
        "",
        f"-- Dumped from database version {manifest.versions.server}",
        "",
        f"-- Database {manifest.database.name} of {snapshot.application or 'an application'},"
        f" captured {snapshot.time:%Y-%m-%d %H:%M:%S} UTC",
        f"-- Snapshot {snapshot.id}, PostgreSQL {manifest.versions.server}",
        f"-- {len(manifest.tables)} tables, {manifest.rows} rows. Load it into a new database:",
        "--   psql -X -v ON_ERROR_STOP=1 -d NEW_DATABASE -f THIS_FILE",
        "SET statement_timeout = 0;",
        "SET lock_timeout = 0;",
        f"SET client_encoding = '{manifest.session.get('client_encoding', 'UTF8')}';",
        "SET lc_monetary = 'C';",
        *(f"{statement};" for statement in manifest.removals),
    )
    yield from _section(view, folder, layout.PRE_DATA_SQL)
    for table in manifest.tables:
        statement = copy_in(table.loaded_into, table.columns)
        yield _lines("", f"{statement};")
        yield from _file(view, folder, table.file)
        yield _lines("\\.")
    if manifest.sequences:
        yield from _file(view, folder, layout.SEQUENCES_SQL)
    if manifest.large_objects.count:
        yield from _section(view, folder, layout.LARGE_OBJECTS_SQL)
    yield from _section(view, folder, layout.POST_DATA_SQL)
    views = (f"REFRESH MATERIALIZED VIEW {qualified(*one)};" for one in manifest.matviews)
    yield _lines("", *views, "ANALYZE;", "", "--", "-- PostgreSQL database dump complete", "--")


def write_custom_dump(
    source: Source, view: SnapshotView, directory: Path, output: Path
) -> tuple[Finding, ...]:
    """Restore into a sandbox below `directory` and let pg_dump write `output` from it; returns what
    the sandbox could not take, which is not in the dump either."""
    from strongroom.postgres.connection import parse_connection
    from strongroom.postgres.programs import find_programs

    with source.sandbox(view, directory) as target:
        restored = source.restore(view, target)
        address = parse_connection(target)
        with address.connect() as session:
            major = session.info.server_version // 10000
        program = find_programs(major).path("pg_dump")
        run = subprocess.run(
            [program, "--format=custom", f"--file={output}", "-d", address.database_argument()],
            env=address.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines() or [f"ended with status {run.returncode}"]
        raise SourceError(f"pg_dump failed: {reason[-1]}", subject=source.name)
    return restored.findings


def _file(view: SnapshotView, folder: bytes, name: str) -> Iterator[bytes]:
    yield from view.blocks(folder + b"/" + name.encode())


def _section(view: SnapshotView, folder: bytes, name: str) -> Iterator[bytes]:
    """A part that pg_dump wrote, without its last line: the whole ends once."""
    for piece in pieces(_file(view, folder, name)):
        if piece.inner or not is_trailer(piece.content):
            yield piece.content


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
