"""Digests that the server computes of what no COPY stream holds, regardless of row order.

Generated columns are left out of COPY, and large objects lie outside of tables. For the first, the
text of every row with all its columns is hashed and the hashes are added up; for the second, each
object has a digest of its own. Equal content gives equal digests on every major version, under the
pinned settings; two different contents with equal sums would need a collision of SHA-256 sums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from strongroom.postgres.manifest import LargeObject, LargeObjects
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["add_digests", "digest_large_objects", "digest_rows"]

_LISTED: Final = 10_000
_FETCHED_AT_ONCE: Final = 5_000

# An object is read a mebibyte at a time: lo_get of a whole one would need its size in memory.
_LARGE_OBJECTS: Final = b"""
WITH RECURSIVE part (oid, start, length, digest) AS (
    SELECT x.oid, 0::int8, length(x.data), sha256(x.data) FROM (
        SELECT m.oid, lo_get(m.oid, 0, 1048576) AS data
        FROM pg_catalog.pg_largeobject_metadata m OFFSET 0) x
    UNION ALL
    SELECT y.oid, y.start, length(y.data), sha256(y.data) FROM (
        SELECT p.oid, p.start + 1048576 AS start, lo_get(p.oid, p.start + 1048576, 1048576) AS data
        FROM part p WHERE p.length = 1048576 OFFSET 0) y
)
SELECT oid::int8, sum(length)::int8, encode(sha256(string_agg(digest, ''::bytea ORDER BY start)),
    'hex')
FROM part GROUP BY oid ORDER BY oid"""


def digest_rows(
    connection: psycopg.Connection, relation: str, columns: Sequence[str], condition: str = ""
) -> str:
    """The count of a table's rows and the sums of two halves of their SHA-256, as text."""
    row = ", ".join(map(quote_name, columns))
    query = f"""
SELECT count(*), coalesce(sum(('x' || substr(h, 1, 15))::bit(60)::int8), 0),
    coalesce(sum(('x' || substr(h, 16, 15))::bit(60)::int8), 0)
FROM (SELECT encode(sha256(convert_to(ROW({row})::text,
        CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)), 'hex') AS h
    FROM ONLY {relation} {condition}) rows"""
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return ":".join(str(part) for part in found)


def add_digests(digests: Iterable[str]) -> str:
    """What `digest_rows` would give for the rows of several tables together."""
    parts = [[int(part) for part in one.split(":")] for one in digests]
    return ":".join(str(sum(column)) for column in zip(*parts, strict=True))


def digest_large_objects(connection: psycopg.Connection) -> LargeObjects:
    """All large objects in sum, and one by one while they are few. Needs a transaction."""
    count, size, total = 0, 0, 0
    listed: list[LargeObject] = []
    with connection.cursor(name="strongroom_large_objects") as cursor:
        cursor.itersize = _FETCHED_AT_ONCE
        cursor.execute(_LARGE_OBJECTS)
        for number, length, digest in cursor:
            count, size = count + 1, size + length
            identity = hashlib.sha256(f"{number}:{length}:{digest}".encode()).digest()
            total = (total + int.from_bytes(identity[:16])) % (1 << 128)
            if count <= _LISTED:
                listed.append(LargeObject(number, length, digest))
    objects = tuple(listed) if count <= _LISTED else ()
    return LargeObjects(count, size, f"{total:032x}", objects)
