"""A captured database in a sandbox of its own, whose rows come table by table when they are wanted.

All of the schema is there, keys included; of the rows only those of tables that somebody asked for,
each counted against what was captured. So a question about a few tables of a large database costs
these tables alone. Nothing here touches any other server.

Invariant: a table that was `load`ed holds every captured row, or an error was raised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.postgres.cluster import ClusterOptions
from strongroom.postgres.connection import Connection
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.load import LoadOptions, load_rows, load_schema_only, read_manifest
from strongroom.postgres.manifest import Manifest, TableRecord
from strongroom.postgres.partial import quiet_triggers
from strongroom.postgres.sandbox import sandbox_for
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.table_shape import Shapes, TableName, read_shapes

if TYPE_CHECKING:
    import psycopg

__all__ = ["Rebuilt", "rebuilt_database"]

_NAME: Final = "rebuilt"
_MOST_TOLD: Final = 3


class Rebuilt:
    """The sandbox's database. `session` has pinned settings, and fires neither triggers nor event
    triggers of the application."""

    def __init__(self, files: CapturedFiles, target: Connection, options: LoadOptions) -> None:
        self.files, self.target, self.options = files, target, options
        self.manifest: Manifest = read_manifest(files)
        self._loaded: set[TableName] = set()
        report = load_schema_only(files, target, options)
        self._troubles = [one for one in report.findings if one.code != "load-note"]
        self.session = quiet_session(target)
        self.shapes: Shapes = read_shapes(self.session)

    def close(self) -> None:
        self.session.close()

    def records(self, table: TableName) -> list[TableRecord]:
        """The captured streams that the table's rows are in; none when they were left out."""
        names = self.shapes.leaves.get(table, (table,))
        found = {TableName(one.schema, one.name): one for one in self.manifest.tables}
        return [found[one] for one in names if one in found]

    def has_rows(self, table: TableName) -> bool:
        """Whether the captured rows of the table are to be had, an empty table's, too."""
        shape = self.shapes.tables.get(table)
        if shape is None:
            return False
        records = self.records(table)
        names = self.shapes.leaves.get(table, () if shape.is_partitioned else (table,))
        return len(records) == len(names) and not any(one.extension for one in records)

    def load(self, table: TableName) -> None:
        """From here on the table holds its captured rows. SourceError when it cannot."""
        if table in self._loaded:
            return
        records = self.records(table)
        with quiet_triggers(self.session):
            report = load_rows(self.files, self.target, records, self.options)
        expected = sum(one.rows for one in records)
        told = [one for one in report.findings if one.code != "load-note"]
        if told or report.rows != expected:
            reason = told[0].message if told else f"{report.rows} of {expected} rows came back"
            raise SourceError(
                f"its rows cannot be rebuilt in the sandbox: {reason}", subject=table.label
            )
        self._loaded.add(table)
        self.session.execute(f"ANALYZE {table.sql}".encode())

    def why_unmade(self, table: TableName) -> str:
        """Why the sandbox does not have a table that was captured; "" when it has, or was not."""
        captured = any((one.schema, one.name) == table for one in self.manifest.tables)
        if not captured or table in self.shapes.tables or table in self.shapes.roots:
            return ""
        told = [f"{one.subject}: {one.message}" for one in self._troubles[:_MOST_TOLD]]
        return "the sandbox cannot make it" + (f" ({'; '.join(told)})" if told else "")


@contextlib.contextmanager
def rebuilt_database(
    files: CapturedFiles, cluster_options: ClusterOptions, options: LoadOptions
) -> Iterator[Rebuilt]:
    """The captured database's schema in a sandbox, for the length of the context.

    SourceError `sandbox-failed`, `client-programs`, or `source-failed` when the sandbox's server
    refuses something, or the database's text is in no known encoding.
    """
    if read_manifest(files).session.get("client_encoding") == "SQL_ASCII":
        raise SourceError(
            "the database is in SQL_ASCII: its text is in no known encoding and cannot be compared",
            hint="Take rows from `strongroom restore --table`, which comes beside the live table.",
        )
    with sandbox_for(files, cluster_options) as cluster:
        target = cluster.connection(_NAME)
        with target.explaining():
            rebuilt = Rebuilt(files, target, options)
            try:
                yield rebuilt
            finally:
                rebuilt.close()


def quiet_session(target: Connection) -> psycopg.Connection:
    """A session of a sandbox, in which nothing of the application acts."""
    session = target.connect()
    pin_settings(session, pinned_settings(session.info.server_version))
    # Event triggers would see the tables that we make.
    session.execute(b"SET session_replication_role TO 'replica'")
    return session
