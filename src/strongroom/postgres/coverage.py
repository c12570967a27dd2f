"""The registry of what is known to exist and where it is: nothing is left out without a word.

Some things that belong to an application lie outside of what PostgreSQL gives out: passwords, keys,
rows of other servers, bytes in buckets. Each gets a line with a status: `captured`,
`not-configured` (there is none), `not-exportable` or `needs-action`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from strongroom.model import Finding, finding
from strongroom.postgres.catalogue import Relation
from strongroom.postgres.manifest import Coverage

if TYPE_CHECKING:
    import psycopg

__all__ = ["judge_coverage", "read_coverage"]

# What needs action on the day of a restore, and leaves nothing of the content unproven.
_TO_BE_KNOWN: Final = frozenset({"passwords", "subscriptions", "tablespace"})


def judge_coverage(
    registry: Iterable[Coverage], elsewhere: Sequence[str] = ()
) -> Iterator[Finding]:
    """What belongs to the database, is not in its snapshot, and is not known to be protected.

    `elsewhere` are patterns of kinds and subjects that the operator looks after in another way.
    """
    for one in registry:
        if one.status != "needs-action" or one.kind in _TO_BE_KNOWN:
            continue
        subject = f"{one.kind} {one.subject}"
        if any(fnmatchcase(subject, pattern) for pattern in elsewhere):
            continue
        yield finding("coverage-unproven", subject, one.explanation)


def read_coverage(
    connection: psycopg.Connection,
    relations: Sequence[Relation],
    in_recovery: bool,
    excluded: Sequence[Relation] = (),
) -> tuple[Coverage, ...]:
    """The registry for the current database, sorted by kind and subject."""
    found = [
        *_excluded_tables(excluded),
        *_passwords(connection),
        *_foreign_tables(relations),
        *_unlogged_tables(relations, in_recovery),
        *_extension_tables(relations),
        *_vault(connection),
        *_buckets(connection),
        *_materialised_views(connection),
        *_user_mappings(connection),
        *_subscriptions(connection),
        *_tablespaces(connection),
    ]
    return tuple(sorted(found, key=lambda one: (one.kind, one.subject)))


def _names(connection: psycopg.Connection, query: bytes) -> list[str]:
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def _passwords(connection: psycopg.Connection) -> list[Coverage]:
    roles = _names(
        connection,
        b"SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin AND rolname !~ '^pg_'"
        b" ORDER BY 1",
    )
    if not roles:
        return [Coverage("passwords", "roles", "not-configured", "No role can log in.")]
    explanation = "Passwords are not captured: set them again on a new server."
    return [Coverage("passwords", ", ".join(roles), "needs-action", explanation)]


def _foreign_tables(relations: Sequence[Relation]) -> list[Coverage]:
    explanation = "Its definition is captured; its rows live on the other server: back that one up."
    return [
        Coverage("foreign table", one.label, "needs-action", explanation)
        for one in relations
        if one.kind == "f"
    ]


def _excluded_tables(relations: Sequence[Relation]) -> list[Coverage]:
    explanation = "Its definition is captured; its rows are left out, as `exclude_tables` says."
    return [
        Coverage("excluded table", one.label, "not-configured", explanation) for one in relations
    ]


def _unlogged_tables(relations: Sequence[Relation], in_recovery: bool) -> list[Coverage]:
    status = "captured"
    explanation = "Unlogged: its rows are captured, though the server itself loses them in a crash."
    if in_recovery:
        status, explanation = "not-exportable", "Unlogged: a standby has no rows of it."
    return [
        Coverage("unlogged table", one.label, status, explanation)
        for one in relations
        if one.has_rows and one.persistence == "u"
    ]


def _extension_tables(relations: Sequence[Relation]) -> list[Coverage]:
    found = []
    for one in relations:
        if one.extension and one.has_rows:
            which = f" ({one.condition})" if one.condition else ""
            explanation = f"Rows that extension {one.extension} declares as configuration{which}."
            found.append(Coverage("extension table", one.label, "captured", explanation))
    return found


def _vault(connection: psycopg.Connection) -> list[Coverage]:
    names = _names(
        connection,
        b"SELECT extname FROM pg_catalog.pg_extension"
        b" WHERE extname IN ('supabase_vault', 'pgsodium') ORDER BY 1",
    )
    status = "needs-action"
    explanation = "The key that decrypts its secrets is not in the database: keep it by hand."
    if names and not _holds_secrets(connection):
        # Managed services install them everywhere.
        status, explanation = "not-configured", "It holds no secrets."
    return [Coverage("vault key", name, status, explanation) for name in names]


def _holds_secrets(connection: psycopg.Connection) -> bool:
    """Whether a vault has rows; one that cannot be read may have some."""
    import psycopg

    tables = _names(
        connection,
        b"SELECT t FROM unnest(ARRAY['vault.secrets', 'pgsodium.key']) t"
        b" WHERE pg_catalog.to_regclass(t) IS NOT NULL",
    )
    for table in tables:
        try:
            with connection.transaction():
                row = connection.execute(f"SELECT EXISTS (SELECT FROM {table})".encode()).fetchone()
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            return True
        if row is None or row[0]:
            return True
    return False


def _buckets(connection: psycopg.Connection) -> list[Coverage]:
    exists = connection.execute(
        b"SELECT pg_catalog.to_regclass('storage.objects') IS NOT NULL"
    ).fetchone()
    if exists is None or not exists[0]:
        return []
    row = connection.execute(b"SELECT EXISTS (SELECT FROM storage.objects)").fetchone()
    if row is None or not row[0]:
        return [Coverage("bucket objects", "storage", "not-configured", "No bucket holds objects.")]
    explanation = "The rows are captured; the bytes lie in the bucket: protect it as a source."
    return [Coverage("bucket objects", "storage.objects", "needs-action", explanation)]


def _materialised_views(connection: psycopg.Connection) -> list[Coverage]:
    explanation = (
        "Its definition is captured; its rows are made anew of the tables' rows by a restore, and"
        " are not compared: one that was not up to date comes back up to date."
    )
    names = _names(
        connection,
        b"SELECT schemaname || '.' || matviewname FROM pg_catalog.pg_matviews ORDER BY 1",
    )
    return [Coverage("materialised view", name, "captured", explanation) for name in names]


def _user_mappings(connection: psycopg.Connection) -> list[Coverage]:
    explanation = (
        "As far as the capturing role may see its options, passwords too, they stand in the"
        " snapshot's schema; those that may be secret are not compared."
    )
    names = _names(
        connection,
        b"SELECT format('%s on %s', usename, srvname) FROM pg_catalog.pg_user_mappings ORDER BY 1",
    )
    return [Coverage("user mapping", name, "captured", explanation) for name in names]


def _subscriptions(connection: psycopg.Connection) -> list[Coverage]:
    row = connection.execute(
        # Not the OID: on 13 it is for superusers.
        b"SELECT count(s.subdbid) FROM pg_catalog.pg_subscription s"
        b" JOIN pg_catalog.pg_database d ON d.oid = s.subdbid"
        b" WHERE d.datname = current_database()"
    ).fetchone()
    if row is None or row[0] == 0:
        return []
    explanation = (
        "Restored disabled, without its slot on the publisher: create that anew. The address of the"
        " publisher, with any password in it, stands in the snapshot's schema and is not compared."
    )
    return [Coverage("subscriptions", f"{row[0]} of them", "needs-action", explanation)]


def _tablespaces(connection: psycopg.Connection) -> list[Coverage]:
    names = _names(
        connection,
        b"SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1",
    )
    explanation = "Its definition is in roles.sql; a restore places everything in the default one."
    return [Coverage("tablespace", name, "needs-action", explanation) for name in names]
