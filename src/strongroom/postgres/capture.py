"""Capture of one database: one moment, many streams, straight into a sink, nothing on disk.

A leader locks every table against rewriting, takes the snapshot and exports it; workers copy the
tables in it, the largest first, while pg_dump writes the schema in it and the leader reads what
lies outside of tables. Reads only (invariant I7). Whatever fails, fails the whole capture: a
database that was captured by halves is worth nothing, so nothing here is ever skipped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom import __version__
from strongroom.errors import SourceError
from strongroom.model import Finding, Stage, finding
from strongroom.postgres import layout
from strongroom.postgres.access import find_probes
from strongroom.postgres.answers import Answers, Limits, record_answers
from strongroom.postgres.catalogue import (
    Relation,
    list_relations,
    read_collations,
    read_columns,
    read_extensions,
    read_matviews,
    read_misplaced,
    read_parents,
    read_references,
    read_removals,
    read_roots,
    read_sequences,
    read_sizes,
    rewritten,
)
from strongroom.postgres.connection import Connection
from strongroom.postgres.coverage import read_coverage
from strongroom.postgres.crew import Crew
from strongroom.postgres.dependence import Dependence, without_rows
from strongroom.postgres.digest import digest_large_objects, digest_rows
from strongroom.postgres.exchange import Block, CaptureSink
from strongroom.postgres.integrity import read_collation_states
from strongroom.postgres.inventory import Inventory, take_inventory
from strongroom.postgres.manifest import (
    Coverage,
    LargeObjects,
    Manifest,
    SequenceRecord,
    SnapshotRecord,
    TableRecord,
    VersionRecord,
)
from strongroom.postgres.migration import read_migration
from strongroom.postgres.preflight import ServerFacts, preflight
from strongroom.postgres.programs import Programs
from strongroom.postgres.question import Question
from strongroom.postgres.restore_script import restore_script, sequences_script
from strongroom.postgres.schema_dump import (
    LockedError,
    dump_archive,
    dump_large_objects,
    dump_roles,
    plain_scripts,
)
from strongroom.postgres.session import (
    CopySession,
    StatementError,
    pin_settings,
    pinned_settings,
)
from strongroom.postgres.statement import copy_out
from strongroom.postgres.surroundings import (
    database_script,
    read_database,
    read_parameter_grants,
    read_roles,
)

if TYPE_CHECKING:
    import psycopg

__all__ = ["CaptureOptions", "DatabaseCapture", "capture_database"]

_LOCKED_AT_ONCE: Final = 200
_ATTEMPTS: Final = 10
# Whoever stands between our two locks waits for us: no use in waiting long for them.
_SECOND_LOCK_TIMEOUT_SECONDS: Final = 2
_BLOCK_BYTES: Final = 1 << 19
_LOCK_NOT_AVAILABLE: Final = "55P03"


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How to capture. `programs` is the configured directory of client programs; `exclude_tables`
    are patterns (`schema.table` with * and ?) of tables whose rows are left out.

    `lock_timeout_seconds` bounds the wait for a table that somebody alters: a waiting lock request
    makes everybody behind it wait, too. `questions` are asked in the snapshot, so that a copy can
    be asked the same; without a probe among them, the database's own roles are.
    """

    jobs: int = 2
    programs: Path | None = None
    lock_timeout_seconds: int = 30
    exclude_tables: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class DatabaseCapture:
    """What was captured. `bytes` counts the rows as text, as the sink received them."""

    manifest: Manifest
    inventory: Inventory
    programs: Programs
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    @property
    def tables(self) -> tuple[TableRecord, ...]:
        return self.manifest.tables

    @property
    def bytes(self) -> int:
        return self.manifest.size_bytes


@dataclass(slots=True)
class _Task:
    """A table that is to be copied; `rows` and `bytes` once it was."""

    relation: Relation
    file: str
    columns: tuple[str, ...]
    generated: tuple[str, ...]
    root: tuple[str, ...] = ()
    rows: int = -1
    bytes: int = 0
    row_digest: str = ""

    @property
    def statement(self) -> str:
        lock = f"LOCK TABLE ONLY {self.relation.sql} IN ACCESS SHARE MODE NOWAIT;\n"
        return lock + copy_out(self.relation.sql, self.columns, self.relation.condition)

    def record(self) -> TableRecord:
        assert self.rows >= 0, "a table was not copied"
        one = self.relation
        return TableRecord(
            schema=one.schema,
            name=one.name,
            file=self.file,
            columns=self.columns,
            rows=self.rows,
            bytes=self.bytes,
            generated=self.generated,
            row_digest=self.row_digest,
            condition=one.condition,
            extension=one.extension,
            unlogged=one.persistence == "u",
            root=self.root,
        )


def capture_database(
    connection: Connection, options: CaptureOptions, sink: CaptureSink
) -> DatabaseCapture:
    """Everything of the connection's database is in `sink` when this returns.

    Raises `SourceError`: what preflight finds, or `capture-aborted` when a program or connection
    fails on the way. Errors of the sink pass through.
    """
    begun = time.monotonic()
    facts, programs = preflight(connection, jobs=options.jobs, programs=options.programs)
    stages = [Stage("preflight", time.monotonic() - begun)]
    with connection.explaining(code="capture-aborted"), connection.connect() as leader:
        capture = _Capture(connection, leader, facts, programs, options, sink)
        begun = time.monotonic()
        capture.begin()
        stages.append(Stage("snapshot", time.monotonic() - begun))
        begun = time.monotonic()
        capture.copy()
        stages.append(Stage("copy", time.monotonic() - begun))
        manifest = capture.finish()
        found = [*capture.findings, *capture.find_gaps()]
        leader.rollback()
    assert capture.inventory is not None
    return DatabaseCapture(manifest, capture.inventory, programs, found, stages)


class _Capture:
    """The state of one capture; its methods are its steps, in order."""

    def __init__(
        self,
        connection: Connection,
        leader: psycopg.Connection,
        facts: ServerFacts,
        programs: Programs,
        options: CaptureOptions,
        sink: CaptureSink,
    ) -> None:
        self.connection, self.leader, self.facts = connection, leader, facts
        self.programs, self.options, self.sink = programs, options, sink
        self.settings = pinned_settings(facts.number, sql_ascii=facts.encoding == "SQL_ASCII")
        self.crew = Crew()
        self.inventory: Inventory | None = None
        self.sequences: tuple[SequenceRecord, ...] = ()
        self.answers: Answers | None = None
        self.coverage: tuple[Coverage, ...] = ()
        self.large_objects = LargeObjects()
        self.snapshot = ""
        self.archive = b""
        self.identity: SnapshotRecord | None = None
        self.relations: list[Relation] = []
        self.excluded: list[Relation] = []
        self.findings: list[Finding] = []
        self.tasks: list[_Task] = []
        self._queue: list[_Task] = []
        self._left_to_leader: list[_Task] = []
        self._guard = threading.Lock()

    # The snapshot

    def begin(self) -> None:
        """Lock, take the snapshot, list again, dump the schema; all of it once more when the list
        has changed meanwhile, or somebody's request stands between our lock and pg_dump's.

        Such a request waits for us, so that waiting for it would never end: it gets its turn.
        """
        pin_settings(self.leader, self.settings)
        known = list_relations(self.leader)
        for _ in range(_ATTEMPTS):
            self.leader.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._lock(known)
            self._take_snapshot()
            self.relations = list_relations(self.leader)
            if _identity(self.relations) == _identity(known) and self._dump_archive():
                self._refuse_rewritten()
                self._plan()
                return
            known = self.relations
            self.leader.rollback()
        raise self._aborted(
            f"tables were created, dropped or altered during each of {_ATTEMPTS} attempts to begin",
            "Run the backup at a quieter moment.",
        )

    def _lock(self, relations: Sequence[Relation]) -> None:
        import psycopg

        timeout = self.options.lock_timeout_seconds * 1000
        self.leader.execute(f"SET LOCAL lock_timeout = {timeout}".encode())
        tables = [one for one in relations if one.lockable]
        for begin in range(0, len(tables), _LOCKED_AT_ONCE):
            part = tables[begin : begin + _LOCKED_AT_ONCE]
            names = ", ".join(f"ONLY {one.sql}" for one in part)
            try:
                self.leader.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE".encode())
            except psycopg.errors.LockNotAvailable:
                raise self._aborted(
                    f"a table is locked by somebody for more than {timeout // 1000} s"
                    f" (one of {part[0].label} ... {part[-1].label})",
                    "See pg_stat_activity for a long ALTER TABLE, then run the backup again.",
                ) from None
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return  # dropped since it was listed: the second list will differ
        self.leader.execute(b"SET LOCAL lock_timeout = 0")

    def _take_snapshot(self) -> None:
        from psycopg.pq import TransactionStatus

        if self.leader.info.transaction_status == TransactionStatus.INERROR:
            self.leader.rollback()
            self.leader.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        lsn = (
            "coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')"
            if self.facts.in_recovery
            else "pg_catalog.pg_current_wal_lsn()"
        )
        row = self.leader.execute(
            "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_snapshot()::text,"
            f" {lsn}::text".encode()
        ).fetchone()
        assert row is not None
        self.snapshot = row[0]
        self.identity = SnapshotRecord(row[1], row[2], datetime.now(UTC), self.facts.in_recovery)

    def _refuse_rewritten(self) -> None:
        """With the locks taken first this cannot happen; a table shown empty must never pass."""
        names = [one.label for one in rewritten(self.leader, self.relations)]
        if names:
            raise self._aborted(
                f"rewritten while the snapshot was taken: {', '.join(names)}",
                "Run the backup again.",
            )

    def _dump_archive(self) -> bool:
        try:
            self.archive = dump_archive(
                self.programs,
                self.connection,
                self.crew,
                self.snapshot,
                lock_timeout_seconds=_SECOND_LOCK_TIMEOUT_SECONDS,
            )
        except LockedError:
            return False
        return True

    def _plan(self) -> None:
        self._exclude()
        tables = [
            one
            for one in self.relations
            if one.has_rows and not self._unreachable(one) and one not in self.excluded
        ]
        oids = [one.oid for one in tables]
        roots = read_roots(self.leader, oids)
        columns = read_columns(self.leader, [*oids, *{root for root, _, _ in roots.values()}])
        sizes = read_sizes(self.leader, oids)
        names = layout.FileNames()
        self.tasks = []
        for one in tables:
            root, *name = roots.get(one.oid, (one.oid,))
            # Rows of one tree are compared with each other: they need the same order of columns.
            task = _Task(one, names.for_table(one.schema, one.name), *columns[root], tuple(name))
            self.tasks.append(task)
        # The largest first, so that no worker is left alone with it at the end.
        self._queue = sorted(self.tasks, key=lambda task: sizes.get(task.relation.oid, 0))

    def _exclude(self) -> None:
        """Which tables are left out: those that a pattern names, or a partitioned table above."""
        patterns = self.options.exclude_tables
        if not patterns:
            return
        tables = [one for one in self.relations if one.has_rows]
        parents = read_parents(self.leader, [one.oid for one in tables])
        used: set[str] = set()
        for one in tables:
            labels = (one.label, *parents.get(one.oid, ()))
            matching = {each for each in patterns if any(fnmatchcase(it, each) for it in labels)}
            used |= matching
            if matching:
                self.excluded.append(one)
        self.findings = [
            finding("exclusion-unmatched", pattern, "no table matches this pattern")
            for pattern in dict.fromkeys(patterns)
            if pattern not in used
        ]

    def find_gaps(self) -> list[Finding]:
        """What a restore of this capture cannot make, though everything was captured as told."""
        assert self.inventory is not None
        found = [
            finding("coverage-gap", section, f"could not be read: {why}")
            for section, why in sorted(self.inventory.unreadable.items())
        ]
        found += [
            finding("coverage-gap", name, "it lies in a schema of PostgreSQL's own: not captured")
            for name in read_misplaced(self.leader)
        ]
        if self.excluded:
            filled = [task.relation.oid for task in self.tasks if task.rows]
            excluded = [one.oid for one in self.excluded]
            found += [
                finding(
                    "coverage-gap",
                    table,
                    f"its foreign key {key} refers to {to}, whose rows are left out:"
                    " a restore cannot make the key",
                )
                for table, key, to in read_references(self.leader, filled, excluded)
            ]
        return found

    def _unreachable(self, relation: Relation) -> bool:
        """A standby has no rows of unlogged tables; the coverage registry tells."""
        return self.facts.in_recovery and relation.persistence == "u"

    # The streams

    def copy(self) -> None:
        """All streams at once: rows by the workers, the rest beside them."""
        workers = max(1, min(self.options.jobs, len(self.tasks)))
        tasks: list[Callable[[], None]] = [self._write_schema, *[self._copy_tables] * workers]
        tasks.append(self._read_beside)
        if self.facts.large_objects:
            tasks.append(self._dump_large_objects)
        try:
            self.crew.run(tasks)
        except SourceError as error:
            # A lost leader shows first wherever the others need its snapshot.
            if lost := self._lost():
                raise self._aborted(f"{error.message}; {lost}", error.hint) from error
            raise
        self._copy_left_over()

    def _lost(self) -> str:
        """What ended the session that holds the snapshot; empty when nothing did."""
        import psycopg

        try:
            self.leader.rollback()
        except psycopg.OperationalError as error:
            if not self.leader.closed:  # a request to cancel came late, and that is all
                return ""
            why = str(error).strip().partition("\n")[0]
            return f"the session that holds the snapshot was lost: {why}"
        return ""

    def _copy_tables(self) -> None:
        while not self._copy_until_refused():
            pass

    def _copy_until_refused(self) -> bool:
        """Copy tables in one session; False when it ended early, before a table that is wanted."""
        with (
            CopySession(self.programs, self.connection, self.settings) as session,
            self.crew.breaking(session.abort),
        ):
            session.run(
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                f" SET TRANSACTION SNAPSHOT '{self.snapshot}';"
            )
            while task := self._next_task():
                stream = session.copy(task.statement)
                try:
                    stream.begin()
                    self.sink.put(task.file, stream, rows=True)
                except StatementError as error:
                    if error.sqlstate == _LOCK_NOT_AVAILABLE:
                        self._left_to_leader.append(task)
                        return False  # an error ends psql's session
                    message = f"{task.relation.label}: {error.message}"
                    raise SourceError(message, subject=error.subject, code=error.code) from None
                task.rows, task.bytes = stream.rows, stream.bytes
        return True

    def _copy_left_over(self) -> None:
        """Tables that somebody waits to lock: of us only the leader may still read them.

        The leader's lock is older than the request that waits; a worker would wait behind it,
        and the leader behind the worker.
        """
        for task in self._left_to_leader:
            blocks = _CountedBlocks(self.leader, task)
            self.sink.put(task.file, blocks, rows=True)
            task.rows, task.bytes = blocks.rows, blocks.bytes

    def _next_task(self) -> _Task | None:
        with self._guard:
            return self._queue.pop() if self._queue else None

    def _write_schema(self) -> None:
        self._put(layout.SCHEMA_DUMP, self.archive)
        scripts = plain_scripts(self.programs, self.connection, self.crew, self.archive)
        for path, data in scripts.items():
            self._put(path, data)
        roles = dump_roles(self.programs, self.connection, self.crew)
        self._put(layout.ROLES_SQL, roles)

    def _dump_large_objects(self) -> None:
        blocks = dump_large_objects(self.programs, self.connection, self.crew, self.snapshot)
        self.sink.put(layout.LARGE_OBJECTS_SQL, blocks, rows=False)

    def _read_beside(self) -> None:
        """What the leader reads in the snapshot: catalogue and digests."""
        import psycopg

        try:
            with self.crew.breaking(self.leader.cancel):
                self.inventory = take_inventory(self.leader)
                for task in self.tasks:
                    if task.generated:
                        columns = (*task.columns, *task.generated)
                        one = task.relation
                        task.row_digest = digest_rows(self.leader, one.sql, columns, one.condition)
                if self.facts.large_objects:
                    self.large_objects = digest_large_objects(self.leader)
                self.sequences = read_sequences(self.leader, self.relations)
                self.coverage = read_coverage(
                    self.leader, self.relations, self.facts.in_recovery, self.excluded
                )
                self._ask(self.inventory)
        except psycopg.Error as error:
            raise self._aborted(str(error).strip().partition("\n")[0], None) from None

    def _ask(self, inventory: Inventory) -> None:
        """What the database answers now, for the proof of a copy to compare with."""
        questions = self.options.questions
        generated: list[Question] = []
        skipped: list[tuple[str, str]] = []
        if all(one.role is None for one in questions):
            dependence = Dependence(inventory, without_rows(self.coverage))
            generated, skipped = find_probes(self.leader, dependence)
        path, recorded, left_out = record_answers(
            self.leader,
            questions,
            generated,
            limits=self.options.limits,
            stopped=lambda: self.crew.stopped,
        )
        collations = read_collation_states(self.leader)
        self.answers = Answers(path, recorded, (*skipped, *left_out), collations)

    # The rest

    def finish(self) -> Manifest:
        """Write what describes the streams; the manifest is the last."""
        assert self.identity is not None
        assert self.inventory is not None
        assert self.answers is not None
        manifest = Manifest(
            database=read_database(self.leader),
            snapshot=self.identity,
            versions=VersionRecord(
                server=self.facts.version,
                server_number=self.facts.number,
                client=self.programs.version,
                client_major=self.programs.major,
                strongroom=__version__,
            ),
            session=self.settings,
            tables=tuple(task.record() for task in self.tasks),
            sequences=self.sequences,
            large_objects=self.large_objects,
            matviews=read_matviews(self.leader),
            removals=read_removals(self.leader),
            roles=read_roles(self.leader),
            parameter_grants=read_parameter_grants(self.leader),
            extensions=read_extensions(self.leader),
            collations=read_collations(self.leader),
            coverage=self.coverage,
            migration=read_migration(self.leader),
        )
        script = database_script(manifest.database, self.facts.major)
        self._put(layout.DATABASE_SQL, script.encode())
        self._put(layout.SEQUENCES_SQL, sequences_script(manifest))
        self._put(layout.INVENTORY, self.inventory.to_json())
        self._put(layout.ANSWERS, self.answers.to_json())
        self._put(layout.RESTORE_SCRIPT, restore_script(manifest))
        self._put(layout.MANIFEST, manifest.to_json())
        return manifest

    def _put(self, path: str, data: bytes) -> None:
        self.sink.put(path, [data], rows=False)

    def _aborted(self, message: str, hint: str | None) -> SourceError:
        subject = self.connection.describe()
        return SourceError(message, subject=subject, code="capture-aborted", hint=hint)


class _CountedBlocks:
    """A table as the leader's own connection gives it, row by row, gathered into blocks."""

    def __init__(self, leader: psycopg.Connection, task: _Task) -> None:
        self._leader, self._task = leader, task
        self.rows = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[Block]:
        one, held = self._task, bytearray()
        statement = copy_out(one.relation.sql, one.columns, one.relation.condition)
        with self._leader.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in copy:
                held += row
                self.rows += 1
                if len(held) >= _BLOCK_BYTES:
                    self.bytes += len(held)
                    yield held
                    held = bytearray()
        self.bytes += len(held)
        yield held


def _identity(relations: Iterable[Relation]) -> set[tuple[int, str, str, int]]:
    """What must not change between two lists: which relations, their names and files."""
    return {(one.oid, one.schema, one.name, one.filenode) for one in relations}
