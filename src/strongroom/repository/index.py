"""Which blob lies where: the index files, and the merged index in memory.

Facts: REPOSITORY_FORMAT 1.8 (docs/FORMAT.md, "Index"). All blobs of a pack stand in one index
file; a pack that is listed twice with the same content is harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from strongroom.errors import IntegrityError
from strongroom.repository.pack import BlobType, PackEntry, checked_id

MAX_BLOBS_PER_FILE: Final = 50_000
_LIMIT: Final = 1 << 32  # of every place and length in a pack


class Location(NamedTuple):
    """Where a blob lies: the pack's id (hex), and the blob's place and lengths in it."""

    pack: str
    entry: PackEntry


class BlobIndex:
    """The merged index of a repository. Adding and asking are safe from several threads."""

    def __init__(self) -> None:
        self._packs: dict[str, tuple[PackEntry, ...]] = {}
        self._data: dict[bytes, Location] = {}
        self._trees: dict[bytes, Location] = {}
        self._copies: dict[tuple[BlobType, bytes], list[Location]] = {}

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        return blob_id in (self._data if blob_type is BlobType.DATA else self._trees)

    def has_all_data(self, blob_ids: Iterable[bytes]) -> bool:
        return all(map(self._data.__contains__, blob_ids))

    def find(self, blob_type: BlobType, blob_id: bytes) -> Location:
        """Where a blob lies; IntegrityError `index-damaged` when no index knows it."""
        found = (self._data if blob_type is BlobType.DATA else self._trees).get(blob_id)
        if found is None:
            raise IntegrityError(
                f"no index names this {blob_type} blob", subject=blob_id.hex(), code="index-damaged"
            )
        return found

    def copies(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Where else a blob lies than `find` says."""
        return self._copies.get((blob_type, blob_id), [])

    def add_pack(self, pack: str, entries: Iterable[PackEntry]) -> None:
        """Make a pack's blobs known; the first location of a blob stays the one that is found."""
        kept = tuple(entries)
        self._packs[pack] = kept
        for entry in kept:
            blobs = self._data if entry.type is BlobType.DATA else self._trees
            location = Location(pack, entry)
            if blobs.setdefault(entry.id, location).pack != pack:
                self._copies.setdefault((entry.type, entry.id), []).append(location)

    def packs(self) -> Iterator[tuple[str, tuple[PackEntry, ...]]]:
        return iter(self._packs.items())

    def entries(self, pack: str) -> tuple[PackEntry, ...] | None:
        return self._packs.get(pack)

    def __len__(self) -> int:
        return len(self._data) + len(self._trees)


def encode_index(packs: Iterable[tuple[str, Iterable[PackEntry]]]) -> bytes:
    """The JSON of one index file; written by hand, for there may be a million blobs."""
    listed = [
        f'{{"id":"{pack}","blobs":[{",".join(map(_encode_entry, entries))}]}}'
        for pack, entries in packs
    ]
    return f'{{"packs":[{",".join(listed)}]}}'.encode()


def _encode_entry(entry: PackEntry) -> str:
    blob_type, blob_id, offset, length, plain = entry
    plainly = "" if plain is None else f',"uncompressed_length":{plain}'
    return (
        f'{{"id":"{blob_id.hex()}","type":"{blob_type.value}",'
        f'"offset":{offset},"length":{length}{plainly}}}'
    )


def decode_index(content: bytes, subject: str) -> list[tuple[str, list[PackEntry]]]:
    """The packs that an index file lists; IntegrityError when it is not one."""
    types = {"data": BlobType.DATA, "tree": BlobType.TREE}
    try:
        listed = json.loads(content)["packs"]
        packs = []
        for pack in listed:
            entries = []
            for blob in pack["blobs"]:
                blob_id = bytes.fromhex(blob["id"])
                offset, length = blob["offset"], blob["length"]
                plain = blob.get("uncompressed_length") or None
                if len(blob_id) != 32 or {type(offset), type(length), type(plain or 0)} != {int}:
                    raise ValueError("a blob entry has fields of the wrong kind")
                end = offset + length
                if not (
                    offset >= 0 and length >= 32 and end < _LIMIT and 0 <= (plain or 0) < _LIMIT
                ):
                    raise ValueError("a blob entry lies outside of any pack")
                entries.append(PackEntry(types[blob["type"]], blob_id, offset, length, plain))
            packs.append((checked_id(pack["id"]), entries))
        return packs
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"not an index: {error}", subject=subject, code="index-damaged"
        ) from error
