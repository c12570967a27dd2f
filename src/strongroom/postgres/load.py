"""Load of a captured database into a new or empty one, with everything that went wrong named.

The order: database, roles that are missing, tables and types, rows in parallel (largest first)
and with them the indexes of each table, sequences, large objects, constraints and whatever else
comes after rows, materialised views in the order of their dependencies, statistics, and last the
database's own settings, which bind new sessions. Rows go in before any trigger, index or foreign
key exists. A statement that fails is a finding with the object's name and the load goes on: an
operator at three in the morning wants all that can be had. Settings of sessions make it fast, never
such of the server, and what is loaded is on stable storage when it ends, as far as the server keeps
that promise. What this does not do: judge the result. That is `proof`'s matter.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.errors import IntegrityError, SourceError
from strongroom.model import Finding, Stage, finding
from strongroom.postgres import layout
from strongroom.postgres.child import Outcome, feed
from strongroom.postgres.connection import Connection
from strongroom.postgres.crew import Crew
from strongroom.postgres.definitions import Definitions, plain_table
from strongroom.postgres.exchange import Block, CapturedFiles
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.large_object_script import LargeObjectScript
from strongroom.postgres.manifest import Manifest, TableRecord
from strongroom.postgres.messages import (
    Complaint,
    Complaints,
    from_psql,
    of_the_host,
    without_values,
)
from strongroom.postgres.ownership import settle_owners
from strongroom.postgres.partial import quiet_triggers
from strongroom.postgres.programs import Programs, find_programs
from strongroom.postgres.replacement import drop_if_made
from strongroom.postgres.role_change import RoleChange, change_roles
from strongroom.postgres.row_loading import RowLoading, index_weights, written_name
from strongroom.postgres.schema_script import Entry, Script, read_script
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.standing import (
    Standing,
    acting_for,
    examine_standing,
    narrow_grants,
    owners,
    role_change,
)
from strongroom.postgres.statement import qualified
from strongroom.postgres.target import (
    apply_settings,
    create_roles,
    maintenance_connection,
    prepare_database,
    reason_locked_out,
    take_back,
)

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "LoadOptions",
    "LoadReport",
    "load_database",
    "load_rows",
    "load_schema_only",
    "load_schemas",
    "read_manifest",
]

_ANALYZED: Final = b"""
SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND pg_catalog.pg_has_role(c.relowner, 'MEMBER')
ORDER BY c.relpages"""
_MEMORY: Final = b"""
SELECT (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'),
    (SELECT setting::bigint * 8 FROM pg_catalog.pg_settings WHERE name = 'shared_buffers')"""
_MOST_MEMORY_KIB: Final = 256 << 10
_EXTENSION_COMMENT: Final = "EXTENSION "


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load. `programs` is the configured directory of client programs.

    `analyze`: collect the planner's statistics; a drill that only compares can do without.
    `own_server`: the server is a throw-away one of ours, so that roles which it has from the
    beginning are made like the captured ones. `roles` are wanted there besides those that the
    database cannot do without. `partial`: rows of some tables are left out on purpose, so keys are
    made before there are any. `other_roles` are the names that captured roles have on the target.
    `schemas`: these alone, and extensions, without what is the whole database's; all when empty.
    """

    jobs: int = 2
    programs: Path | None = None
    analyze: bool = True
    own_server: bool = False
    partial: bool = False
    roles: tuple[str, ...] = ()
    other_roles: Mapping[str, str] = field(default_factory=dict)
    schemas: frozenset[str] = frozenset()


@dataclass(slots=True)
class LoadReport:
    """What a load did. `lacking` is what the server does not have, as the inventory's keys;
    `kept` what the target's database had before, and `unsettled` what has another owner or lacks a
    grant, told as findings. `ordinary_role` is the loading role, "" when it is a superuser."""

    manifest: Manifest
    created: bool = False
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    lacking: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    unsettled: frozenset[str] = frozenset()
    ordinary_role: str = ""
    rows: int = 0
    bytes: int = 0


def read_manifest(files: CapturedFiles) -> Manifest:
    """The manifest of a captured database; IntegrityError `snapshot-damaged` when it is none."""
    if not files.exists(layout.MANIFEST):
        raise IntegrityError(
            "the snapshot has no manifest: it is not one of a database",
            subject=layout.MANIFEST,
            code="snapshot-damaged",
        )
    return Manifest.from_json(files.read(layout.MANIFEST))


def load_database(
    files: CapturedFiles, target: Connection, options: LoadOptions = LoadOptions()
) -> LoadReport:
    """The captured database is in `target`, as far as the report's findings say.

    Creates the target's database when it does not exist, and drops it again when it raises.
    Raises `TargetError` `target-not-empty` when it holds anything, `SourceError` when server or
    programs fail, and passes on errors of `files`.
    """
    load = _Load(files, target, options)
    try:
        with target.explaining():
            load.everything()
    except BaseException:
        # Half a database under the name of a whole one would be taken for it.
        if load.created:
            drop_if_made(target, target.database)
        raise
    return load.report()


def load_schema_only(
    files: CapturedFiles, target: Connection, options: LoadOptions = LoadOptions()
) -> LoadReport:
    """The captured schema without rows: a reference for how this server prints definitions."""
    load = _Load(files, target, options)
    with target.explaining():
        load.prepare()
        with load.stage("schema"):
            load.run_script(layout.PRE_DATA_SQL)
            load.post_data()
    return load.report()


def load_schemas(
    files: CapturedFiles,
    target: Connection,
    schemas: Sequence[str],
    options: LoadOptions = LoadOptions(),
) -> LoadReport:
    """Whole captured schemas, under their own names, into an empty database.

    With them the extensions, since types of theirs may be used. What needs something of another
    schema cannot be made, and is a finding, object by object.
    """
    return load_database(files, target, replace(options, schemas=frozenset(schemas)))


def load_rows(
    files: CapturedFiles,
    target: Connection,
    tables: Sequence[TableRecord],
    options: LoadOptions = LoadOptions(),
) -> LoadReport:
    """Captured rows into tables that are there, under the names that the records have now."""
    load = _Load(files, target, options)
    with target.explaining(), load.stage("rows"):
        load.rows(tables)
    return load.report()


class _Load:
    """The state of one load; its methods are its steps."""

    def __init__(self, files: CapturedFiles, target: Connection, options: LoadOptions) -> None:
        self.files, self.target, self.options = files, target, options
        self.manifest = read_manifest(files)
        self.complaints = Complaints()
        self.stages: list[Stage] = []
        self.created = False
        self.loaded_rows = self.loaded_bytes = 0
        self.standing: Standing | None = None
        self.change = RoleChange(target.user)
        self._refused_owners: list[Complaint] = []
        self._has_default_grants = False
        self._post: tuple[Script, list[Entry]] | None = None
        with maintenance_connection(target) as session:
            self.server_version = session.info.server_version
            self.tls = bool(session.pgconn.ssl_in_use) or target.wants_tls
            self._settings = _session_settings(session, options.jobs)
            # Where what is the whole server's can be done, also when the target lets nobody in.
            self._elsewhere = target.with_database(session.info.dbname)

    def report(self) -> LoadReport:
        return LoadReport(
            manifest=self.manifest,
            created=self.created,
            findings=self.complaints.of_what_is_there(),
            stages=self.stages,
            lacking=frozenset(self.complaints.lacking | self.complaints.refused),
            kept=self.complaints.kept,
            unsettled=frozenset(self.complaints.unsettled),
            ordinary_role=self._ordinary_role(),
            rows=self.loaded_rows,
            bytes=self.loaded_bytes,
        )

    def _ordinary_role(self) -> str:
        if self.standing is None or self.standing.superuser:
            return ""
        return self.standing.role

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.stages.append(Stage(name, time.monotonic() - begun))

    def _programs(self) -> Programs:
        """psql, which large objects need, of any version that fits the server."""
        major = self.server_version // 10000
        return find_programs(major, configured=self.options.programs, tls=self.tls)

    # Steps

    def everything(self) -> None:
        """All of it, in its order."""
        if self._has_large_objects:
            self._programs()  # that they are lacking is told before anything is made
        self.prepare()
        assert self.standing is not None
        inventory = self._inventory()
        owned_by = self._owners(inventory)
        with acting_for(self._elsewhere, self.standing, owned_by) as acts_for:
            self.change = role_change(self.standing, inventory, self.options.other_roles, acts_for)
            self._define_and_fill()
            self._settle(inventory)
            if self.options.analyze:
                with self.stage("statistics"):
                    self.analyze()
            if not self.options.schemas:
                with self.stage("settings"):
                    database = self.manifest.database
                    self.complaints.take(
                        apply_settings(self.target, database, self.change, self.standing)
                    )
        if not self.options.own_server and self._is_let_in(inventory):
            self._make_durable()

    def _is_let_in(self, inventory: Inventory) -> bool:
        """Whether the role can still connect, now that owner and grants of the database are those
        that were captured. If not, it is made its owner again, so that it can be proven."""
        if self.standing is None or self.standing.superuser:
            return True
        told = reason_locked_out(self.target)
        if told is None:
            return True
        with acting_for(self._elsewhere, self.standing, self._owners(inventory)):
            self.complaints.take(take_back(self.target, self.standing, told))
        return reason_locked_out(self.target) is None

    def _define_and_fill(self) -> None:
        with self.stage("schema"):
            self.run_script(layout.PRE_DATA_SQL)
        if self.options.partial:
            self._load_partially()
        else:
            with self.stage("rows"):
                self.rows([one for one in self.manifest.tables if self._wants(one.schema)])
        with self.stage("sequences"):
            self.sequences()
        if self._has_large_objects:
            with self.stage("large objects"):
                self.large_objects()
        if not self.options.partial:
            with self.stage("indexes"):
                self.post_data()
        if self.manifest.matviews:
            with self.stage("materialised views"):
                self.refresh()

    @property
    def _has_large_objects(self) -> bool:
        return bool(self.manifest.large_objects.count) and not self.options.schemas

    def _wants(self, schema: str) -> bool:
        return not self.options.schemas or schema in self.options.schemas

    def _wants_entry(self, entry: Entry) -> bool:
        """Whether something is of the wanted schemas, or what they may need of extensions."""
        if not self.options.schemas or entry.kind == "EXTENSION":
            return True
        if entry.schema:
            return entry.schema in self.options.schemas
        if entry.kind == "SCHEMA":
            return entry.name in self.options.schemas | {
                one.schema for one in self.manifest.extensions
            }
        kind, _, name = entry.name.partition(" ")  # of a grant or a comment
        return kind == "EXTENSION" or (kind == "SCHEMA" and name in self.options.schemas)

    def _load_partially(self) -> None:
        """Keys first, since a key to a table whose rows are left out could not be made after."""
        with self.stage("indexes"):
            self.post_data()
        with self.stage("rows"), self.target.connect() as session, quiet_triggers(session):
            self.rows(self.manifest.tables)

    def prepare(self) -> None:
        """Database and roles; then what a new database has and the captured one lacked."""
        with self.stage("database"):
            self.created, findings, lacking = prepare_database(self.target, self.manifest.database)
            self.complaints.findings += findings
            self.complaints.lacking |= lacking
            before = examine_standing(self.target, made=self.created)
            wanted = [one for one in self._wanted_roles() if one not in self.options.other_roles]
            self.complaints.take(
                create_roles(
                    self.target,
                    self.manifest,
                    wanted,
                    own_server=self.options.own_server,
                    standing=before,
                )
            )
            after = examine_standing(self.target, made=self.created)
            self.standing = replace(after, kept=before.kept)
            self.complaints.limited = not self.standing.superuser
            self.complaints.kept = self.standing.kept
            with self.target.connect() as session:
                if self.created:
                    for statement in self.manifest.removals:
                        self._remove(session, statement)
                row = session.execute(
                    b"SELECT EXISTS (SELECT FROM pg_catalog.pg_default_acl)"
                ).fetchone()
                self._has_default_grants = bool(row and row[0])

    def _remove(self, session: psycopg.Connection, statement: str) -> None:
        import psycopg

        try:
            session.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            text = error.diag.message_primary or str(error)
            self.complaints.judge([Complaint(statement, text, sqlstate=error.sqlstate or "")])

    def _inventory(self) -> Inventory:
        return Inventory.from_json(self.files.read(layout.INVENTORY))

    def _wanted_roles(self) -> list[str]:
        more = self.options.roles if self.options.own_server else ()
        return sorted({*self._inventory().mentioned_roles, *more})

    def _owners(self, inventory: Inventory) -> set[str]:
        """To whom things are to belong here; the roles of a service keep what is theirs."""
        kept = self.complaints.kept
        return {self.options.other_roles.get(one, one) for one in owners(inventory, kept)}

    # Definitions

    def _read(self, path: str) -> tuple[Script, list[Entry]]:
        """A script, and its entries as they can be had here."""
        script = read_script(self.files.read(path))
        entries = []
        for entry in script.entries:
            is_of_extension = entry.kind == "COMMENT" and entry.name.startswith(_EXTENSION_COMMENT)
            if not self._wants_entry(entry):
                continue
            if is_of_extension and self.complaints.limited:
                continue  # the extension brings its own along, and it is its owner's matter
            changed, told = change_roles(entry, self.change)
            self.complaints.take(one for one in told if one.subject not in self.complaints.kept)
            if changed.statements:
                entries.append(changed)
        return script, entries

    def _definitions(self, script: Script) -> Definitions:
        settings, kept = self._settings, self.complaints.kept
        return Definitions(self.target, script, self._complain, settings=settings, kept=kept)

    def _complain(self, one: Complaint) -> None:
        is_refused_owner = one.statement and one.sqlstate == "42501" and self.complaints.limited
        if is_refused_owner and not {one.subject, one.part_of} & self.complaints.kept:
            self._refused_owners.append(one)  # once grants are made, it may go
        else:
            self.complaints.judge([one])

    def run_script(self, path: str) -> None:
        """A script's definitions in their order; its complaints become findings."""
        script, entries = self._read(path)
        self._definitions(script).run(entries, 1, {})

    def post_data(self) -> None:
        """Indexes and constraints that are not made yet, triggers and policies, in parallel where
        they allow it."""
        script, entries = self._post or self._read(layout.POST_DATA_SQL)
        weights = index_weights(self.manifest.tables)
        self._definitions(script).run(entries, self.options.jobs, weights)

    def _settle(self, inventory: Inventory) -> None:
        """What a refused owner or the target's own default privileges left to be done."""
        assert self.standing is not None
        if not self._refused_owners and not self._has_default_grants:
            return
        with self.target.connect() as session:
            for one in settle_owners(session, self._refused_owners):
                self.complaints.judge([one])
            if self._has_default_grants:
                kept = self.standing.kept
                self.complaints.take(narrow_grants(session, inventory, self.change, kept))

    # Content

    def rows(self, tables: Sequence[TableRecord]) -> None:
        """Rows of tables, the largest first, each in a transaction of its own; with them what is to
        be made of single tables."""
        sql_ascii = self.manifest.session.get("client_encoding") == "SQL_ASCII"
        encoding = "SQL_ASCII" if sql_ascii else "UTF8"
        pinned = pinned_settings(self.server_version, sql_ascii=sql_ascii)
        loading = RowLoading(
            self.files,
            self.target,
            self.complaints,
            {**pinned, **self._settings},
            encoding,
            fresh=not self.options.partial,
            kept=self.complaints.kept,
        )
        if self.standing is not None and not self.options.partial:
            self._give_indexes(loading, tables, encoding)
        loading.run(tables, self.options.jobs)
        self.loaded_rows, self.loaded_bytes = loading.rows, loading.bytes

    def _give_indexes(
        self, loading: RowLoading, tables: Sequence[TableRecord], encoding: str
    ) -> None:
        """Let indexes be made with the rows; the rest of the script comes afterwards."""
        script, entries = self._read(layout.POST_DATA_SQL)
        if f"SET client_encoding = '{encoding}';" not in script.preamble:
            self._post = (script, entries)  # one session can't have two encodings
            return
        alone = {written_name(one) for one in tables if not one.root}
        found: dict[str, list[Entry]] = {}
        later = []
        for entry in entries:
            table = plain_table(entry)
            if table in alone:
                found.setdefault(table, []).append(entry)
            else:
                later.append(entry)
        loading.indexes, loading.definitions = found, self._definitions(script)
        self._post = (script, later)

    def sequences(self) -> None:
        """Every sequence to the value that was captured."""
        import psycopg

        with self.target.connect() as session:
            for one in filter(lambda each: self._wants(each.schema), self.manifest.sequences):
                name = qualified(one.schema, one.name)
                values = [name, one.last_value, one.is_called]
                try:
                    session.execute("SELECT pg_catalog.setval(%s, %s, %s)", values)
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    text = error.diag.message_primary or str(error)
                    subject = f"sequence {one.label}"
                    state = error.sqlstate or ""
                    self.complaints.judge([Complaint(subject, text, sqlstate=state)])

    def large_objects(self) -> None:
        script = LargeObjectScript(self.change)
        outcome = self._psql(script.changed(self.files.blocks(layout.LARGE_OBJECTS_SQL)))
        self.complaints.take(script.told)
        complaints = from_psql(
            outcome.messages, b"", layout.LARGE_OBJECTS_SQL, script.about, script.judged
        )
        stopped = of_the_host(complaints)
        if stopped is not None:
            raise SourceError(f"{stopped.subject}: {stopped.text}", subject=self.target.describe())
        self.complaints.judge(complaints)
        if outcome.status != 0 and not complaints:
            # Without ON_ERROR_STOP only a lost connection or a program's own failure gets here.
            text = outcome.messages.strip() or f"ended with status {outcome.status}"
            told = finding("load-error", layout.LARGE_OBJECTS_SQL, without_values(text))
            self.complaints.findings.append(told)

    def _psql(self, blocks: Iterable[Block]) -> Outcome:
        arguments = [self._programs().path("psql"), "-X", "-q", "--no-password"]
        arguments += ["-d", self.target.database_argument(), "-f", "-"]
        return feed(arguments, self.target.environment(), Crew(), blocks)

    # After the rows

    def refresh(self) -> None:
        import psycopg

        with self.target.connect() as session:
            pin_settings(session, pinned_settings(self.server_version))
            for schema, name in self.manifest.matviews:
                if not self._wants(schema):
                    continue
                try:
                    view = qualified(schema, name)
                    session.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    reason = error.diag.message_primary or str(error)
                    subject, state = f"materialized view {schema}.{name}", error.sqlstate or ""
                    self.complaints.judge([Complaint(subject, reason, sqlstate=state)])

    def analyze(self) -> None:
        with self.target.connect() as session:
            queue = [(str(s), str(n)) for s, n in session.execute(_ANALYZED).fetchall()]
        crew = Crew()
        crew.run([lambda: self._analyze(queue, crew)] * max(1, self.options.jobs))

    def _analyze(self, queue: list[tuple[str, str]], crew: Crew) -> None:
        with self.target.connect() as session, crew.breaking(session.cancel):
            while queue:
                try:
                    schema, name = queue.pop()
                except IndexError:  # another took the last one
                    return
                session.execute(f"ANALYZE {qualified(schema, name)}".encode())

    def _make_durable(self) -> None:
        """Sessions of the load did not wait for the log; a commit that does waits for all of it."""
        with self.target.connect() as session, session.transaction():
            session.execute(b"SET LOCAL synchronous_commit TO 'on'")
            session.execute(b"SELECT pg_catalog.pg_current_xact_id()")


def _session_settings(session: psycopg.Connection, jobs: int) -> dict[str, str]:
    """What makes the sessions of a load fast and harms nobody: no commit waits for the log, which
    the last one does for all; and sorting may take a share of what the server was given."""
    row = session.execute(_MEMORY).fetchone()
    assert row is not None
    usual, buffers = int(row[0]), int(row[1])
    memory = max(usual, min(buffers // max(jobs, 1), _MOST_MEMORY_KIB))
    return {"synchronous_commit": "off", "maintenance_work_mem": f"{memory}kB"}
