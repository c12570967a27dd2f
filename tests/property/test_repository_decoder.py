"""Decoders are total: whatever bytes they meet, they answer or raise IntegrityError.

An attacker with a key, a defect of another tool or of a disk must never become a crash, a wrong
answer or an endless loop.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

from strongroom.errors import IntegrityError
from strongroom.repository import Node
from strongroom.repository.crypto import (
    MasterKey,
    Sealer,
    decode_master_key,
    encode_master_key,
    open_key_file,
)
from strongroom.repository.index import decode_index, encode_index
from strongroom.repository.keys import stored_keys
from strongroom.repository.lock import LockRecord, decode_record
from strongroom.repository.pack import BlobCodec, BlobType, PackEntry, decode_header, encode_header
from strongroom.repository.snapshot import decode_snapshot
from strongroom.repository.tree import decode_former, decode_tree, encode_tree
from tests.support.repository_ground import key_file, new_repository

T = TypeVar("T")

KEY = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)
CODEC = BlobCodec(KEY)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["ab" * 32, "2026-11-23T10:00:00Z", "file", "dir", "..", "data", "scrypt"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
DEEP = b"[" * 100_000
HUGE = b'{"packs":' + b"9" * 5000 + b"}"


def documents(*samples: bytes) -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, arbitrary JSON, and real documents with one value replaced by anything."""
    return (
        st.binary(max_size=200)
        | JSON.map(lambda value: json.dumps(value).encode())
        | st.builds(_altered, st.sampled_from(samples), st.randoms(use_true_random=False), JSON)
        | st.builds(_cut, st.sampled_from(samples), st.integers(0, 400), st.binary(max_size=3))
    )


def _altered(sample: bytes, draw: random.Random, value: object) -> bytes:
    document = json.loads(sample)
    places: list[tuple[Any, Any]] = []  # Any: JSON containers and their keys
    waiting = [document]
    while waiting:
        one = waiting.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one)
        for key, below in inner:
            places.append((one, key))
            if isinstance(below, dict | list):
                waiting.append(below)
    container, key = draw.choice(places)
    container[key] = value
    return json.dumps(document).encode()


def _cut(sample: bytes, at: int, added: bytes) -> bytes:
    return sample[:at] + added + sample[at + 1 :]


def answers(decode: Callable[[], T]) -> T | None:
    """What a decoder says; IntegrityError counts as an answer, nothing else does."""
    try:
        return decode()
    except IntegrityError:
        return None


ENTRIES = [
    PackEntry(BlobType.DATA, b"i" * 32, 0, 100, None),
    PackEntry(BlobType.TREE, b"j" * 32, 100, 77, 900),
]
INDEX = encode_index([("ab" * 32, ENTRIES)])
SNAPSHOT = json.dumps({"time": "2026-11-23T10:00:00Z", "tree": "ab" * 32, "paths": ["/srv"],
                       "tags": ["a"], "hostname": "h", "username": "u", "parent": "cd" * 32,
                       "summary": {"total_bytes_processed": 7}}).encode()  # fmt: skip
TREE = encode_tree(
    (node.name, node.encode())
    for node in (
        Node(b"a", "file", 0o100644, content=(b"c" * 32,), size=7, links=2, inode=3, device_id=4),
        Node(b"b", "dir", 0o40755, subtree="ef" * 32, user="u", group="g"),
        Node(b"c", "symlink", 0o120777, linktarget=b"\xff"),
        Node(b"d", "chardev", 0o20600, device=7, xattrs={b"user.a": b"1"}),
    )
)
LOCK = json.dumps({"time": "2026-11-23T10:00:00Z", "exclusive": True, "hostname": "h", "pid": 1,
                   "username": "u"}).encode()  # fmt: skip
MASTER_KEY = encode_master_key(KEY).encode()
EMPTY = new_repository()
KEY_FILE = key_file((b"e" * 32, b"k" * 16, b"r" * 16))


@given(documents(INDEX))
@example(DEEP)
@example(HUGE)
@settings(max_examples=300)
def test_index_files(content: bytes) -> None:
    packs = answers(lambda: decode_index(content, "index"))
    for pack, entries in packs or ():
        assert len(pack) == 64
        assert all(0 <= one.offset < one.offset + one.length < 1 << 32 for one in entries)
        assert all(len(one.id) == 32 and one.size_bytes >= 0 for one in entries)


@given(documents(SNAPSHOT))
@example(DEEP)
@settings(max_examples=300)
def test_snapshot_files(content: bytes) -> None:
    snapshot = answers(lambda: decode_snapshot(content, "ab" * 32))
    assert snapshot is None or len(bytes.fromhex(snapshot.tree)) == 32


@given(documents(TREE))
@example(DEEP)
@settings(max_examples=400)
def test_trees(content: bytes) -> None:
    nodes = answers(lambda: decode_tree(content, "tree"))
    names = [node.name for node in nodes or ()]
    assert names == sorted(set(names))
    for name in names:
        assert name not in (b"", b".", b"..")
        assert not set(name) & set(b"/\0")
    for name, former in decode_former(content).items():
        assert isinstance(name, bytes)
        former.unchanged_content(os.stat("/"))
        assert former.subtree is None or isinstance(former.subtree, str)


@given(documents(LOCK))
@example(DEEP)
@settings(max_examples=200)
def test_lock_files(content: bytes) -> None:
    record = decode_record("locks/ab", content)
    assert isinstance(record, LockRecord)
    assert record.is_dead("h") in (True, False)


@given(documents(KEY_FILE))
@example(DEEP)
@settings(max_examples=100)
def test_key_files(content: bytes) -> None:
    key = answers(lambda: open_key_file(content, "a wrong password", "keys/ab"))
    assert key is None
    name = f"keys/{hashlib.sha256(content).hexdigest()}"
    EMPTY.storage.save(name, content)
    keys = stored_keys(EMPTY)
    EMPTY.storage.delete(name)
    assert len(keys) == 2
    for one in keys:
        assert f"{one.username} {one.hostname}".encode()


@given(documents(MASTER_KEY))
@example(DEEP)
@settings(max_examples=200)
def test_master_keys(content: bytes) -> None:
    key = answers(lambda: decode_master_key(content, "master_key"))
    assert key is None or decode_master_key(encode_master_key(key), "") == key


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(max_examples=200)
def test_headers_that_nobody_sealed(content: bytes, size: int) -> None:
    assert answers(lambda: decode_header(CODEC, content, size, "pack")) is None


HEADER = encode_header([PackEntry(BlobType.DATA, b"i" * 32, 0, 100, None),
                        PackEntry(BlobType.TREE, b"j" * 32, 100, 50, 9)])  # fmt: skip


@given(st.binary(max_size=200) | st.builds(_cut, st.just(HEADER), st.integers(0, 80), st.binary()))
@settings(max_examples=300)
def test_headers_that_were_sealed_wrongly(plain: bytes) -> None:
    sealed = bytes(CODEC.seal(plain))
    tail = sealed + len(sealed).to_bytes(4, "little")
    entries = answers(lambda: decode_header(CODEC, tail, len(tail) + 150, "pack"))
    assert entries is None or encode_header(entries) == plain


@given(st.binary(max_size=200), st.none() | st.integers(0, 1 << 40))
@settings(max_examples=200)
def test_blobs_that_nobody_sealed(content: bytes, plain_length: int | None) -> None:
    assert answers(lambda: CODEC.decode(bytes(32), content, plain_length)) is None


@given(st.binary(max_size=200), st.integers(0, 1 << 40))
@settings(max_examples=200)
def test_blobs_that_are_no_frames(plain: bytes, plain_length: int) -> None:
    sealed = Sealer(KEY).seal(plain)
    assert answers(lambda: CODEC.decode(bytes(32), sealed, plain_length)) is None
