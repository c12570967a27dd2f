"""A plain script of pg_dump, taken apart: statements, and to which object each belongs.

What it is for: a load that runs a captured schema statement by statement knows which object each
is about, may leave one out, and may run independent ones at once. What it does not do: run or
change anything. Invariants: the statements of a script joined again are the script; a semicolon or
a comment within a string, a function's body or a rule ends or begins nothing. Text is latin-1, so
that a character is a byte: quotes and semicolons never stand within a character of any encoding
that a server has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Entry", "Script", "Token", "read_script", "split_statements", "tokens"]

# Whatever may hide a semicolon, or counts for where a statement ends.
_PART: Final = re.compile(
    r"--[^\n]*|/\*"
    # Nothing is taken back: a string without an end would be tried in all of its divisions.
    r"|(?<![\w$\x80-\xff])[eE]'(?:[^'\\]++|\\.|'')*+'"
    r"|'[^']*'"
    r'|"[^"]*"'
    r"|(?<![\w$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$"
    r"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*"
    r"|[();]|(?m:^)\\[^\n]*\n?",
    re.DOTALL | re.ASCII,
)
_TOKEN: Final = re.compile(_PART.pattern + r"|[,.=]", _PART.flags)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_MAKES_ROUTINE: Final = re.compile(
    r"(?:\s|--[^\n]*\n)*CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE
)
_HEADER: Final = re.compile(
    r"^-- Name: (.*); Type: (.*?); Schema: (.*?); Owner: (.*)$", re.MULTILINE
)
_TABLESPACE: Final = "; Tablespace: "
_LEADING: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$))*")
# These hold for what follows, whichever object that is.
_STATE: Final = re.compile(r"SET (default_tablespace|default_table_access_method) = ([^;]*);")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a quoted name or a sign of a statement outside of its strings and comments; `depth`
    is how many parentheses are open before it."""

    text: str
    begin: int
    end: int
    depth: int

    @property
    def name(self) -> str:
        """The name that it stands for, unquoted."""
        return self.text[1:-1].replace('""', '"') if self.text[:1] == '"' else self.text


@dataclass(frozen=True, slots=True)
class Entry:
    """What a script does for one object: `kind` in capitals, `schema` empty when it has none.

    `state` are the settings that stand in front of it, by name.
    """

    kind: str
    name: str
    schema: str
    owner: str
    statements: tuple[str, ...]
    state: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """`preamble` are the settings with which it begins."""

    preamble: tuple[str, ...]
    entries: tuple[Entry, ...]


def split_statements(text: str) -> list[str]:
    """The script's statements with what stands before each; joined they are `text` again."""
    found: list[str] = []
    begin = place = 0
    statement = _Statement(text, 0)
    while part := _PART.search(text, place):
        place = _end_of(text, part)
        is_command = part[0][0] == "\\" and _is_blank(text[begin : part.start()])
        if is_command or statement.ends_at(part[0]):
            found.append(text[begin:place])
            begin, statement = place, _Statement(text, place)
    if begin < len(text):
        found.append(text[begin:])
    return found


class _Statement:
    """How deep a statement is in parentheses, and in the body of a routine that is SQL itself."""

    def __init__(self, text: str, begin: int) -> None:
        self._text, self._begin = text, begin
        self._depth = self._bodies = 0
        self._makes_routine: bool | None = None

    def ends_at(self, part: str) -> bool:
        """Whether the statement ends with this part of it."""
        if part == "(":
            self._depth += 1
        elif part == ")":
            self._depth = max(self._depth - 1, 0)
        elif part == ";":
            return not self._depth and not self._bodies
        elif not self._depth and part.lower() in ("begin", "case", "end"):
            if self._makes_routine is None:
                self._makes_routine = _MAKES_ROUTINE.match(self._text, self._begin) is not None
            if self._makes_routine:
                self._bodies = _bodies_open(self._bodies, part.lower())
        return False


def _end_of(text: str, part: re.Match[str]) -> int:
    """Where a part ends: a comment or dollar-quoted string that it begins is all of it."""
    found, end = part[0], part.end()
    if found == "/*":
        return _end_of_comment(text, end)
    if found[0] == "$" and found[-1] == "$":
        close = text.find(found, end)
        return len(text) if close < 0 else close + len(found)
    return end


def _bodies_open(bodies: int, word: str) -> int:
    """How many bodies are open after a word of a routine that is written in SQL itself."""
    if word == "end":
        return max(bodies - 1, 0)
    return bodies + 1 if word == "begin" or bodies else bodies


def _end_of_comment(text: str, place: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, place)):
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
    return place if not depth else len(text)


def _is_blank(text: str) -> bool:
    """Whether there is nothing in it but spaces and comments."""
    found = _LEADING.match(text)
    return found is not None and found.end() == len(text)


def tokens(statement: str) -> Iterator[Token]:
    """The words, names and signs of one statement, without its strings and comments."""
    place, depth = 0, 0
    while part := _TOKEN.search(statement, place):
        found, place = part[0], _end_of(statement, part)
        if found == "/*" or found[0] in "-'\\" or found[1:2] == "'":
            continue
        if found[0] == "$" and found[-1] == "$":
            continue
        depth -= found == ")" and depth > 0
        yield Token(found, part.start(), part.end(), depth)
        depth += found == "("


def read_script(script: bytes) -> Script:
    """The script's settings and, in its order, what it does for each object."""
    preamble: list[str] = []
    entries: list[Entry] = []
    opened: tuple[str, str, str, str] | None = None
    statements: list[str] = []
    state: dict[str, str] = {}
    before: tuple[tuple[str, str], ...] = ()

    def close() -> None:
        if opened is not None:
            kind, name, schema, owner = opened
            entries.append(Entry(kind, name, schema, owner, tuple(statements), before))
        statements.clear()

    for piece in split_statements(script.decode("latin-1")):
        leading = _LEADING.match(piece)
        assert leading is not None
        statement = piece[leading.end() :]
        headers = _HEADER.findall(leading[0])
        if headers:
            close()
            name, kind, schema, owner = headers[-1]
            owner = owner.partition(_TABLESPACE)[0]
            opened = (kind, name, "" if schema == "-" else schema, "" if owner == "-" else owner)
            before = tuple(state.items())
        if not statement.strip() or statement[0] == "\\":
            continue
        if set_for_all := _STATE.fullmatch(statement):
            state[set_for_all[1]] = set_for_all[2]
        elif opened is None:
            preamble.append(statement)
        else:
            statements.append(statement)
    close()
    return Script(tuple(preamble), tuple(entries))
