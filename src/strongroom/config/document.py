"""YAML text to plain values, each with the line it stands on.

Reads the subset of YAML that a configuration needs and means what it looks like: only `true`,
`false` and `null` are words with a meaning (not `yes`, `on` or `no`), dates and times stay text,
and a number stays text when writing it back would change it (`007`, `+971`). Repeated keys, tags
and merge keys are faults, not surprises. Knows nothing of settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml

from strongroom.config.fault import Fault, Path

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

_WORDS: Final[dict[str, bool | None]] = {"": None, "~": None, "null": None} | {
    "true": True,
    "false": False,
}
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_DEPTH_LIMIT: Final = 20
_NODE_LIMIT: Final = 100_000  # aliases of aliases grow without bound otherwise


@dataclass(slots=True)
class Document:
    """A configuration's plain values; `lines` gives the line of each path, counted from 1."""

    value: Plain = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of the path, or of the nearest thing above it that has one."""
        for length in range(len(path), -1, -1):
            if (found := self.lines.get(path[:length])) is not None:
                return found
        return None


def read_document(text: str) -> Document:
    """The document in the text; what is wrong with it stands in `faults`."""
    document = Document()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else None
        problem = (error.problem or "unreadable").removeprefix("found ")
        document.faults.append(Fault((), f"this is not YAML: {problem}", line=line))
        return document
    except yaml.YAMLError:
        # A character that YAML does not allow, or bytes that are no text: the reader's own words
        # would repeat the surroundings.
        document.faults.append(Fault((), "this is not YAML: a character that is not allowed"))
        return document
    if root is not None:
        document.value = _Reader(document).read(root, ())
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._nodes = 0

    def read(self, node: yaml.Node, path: Path) -> Plain:
        self._nodes += 1
        self._document.lines.setdefault(path, _line(node))
        if self._nodes > _NODE_LIMIT or len(path) > _DEPTH_LIMIT:
            if self._nodes <= _NODE_LIMIT + 1:
                self._fault(path, "this is nested or repeated beyond any use", node)
            return None
        if not node.tag.startswith(_STANDARD_TAG):
            self._fault(path, "tags (words with !) have no meaning here", node)
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, place)) for place, item in enumerate(node.value)]
        return _scalar(node)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Plain]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(path, "a setting's name is a word", key_node)
                continue
            key = key_node.value
            place = (*path, key)
            if key in seen:
                self._fault(place, f"this stands here twice, first on line {seen[key]}", key_node)
                continue
            seen[key] = _line(key_node)
            self._document.lines[place] = _line(key_node)
            yield key, self.read(value_node, place)

    def _fault(self, path: Path, message: str, node: yaml.Node) -> None:
        self._document.faults.append(Fault(path, message, line=_line(node)))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.Node) -> Plain:
    text = str(node.value)
    if getattr(node, "style", None) in ("'", '"', "|", ">"):  # quoted or a block: text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if repr(number) == text and number - number == 0 else text
