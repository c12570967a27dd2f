"""The rows of a database that refer to files: a SELECT of the operator's, read and nothing else.

The statement becomes a cursor in a transaction that may only read, so that nothing but one SELECT
is accepted. Its first column is the path; columns called `size`, `sha256` and `md5` say what the
file is to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from strongroom.postgres.connection import Connection
from strongroom.postgres.messages import without_values

if TYPE_CHECKING:
    import psycopg

__all__ = ["Reference", "UnansweredError", "read_references"]

_FETCHED_AT_ONCE: Final = 2000
_HASHES: Final = {"sha256": 64, "md5": 32}


class UnansweredError(Exception):
    """The SELECT could not be answered, or gives what cannot be meant; the text says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One row: the path as the database has it, and what is said of the file (None: nothing).

    Sizes in bytes; hashes as lower-case hex digits.
    """

    path: bytes
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None


def read_references(
    connection: Connection, sql: str, *, timeout_seconds: int = 0
) -> Iterator[Reference]:
    """Every row whose path is not NULL; UnansweredError when the SELECT can't be answered.

    `timeout_seconds` bounds each step of the server's; 0 means no bound. SourceError when the
    connection is lost.
    """
    import psycopg

    with connection.explaining(), connection.connect() as session, session.transaction():
        session.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        session.execute(f"SET LOCAL statement_timeout = {timeout_seconds * 1000}".encode())
        try:
            with session.cursor(name="strongroom_references") as cursor:
                cursor.itersize = _FETCHED_AT_ONCE
                cursor.execute(_one_statement(sql))
                yield from _rows(cursor)
        except psycopg.errors.QueryCanceled as error:
            raise UnansweredError(_reason(error)) from None
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise UnansweredError(_reason(error)) from None


def _reason(error: psycopg.Error) -> str:
    return without_values(error.diag.message_primary or str(error).partition("\n")[0])


def _one_statement(sql: str) -> bytes:
    return sql.strip().removesuffix(";").encode()


# Any: whatever types the columns have
def _rows(cursor: psycopg.ServerCursor[tuple[Any, ...]]) -> Iterator[Reference]:
    columns: Mapping[str, int] = {}
    for row in cursor:
        if not columns:
            assert cursor.description is not None
            columns = {one.name.lower(): place for place, one in enumerate(cursor.description)}
        if row[0] is None:
            continue
        size = row[columns["size"]] if "size" in columns else None
        yield Reference(
            _path(row[0]),
            _size(size),
            **{name: _hash(row[columns[name]], name) for name in _HASHES if name in columns},
        )


def _path(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    raise UnansweredError(f"its first column holds no paths but values of type {_type(value)}")


def _size(value: object) -> int | None:
    if value is None:
        return None
    try:
        size = int(str(value))
    except ValueError:
        raise UnansweredError(f"the column size holds values of type {_type(value)}") from None
    return size


def _hash(value: object, name: str) -> str | None:
    if value is None:
        return None
    text = bytes(value).hex() if isinstance(value, bytes | memoryview) else str(value).lower()
    text = text.removeprefix("\\x").replace("-", "").strip()
    if len(text) != _HASHES[name] or not all(one in "0123456789abcdef" for one in text):
        raise UnansweredError(f"the column {name} holds what is no {name} in hex digits")
    return text


def _type(value: object) -> str:
    return type(value).__name__
