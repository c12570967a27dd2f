"""The database source (`kind: postgres`): where PostgreSQL's streams and a repository meet.

The snapshot's tree holds one folder of the source's name with everything that `psql` needs to
bring the database back without this program; see docs/FORMAT.md, "Restore without us".
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config import resolve_secret
from strongroom.config.value import is_reference
from strongroom.errors import ConfigError
from strongroom.model import Finding, Piece, finding
from strongroom.postgres import layout
from strongroom.postgres.accepted import Accepted
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, ClusterOptions
from strongroom.postgres.connection import Connection, parse_connection
from strongroom.postgres.exchange import Block, CapturedFiles
from strongroom.postgres.fitness import Fitness, examine_target, unknown_secrets
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.load import LoadOptions, LoadReport, load_database, read_manifest
from strongroom.postgres.manifest import Coverage, Manifest, TableRecord
from strongroom.postgres.partial import PartialFiles, parts_of
from strongroom.postgres.proof import ProofOptions, prove_database
from strongroom.postgres.quarantine import quarantine
from strongroom.postgres.question import Question
from strongroom.postgres.reading import Reading, close_to_changes
from strongroom.postgres.rebuilt import Rebuilt, rebuilt_database
from strongroom.postgres.sandbox import reference_in, sandbox_for
from strongroom.postgres.table_restore import partitions_of, restore_tables
from strongroom.repository import FILES, ROWS, Folder, SnapshotView, SnapshotWriter
from strongroom.sources.difference import Differences
from strongroom.sources.protocol import CaptureContext, Captured, Proof, RestoreOutcome

_RESTORED: Final = "restored"
_TAKEN: Final = frozenset({"postgres", "template0", "template1"})  # which each server has
_MOST_NAMED: Final = 50


class DatabaseSource:
    """One database. `url` is a reference (`env:NAME`) or a URL without a password.

    `questions` are the operator's queries and probes; `elsewhere` names what is protected in
    another way. `deep`: drills run PostgreSQL's own check of every index and table, too.
    """

    kind = "postgres"

    def __init__(
        self,
        name: str,
        url: str,
        *,
        jobs: int = 2,
        programs: Path | None = None,
        lock_timeout_seconds: int = 30,
        exclude_tables: Sequence[str] = (),
        questions: Sequence[Question] = (),
        elsewhere: Sequence[str] = (),
        deep: bool = False,
    ) -> None:
        self.name = name
        self._url = url
        self._elsewhere = tuple(elsewhere)
        self._deep = deep
        self._options = CaptureOptions(
            jobs=jobs,
            programs=programs,
            lock_timeout_seconds=lock_timeout_seconds,
            exclude_tables=tuple(exclude_tables),
            questions=tuple(questions),
        )
        # What became of the targets that were loaded here.
        self._loads: dict[str, LoadReport] = {}
        self._other_roles: Mapping[str, str] = {}
        self._sandboxes: dict[str, Cluster] = {}
        self._taken: frozenset[str] | None = None
        self._left: tuple[str, ...] = ()

    def parts(self, view: SnapshotView) -> dict[str, int]:
        """The bytes of each part of a captured database that can be restored by itself, by name."""
        return parts_of(read_manifest(self._whole(view)))

    def coverage(self, view: SnapshotView) -> tuple[Coverage, ...]:
        """What is known to exist beside what was captured, and what became of each."""
        return read_manifest(self._whole(view)).coverage

    def restrict(self, taken: Sequence[str], left: Sequence[str]) -> None:
        """From here on this object restores and proves the rows of these parts only, and all that
        is not rows; so nothing more than UNKNOWN is known of the whole."""
        self._taken, self._left = frozenset(taken), tuple(left)

    def map_roles(self, other: Mapping[str, str]) -> None:
        """From here on what belonged to a captured role, and was granted to it, goes to another."""
        self._other_roles = dict(other)

    def fitness(self, view: SnapshotView, target: str) -> Fitness:
        """What is known of a restore into this target before its first byte."""
        return examine_target(self._whole(view), connection_to(target), self._other_roles)

    @property
    def paths(self) -> Sequence[str]:
        return (f"/{self.name}",)

    def connection(self) -> Connection:
        """The source's address with its password, resolved now."""
        return connection_to(self._url)

    def capture(self, writer: SnapshotWriter, context: CaptureContext) -> Captured:
        """Push every stream of the database; nothing is copied to disk on the way."""
        sink = _WriterSink(writer, self.name, context)
        capture = capture_database(self.connection(), self._options, sink)
        return Captured(
            sink.folder.store(writer),
            capture.bytes,
            len(capture.tables),
            tuple(capture.findings),
            tuple(capture.stages),
            _facts(capture.manifest),
        )

    def restore(
        self, view: SnapshotView, target: str, *, include: Sequence[str] = ()
    ) -> RestoreOutcome:
        """Load into a new or empty database, given as a reference, a URL or a conninfo string.

        With `include`, names of tables, these alone come into schemas of their own in a database
        that is there.
        """
        sandbox = self._sandboxes.get(target)
        options = LoadOptions(
            jobs=self._options.jobs,
            programs=self._options.programs,
            # A sandbox is compared and thrown away: nobody plans queries in it.
            analyze=sandbox is None,
            own_server=sandbox is not None,
            partial=self._taken is not None,
            roles=tuple(one.role for one in self._options.questions if one.role is not None),
            other_roles=self._other_roles,
        )
        files, connection = self._files(view), connection_to(target)
        if include:
            now = datetime.now(UTC)
            report = restore_tables(files, connection, include, options, now=now)
            return RestoreOutcome(tuple(report.findings), tuple(report.stages), report.bytes)
        report = load_database(files, connection, options)
        self._loads[target] = report
        report.findings += self._told_of_roles()
        if sandbox is None:
            inventory = Inventory.from_json(files.read(layout.INVENTORY))
            report.findings += unknown_secrets(inventory)
        return RestoreOutcome(tuple(report.findings), tuple(report.stages), report.bytes)

    def prove(self, view: SnapshotView, target: str) -> Proof:
        """Compare rows, sequences, large objects, every definition and what roles see with the
        snapshot, and ask the operator's questions."""
        files, connection = self._files(view), connection_to(target)
        sandbox, load = self._sandboxes.get(target), self._loads.get(target)
        options = ProofOptions(
            jobs=self._options.jobs,
            programs=self._options.programs,
            reference=lambda: self._reference(files, connection, sandbox),
            lacking=load.lacking if load else frozenset(),
            accepted=self._accepted(load),
            questions=self._options.questions,
            elsewhere=self._elsewhere,
            partial=self._taken is not None,
            # It installs an extension: only where everything is thrown away afterwards.
            deep=self._deep and sandbox is not None,
        )
        report = prove_database(files, connection, options)
        unfit = sandbox.findings if sandbox is not None else []
        return Proof(
            report.checked,
            (*report.findings, *unfit, *self._left_out()),
            tuple(report.stages),
            report.digests,
            report.versions,
        )

    def differences(self, view: SnapshotView, target: str) -> Differences:
        """What a restore would do to the tables of a database. Changes nothing."""
        from strongroom.sources.database_difference import table_differences

        return table_differences(read_manifest(self._whole(view)), connection_to(target))

    @contextmanager
    def sandbox(self, view: SnapshotView, directory: Path) -> Iterator[str]:
        """A cluster of our own, of the source's major version where its programs are found."""
        with sandbox_for(self._files(view), self._cluster_options(directory)) as cluster:
            target = cluster.connection(_RESTORED).conninfo()
            self._sandboxes[target] = cluster
            try:
                yield target
            finally:
                del self._sandboxes[target]

    @contextmanager
    def rebuilt(self, view: SnapshotView, directory: Path) -> Iterator[Rebuilt]:
        """The captured schema in a sandbox, with the rows of those tables that are asked for."""
        options = LoadOptions(
            jobs=self._options.jobs,
            programs=self._options.programs,
            own_server=True,
            partial=True,
        )
        cluster = self._cluster_options(directory)
        with rebuilt_database(self._whole(view), cluster, options) as rebuilt:
            yield rebuilt

    def manifest(self, view: SnapshotView) -> Manifest:
        """What the snapshot says of itself."""
        return read_manifest(self._whole(view))

    def partitioned(self, view: SnapshotView) -> set[str]:
        """The names of captured tables that consist of partitions."""
        inventory = Inventory.from_json(self._whole(view).read(layout.INVENTORY))
        return set(partitions_of(inventory))

    def content(self, view: SnapshotView, table: TableRecord) -> tuple[Piece, ...]:
        """The stored pieces of a table's stream: where they are the same, so are the rows."""
        return tuple(self._whole(view).pieces(table.file))

    @contextmanager
    def reading_room(self, view: SnapshotView, directory: Path) -> Iterator[Reading]:
        """The captured database restored into a cluster of our own that takes no change, and how
        to reach it; gone when the context ends. SourceError when it cannot be restored."""
        files = self._files(view)
        # A server that only replays what another wrote needs what that one would have sent.
        options = replace(self._cluster_options(directory), settings={"wal_level": "replica"})
        name = read_manifest(files).database.name
        if name in _TAKEN:
            name = _RESTORED
        with sandbox_for(files, options) as cluster:
            address = cluster.connection(name)
            report = load_database(
                files,
                address,
                LoadOptions(
                    jobs=self._options.jobs,
                    programs=self._options.programs,
                    own_server=True,
                ),
            )
            quarantined = quarantine(address)
            reading = close_to_changes(cluster, name)
            findings = (*cluster.findings, *report.findings, *quarantined, *reading.findings)
            yield replace(reading, findings=findings)

    def _accepted(self, load: LoadReport | None) -> Accepted:
        """What the load has told of already, and roles have other names."""
        if load is None:
            return Accepted(other_roles=self._other_roles)
        return Accepted(load.kept, load.unsettled, load.ordinary_role, self._other_roles)

    def _told_of_roles(self) -> Iterator[Finding]:
        for before, after in sorted(self._other_roles.items()):
            message = f"what belonged to it or was granted to it is {after}'s"
            yield finding("role-mapped", f"role {before}", message)

    def _left_out(self) -> Iterator[Finding]:
        """What was not asked of the database, by name as far as anybody reads on."""
        if self._taken is not None and self._left:
            covered = _listed(sorted(self._taken))
            message = f"covered are {covered}; not covered are {_listed(self._left)}"
            yield finding("sample-partial", self.name, message)

    def _reference(
        self, files: CapturedFiles, connection: Connection, sandbox: Cluster | None
    ) -> Inventory:
        """The captured schema as the target's PostgreSQL version prints it after a load."""
        if sandbox is not None:
            return reference_in(sandbox, files)()
        with connection.connect() as session:
            major = session.info.server_version // 10000
        with sandbox_for(files, self._cluster_options(None), major=major) as cluster:
            return reference_in(cluster, files)()

    def _cluster_options(self, directory: Path | None) -> ClusterOptions:
        return ClusterOptions(directory=directory, programs=self._options.programs)

    def _files(self, view: SnapshotView) -> CapturedFiles:
        """The database's folder, as far as it is wanted."""
        files = self._whole(view)
        return files if self._taken is None else PartialFiles(files, self._taken)

    def _whole(self, view: SnapshotView) -> _ViewFiles:
        """The database's folder, under the name that the source had when it was captured."""
        paths = view.snapshot.paths
        return _ViewFiles(view, paths[0].encode() if paths else f"/{self.name}".encode())


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    noun = "part" if len(parts) == 1 else "parts"
    return f"{len(parts)} {noun} ({', '.join(parts[:_MOST_NAMED])}{more})"


def _facts(manifest: Manifest) -> dict[str, Any]:  # Any: JSON values
    snapshot, migration = manifest.snapshot, manifest.migration
    return {
        "moment_at": snapshot.captured_at.isoformat().replace("+00:00", "Z"),
        "lsn": snapshot.lsn,
        "migration": dataclasses.asdict(migration) if migration is not None else None,
    }


def connection_to(text: str) -> Connection:
    """The connection for a reference, a URL or a conninfo string, which must name its database:
    the one of libpq's choice could be another than the one that is meant. ConfigError if not."""
    connection = parse_connection(resolve_secret(text) if is_reference(text) else text)
    if not (connection.parameters.get("dbname") or connection.parameters.get("service")):
        raise ConfigError(
            "the address names no database",
            subject=connection.describe().partition(" at ")[2],
            hint="Name it: postgresql://USER@HOST:PORT/DATABASE.",
        )
    return connection


class _WriterSink:
    """Takes a capture's streams into a snapshot; see `postgres.exchange.CaptureSink`."""

    def __init__(self, writer: SnapshotWriter, name: str, context: CaptureContext) -> None:
        self.folder = Folder(time.time_ns())
        self._writer = writer
        self._prefix = name.encode()
        self._progress = context.progress

    def put(self, path: str, blocks: Iterable[Block], *, rows: bool) -> None:
        counted = self._counted(blocks)
        content = self._writer.put_stream(counted, ROWS if rows else FILES)
        mode = 0o700 if path.endswith(".sh") else 0o600
        self.folder.add(self._prefix + b"/" + path.encode(), content, mode=mode)
        self._progress.advance(0, 1)

    def _counted(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            yield block
            self._progress.advance(len(block))


@dataclass(frozen=True, slots=True)
class _ViewFiles:
    """A database's folder in a snapshot; see `postgres.exchange.CapturedFiles`."""

    view: SnapshotView
    root: bytes

    def exists(self, path: str) -> bool:
        return self.view.exists(self._at(path))

    def blocks(self, path: str) -> Iterator[Block]:
        for block in self.view.blocks(self._at(path), workers=1):
            yield block
            self.view.progress.advance(len(block))

    def pieces(self, path: str) -> Sequence[Piece]:
        pieces = self.view.pieces(self._at(path))
        # Asked for when the table is about to be compared.
        self.view.progress.advance(sum(piece.length_bytes for piece in pieces), 1)
        return pieces

    def read(self, path: str) -> bytes:
        return self.view.read(self._at(path))

    def _at(self, path: str) -> bytes:
        return self.root + b"/" + path.encode()
