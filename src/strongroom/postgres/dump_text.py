"""Plain dumps as text: where statements and rows are, whether the end is there, what they need.

A dump is read as a stream of lines and, between `COPY … FROM stdin;` and `\\.`, of rows, which are
never looked into. Of SQL it knows where literals, bodies and comments begin and end, as psql does:
a line within one is `inner` and means nothing by itself. pg_dump writes a last line, which a dump
that was cut does not have; nothing is ever taken for whole that is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "DumpFacts",
    "Piece",
    "connected",
    "is_trailer",
    "pieces",
    "role_names",
    "survey_dump",
    "table_of",
]

_COPY: Final = re.compile(rb"^COPY (\S.*?) (?:\(.*\) )?FROM stdin\b[^;]*;\s*$", re.IGNORECASE)
# Through a file or program of the server, which no pg_dump ever writes.
_SERVER_SIDE: Final = re.compile(rb"^\s*COPY\b.*\b(?:FROM|TO)\s+(?:PROGRAM\b|E?')", re.IGNORECASE)
_TABLE: Final = re.compile(rb"^CREATE (?:UNLOGGED )?TABLE ", re.IGNORECASE)
# pg_dump heads each table's rows so, also where there are none.
_ROWS: Final = re.compile(rb"^-- Data for Name: .*; Type: TABLE DATA;|^INSERT INTO ", re.IGNORECASE)
_COPY_END: Final = re.compile(rb"^\\\.\r?\n", re.MULTILINE)
_TRAILER: Final = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete\s*$")
_HEADER: Final = re.compile(rb"^-- PostgreSQL database (cluster )?dump\s*$")
_FROM: Final = re.compile(rb"^-- Dumped from database version (\d+)(\S*)")
_BY: Final = re.compile(rb"^-- Dumped by pg_dump version (\d+)(\S*)")
_STARTED: Final = re.compile(rb"^-- Started on (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) ?(\S*)")
_ENCODING: Final = re.compile(rb"^SET client_encoding = '([\w-]+)';")
_TABLESPACE: Final = re.compile(
    rb"^(?:SET default_tablespace = (?!'')|CREATE TABLESPACE )(\"(?:[^\"]|\"\")+\"|[^\s;]+)"
)
_CONNECT: Final = re.compile(rb"^\\connect (?:-reuse-previous=on )?(.+?)\s*$")
# Where something begins in which lines mean nothing; not within a word.
_OPENING: Final = re.compile(
    rb"(?<![\w$])[Ee]'|'|\"|(?<![\w$])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|--|/\*"
)
# What may stand behind the last line of pg_dump, also when it is cut there.
_AFTER: Final = re.compile(rb"^(?:-|--.*|\\|\\u.*|\\restrict .*|RESET ALL;)?\s*$")
_RESET: Final = re.compile(rb"^RESET ALL;\s*$")  # the last line of the Supabase CLI's files

_NAME: Final = r'("(?:[^"]|"")+"|[^\s;,"()]+)'
_NAMES: Final = rf"({_NAME}(?:, *{_NAME})*)"
_ROLES: Final = (
    re.compile(rf"^ALTER .* OWNER TO {_NAMES};"),
    re.compile(rf"^GRANT .* TO {_NAMES}(?: WITH [A-Z ,]+)?(?: GRANTED BY {_NAME})?;"),
    re.compile(rf"^REVOKE .* FROM {_NAMES}(?: CASCADE| RESTRICT)?;"),
    re.compile(rf"^ALTER DEFAULT PRIVILEGES FOR ROLE {_NAMES} "),
    re.compile(rf"^ALTER DEFAULT PRIVILEGES .* (?:TO|FROM) {_NAMES}(?: WITH GRANT OPTION)?;"),
    re.compile(rf"^CREATE POLICY .*? TO {_NAMES}(?: USING | WITH CHECK |;|$)"),
    re.compile(rf"^CREATE SCHEMA .* AUTHORIZATION {_NAMES};"),
    re.compile(rf"^CREATE USER MAPPING FOR {_NAMES} "),
    re.compile(r"^SET SESSION AUTHORIZATION ('(?:[^']|'')+');"),
    re.compile(rf"^ALTER ROLE {_NAMES} IN DATABASE "),
)
_MADE: Final = re.compile(rf"^CREATE (?:ROLE|USER) {_NAME}\b")
_SPLIT: Final = re.compile(_NAME)
# Only lines that begin so are looked at for roles.
_WITH_ROLES: Final = (b"ALTER ", b"GRANT ", b"REVOKE ", b"CREATE ", b"SET SESSION")
_NO_ROLES: Final = frozenset({"public", "current_user", "session_user", "current_role"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or rows of a table with all that is between: `table` is whose they are, and the
    last piece of a table `ends` it. `line` is the number of the first line in it, from 1; an
    `inner` line begins within a literal, a function's body or a comment."""

    content: bytes
    line: int
    table: str | None = None
    ends: bool = False
    inner: bool = False


def pieces(blocks: Iterable[bytes]) -> Iterator[Piece]:
    """The dump in its order; nothing is left out. Rows without an end are the last piece."""
    table: str | None = None
    line, quotes = 1, _Quotes()
    for chunk in _whole_lines(blocks):
        place = 0
        while place < len(chunk):
            if table is not None:
                end = _COPY_END.search(chunk, place)
                stop = end.end() if end else len(chunk)
                content = chunk[place:stop]
                yield Piece(content, line, table, ends=end is not None)
                line += content.count(b"\n")
                if end is not None:
                    table = None
            else:
                stop = chunk.find(b"\n", place) + 1 or len(chunk)
                content = chunk[place:stop]
                inner = quotes.open
                yield Piece(content, line, inner=inner)
                line += 1
                quotes.take(content)
                table = None if inner else table_of(content)
            place = stop


class _Quotes:
    """Whether a line begins within a literal, a quoted name, a body or a comment."""

    def __init__(self) -> None:
        self._until: re.Pattern[bytes] | None = None

    @property
    def open(self) -> bool:
        return self._until is not None

    def take(self, line: bytes) -> None:
        """Read one more line."""
        place = 0
        while True:
            if self._until is None:
                found = _OPENING.search(line, place)
                if found is None or found[0] == b"--":
                    return
                place = found.end()
                self._until = _closing(found[0])
            else:
                end = self._until.search(line, place)
                if end is None:
                    return
                place = end.end()
                if not end[0].startswith(b"\\"):  # an escaped character ends nothing
                    self._until = None


def _closing(opening: bytes) -> re.Pattern[bytes]:
    match opening:
        case b"'" | b'"':
            return re.compile(opening)  # a doubled one closes and opens again
        case b"/*":
            return re.compile(rb"\*/")
        case b"E'" | b"e'":
            return re.compile(rb"\\.|'", re.DOTALL)
        case _:
            return re.compile(re.escape(opening))


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut at ends of lines; the last part as it is."""
    rest: list[bytes] = []
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if not cut:
            rest.append(block)
            continue
        yield b"".join([*rest, block[:cut]])
        rest = [block[cut:]] if cut < len(block) else []
    if rest:
        yield b"".join(rest)


@dataclass(slots=True)
class DumpFacts:
    """What a dump says of itself, and what it needs. `complete` is whether its last line is there,
    `ends` where it stops when not. `tables` counts those whose rows it copies; it `has_rows` also
    where it says of a table that there are none. `databases` are those that it connects to, in
    their order; `roles` those that it mentions and does not make; `server_side` are the lines of
    statements that go through a file or program of the server."""

    complete: bool = False
    ends: str = ""
    whole_server: bool = False
    server_major: int | None = None
    server_version: str = ""
    program_major: int | None = None
    program_version: str = ""
    started: tuple[str, str] | None = None  # the time, and the zone as the dump has it
    encoding: str = ""
    tables: int = 0
    tables_made: int = 0
    has_rows: bool = False
    size_bytes: int = 0
    databases: list[str] = field(default_factory=list)
    tablespaces: list[str] = field(default_factory=list)
    server_side: list[str] = field(default_factory=list)
    roles: set[str] = field(default_factory=set)
    roles_made: set[str] = field(default_factory=set)

    @property
    def missing_roles(self) -> list[str]:
        return sorted(self.roles - self.roles_made)

    def take_in(self, other: DumpFacts) -> None:
        """Go on with what another part of the same dump says."""
        self.complete = self.complete and other.complete
        self.ends = self.ends or other.ends
        self.whole_server |= other.whole_server
        for name in ("server_major", "server_version", "program_major", "program_version",
                     "started", "encoding"):  # fmt: skip
            if not getattr(self, name):
                setattr(self, name, getattr(other, name))
        self.tables += other.tables
        self.tables_made += other.tables_made
        self.has_rows |= other.has_rows
        self.size_bytes += other.size_bytes
        self.databases += [one for one in other.databases if one not in self.databases]
        self.tablespaces += [one for one in other.tablespaces if one not in self.tablespaces]
        self.server_side += other.server_side
        self.roles |= other.roles
        self.roles_made |= other.roles_made


def survey_dump(blocks: Iterable[bytes]) -> DumpFacts:
    """What a dump is, by reading all of it once."""
    facts, survey = DumpFacts(), _Survey()
    for piece in pieces(blocks):
        facts.size_bytes += len(piece.content)
        if piece.table is not None:
            survey.rows(piece)
        else:
            survey.line(piece, facts)
    survey.close(facts)
    return facts


class _Survey:
    """Where a reading is: the last thing that was seen decides whether the end is there."""

    def __init__(self) -> None:
        self._open: str | None = None
        self._last_line = 0
        self._seen = False
        self._ended = self._cluster_ended = False
        self._unended_line = False

    def rows(self, piece: Piece) -> None:
        self._open = None if piece.ends else piece.table
        self._ended = self._cluster_ended = False
        self._last_line = piece.line + piece.content.count(b"\n")

    def line(self, piece: Piece, facts: DumpFacts) -> None:
        content = piece.content
        self._last_line = piece.line
        if piece.inner:
            self._ended = self._cluster_ended = False
            self._unended_line = True
            return
        if content.startswith(b"--"):
            facts.has_rows |= _ROWS.match(content) is not None
            if found := _TRAILER.match(content):
                self._ended, self._cluster_ended = True, found[1] is not None
            elif facts.server_major is None or facts.program_major is None or not self._seen:
                _read_header(content, facts)
            return
        self._unended_line = bool(content.strip()) and not content.rstrip().endswith(b";")
        if _RESET.match(content):
            self._ended = True
        elif not _AFTER.match(content):
            self._seen = True
            self._ended = self._cluster_ended = False
            self._open = table_of(content)
            facts.tables += self._open is not None
            facts.tables_made += _TABLE.match(content) is not None
            facts.has_rows |= self._open is not None or _ROWS.match(content) is not None
            if self._open is None and _SERVER_SIDE.match(content):
                facts.server_side.append(f"line {piece.line}")
            _read_statement(content, facts)

    def close(self, facts: DumpFacts) -> None:
        facts.complete = self._cluster_ended if facts.whole_server else self._ended
        if self._open is not None:
            facts.complete = False
            facts.ends = f"it ends at line {self._last_line}, within the rows of {self._open}"
        elif not self._seen:
            facts.ends = "it holds no statement"
            facts.complete = False
        elif not facts.complete:
            within = ", within a statement" if self._unended_line else ""
            what = "database cluster dump" if facts.whole_server else "database dump"
            facts.ends = (
                f"it ends at line {self._last_line}{within}, without pg_dump's last line "
                f'"-- PostgreSQL {what} complete"'
            )


def is_trailer(line: bytes) -> bool:
    """Whether this is the line that pg_dump writes when all is written."""
    return _TRAILER.match(line) is not None


def table_of(line: bytes) -> str | None:
    """Whose rows are to follow, if any are."""
    found = _COPY.match(line) if line.startswith((b"COPY ", b"copy ")) else None
    return found[1].decode(errors="replace") if found else None


def _read_header(line: bytes, facts: DumpFacts) -> None:
    if found := _HEADER.match(line):
        facts.whole_server |= found[1] is not None
    elif found := _FROM.match(line):
        facts.server_major, facts.server_version = _version(found)
    elif found := _BY.match(line):
        facts.program_major, facts.program_version = _version(found)
    elif (found := _STARTED.match(line)) and facts.started is None:
        facts.started = found[1].decode(), found[2].decode(errors="replace")


def _version(found: re.Match[bytes]) -> tuple[int, str]:
    return int(found[1]), (found[1] + found[2]).decode(errors="replace")


def _read_statement(line: bytes, facts: DumpFacts) -> None:
    if line.startswith(_WITH_ROLES):
        text = line.decode(errors="replace")
        facts.roles.update(role_names(text))
        if made := _MADE.match(text):
            facts.roles_made.add(_unquoted(made[1]))
    if line.startswith((b"SET default_tablespace", b"CREATE TABLESPACE")):
        if found := _TABLESPACE.match(line):
            name = _unquoted(found[1].decode(errors="replace"))
            if name not in facts.tablespaces:
                facts.tablespaces.append(name)
    elif line.startswith(b"SET "):
        if found := _ENCODING.match(line):
            facts.encoding = facts.encoding or found[1].decode()
    elif (database := connected(line)) is not None and database not in facts.databases:
        facts.databases.append(database)


def connected(line: bytes) -> str | None:
    """The database that a line of a dump connects to; None of any other line."""
    found = _CONNECT.match(line)
    if found is None:
        return None
    name = found[1].decode(errors="replace")
    if "=" in name and name.startswith('"'):  # \connect -reuse-previous=on "dbname='a b'"
        inner = re.search(r"dbname='((?:[^'\\]|\\.)*)'", name)
        return re.sub(r"\\(.)", r"\1", inner[1]) if inner else name
    return _unquoted(name)


def role_names(line: str) -> Iterator[str]:
    """The roles that a statement of a dump needs, by what stands in its first line."""
    for pattern in _ROLES:
        if found := pattern.match(line):
            for name in _SPLIT.findall(found[1]):
                role = _unquoted(name)
                if role.lower() not in _NO_ROLES and not role.startswith("pg_"):
                    yield role


def _unquoted(name: str) -> str:
    for quote in ('"', "'"):
        if name.startswith(quote) and name.endswith(quote) and len(name) > 1:
            return name[1:-1].replace(quote * 2, quote)
    return name
