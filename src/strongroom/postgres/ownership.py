"""Ownership that was refused at first, tried again once all grants are made.

A role gets a table only where it may make tables. A dump gives that right after it gives the
table, which only superusers are let. What then still is refused is given with the right lent for
the moment, where the loading role may lend it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from strongroom.postgres.messages import Complaint

if TYPE_CHECKING:
    import psycopg

__all__ = ["settle_owners"]

_NAME: Final = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_OWNED: Final = re.compile(rf"ALTER .*? ({_NAME})\.[^;]* OWNER TO ({_NAME});", re.DOTALL | re.ASCII)


def settle_owners(session: psycopg.Connection, refused: Sequence[Complaint]) -> Iterator[Complaint]:
    """What is refused still, of statements that each complaint holds."""
    for one in refused:
        reason = _try(session, one.statement)
        if reason is None:
            continue
        found = _OWNED.match(one.statement)
        if found is None:
            yield replace(one, text=reason)
            continue
        with _lent(session, found[1], found[2]):
            reason = _try(session, one.statement)
        if reason is not None:
            yield replace(one, text=reason)


def _try(session: psycopg.Connection, statement: str) -> str | None:
    """Why the statement is refused; None when it was done."""
    import psycopg

    try:
        session.execute(statement.encode("latin-1"))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return error.diag.message_primary or str(error)
    return None


@contextlib.contextmanager
def _lent(session: psycopg.Connection, schema: str, role: str) -> Iterator[None]:
    """Within it the role may make objects in the schema, unless that is refused."""
    import psycopg

    place = f"CREATE ON SCHEMA {schema}".encode("latin-1")
    whom = role.encode("latin-1")
    row = session.execute(
        "SELECT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')"
        " FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n"
        " WHERE pg_catalog.quote_ident(r.rolname) = %s AND pg_catalog.quote_ident(n.nspname) = %s",
        [whom.decode(errors="replace"), schema.encode("latin-1").decode(errors="replace")],
    ).fetchone()
    lent = False
    if row is not None and not row[0]:
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            session.execute(b"GRANT " + place + b" TO " + whom)
            lent = True
    try:
        yield
    finally:
        if lent:
            session.execute(b"REVOKE " + place + b" FROM " + whom)
