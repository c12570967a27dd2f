"""Rows into tables, and with them the indexes and keys that need nothing but their own table.

Each table in a transaction of its own, emptied in it, so that its rows need no log where a server
keeps little of one, and no freezing later. An index is made as soon as its table is filled, by
whichever session is free, the largest first: no session waits for another's last table. What looks
at other tables (functions, foreign keys) is not made here. A table that the target had before is
filled only while it holds nothing, and never emptied.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.model import finding
from strongroom.postgres.agenda import Agenda, Task
from strongroom.postgres.connection import Connection
from strongroom.postgres.crew import Crew
from strongroom.postgres.definitions import DefiningSession, Definitions
from strongroom.postgres.entry_subject import shown_name
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.manifest import TableRecord
from strongroom.postgres.messages import Complaint, Complaints, copy_place, without_values
from strongroom.postgres.schema_script import Entry
from strongroom.postgres.statement import copy_in

if TYPE_CHECKING:
    import psycopg

__all__ = ["RowLoading", "index_weights", "table_key", "written_name"]

# What making an index of a table costs beside filling it, as a share.
_INDEX_SHARE: Final = 4


def table_key(table: TableRecord) -> str:
    """The key of the table in an inventory."""
    return f"table {shown_name(table.schema)}.{shown_name(table.name)}"


def written_name(table: TableRecord) -> str:
    """The table's name as it is written in pg_dump's statements, read as latin-1."""
    name = f"{shown_name(table.schema)}.{shown_name(table.name)}"
    return name.encode().decode("latin-1")


def index_weights(tables: Sequence[TableRecord]) -> dict[str, int]:
    """How heavy an index of each table is among other work, by its name in statements."""
    return {written_name(one): one.bytes // _INDEX_SHARE for one in tables}


@dataclass
class RowLoading:
    """One load of rows. `fresh`: the tables were made for it and hold nothing; `kept` are the keys
    of what was there before. `indexes` are the definitions to make on the way, by table."""

    files: CapturedFiles
    target: Connection
    complaints: Complaints
    settings: Mapping[str, str]
    client_encoding: str = "UTF8"
    fresh: bool = True
    kept: Collection[str] = ()
    indexes: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    definitions: Definitions | None = None
    rows: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._weights: Mapping[str, int] = {}

    def run(self, tables: Sequence[TableRecord], jobs: int) -> None:
        """Fill the tables, the largest first, by as many sessions as there are jobs."""
        self._weights = index_weights(tables)
        agenda: Agenda[TableRecord | Entry] = Agenda(_task(one) for one in tables)
        workers = max(1, min(jobs, len(tables) + sum(map(len, self.indexes.values()))))
        crew = Crew()
        crew.run([lambda: self._work(agenda, crew)] * workers)
        if self.definitions is not None:
            self.definitions.finish()

    def complain(self, one: Complaint) -> None:
        """Judge a complaint of any thread."""
        self.complaints.judge([one])

    def _work(self, agenda: Agenda[TableRecord | Entry], crew: Crew) -> None:
        if self.definitions is not None and self.indexes:
            with self.definitions.session() as session:
                self._work_in(session.session, session, agenda, crew)
        else:
            with self.target.connect() as connection:
                self._work_in(connection, None, agenda, crew)

    def _work_in(
        self,
        connection: psycopg.Connection,
        session: DefiningSession | None,
        agenda: Agenda[TableRecord | Entry],
        crew: Crew,
    ) -> None:
        self._pin(connection)

        def perform(what: TableRecord | Entry) -> None:
            if isinstance(what, Entry):
                assert session is not None
                assert self.definitions is not None
                self.definitions.define(session, what)
                return
            self._load(connection, what)
            if self.definitions is not None:
                ready = self.indexes.get(written_name(what), ())
                agenda.add(self._index_task(one) for one in ready)

        with crew.breaking(connection.cancel):
            agenda.work(perform)

    def _pin(self, session: psycopg.Connection) -> None:
        """The settings under which rows are what they were, and fast where that harms nothing."""
        import psycopg

        for name, value in self.settings.items():
            session.execute(
                "SELECT pg_catalog.set_config(name, %s, false) FROM pg_catalog.pg_settings"
                " WHERE name = %s",
                [value, name],
            )
        session.execute(f"SET client_encoding TO '{self.client_encoding}'".encode())
        try:
            # Only tables of extensions have triggers before the rows.
            session.execute(b"SET session_replication_role TO 'replica'")
        except psycopg.errors.InsufficientPrivilege:
            return

    def _load(self, session: psycopg.Connection, table: TableRecord) -> None:
        import psycopg

        if table_key(table) in self.complaints.refused:
            text = f"its {table.rows} rows are left out with it"
            self.complaints.take([finding("target-refused", table_key(table), text)])
            return
        try:
            loaded = self._copy(session, table)
        except psycopg.Error as error:
            state = error.sqlstate or ""
            lost = session.broken or session.closed
            if lost or isinstance(error, psycopg.OperationalError):
                raise SourceError(
                    str(error).strip().partition("\n")[0],
                    subject=f"{self.target.describe()}, {table.label}",
                ) from None
            reason = error.diag.message_primary or str(error)
            place = copy_place(error.diag.context or "")
            where = f" ({place})" if place else ""
            text = f"{without_values(reason)}{where}"
            about = "rows" if table_key(table) in self.kept else ""
            self.complain(Complaint(f"table {table.label}", text, sqlstate=state, about=about))
            return
        if loaded is None:
            return
        with self._guard:
            self.rows += loaded
            self.bytes += table.bytes
        if loaded != table.rows:
            text = f"{table.rows} rows were captured, {loaded} were loaded"
            self.complain(Complaint(f"table {table.label}", text))

    def _copy(self, session: psycopg.Connection, table: TableRecord) -> int | None:
        """How many rows were taken in; None when none were tried."""
        relation = table.loaded_into
        is_kept = table_key(table) in self.kept
        # An extension has filled its own tables already: those rows stay. Into a tree of partitions
        # several streams are loaded at once.
        fresh = self.fresh and not table.extension and not table.root and not is_kept
        if is_kept and not table.rows:
            return None
        with session.transaction(), session.cursor() as cursor:
            if is_kept and not self._is_empty(cursor, table):
                return None
            if fresh:
                # Emptied in this transaction, rows need no log (wal_level minimal) nor freezing.
                cursor.execute(f"TRUNCATE ONLY {relation}".encode())
            statement = copy_in(relation, table.columns, freeze=fresh)
            with cursor.copy(statement.encode()) as copy:
                for block in self.files.blocks(table.file):
                    copy.write(block)
            return cursor.rowcount

    def _is_empty(self, cursor: psycopg.Cursor, table: TableRecord) -> bool:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {table.loaded_into})".encode())
        row = cursor.fetchone()
        if row is None or not row[0]:
            return True
        text = f"it holds rows of the target's own; the {table.rows} captured are left out"
        self.complain(Complaint(table_key(table), text, about="rows"))
        return False

    def _index_task(self, entry: Entry) -> Task[TableRecord | Entry]:
        assert self.definitions is not None
        task = self.definitions.task(entry, self._weights)
        return Task(entry, task.weight, task.alone, task.shared)


def _task(table: TableRecord) -> Task[TableRecord | Entry]:
    own = frozenset({written_name(table)})
    return Task(table, table.bytes, own if not table.root else frozenset())
