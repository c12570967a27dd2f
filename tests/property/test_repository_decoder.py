"""Decoders are total: whatever bytes they meet, they answer or raise IntegrityError, which names
the file in a few printable words.

An attacker with a key, a defect of another tool or of a disk must never become a crash, a wrong
answer or an endless loop.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from strongroom.errors import IntegrityError, StorageError, StrongroomError
from strongroom.repository import Node, Repository, Snapshot, SnapshotView
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
from strongroom.repository.pack import (
    BlobCodec,
    BlobType,
    PackEntry,
    decode_header,
    encode_header,
    finish_pack,
)
from strongroom.repository.repository import pack_name, read_pack_header
from strongroom.repository.snapshot import decode_snapshot
from strongroom.repository.storage import MemoryStorage
from strongroom.repository.tree import decode_former, decode_tree, encode_tree
from tests.support.repository_ground import PASSWORD, key_file, new_repository, seal

T = TypeVar("T")

MASTER = (b"e" * 32, b"k" * 16, b"r" * 16)
KEY = MasterKey(*MASTER)
CODEC = BlobCodec(KEY)
PACK = "ab" * 32

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)  # halves of characters, too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
    | st.sampled_from(["ab" * 32, "2026-11-23T10:00:00Z", "file", "dir", "..", "data", "scrypt",
                       "a" * 5000, "\\UFFFFFFFF", "\\ud800", "\\", "9999-12-31T23:59:59-99:99"])
    | st.sampled_from([1 << 31, 1 << 32, (1 << 32) - 1, 1 << 63, 1 << 64, -1, 10**400, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
DEEP = b"[" * 100_000
HUGE = b'{"packs":' + b"9" * 5000 + b"}"


def documents(*samples: bytes) -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, arbitrary JSON, and real documents that something was done to."""
    sample, draw = st.sampled_from(samples), st.randoms(use_true_random=False)
    return (
        st.binary(max_size=200)
        | JSON.map(lambda value: json.dumps(value).encode())
        | st.builds(_altered, sample, draw, JSON)
        | st.builds(_said_twice, sample, draw, JSON)
        | st.builds(_nested, sample, draw, st.sampled_from([3, 900, 5000]))
        | mangled(sample)
    )


def mangled(sample: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes of which some were flipped, taken out, put in, repeated, or lost at the end."""
    place, length = st.integers(0, 500), st.integers(0, 9)
    return (
        st.builds(lambda one, at, new: one[:at] + new + one[at + 1 :], sample, place, st.binary())
        | st.builds(lambda one, at, n: one[:at] + one[at + n :], sample, place, length)
        | st.builds(lambda one, at, n: one[: at + n] + one[at:], sample, place, length)
        | st.builds(lambda one, at: one[:at], sample, place)
    )


def _places(document: Any) -> list[tuple[Any, Any]]:  # Any: JSON containers and their keys
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        inner = one.items() if isinstance(one, dict) else enumerate(one)
        for key, below in inner:
            places.append((one, key))
            if isinstance(below, dict | list):
                waiting.append(below)
    return places


def _altered(sample: bytes, draw: random.Random, value: object) -> bytes:
    """One value is replaced, left out, or there twice."""
    document = json.loads(sample)
    container, key = draw.choice(_places(document))
    match draw.randrange(3):
        case 0:
            container[key] = value
        case 1:
            del container[key]
        case _ if isinstance(container, list):
            container.append(container[key])
        case _:
            container[str(value)] = container[key]
    return json.dumps(document).encode()


def _said_twice(sample: bytes, draw: random.Random, value: object) -> bytes:
    """One field of an object stands there twice, with different values."""
    text = sample.decode()
    fields = [key for one, key in _places(json.loads(sample)) if isinstance(one, dict)]
    at = draw.choice([place for place, one in enumerate(text) if one == "{"]) + 1
    said = f"{json.dumps(draw.choice(fields))}:{json.dumps(value)}"
    return f"{text[:at]}{said},{text[at:]}".encode()


def _nested(sample: bytes, draw: random.Random, depth: int) -> bytes:
    """One value lies within many lists."""
    document = json.loads(sample)
    container, key = draw.choice(_places(document))
    container[key] = "here"
    text = json.dumps(document)
    return text.replace('"here"', "[" * depth + "]" * depth).encode()


def answers(decode: Callable[[], T], name: str) -> T | None:
    """What a decoder says; an IntegrityError that names the file counts, and nothing else does."""
    told: IntegrityError
    try:
        return decode()
    except IntegrityError as error:
        told = error
    assert name in told.subject
    assert told.message.isprintable()
    assert len(told.message) < 300
    return None


ENTRIES = [
    PackEntry(BlobType.DATA, b"i" * 32, 0, 100, None),
    PackEntry(BlobType.TREE, b"j" * 32, 100, 77, 900),
]
INDEX = encode_index([(PACK, ENTRIES)])
SNAPSHOT = json.dumps({"time": "2026-11-23T10:00:00Z", "tree": "ab" * 32, "paths": ["/srv"],
                       "tags": ["a"], "hostname": "h", "username": "u", "parent": "cd" * 32,
                       "summary": {"total_bytes_processed": 7}}).encode()  # fmt: skip
TREE = encode_tree(
    (node.name, node.encode())
    for node in (
        Node(b"a", "file", 0o100644, content=(b"c" * 32,), size=7, links=2, inode=3, device_id=4),
        Node(b"b", "dir", 0o40755, subtree="ef" * 32, user="u", group="g"),
        Node(b"c\xff", "symlink", 0o120777, linktarget=b"\xff"),
        Node(b"d", "chardev", 0o20600, device=7, xattrs={b"user.a": b"1"}),
    )
)
LOCK = json.dumps({"time": "2026-11-23T10:00:00Z", "exclusive": True, "hostname": "h", "pid": 1,
                   "username": "u"}).encode()  # fmt: skip
MASTER_KEY = encode_master_key(KEY).encode()
EMPTY = new_repository()
KEY_FILE = key_file(MASTER)
SEALED_KEY = json.dumps({"mac": {"k": "a2tra2tra2tra2tra2traw==", "r": "cnJycnJycnJycnJycnJycg=="},
                         "encrypt": "ZWVl" * 10 + "ZWU="}).encode()  # fmt: skip
CONFIG = json.dumps({"version": 2, "id": "ab" * 32, "chunker_polynomial": "3da3358b4dc173"})


def check_text(text: str) -> None:
    """It can be printed and written, half a character never gets this far."""
    text.encode()


@given(documents(INDEX))
@example(DEEP)
@example(HUGE)
@settings(max_examples=400)
def test_index_files(content: bytes) -> None:
    packs = answers(lambda: decode_index(content, "index/ab"), "index/ab")
    for pack, entries in packs or ():
        assert len(pack) == 64
        assert all(0 <= one.offset < one.offset + one.length < 1 << 32 for one in entries)
        assert all(len(one.id) == 32 and one.size_bytes >= 0 for one in entries)


@given(documents(SNAPSHOT))
@example(DEEP)
@example(SNAPSHOT.replace(b'"h"', b'"\\ud800"'))
@example(SNAPSHOT.replace(b": 7}", b": " + b"9" * 400 + b"}"))
@example(SNAPSHOT.replace(b": 7}", b": NaN}"))
@settings(max_examples=400)
def test_snapshot_files(content: bytes) -> None:
    snapshot = answers(lambda: decode_snapshot(content, "ab" * 32), "ab" * 32)
    if snapshot is not None:
        assert len(bytes.fromhex(snapshot.tree)) == 32
        assert snapshot.time.utcoffset() is not None
        assert snapshot.size_bytes is None or 0 <= snapshot.size_bytes < 1 << 63
        for one in (snapshot.hostname, snapshot.username, *snapshot.paths, *snapshot.tags):
            check_text(one)


@given(documents(TREE))
@example(DEEP)
@example(TREE.replace(b'"name":"a"', b'"name":"\\\\UFFFFFFFF"'))
@example(TREE.replace(b'"name":"a"', b'"name":"\\\\"'))
@settings(max_examples=500)
def test_trees(content: bytes) -> None:
    nodes = answers(lambda: decode_tree(content, "tree ab"), "tree ab")
    names = [node.name for node in nodes or ()]
    assert names == sorted(set(names))
    for node in nodes or ():
        assert node.name not in (b"", b".", b"..")
        assert not set(node.name) & set(b"/\0")
        check_text(node.user + node.group)
        again = encode_tree([(node.name, node.encode())])
        assert decode_tree(again, "again")[0].name == node.name
    for name, former in decode_former(content).items():
        assert isinstance(name, bytes)
        former.unchanged_content(os.stat("/"))
        assert former.subtree is None or isinstance(former.subtree, str)


@given(documents(LOCK))
@example(DEEP)
@example(LOCK.replace(b'"h"', b'"\\ud800"'))
@settings(max_examples=300)
def test_lock_files(content: bytes) -> None:
    record = decode_record("locks/ab", content)
    assert isinstance(record, LockRecord)
    assert record.is_dead("h") in (True, False)
    check_text(record.hostname + record.username)


@given(documents(KEY_FILE))
@example(DEEP)
@example(key_file(MASTER, N=1 << 16, r=1))  # one that Go knows and OpenSSL does not
@example(key_file(MASTER, N=1 << 63))
@example(key_file(MASTER, N=1 << 20, r=8, p=64))
@example(key_file(MASTER, N=2, r=1 << 24, p=1))
@example(key_file(MASTER, N=2, r=1, p=1 << 29))
@example(key_file(MASTER, N=-2, r=-8, p=-1))
@settings(max_examples=150)
def test_key_files(content: bytes) -> None:
    key = answers(lambda: open_key_file(content, "a wrong password", "keys/ab"), "keys/ab")
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
    key = answers(lambda: decode_master_key(content, "master_key"), "master_key")
    assert key is None or decode_master_key(encode_master_key(key), "") == key


@given(documents(SEALED_KEY))
@settings(max_examples=150)
def test_what_a_key_file_seals(inner: bytes) -> None:
    fields = json.loads(KEY_FILE)
    salt = base64.b64decode(fields["salt"])
    material = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=1024, r=8, p=1, dklen=64)
    sealed = seal((material[:32], material[32:48], material[48:]), inner)
    fields["data"] = base64.b64encode(sealed).decode()
    content = json.dumps(fields).encode()
    key = answers(lambda: open_key_file(content, PASSWORD, "keys/ab"), "keys/ab")
    assert key is None or (len(key.encrypt), len(key.mac_k), len(key.mac_r)) == (32, 16, 16)


# Files as a store has them


def stored(**files: bytes) -> MemoryStorage:
    """A store with a key that opens, a config, and more; `index=b"..."` is sealed and named."""
    storage = MemoryStorage()
    storage.save(f"keys/{hashlib.sha256(KEY_FILE).hexdigest()}", KEY_FILE)
    storage.save("config", seal(MASTER, CONFIG.encode()))
    for folder, content in files.items():
        put(storage, folder, seal(MASTER, content))
    return storage


def put(storage: MemoryStorage, folder: str, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    name = pack_name(name) if folder == "data" else f"{folder}/{name}"
    storage.save(name, content)
    return name


def repository_at(storage: MemoryStorage) -> Repository:
    return Repository(storage, KEY, "ab" * 32, "store")


@given(documents(CONFIG.encode()))
@example(DEEP)
@settings(max_examples=150)
def test_configs(content: bytes) -> None:
    storage = stored()
    storage.save("config", seal(MASTER, content))
    opened, told = None, ""
    try:
        opened = answers(lambda: Repository.open(storage, PASSWORD, name="store"), "config")
    except StorageError as error:
        told = error.message
    assert "has format version" in told or not told
    if opened is not None:
        check_text(opened.id)


@given(mangled(st.just(seal(MASTER, CONFIG.encode()))))
@settings(max_examples=50)
def test_configs_that_nobody_sealed(content: bytes) -> None:
    storage = stored()
    whole = storage.load("config")
    storage.save("config", content)
    opened = answers(lambda: Repository.open(storage, PASSWORD, name="store"), "config")
    assert opened is None or len(content) == len(whole)


FRAME = b"\x02" + zstandard.ZstdCompressor().compress(INDEX)
LONG_FRAME = b"\x02" + zstandard.ZstdCompressor(write_content_size=False).compress(INDEX)


@given(st.binary(max_size=200) | mangled(st.sampled_from([FRAME, LONG_FRAME, INDEX])))
@settings(max_examples=300)
def test_what_is_sealed_in_a_file(plain: bytes) -> None:
    storage = MemoryStorage()
    name = put(storage, "index", seal(MASTER, plain))
    content = answers(lambda: repository_at(storage).load_file(name), name)
    assert content is None or plain in (content, FRAME, LONG_FRAME) or plain[:1] == b"\x02"


@given(st.binary(max_size=100) | mangled(st.just(seal(MASTER, INDEX))), st.booleans())
@settings(max_examples=100)
def test_files_that_nobody_sealed(content: bytes, named_so: bool) -> None:
    """They are findings that name them, a lock that is one is not gone past, nothing else stops."""
    storage = stored(index=INDEX, snapshots=SNAPSHOT)
    for folder in ("index", "snapshots", "locks"):
        name = put(storage, folder, content)
        if not named_so:
            storage.delete(name)
            storage.save(f"{folder}/{'0' * 64}", content)
    repository = repository_at(storage)
    listed = repository.snapshots()
    assert len(listed.snapshots) >= 1
    found = [*listed.findings, *repository.index_findings]
    assert all(one.subject.startswith(("store: snapshots/", "store: index/")) for one in found)
    assert repository.index.has(BlobType.DATA, b"i" * 32)
    assert len(repository.unlock(everything=True)) == (1 if content else 0)


# Packs and blobs


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(max_examples=200)
def test_headers_that_nobody_sealed(content: bytes, size: int) -> None:
    assert answers(lambda: decode_header(CODEC, content, size, "pack"), "pack") is None


HEADER = encode_header([PackEntry(BlobType.DATA, b"i" * 32, 0, 100, None),
                        PackEntry(BlobType.TREE, b"j" * 32, 100, 50, 9)])  # fmt: skip


@given(st.binary(max_size=200) | mangled(st.just(HEADER)), st.sampled_from([150, 0, 1 << 33]))
@settings(max_examples=300)
def test_headers_that_were_sealed_wrongly(plain: bytes, content_bytes: int) -> None:
    sealed = bytes(CODEC.seal(plain))
    tail = sealed + len(sealed).to_bytes(4, "little")
    size = len(tail) + content_bytes
    entries = answers(lambda: decode_header(CODEC, tail, size, "pack"), "pack")
    assert entries is None or encode_header(entries) == plain
    assert all(one.length >= 32 and one.size_bytes >= 0 for one in entries or ())


@given(mangled(st.just(HEADER)) | st.just(HEADER), st.binary(max_size=150))
@settings(max_examples=150)
def test_packs_that_no_index_names(header: bytes, blobs: bytes) -> None:
    """Their headers are read when a blob is sought, and their blobs are what they say or damage."""
    storage = stored()
    sealed = bytes(CODEC.seal(header))
    name = put(storage, "data", blobs + sealed + len(sealed).to_bytes(4, "little"))
    repository = repository_at(storage)
    answers(lambda: read_pack_header(repository, name[-64:], storage.size(name)), name)
    assert answers(lambda: repository.read_blob(BlobType.DATA, b"i" * 32), "") is None
    assert answers(lambda: repository.read_blob(BlobType.TREE, b"j" * 32), "") is None


PLAIN = b"the content of a blob, of which there is some"
BLOB = bytes(CODEC.seal(zstandard.ZstdCompressor().compress(PLAIN)))
NUMBER = st.integers(-2, len(BLOB) + 40) | st.integers() | st.just(len(PLAIN)) | st.just(len(BLOB))


@given(NUMBER | st.just(0), NUMBER, st.none() | NUMBER, st.sampled_from(["data", "tree"]))
@example(0, len(BLOB), len(PLAIN), "data")
@example(0, (1 << 32) - 9, 7, "data")
@settings(max_examples=300)
def test_an_index_that_says_anything_of_a_blob(
    offset: int, length: int, plain_length: int | None, kind: str
) -> None:
    entry = PackEntry(BlobType.DATA, hashlib.sha256(PLAIN).digest(), 0, len(BLOB), len(PLAIN))
    storage = stored()
    name = put(storage, "data", BLOB + finish_pack(CODEC, [entry]))
    blob = {"id": entry.id.hex(), "type": kind, "offset": offset, "length": length}
    blob |= {} if plain_length is None else {"uncompressed_length": plain_length}
    put(storage, "index", seal(MASTER, json.dumps(
        {"packs": [{"id": name[-64:], "blobs": [blob]}]}).encode()))  # fmt: skip
    repository = repository_at(storage)
    content = answers(lambda: repository.read_blob(BlobType(kind), entry.id), "")
    assert content in (PLAIN, None)
    if repository.index_findings and kind == "data":
        assert content == PLAIN  # a useless index: the pack's own header is asked


@given(st.binary(max_size=200), st.none() | st.integers(0, 1 << 40))
@settings(max_examples=200)
def test_blobs_that_nobody_sealed(content: bytes, plain_length: int | None) -> None:
    assert answers(lambda: CODEC.decode(bytes(32), content, plain_length), "") is None


@given(st.binary(max_size=200), st.integers(0, 1 << 40))
@settings(max_examples=200)
def test_blobs_that_are_no_frames(plain: bytes, plain_length: int) -> None:
    sealed = Sealer(KEY).seal(plain)
    assert answers(lambda: CODEC.decode(bytes(32), sealed, plain_length), "") is None


# What is decoded can be used

EMPTY_TREE = encode_tree([])
KNOWN_TREE = encode_tree(
    (node.name, node.encode())
    for node in (
        Node(b"a", "file", 0o100644, content=(hashlib.sha256(PLAIN).digest(),), size=len(PLAIN)),
        Node(b"b", "dir", 0o40755, uid=1, subtree=hashlib.sha256(EMPTY_TREE).hexdigest()),
        Node(b"c\xff", "symlink", 0o120777, linktarget=b"\xff", links=2, inode=7),
        Node(b"d", "chardev", 0o20600, device=7, xattrs={b"user.a": b"1"}),
        Node(b"e", "fifo", 0o10600, mtime_ns=1),
    )
)


@given(documents(KNOWN_TREE))
@example(KNOWN_TREE)
@example(KNOWN_TREE.replace(b'"uid":1', b'"uid":18446744073709551615'))
@example(KNOWN_TREE.replace(b'"device":7', b'"device":18446744073709551615'))
@example(KNOWN_TREE.replace(b'"name":"a"', b'"name":"' + b"a" * 300 + b'"'))
@example(KNOWN_TREE.replace(b"1970-01-01", b"9999-12-31"))
@settings(max_examples=150)
def test_a_tree_that_anybody_wrote_is_restored_or_refused(content: bytes) -> None:
    storage = stored()
    for blob_type, blob in ((BlobType.TREE, content), (BlobType.TREE, EMPTY_TREE),
                            (BlobType.DATA, PLAIN)):  # fmt: skip
        sealed = bytes(CODEC.seal(blob))
        entry = PackEntry(blob_type, hashlib.sha256(blob).digest(), 0, len(sealed), None)
        put(storage, "data", sealed + finish_pack(CODEC, [entry]))
    tree = hashlib.sha256(content).hexdigest()
    view = SnapshotView(
        repository_at(storage), Snapshot("ab" * 32, datetime.now(UTC), tree, ("/",))
    )
    with tempfile.TemporaryDirectory() as place:
        files = 0
        with contextlib.suppress(StrongroomError):
            files = view.restore(b"/", Path(place, "target")).files
        assert os.listdir(place) in ([], ["target"])
        assert files == 4 or content != KNOWN_TREE
