"""Is this database what was captured? The content rung, and the evidence of all the others.

Each table's COPY text is asked of the target with the manifest's columns under the pinned settings,
cut at the lengths at which the snapshot's stream was cut when it was stored, and each piece's
SHA-256 is compared with the recorded one: no second copy is read, and the first difference has a
place. Only a table that differs is read from the snapshot, too, and compared as a set of rows, for
PostgreSQL may place the same rows in another order, and in other partitions where these go by a
hash that differs between servers: there the whole table's rows are compared. No transaction spans
the tables: locks on thousands of them would fill a server's table of locks. Reads only (I7); a bad
answer is a finding, and what could not be asked is one as well.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.model import Digests, Finding, Piece, PieceDigest, SetDigest, Stage, finding
from strongroom.postgres import layout
from strongroom.postgres.accepted import Accepted
from strongroom.postgres.access import judge_probe, tell_left_out
from strongroom.postgres.amcheck import check_deeply
from strongroom.postgres.answers import read_answers
from strongroom.postgres.comparison import RowDifference, compare_rows
from strongroom.postgres.connection import Connection
from strongroom.postgres.coverage import judge_coverage
from strongroom.postgres.crew import Crew
from strongroom.postgres.dependence import Dependence, without_rows
from strongroom.postgres.digest import add_digests, digest_large_objects, digest_rows
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.integrity import examine
from strongroom.postgres.inventory import Inventory, take_inventory
from strongroom.postgres.load import read_manifest
from strongroom.postgres.manifest import LargeObjects, Manifest, SequenceRecord, TableRecord
from strongroom.postgres.meaning import Asked, judge_query, not_worth_asking
from strongroom.postgres.messages import without_values
from strongroom.postgres.piecewise import Difference, first_difference
from strongroom.postgres.programs import find_programs
from strongroom.postgres.question import Answer, Outcome, Question, ask
from strongroom.postgres.row_loading import table_key
from strongroom.postgres.session import CopySession, StatementError, pin_settings, pinned_settings
from strongroom.postgres.statement import copy_out, qualified
from strongroom.postgres.structure import compare_structure

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "Difference",
    "ProofOptions",
    "ProofReport",
    "first_difference",
    "prove_database",
    "prove_rows",
]

_NAMED: Final = 5
_NO_PRIVILEGE: Final = "42501"
_LOCK_TIMEOUT: Final = "60s"
# A copy has no statistics at first, and nobody waits for it: more than at capture.
_QUESTION_SECONDS: Final = 120

# After these nothing can be concluded from a table's rows.
_OTHER_ROWS: Final = frozenset({"content-differs", "content-missing", "content-generated"})

_PRESENT: Final = b"""
SELECT n.nspname::text, c.relname::text,
    array_agg(a.attname::text) FILTER (WHERE a.attgenerated = '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute a
    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' GROUP BY 1, 2"""


@dataclass(frozen=True, slots=True)
class ProofOptions:
    """How to prove. `reference` gives the inventory of the captured schema, loaded without rows on
    a server of the target's version; it is asked only when definitions' texts differ. `lacking` is
    what the target's server does not have, and `accepted` what the load told of. `questions` are
    the operator's; `elsewhere` are patterns of the registry that need no action. `partial`: not
    all rows are there, so nothing is asked of them. `deep`: run `amcheck`, too, which installs
    itself: for sandboxes.
    """

    jobs: int = 2
    programs: Path | None = None
    reference: Callable[[], Inventory] | None = None
    lacking: frozenset[str] = frozenset()
    accepted: Accepted = field(default_factory=Accepted)
    questions: tuple[Question, ...] = ()
    elsewhere: tuple[str, ...] = ()
    partial: bool = False
    deep: bool = False
    question_seconds: float = _QUESTION_SECONDS


@dataclass(slots=True)
class ProofReport:
    """What was found; `checked` counts the comparisons that were really made. `versions` are those
    of the source's server at capture and of the target's."""

    findings: list[Finding] = field(default_factory=list)
    checked: int = 0
    stages: list[Stage] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    digests: Digests | None = None
    versions: dict[str, str] = field(default_factory=dict)


def prove_database(
    files: CapturedFiles, target: Connection, options: ProofOptions = ProofOptions()
) -> ProofReport:
    """Compare the target's database with the captured one, rung by rung.

    Raises `SourceError` when the target cannot be asked, and passes on errors of `files`.
    """
    with target.explaining():
        proof = _Proof(files, target, options)
        with proof.stage("content"):
            proof.tables(proof.manifest.tables)
        with proof.stage("beside tables"):
            proof.beside()
        with proof.stage("structure"):
            captured, observed = proof.structure()
        with proof.stage("integrity"):
            proof.integrity(captured, observed)
        dependence = Dependence(captured, without_rows(proof.manifest.coverage))
        # The answers of a database without some of its rows would say nothing.
        if not options.partial:
            with proof.stage("access"):
                proof.access(dependence)
            with proof.stage("meaning"):
                proof.meaning(dependence)
        proof.report.findings += judge_coverage(proof.manifest.coverage, options.elsewhere)
        if options.deep:
            with proof.stage("amcheck"):
                proof.deep()
    # Of some of the rows they would be taken for those of the whole.
    if not options.partial and not proof.is_unread:
        proof.report.digests = proof.digests()
    proof.report.findings = list(options.accepted.softened(proof.report.findings))
    proof.report.findings.sort(key=lambda one: (one.subject, one.code))
    return proof.report


def prove_rows(
    files: CapturedFiles,
    target: Connection,
    tables: Sequence[TableRecord],
    options: ProofOptions = ProofOptions(),
) -> ProofReport:
    """Compare tables, under the names that the records have now, with the captured rows."""
    with target.explaining():
        proof = _Proof(files, target, options)
        with proof.stage("content"):
            proof.tables(tables)
    return proof.report


class _Proof:
    """The state of one proof; its methods are its rungs."""

    def __init__(self, files: CapturedFiles, target: Connection, options: ProofOptions) -> None:
        self.files, self.target, self.options = files, target, options
        self.manifest: Manifest = read_manifest(files)
        self.answers = read_answers(files)
        self.report = ProofReport()
        self.differing_roots: set[tuple[str, ...]] = set()
        # By stream what identifies it, as captured and as observed; and the large objects.
        self._streams: dict[str, tuple[bytes, bytes]] = {}
        self._objects: str | None = None
        self.is_unread = False
        self._guard = threading.Lock()
        sql_ascii = self.manifest.session.get("client_encoding") == "SQL_ASCII"
        with target.connect() as session:
            version, tls = session.info.server_version, bool(session.pgconn.ssl_in_use)
            observed = session.info.parameter_status("server_version") or str(version)
            self.report.versions = {
                "postgresql_source": self.manifest.versions.server,
                "postgresql_target": observed,
            }
            self.settings = pinned_settings(version, sql_ascii=sql_ascii) | {
                "lock_timeout": _LOCK_TIMEOUT
            }
            pin_settings(session, self.settings)
            rows = session.execute(_PRESENT).fetchall()
        self.present = {(str(s), str(n)): frozenset(columns or ()) for s, n, columns in rows}
        self.programs = find_programs(
            version // 10000, configured=options.programs, tls=tls or target.wants_tls
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.report.stages.append(Stage(name, time.monotonic() - begun))

    # Tables

    def tables(self, tables: Iterable[TableRecord]) -> None:
        """Tables' streams, the largest first, by as many sessions as there are jobs."""
        queue = [table for table in tables if self._comparable(table)]
        queue.sort(key=lambda table: table.bytes)
        trees: dict[tuple[str, ...], list[TableRecord]] = {}
        for table in queue:
            if table.root:
                trees.setdefault(table.root, []).append(table)
        crew = Crew()
        workers = max(1, min(self.options.jobs, len(queue)))
        crew.run([lambda: self._compare_tables(queue, crew)] * workers)
        self._compare_trees([trees[root] for root in sorted(self.differing_roots)])

    def _comparable(self, table: TableRecord) -> bool:
        """Whether the target has the table with its columns; a finding when it has not."""
        columns = self.present.get((table.schema, table.name))
        if columns is None and table_key(table) in self.options.lacking:
            return False  # the load told that it could not be made
        if columns is None:
            self._missing(table, f"expected {table.rows} rows, observed no such table")
            return False
        lost = [name for name in table.columns if name not in columns]
        if lost:
            self._missing(table, f"expected column {lost[0]}, observed no such column")
        return not lost

    def _missing(self, table: TableRecord, message: str) -> None:
        if self.options.lacking:
            # The load told which object failed for want of what; this is its consequence.
            lacked = ", ".join(sorted(self.options.lacking))
            message = f"{message}; the server lacks {lacked}"
            self._add(finding("sandbox-lacks", table.label, message))
        else:
            self._add(finding("content-missing", table.label, message))

    def _compare_tables(self, queue: list[TableRecord], crew: Crew) -> None:
        """By one session as long as nothing is refused, which ends it."""
        while queue:
            with self._copying() as session, crew.breaking(session.abort):
                while table := self._next(queue):
                    with self._unless_refused(table.label) as refused:
                        self._compare_table(session, table)
                    if refused:
                        break

    def _copying(self) -> CopySession:
        return CopySession(self.programs, self.target, self.settings, code="source-failed")

    @contextmanager
    def _unless_refused(self, label: str) -> Iterator[list[Finding]]:
        """Rows that the role may not read, or row security hides from it, are a finding of their
        table, which is in what this gives."""
        refused: list[Finding] = []
        try:
            yield refused
        except StatementError as error:
            if error.sqlstate != _NO_PRIVILEGE:
                raise
            message = f"its rows could not be read: {without_values(error.message)}"
            refused.append(finding("content-unchecked", label, message))
            self._add(refused[0])
            self.is_unread = True

    def _next(self, queue: list[TableRecord]) -> TableRecord | None:
        with self._guard:
            return queue.pop() if queue else None

    def _compare_table(self, session: CopySession, table: TableRecord) -> None:
        statement = _copy_statement(table)
        stream = session.copy(statement, count_rows=False)
        pieces, seen = self.files.pieces(table.file), PieceDigest()
        difference = first_difference(stream, pieces, seen)
        with self._guard:
            self._streams[table.file] = (_expected_digest(pieces), seen.digest())
            self.report.checked += 1
            self.report.rows += table.rows
            self.report.bytes += stream.bytes
        if difference is None:
            return
        if table.root:
            with self._guard:
                self.differing_roots.add(table.root)
            return
        observed = session.copy(statement, count_rows=False)
        rows = compare_rows(self.files.blocks(table.file), observed)
        if rows.equal:
            self._same_content([table])
        self._add(_content_finding(table, difference, rows))

    def _compare_trees(self, trees: Sequence[Sequence[TableRecord]]) -> None:
        """Tables whose rows may lie in other partitions than at capture, each as a whole."""
        if not trees:
            return
        for tree in trees:
            with self._copying() as session, self._unless_refused(".".join(tree[0].root)):
                captured = itertools.chain.from_iterable(
                    self.files.blocks(table.file) for table in tree
                )
                observed = itertools.chain.from_iterable(
                    session.copy(_copy_statement(table), count_rows=False) for table in tree
                )
                rows = compare_rows(captured, observed)
                if rows.equal:
                    self._same_content(tree)
                self._add(_tree_finding(tree[0].root, rows))

    def _same_content(self, tables: Sequence[TableRecord]) -> None:
        """The same rows in another order or partition: the captured order stands for both."""
        with self._guard:
            for table in tables:
                expected, _ = self._streams[table.file]
                self._streams[table.file] = (expected, expected)

    def digests(self) -> Digests:
        """What identifies the rows of all tables and the large objects, captured and observed."""
        expected, observed = SetDigest(), SetDigest()
        for table in self.manifest.tables:
            name = [one.encode() for one in (table.schema, table.name, *table.columns)]
            if table.file in self._streams:
                before, now = self._streams[table.file]
                observed.add(*name, now)
            else:  # the target does not have it
                before = _expected_digest(self.files.pieces(table.file))
            expected.add(*name, before)
        expected.add(b"large objects", self.manifest.large_objects.digest.strip("0").encode())
        if self._objects is not None:
            observed.add(b"large objects", self._objects.encode())
        of = f"rows of {len(self.manifest.tables)} tables, large objects"
        return Digests(expected.hexdigest(), observed.hexdigest(), of)

    # What no stream holds

    def beside(self) -> None:
        """Generated columns, large objects and sequences, each in the target's own words."""
        with self.target.connect() as session:
            pin_settings(session, self.settings)
            tables = [one for one in self.manifest.tables if one.generated]
            for root, group in itertools.groupby(
                sorted(tables, key=lambda one: one.root), key=lambda one: one.root
            ):
                if root:
                    self._generated(session, ".".join(root), list(group))
                    continue
                for table in group:
                    self._generated(session, table.label, [table])
            self._large_objects(session)
            self._sequences(session)

    def _generated(
        self, session: psycopg.Connection, label: str, tables: Sequence[TableRecord]
    ) -> None:
        """Compare the digests of a table, or those of a tree of partitions in sum."""
        import psycopg

        if any((one.schema, one.name) not in self.present for one in tables):
            return  # told already
        names = ", ".join(tables[0].generated)
        try:
            observed = add_digests(
                digest_rows(
                    session,
                    qualified(one.schema, one.name),
                    (*one.columns, *one.generated),
                    one.condition,
                )
                for one in tables
            )
        except psycopg.OperationalError:
            raise
        except psycopg.errors.InsufficientPrivilege as error:
            message = f"{names}: they could not be read: {error.diag.message_primary}"
            self._add(finding("content-unchecked", label, message))
            return
        except psycopg.Error as error:
            reason = error.diag.message_primary or str(error)
            message = f"{names}: {without_values(reason)}"
            self._add(finding("content-generated", label, message))
            return
        self.report.checked += 1
        expected = add_digests(one.row_digest for one in tables)
        told = {one.subject for one in self.report.findings if one.code == "content-differs"}
        if observed != expected and label not in told:
            message = f"{names}: digest {expected} was captured, {observed} is observed"
            self._add(finding("content-generated", label, message))

    def _large_objects(self, session: psycopg.Connection) -> None:
        import psycopg

        expected = self.manifest.large_objects
        try:
            with session.transaction():
                observed = digest_large_objects(session)
        except psycopg.errors.InsufficientPrivilege as error:
            message = f"they could not be read: {error.diag.message_primary}"
            self._add(finding("content-unchecked", "large objects", message))
            return
        if expected.count or observed.count:
            self.report.checked += 1
        self._objects = observed.digest.strip("0")
        if expected.digest.strip("0") != self._objects:
            message = _large_object_difference(expected, observed)
            self._add(finding("content-large-object", "large objects", message))

    def _sequences(self, session: psycopg.Connection) -> None:
        import psycopg

        for one in self.manifest.sequences:
            relation = qualified(one.schema, one.name)
            try:
                row = session.execute(
                    f"SELECT last_value, is_called FROM {relation}".encode()
                ).fetchone()
            except psycopg.errors.UndefinedTable:
                continue  # the structure rung tells
            except psycopg.errors.InsufficientPrivilege as error:
                message = f"it could not be read: {error.diag.message_primary}"
                self._add(finding("content-unchecked", one.label, message))
                continue
            assert row is not None
            self.report.checked += 1
            if _behind(one, int(row[0]), bool(row[1])):
                message = f"{one.last_value} was captured, {row[0]} is observed"
                self._add(finding("sequence-differs", one.label, message))

    # Structure

    def structure(self) -> tuple[Inventory, Inventory]:
        """The definition of every object; gives what was captured and what is observed."""
        captured = Inventory.from_json(self.files.read(layout.INVENTORY))
        with self.target.connect() as session:
            observed = take_inventory(session)
        self.report.findings += compare_structure(
            captured,
            observed,
            self.options.reference,
            lacking=self.options.lacking,
            accepted=self.options.accepted,
        )
        self.report.checked += len(captured)
        return captured, observed

    # Fitness

    def integrity(self, captured: Inventory, observed: Inventory) -> None:
        """What is alike and yet not fit for use."""
        changed = {one.subject for one in self.report.findings if one.code in _OTHER_ROWS}
        with self._asking() as session:
            checked, found = examine(
                session, self.manifest, captured, observed, self.answers, changed=changed
            )
        self.report.checked += checked
        self.report.findings += found

    def deep(self) -> None:
        """Every index and table, by PostgreSQL's own check."""
        with self._asking() as session:
            checked, found = check_deeply(session)
        self.report.checked += checked
        self.report.findings += found

    # Questions

    def access(self, dependence: Dependence) -> None:
        """What roles see: the operator's probes, else those that were found at capture."""
        probes = [one for one in self.options.questions if one.role is not None]
        self.report.findings += tell_left_out(self.answers, has_probes=bool(probes))
        if not probes and self.answers is not None:
            probes = [one.question() for one in self.answers.recorded if one.generated]
        refused: set[str | None] = set()
        with self._asking() as session:
            for probe in probes:
                if probe.generated and probe.role in refused:
                    continue  # told once
                asked = self._asked(session, probe)
                if asked.observed.outcome is Outcome.REFUSED:
                    refused.add(probe.role)
                self._judged(asked, judge_probe(probe, asked, dependence))

    def meaning(self, dependence: Dependence) -> None:
        """The operator's queries."""
        with self._asking() as session:
            for query in self.options.questions:
                if query.role is None:
                    asked = self._asked(session, query)
                    self._judged(asked, judge_query(query, asked, dependence))

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection]:
        with self.target.connect() as session:
            pin_settings(session, self.settings)
            yield session

    def _judged(self, asked: Asked, found: Finding | None) -> None:
        self.report.checked += not asked.observed.unknown
        self.report.findings += [] if found is None else [found]

    def _asked(self, session: psycopg.Connection, question: Question) -> Asked:
        answers = self.answers
        captured = answers.find(question) if answers else None
        if why := not_worth_asking(question, captured):
            observed = Answer(Outcome.UNASKED, reason=why)
        else:
            other = self.options.accepted.other_roles
            role = None if question.role is None else other.get(question.role, question.role)
            observed = ask(
                session,
                replace(question, role=role),
                timeout_seconds=self.options.question_seconds,
                search_path=answers.search_path if answers else None,
            )
        moment = self.manifest.snapshot.captured_at
        return Asked(observed, captured, moment, self.options.lacking)

    def _add(self, one: Finding) -> None:
        with self._guard:
            self.report.findings.append(one)


def _expected_digest(pieces: Sequence[Piece]) -> bytes:
    whole = PieceDigest()
    for piece in pieces:
        whole.add(piece.length_bytes, piece.sha256)
    return whole.digest()


def _copy_statement(table: TableRecord) -> str:
    return copy_out(qualified(table.schema, table.name), table.columns, table.condition)


def _content_finding(table: TableRecord, where: Difference, rows: RowDifference) -> Finding:
    if rows.equal:
        message = f"the same {rows.captured_rows} rows; order differs from row {rows.first_row}"
        return finding("content-order", table.label, message)
    place = (
        f"first at row {rows.first_row}, in bytes {where.offset} to {where.offset + where.length}"
    )
    return finding("content-differs", table.label, f"{_counts(rows)}; {place}")


def _tree_finding(root: Sequence[str], rows: RowDifference) -> Finding:
    label = ".".join(root)
    if rows.equal:
        message = f"the same {rows.captured_rows} rows; some lie in other partitions"
        return finding("content-order", label, message)
    return finding("content-differs", label, f"{_counts(rows)}, in all partitions together")


def _counts(rows: RowDifference) -> str:
    if rows.missing is None or rows.extra is None:
        return (
            f"{rows.captured_rows} rows were captured, {rows.observed_rows} are observed;"
            " too many differ to count"
        )
    return (
        f"of {rows.captured_rows} captured rows {rows.missing} are missing or changed,"
        f" and {rows.extra} were not captured"
    )


def _large_object_difference(expected: LargeObjects, observed: LargeObjects) -> str:
    before = {one.number: one for one in expected.objects}
    after = {one.number: one for one in observed.objects}
    counts = f"{expected.count} with {expected.bytes} bytes were captured, "
    counts += f"{observed.count} with {observed.bytes} bytes are observed"
    if len(before) < expected.count or len(after) < observed.count:
        return counts
    numbers = sorted(
        number for number in before.keys() | after.keys() if before.get(number) != after.get(number)
    )
    shown = ", ".join(map(str, numbers[:_NAMED]))
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    return f"{counts}; different: {shown}{more}"


def _behind(captured: SequenceRecord, value: int, called: bool) -> bool:
    """Whether the next value would come again: one that the captured sequence had given out."""
    if value == captured.last_value:
        return captured.is_called and not called
    return value < captured.last_value if captured.increment > 0 else value > captured.last_value
