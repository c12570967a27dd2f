"""Loads the benchmark's tables into a server, and lets days pass in them.

Rows arrive through COPY, then keys, indexes and references are made, as a restored production
database would have them. A day adds rows at the end and changes others; PostgreSQL puts a changed
row where there is room, so the physical order drifts as in life; a vacuum at the day's end frees
the room that the next day uses.

Invariant: the same seed, scale and day give the same content of every table.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.database_tables import LEAST_ROWS, TABLES, Table, lines, rows_at
from bench.server import Server

_HASH_RANGE = 1_000_000


@dataclass(frozen=True, slots=True)
class DatabaseChange:
    """What one day did, as counts of rows; `present` counts all rows afterwards."""

    added: int
    changed: int
    present: int


def make_database(server: Server, *, seed: int, scale: float) -> int:
    """Fills the empty database; returns its size on disk in bytes."""
    for table in TABLES:
        server.run(table.create())
        blocks = lines(table, seed=seed, scale=scale, first=1, count=rows_at(table, scale))
        server.copy_in(table.name, blocks)
        server.run(table.index())
    for table in TABLES:
        if table.references:
            server.run(table.refer())
    server.run("VACUUM ANALYZE")
    return int(server.run("SELECT pg_database_size(current_database())"))


def next_day(server: Server, *, seed: int, scale: float, day: int) -> DatabaseChange:
    """Changes the database as day number `day` (from 1) would."""
    added = changed = present = 0
    for table in TABLES:
        last = int(server.run(f"SELECT max(id) FROM {table.name}"))
        changed += sum(_change(server, table, last, day))
        count = round(rows_at(table, scale) * table.grows)
        if count:
            blocks = lines(table, seed=seed + day, scale=scale, first=last + 1, count=count)
            server.copy_in(table.name, blocks)
        added += count
        present += last + count
    server.run("VACUUM")
    return DatabaseChange(added, changed, present)


def _change(server: Server, table: Table, last: int, day: int) -> list[int]:
    """Changes rows of the last tenth and rows from anywhere; the counts of both."""
    counts = []
    for share, above in (
        (table.recent * 10, last - max(last // 10, LEAST_ROWS)),
        (table.anywhere, 0),
    ):
        if share == 0.0:
            continue
        # Every row's fate hangs on its key and the day, not on the order in which it is met.
        fate = f"abs(hashint8extended(id::bigint, {day * 2 + (above > 0)}) % {_HASH_RANGE})"
        answer = server.run(
            f"WITH met AS (UPDATE {table.name} SET {table.change.format(day=day)} "
            f"WHERE id > {above} AND {fate} < {round(share * _HASH_RANGE)} RETURNING 1) "
            "SELECT count(*) FROM met"
        )
        counts.append(int(answer))
    return counts
