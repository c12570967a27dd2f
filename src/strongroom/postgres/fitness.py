"""Whether a target can take a captured database, asked before the first byte.

What would stop a restore is an obstacle; what could not be brought back as it was is a finding,
named object by object, with what a person may do about it. Some of it is only likely: a managed
service may let its role do what an ordinary role may not. Changes nothing, and asks the target
alone: that its host runs full, for one, is not to be known from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError, StrongroomError, TargetError
from strongroom.model import Finding, finding
from strongroom.postgres import layout
from strongroom.postgres.connection import Connection
from strongroom.postgres.entry_subject import shown_name
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.inventory import CatalogObject, Inventory
from strongroom.postgres.manifest import Manifest, TableRecord
from strongroom.postgres.preflight import OLDEST_SERVER, is_transaction_pooler
from strongroom.postgres.row_loading import table_key
from strongroom.postgres.standing import Standing, examine_standing, owners
from strongroom.postgres.statement import qualified, quote_name
from strongroom.postgres.target import find_database, maintenance_connection

if TYPE_CHECKING:
    import psycopg

__all__ = ["Fitness", "examine_target", "unknown_secrets"]

# What only a superuser may make, by the inventory's section.
_OF_SUPERUSERS: Final[Mapping[str, str]] = {
    "event triggers": "only a superuser may make an event trigger",
    "foreign-data wrappers": "only a superuser may make a foreign-data wrapper",
    "access methods": "only a superuser may make an access method",
    "base types": "only a superuser may make a base type",
    "operator classes": "only a superuser may make an operator class",
    "operator families": "only a superuser may make an operator family",
    "text search parsers": "only a superuser may make a text search parser",
    "text search templates": "only a superuser may make a text search template",
    "security labels": "the label's provider must be loaded by the server",
    "parameters": "only a superuser may let others set it",
    "subscriptions": "only a superuser or a member of pg_create_subscription may make it",
}
# What only the owner of a table may make on it.
_OF_OWNERS: Final = frozenset({"policies", "rules", "indexes", "constraints"})
_UNTRUSTED: Final = frozenset({"c", "internal"})
_SERVER: Final = b"""
SELECT pg_catalog.pg_is_in_recovery(), current_setting('default_transaction_read_only'),
    current_user::text, (SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles
        WHERE rolname = current_user)"""
_DATABASE: Final = """
SELECT pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
    pg_catalog.has_database_privilege(d.oid, 'CREATE'),
    EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
        AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE'))
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"""
_AVAILABLE: Final = b"""
SELECT a.name::text, a.default_version, coalesce(v.trusted, false), coalesce(v.superuser, true)
FROM pg_catalog.pg_available_extensions a LEFT JOIN pg_catalog.pg_available_extension_versions v
    ON v.name = a.name AND v.version = a.default_version"""
_INSTALLED: Final = b"""
SELECT e.extname::text, e.extversion, n.nspname::text FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"""
_TABLESPACES: Final = b"SELECT spcname::text FROM pg_catalog.pg_tablespace"
_COLLATIONS: Final = b"""
SELECT n.nspname::text || '.' || c.collname::text,
    coalesce(pg_catalog.pg_collation_actual_version(c.oid), '')
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE c.collprovider IN ('i', 'c')"""


@dataclass(frozen=True, slots=True)
class Fitness:
    """Why a restore would be refused, None when it would not; and what would come back otherwise
    than it was."""

    obstacle: StrongroomError | None
    findings: tuple[Finding, ...] = ()


def examine_target(
    files: CapturedFiles, target: Connection, other_roles: Mapping[str, str] | None = None
) -> Fitness:
    """What is known beforehand of a restore of the captured database into `target`.

    Raises `SourceError` when the server cannot be asked.
    """
    manifest = Manifest.from_json(files.read(layout.MANIFEST))
    inventory = Inventory.from_json(files.read(layout.INVENTORY))
    with target.explaining():
        try:
            exists = find_database(target)
            obstacle = _obstacle(target, exists=exists)
        except TargetError as error:
            return Fitness(error)
        if obstacle is not None:
            return Fitness(obstacle)
        where = target if exists else _maintenance(target)
        with where.connect() as session:
            look = _Look(session, target, manifest, inventory, other_roles or {}, exists=exists)
            found = tuple(look.findings())
            refusal = look.refusal()
    return Fitness(refusal, tuple(sorted(found, key=lambda one: (one.code, one.subject))))


def unknown_secrets(inventory: Inventory) -> Iterator[Finding]:
    """The user mappings that have no password in the snapshot."""
    for one in inventory.objects.values():
        options = one.attributes.get("options")
        if one.section == "user mappings" and not (
            isinstance(options, dict) and any("password" in name for name in options)
        ):
            yield finding("target-secret", one.key, "the snapshot holds no password of it")


def _maintenance(target: Connection) -> Connection:
    with maintenance_connection(target) as session:
        return target.with_database(session.info.dbname)


def _obstacle(target: Connection, *, exists: bool) -> StrongroomError | None:
    """What no load would get past."""
    where = target if exists else _maintenance(target)
    with where.connect() as session:
        number = session.info.server_version
        if number // 10000 < OLDEST_SERVER:
            return TargetError(
                f"PostgreSQL {number // 10000} is older than {OLDEST_SERVER}, the oldest that"
                " is supported",
                subject=target.describe(),
                hint=f"Restore to a server of PostgreSQL {OLDEST_SERVER} or newer.",
            )
        if is_transaction_pooler(where, session):
            return SourceError(
                f"port {where.port} is a transaction pooler, which cannot hold the settings of a"
                " session",
                subject=target.describe(),
                code="database-unreachable",
                hint="Connect in session mode: port 5432 instead of 6543.",
            )
        row = session.execute(_SERVER).fetchone()
    assert row is not None
    in_recovery, read_only, role, makes_databases = row
    if in_recovery or read_only == "on":
        why = "it is a standby" if in_recovery else "default_transaction_read_only is on"
        return TargetError(
            f"nothing can be written there: {why}",
            subject=target.describe(),
            hint="Name the primary server, and a role that may write.",
        )
    if not exists and not makes_databases:
        return TargetError(
            f"the database does not exist, and {role} may not make databases",
            subject=target.describe(),
            hint="Connect as a role with CREATEDB, or name an existing empty database.",
        )
    return None


class _Look:
    """One target's answers beside one captured database."""

    def __init__(
        self,
        session: psycopg.Connection,
        target: Connection,
        manifest: Manifest,
        inventory: Inventory,
        other_roles: Mapping[str, str],
        *,
        exists: bool,
    ) -> None:
        self._session, self._target, self._exists = session, target, exists
        self._manifest, self._inventory, self._other = manifest, inventory, other_roles
        where = target.with_database(session.info.dbname)
        self._standing: Standing = examine_standing(where, made=not exists)
        self._major = session.info.server_version // 10000

    def findings(self) -> Iterator[Finding]:
        yield from self._version()
        yield from self._locale()
        yield from self._extensions()
        yield from self._roles()
        yield from self._tablespaces()
        yield from unknown_secrets(self._inventory)
        yield from self._collations()
        if not self._standing.superuser:
            yield from self._refused()

    def _refused(self) -> Iterator[Finding]:
        """What an ordinary role may not make, or not on what the target has of its own."""
        kept = self._standing.kept
        closed = self._closed_schemas()
        for one in self._inventory.objects.values():
            if one.key in kept:
                continue
            why = self._beyond(one)
            if one.part_of in closed:
                why = why or f"{self._standing.role} may not make objects in {one.part_of}"
            elif one.part_of in kept and one.section in _OF_OWNERS:
                why = why or f"{one.part_of} is the target's own"
            if why:
                yield finding("target-refused", one.key, f"{why}; a service may let its role")
        for table in self._manifest.tables:
            if table.rows and table_key(table) in kept and self._holds_rows(table):
                message = f"it has rows here: the {table.rows} captured will be left out"
                yield finding("target-own", table_key(table), message)

    def _closed_schemas(self) -> set[str]:
        """The keys of schemas that are here and in which the role may make nothing."""
        if not self._exists:
            return set()
        rows = self._session.execute(
            b"SELECT nspname::text FROM pg_catalog.pg_namespace"
            b" WHERE NOT pg_catalog.has_schema_privilege(oid, 'CREATE')"
        ).fetchall()
        return {f"schema {shown_name(str(name))}" for (name,) in rows}

    def _holds_rows(self, table: TableRecord) -> bool:
        """Whether a table has rows, or may have some that this role does not see."""
        import psycopg

        query = f"SELECT EXISTS (SELECT FROM {qualified(table.schema, table.name)})"
        try:
            row = self._session.execute(query.encode()).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return True
        return row is None or bool(row[0])

    def refusal(self) -> StrongroomError | None:
        """That the role may make nothing in an existing database."""
        if not self._exists or self._standing.superuser:
            return None
        row = self._session.execute(_DATABASE.encode()).fetchone()
        assert row is not None
        schemas = {
            key
            for key, one in self._inventory.objects.items()
            if one.section == "schemas" and key not in self._standing.kept
        }
        role, name = quote_name(self._standing.role), quote_name(self._target.database)
        if not row[3] and schemas - {"schema public"}:
            return TargetError(
                f"{self._standing.role} may not make schemas in it",
                subject=self._target.describe(),
                hint=f"Run: GRANT CREATE ON DATABASE {name} TO {role};",
            )
        if row[4] and "schema public" in self._inventory.objects:
            return TargetError(
                f"{self._standing.role} may not make tables in its schema public",
                subject=self._target.describe(),
                hint=f"Run in it: GRANT CREATE ON SCHEMA public TO {role};",
            )
        return None

    def _version(self) -> Iterator[Finding]:
        captured = self._manifest.versions.server_major
        if self._major < captured:
            message = f"captured from PostgreSQL {captured}, and this is {self._major}: it is tried"
            yield finding("target-older", "server", message)

    def _locale(self) -> Iterator[Finding]:
        record = self._manifest.database
        if not self._exists:
            return
        row = self._session.execute(_DATABASE.encode()).fetchone()
        assert row is not None
        encoding, collate, ctype = (str(value) for value in row[:3])
        if encoding != record.encoding:
            message = f"its encoding is {encoding}, at capture {record.encoding}"
            yield finding("target-encoding", "database", message)
        for what, now, before in (
            ("LC_COLLATE", collate, record.collate),
            ("LC_CTYPE", ctype, record.ctype),
        ):
            if now != before:
                yield finding("structure-locale", "database", f"{what}: {now}, at capture {before}")

    def _extensions(self) -> Iterator[Finding]:
        rows = self._session.execute(_AVAILABLE).fetchall()
        available = {str(n): (str(v), bool(t), bool(s)) for n, v, t, s in rows}
        installed: dict[str, tuple[str, str]] = {}
        if self._exists:
            for name, version, schema in self._session.execute(_INSTALLED).fetchall():
                installed[str(name)] = (str(version), str(schema))
        for one in self._manifest.extensions:
            subject = f"extension {one.name}"
            here = installed.get(one.name)
            if here is None and one.name not in available:
                message = f"the server does not have it; at capture it was version {one.version}"
                yield finding("sandbox-lacks", subject, message)
                continue
            version = here[0] if here else available[one.name][0]
            if version != one.version:
                message = f"version {one.version} at capture, {version} here"
                yield finding("extension-differs", subject, message)
            if here and here[1] != one.schema:
                message = f"in schema {one.schema} at capture, in {here[1]} here"
                yield finding("extension-differs", subject, message)
            if here is None and not self._standing.superuser:
                _, trusted, of_superuser = available[one.name]
                if of_superuser and not trusted:
                    message = f"only a superuser may install it, not {self._standing.role}"
                    yield finding("target-refused", subject, message)

    def _roles(self) -> Iterator[Finding]:
        standing = self._standing
        mentioned = {*self._inventory.mentioned_roles, *owners(self._inventory)}
        for before, after in sorted(self._other.items()):
            if after not in standing.roles:
                message = f"--role gives it what belonged to {before}, and it is not here"
                yield finding("role-missing", f"role {after}", message)
        for name in sorted(mentioned):
            if name.startswith("pg_") or name in self._other or name in standing.roles:
                continue
            if standing.makes_roles:
                message = "it is not here and will be made, without a password"
                yield finding("role-made", f"role {name}", message)
            else:
                message = f"it is not here, and {standing.role} may not make roles"
                yield finding("role-missing", f"role {shown_name(name)}", message)
        if not standing.superuser:
            yield from self._ownership()

    def _ownership(self) -> Iterator[Finding]:
        """What would not belong to whom it belonged."""
        standing = self._standing
        for one in self._inventory.objects.values():
            owner = one.attributes.get("owner")
            if not isinstance(owner, str) or owner.startswith(("pg_", "(")):
                continue
            name = self._other.get(owner, owner)
            if name in standing.acts_for or one.key in standing.kept:
                continue
            if name not in standing.roles and standing.makes_roles:
                continue
            why = f"{standing.role} may not act for {name}"
            if name in standing.roles and standing.makes_roles and self._major < 16:
                continue  # whoever makes roles may join them there
            if name not in standing.roles:
                why = "which is not here"
            message = f"it belonged to {name}; {why}, so that it will belong to {standing.role}"
            yield finding("target-owner", one.key, message)

    def _tablespaces(self) -> Iterator[Finding]:
        there = {str(name) for (name,) in self._session.execute(_TABLESPACES).fetchall()}
        for one in self._manifest.coverage:
            if one.kind == "tablespace" and one.subject not in there:
                message = "it is not here: what was in it goes into the default one"
                yield finding("target-tablespace", f"tablespace {one.subject}", message)

    def _collations(self) -> Iterator[Finding]:
        here = {str(n): str(v) for n, v in self._session.execute(_COLLATIONS).fetchall()}
        for name, version in sorted(self._manifest.collations.items()):
            now = here.get(name)
            if now and version and now != version:
                message = f"version {version} at capture, {now} here"
                yield finding("collation-differs", f"collation of {name}", message)

    def _beyond(self, one: CatalogObject) -> str:
        """Why an ordinary role may not make it; "" when it may."""
        if one.section in _OF_SUPERUSERS:
            return _OF_SUPERUSERS[one.section]
        attributes = one.attributes
        if one.section == "routines" and attributes.get("language") in _UNTRUSTED:
            return f"only a superuser may make a function in {attributes['language']}"
        if one.section == "routines" and attributes.get("leakproof"):
            return "only a superuser may make a function LEAKPROOF"
        if one.section == "languages" and attributes.get("trusted") is False:
            return "only a superuser may make an untrusted language"
        if one.section == "publications" and attributes.get("all_tables"):
            return "only a superuser may publish all tables"
        return ""
