"""The JSON of directories, byte for byte as stock restic writes it, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import stat
from typing import Any

import pytest

from strongroom.errors import IntegrityError
from strongroom.repository.tree import (
    Node,
    decode_former,
    decode_tree,
    encode_tree,
    go_quote,
    parse_time,
)

SECOND = 1_000_000_000
TREE_ID = "7" * 64

# Raw name -> what the JSON holds between the quotes. Taken from trees that restic 0.19 wrote.
NAMES = [
    (b"plain.txt", r"plain.txt"),
    (b'quote"quote', r"quote\\\"quote"),
    (b"back\\slash", r"back\\\\slash"),
    (b"new\nline", r"new\\nline"),
    (b"tab\tand\rreturn", r"tab\\tand\\rreturn"),
    (b"\a\b\f\v", r"\\a\\b\\f\\v"),
    (b"control\x01\x1f\x7f", r"control\\x01\\x1f\\x7f"),
    (b"not utf-8 \xff\xfe\x80", r"not utf-8 \\xff\\xfe\\x80"),
    (b"half a character \xe2\x82", r"half a character \\xe2\\x82"),
    (b"surrogate \xed\xa0\x80", r"surrogate \\xed\\xa0\\x80"),
    (b"less < more > and &", r"less \u003c more \u003e and \u0026"),
    ("\u2028 and \u2029".encode(), r"\\u2028 and \\u2029"),
    ("\u00ad\u00a0\u200b\ufeff".encode(), r"\\u00ad\\u00a0\\u200b\\ufeff"),
    ("emoji 🏦👩\u200d🚀".encode(), r"emoji 🏦👩\\u200d🚀"),
    ("عربي 中文 e\u0301".encode(), "عربي 中文 e\u0301"),
    ("\ue000 \ufffd \ufffe".encode(), "\\\\ue000 \ufffd \\\\ufffe"),
    ("\U0010fffd".encode(), r"\\U0010fffd"),
    (b"'single' `back`", r"'single' `back`"),
    (b"\\x41", r"\\\\x41"),
]

# Node -> JSON, as restic 0.19 wrote it (device_id left out: ours stands with hard links only).
NODES = [
    (
        Node(b"fifo", "fifo", stat.S_IFIFO | 0o640, (1 << 31) * SECOND, 1_795_475_032_824_359_249,
             user="root", group="root", inode=2286734),
        '{"name":"fifo","type":"fifo","mode":33554848,"mtime":"2038-01-19T03:14:08Z",'
        '"atime":"2038-01-19T03:14:08Z","ctime":"2026-11-23T23:03:52.824359249Z","uid":0,"gid":0,'
        '"user":"root","group":"root","inode":2286734,"content":null}',
    ),
    (
        Node(b"link 8", "symlink", stat.S_IFLNK | 0o777, 0, 0, inode=7, links=1,
             linktarget=b"not utf-8 \xff\xfe\x80"),
        '{"name":"link 8","type":"symlink","mode":134218239,"mtime":"1970-01-01T00:00:00Z",'
        '"atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","uid":0,"gid":0,"inode":7,'
        '"links":1,"linktarget":"not utf-8 \\ufffd\\ufffd\\ufffd",'
        '"linktarget_raw":"bm90IHV0Zi04IP/+gA==","content":null}',
    ),
    (
        Node(b"half", "symlink", stat.S_IFLNK | 0o777, -1, 1, 12345, 54321, links=1,
             linktarget=b"<&> \xf0\x9f\x98 \xef\xbf\xbd"),
        '{"name":"half","type":"symlink","mode":134218239,'
        '"mtime":"1969-12-31T23:59:59.999999999Z","atime":"1969-12-31T23:59:59.999999999Z",'
        '"ctime":"1970-01-01T00:00:00.000000001Z","uid":12345,"gid":54321,"links":1,'
        '"linktarget":"\\u003c\\u0026\\u003e \\ufffd\\ufffd\\ufffd \ufffd",'
        '"linktarget_raw":"PCY+IPCfmCDvv70=","content":null}',
    ),
    (
        Node(b"linked", "file", stat.S_IFREG | 0o644, 100_000_000, 0, user="<a&b>", group="g\u2028",
             inode=5, device_id=64769, size=21, links=3, content=(bytes(32), b"\xab" * 32),
             xattrs={b"user.plain": b"value", b"user.empty": b"", "user.ü".encode(): b"\xff"}),
        '{"name":"linked","type":"file","mode":420,"mtime":"1970-01-01T00:00:00.1Z",'
        '"atime":"1970-01-01T00:00:00.1Z","ctime":"1970-01-01T00:00:00Z","uid":0,"gid":0,'
        '"user":"\\u003ca\\u0026b\\u003e","group":"g\\u2028","inode":5,"device_id":64769,"size":21,'
        '"links":3,"extended_attributes":[{"name":"user.empty","value":""},'
        '{"name":"user.plain","value":"dmFsdWU="},{"name":"user.ü","value":"/w=="}],'
        f'"content":["{"00" * 32}","{"ab" * 32}"]}}',
    ),
    (
        Node(b"empty", "file", stat.S_IFREG, 0, 0),
        '{"name":"empty","type":"file","mtime":"1970-01-01T00:00:00Z",'
        '"atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z",'
        '"uid":0,"gid":0,"content":[]}',
    ),
    (
        Node(b"null", "chardev", stat.S_IFCHR | 0o620, 0, 0, 0, 5, device=os.makedev(1, 3)),
        '{"name":"null","type":"chardev","mode":69206416,"mtime":"1970-01-01T00:00:00Z",'
        '"atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","uid":0,"gid":5,'
        '"device":259,"content":null}',
    ),
    (
        Node(b"d", "dir", stat.S_IFDIR | 0o1777, 0, 0, 4_000_000_000, subtree=TREE_ID),
        '{"name":"d","type":"dir","mode":2148532735,"mtime":"1970-01-01T00:00:00Z",'
        '"atime":"1970-01-01T00:00:00Z","ctime":"1970-01-01T00:00:00Z","uid":4000000000,"gid":0,'
        f'"content":null,"subtree":"{TREE_ID}"}}',
    ),
]  # fmt: skip

TIMES = [
    (0, "1970-01-01T00:00:00Z"),
    (1, "1970-01-01T00:00:00.000000001Z"),
    (100, "1970-01-01T00:00:00.0000001Z"),
    (-1, "1969-12-31T23:59:59.999999999Z"),
    (-62_135_596_800 * SECOND, "0001-01-01T00:00:00Z"),
    (253_402_300_799 * SECOND + 999_999_999, "9999-12-31T23:59:59.999999999Z"),
    (951_782_400 * SECOND, "2000-02-29T00:00:00Z"),
]


@pytest.mark.parametrize(("raw", "written"), NAMES)
def test_names_are_written_as_go_writes_them(raw: bytes, written: str) -> None:
    encoded = Node(raw, "file", stat.S_IFREG).encode()
    assert encoded.startswith(f'{{"name":"{written}","type":"file"'.encode())
    (node,) = decode_tree(encode_tree([(raw, encoded)]), "tree")
    assert node.name == raw


@pytest.mark.parametrize(("node", "written"), NODES, ids=lambda one: getattr(one, "name", None))
def test_nodes_are_written_as_go_writes_them(node: Node, written: str) -> None:
    assert node.encode().decode() == written
    assert decode_tree(b'{"nodes":[' + node.encode() + b"]}\n", "tree") == [node]


@pytest.mark.parametrize(("nanoseconds", "written"), TIMES)
def test_times_are_written_as_go_writes_them(nanoseconds: int, written: str) -> None:
    encoded = Node(b"a", "file", stat.S_IFREG, nanoseconds, nanoseconds).encode().decode()
    assert f'"mtime":"{written}","atime":"{written}","ctime":"{written}"' in encoded
    assert parse_time(written) == nanoseconds


def test_times_beyond_the_format_are_cut_to_its_years() -> None:
    long_ago = Node(b"a", "file", stat.S_IFREG, -(10**21), 10**21).encode().decode()
    assert '"mtime":"0001-' in long_ago
    assert '"ctime":"9999-' in long_ago


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23T12:00:00+02:00", 1_795_428_000),
        ("2026-11-23T12:00:00.5-05:30", 1_795_455_000.5),
        ("2026-11-23T12:00:00z", 1_795_435_200),
        ("0000-01-01T00:00:00Z", -62_135_596_800),
    ],
)
def test_times_with_zones_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == int(seconds * SECOND)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-11-23T12:00:00", "2026-13-01T00:00:00Z", "2026-11-23T12:00:00.Z",
             "2026-11-23T12:00:00+2", "2026-11-23 12:00:00Ztail"]
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


@pytest.mark.parametrize("mode", [0o000, 0o644, 0o4755, 0o2755, 0o1777, 0o7777])
@pytest.mark.parametrize("bits", [("file", stat.S_IFREG), ("dir", stat.S_IFDIR),
                                  ("socket", stat.S_IFSOCK), ("dev", stat.S_IFBLK)])  # fmt: skip
def test_modes_come_back(bits: tuple[str, int], mode: int) -> None:
    node = Node(b"a", bits[0], bits[1] | mode, subtree=TREE_ID if bits[0] == "dir" else None)
    (back,) = decode_tree(encode_tree([(b"a", node.encode())]), "tree")
    assert back.mode == bits[1] | mode


def test_a_tree_is_put_in_the_order_of_raw_bytes() -> None:
    names = [b"b", b"a\xff", b"a", "ä".encode(), b"B", b"a.txt", b"a b"]
    tree = encode_tree((name, Node(name, "file", stat.S_IFREG).encode()) for name in names)
    assert tree.startswith(b'{"nodes":[{')
    assert tree.endswith(b"}]}\n")
    assert [node.name for node in decode_tree(tree, "tree")] == sorted(names)
    assert encode_tree([]) == b'{"nodes":[]}\n'
    assert decode_tree(b'{"nodes":null}', "tree") == []


# What is refused


def tree_of(**changed: Any) -> bytes:  # Any: JSON values of any shape
    node = json.loads(Node(b"a", "file", stat.S_IFREG | 0o644).encode())
    return json.dumps({"nodes": [node | changed]}).encode()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "/etc/passwd", "../x", "a\\u0000b", "\\x00", "\\x2f",
             "\\x2e\\x2e", "\\056\\056", "a\\q", "\\ud800", "\\U00110000", "\\777", "\ud800"]
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(IntegrityError) as raised:
        decode_tree(tree_of(name=name), "tree ab")
    assert raised.value.code == "tree-damaged"
    assert raised.value.exit_status == 34


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "irregular"}, {"type": "hole"}, {"type": None}, {"type": ["file"]},
        {"content": None}, {"content": ["ab"]}, {"content": ["zz" * 32]}, {"content": 7},
        {"type": "dir", "content": None}, {"type": "dir", "subtree": "ab"},
        {"type": "dir", "subtree": "AB" * 32}, {"type": "dir", "subtree": 7},
        {"subtree": TREE_ID}, {"type": "symlink", "subtree": TREE_ID},
        {"mode": -1}, {"mode": 1.5}, {"mode": "0644"}, {"uid": None}, {"gid": True},
        {"size": 1 << 64}, {"size": -5}, {"links": "2"}, {"inode": []}, {"device": -1},
        {"mtime": None}, {"mtime": 7}, {"mtime": []}, {"ctime": "yesterday"}, {"user": 7},
        {"group": None}, {"name": 7}, {"name": None},
        {"type": "symlink", "linktarget": "a\0b"}, {"type": "symlink", "linktarget": 7},
        {"type": "symlink", "linktarget_raw": "no base64"},
        {"type": "symlink", "linktarget_raw": base64.b64encode(b"a\0b").decode()},
        {"extended_attributes": 7}, {"extended_attributes": [7]},
        {"extended_attributes": [{"name": "user.a"}]},
        {"extended_attributes": [{"name": "user.a\0", "value": ""}]},
        {"extended_attributes": [{"name": 7, "value": ""}]},
    ],
    ids=repr,
)  # fmt: skip
def test_fields_that_no_tool_writes_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(IntegrityError) as raised:
        decode_tree(tree_of(**changed), "tree ab")
    assert raised.value.code == "tree-damaged"


@pytest.mark.parametrize("names", [[b"b", b"a"], [b"a", b"a"], [b"a", b"B"]])
def test_unsorted_and_repeated_names_are_refused(names: list[bytes]) -> None:
    nodes = b",".join(Node(name, "file", stat.S_IFREG).encode() for name in names)
    with pytest.raises(IntegrityError, match="unsorted or repeated"):
        decode_tree(b'{"nodes":[' + nodes + b"]}\n", "tree")


def test_fields_that_others_add_are_ignored() -> None:
    (node,) = decode_tree(tree_of(generic_attributes={"windows.x": 1}, error="", new=[1]), "tree")
    assert node.name == b"a"


# Comparing with an earlier capture


def test_former_nodes_come_with_the_very_bytes_they_came_from() -> None:
    nodes = {node.name: node.encode() for node, _ in NODES}
    former = decode_former(encode_tree(nodes.items()))
    assert {name: one.encoded for name, one in former.items()} == nodes
    assert former[b"d"].subtree == TREE_ID
    assert former[b"null"].subtree is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"nodes":[]}', b'{ "nodes":[]}\n',
                                     b'{"nodes":[{"name":7}]}\n', b'{"nodes":[7]}\n',
                                     b'{"nodes":[{]}\n', b"\xff"])  # fmt: skip
def test_of_a_tree_in_another_form_nothing_is_known(content: bytes) -> None:
    assert decode_former(content) == {}


def test_only_the_same_version_of_a_file_is_unchanged(tmp_path: Any) -> None:  # Any: Path
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    status = path.stat()
    node = Node(b"file", "file", status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
    node.inode, node.size, node.links, node.content = status.st_ino, 5, 1, (b"\xab" * 32,)

    def known(old: bytes = b"", new: bytes = b"") -> tuple[bytes, ...] | None:
        encoded = node.encode()
        assert old in encoded
        tree = encode_tree([(b"file", encoded.replace(old, new))])
        return decode_former(tree)[b"file"].unchanged_content(status)

    ctime = json.loads(node.encode())["ctime"].encode()
    assert known() == (b"\xab" * 32,)
    assert known(b'"size":5', b'"size":6') is None
    assert known(b'"size":5,', b"") is None
    assert known(b'"inode":', b'"inode":1') is None
    assert known(b'"type":"file"', b'"type":"symlink"') is None
    assert known(b'"mtime":"2', b'"mtime":"3') is None
    assert known(b'"ctime":"' + ctime, b'"ctime":"2020-01-01T00:00:00Z') is None
    for broken in (b"null", b"7", b'["zz"]', b"[7]", b'["'):
        assert known(b'["' + b"ab" * 32 + b'"]', broken) is None


def test_what_a_name_says_is_no_field(tmp_path: Any) -> None:  # Any: Path
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    status = path.stat()
    node = Node(b"file", "file", status.st_mode, status.st_mtime_ns, 0)
    node.inode, node.size, node.content = status.st_ino, 5, (b"\xab" * 32,)
    twin = Node(b"file", "file", status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
    ctime = json.loads(twin.encode())["ctime"]
    node.name = f'"ctime":"{ctime}",'.encode()
    former = decode_former(encode_tree([(node.name, node.encode())]))
    assert former[node.name].unchanged_content(status) is None


def test_quoting_leaves_plain_names_alone() -> None:
    assert go_quote(b"invoice 2026-001.pdf") == "invoice 2026-001.pdf"
