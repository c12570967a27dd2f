"""The database that a load writes to: made anew, or found empty; and the roles beside it.

Nothing is ever overwritten: a database that holds anything of a user is refused. What a managed
service has put into a new database, and owns, is not the user's. A new one gets the encoding and
locale that were captured; when the server doesn't have that locale it gets the plain one and says
so. Only roles that are missing and that the database cannot do without are made; existing ones are
left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError, TargetError
from strongroom.model import Finding, finding
from strongroom.postgres.connection import Connection
from strongroom.postgres.entry_subject import shown_name
from strongroom.postgres.manifest import DatabaseRecord, Manifest, RoleRecord
from strongroom.postgres.messages import without_values
from strongroom.postgres.role_change import RoleChange, change_roles
from strongroom.postgres.schema_script import Entry
from strongroom.postgres.standing import Standing, as_ordinary_role
from strongroom.postgres.statement import quote_name
from strongroom.postgres.surroundings import create_database_statement

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "MAINTENANCE",
    "apply_settings",
    "create_roles",
    "find_database",
    "foreign_owner",
    "maintenance_connection",
    "may_create_databases",
    "prepare_database",
    "reason_locked_out",
    "take_back",
]

MAINTENANCE: Final = ("postgres", "template1")
"""Databases that every server has. From there the others are made, so they can't be renamed."""

_FOREIGN_SETTING: Final = re.compile(r"""( SET "(?:[^"]|"")*\.(?:[^"]|"")*" TO ).*""", re.DOTALL)
_WITH_ADMIN: Final = re.compile(r" WITH ADMIN OPTION$|(?<= WITH )ADMIN TRUE, ")
_PARAMETERS_SINCE: Final = 150000
_ROLE_IN_DATABASE: Final = re.compile(r'ALTER ROLE "((?:[^"]|"")+)"(?= IN DATABASE )')

# In a database of the role's own, what belongs to roles that it may not act for is the service's.
_OCCUPANTS: Final = b"""
SELECT what, min(name), count(*) FROM (
    SELECT 'relation' AS what, n.nspname || '.' || c.relname AS name, c.relowner AS owner
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = c.oid
            AND e.classid = 'pg_catalog.pg_class'::regclass AND e.deptype = 'e')
    UNION ALL
    SELECT 'function', n.nspname || '.' || p.proname, p.proowner
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = p.oid
            AND e.classid = 'pg_catalog.pg_proc'::regclass AND e.deptype = 'e')
    UNION ALL
    SELECT 'large object', oid::text, lomowner FROM pg_catalog.pg_largeobject_metadata) found
WHERE pg_catalog.pg_has_role(found.owner, 'MEMBER') OR NOT EXISTS (
    SELECT FROM pg_catalog.pg_database d
    WHERE d.datname = current_database() AND pg_catalog.pg_has_role(d.datdba, 'MEMBER'))
GROUP BY what ORDER BY what DESC"""
# Asked where there is nothing of those, which bring types of their own along.
_TYPES: Final = b"""
SELECT 'type', min(n.nspname || '.' || t.typname), count(*)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('d', 'e') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = t.oid
        AND e.classid = 'pg_catalog.pg_type'::regclass AND e.deptype = 'e')
    AND (pg_catalog.pg_has_role(t.typowner, 'MEMBER') OR NOT EXISTS (
        SELECT FROM pg_catalog.pg_database d
        WHERE d.datname = current_database() AND pg_catalog.pg_has_role(d.datdba, 'MEMBER')))
HAVING count(*) > 0"""


def maintenance_connection(target: Connection) -> psycopg.Connection:
    """A session on the target's server, in a database that every server has."""
    last: SourceError | None = None
    for name in MAINTENANCE:
        try:
            return target.with_database(name).connect()
        except SourceError as error:
            if error.code != "database-missing":
                raise
            last = error
    assert last is not None
    raise last


def find_database(target: Connection) -> bool:
    """Whether the target exists; TargetError `target-not-empty` when it holds anything."""
    try:
        with target.explaining(), target.connect() as session:
            _refuse_occupied(target, session)
    except SourceError as error:
        if error.code != "database-missing":
            raise
        return False
    return True


def may_create_databases(target: Connection) -> bool:
    """Whether the target's role may make and rename databases on its server."""
    with target.explaining(), maintenance_connection(target) as session:
        row = session.execute(
            b"SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()
    return bool(row and row[0])


def foreign_owner(target: Connection) -> str | None:
    """To whom the target's database belongs when that is nobody for whom its role may act, so that
    it may not rename it; else None."""
    with target.explaining(), maintenance_connection(target) as session:
        row = session.execute(
            "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database"
            " WHERE datname = %s AND NOT pg_catalog.pg_has_role(datdba, 'USAGE')",
            [target.database],
        ).fetchone()
    return str(row[0]) if row else None


def prepare_database(
    target: Connection, record: DatabaseRecord
) -> tuple[bool, list[Finding], set[str]]:
    """Make the target's database, or see that it is empty.

    Returns whether it was made, findings, and what the server lacks. Raises `TargetError`
    `target-not-empty` when there is something in it.
    """
    try:
        with target.connect() as session:
            _refuse_occupied(target, session)
        return False, [], set()
    except SourceError as error:
        if error.code != "database-missing":
            raise
    with maintenance_connection(target) as session:
        return True, *_create(session, target, record)


def _refuse_occupied(target: Connection, session: psycopg.Connection) -> None:
    rows = session.execute(_OCCUPANTS).fetchall() or session.execute(_TYPES).fetchall()
    if not rows:
        return
    what, name, _ = rows[0]
    total = sum(int(count) for _, _, count in rows)
    others = f" and {total - 1} more" if total > 1 else ""
    raise TargetError(
        f"the database is not empty: it holds {what} {name}{others}",
        subject=target.describe(),
        code="target-not-empty",
        hint="Name a database that does not exist yet; it will be created.",
    )


def _create(
    session: psycopg.Connection, target: Connection, record: DatabaseRecord
) -> tuple[list[Finding], set[str]]:
    import psycopg

    name, major = quote_name(target.database), session.info.server_version // 10000
    try:
        session.execute(create_database_statement(record, name, major).encode())
        return [], set()
    except psycopg.errors.InsufficientPrivilege as error:
        raise TargetError(
            f"the database cannot be created: {error.diag.message_primary}",
            subject=target.describe(),
            hint="Connect as a role with CREATEDB, or name an existing empty database.",
        ) from None
    except psycopg.errors.DuplicateDatabase:
        raise TargetError(
            "somebody has just created this database", subject=target.describe()
        ) from None
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error)
    plain = (
        f"CREATE DATABASE {name} WITH TEMPLATE = template0 ENCODING = '{record.encoding}'"
        " LC_COLLATE = 'C' LC_CTYPE = 'C'"
    )
    if major >= 15:
        plain += " LOCALE_PROVIDER = libc"
    try:
        session.execute(plain.encode())
    except psycopg.Error as error:
        raise TargetError(
            f"the database cannot be created: {error.diag.message_primary}; with the captured"
            f" locale neither: {reason}",
            subject=target.describe(),
        ) from None
    wanted = record.locale or record.collate
    message = f"locale {wanted} ({record.locale_provider}) is not to be had here: {reason}"
    return [finding("sandbox-lacks", "database", message)], {f"locale {wanted}"}


def create_roles(
    target: Connection,
    manifest: Manifest,
    wanted: Sequence[str],
    *,
    own_server: bool = False,
    standing: Standing | None = None,
) -> list[Finding]:
    """Make the roles of `wanted` that the server lacks.

    Existing ones are left alone, unless the server is our own: there they are made alike. What
    PUBLIC may set is the whole server's matter, too. Of a role that may not be made, or not with
    all that it had, a finding tells (see `standing`). All or nothing when it is stopped: whoever
    tries again would leave a role alone that was half made.
    """
    limited = standing is not None and not standing.superuser
    with maintenance_connection(target) as session, session.transaction():
        rows = session.execute(b"SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
        existing = {str(row[0]) for row in rows}
        missing = [
            role for role in manifest.roles if role.name not in existing and role.name in wanted
        ]
        findings: list[Finding] = []
        made: set[str] = set()
        for role in missing:
            if standing is not None and not standing.makes_roles:
                findings.append(_unmade_role(role, standing))
                continue
            findings += _make_role(session, role, limited=limited)
            made.add(role.name)
            if not own_server and _logs_in(role):
                message = "it was made without a password, which no snapshot holds"
                findings.append(finding("role-made", f"role {role.name}", message))
        for role in manifest.roles:
            if own_server and role.name in existing and role.name in wanted:
                findings += _run(session, f"role {role.name}", role.statements[1:])
        present = existing | made
        for role in manifest.roles:
            grants = [
                grant
                for group, grant in role.memberships
                if group in present and role.name in present and {role.name, group} & made
            ]
            if limited and standing is not None and role.name == standing.role:
                # Whoever makes a role is its administrator, and cannot be made so once more.
                grants = [_WITH_ADMIN.sub("", grant) for grant in grants]
            findings += _run(session, f"role {role.name}", grants, limited=limited)
        if session.info.server_version >= _PARAMETERS_SINCE:
            everybody = {*wanted, ""} if own_server else made
            grants = [grant for grantee, grant in manifest.parameter_grants if grantee in everybody]
            findings += _run(session, "parameters", grants, limited=limited)
    return findings


def _make_role(session: psycopg.Connection, role: RoleRecord, *, limited: bool) -> list[Finding]:
    subject = f"role {role.name}"
    if not limited:
        return _run(session, subject, role.statements)
    plain, more = as_ordinary_role(role)
    findings = _run(session, subject, plain.statements, limited=True)
    return findings + _run(session, subject, more, limited=True)


def _unmade_role(role: RoleRecord, standing: Standing) -> Finding:
    message = f"it is not here, and {standing.role} may not make roles"
    return finding("role-missing", f"role {shown_name(role.name)}", message)


def _logs_in(role: RoleRecord) -> bool:
    return any(re.search(r" WITH .*(?<!NO)LOGIN\b", one) for one in role.statements)


def apply_settings(
    target: Connection,
    record: DatabaseRecord,
    change: RoleChange | None = None,
    standing: Standing | None = None,
) -> list[Finding]:
    """Owner, grants, comment and settings of the database itself, last: they bind new sessions."""
    name, subject = quote_name(target.database), f"database {target.database}"
    limited = standing is not None and not standing.superuser
    findings: list[Finding] = []
    statements = []
    for before, after in record.settings:
        statement = f"{before}{name}{after}"
        if change is not None:
            changed, told = _with_roles(statement, subject, change)
            findings += told
            if changed is None:
                continue
            statement = changed
        statements.append(statement)
    with maintenance_connection(target) as session:
        return findings + _run(session, subject, statements, limited=limited)


def reason_locked_out(target: Connection) -> str | None:
    """Why the target's role may not connect to its database, None when it may. SourceError when
    it cannot be asked for another reason."""
    try:
        target.connect().close()
    except SourceError as error:
        if error.code != "database-login":
            raise
        return error.message
    return None


def take_back(target: Connection, standing: Standing, reason: str) -> list[Finding]:
    """Make the loading role the owner of its database again, which has locked it out for `reason`;
    tells of it, and where it may not do so, that the loaded database was left."""
    import psycopg

    name, own = quote_name(target.database), quote_name(standing.role)
    subject = f"database {target.database}"
    with maintenance_connection(target) as session:
        row = session.execute(
            "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database"
            " WHERE datname = %s",
            [target.database],
        ).fetchone()
        owner = quote_name(str(row[0])) if row else ""
        if owner == own:
            message = f"it is loaded and was left: its captured grants lock {standing.role} out"
            return [finding("target-owner", subject, f"{message} ({reason})")]
        try:
            session.execute(f"ALTER DATABASE {name} OWNER TO {own}".encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            why = error.diag.message_primary or str(error)
            message = (
                f"it is loaded and was left: its captured grants lock {standing.role} out"
                f" ({reason}), which may not take it back ({why})"
            )
            return [finding("target-owner", subject, message)]
    message = (
        f"its captured grants lock {standing.role} out when it belongs to {owner}, so it still"
        f" belongs to {standing.role}; when it is proven: ALTER DATABASE {name} OWNER TO {owner}"
    )
    return [finding("target-owner", subject, message)]


def _with_roles(
    statement: str, subject: str, change: RoleChange
) -> tuple[str | None, list[Finding]]:
    """A statement about the database with the roles that are here; None when it is left out."""
    of_role = _ROLE_IN_DATABASE.match(statement)
    if of_role:
        name = of_role[1].replace('""', '"')
        if name in change.absent:
            message = f"settings of {name}, a role that is not here, are left out"
            return None, [finding("target-grant", subject, message)]
        other = quote_name(change.other.get(name, name))
        return f"ALTER ROLE {other}{statement[of_role.end() :]}", []
    text = statement.encode().decode("latin-1")
    entry = Entry("ACL", subject, "", "", (text + ";",))
    changed, told = change_roles(entry, change)
    told = [finding(one.code, subject, one.message) for one in told]
    if not changed.statements:
        return None, told
    return changed.statements[0].encode("latin-1").decode().removesuffix(";"), told


def _run(
    session: psycopg.Connection,
    subject: str,
    statements: Sequence[str],
    *,
    limited: bool = False,
) -> list[Finding]:
    """What was refused; of an ordinary role (`limited`) that may be no fault of anything."""
    import psycopg

    findings = []
    for statement in statements:
        try:
            with session.transaction():  # within another one, what fails takes nothing along
                session.execute(statement.encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            # A statement of ours never holds a password, but the value of a setting may be one.
            text = f"{without_values(error.diag.message_primary or '')} ({_shown(statement)})"
            is_refusal = limited and isinstance(error, psycopg.errors.InsufficientPrivilege)
            code = "target-refused" if is_refusal else "load-error"
            findings.append(finding(code, subject, text))
    return findings


def _shown(statement: str) -> str:
    """The statement without the value of a setting that is not PostgreSQL's own."""
    return _FOREIGN_SETTING.sub(r"\1…", statement)
