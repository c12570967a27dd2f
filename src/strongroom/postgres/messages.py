"""What client programs say on standard error, line by line, as findings.

One exit status says neither what failed nor whether it matters. Each complaint of psql and
pg_restore gets the name of the object that it is about: from pg_restore's own context lines, or
from the comment above the statement in the script. A few complaints are known to be harmless; some
show that the server lacks an extension, a locale or a build option, and then so do complaints about
what should have come with it. All else is a failed statement, and so is what nobody foresaw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from strongroom.model import Finding, finding

__all__ = [
    "Complaint",
    "Complaints",
    "copy_place",
    "deadlocked",
    "from_pg_restore",
    "from_psql",
    "of_the_host",
    "without_values",
]

_PSQL: Final = re.compile(r"^psql:[^:]*:(\d+): (ERROR|FATAL|PANIC|WARNING):  (.*)$")
_PSQL_OWN: Final = re.compile(r"^psql:(?:[^:]*:(\d+):)? (?:error: )?(.*)$")
_TOC_ENTRY: Final = re.compile(r"^pg_restore: from TOC entry \d+; \d+ \d+ (.*)$")
_RESTORE: Final = re.compile(r"^pg_restore: (error|warning): (.*)$")
_IN_RESTORE: Final = re.compile(r"^could not execute query: ERROR:  (.*)$")
_NAMED: Final = re.compile(r"^-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: ")
_DETAILS: Final = ("DETAIL:", "HINT:")
_COMMAND: Final = "Command was:"
_NAMELESS: Final = "pg_restore"
_DEADLOCK: Final = "deadlock detected"
_LONGEST_SUBJECT: Final = 80

_HARMLESS: Final = re.compile(
    r'schema "public" already exists'
    r'|extension "\w+" already exists'
    r'|unrecognized configuration parameter "(transaction_timeout|default_table_access_method)"'
    r"|invalid command \\(un)?restrict"
    r"|errors ignored on restore"
)
# Each with the key of what is lacking, as the inventory writes it.
_LACKING: Final = (
    (re.compile(r'extension "([^"]+)" is not available'), "extension {}"),
    (re.compile(r'could not open extension control file ".*/([^/"]+)\.control"'), "extension {}"),
    (re.compile(r'extension "([^"]+)" has no installation script'), "extension {}"),
    (re.compile(r'could not access file "\$libdir/([^"]+)"'), "extension {}"),
    (re.compile(r"ICU is not supported in this build"), "ICU"),
    (re.compile(r'could not create locale "([^"]+)"'), "locale {}"),
    (re.compile(r'could not open collator for locale "([^"]+)"'), "locale {}"),
    (re.compile(r"compression method (\w+) not supported"), "compression {}"),
    (re.compile(r"unsupported XML feature"), "XML"),
)
# The server's host failed, which says nothing about what was to be loaded.
_HOST: Final = re.compile(
    r"No space left on device|out of (?:shared )?memory|could not resize shared memory"
    r"|connection to server was lost|server closed the connection unexpectedly"
    r"|terminating connection|the database system is (?:shutting down|in recovery mode)"
)
# Where PostgreSQL quotes what it was given: `invalid input syntax for type json: "..."`,
# `COPY t, line 2: "..."`. Of details, those are harmless that speak of the server alone.
_QUOTED_VALUE: Final = re.compile(r':\s+".*', re.DOTALL)
_REFUSED_VALUE: Final = re.compile(r'"[^"]*"(?= is (?:out of range|not a valid|too ))')
_COPY_PLACE: Final = re.compile(r"^COPY .*?, line \d+(?:, column [^:\n]*)?", re.MULTILINE)
_DETAIL: Final = re.compile(r"\s*DETAIL:\s+(.*?)(?=\s*HINT:|$)", re.DOTALL)
_HARMLESS_DETAIL: Final = re.compile(
    r"Could not open extension control file|This functionality requires|Process \d+ waits"
    r"|The source collation version|The collation in the database was created"
)
_KEY: Final = re.compile(r"(Key \([^=]*\))=")
_FOLLOWS: Final = re.compile(r"does not exist|must be loaded via|is not (?:a|an) ")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One message: the object it is about, the text, whether it was only a warning, and the
    statement that failed where the program says it."""

    subject: str
    text: str
    warning: bool = False
    statement: str = ""


@dataclass(slots=True)
class Complaints:
    """Judges complaints in the order of the load; remembers what the server was found to lack."""

    findings: list[Finding] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)

    def judge(self, complaints: Iterable[Complaint]) -> int:
        """Add each complaint's finding; returns how many were more than harmless."""
        serious = 0
        for one in complaints:
            code = self._code(one)
            serious += code != "load-note"
            self.findings.append(finding(code, one.subject, without_values(one.text)))
        return serious

    def _code(self, one: Complaint) -> str:
        if one.warning or _HARMLESS.search(one.text):
            return "load-note"
        for pattern, key in _LACKING:
            found = pattern.search(one.text)
            if found:
                self.lacking.add(key.format(*found.groups()))
                if one.subject.startswith("collation "):
                    self.lacking.add(one.subject)
                return "sandbox-lacks"
        if self.lacking and _FOLLOWS.search(one.text):
            return "sandbox-lacks"
        return "load-error"


def without_values(text: str) -> str:
    """A message of PostgreSQL without what it quotes of rows and values, which may be secret."""
    text = _REFUSED_VALUE.sub("…", text)
    detail = _DETAIL.search(text)
    if detail is None:
        return _QUOTED_VALUE.sub("", text)
    kept = ""
    if _HARMLESS_DETAIL.match(detail[1]):
        kept = f" DETAIL:  {detail[1]}"
    elif key := _KEY.match(detail[1]):
        kept = f" DETAIL:  {key[1]}"
    before, after = text[: detail.start()], text[detail.end() :]
    return _QUOTED_VALUE.sub("", before) + kept + after


def copy_place(context: str) -> str:
    """Table, line and column out of an error's context, without the values; "" when not there."""
    found = _COPY_PLACE.search(context)
    return found[0] if found else ""


def of_the_host(complaints: Iterable[Complaint]) -> Complaint | None:
    """The first complaint that is about the server's host: lost connections, full disks."""
    return next((one for one in complaints if _HOST.search(one.text)), None)


def from_psql(
    messages: str, script: bytes, path: str, name_of: Callable[[int], str] | None = None
) -> list[Complaint]:
    """What psql said about `script`, which it read from standard input; `path` is its name. Of a
    script that is too large to be kept `name_of` says what a line is about."""
    lines = script.decode(errors="replace").split("\n")
    found: list[Complaint] = []
    for line in messages.splitlines():
        match = _PSQL.match(line)
        if match:
            number = int(match[1])
            subject = (name_of(number) if name_of else _object_above(lines, number)) or path
            found.append(Complaint(subject, match[3], match[2] == "WARNING"))
        elif line.startswith(_DETAILS) and found:
            found[-1] = _with_detail(found[-1], line)
        elif own := _PSQL_OWN.match(line):
            found.append(Complaint(path, own[2]))
    return found


def from_pg_restore(messages: str) -> list[Complaint]:
    """What pg_restore said, each complaint with its entry of the archive."""
    found: list[Complaint] = []
    subject = ""
    in_statement = False
    for line in messages.splitlines():
        if entry := _TOC_ENTRY.match(line):
            subject, in_statement = _entry_name(entry[1]), False
        elif match := _RESTORE.match(line):
            error = _IN_RESTORE.match(match[2])
            text = error[1] if error else match[2]
            found.append(Complaint(subject or _NAMELESS, text, match[1] == "warning"))
            in_statement = False
        elif not found:
            continue
        elif line.startswith(_COMMAND):
            found[-1] = _with_statement(found[-1], line.removeprefix(_COMMAND).strip())
            in_statement = True
        elif in_statement:
            statement = f"{found[-1].statement}\n{line}"
            found[-1] = replace(found[-1], statement=statement)
        elif line.startswith(_DETAILS):
            found[-1] = _with_detail(found[-1], line)
    return found


def deadlocked(complaints: Iterable[Complaint]) -> bool:
    """Whether statements got into each other's way: run alone, they may well succeed."""
    return any(_DEADLOCK in one.text for one in complaints)


def _with_statement(one: Complaint, statement: str) -> Complaint:
    # Parallel workers don't say which entry they are at.
    subject = statement[:_LONGEST_SUBJECT] if one.subject == _NAMELESS else one.subject
    return replace(one, subject=subject, statement=statement)


def _with_detail(one: Complaint, line: str) -> Complaint:
    return replace(one, text=f"{one.text} {line.strip()}")


def _object_above(lines: Sequence[str], number: int) -> str:
    """The object whose comment stands nearest above a line (counted from 1)."""
    for place in range(min(number, len(lines)) - 1, -1, -1):
        found = _NAMED.match(lines[place])
        if found:
            name, kind, schema = found[1], found[2].lower(), found[3]
            return f"{kind} {name}" if schema == "-" else f"{kind} {schema}.{name}"
    return ""


def _entry_name(entry: str) -> str:
    """`TABLE app orders owner` of an archive's table of contents, as `table orders`."""
    words = entry.split(" ")
    kind = list(_leading_capitals(words))
    rest = words[len(kind) :]
    return " ".join([*map(str.lower, kind), *rest[:-1]]).strip() or entry


def _leading_capitals(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if not (word.isupper() and word.isalpha()):
            return
        yield word
