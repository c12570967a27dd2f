"""What a database's snapshot says about itself: `manifest.json`, as values.

Everything that a load and a proof must know beyond the streams: which table is in which file with
which columns, how many rows and bytes, the snapshot's identity, sequences, large objects, versions,
and the registry of what exists and where it is. Object ids don't appear: they mean nothing
elsewhere. A manifest that is not one is refused as damaged, never half-read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from strongroom.errors import IntegrityError
from strongroom.postgres.migration import MigrationRecord
from strongroom.postgres.statement import qualified

__all__ = [
    "Coverage",
    "DatabaseRecord",
    "ExtensionRecord",
    "LargeObject",
    "LargeObjects",
    "Manifest",
    "RoleRecord",
    "SequenceRecord",
    "SnapshotRecord",
    "TableRecord",
    "VersionRecord",
]

FORMAT: Final = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableRecord:
    """One table's stream. `generated` columns are not in it; `row_digest` then covers all columns.

    `condition` is the WHERE clause of an extension's configuration table, else empty. `root` is
    schema and name of the partitioned table through which the rows must be loaded, because another
    server may place them in other partitions; else empty.
    """

    schema: str
    name: str
    file: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    generated: tuple[str, ...] = ()
    row_digest: str = ""
    condition: str = ""
    extension: str = ""
    unlogged: bool = False
    root: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def loaded_into(self) -> str:
        """The relation that takes the rows in, quoted."""
        return qualified(*(self.root or (self.schema, self.name)))


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """A sequence's state, read after the snapshot was taken: never behind the rows."""

    schema: str
    name: str
    last_value: int
    is_called: bool
    increment: int

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class LargeObject:
    """One large object: its number, its length and the SHA-256 over its mebibytes' digests."""

    number: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class LargeObjects:
    """All large objects in sum, whatever their order; each of them while they are few."""

    count: int = 0
    bytes: int = 0
    digest: str = "0"
    objects: tuple[LargeObject, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """A role without its password: statements that make it; groups, each with its GRANT."""

    name: str
    statements: tuple[str, ...]
    memberships: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseRecord:
    """The database itself. `settings` are statements split where its name belongs in them."""

    name: str
    owner: str
    encoding: str
    locale_provider: str
    collate: str
    ctype: str
    locale: str = ""
    locale_rules: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    bootstrap_role: str = "postgres"


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """Which moment was captured: transaction snapshot, log position and time."""

    transactions: str
    lsn: str
    captured_at: datetime
    from_standby: bool = False


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """Which programs made this."""

    server: str
    server_number: int
    client: str
    client_major: int
    strongroom: str

    @property
    def server_major(self) -> int:
        return self.server_number // 10000


@dataclass(frozen=True, slots=True)
class ExtensionRecord:
    """An installed extension."""

    name: str
    schema: str
    version: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """One thing known to exist, or not to: `captured`, `not-configured`, `not-exportable` or
    `needs-action`, and why or what to do."""

    kind: str
    subject: str
    status: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of `manifest.json`.

    `matviews` are the populated ones in the order in which to refresh them; `removals` are
    statements that take away what every new database has and this one lacks. `parameter_grants` are
    the grants on the server's settings, each with the role that got it, "" for PUBLIC.
    `migration` is the schema's version, None when no migration tool keeps one.
    """

    database: DatabaseRecord
    snapshot: SnapshotRecord
    versions: VersionRecord
    session: Mapping[str, str]
    tables: tuple[TableRecord, ...]
    sequences: tuple[SequenceRecord, ...] = ()
    large_objects: LargeObjects = field(default_factory=LargeObjects)
    matviews: tuple[tuple[str, str], ...] = ()
    removals: tuple[str, ...] = ()
    roles: tuple[RoleRecord, ...] = ()
    parameter_grants: tuple[tuple[str, str], ...] = ()
    extensions: tuple[ExtensionRecord, ...] = ()
    collations: Mapping[str, str] = field(default_factory=dict)
    coverage: tuple[Coverage, ...] = ()
    migration: MigrationRecord | None = None

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def size_bytes(self) -> int:
        return sum(table.bytes for table in self.tables)

    def to_json(self) -> bytes:
        """The manifest as UTF-8 JSON for people and programs; equal ones give equal bytes."""
        whole = {"format": FORMAT, "kind": "postgres", **dataclasses.asdict(self)}
        whole["snapshot"]["captured_at"] = self.snapshot.captured_at.isoformat()
        return (json.dumps(whole, ensure_ascii=False, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """The manifest that `to_json` wrote; raises IntegrityError `snapshot-damaged`."""
        try:
            whole = json.loads(data)
            if whole["format"] != FORMAT:
                raise IntegrityError(
                    f"format {whole['format']} is newer than this program",
                    subject="manifest.json",
                    code="snapshot-damaged",
                    hint="Use the version of strongroom that wrote the snapshot, or a newer one.",
                )
            return _manifest(whole)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"this is not the manifest of a database ({error})",
                subject="manifest.json",
                code="snapshot-damaged",
            ) from None


# Any: JSON as it was read; each record's constructor refuses names that it does not have.
def _manifest(whole: Mapping[str, Any]) -> Manifest:
    database, snapshot = dict(whole["database"]), dict(whole["snapshot"])
    database["settings"] = tuple((str(a), str(b)) for a, b in database["settings"])
    snapshot["captured_at"] = datetime.fromisoformat(snapshot["captured_at"])
    large = dict(whole["large_objects"])
    large["objects"] = tuple(LargeObject(**one) for one in large["objects"])
    migration = whole.get("migration")
    return Manifest(
        database=DatabaseRecord(**database),
        snapshot=SnapshotRecord(**snapshot),
        versions=VersionRecord(**whole["versions"]),
        session=dict(whole["session"]),
        tables=_records(TableRecord, whole["tables"], "columns", "generated", "root"),
        sequences=_records(SequenceRecord, whole["sequences"]),
        large_objects=LargeObjects(**large),
        matviews=tuple((str(a), str(b)) for a, b in whole["matviews"]),
        removals=tuple(map(str, whole["removals"])),
        roles=tuple(
            RoleRecord(
                str(one["name"]),
                tuple(map(str, one["statements"])),
                tuple((str(group), str(grant)) for group, grant in one["memberships"]),
            )
            for one in whole["roles"]
        ),
        parameter_grants=tuple((str(a), str(b)) for a, b in whole.get("parameter_grants", ())),
        extensions=_records(ExtensionRecord, whole["extensions"]),
        collations=dict(whole["collations"]),
        coverage=_records(Coverage, whole["coverage"]),
        migration=MigrationRecord(**migration) if migration else None,
    )


def _records(kind: type[T], entries: list[dict[str, Any]], *lists: str) -> tuple[T, ...]:
    return tuple(
        kind(**{**entry, **{name: tuple(entry.get(name, ())) for name in lists}})
        for entry in entries
    )
