"""Single tables beside the live ones: in schemas of their own, whose names say when.

A table comes back with its columns, rows and primary key, without what acts (defaults, triggers,
foreign keys) and without generated columns; types of its own must exist in the target. What is
there is never touched: nothing but new schemas is written, and they are dropped when it fails.
Into an empty database a whole schema comes under its own name, with all that acts.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigError, SourceError, TargetError
from strongroom.model import Finding, finding
from strongroom.postgres import layout
from strongroom.postgres.connection import Connection
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.load import (
    LoadOptions,
    LoadReport,
    load_rows,
    load_schemas,
    read_manifest,
)
from strongroom.postgres.manifest import Manifest, TableRecord
from strongroom.postgres.proof import ProofOptions, prove_rows
from strongroom.postgres.replacement import name_beside
from strongroom.postgres.session import pin_settings, pinned_settings
from strongroom.postgres.statement import qualified, quote_name
from strongroom.postgres.target import find_database

if TYPE_CHECKING:
    import psycopg

__all__ = ["choose_tables", "connect_beside", "partitions_of", "restore_tables"]

_QUOTED_NAME: Final = re.compile(r'"((?:[^"]|"")*)"')
_QUOTED: Final = b"SELECT pg_catalog.quote_ident(%s)"


def restore_tables(
    files: CapturedFiles,
    target: Connection,
    wanted: Sequence[str],
    options: LoadOptions,
    *,
    now: datetime,
) -> LoadReport:
    """The wanted tables in new schemas of an existing database, compared with the snapshot.

    A note tells where each table is; what differs is a finding as of any proof. Raises ConfigError
    for a name that is not in the snapshot, TargetError when a table cannot be made.
    """
    manifest = read_manifest(files)
    inventory = Inventory.from_json(files.read(layout.INVENTORY))
    chosen = choose_tables(manifest, wanted, partitions_of(inventory))
    if all(name.endswith(".*") for name in wanted) and _is_empty(target):
        schemas = [name.removesuffix(".*") for name in wanted]
        return _restore_schemas(files, target, schemas, chosen, options)
    stamp = f"_restored_{now:%Y%m%d%H%M%S}"
    placed = [replace(one, schema=name_beside(one.schema, stamp)) for one in chosen]
    # What makes a table of an extension or a partition special stays behind.
    placed = [replace(one, extension="", condition="", root=()) for one in placed]
    schemas = sorted({one.schema for one in placed})
    with target.explaining(), connect_beside(target) as session:
        _make_tables(session, target, schemas, list(zip(chosen, placed, strict=True)), inventory)
        try:
            report = load_rows(files, target, placed, options)
            told = _add_keys(session, list(zip(chosen, placed, strict=True)), inventory)
        except BaseException:
            _drop(session, schemas)
            raise
    proof = prove_rows(files, target, placed, ProofOptions(options.jobs, options.programs))
    report.stages += proof.stages
    report.findings += [*told, *proof.findings]
    different = {one.subject for one in proof.findings if one.code != "content-order"}
    for before, after in zip(chosen, placed, strict=True):
        if after.label not in different:
            without = f", without {', '.join(before.generated)}" if before.generated else ""
            message = f"{before.rows} rows, identical to the snapshot, in {after.label}{without}"
            report.findings.append(finding("table-restored", before.label, message))
    return report


def _restore_schemas(
    files: CapturedFiles,
    target: Connection,
    schemas: Sequence[str],
    tables: Sequence[TableRecord],
    options: LoadOptions,
) -> LoadReport:
    """Whole schemas, under their own names and with all that acts, where nothing is beside."""
    report = load_schemas(files, target, schemas, options)
    lacking = report.lacking
    proof = prove_rows(
        files, target, tables, ProofOptions(options.jobs, options.programs, lacking=lacking)
    )
    report.stages += proof.stages
    report.findings += proof.findings
    different = {one.subject for one in proof.findings if one.code != "content-order"}
    for one in tables:
        if one.label not in different:
            message = f"{one.rows} rows, identical to the snapshot, in {one.label}"
            report.findings.append(finding("table-restored", one.label, message))
    return report


def connect_beside(target: Connection) -> psycopg.Connection:
    """A session of the database that tables come into, which has to be there."""
    try:
        return target.connect()
    except SourceError as error:
        if error.code != "database-missing":
            raise
        raise SourceError(
            error.message,
            subject=error.subject,
            code=error.code,
            hint="Tables come into a database that is there: make it first (CREATE DATABASE "
            f"{quote_name(target.database)}), or correct its name.",
        ) from None


def _is_empty(target: Connection) -> bool:
    """Whether the database is there and holds nothing."""
    try:
        return find_database(target)
    except TargetError:
        return False


def partitions_of(inventory: Inventory) -> dict[str, set[str]]:
    """The labels of each partitioned table's partitions, by its label."""
    found: dict[str, set[str]] = {}
    for one in inventory.objects.values():
        parents = one.attributes.get("inherits")
        if one.section == "tables" and one.attributes.get("partition_bound") and parents:
            assert isinstance(parents, list)
            for parent in parents:
                found.setdefault(_unquoted(str(parent)), set()).add(
                    _unquoted(one.key.removeprefix("table "))
                )
    return found


def _unquoted(name: str) -> str:
    """A name as the inventory writes it, as a label."""
    return _QUOTED_NAME.sub(lambda found: found[1].replace('""', '"'), name)


def _below(name: str, partitions: Mapping[str, set[str]]) -> set[str]:
    """All that lies below the partitioned table called `name`, with or without its schema."""
    waiting = [one for one in partitions if one == name]
    waiting = waiting or [one for one in partitions if one.endswith(f".{name}")]
    found: set[str] = set()
    if len(waiting) == 1:
        while waiting:
            below = partitions.get(waiting.pop(), set())
            found |= below
            waiting += below
    return found


def choose_tables(
    manifest: Manifest, wanted: Sequence[str], partitions: Mapping[str, set[str]]
) -> list[TableRecord]:
    """The tables that names choose: `schema.table`, `table` where it is the only one of its
    name, or `schema.*`; ConfigError `usage` for any other. A partitioned table has no rows of its
    own and stands for its partitions."""
    chosen: dict[str, TableRecord] = {}
    for name in wanted:
        if below := _below(name, partitions):
            chosen |= {one.label: one for one in manifest.tables if one.label in below}
            continue
        found = [
            one
            for one in manifest.tables
            if name in (one.label, one.name) or name == f"{one.schema}.*"
        ]
        exact = [one for one in found if one.label == name]
        found = exact or found
        if not found and name.endswith(".*"):
            raise _no_such_schema(manifest, name.removesuffix(".*"))
        if not found:
            labels = [one.label for one in manifest.tables]
            near = difflib.get_close_matches(name, labels + [one.name for one in manifest.tables])
            hint = f"Did you mean {near[0]}?" if near else "Name it as schema.table."
            raise ConfigError(
                f"the snapshot has no table {name}", subject="--table", code="usage", hint=hint
            )
        if len(found) > 1 and not name.endswith(".*"):
            labels = [one.label for one in found]
            raise ConfigError(
                f"several tables are called {name} ({', '.join(labels)})",
                subject="--table",
                code="usage",
                hint="Name it as schema.table.",
            )
        chosen |= {one.label: one for one in found}
    return list(chosen.values())


def _no_such_schema(manifest: Manifest, name: str) -> ConfigError:
    schemas = sorted({one.schema for one in manifest.tables})
    near = difflib.get_close_matches(name, schemas, n=1) or schemas[:5]
    return ConfigError(
        f"the snapshot has no table in a schema {name}",
        subject=name,
        code="usage",
        hint=f"Did you mean {' or '.join(near)}?" if near else "Choose another snapshot.",
    )


def _make_tables(
    session: psycopg.Connection,
    target: Connection,
    schemas: Sequence[str],
    pairs: Sequence[tuple[TableRecord, TableRecord]],
    inventory: Inventory,
) -> None:
    """All schemas and tables, or none."""
    import psycopg

    pin_settings(session, pinned_settings(session.info.server_version))
    try:
        with session.transaction():
            for schema in schemas:
                session.execute(f"CREATE SCHEMA {quote_name(schema)}".encode())
            for before, after in pairs:
                columns = ", ".join(_columns(session, before, inventory))
                relation = qualified(after.schema, after.name)
                session.execute(f"CREATE TABLE {relation} ({columns})".encode())
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise TargetError(
            f"the tables cannot be made here: {error.diag.message_primary or error}",
            subject=target.describe(),
            hint="Restore the whole source into a new database and take the rows from there.",
        ) from None


def _columns(
    session: psycopg.Connection, table: TableRecord, inventory: Inventory
) -> Iterator[str]:
    relation = _key(session, table.schema, table.name)
    for name in table.columns:
        key = f"column {relation}.{_key(session, name)}"
        attributes: Mapping[str, object] = inventory.objects[key].attributes
        collation = f" COLLATE {attributes['collation']}" if attributes["collation"] else ""
        required = " NOT NULL" if attributes["not_null"] else ""
        yield f"{quote_name(name)} {attributes['type']}{collation}{required}"


def _add_keys(
    session: psycopg.Connection,
    pairs: Sequence[tuple[TableRecord, TableRecord]],
    inventory: Inventory,
) -> list[Finding]:
    """Primary keys, after the rows; one that cannot be had is told and is no reason to stop."""
    import psycopg

    told = []
    for before, after in pairs:
        relation = f"table {_key(session, before.schema, before.name)}"
        for one in inventory.objects.values():
            definition = str(one.attributes.get("definition", ""))
            is_key = one.section == "constraints" and definition.startswith("PRIMARY KEY")
            if one.part_of != relation or not is_key:
                continue
            try:
                place = qualified(after.schema, after.name)
                session.execute(f"ALTER TABLE {place} ADD {definition}".encode())
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error)
                told.append(finding("load-note", after.label, f"no primary key: {reason}"))
    return told


def _key(session: psycopg.Connection, *names: str) -> str:
    """Names as the inventory writes them: quoted where they have to be."""
    quoted = []
    for name in names:
        row = session.execute(_QUOTED, [name]).fetchone()
        assert row is not None
        quoted.append(str(row[0]))
    return ".".join(quoted)


def _drop(session: psycopg.Connection, schemas: Sequence[str]) -> None:
    import psycopg

    with contextlib.suppress(psycopg.Error):
        for schema in schemas:
            session.execute(f"DROP SCHEMA IF EXISTS {quote_name(schema)} CASCADE".encode())
