"""The script of the large objects on its way to psql: roles get the names that the target has, and
each line is known by the object that it is about.

The script may be larger than memory: it passes through line by line, and keeps its numbers of
lines. What large objects hold is never looked at.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from strongroom.model import Finding, finding
from strongroom.postgres.exchange import Block
from strongroom.postgres.messages import Complaint
from strongroom.postgres.role_change import RoleChange, change_roles
from strongroom.postgres.schema_script import Entry

__all__ = ["LargeObjectScript"]

# Whether a line gives the object to somebody, lets somebody in, or makes, fills or describes it.
_OWNER, _GRANT, _OTHER = 0, 1, 2
_OF: Final = (
    (_OWNER, re.compile(rb"ALTER LARGE OBJECT (\d+) OWNER TO ")),
    (_GRANT, re.compile(rb"(?:GRANT|REVOKE) .*? ON LARGE OBJECT (\d+) ")),
    (_OTHER, re.compile(rb"SELECT pg_catalog\.lo_(?:create|open)\('(\d+)'")),
    (_OTHER, re.compile(rb"COMMENT ON LARGE OBJECT (\d+) IS ")),
    (_OTHER, re.compile(rb"SECURITY LABEL FOR .*? ON LARGE OBJECT (\d+) IS ")),
)
_TEXT: Final = (b"COMMENT ON ", b"SECURITY LABEL ")
_SESSION: Final = b"SET SESSION AUTHORIZATION "
_RESET: Final = b"RESET SESSION AUTHORIZATION"
_BEGINNINGS: Final = (b"ALTER ", b"GRANT ", b"REVOKE ", b"SELECT ", b"RESET ", b"SET ", *_TEXT)
_LONGEST_HEAD: Final = 1_000


@dataclass(slots=True)
class LargeObjectScript:
    """One script with other roles. `told` is what was left out of it and why."""

    change: RoleChange
    told: list[Finding] = field(default_factory=list)
    _lines: array[int] = field(default_factory=lambda: array("q"))
    _numbers: array[int] = field(default_factory=lambda: array("q"))
    _abouts: array[int] = field(default_factory=lambda: array("b"))
    _count: int = 0
    _in_text: bool = False
    _skipping: bool = False

    def changed(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The script with as many lines as before: what is left out leaves an empty one."""
        rest = b""
        for block in blocks:
            *lines, rest = (rest + bytes(block)).split(b"\n")
            if lines:
                yield b"".join(self._line(line) + b"\n" for line in lines)
        if rest:
            yield self._line(rest)

    def about(self, line: int) -> str:
        """The object that a line (counted from 1) is about; "" before the first."""
        place = bisect_right(self._lines, line) - 1
        return f"large object {self._numbers[place]}" if place >= 0 else ""

    def judged(self, one: Complaint, line: int) -> Complaint:
        """The complaint about a line, with what the line was to do."""
        place = bisect_right(self._lines, line) - 1
        if place < 0 or self._lines[place] != line or self._abouts[place] == _OTHER:
            return one
        is_owner = self._abouts[place] == _OWNER
        subject = self.about(line) if is_owner else f"grants on {self.about(line)}"
        return Complaint(subject, one.text, one.warning, about="owner" if is_owner else "grant")

    def _line(self, line: bytes) -> bytes:
        self._count += 1
        if self._in_text:
            self._in_text = _ends_text(line) is False
            return line
        if not line.startswith(_BEGINNINGS):
            return line
        about, number = self._known(line)
        if line.startswith(_TEXT):
            self._in_text = _ends_text(line.partition(b" IS ")[2]) is False
            return line
        if line.startswith(_RESET):
            skipped, self._skipping = self._skipping, False
            return b"" if skipped else line
        if about == _OWNER:
            return self._with_roles(line, "LARGE OBJECT", number)
        if line.startswith(_SESSION):
            kept = self._with_roles(line, "ACL", number)
            self._skipping = not kept
            return kept
        if about == _GRANT:
            return b"" if self._skipping else self._with_roles(line, "ACL", number)
        return line

    def _known(self, line: bytes) -> tuple[int, str]:
        """What the line is about, which is noted; the last object where it names none."""
        head = line[:_LONGEST_HEAD]
        for about, pattern in _OF:
            if found := pattern.match(head):
                self._lines.append(self._count)
                self._numbers.append(int(found[1]))
                self._abouts.append(about)
                return about, str(int(found[1]))
        return _OTHER, str(self._numbers[-1]) if self._numbers else ""

    def _with_roles(self, line: bytes, kind: str, name: str) -> bytes:
        entry = Entry(kind, name, "", "", (line.decode("latin-1"),))
        changed, told = change_roles(entry, self.change)
        subject = f"large object {name}" if kind != "ACL" else f"grants on large object {name}"
        self.told += [finding(one.code, subject, one.message) for one in told]
        return b"".join(one.encode("latin-1") for one in changed.statements)


def _ends_text(line: bytes) -> bool:
    """Whether a literal that is open at its beginning, or begins there, is closed in this line."""
    return line.count(b"'") % 2 == (0 if line[:1] == b"'" else 1) or line.startswith(b"NULL")
