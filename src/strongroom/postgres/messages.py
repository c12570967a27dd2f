"""What PostgreSQL says while a database is loaded, message by message, as findings.

One exit status says neither what failed nor whether it matters. Each complaint gets the name of the
object that it is about; of psql's, from the comment above the statement in its script. A few are
known to be harmless; some show that the server lacks an extension, a locale or a build option, or
that the loading role may not do something, and then so do complaints about what should have come
with it. All else is a failed statement, and so is what nobody foresaw.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from strongroom.model import Finding, finding

__all__ = [
    "EXISTS",
    "Complaint",
    "Complaints",
    "copy_place",
    "from_psql",
    "of_the_host",
    "without_values",
]

_PSQL: Final = re.compile(r"^psql:[^:]*:(\d+): (ERROR|FATAL|PANIC|WARNING):  (.*)$")
_PSQL_OWN: Final = re.compile(r"^psql:(?:[^:]*:(\d+):)? (?:error: )?(.*)$")
_NAMED: Final = re.compile(r"^-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: ")
_DETAILS: Final = ("DETAIL:", "HINT:")

_HARMLESS: Final = re.compile(
    r'schema "public" already exists'
    r'|extension "\w+" already exists'
    r'|unrecognized configuration parameter "(transaction_timeout|default_table_access_method)"'
    r"|invalid command \\(un)?restrict"
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
    (re.compile(r'security label provider "([^"]+)" is not loaded'), "security label provider {}"),
    (re.compile(r"no security label providers have been loaded"), "security label provider"),
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
_NO_PRIVILEGE: Final = "42501"
_NO_RIGHT: Final = re.compile(r"permission denied|must be (?:owner|member|superuser|able to)")
_ABSENT_ROLE: Final = re.compile(r'role "[^"]*" does not exist$')
# Schema, relation, function, other object, column, and a second primary key.
EXISTS: Final = frozenset({"42P06", "42P07", "42723", "42710", "42701", "42P16"})
# Objects that stand on a table of somebody else, and are wanted there or not by themselves.
_WHOLE: Final = ("policy ", "trigger ", "rule ", "constraint ", "index ", "user mapping ")
_FOLLOWS: Final = re.compile(r"does not exist|must be loaded via|is not (?:a|an) ")


@dataclass(frozen=True, slots=True)
class Complaint:
    """One message: the object it is about, the text, whether it was only a warning, and the error's
    SQLSTATE where it is known. `about` is `owner` or `grant` when the statement only gives the
    object to somebody, or lets somebody in, which is the `statement`; `place` when it could not be
    put where it was, `rows` when they could not go into a table of the target's own. `part_of` is
    the object that it belongs to."""

    subject: str
    text: str
    warning: bool = False
    sqlstate: str = ""
    about: str = ""
    part_of: str = ""
    statement: str = ""


@dataclass(slots=True)
class Complaints:
    """Judges complaints in the order of the load; remembers what the server was found to lack.

    `limited`: the loading role is no superuser, so that a refusal for want of rights is the
    target's nature and no fault of the snapshot; the objects that could not be made are in
    `refused`, those that stayed with another owner or without a grant in `unsettled`. `kept` are
    objects of the target's own, which were there before. Safe to use from several threads.
    """

    findings: list[Finding] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    limited: bool = False
    kept: frozenset[str] = frozenset()
    refused: set[str] = field(default_factory=set)
    unsettled: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def judge(self, complaints: Iterable[Complaint]) -> int:
        """Add each complaint's finding; returns how many were more than harmless."""
        serious = 0
        with self._guard:
            for one in complaints:
                code = self._code(one)
                serious += code not in ("load-note", "target-kept")
                self.findings.append(finding(code, one.subject, without_values(one.text)))
        return serious

    def take(self, findings: Iterable[Finding]) -> None:
        """Add findings that are judged already, such as of roles that are not here."""
        with self._guard:
            for one in findings:
                self.findings.append(one)
                if one.code in ("target-owner", "target-grant", "role-missing"):
                    self.unsettled.add(one.subject)

    def of_what_is_there(self) -> list[Finding]:
        """The findings, each once, without those about the owner of what could not be made."""
        return [
            one
            for one in dict.fromkeys(self.findings)
            if one.code != "target-owner" or one.subject not in self.refused
        ]

    def _code(self, one: Complaint) -> str:
        if one.warning or _HARMLESS.search(one.text):
            return "load-note"
        if one.about == "place":
            return "target-tablespace"
        if one.about == "rows":
            return "target-own"
        if self._is_kept(one):
            return "target-kept"
        if code := self._lacking(one):
            return code
        absent = _ABSENT_ROLE.match(one.text) is not None
        if absent or (self.limited and _is_refusal(one)):
            if one.about:
                self.unsettled.add(one.subject)
                return f"target-{one.about}"
            self.refused.add(one.subject)
            return "target-refused"
        if _FOLLOWS.search(one.text):
            if any(_mentions(one.text, subject) for subject in self.refused):
                self.refused.add(one.subject)
                return "target-refused"
            if self.lacking:
                return "sandbox-lacks"
        return "load-error"

    def _is_kept(self, one: Complaint) -> bool:
        """Whether it only says that the target had this before, or that it is not ours to alter."""
        if one.sqlstate in EXISTS:
            return one.subject in self.kept or one.part_of in self.kept
        if one.sqlstate != _NO_PRIVILEGE:
            return False
        return one.subject in self.kept or (
            one.part_of in self.kept and not one.subject.startswith(_WHOLE)
        )

    def _lacking(self, one: Complaint) -> str:
        for pattern, key in _LACKING:
            found = pattern.search(one.text)
            if found:
                self.lacking.add(key.format(*found.groups()))
                if one.subject.startswith("collation "):
                    self.lacking.add(one.subject)
                return "sandbox-lacks"
        return ""


def _is_refusal(one: Complaint) -> bool:
    """Whether the role lacks a right; psql doesn't tell the error's number."""
    if one.sqlstate:
        return one.sqlstate == _NO_PRIVILEGE
    return _NO_RIGHT.match(one.text) is not None


def _mentions(text: str, subject: str) -> bool:
    """Whether a message names an object, such as `relation "a.b"` the `table a.b`."""
    name = subject.partition(" ")[2].partition(" on ")[0].partition("(")[0].replace('"', "")
    return bool(name) and re.search(rf'["\s.]{re.escape(name)}["(\s]', text + " ") is not None


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
    messages: str,
    script: bytes,
    path: str,
    name_of: Callable[[int], str] | None = None,
    judged: Callable[[Complaint, int], Complaint] | None = None,
) -> list[Complaint]:
    """What psql said about `script`, which it read from standard input; `path` is its name. Of a
    script that is too large to be kept `name_of` says what a line is about, and `judged` gives the
    complaint about it as it is meant."""
    lines = script.decode(errors="replace").split("\n")
    found: list[Complaint] = []
    for line in messages.splitlines():
        match = _PSQL.match(line)
        if match:
            number = int(match[1])
            subject = (name_of(number) if name_of else _object_above(lines, number)) or path
            one = Complaint(subject, match[3], match[2] == "WARNING")
            found.append(judged(one, number) if judged else one)
        elif line.startswith(_DETAILS) and found:
            found[-1] = _with_detail(found[-1], line)
        elif own := _PSQL_OWN.match(line):
            found.append(Complaint(path, own[2]))
    return found


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
