"""Load of a captured database into a new or empty one, with everything that went wrong named.

The order: database, roles that are missing, tables and types, rows in parallel (largest first),
sequences, large objects, indexes and constraints in parallel, materialised views in the order of
their dependencies, statistics, and last the database's own settings, which bind new sessions.
Rows go in before any trigger, index or foreign key exists. A statement that fails is a finding
with the object's name and the load goes on: an operator at three in the morning wants all that can
be had. What this does not do: judge the result. That is `proof`'s matter.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
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
from strongroom.postgres.exchange import Block, CapturedFiles
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.manifest import Manifest, TableRecord
from strongroom.postgres.messages import (
    Complaint,
    Complaints,
    copy_place,
    deadlocked,
    from_pg_restore,
    from_psql,
    of_the_host,
    without_values,
)
from strongroom.postgres.partial import quiet_triggers
from strongroom.postgres.programs import Programs, find_programs
from strongroom.postgres.replacement import drop_if_made
from strongroom.postgres.restore_script import sequence_statement
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.statement import copy_in, qualified, quote_name
from strongroom.postgres.target import (
    apply_settings,
    create_roles,
    maintenance_connection,
    prepare_database,
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
ORDER BY c.relpages"""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load. `programs` is the configured directory of client programs.

    `analyze`: collect the planner's statistics; a drill that only compares can do without.
    `own_server`: the server is a throw-away one of ours, so that roles which it has from the
    beginning are made like the captured ones. `roles` are wanted there besides those that the
    database cannot do without. `partial`: rows of some tables are left out on purpose, so keys are
    made before there are any.
    """

    jobs: int = 2
    programs: Path | None = None
    analyze: bool = True
    own_server: bool = False
    partial: bool = False
    roles: tuple[str, ...] = ()


@dataclass(slots=True)
class LoadReport:
    """What a load did. `lacking` is what the server does not have, as the inventory's keys."""

    manifest: Manifest
    created: bool = False
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    lacking: frozenset[str] = frozenset()
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
    load = _Load(files, target, options)
    with target.explaining():
        load.schemas(schemas)
    return load.report()


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
        self._guard = threading.Lock()
        with maintenance_connection(target) as session:
            self.server_version = session.info.server_version
            self.tls = bool(session.pgconn.ssl_in_use) or target.wants_tls
        self.programs = self._programs(self.server_version // 10000)

    def report(self) -> LoadReport:
        return LoadReport(
            manifest=self.manifest,
            created=self.created,
            findings=self.complaints.findings,
            stages=self.stages,
            lacking=frozenset(self.complaints.lacking),
            rows=self.loaded_rows,
            bytes=self.loaded_bytes,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.stages.append(Stage(name, time.monotonic() - begun))

    def _programs(self, major: int) -> Programs:
        """Programs that fit the server and, if possible, read the archive: it has a version."""
        wanted = max(major, self.manifest.versions.client_major)
        try:
            return find_programs(wanted, configured=self.options.programs, tls=self.tls)
        except SourceError:
            if wanted == major:
                raise
            return find_programs(major, configured=self.options.programs, tls=self.tls)

    # Steps

    def everything(self) -> None:
        """All of it, in its order."""
        self.prepare()
        with self.stage("schema"):
            self.run_script(layout.PRE_DATA_SQL)
        if self.options.partial:
            self._load_partially()
        else:
            with self.stage("rows"):
                self.rows(self.manifest.tables)
        with self.stage("sequences"):
            if self.manifest.sequences:
                self.run_script(layout.SEQUENCES_SQL)
        if self.manifest.large_objects.count:
            with self.stage("large objects"):
                self.large_objects()
        if not self.options.partial:
            with self.stage("indexes"):
                self.post_data()
        if self.manifest.matviews:
            with self.stage("materialised views"):
                self.refresh()
        if self.options.analyze:
            with self.stage("statistics"):
                self.analyze()
        with self.stage("settings"):
            self.complaints.findings += apply_settings(self.target, self.manifest.database)

    def schemas(self, names: Sequence[str]) -> None:
        """Of these schemas all that `everything` does, but for what is the database's own."""
        self.prepare()
        with self.stage("schema"), self.target.connect() as session:
            wanted = [("schema", name, f"CREATE SCHEMA IF NOT EXISTS {quote_name(name)}")
                      for name in names]  # fmt: skip
            for one in self.manifest.extensions:
                made = f"CREATE EXTENSION IF NOT EXISTS {quote_name(one.name)}"
                if not one.schema.startswith("pg_"):
                    schema = f"CREATE SCHEMA IF NOT EXISTS {quote_name(one.schema)}"
                    wanted.append(("extension", one.name, schema))
                    made = f"{made} SCHEMA {quote_name(one.schema)}"
                wanted.append(("extension", one.name, made))
            for kind, name, statement in wanted:
                self._try(session, f"{kind} {name}", statement)
            self._from_archive("pre-data", names)
        with self.stage("rows"):
            self.rows(one for one in self.manifest.tables if one.schema in names)
        with self.stage("sequences"), self.target.connect() as session:
            for sequence in self.manifest.sequences:
                if sequence.schema in names:
                    statement = sequence_statement(sequence)
                    self._try(session, f"sequence {sequence.label}", statement)
        with self.stage("indexes"):
            self._from_archive("post-data", names)

    def _try(self, session: psycopg.Connection, subject: str, statement: str) -> None:
        import psycopg

        try:
            session.execute(statement.encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            reason = error.diag.message_primary or str(error)
            self.complaints.judge([Complaint(subject, reason)])

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
            self.complaints.findings += create_roles(
                self.target,
                self.manifest,
                self._wanted_roles(),
                own_server=self.options.own_server,
            )
            if self.created:
                with self.target.connect() as session:
                    for statement in self.manifest.removals:
                        session.execute(statement.encode())

    def _wanted_roles(self) -> list[str]:
        inventory = Inventory.from_json(self.files.read(layout.INVENTORY))
        more = self.options.roles if self.options.own_server else ()
        return sorted({*inventory.mentioned_roles, *more})

    def run_script(self, path: str) -> None:
        """A script through psql, statement by statement; its complaints become findings."""
        script = self.files.read(path)
        outcome = self._psql([script])
        self._judge(from_psql(outcome.messages, script, path), outcome, path)

    def large_objects(self) -> None:
        outcome = self._psql(self.files.blocks(layout.LARGE_OBJECTS_SQL))
        complaints = from_psql(outcome.messages, b"", layout.LARGE_OBJECTS_SQL)
        self._judge(complaints, outcome, layout.LARGE_OBJECTS_SQL)

    def post_data(self) -> None:
        """Indexes, constraints, triggers and policies, in parallel where the archive permits."""
        if self.programs.major < self.manifest.versions.client_major:
            self.run_script(layout.POST_DATA_SQL)
            return
        self._from_archive("post-data")

    def _from_archive(self, section: str, schemas: Sequence[str] = ()) -> None:
        """A section of the archive, of these schemas alone if any are named."""
        if self.programs.major < self.manifest.versions.client_major:
            raise SourceError(
                f"no PostgreSQL programs of version {self.manifest.versions.client_major} are here,"
                " which wrote the snapshot's schema",
                subject=self.target.describe(),
                code="client-programs",
            )
        arguments = [self.programs.path("pg_restore"), f"--section={section}", "--no-password"]
        arguments += [f"--schema={name}" for name in schemas]
        # What comes before the rows depends on each other.
        jobs = self.options.jobs if section == "post-data" else 1
        arguments += [f"--jobs={jobs}", "-d", self.target.database_argument()]
        with tempfile.NamedTemporaryFile(prefix="strongroom-schema-") as archive:
            # Parallel reading needs a file; it holds the schema and no rows.
            archive.write(self.files.read(layout.SCHEMA_DUMP))
            archive.flush()
            environment = self.target.environment()
            outcome = feed([*arguments, archive.name], environment, Crew(), [])
        complaints = from_pg_restore(outcome.messages)
        if deadlocked(complaints):
            complaints = self._run_alone(complaints)
        self._judge(complaints, outcome, layout.SCHEMA_DUMP)

    def _run_alone(self, complaints: list[Complaint]) -> list[Complaint]:
        """Run failed statements again, one after the other; returns what still fails.

        pg_restore's parallel jobs do deadlock, over the indexes of partitions for one, and what
        comes after a statement that failed so fails as well.
        """
        import psycopg

        left: list[Complaint] = []
        with self.target.connect() as session:
            self._pin(session)
            session.execute(b"SET check_function_bodies TO false")
            for one in complaints:
                if one.warning or not one.statement:
                    left.append(one)
                    continue
                try:
                    session.execute(one.statement.encode())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    reason = error.diag.message_primary or str(error)
                    left.append(replace(one, text=reason))
        return left

    def _psql(self, blocks: Iterable[Block]) -> Outcome:
        arguments = [self.programs.path("psql"), "-X", "-q", "--no-password"]
        arguments += ["-d", self.target.database_argument(), "-f", "-"]
        return feed(arguments, self.target.environment(), Crew(), blocks)

    def _judge(self, complaints: list[Complaint], outcome: Outcome, path: str) -> None:
        stopped = of_the_host(complaints)
        if stopped is not None:
            raise SourceError(f"{stopped.subject}: {stopped.text}", subject=self.target.describe())
        self.complaints.judge(complaints)
        if outcome.status != 0 and not complaints:
            # Without ON_ERROR_STOP only a lost connection or a program's own failure gets here.
            text = outcome.messages.strip() or f"ended with status {outcome.status}"
            self.complaints.findings.append(finding("load-error", path, without_values(text)))

    # Rows

    def rows(self, tables: Iterable[TableRecord]) -> None:
        """Rows of tables, the largest first, each in a transaction of its own."""
        queue = sorted(tables, key=lambda table: table.bytes)
        crew = Crew()
        workers = max(1, min(self.options.jobs, len(queue)))
        crew.run([lambda: self._load_tables(queue, crew)] * workers)

    def _load_tables(self, queue: list[TableRecord], crew: Crew) -> None:
        import psycopg

        with self.target.connect() as session, crew.breaking(session.cancel):
            self._pin(session)
            while table := self._next(queue):
                try:
                    self._load_table(session, table)
                except psycopg.OperationalError as error:
                    raise SourceError(
                        str(error).strip().partition("\n")[0],
                        subject=f"{self.target.describe()}, {table.label}",
                    ) from None
                except psycopg.Error as error:
                    reason = error.diag.message_primary or str(error)
                    place = copy_place(error.diag.context or "")
                    where = f" ({place})" if place else ""
                    text = f"{without_values(reason)}{where}"
                    complaint = Complaint(f"table {table.label}", text)
                    with self._guard:
                        self.complaints.judge([complaint])

    def _pin(self, session: psycopg.Connection) -> None:
        import psycopg

        sql_ascii = self.manifest.session.get("client_encoding") == "SQL_ASCII"
        pin_settings(session, pinned_settings(self.server_version, sql_ascii=sql_ascii))
        if sql_ascii:
            session.execute(b"SET client_encoding TO 'SQL_ASCII'")
        try:
            # Only tables of extensions have triggers before the rows.
            session.execute(b"SET session_replication_role TO 'replica'")
        except psycopg.errors.InsufficientPrivilege:
            return

    def _next(self, queue: list[TableRecord]) -> TableRecord | None:
        with self._guard:
            return queue.pop() if queue else None

    def _load_table(self, session: psycopg.Connection, table: TableRecord) -> None:
        relation = table.loaded_into
        # An extension has filled its own tables already: those rows stay. Into a tree of partitions
        # several streams are loaded at once.
        fresh = not table.extension and not table.root and not self.options.partial
        with session.transaction(), session.cursor() as cursor:
            if fresh:
                # Emptied in this transaction, rows need no log (wal_level minimal) nor freezing.
                cursor.execute(f"TRUNCATE ONLY {relation}".encode())
            statement = copy_in(relation, table.columns, freeze=fresh)
            with cursor.copy(statement.encode()) as copy:
                for block in self.files.blocks(table.file):
                    copy.write(block)
            loaded = cursor.rowcount
        with self._guard:
            self.loaded_rows += loaded
            self.loaded_bytes += table.bytes
            if loaded != table.rows:
                self.complaints.judge(
                    [
                        Complaint(
                            f"table {table.label}",
                            f"{table.rows} rows were captured, {loaded} were loaded",
                        )
                    ]
                )

    # After the rows

    def refresh(self) -> None:
        import psycopg

        with self.target.connect() as session:
            self._pin(session)
            for schema, name in self.manifest.matviews:
                try:
                    view = qualified(schema, name)
                    session.execute(f"REFRESH MATERIALIZED VIEW {view}".encode())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    reason = error.diag.message_primary or str(error)
                    subject = f"materialized view {schema}.{name}"
                    self.complaints.judge([Complaint(subject, reason)])

    def analyze(self) -> None:
        with self.target.connect() as session:
            queue = [(str(s), str(n)) for s, n in session.execute(_ANALYZED).fetchall()]
        crew = Crew()
        crew.run([lambda: self._analyze(queue, crew)] * max(1, self.options.jobs))

    def _analyze(self, queue: list[tuple[str, str]], crew: Crew) -> None:
        with self.target.connect() as session, crew.breaking(session.cancel):
            while True:
                with self._guard:
                    if not queue:
                        return
                    schema, name = queue.pop()
                session.execute(f"ANALYZE {qualified(schema, name)}".encode())
