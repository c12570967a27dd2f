"""Which rows of a captured table are gone or changed in another database, told apart by a key.

The captured table lies in a sandbox. Of the other one, keys and digests of rows are streamed into
the sandbox beside it, where PostgreSQL compares: nothing is sorted on the other server, whose rows
are read once and never held in this program's memory, and keys are equal when the key's own index
says so, whatever their type or collation. Few rows are looked up by the key's index, many by
reading the table once. Reads only.

Invariant: a row that the session may not see is never taken for one that is gone: row security is
off in it, so that the server refuses instead of hiding (`database-privilege`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import SourceError
from strongroom.postgres.connection import Connection
from strongroom.postgres.messages import without_values
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.statement import quote_name
from strongroom.postgres.table_shape import Key, Shape

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "WORK",
    "Desk",
    "Pair",
    "columns_of",
    "digest_of",
    "equal",
    "given",
    "matched",
    "pair_of",
    "reading_only",
    "unseen",
    "with_values",
]

WORK: Final = "strongroom_work"
_BATCH: Final = 1_000
# Up to so many rows, and up to this share of a table, it costs less to look them up one by one.
_FEW: Final = 20_000
_SHARE: Final = 20
_LOCK_TIMEOUT: Final = "30s"
_VALUES: Final = "strongroom_values"
# Types that hold the same values, in which a key is compared when its type was changed since.
_ALIKE: Final = (
    (frozenset({"smallint", "integer", "bigint"}), "bigint"),
    (frozenset({"character varying", "text"}), "text"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One table on both sides: as it was captured, and as it is there now.

    `columns` are those that both have, generated ones left out, in the captured order; `key` are
    those that tell rows apart, None where nothing does. `rows` were captured. `retyped` have
    another type now.
    """

    captured: Shape
    live: Shape
    columns: tuple[str, ...]
    key: Key | None
    rows: int
    retyped: tuple[str, ...]

    @property
    def label(self) -> str:
        return self.captured.table.label

    @property
    def rows_key(self) -> Key:
        """The key of a pair that is known to have one."""
        assert self.key is not None
        return self.key

    def kept(self, columns: Sequence[str], alias: str) -> str:
        """SQL for captured columns, in types that take in the live values as well."""
        return ", ".join(self._kept(name, alias) for name in columns)

    def _kept(self, name: str, alias: str) -> str:
        before, now = self.captured.columns[name], self.live.columns[name]
        shared = _shared_type(before.plain_type, now.plain_type)
        cast = "" if before.plain_type == now.plain_type or shared is None else f"::{shared}"
        return f"{alias}.{quote_name(name)}{cast}"


def pair_of(captured: Shape, live: Shape, rows: int) -> Pair:
    """The pair; its key is the first of the live table that is a key of the captured one, too."""
    columns = tuple(
        name
        for name, one in captured.columns.items()
        if not one.generated and name in live.columns and not live.columns[name].generated
    )
    types = {name: (captured.columns[name], live.columns[name]) for name in columns}
    retyped = tuple(name for name, (one, other) in types.items() if one.type != other.type)
    alike = {
        name
        for name, (one, other) in types.items()
        if _shared_type(one.plain_type, other.plain_type) is not None
    }
    known = [frozenset(one.columns) for one in captured.keys]
    fit = [one for one in live.keys if set(one.columns) <= alike]
    key = next((one for one in fit if frozenset(one.columns) in known), None)
    return Pair(captured, live, columns, key, rows, retyped)


def _shared_type(one: str, other: str) -> str | None:
    if one == other:
        return one
    return next((shared for types, shared in _ALIKE if {one, other} <= types), None)


def digest_of(alias: str, columns: Sequence[str]) -> str:
    """SQL for the SHA-256 of a row's text, the same in every session with pinned settings."""
    row = ", ".join(f"{alias}.{quote_name(name)}" for name in columns)
    return f"pg_catalog.sha256(pg_catalog.convert_to(ROW({row})::text, 'UTF8'))"


def equal(alias: str, columns: Sequence[str], operators: Sequence[str], other: str) -> str:
    """SQL for: these columns are the k1, k2 … of `other`."""
    pairs = zip(columns, operators, strict=True)
    return " AND ".join(
        f"{alias}.{quote_name(name)} {operator} {other}.k{n}"
        for n, (name, operator) in enumerate(pairs, 1)
    )


@contextmanager
def reading_only(connection: Connection, session: psycopg.Connection) -> Iterator[None]:
    """One moment of the session's database for all that is asked within; nothing can be written.

    SourceError `database-privilege` when the role may not see all that is asked of it.
    """
    import psycopg

    settings = {**pinned_settings(session.info.server_version), "lock_timeout": _LOCK_TIMEOUT}
    with connection.explaining():
        try:
            with session.transaction(force_rollback=True):
                session.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                pin_settings(session, settings, local=True)
                yield
        except psycopg.errors.InsufficientPrivilege as error:
            raise unseen(connection, error) from None


def unseen(connection: Connection, error: psycopg.Error) -> SourceError:
    """The error that rows cannot be told from those that are gone."""
    reason = without_values(error.diag.message_primary or str(error))
    return SourceError(
        reason,
        subject=connection.describe(),
        code="database-privilege",
        hint="Connect as the tables' owner, or as a role with BYPASSRLS that may read them: rows "
        "that are hidden would look deleted.",
    )


class Desk:
    """Where rows of both sides are compared: tables of our own in the sandbox's database."""

    def __init__(self, session: psycopg.Connection) -> None:
        self.session = session
        self._numbers = itertools.count(1)
        session.execute(f"DROP SCHEMA IF EXISTS {WORK} CASCADE".encode())
        session.execute(f"CREATE SCHEMA {WORK}".encode())

    def execute(self, sql: str) -> int:
        """Run a statement; returns how many rows it concerned."""
        return self.session.execute(sql.encode()).rowcount

    def rows(self, sql: str) -> list[tuple[Any, ...]]:  # Any: what the query gives
        return self.session.execute(sql.encode()).fetchall()

    def count(self, sql: str) -> int:
        """The one number that a query gives."""
        ((number,),) = self.rows(sql)
        return int(number or 0)

    def stream(
        self, sql: str, batch: int = _BATCH
    ) -> Iterator[list[tuple[Any, ...]]]:  # Any: what the query gives
        """The rows of a query, a batch at a time, never all at once."""
        with (
            self.session.transaction(),
            self.session.cursor(name=f"strongroom_{next(self._numbers)}") as cursor,
        ):
            cursor.execute(sql.encode())
            while rows := cursor.fetchmany(batch):
                yield rows

    def key_table(self, pair: Pair, columns: Sequence[str], more: str = "") -> str:
        """A new empty table for values of these columns, called k1, k2 …; `more` are further
        columns of it, as SQL."""
        name = f"{WORK}.w{next(self._numbers)}"
        listed = [f"{pair.kept([one], 's')} AS k{n}" for n, one in enumerate(columns, 1)]
        listed += [more] if more else []
        self.execute(
            f"CREATE UNLOGGED TABLE {name} AS SELECT {', '.join(listed)}"
            f" FROM {pair.captured.relation} s WITH NO DATA"
        )
        return name

    def fetch(
        self,
        session: psycopg.Connection,
        pair: Pair,
        key: Key,
        wanted: str | None,
        *,
        digested: bool = True,
    ) -> str:
        """The rows of the other side by these columns, as a new table here: k1, k2 … and digest.

        `wanted` is a table here whose k1, k2 … say which; None means all of them.
        """
        into = self.key_table(pair, key.columns, "NULL::bytea AS digest")
        digest = digest_of("t", pair.columns) if digested else "NULL::bytea"
        if wanted is not None:
            number = self.count(f"SELECT count(*) FROM {wanted}")
            if number <= max(_FEW, pair.rows // _SHARE):
                self._look_up(session, pair, key, wanted, digest, into)
                return into
        listed = ", ".join([*(f"t.{quote_name(one)}" for one in key.columns), digest])
        statement = f"COPY (SELECT {listed} FROM {pair.live.relation} t) TO STDOUT"
        with (
            session.cursor().copy(statement.encode()) as source,
            self.session.cursor().copy(f"COPY {into} FROM STDIN".encode()) as target,
        ):
            for block in source:
                target.write(block)
        self.execute(f"ANALYZE {into}")
        return into

    def _look_up(
        self,
        session: psycopg.Connection,
        pair: Pair,
        key: Key,
        wanted: str,
        digest: str,
        into: str,
    ) -> None:
        """Rows by the values of a table here, through the index of the other side."""
        texts = ", ".join(f"k{n}::text" for n, _ in enumerate(key.columns, 1))
        listed = ", ".join(f"t.{quote_name(one)}::text" for one in key.columns)
        query = f"SELECT {listed}, {digest} FROM {given(pair.live, key)}"
        statement = with_values(query, len(key.columns))
        for batch in self.stream(f"SELECT DISTINCT {texts} FROM {wanted}"):
            found = session.execute(statement, columns_of(batch)).fetchall()
            with self.session.cursor().copy(f"COPY {into} FROM STDIN".encode()) as target:
                for row in found:
                    target.write_row(row)
        self.execute(f"ANALYZE {into}")


def matched(one: str, other: str, operators: Sequence[str]) -> str:
    """SQL for: both have the same k1, k2 …"""
    return " AND ".join(
        f"{one}.k{n} {operator} {other}.k{n}" for n, operator in enumerate(operators, 1)
    )


def given(live: Shape, key: Key) -> str:
    """SQL for: the rows `t` of a table whose key is among values that are handed over as `w`, which
    come in the order of their `place`."""
    types = [live.columns[name].plain_type for name in key.columns]
    names = ", ".join(f"k{n}" for n, _ in enumerate(key.columns, 1))
    casts = " AND ".join(
        f"t.{quote_name(name)} {operator} w.k{n}::{kind}"
        for n, (name, operator, kind) in enumerate(
            zip(key.columns, key.operators, types, strict=True), 1
        )
    )
    values = f"unnest({_VALUES}) WITH ORDINALITY AS w ({names}, place)"
    return f"{values} JOIN {live.relation} t ON {casts}"


def with_values(query: str, columns: int) -> bytes:
    """The statement that takes one list of texts for each column, where `given` left room."""
    places = ", ".join(["%s::text[]"] * columns)
    return query.replace("%", "%%").replace(_VALUES, places).encode()


def columns_of(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """Rows as columns."""
    return [list(one) for one in zip(*rows, strict=True)]
