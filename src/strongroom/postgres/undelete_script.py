"""The SQL that puts rows back: for people to read first, for psql, and for `--apply`.

One transaction. First, what is to be changed is locked and must still be what was compared; then
rows come back, parents before children; then rows that were changed are set back. Rows that are
gone need no guard of their own: should one be there again, its key refuses it and all is undone.
Rows are streamed from the sandbox, a batch at a time. The same plan gives the same bytes: no time,
no name of ours is in them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from strongroom.postgres.row_comparison import columns_of, digest_of, equal, given, with_values
from strongroom.postgres.statement import quote_literal, quote_name
from strongroom.postgres.table_order import in_order
from strongroom.postgres.table_shape import TableName
from strongroom.postgres.undelete import CHANGED, MISSING, Found, Plan

if TYPE_CHECKING:
    import psycopg

__all__ = ["LOCK_TIMEOUT", "Script", "write_script"]

LOCK_TIMEOUT: Final = "30s"
_BATCH_ROWS: Final = 500
_BATCH_CHARACTERS: Final = 1 << 18
# A table whose rows refer to each other comes back in one statement up to here, else by rank.
_ONE_STATEMENT: Final = 2_000
_MOST_RANKS: Final = 1_000
_LONGEST_SHOWN: Final = 200
# What the text of a row depends on; the guard compares such texts.
_TEXT_SETTINGS: Final[Mapping[str, str]] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "row_security": "off",
}
# What values are read by.
_VALUE_SETTINGS: Final[Mapping[str, str]] = {"lc_monetary": "C", "xmloption": "content"}


@dataclass
class Script:
    """What was written, and where each statement stands: `rows` that it must concern, -1 where
    nobody counts. `sha256` is that of the whole file."""

    file: IO[bytes]
    inserts: int = 0
    updates: int = 0
    unchanged: list[str] = field(default_factory=list)
    _offsets: array[int] = field(default_factory=lambda: array("q"))
    _lengths: array[int] = field(default_factory=lambda: array("q"))
    _rows: array[int] = field(default_factory=lambda: array("q"))

    def __post_init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, text: str) -> None:
        """What is for people or for psql alone."""
        data = text.encode()
        self.file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def add(self, statement: str, rows: int = -1) -> None:
        """A statement, without the semicolon that it ends with here."""
        self._offsets.append(self.size_bytes)
        self.write(statement)
        self._lengths.append(self.size_bytes - self._offsets[-1])
        self._rows.append(rows)
        self.write(";\n")

    def statements(self) -> Iterator[tuple[bytes, int]]:
        """What was added, in its order, with the rows that each must concern."""
        self.file.flush()
        for offset, length, rows in zip(self._offsets, self._lengths, self._rows, strict=True):
            self.file.seek(offset)
            yield self.file.read(length), rows


def write_script(plan: Plan, live: psycopg.Connection, script: Script, about: str) -> None:
    """Write what puts the plan's included rows back; nothing when there is none. `about` says in
    one line of which snapshot they are."""
    missing = {
        table: number
        for table, found in plan.found.items()
        if (number := plan.included(found, MISSING))
    }
    changed = {
        table: number
        for table, found in plan.found.items()
        if (number := plan.included(found, CHANGED))
    }
    if not missing and not changed:
        return
    _Writing(plan, live, script).run(missing, changed, about)


class _Writing:
    """The state of one script's writing."""

    def __init__(self, plan: Plan, live: psycopg.Connection, script: Script) -> None:
        self.plan, self.live, self.script = plan, live, script
        self.desk = plan.desk

    def run(
        self, missing: Mapping[TableName, int], changed: Mapping[TableName, int], about: str
    ) -> None:
        self._header(missing, changed, about)
        script = self.script
        script.write("BEGIN;\n")
        script.add("SET LOCAL client_encoding TO 'UTF8'")
        script.add(f"SET LOCAL lock_timeout TO '{LOCK_TIMEOUT}'")
        if changed:
            self._guards(changed)
        for name, value in _VALUE_SETTINGS.items():
            script.add(f"SET LOCAL {name} TO '{value}'")
        for group in in_order(self.plan.live.foreign_keys, missing):
            self._insert_group(group, missing)
        for table in changed:
            self._update(self.plan.found[table])
        script.write("\nCOMMIT;\n")
        if self.plan.afterwards:
            script.write("\n-- Then, so that the numbers of new rows are not taken already:\n")
            for statement in self.plan.afterwards:
                script.write(f"-- {_one_line(statement)};\n")

    def _header(
        self, missing: Mapping[TableName, int], changed: Mapping[TableName, int], about: str
    ) -> None:
        write = self.script.write
        write(f"-- Rows that are put back from {_shown(about)}:\n")
        for counts, what in ((missing, "gone"), (changed, "changed")):
            for table, number in counts.items():
                noun = "row" if number == 1 else "rows"
                write(f"--   {number} {noun} of {_shown(table.label)}, {what} since\n")
        write(
            "-- All of it happens or nothing. Should a row be there again, or be changed meanwhile,"
            "\n-- it ends with an error: psql -X -v ON_ERROR_STOP=1 -d DATABASE -f THIS_FILE\n\n"
        )

    # Guards

    def _guards(self, changed: Mapping[TableName, int]) -> None:
        script = self.script
        for name, value in _TEXT_SETTINGS.items():
            script.add(f"SET LOCAL {name} TO '{value}'")
        for table in changed:
            found = self.plan.found[table]
            for rows in self.desk.stream(_keys_of(found, CHANGED), _BATCH_ROWS):
                script.write("\n-- Locked until the end, and still as they were compared.\n")
                script.add(_guard(found, rows))
        # What acts on the rows from here on acts in the session's own settings.
        for name in _TEXT_SETTINGS:
            script.add(f"SET LOCAL {name} TO DEFAULT")

    # Rows that are gone

    def _insert_group(self, group: Sequence[TableName], missing: Mapping[TableName, int]) -> None:
        """Tables of a circle come back in one statement: PostgreSQL looks at its end whether each
        row has what it refers to."""
        if len(group) > 1:
            self._insert_circle(group)
            return
        (table,) = group
        found = self.plan.found[table]
        self.script.write(f"\n-- {_shown(table.label)}\n")
        to_itself = any(one.parent == table for one in self.plan.live.of_child(table))
        if not to_itself:
            self._insert(found)
        elif missing[table] <= _ONE_STATEMENT:
            self._insert(found, whole=True)
        else:
            self._insert_by_rank(found)

    def _insert(self, found: Found, condition: str = "", *, whole: bool = False) -> None:
        for rows in _batches(self._lines(found, condition), whole=whole):
            self.script.add(_insert_statement(found, rows), len(rows))
            self.script.inserts += len(rows)

    def _insert_circle(self, group: Sequence[TableName]) -> None:
        self.script.write(f"\n-- {', '.join(_shown(one.label) for one in group)}\n")
        parts, sums = [], []
        for number, table in enumerate(group, 1):
            found = self.plan.found[table]
            lines = list(self._lines(found))
            self.script.inserts += len(lines)
            parts.append(f"put_{number} AS (\n{_insert_statement(found, lines)}\nRETURNING 1)")
            sums.append(f"(SELECT count(*) FROM put_{number})")
        self.script.add(f"WITH {', '.join(parts)}\nSELECT {' + '.join(sums)}")

    def _insert_by_rank(self, found: Found) -> None:
        """Rows that refer to rows of their own table: those that are referred to come first, and
        those that refer to each other at last, in one statement."""
        table, name = found.pair.captured.table, found.name
        key = found.pair.rows_key
        above = " OR ".join(
            " AND ".join(
                f"p.{quote_name(one)} {operator} c.{quote_name(other)}"
                for one, operator, other in zip(
                    foreign.parent_columns, foreign.match, foreign.columns, strict=True
                )
            )
            for foreign in self.plan.live.of_child(table)
            if foreign.parent == table
        )
        relation = found.pair.captured.relation
        waits = f"""
SELECT FROM {relation} c JOIN {relation} p ON ({above})
JOIN {name} g ON {equal("p", key.columns, key.operators, "g")}
WHERE {equal("c", key.columns, key.operators, "f")} AND g.included AND g.state = '{MISSING}'
    AND g.depth IS NULL AND g.ctid <> f.ctid"""
        rank = 0
        while rank < _MOST_RANKS:
            free = self.desk.execute(
                f"UPDATE {name} f SET depth = {rank} WHERE included AND state = '{MISSING}'"
                f" AND depth IS NULL AND NOT EXISTS ({waits})"
            )
            if not free:
                break
            self._insert(found, f" AND f.depth = {rank}")
            rank += 1
        self._insert(found, " AND f.depth IS NULL", whole=True)

    def _lines(self, found: Found, condition: str = "") -> Iterator[str]:
        columns = ", ".join(f"s.{quote_name(one)}::text" for one in found.pair.columns)
        query = _rows_query(found, columns, f"f.state = '{MISSING}'{condition}")
        for rows in self.desk.stream(query, _BATCH_ROWS):
            for row in rows:
                yield f"    ({', '.join(map(_literal, row))})"

    # Rows that were changed

    def _update(self, found: Found) -> None:
        pair, key = found.pair, found.pair.rows_key
        self.script.write(f"\n-- {_shown(pair.label)}\n")
        texts = ", ".join(f"f.k{n}::text" for n, _ in enumerate(key.columns, 1))
        columns = ", ".join(f"s.{quote_name(one)}::text" for one in pair.columns)
        query = _rows_query(found, f"{texts}, {columns}", f"f.state = '{CHANGED}'")
        live = ", ".join(f"t.{quote_name(one)}::text" for one in pair.columns)
        asked = with_values(
            f"SELECT {live} FROM {given(pair.live, key)} ORDER BY w.place", len(key.columns)
        )
        width = len(key.columns)
        for rows in self.desk.stream(query, _BATCH_ROWS):
            keys = columns_of([row[:width] for row in rows])
            now = self.live.execute(asked, keys).fetchall()
            for row, values in zip(rows, now, strict=True):
                self._update_row(found, row[:width], row[width:], values)

    def _update_row(
        self,
        found: Found,
        key: Sequence[str],
        before: Sequence[str | None],
        now: Sequence[str | None],
    ) -> None:
        pair = found.pair
        differing = [
            (name, one, other)
            for name, one, other in zip(pair.columns, before, now, strict=True)
            if one != other
        ]
        settable = [one for one in differing if not pair.live.columns[one[0]].always]
        if len(settable) < len(differing):
            self.script.unchanged.append(pair.label)
        if not settable:
            return
        was = ", ".join(f"{quote_name(name)} = {_literal(other)}" for name, _, other in settable)
        sets = ", ".join(f"{quote_name(name)} = {_literal(one)}" for name, one, _ in settable)
        where = " AND ".join(
            f"{quote_name(name)} {operator} {_literal(value)}"
            for name, operator, value in zip(
                pair.rows_key.columns, pair.rows_key.operators, key, strict=True
            )
        )
        self.script.write(f"-- now: {_one_line(was)}\n")
        self.script.add(f"UPDATE {pair.live.relation} SET {sets} WHERE {where}", 1)
        self.script.updates += 1


def _rows_query(found: Found, columns: str, condition: str) -> str:
    """The captured rows that are put back, in an order that is always the same."""
    key = found.pair.rows_key
    order = ", ".join(
        f"s.{quote_name(one)}{' COLLATE ' + _BYTES if _is_collated(found, one) else ''}"
        for one in key.columns
    )
    return (
        f"SELECT {columns} FROM {found.pair.captured.relation} s"
        f" JOIN {found.name} f ON {equal('s', key.columns, key.operators, 'f')}"
        f" WHERE f.included AND {condition} ORDER BY {order}"
    )


_BYTES: Final = 'pg_catalog."C"'


def _is_collated(found: Found, name: str) -> bool:
    return found.pair.captured.columns[name].collated


def _keys_of(found: Found, state: str) -> str:
    width = len(found.pair.rows_key.columns)
    keys = ", ".join(f"f.k{n}::text" for n in range(1, width + 1))
    columns = f"{keys}, encode(f.digest, 'hex')"
    return _rows_query(found, columns, f"f.state = '{state}'")


def _guard(found: Found, rows: Sequence[Sequence[Any]]) -> str:  # Any: texts
    """A block that locks these rows, and fails unless each is there as it was compared."""
    pair, key = found.pair, found.pair.rows_key
    types = [pair.live.columns[one].plain_type for one in key.columns]
    lines = ",\n            ".join(
        "("
        + ", ".join(
            f"{_literal(value)}::{kind}" for value, kind in zip(row[:-1], types, strict=True)
        )
        + f", '{row[-1]}')"
        for row in rows
    )
    names = ", ".join(f"k{n}" for n, _ in enumerate(key.columns, 1))
    digest = f"pg_catalog.encode({digest_of('live', pair.columns)}, 'hex')"
    message = quote_literal(f"strongroom: rows of {pair.label} have changed since").strip()
    body = f"""
BEGIN
    IF (SELECT count(*) FROM (
        SELECT FROM {pair.live.relation} AS live JOIN (VALUES
            {lines}
        ) AS seen ({names}, digest) ON {equal("live", key.columns, key.operators, "seen")}
        WHERE {digest} = seen.digest
        FOR UPDATE OF live) AS same) <> {len(rows)}
    THEN RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = {message};
    END IF;
END
"""
    tag = "strongroom"
    while f"${tag}$" in body:
        tag += "_"
    return f"DO ${tag}${body}${tag}$"


def _insert_statement(found: Found, lines: Sequence[str]) -> str:
    pair = found.pair
    names = ", ".join(map(quote_name, pair.columns))
    always = any(pair.live.columns[one].always for one in pair.columns)
    overriding = " OVERRIDING SYSTEM VALUE" if always else ""
    rows = ",\n".join(lines)
    return f"INSERT INTO {pair.live.table.sql} ({names}){overriding} VALUES\n{rows}"


def _batches(lines: Iterable[str], *, whole: bool) -> Iterator[list[str]]:
    batch: list[str] = []
    length = 0
    for line in lines:
        batch.append(line)
        length += len(line)
        if not whole and (len(batch) >= _BATCH_ROWS or length >= _BATCH_CHARACTERS):
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _literal(value: str | None) -> str:
    return "NULL" if value is None else quote_literal(value).strip()


def _shown(text: str) -> str:
    """Text for a comment, which ends with its line."""
    plain = _one_line(text)
    return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 1] + "…"


def _one_line(text: str) -> str:
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "replace").decode()
        for sign in text
    )
