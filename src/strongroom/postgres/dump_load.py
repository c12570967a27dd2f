"""A dump from before Strongroom into a server of our own.

The dump is not trusted. psql runs it under `\\restrict`, so that no line of it makes psql run a
program, open a file or connect anywhere. The server takes its statements from a superuser, for
dumps need one; so what it may do is bounded outside of it: the caller gives a cluster in a cell
(`ClusterOptions.in_cell`), whose server has no network, sees none of the host's files but programs
of the system, writes below its own directory only, finds no shell, and loads no library from what
it has written. What is not kept from it: use of memory and processor, room in its directory, and
signals to processes of the user that it runs as, by code in an untrusted language that is installed
here. Lines that an empty server cannot take, or that mean nothing there, are
left out: settings that the version lacks, drops of what is not there, databases and roles that are
there already. Roles that it mentions and does not make are made without a login.

Invariant: the load stops at the first error. Only when everything that fails is wanted to be named
it is run once more to its end, and what it gives is then never called whole.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.model import Finding, finding
from strongroom.postgres.child import Outcome, feed
from strongroom.postgres.cluster import Cluster
from strongroom.postgres.crew import Crew
from strongroom.postgres.dump_text import DumpFacts, Piece, connected, pieces, table_of
from strongroom.postgres.messages import Complaint, Complaints, from_psql, of_the_host
from strongroom.postgres.programs import Programs, known_programs
from strongroom.postgres.statement import quote_literal, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["DumpPart", "LoadedDump", "load_dump"]

_BATCH_BYTES: Final = 1 << 18
_MOST_ROLES: Final = 200
_NO_ROLE: Final = re.compile(r'role "([^"]+)" does not exist')
_NAMED: Final = re.compile(rb"^-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: ")
_SETTING: Final = re.compile(rb"^SET (?:SESSION )?([a-z_]+) (?:=|TO) .*;\s*$")
_KEPT_SETTING: Final = re.compile(rb"^(?:SET .*|SELECT pg_catalog\.set_config\(.*\));\s*$")
_RESTRICT: Final = re.compile(rb"^\\(?:un)?restrict\b")
_DROP: Final = re.compile(rb"^(?:DROP |ALTER [^;]* DROP |SELECT pg_catalog\.lo_unlink\()[^;]*;\s*$")
_DROP_SCHEMA: Final = re.compile(rb"^DROP SCHEMA (?!IF EXISTS)")
_CREATE_DATABASE: Final = re.compile(rb'^CREATE DATABASE ("(?:[^"]|"")+"|[^\s;]+)(.*);\s*$')
_ENCODING: Final = re.compile(rb"ENCODING = '([\w-]+)'")
_CREATE_ROLE: Final = re.compile(rb'^CREATE ROLE ("(?:[^"]|"")+"|[^\s;]+);\s*$')
_ON_DATABASE: Final = re.compile(
    rb"^((?:ALTER|COMMENT ON) DATABASE |(?:GRANT|REVOKE) [A-Z, ]+ ON DATABASE )"
    rb'("(?:[^"]|"")+"|[^\s;]+)'
)
_FIRST: Final = "before-connect"
# Whether a database has anything that was not there when it was made.
_HOLDS: Final = " OR ".join(
    f"EXISTS (SELECT FROM pg_catalog.{one} WHERE oid >= 16384)"
    for one in ("pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_operator", "pg_extension",
                "pg_cast", "pg_largeobject_metadata", "pg_foreign_data_wrapper")
)  # fmt: skip
_OF_THE_SERVER: Final = (b"CREATE ROLE ", b"ALTER ROLE ", b"GRANT ", b"ALTER DATABASE ")
# The first psql of each major version that has \restrict.
_RESTRICTING: Final = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
# What a server can hold text in; other names of a dump's encoding are those of clients.
_OWN_ENCODINGS: Final = re.compile(
    r"^(?:UTF8|SQL_ASCII|LATIN\d+|WIN\d+|KOI8[RU]|EUC_\w+|ISO_8859_\d)$"
)


@dataclass(frozen=True, slots=True)
class DumpPart:
    """One file of a dump; `blocks` reads its script from the beginning, each time."""

    name: str
    blocks: Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class LoadedDump:
    """What came of a load: the databases that hold what was loaded, mostly one, by the names that
    the dump has for them, `before-connect` for what stands before it connects to any. `failed`
    counts the statements that the server did not take, each of which has a finding; `roles` were
    made because the dump only mentions them."""

    databases: Mapping[str, str]
    failed: int
    roles: tuple[str, ...]
    findings: tuple[Finding, ...]


def load_dump(
    parts: Sequence[DumpPart],
    facts: DumpFacts,
    cluster: Cluster,
    *,
    database: str,
    to_the_end: bool = False,
) -> LoadedDump:
    """Load all parts, one after another, into a new database of this name, or into those that the
    dump itself makes.

    Raises SourceError `file-unfit` that names every object which could not be loaded, unless
    `to_the_end`; `client-programs` when no psql here can be kept from running programs.
    """
    # A dump that makes its databases itself begins in none of them.
    load = _Load(parts, facts, cluster, _first_of(facts) if facts.databases else database)
    load.prepare()
    while True:
        if not load.run(stops=True):
            break
        role = load.lacking_role()
        if role is None:
            # Once more, so that all of it is told, and not the first only.
            load.afresh()
            load.run(stops=False)
            break
        load.make_role(role)
        load.afresh()
    if load.failed and not to_the_end:
        raise _unfit(parts, load)
    return load.result()


def _first_of(facts: DumpFacts) -> str:
    """A name that the dump has for none of its databases."""
    name = _FIRST
    while name in facts.databases:
        name += "-"
    return name


def _unfit(parts: Sequence[DumpPart], load: _Load) -> SourceError:
    bad = [one for one in load.complaints.findings if one.code != "load-note"]
    told = "; ".join(f"{one.subject}: {one.message}" for one in bad[:10])
    more = f"; and {len(bad) - 10} more" if len(bad) > 10 else ""
    lacking = sorted(load.complaints.lacking)
    hint = None
    if lacking:
        hint = (
            f"Install on this host what its PostgreSQL lacks ({', '.join(lacking)}), or give "
            "--incomplete to store what can be loaded."
        )
    return SourceError(
        f"{load.failed} statements of it cannot be loaded: {told}{more}",
        subject=parts[0].name,
        code="file-unfit",
        hint=hint,
    )


@dataclass(slots=True)
class _Load:
    """One load; each `run` begins with a new database."""

    parts: Sequence[DumpPart]
    facts: DumpFacts
    cluster: Cluster
    database: str
    complaints: Complaints = field(default_factory=Complaints)
    failed: int = 0
    made: list[str] = field(default_factory=list)
    notes: dict[str, Finding] = field(default_factory=dict)
    _settings: frozenset[str] = frozenset()
    _roles: set[str] = field(default_factory=set)
    _kept: frozenset[str] = frozenset()
    _last: list[Complaint] = field(default_factory=list)
    _programs: Programs | None = None

    def prepare(self) -> None:
        """What is there from the beginning, roles and tablespaces that the dump needs."""
        self._programs = _restricting_psql()
        for name in self.facts.tablespaces:
            self.cluster.add_tablespace(name)
        with self._maintenance() as session:
            rows = session.execute(b"SELECT lower(name) FROM pg_catalog.pg_settings").fetchall()
            self._settings = frozenset(str(row[0]) for row in rows)
            rows = session.execute(b"SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
            self._roles = {str(row[0]) for row in rows}
            rows = session.execute(b"SELECT datname::text FROM pg_catalog.pg_database").fetchall()
            self._kept = frozenset(str(row[0]) for row in rows)
        for role in self.facts.missing_roles[:_MOST_ROLES]:
            if role not in self._roles:
                self.make_role(role)
        self._begin()

    def make_role(self, role: str) -> None:
        """A role without a login, which only owns and is granted things."""
        self.made.append(role)
        self._roles.add(role)
        with self._maintenance() as session:
            session.execute(f"CREATE ROLE {quote_name(role)} NOLOGIN".encode())

    def afresh(self) -> None:
        """As it was before the last run. What the dump makes of roles stays: it is the same."""
        with self._maintenance() as session:
            rows = session.execute(b"SELECT datname::text FROM pg_catalog.pg_database").fetchall()
            for (name,) in rows:
                if name not in self._kept:
                    statement = f"DROP DATABASE {quote_name(str(name))} WITH (FORCE)"
                    session.execute(statement.encode())
            rows = session.execute(b"SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
            self._roles |= {str(row[0]) for row in rows}
        self.complaints, self.failed = Complaints(), 0
        self._begin()

    def _begin(self) -> None:
        if self.database not in self._kept:
            self._create(self.database, self.facts.encoding)

    def run(self, *, stops: bool) -> int:
        """Load all parts; returns how many statements failed, at most one when it `stops`."""
        for part in self.parts:
            pump = _Pump(self, part, stops=stops)
            self.failed += pump.run()
            self._last = pump.complaints
            if self.failed and stops:
                break
        return self.failed

    def lacking_role(self) -> str | None:
        """The role for lack of which the last run stopped."""
        for one in self._last:
            found = _NO_ROLE.search(one.text)
            if found and found[1] not in self._roles and len(self.made) < _MOST_ROLES:
                return found[1]
        return None

    def result(self) -> LoadedDump:
        with self._maintenance() as session:
            rows = session.execute(b"SELECT datname::text FROM pg_catalog.pg_database").fetchall()
        there = {str(row[0]) for row in rows}
        names = {one: self.place_of(one) for one in self.facts.databases or [self.database]}
        names = {name: place for name, place in names.items() if place in there}
        for always in ("template1", "postgres"):  # through which pg_dumpall goes in any case
            if self.facts.whole_server and len(names) > 1:
                names.pop(always, None)
        if self.facts.databases and self._holds(self.database):
            names = {self.database: self.database, **names}
        return LoadedDump(
            names,
            self.failed,
            tuple(self.made),
            (*self.complaints.findings, *self.notes.values()),
        )

    def _holds(self, database: str) -> bool:
        with self.cluster.connection(database).connect() as session:
            row = session.execute(f"SELECT {_HOLDS}".encode()).fetchone()
        return row is not None and bool(row[0])

    # What the pump asks for

    def psql(self, database: str, blocks: Iterable[bytes], *, stops: bool) -> Outcome:
        assert self._programs is not None
        target = self.cluster.connection(database)
        arguments = [self._programs.path("psql"), "-X", "-q", "--no-password"]
        arguments += ["-v", f"ON_ERROR_STOP={int(stops)}"]
        arguments += ["-d", target.database_argument(), "-f", "-"]
        return feed(arguments, target.environment(), Crew(), blocks)

    def knows_setting(self, name: str) -> bool:
        return name in self._settings or name in ("session", "local", "names", "time", "role")

    def has_role(self, name: str) -> bool:
        return name in self._roles

    def create_as_told(self, name: str, rest: bytes) -> None:
        """A database that the dump makes: with its own words, else without its locale."""
        import psycopg

        name = self.place_of(name)
        with self._maintenance() as session:
            try:
                session.execute(f"CREATE DATABASE {quote_name(name)}".encode() + rest)
                return
            except psycopg.errors.DuplicateDatabase:
                return
            except psycopg.Error as error:
                told = error.diag.message_primary or "it is refused"
        self.note("sandbox-lacks", f"database {name}", f"made in locale C instead: {told}")
        encoding = _ENCODING.search(rest)
        self._create(name, encoding[1].decode() if encoding else "")

    def place_of(self, name: str) -> str:
        """The database that stands for one of the dump: another one where the server has one of
        this name from the beginning, which has to stay as it is."""
        return f"{name}_imported" if name in self._kept else name

    def ensure(self, name: str) -> None:
        """A database that the dump connects to, if it has not made it itself."""
        name = self.place_of(name)
        with self._maintenance() as session:
            there = session.execute(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", [name]
            ).fetchone()
        if there is None:
            self._create(name, self.facts.encoding)

    def note(self, code: str, subject: str, message: str) -> None:
        self.notes.setdefault(f"{code} {subject}", finding(code, subject, message))

    def _create(self, name: str, encoding: str) -> None:
        wanted = encoding.upper().replace("UNICODE", "UTF8")
        encoding = wanted if _OWN_ENCODINGS.match(wanted) else "UTF8"
        statement = (
            f"CREATE DATABASE {quote_name(name)} WITH TEMPLATE = template0"
            f" ENCODING = {quote_literal(encoding)} LC_COLLATE = 'C' LC_CTYPE = 'C'"
        )
        with self._maintenance() as session:
            session.execute(statement.encode())

    def _maintenance(self) -> psycopg.Connection:
        return self.cluster.connection().connect()


class _Pump:
    """One part through psql, in as many sessions as it connects to databases. When the load does
    not stop at errors, each table's rows have a session of their own, which does: psql takes rows
    of a table that is not there for statements."""

    def __init__(self, load: _Load, part: DumpPart, *, stops: bool) -> None:
        self.complaints: list[Complaint] = []
        self._load = load
        self._part = part
        self._stops = stops
        self._pieces = pieces(part.blocks())
        self._waiting: Piece | None = None
        self._database: str | None = load.database
        self._next: str | None = None
        self._connects: str | None = None
        self._begun = False  # whether a statement came that makes something
        self._settings: dict[bytes, bytes] = {}
        self._names: list[tuple[int, str]] = []
        self._lines: list[tuple[int, int]] = []  # lines of psql's input, and of the file

    def run(self) -> int:
        """Feed all of it; returns how many statements failed."""
        failed = 0
        while self._database is not None:
            self._next = None
            of_rows = self._waiting is not None
            blocks = self._session()
            outcome = self._load.psql(self._database, blocks, stops=self._stops or of_rows)
            if of_rows:
                # psql may have stopped before it took all of a table.
                for _ in blocks:
                    pass
            failed += self._judge(outcome)
            if failed and self._stops:
                return failed
            if self._connects is not None:
                # Not sooner: a session that has just ended may have made it.
                self._load.ensure(self._connects)
                self._connects = None
            self._database = self._next
        return failed

    def _session(self) -> Iterator[bytes]:
        """What one psql gets, beginning with what keeps it from anything but SQL."""
        self._lines = []
        head = [b"\\restrict %s\n" % secrets.token_hex(16).encode(), *self._settings.values()]
        yield b"".join(head)
        batch: list[bytes] = []
        size, number = 0, len(head) + 1
        for piece, content in self._wanted():
            if not self._lines or number - self._lines[-1][0] != piece.line - self._lines[-1][1]:
                self._lines.append((number, piece.line))
            number += content.count(b"\n")
            batch.append(content)
            size += len(content)
            if size >= _BATCH_BYTES:
                yield b"".join(batch)
                batch, size = [], 0
        if batch:
            yield b"".join(batch)

    def _wanted(self) -> Iterator[tuple[Piece, bytes]]:
        """The pieces of this session, each as it goes in."""
        of_rows = self._waiting is not None
        while (piece := self._take()) is not None:
            if piece.table is not None:
                yield piece, piece.content
                if piece.ends and of_rows:
                    self._next = self._database
                    return
                continue
            if piece.inner:
                yield piece, piece.content
                continue
            if not self._stops and not of_rows and table_of(piece.content) is not None:
                self._waiting, self._next = piece, self._database
                return
            self._note_name(piece)
            if (name := connected(piece.content)) is not None:
                self._connects = name
                self._next, self._settings, self._begun = self._load.place_of(name), {}, False
                return
            if content := self._changed(piece.content):
                yield piece, content

    def _take(self) -> Piece | None:
        if self._waiting is not None:
            piece, self._waiting = self._waiting, None
            return piece
        return next(self._pieces, None)

    def _note_name(self, piece: Piece) -> None:
        if found := _NAMED.match(piece.content):
            name, kind, schema = (one.decode(errors="replace") for one in found.groups())
            where = "" if schema == "-" else f"{schema}."
            self._names.append((piece.line, f"{kind.lower()} {where}{name}"))

    def _changed(self, line: bytes) -> bytes:
        """A line as an empty server of this version takes it; nothing when it means nothing."""
        if not line.strip() or line.startswith(b"--"):
            return line
        if line.startswith(b"\\"):
            return b"" if _RESTRICT.match(line) else line
        if _KEPT_SETTING.match(line):
            return self._set(line)
        if found := _ON_DATABASE.match(line):
            place = quote_name(self._load.place_of(_unquoted(found[2])))
            line = found[1] + place.encode() + line[found.end() :]
        if not self._begun:
            if _DROP.match(line):
                return _dropped(line)
            if found := _CREATE_DATABASE.match(line):
                self._load.create_as_told(_unquoted(found[1]), found[2])
                return b""
            if line.startswith(b"CREATE TABLESPACE "):
                return b""  # it is there already, in the cluster's own directory
            if (found := _CREATE_ROLE.match(line)) and self._load.has_role(_unquoted(found[1])):
                return b""
        self._begun |= not line.startswith(_OF_THE_SERVER)
        return line

    def _set(self, line: bytes) -> bytes:
        found = _SETTING.match(line)
        if not self._begun and found and not self._load.knows_setting(found[1].decode()):
            told = f"PostgreSQL {self._load.cluster.major} has no such setting: left out"
            self._load.note("import-changed", found[1].decode(), told)
            return b""
        self._settings[line.partition(b"=")[0].partition(b",")[0]] = line
        return line

    def _judge(self, outcome: Outcome) -> int:
        """How many statements of a session failed."""
        name, told = self._part.name, outcome.messages.strip().splitlines()
        complaints = from_psql(outcome.messages, b"", name, self._name_of)
        stopped = of_the_host(complaints)
        if stopped is not None:
            raise SourceError(stopped.text, subject="sandbox", code="sandbox-failed")
        serious = self._load.complaints.judge(complaints)
        if outcome.status != 0 and not serious:
            ending = Complaint(name, told[-1] if told else f"psql: status {outcome.status}")
            complaints.append(ending)
            serious = self._load.complaints.judge([ending])
        self.complaints = complaints
        return serious

    def _name_of(self, number: int) -> str:
        """What a line of psql's input is about: the object above it and the line of the file."""
        place = bisect_right(self._lines, (number, 1 << 62)) - 1
        line = number - self._lines[place][0] + self._lines[place][1] if place >= 0 else number
        above = bisect_right(self._names, (line, "\U0010ffff")) - 1
        return f"{self._names[above][1] if above >= 0 else self._part.name}, line {line}"


def _dropped(line: bytes) -> bytes:
    """What `--clean` writes before all else: nothing of it is there, but `public`."""
    if _DROP_SCHEMA.match(line):
        return line.replace(b"DROP SCHEMA", b"DROP SCHEMA IF EXISTS", 1)
    return line if line.startswith(b"DROP SCHEMA IF EXISTS") else b""


def _unquoted(name: bytes) -> str:
    text = name.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _restricting_psql() -> Programs:
    """The newest psql that can be kept from everything but SQL."""
    fitting = [one for one in known_programs() if one.has("client") and _restricts(one.version)]
    if not fitting:
        raise SourceError(
            "no psql of this host has \\restrict, without which a dump could run programs",
            subject="PostgreSQL programs",
            code="client-programs",
            hint="Update the PostgreSQL client programs: 15.14, 16.10, 17.6, 18 or newer.",
        )
    return max(fitting, key=lambda one: one.major)


def _restricts(version: str) -> bool:
    numbers = [int(one) for one in re.findall(r"\d+", version)[:2]]
    major, minor = numbers[0], numbers[1] if len(numbers) > 1 else 0
    return major >= 18 or minor >= _RESTRICTING.get(major, 1 << 30)
