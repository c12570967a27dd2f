"""Exchanging the names of two databases on one server, so that a proven copy takes the live place.

Both are renamed in one transaction: either all of it happened or nothing. Nothing is dropped, and
nobody is disconnected: PostgreSQL refuses to rename a database that somebody uses, and that
refusal is passed on.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from strongroom.errors import SourceError, TargetError
from strongroom.postgres.connection import Connection
from strongroom.postgres.statement import quote_name
from strongroom.postgres.target import find_database, maintenance_connection

__all__ = [
    "KeptBeside",
    "database_exists",
    "drop_if_made",
    "exchange_databases",
    "kept_beside",
    "name_beside",
    "names_on",
    "number_of",
    "refuse_used",
    "sort_kept",
    "take_name",
]

_LONGEST_NAME_BYTES = 63
_STAMP_DIGITS = 14
_KEY_DIGITS = 8
_NAME_DIGITS: Final = 8
_BESIDE: Final = re.compile(
    r"_(?:restored|before|replaced|rolled_back)_\d{14}\Z|_(?:empty|recovering)_[0-9a-f]+\Z"
)


def refuse_used(target: Connection) -> int | None:
    """The target's number, None when it does not exist; TargetError when somebody is connected."""
    with target.explaining(), maintenance_connection(target) as session:
        found = session.execute(
            "SELECT d.oid,"
            " (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid"
            # Which gives way to a renaming by itself.
            " AND a.backend_type <> 'autovacuum worker')"
            " FROM pg_catalog.pg_database d WHERE d.datname = %s",
            [target.database],
        ).fetchone()
    if found is None:
        return None
    if found[1]:
        raise _used(target, f"somebody is connected to it (sessions: {found[1]})")
    return int(found[0])


def number_of(target: Connection) -> int | None:
    """The number (oid) by which the server knows the target, which stays when its name changes;
    None when there is no database of this name."""
    with target.explaining(), maintenance_connection(target) as session:
        found = session.execute(
            "SELECT oid FROM pg_catalog.pg_database WHERE datname = %s", [target.database]
        ).fetchone()
    return int(found[0]) if found is not None else None


def names_on(target: Connection) -> set[str]:
    """The names of all databases on the target's server."""
    with target.explaining(), maintenance_connection(target) as session:
        rows = session.execute("SELECT datname::text FROM pg_catalog.pg_database").fetchall()
    return {name for (name,) in rows}


def exchange_databases(target: Connection, beside: str, kept: str) -> None:
    """Rename the target to `kept` and `beside` to the target's name.

    TargetError when the role may not, or somebody is connected; then nothing was renamed.
    """
    import psycopg

    with target.explaining(), maintenance_connection(target) as session:
        try:
            with session.transaction():
                for old, new in ((target.database, kept), (beside, target.database)):
                    statement = f"ALTER DATABASE {quote_name(old)} RENAME TO {quote_name(new)}"
                    session.execute(statement.encode())
        except psycopg.errors.ObjectInUse as error:
            raise _used(target, error.diag.message_primary or "it is in use") from None
        except psycopg.Error as error:
            reason = error.diag.message_primary or str(error)
            raise TargetError(
                f"the databases could not be renamed: {reason}",
                subject=target.describe(),
                hint=f"Rename {beside} by hand, as a role that may.",
            ) from None


def take_name(target: Connection, beside: str) -> None:
    """Give the target's name to the database `beside`; harmless when that has happened. A target
    that exists and is empty gives way.

    TargetError `target-not-empty` when the target holds anything, or somebody is connected to one
    of both; then nothing was renamed.
    """
    if not database_exists(target, beside):
        if not database_exists(target, target.database):
            raise TargetError(f"{beside}, which was restored, is gone", subject=target.describe())
        return
    if not find_database(target):
        _rename(target, beside)
        return
    gone = name_beside(target.database, "_empty_" + beside[-_KEY_DIGITS:])
    exchange_databases(target, beside, gone)
    drop_if_made(target, gone)


def database_exists(target: Connection, name: str) -> bool:
    """Whether the target's server has a database of this name."""
    with target.explaining(), maintenance_connection(target) as session:
        row = session.execute(
            "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", [name]
        ).fetchone()
    return row is not None


def _rename(target: Connection, beside: str) -> None:
    import psycopg

    with target.explaining(), maintenance_connection(target) as session:
        statement = f"ALTER DATABASE {quote_name(beside)} RENAME TO {quote_name(target.database)}"
        try:
            session.execute(statement.encode())
        except psycopg.errors.ObjectInUse as error:
            raise _used(target, error.diag.message_primary or "it is in use") from None
        except psycopg.Error as error:
            reason = error.diag.message_primary or str(error)
            raise TargetError(
                f"{beside} could not be renamed: {reason}", subject=target.describe()
            ) from None


@dataclass(frozen=True, slots=True)
class KeptBeside:
    """Databases beside another: `own` are its own by their names; `doubtful` may be another's,
    since earlier versions only cut a name that was too long, and others begin alike."""

    own: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


def kept_beside(target: Connection, infix: str) -> KeptBeside:
    """Databases whose names are the target's, the infix and a time, as `name_beside` makes them
    and earlier versions made them."""
    return sort_kept(target.database, infix, names_on(target))


def sort_kept(name: str, infix: str, there: Collection[str]) -> KeptBeside:
    """See `kept_beside`; `there` are all names of databases on the server. Pure."""
    stamp = "0" * _STAMP_DIGITS
    own = _of_stem(name_beside(name, infix + stamp)[:-_STAMP_DIGITS], there)
    old_stem = _cut(name, infix + stamp)
    earlier = [one for one in _of_stem(old_stem + infix, there) if one not in own]
    alike = [
        one
        for one in there
        if one != name and not _BESIDE.search(one) and _cut(one, infix + stamp) == old_stem
    ]
    if alike:
        return KeptBeside(tuple(own), tuple(earlier))
    return KeptBeside((*own, *earlier))


def _of_stem(stem: str, there: Collection[str]) -> list[str]:
    return [
        one
        for one in there
        if one.startswith(stem)
        and len(one) == len(stem) + _STAMP_DIGITS
        and one[len(stem) :].isdigit()
    ]


def name_beside(name: str, suffix: str) -> str:
    """A name for a database beside another, short enough for PostgreSQL. Where that has to be cut
    it bears a digest of the whole name: what begins alike is not the same."""
    if len((name + suffix).encode()) < _LONGEST_NAME_BYTES:
        return name + suffix
    # One that would just fit has it, too: else it could be taken for one that earlier versions cut.
    digest = "_" + hashlib.sha256(name.encode()).hexdigest()[:_NAME_DIGITS]
    return _cut(name, digest + suffix) + digest + suffix


def _cut(name: str, suffix: str) -> str:
    """As much of a name as leaves room for the suffix."""
    room = _LONGEST_NAME_BYTES - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore")


def drop_if_made(target: Connection, name: str) -> None:
    """Remove a database that this program made and could not finish; harmless when it is gone."""
    import psycopg

    with contextlib.suppress(SourceError, psycopg.Error), maintenance_connection(target) as session:
        # FORCE, because sessions of children that were killed take a moment to end.
        session.execute(f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)".encode())


def _used(target: Connection, reason: str) -> TargetError:
    return TargetError(
        reason,
        subject=target.describe(),
        hint="Stop what uses the database, then run the command again.",
    )
