"""Blobs, pack headers and index files: their bytes, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
import zstandard

from strongroom.errors import IntegrityError
from strongroom.repository.crypto import MasterKey, Sealer
from strongroom.repository.index import BlobIndex, decode_index, encode_index
from strongroom.repository.pack import (
    BlobCodec,
    BlobType,
    PackEntry,
    decode_header,
    encode_header,
    finish_pack,
)

KEY = MasterKey(bytes(range(32)), bytes(range(16)), bytes(range(16)))
IDS = [bytes([number]) * 32 for number in range(1, 5)]
ENTRIES = [
    PackEntry(BlobType.DATA, IDS[0], 0, 100, None),
    PackEntry(BlobType.TREE, IDS[1], 100, 50, None),
    PackEntry(BlobType.DATA, IDS[2], 150, 0x01020304, 0x0A0B0C0D),
    PackEntry(BlobType.TREE, IDS[3], 150 + 0x01020304, 64, 1000),
]


def codec() -> BlobCodec:
    return BlobCodec(KEY)


def packed(entries: list[PackEntry]) -> tuple[bytes, int]:
    """The end of a pack with these blobs, and the whole pack's size."""
    tail = finish_pack(codec(), entries)
    return tail, sum(one.length for one in entries) + len(tail)


def test_a_header_has_the_bytes_of_the_design_document() -> None:
    assert encode_header(ENTRIES).hex() == (
        "00" + "64000000" + IDS[0].hex()
        + "01" + "32000000" + IDS[1].hex()
        + "02" + "04030201" + "0d0c0b0a" + IDS[2].hex()
        + "03" + "40000000" + "e8030000" + IDS[3].hex()
    )  # fmt: skip


def test_a_pack_ends_with_its_sealed_header_and_the_length() -> None:
    tail, _ = packed(ENTRIES)
    length = int.from_bytes(tail[-4:], "little")
    assert length == len(tail) - 4 == 2 * 37 + 2 * 41 + 32
    assert Sealer(KEY).open(tail[:-4]) == encode_header(ENTRIES)


def test_a_header_comes_back_in_order_with_offsets() -> None:
    tail, size = packed(ENTRIES)
    assert decode_header(codec(), tail, size, "pack") == ENTRIES
    assert decode_header(codec(), b"blobs before" + tail, size, "pack") == ENTRIES


@pytest.mark.parametrize("wrong_by", [-1, 1, 7, 1000])
def test_gaps_and_padding_are_refused(wrong_by: int) -> None:
    tail, size = packed(ENTRIES)
    with pytest.raises(IntegrityError, match="do not fill the pack") as raised:
        decode_header(codec(), tail, size + wrong_by, "pack")
    assert raised.value.code == "pack-damaged"


def header(plain: bytes) -> tuple[bytes, int]:
    sealed = bytes(codec().seal(plain))
    tail = sealed + len(sealed).to_bytes(4, "little")
    return tail, len(tail)


@pytest.mark.parametrize("plain", [b"\x04" + bytes(40), b"\xff" + bytes(40), bytes(36),
                                   b"\0\x40" + bytes(36), b"\x02" + bytes(39)])  # fmt: skip
def test_entries_of_unknown_shape_are_refused(plain: bytes) -> None:
    tail, size = header(plain)
    with pytest.raises(IntegrityError, match="unknown shape"):
        decode_header(codec(), tail, size, "pack")


@pytest.mark.parametrize(
    "tail", [b"", bytes(4), bytes(40), b"\xff" * 40, bytes(36) + b"\x20\0\0\0"]
)
def test_what_is_no_header_is_refused(tail: bytes) -> None:
    with pytest.raises(IntegrityError) as raised:
        decode_header(codec(), tail, len(tail), "pack")
    assert raised.value.code == "pack-damaged"


# Blobs


def blob(plain: bytes) -> tuple[bytes, bytes]:
    return hashlib.sha256(plain).digest(), zstandard.ZstdCompressor().compress(plain)


def test_what_compresses_is_compressed_and_what_does_not_is_kept_raw() -> None:
    plain = b"strongroom " * 1000
    blob_id, compressed = blob(plain)
    small = codec().encode(blob_id, plain, compressed)
    assert small.plain_length == len(plain)
    assert len(small.sealed) == len(compressed) + 32
    assert zstandard.decompress(Sealer(KEY).open(small.sealed)) == plain
    noise = os.urandom(1000)
    raw = codec().encode(*_arguments(noise))
    assert raw.plain_length is None
    assert Sealer(KEY).open(raw.sealed) == noise


def _arguments(plain: bytes) -> tuple[bytes, bytes, bytes]:
    blob_id, compressed = blob(plain)
    return blob_id, plain, compressed


def test_trees_are_always_compressed() -> None:
    encoded = codec().encode(*_arguments(os.urandom(100)), keep_raw=False)
    assert encoded.plain_length == 100


def test_an_empty_blob_comes_back() -> None:
    encoded = codec().encode(*_arguments(b""), keep_raw=False)
    assert codec().decode(encoded.id, encoded.sealed, encoded.plain_length) == b""


def test_what_was_sealed_wrongly_never_leaves() -> None:
    """A fault of memory between hashing and sealing: the bytes are not those of the name."""
    blob_id, plain, compressed = _arguments(b"what the file holds" * 50)
    for given in (
        (blob_id, plain, blob(b"something else" * 50)[1]),
        (bytes(32), plain, compressed),
    ):
        with pytest.raises(IntegrityError) as raised:
            codec().encode(*given)
        assert raised.value.code == "verification-failed"


def test_a_bomb_is_not_unpacked() -> None:
    _, compressed = blob(bytes(100 << 20))
    sealed = codec().seal(compressed)
    with pytest.raises(IntegrityError, match="would unfold to 104857600 bytes, 1000 are possible"):
        codec().decode(bytes(32), sealed, 1000)
    with pytest.raises(IntegrityError, match="not plausible"):
        codec().decode(bytes(32), sealed, 1 << 31)


def test_frames_without_a_length_and_of_any_level_are_read() -> None:
    plain = b"abc" * 10_000
    for level in (1, 19):
        compressor = zstandard.ZstdCompressor(level=level, write_content_size=False)
        sealed = codec().seal(compressor.compress(plain))
        assert codec().decode(hashlib.sha256(plain).digest(), sealed, len(plain)) == plain


# Index


def test_an_index_file_has_the_fields_of_the_design_document() -> None:
    pack = "ab" * 32
    assert json.loads(encode_index([(pack, ENTRIES[1:3])])) == {
        "packs": [
            {
                "id": pack,
                "blobs": [
                    {"id": IDS[1].hex(), "type": "tree", "offset": 100, "length": 50},
                    {"id": IDS[2].hex(), "type": "data", "offset": 150, "length": 0x01020304,
                     "uncompressed_length": 0x0A0B0C0D},
                ],
            }
        ]
    }  # fmt: skip


def test_an_index_file_comes_back_with_fields_that_others_add() -> None:
    packs = [("ab" * 32, ENTRIES), ("cd" * 32, ENTRIES[:1])]
    content = json.loads(encode_index(packs))
    assert decode_index(json.dumps(content).encode(), "index") == packs
    content["supersedes"] = ["00" * 32]
    content["packs"][0]["time"] = "2026-01-01T00:00:00Z"
    assert decode_index(json.dumps(content).encode(), "index") == packs


def altered(path: str, value: object) -> bytes:
    content = json.loads(encode_index([("ab" * 32, ENTRIES)]))
    place = content
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("packs", None), ("packs", 7), ("packs", {"a": 1}), ("packs.0.id", "ab"),
        ("packs.0.id", "AB" * 32), ("packs.0.id", " " + "ab" * 32), ("packs.0.id", None),
        ("packs.0.blobs", None), ("packs.0.blobs.0.id", "zz"), ("packs.0.blobs.0.id", 7),
        ("packs.0.blobs.0.type", "file"), ("packs.0.blobs.0.type", []),
        ("packs.0.blobs.0.offset", -1), ("packs.0.blobs.0.offset", 1.5),
        ("packs.0.blobs.0.offset", True), ("packs.0.blobs.0.offset", 1 << 70),
        ("packs.0.blobs.0.length", 31), ("packs.0.blobs.0.length", 1 << 32),
        ("packs.0.blobs.2.uncompressed_length", -1), ("packs.0.blobs.2.uncompressed_length", "1"),
        ("packs.0.blobs.2.uncompressed_length", 1 << 40),
    ],
)  # fmt: skip
def test_an_index_with_impossible_values_is_damage(path: str, value: object) -> None:
    with pytest.raises(IntegrityError) as raised:
        decode_index(altered(path, value), "index/ab")
    assert raised.value.code == "index-damaged"
    assert raised.value.subject == "index/ab"


def test_the_merged_index_knows_every_copy() -> None:
    index = BlobIndex()
    one = PackEntry(BlobType.DATA, IDS[0], 0, 100, None)
    index.add_pack("aa" * 32, [one])
    index.add_pack("bb" * 32, [one._replace(offset=7)])
    index.add_pack("bb" * 32, [one._replace(type=BlobType.TREE)])
    assert index.find(BlobType.DATA, IDS[0]).pack == "aa" * 32
    assert [copy.pack for copy in index.copies(BlobType.DATA, IDS[0])] == ["bb" * 32]
    assert index.find(BlobType.TREE, IDS[0]).pack == "bb" * 32
    assert index.copies(BlobType.TREE, IDS[0]) == []
    assert index.has_all_data(IDS[:1])
    assert not index.has_all_data(IDS[:2])
    with pytest.raises(IntegrityError) as raised:
        index.find(BlobType.DATA, IDS[1])
    assert raised.value.code == "index-damaged"
