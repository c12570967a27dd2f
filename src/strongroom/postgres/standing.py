"""What the loading role is on a target, and what the target had before it came.

A superuser may do all. Elsewhere, as on a managed service, the role that restores is an ordinary
one: it makes roles without what only superusers give, it owns what it makes, gives ownership only
to roles that it may act for, and finds schemas and tables of the service in a new database. Where
it may, it becomes a member of the roles to whom things are to belong, for the time of the load, and
gives that back. Nothing of the whole server is changed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom.model import Finding, finding
from strongroom.postgres.connection import Connection
from strongroom.postgres.inventory import CatalogObject, Inventory, take_inventory
from strongroom.postgres.manifest import RoleRecord
from strongroom.postgres.role_change import RoleChange
from strongroom.postgres.statement import quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Standing",
    "acting_for",
    "as_ordinary_role",
    "examine_standing",
    "narrow_grants",
    "owners",
    "role_change",
]

_OF_SUPERUSERS: Final = re.compile(r" (NO)?(SUPERUSER|REPLICATION|BYPASSRLS)\b")
_ROLE: Final = b"""
SELECT current_user::text, r.rolsuper, r.rolcreaterole
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"""
_OF_THE_SERVER: Final = frozenset({"roles", "memberships"})
_SETTABLE: Final = """
SELECT r.rolname::text FROM pg_catalog.pg_roles r
WHERE pg_catalog.pg_has_role(r.oid, {}) AND pg_catalog.pg_has_role(r.oid, 'USAGE')"""
# The words of REVOKE for the kinds of objects that default privileges are of.
_MAINTAIN, _MAINTAIN_SINCE = "MAINTAIN", 17
_REVOKABLE: Final = {
    "table": "TABLE", "view": "TABLE", "materialized view": "TABLE", "foreign table": "TABLE",
    "sequence": "SEQUENCE", "function": "FUNCTION", "procedure": "PROCEDURE",
    "aggregate": "FUNCTION", "schema": "SCHEMA", "type": "TYPE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """The loading role; the roles of the server, and those that it may act for; `kept` are the keys
    of what the target had before, where the role is an ordinary one: the server's roles, and what
    the database held unless it was made."""

    role: str
    superuser: bool
    makes_roles: bool
    roles: frozenset[str]
    acts_for: frozenset[str]
    kept: frozenset[str] = frozenset()


def examine_standing(target: Connection, *, made: bool) -> Standing:
    """The standing of the target's role in its database; `made`: the database is our own."""
    with target.connect() as session:
        row = session.execute(_ROLE).fetchone()
        assert row is not None
        role, superuser, makes_roles = str(row[0]), bool(row[1]), bool(row[2])
        names = session.execute(b"SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
        kept: frozenset[str] = frozenset()
        if not superuser:
            kept = frozenset(
                key
                for key, one in take_inventory(session).objects.items()
                if one.section in _OF_THE_SERVER or (not made and one.section != "database")
            )
        return Standing(
            role,
            superuser,
            makes_roles or superuser,
            frozenset(str(name) for (name,) in names),
            _acts_for(session),
            kept,
        )


def _acts_for(session: psycopg.Connection) -> frozenset[str]:
    """The roles whose things the session's role may make, alter and give away."""
    right = "'SET'" if session.info.server_version >= 160000 else "'MEMBER'"
    return frozenset(str(name) for (name,) in session.execute(_SETTABLE.format(right).encode()))


def owners(inventory: Inventory, kept: Collection[str] = ()) -> set[str]:
    """The roles to whom anything of the database belongs, but for what the target has already."""
    return {
        str(one.attributes["owner"])
        for one in inventory.objects.values()
        if one.attributes.get("owner") not in (None, "(default)") and one.key not in kept
    }


def role_change(
    standing: Standing, inventory: Inventory, other: Mapping[str, str], acts_for: Collection[str]
) -> RoleChange:
    """What becomes of the captured roles here, with those that the role `acts_for` by now."""
    mentioned = {*inventory.mentioned_roles, *owners(inventory)}
    mentioned = {name for name in mentioned if not name.startswith("pg_")}
    absent = {name for name in mentioned if name not in standing.roles and name not in other}
    unheld: set[str] = set()
    if not standing.superuser:
        unheld = {name for name in owners(inventory) - absent if name not in other} - {*acts_for}
        unheld -= {name for name in unheld if name.startswith("pg_")}
    return RoleChange(standing.role, dict(other), frozenset(absent), frozenset(unheld))


@contextlib.contextmanager
def acting_for(
    target: Connection, standing: Standing, wanted: Iterable[str]
) -> Iterator[frozenset[str]]:
    """Within it the role may act for the wanted ones, as far as it may let itself; gives all for
    which it may. What it let itself do is taken back at the end."""
    import psycopg

    if standing.superuser:
        yield standing.roles
        return
    taken: list[str] = []
    with target.connect() as session:
        own = quote_name(standing.role)
        newer = session.info.server_version >= 160000
        options = " WITH INHERIT TRUE, SET TRUE" if newer else ""
        for name in sorted({*wanted} & (standing.roles - standing.acts_for)):
            with contextlib.suppress(psycopg.Error):
                session.execute(f"GRANT {quote_name(name)} TO {own}{options}".encode())
                taken.append(name)
        acts_for = _acts_for(session)
    try:
        yield acts_for
    finally:
        with contextlib.suppress(psycopg.Error), target.connect() as session:
            for name in taken:
                session.execute(f"REVOKE {quote_name(name)} FROM {own}".encode())


def as_ordinary_role(role: RoleRecord) -> tuple[RoleRecord, list[str]]:
    """The role without what only superusers give, and the statements that would give it."""
    name = quote_name(role.name)
    more: list[str] = []
    statements = []
    for statement in role.statements:
        if statement.startswith("ALTER ROLE ") and " WITH " in statement:
            head, _, words = statement.partition(" WITH ")
            special = [found[2] for found in _OF_SUPERUSERS.finditer(" " + words) if not found[1]]
            more += [f"ALTER ROLE {name} WITH {word}" for word in special]
            kept = _OF_SUPERUSERS.sub("", " " + words).strip()
            statement = f"{head} WITH {kept}" if kept else ""
        if statement:
            statements.append(statement)
    return RoleRecord(role.name, tuple(statements), role.memberships), more


def narrow_grants(
    session: psycopg.Connection,
    captured: Inventory,
    change: RoleChange,
    kept: Collection[str],
) -> list[Finding]:
    """Take away what the target's default privileges gave to others than the captured grants did.

    A dump only adds grants: where new tables are open to everybody by default, restored ones would
    be. What the target had before is left as it is.
    """
    observed = take_inventory(session)
    found: list[Finding] = []
    for key, one in captured.objects.items():
        now = observed.objects.get(key)
        kind = next((each for each in _REVOKABLE if key.startswith(f"{each} ")), None)
        if now is None or kind is None or key in kept or key == "schema public":
            continue
        name = key.removeprefix(kind).strip()
        is_new = captured.major < _MAINTAIN_SINCE <= observed.major
        for who, privileges in _surplus(one, now, change, ignored={_MAINTAIN} if is_new else ()):
            found += _revoke(session, f"{_REVOKABLE[kind]} {name}", key, who, privileges)
    return found


def _surplus(
    one: CatalogObject, now: CatalogObject, change: RoleChange, ignored: Collection[str]
) -> Iterator[tuple[str, list[str]]]:
    """What others than the owner may do now and might not before, by role as it is quoted. What is
    `ignored` is no reason by itself."""
    before, after = one.attributes.get("grants"), now.attributes.get("grants")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    wanted: dict[str, set[str]] = {}
    for who, what in before.items():
        name = change.other.get(who.strip('"'), who.strip('"'))
        wanted.setdefault(name, set()).update(str(what).replace("*", "").split())
    for who, what in after.items():
        if who == "(owner)" or " granted by " in who:
            continue
        allowed = wanted.get(who.strip('"'), set())
        more = [each for each in str(what).replace("*", "").split() if each not in allowed]
        if {*more} - {*ignored}:
            yield who, more


def _revoke(
    session: psycopg.Connection, what: str, key: str, who: str, privileges: Sequence[str]
) -> list[Finding]:
    import psycopg

    listed = ", ".join(privileges)
    to = f"{who} could {listed} by the target's default privileges"
    try:
        session.execute(f"REVOKE {listed} ON {what} FROM {who}".encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error)
        return [finding("target-grant", key, f"{to}, and it cannot be taken away: {reason}")]
    return [finding("target-narrowed", key, f"{to}; that was taken away")]
