"""How much room a server's file system has, as far as that can be told from here.

PostgreSQL itself does not say. Where the server runs on this machine, its data directory does: it
is looked for by the name that the server gives, and is the server's own when the file in it that
a running server keeps tells the same start (see "postmaster.pid" in PostgreSQL's manual, "Database
File Layout").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from strongroom.postgres.connection import Connection
from strongroom.postgres.target import maintenance_connection

__all__ = ["free_bytes_of"]

_ASKED: Final = b"""
SELECT pg_catalog.current_setting('data_directory', true)::text,
    pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::float8"""
_START_LINE: Final = 2  # of postmaster.pid, from 0
_TOLERANCE_SECONDS: Final = 2


def free_bytes_of(target: Connection) -> int | str:
    """The bytes that are free where new databases of the target's server go, or why that is not
    known. SourceError when the server can't be asked."""
    import psycopg

    if not target.is_local:
        return "the server is on another machine"
    with target.explaining(), maintenance_connection(target) as session:
        try:
            row = session.execute(_ASKED).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            row = None
    if row is None or not row[0]:
        return "this role may not ask where the server keeps its files"
    directory, started = Path(str(row[0])), float(row[1])
    try:
        lines = (directory / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        told = int(lines.splitlines()[_START_LINE])
        status = os.statvfs(directory / "base")
    except (OSError, ValueError, IndexError):
        return "the server's files can't be looked at from here"
    if abs(told - started) > _TOLERANCE_SECONDS:
        return "the server keeps its files elsewhere"
    return status.f_bavail * status.f_frsize
