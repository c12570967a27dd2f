"""Directories as the restic format has them: nodes, their names, and the JSON of a tree.

Facts: REPOSITORY_FORMAT 1.10 (docs/FORMAT.md, "Trees"). The bytes of a tree decide its id, so
they are written exactly as Go's encoder would: field order, escapes, no spaces, a line feed at
the end. Entries are strictly increasing by raw name bytes.

Invariant: `decode_tree` lets no name through that could lead out of the directory it is in.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from strongroom.errors import IntegrityError
from strongroom.repository.document import MALFORMED, checked_id, parse_json, plain_text, why

_GO_MODE_BITS: Final = (
    (stat.S_ISUID, 1 << 23),
    (stat.S_ISGID, 1 << 22),
    (stat.S_ISVTX, 1 << 20),
)
_GO_SPECIAL_BITS: Final = 1 << 23 | 1 << 22 | 1 << 20
_GO_TYPE_BITS: Final = {
    "file": 0,
    "dir": 1 << 31,
    "symlink": 1 << 27,
    "dev": 1 << 26,
    "chardev": 1 << 26 | 1 << 21,
    "fifo": 1 << 25,
    "socket": 1 << 24,
}
_STAT_TYPES: Final = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "dev": stat.S_IFBLK,
    "chardev": stat.S_IFCHR,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}
NODE_TYPES: Final = {value: key for key, value in _STAT_TYPES.items()}

_PLAIN_NAME: Final = re.compile(rb"[ -!#-%'-;=?-\[\]-~]*\Z")
_PLAIN_TEXT: Final = re.compile(r"[ -!#-%'-;=?-\[\]-~]*\Z")
_BROKEN: Final = re.compile("[\ud800-\udfff]")
_MIN_SECONDS: Final = -62135596800  # the year 1, Python's earliest
_MAX_SECONDS: Final = 253402300799  # the end of the year 9999


@dataclass(slots=True)
class Node:
    """One entry of a directory. `mode` is `st_mode`, times are nanoseconds since the epoch."""

    name: bytes
    type: str
    mode: int
    mtime_ns: int = 0
    ctime_ns: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    inode: int = 0
    device_id: int = 0
    size: int = 0
    links: int = 0
    linktarget: bytes | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    device: int = 0
    content: tuple[bytes, ...] = ()
    subtree: str | None = None

    def encode(self) -> bytes:
        """The node's JSON, byte for byte as Go writes it."""
        mtime = _format_time(self.mtime_ns)
        mode = _go_mode(self.type, self.mode)
        parts = [f'{{"name":"{_quote_name(self.name)}","type":"{self.type}"']
        if mode:
            parts.append(f'"mode":{mode}')
        parts.append(
            f'"mtime":"{mtime}","atime":"{mtime}","ctime":"{_format_time(self.ctime_ns)}",'
            f'"uid":{self.uid},"gid":{self.gid}'
        )
        if self.user:
            parts.append(f'"user":"{_escape(self.user)}"')
        if self.group:
            parts.append(f'"group":"{_escape(self.group)}"')
        counts = (
            ("inode", self.inode),
            ("device_id", self.device_id),
            ("size", self.size),
            ("links", self.links),
        )
        parts.extend(f'"{key}":{number}' for key, number in counts if number)
        if self.linktarget:
            parts.extend(_encode_link(self.linktarget))
        if self.xattrs:
            parts.append(f'"extended_attributes":[{_encode_xattrs(self.xattrs)}]')
        if self.device:
            parts.append(f'"device":{self.device}')
        if self.type == "file":
            ids = '","'.join(blob_id.hex() for blob_id in self.content)
            parts.append(f'"content":["{ids}"]' if ids else '"content":[]')
        else:
            parts.append('"content":null')
        if self.subtree:
            parts.append(f'"subtree":"{self.subtree}"')
        return (",".join(parts) + "}").encode("utf-8", "surrogateescape")


def encode_tree(nodes: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a tree from `(raw name, encoded node)` pairs, which are put in order here."""
    ordered = sorted(nodes)
    return b'{"nodes":[' + b",".join(encoded for _, encoded in ordered) + b"]}\n"


def decode_tree(content: bytes, subject: str) -> list[Node]:
    """The nodes of a tree in order; IntegrityError `tree-damaged` when it is not safe to use."""
    try:
        nodes = [_node(fields) for fields in parse_json(content)["nodes"] or []]
    except MALFORMED as error:
        raise _damaged(subject, why(error)) from error
    for previous, node in itertools.pairwise(nodes):
        if node.name <= previous.name:
            raise IntegrityError(
                f"entries are unsorted or repeated at {node.name!r}",
                subject=subject,
                code="tree-damaged",
            )
    return nodes


class FormerNode(str):
    """A node of an earlier capture, for comparing: the very text that encodes it.

    Nothing is decoded: for each of a million unchanged files that would be most of the work. A
    quotation mark within a name or value is escaped, so what is sought with its own marks is
    found where it is a field, or not at all.
    """

    __slots__ = ()

    @property
    def encoded(self) -> bytes:
        return self.encode()

    def unchanged_content(self, status: os.stat_result) -> tuple[bytes, ...] | None:
        """The blobs of a file whose size, times and inode are still these; None if they differ."""
        size = status.st_size
        if (
            f'"mtime":"{_format_time(status.st_mtime_ns)}",' not in self
            or f'"ctime":"{_format_time(status.st_ctime_ns)}",' not in self
            or f'"inode":{status.st_ino},' not in self
            or (f'"size":{size},' not in self if size else '"size":' in self)
            or '","type":"file",' not in self
        ):
            return None
        begin = self.rfind(_CONTENT_BEGIN)
        if begin < 0:
            return () if self.endswith('"content":[]}') else None
        try:
            ids = self[begin + len(_CONTENT_BEGIN) : self.index('"]', begin)]
            return tuple(map(bytes.fromhex, ids.split('","')))
        except ValueError:
            return None

    @property
    def subtree(self) -> str | None:
        """The id of a directory's tree."""
        found = _SUBTREE_END.search(self)
        return found[1] if found else None


_TREE_BEGIN: Final = '{"nodes":['
_TREE_END: Final = "]}\n"
_CONTENT_BEGIN: Final = '"content":["'
_SUBTREE_END: Final = re.compile(r'"subtree":"([0-9a-f]{64})"\}\Z')
# Where a node begins; in the list of attributes, a name is followed by a value.
_NODE_BEGIN: Final = re.compile(r'\{"name":"((?:[^"\\]|\\.)*)","type":"')


def decode_former(content: bytes) -> dict[bytes, FormerNode]:
    """The nodes of a tree by name, with the very text that encodes each.

    Unchanged nodes are put into the next tree as they are, so only a tree in canonical form
    serves; of any other, nothing is known.
    """
    former: dict[bytes, FormerNode] = {}
    try:
        whole = content.decode()
        begins = list(_NODE_BEGIN.finditer(whole))
        if not whole.endswith(_TREE_END) or not begins:
            return {}
        if whole[: begins[0].start()] != _TREE_BEGIN:
            return {}
        ends = [one.start() - 1 for one in begins[1:]] + [len(whole) - len(_TREE_END)]
        for begin, end in zip(begins, ends, strict=True):
            quoted = begin[1]
            if "\\" in quoted:
                quoted = json.loads(f'"{quoted}"')
            former[_unquote_name(quoted)] = FormerNode(whole[begin.start() : end])
    except ValueError:
        return {}
    return former


def _node(fields: dict[str, Any]) -> Node:  # Any: JSON of any shape; every field is checked
    name = _unquote_name(fields["name"])
    node_type = fields["type"]
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise ValueError(f"an entry has the impossible name {name!r}")
    if node_type not in _GO_TYPE_BITS:
        raise ValueError(f"an entry has the unknown type {node_type!r}")
    content = fields.get("content")
    if node_type == "file" and content is None:
        raise ValueError(f"the file {name!r} has no list of content")
    subtree = fields.get("subtree")
    if node_type == "dir" and (subtree is None or not checked_id(subtree)):
        raise ValueError(f"the directory {name!r} has no subtree")
    if node_type != "dir" and subtree is not None:
        raise ValueError(f"{name!r} has a subtree and is no directory")
    blobs = tuple(map(bytes.fromhex, content)) if content else ()
    if any(len(blob) != 32 for blob in blobs):
        raise ValueError(f"the file {name!r} lists something that is no blob id")
    node = Node(
        name,
        node_type,
        _stat_mode(node_type, _count(fields.get("mode", 0))),
        parse_time(fields["mtime"]),
        parse_time(fields["ctime"]) if "ctime" in fields else 0,
        _count(fields.get("uid", 0)),
        _count(fields.get("gid", 0)),
        plain_text(fields.get("user", "")),
        plain_text(fields.get("group", "")),
        _count(fields.get("inode", 0)),
        _count(fields.get("device_id", 0)),
        _count(fields.get("size", 0)),
        _count(fields.get("links", 0)),
        content=blobs,
        device=_count(fields.get("device", 0)),
        subtree=subtree,
    )
    if "linktarget_raw" in fields:
        node.linktarget = base64.b64decode(fields["linktarget_raw"], validate=True)
    elif "linktarget" in fields:
        node.linktarget = fields["linktarget"].encode("utf-8", "surrogateescape")
    if attributes := fields.get("extended_attributes"):
        node.xattrs = {
            one["name"].encode(): base64.b64decode(one["value"] or "", validate=True)
            for one in attributes
        }
    if b"\0" in (node.linktarget or b"") or any(b"\0" in one for one in node.xattrs):
        raise ValueError(f"{name!r} has a link target or attribute that no system takes")
    return node


def _count(number: object) -> int:
    if type(number) is not int or not 0 <= number < 1 << 64:
        raise ValueError(f"{number!r} is not a size or an id")
    return number


def _go_mode(node_type: str, mode: int) -> int:
    bits = mode & 0o777 | _GO_TYPE_BITS[node_type]
    if mode & 0o7000:
        for unix, go in _GO_MODE_BITS:
            if mode & unix:
                bits |= go
    return bits


def _stat_mode(node_type: str, go_mode: int) -> int:
    mode = go_mode & 0o777 | _STAT_TYPES[node_type]
    if go_mode & _GO_SPECIAL_BITS:
        for unix, go in _GO_MODE_BITS:
            if go_mode & go:
                mode |= unix
    return mode


def holds_time(seconds: int) -> bool:
    """Whether a node holds this time, in seconds since the epoch, as it is; others are cut to the
    nearest that it holds."""
    return _MIN_SECONDS <= seconds <= _MAX_SECONDS


@functools.lru_cache(maxsize=4096)
def _format_seconds(seconds: int) -> str:
    moment = datetime.fromtimestamp(min(max(seconds, _MIN_SECONDS), _MAX_SECONDS), UTC)
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}"


def _format_time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if not rest:
        return f"{_format_seconds(seconds)}Z"
    return f"{_format_seconds(seconds)}.{f'{rest:09}'.rstrip('0')}Z"


@functools.lru_cache(maxsize=4096)
def _parse_seconds(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time; the year 0 counts as the year 1."""
    clock, offset = text[:19], text[19:]
    rest = 0
    if offset.startswith("."):
        digits = re.match(r"\.(\d{1,9})\d*", offset)
        if digits is None:
            raise ValueError(f"{text!r} is not a time")
        rest = int(digits[1].ljust(9, "0"))
        offset = offset[digits.end() :]
    if clock.startswith("0000"):
        clock = "0001" + clock[4:]
    seconds = _parse_seconds(clock)
    if offset not in ("Z", "z"):
        zone = re.fullmatch(r"([+-])(\d\d):(\d\d)", offset)
        if zone is None:
            raise ValueError(f"{text!r} is not a time")
        minutes = int(zone[2]) * 60 + int(zone[3])
        seconds -= minutes * 60 if zone[1] == "+" else -minutes * 60
    return seconds * 1_000_000_000 + rest


def _escape(text: str) -> str:
    """A string as Go's JSON encoder has it, without quotes.

    Every byte that is not part of UTF-8 (a lone surrogate here) becomes an escaped U+FFFD.
    """
    if _PLAIN_TEXT.match(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    for character in "<>&\u2028\u2029":
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return _BROKEN.sub(r"\\ufffd", quoted)


def _quote_name(name: bytes) -> str:
    """A name as Go's strconv.Quote has it (without quotes), then escaped for JSON."""
    if _PLAIN_NAME.match(name):
        return name.decode("ascii")
    return _escape(go_quote(name))


_SHORT_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def go_quote(name: bytes) -> str:
    """What Go's strconv.Quote makes of these bytes, without the outer quotes."""
    parts = []
    for character in name.decode("utf-8", "surrogateescape"):
        point = ord(character)
        if character in _SHORT_ESCAPES:
            parts.append(_SHORT_ESCAPES[character])
        elif 0xDC80 <= point <= 0xDCFF:
            parts.append(f"\\x{point - 0xDC00:02x}")
        elif character.isprintable():
            parts.append(character)
        elif point < 0x20 or point == 0x7F:
            parts.append(f"\\x{point:02x}")
        else:
            parts.append(f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")
    return "".join(parts)


_UNQUOTE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))", re.DOTALL
)
_SHORT_BYTES: Final = {
    "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v",
    "\\": b"\\", '"': b'"', "'": b"'",
}  # fmt: skip


def _unquote_name(quoted: str) -> bytes:
    """The raw bytes of a quoted name; ValueError when Go could not have written it."""
    if "\\" not in quoted:
        return quoted.encode()
    parts: list[bytes] = []
    position = 0
    for match in _UNQUOTE.finditer(quoted):
        parts.append(quoted[position : match.start()].encode())
        position = match.end()
        byte, short, long, octal, letter = match.groups()
        if byte:
            parts.append(bytes([int(byte, 16)]))
        elif octal:
            parts.append(bytes([int(octal, 8)]))
        elif short or long:
            point = int(short or long, 16)
            if point > sys.maxunicode:
                raise ValueError(f"a name has the impossible character {point:#x}")
            parts.append(chr(point).encode())
        elif letter in _SHORT_BYTES:
            parts.append(_SHORT_BYTES[letter])
        else:
            raise ValueError(f"a name has the unknown escape {match[0]!r}")
    parts.append(quoted[position:].encode())
    return b"".join(parts)


def _encode_link(target: bytes) -> list[str]:
    text = target.decode("utf-8", "surrogateescape")
    fields = [f'"linktarget":"{_escape(text)}"']
    try:
        target.decode()
    except UnicodeDecodeError:
        fields.append(f'"linktarget_raw":"{base64.b64encode(target).decode()}"')
    return fields


def _encode_xattrs(xattrs: dict[bytes, bytes]) -> str:
    return ",".join(
        f'{{"name":"{_escape(name.decode("utf-8", "surrogateescape"))}",'
        f'"value":"{base64.b64encode(value).decode()}"}}'
        for name, value in sorted(xattrs.items())
    )


def _damaged(subject: str, reason: str) -> IntegrityError:
    return IntegrityError(f"not a directory record: {reason}", subject=subject, code="tree-damaged")
