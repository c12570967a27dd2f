"""Blobs and pack files: how content becomes sealed bytes, and how it comes back.

Facts: REPOSITORY_FORMAT 1.5 and 1.6 (docs/FORMAT.md, "Packs"). A blob's identity is the SHA-256
of its plaintext; it is stored as one zstd frame, or raw where that is no smaller, sealed. A pack
is sealed blobs without gaps, then the sealed header, then the header's length.

Invariant: a blob leaves `BlobCodec.encode` only after what was sealed has been opened,
decompressed and hashed again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import zstandard

from strongroom.errors import IntegrityError
from strongroom.repository.crypto import OVERHEAD_BYTES, MasterKey, Sealer
from strongroom.repository.storage.protocol import Buffer

# No tool writes larger blobs; a reader that believes a forged length would allocate it.
MAX_BLOB_BYTES: Final = 1 << 30
# Every place and length in a pack is below this: they are stored in 32 bits.
PLACE_LIMIT: Final = (1 << 32) - 1
_MAX_HEADER_BYTES: Final = 16 << 20
_LENGTH: Final = struct.Struct("<I")
_RAW_ENTRY: Final = struct.Struct("<BI32s")
_ZSTD_ENTRY: Final = struct.Struct("<BII32s")


class BlobType(StrEnum):
    """What a blob holds; the same id can exist as both."""

    DATA = "data"
    TREE = "tree"


class PackEntry(NamedTuple):
    """One blob in a pack: `length` is sealed, `plain_length` None when it is stored raw."""

    type: BlobType
    id: bytes
    offset: int
    length: int
    plain_length: int | None

    @property
    def size_bytes(self) -> int:
        """The plaintext's length."""
        if self.plain_length is None:
            return self.length - OVERHEAD_BYTES
        return self.plain_length


@dataclass(frozen=True, slots=True)
class EncodedBlob:
    """A sealed, verified blob, ready to be put into a pack."""

    id: bytes
    sealed: bytearray
    plain_length: int | None


class BlobCodec:
    """Turns plaintext into sealed blobs and back; holds contexts, so one per thread."""

    def __init__(self, key: MasterKey) -> None:
        self._sealer = Sealer(key)
        self._decompressor = zstandard.ZstdDecompressor()

    def encode(
        self, blob_id: bytes, plaintext: Buffer, compressed: bytes, *, keep_raw: bool = True
    ) -> EncodedBlob:
        """The sealed blob; IntegrityError `verification-failed` when it does not read back.

        `keep_raw` stores it uncompressed where compression gains nothing; trees are always
        compressed, because stock `prune` repacks those that are not.
        """
        raw = keep_raw and len(compressed) >= len(plaintext)
        sealed = self._sealer.seal(plaintext if raw else compressed)
        plain_length = None if raw else len(plaintext)
        self.verify(blob_id, sealed, plain_length)
        return EncodedBlob(blob_id, sealed, plain_length)

    def verify(self, blob_id: bytes, sealed: Buffer, plain_length: int | None) -> None:
        """Read a blob back that was just sealed; IntegrityError `verification-failed`."""
        try:
            self.decode(blob_id, sealed, plain_length)
        except IntegrityError as error:
            raise IntegrityError(
                f"a blob did not read back as it was sealed ({error.message})",
                subject=blob_id.hex(),
                code="verification-failed",
            ) from error

    def decode(self, blob_id: bytes, sealed: Buffer, plain_length: int | None) -> bytes:
        """The verified plaintext of a blob; IntegrityError when its bytes are not its name's."""
        return self.plain(blob_id, self._sealer.open(sealed, "blob"), plain_length)

    def plain(self, blob_id: bytes, content: bytes, plain_length: int | None) -> bytes:
        """The verified plaintext of what a seal held; IntegrityError when it is not its name's."""
        if plain_length is not None:
            content = self._decompress(content, plain_length)
        if hashlib.sha256(content).digest() != blob_id:
            raise IntegrityError("the content does not match its name", subject=blob_id.hex())
        return content

    def seal(self, plaintext: Buffer) -> bytearray:
        return self._sealer.seal(plaintext)

    def seal_into(self, target: memoryview, plaintext: Buffer) -> None:
        """Fill `target`, which is OVERHEAD_BYTES longer than `plaintext`, with its container."""
        self._sealer.seal_into(target, plaintext)

    def open(self, sealed: Buffer, subject: str) -> bytes:
        return self._sealer.open(sealed, subject)

    def _decompress(self, frame: bytes, plain_length: int) -> bytes:
        if plain_length > MAX_BLOB_BYTES:
            raise IntegrityError(f"a blob of {plain_length} bytes is not plausible")
        return decompress(self._decompressor, frame, plain_length)


def decompress(
    decompressor: zstandard.ZstdDecompressor, frame: bytes, limit_bytes: int, subject: str = ""
) -> bytes:
    """One zstd frame's content of at most `limit_bytes`; a bomb is refused unopened."""
    try:
        declared = zstandard.frame_content_size(frame)
        if declared > limit_bytes:
            raise IntegrityError(
                f"it would unfold to {declared} bytes, {limit_bytes} are possible", subject=subject
            )
        return decompressor.decompress(frame, max_output_size=max(1, limit_bytes))
    except zstandard.ZstdError as error:
        raise IntegrityError(f"decompression failed: {error}", subject=subject) from error


def encode_header(entries: list[PackEntry]) -> bytes:
    """The plaintext header of a pack with these blobs, in their order."""
    parts = []
    for entry in entries:
        kind = 0 if entry.type is BlobType.DATA else 1
        if entry.plain_length is None:
            parts.append(_RAW_ENTRY.pack(kind, entry.length, entry.id))
        else:
            parts.append(_ZSTD_ENTRY.pack(kind + 2, entry.length, entry.plain_length, entry.id))
    return b"".join(parts)


def header_bytes(count: int) -> int:
    """An upper bound of the sealed header and its length field for `count` blobs."""
    return count * _ZSTD_ENTRY.size + OVERHEAD_BYTES + _LENGTH.size


def whole_pack_bytes(entries: Sequence[PackEntry]) -> int:
    """The size of the pack that holds exactly these blobs."""
    raw = sum(entry.plain_length is None for entry in entries)
    return pack_bytes(len(entries), raw, sum(entry.length for entry in entries))


def pack_bytes(count: int, raw: int, sealed_bytes: int) -> int:
    """The size of a pack of `count` blobs, `raw` of them not compressed, that are `sealed_bytes`
    together."""
    header = raw * _RAW_ENTRY.size + (count - raw) * _ZSTD_ENTRY.size
    return sealed_bytes + header + OVERHEAD_BYTES + _LENGTH.size


def finish_pack(codec: BlobCodec, entries: list[PackEntry]) -> bytes:
    """What follows the blobs in a pack file: the sealed header and its length."""
    sealed = codec.seal(encode_header(entries))
    return bytes(sealed) + _LENGTH.pack(len(sealed))


def decode_header(codec: BlobCodec, tail: Buffer, pack_bytes: int, subject: str) -> list[PackEntry]:
    """The blobs that a pack's header lists.

    `tail` holds at least the sealed header and its length field; `pack_bytes` is the whole
    pack's size. IntegrityError `pack-damaged` when the header is not one or leaves gaps.
    """
    sealed = header_of(tail, pack_bytes, subject)
    try:
        plain = codec.open(sealed, subject)
    except IntegrityError as error:
        raise _damaged(subject, f"header: {error.message}") from error
    entries: list[PackEntry] = []
    offset = position = 0
    while position < len(plain):
        kind = plain[position]
        layout = _RAW_ENTRY if kind in (0, 1) else _ZSTD_ENTRY
        if kind > 3 or position + layout.size > len(plain):
            raise _damaged(subject, "the header has an entry of unknown shape")
        fields = layout.unpack_from(plain, position)
        plain_length = fields[2] if kind >= 2 else None
        if fields[1] < OVERHEAD_BYTES or max(offset + fields[1], plain_length or 0) >= PLACE_LIMIT:
            raise _damaged(subject, "the header has an entry of impossible size")
        blob_type = BlobType.TREE if kind % 2 else BlobType.DATA
        entries.append(PackEntry(blob_type, fields[-1], offset, fields[1], plain_length))
        offset += fields[1]
        position += layout.size
    if offset + len(sealed) + _LENGTH.size != pack_bytes:
        raise _damaged(subject, "the header's blobs do not fill the pack")
    return entries


def header_of(tail: Buffer, pack_bytes: int, subject: str) -> memoryview:
    """The sealed header in the end of a pack file."""
    view = memoryview(tail)
    if len(view) < _LENGTH.size + OVERHEAD_BYTES:
        raise _damaged(subject, "too short to be a pack")
    (length,) = _LENGTH.unpack(view[-_LENGTH.size :])
    if not OVERHEAD_BYTES < length <= min(_MAX_HEADER_BYTES, pack_bytes - _LENGTH.size):
        raise _damaged(subject, "its last bytes are not a header's length")
    if length + _LENGTH.size > len(view):
        raise _damaged(subject, "the header lies outside of what was read")
    return view[-_LENGTH.size - length : -_LENGTH.size]


def _damaged(subject: str, reason: str) -> IntegrityError:
    return IntegrityError(reason, subject=subject, code="pack-damaged")
