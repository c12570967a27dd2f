"""Which blob lies where: the index files, and the merged index in memory.

Facts: REPOSITORY_FORMAT 1.8 (docs/FORMAT.md, "Index"). All blobs of a pack stand in one index
file; a pack that is listed twice with the same content is harmless.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from strongroom.errors import IntegrityError
from strongroom.repository.document import MALFORMED, checked_id, parse_json, why
from strongroom.repository.pack import PLACE_LIMIT, BlobType, PackEntry, pack_bytes

MAX_BLOBS_PER_FILE: Final = 50_000
_RAW: Final = PLACE_LIMIT  # no length
_LEAST_SLOTS: Final = 1 << 10


class Location(NamedTuple):
    """Where a blob lies: the pack's id (hex), and the blob's place and lengths in it."""

    pack: str
    entry: PackEntry


class BlobIndex:
    """The merged index of a repository, in columns: about 60 bytes a blob.

    Asking is safe from any thread while one adds; several that add take turns. A blob may be
    listed several times: the first place is the one that is found.
    """

    def __init__(self) -> None:
        self._ids = bytearray()
        # The number of its pack, doubled, and one more for a tree.
        self._packs_of = array("I")
        self._offsets = array("I")
        self._lengths = array("I")
        self._plain_lengths = array("I")  # _RAW where it is stored as it is
        self._packs: list[str] = []
        self._begins = array("I")  # of each pack's blobs
        self._numbers: dict[str, int] = {}
        # Open addressing: places, counted from 1, at a hash of their ids; 0 is free. The hash is
        # another one in each process: who writes an index chooses the ids, and must not choose
        # where they lie.
        self._table = array("I", bytes(4 * _LEAST_SLOTS))
        self._guard = threading.Lock()

    def has(self, blob_type: BlobType, blob_id: bytes) -> bool:
        return self._place(blob_type is BlobType.TREE, blob_id) >= 0

    def has_all_data(self, blob_ids: Iterable[bytes]) -> bool:
        place = self._place
        for blob_id in blob_ids:  # noqa: SIM110 - called for every file: no generator
            if place(False, blob_id) < 0:
                return False
        return True

    def find(self, blob_type: BlobType, blob_id: bytes) -> Location:
        """Where a blob lies; IntegrityError `index-damaged` when no index knows it."""
        place = self._place(blob_type is BlobType.TREE, blob_id)
        if place < 0:
            raise IntegrityError(
                f"no index names this {blob_type} blob", subject=blob_id.hex(), code="index-damaged"
            )
        return Location(self._packs[self._packs_of[place] >> 1], self._entry(place))

    def place(self, blob_type: BlobType, blob_id: bytes) -> int | None:
        """A number below `len(self)` that stands for the blob's first place; None if unknown."""
        place = self._place(blob_type is BlobType.TREE, blob_id)
        return place if place >= 0 else None

    def locations(self) -> Iterator[tuple[int, Location]]:
        """All blobs with their places, pack by pack."""
        for place in range(len(self._offsets)):
            yield place, Location(self._packs[self._packs_of[place] >> 1], self._entry(place))

    def copies(self, blob_type: BlobType, blob_id: bytes) -> list[Location]:
        """Where else a blob lies than `find` says."""
        first = self._place(blob_type is BlobType.TREE, blob_id)
        if first < 0:
            return []
        pack = self._packs_of[first] >> 1
        return [
            Location(self._packs[self._packs_of[place] >> 1], self._entry(place))
            for place in self._places(blob_type is BlobType.TREE, blob_id)
            if self._packs[self._packs_of[place] >> 1] != self._packs[pack]
        ]

    def add_pack(self, pack: str, entries: Iterable[PackEntry]) -> None:
        """Make a pack's blobs known; the first location of a blob stays the one that is found.

        A pack that is listed twice with the same blobs is one pack.
        """
        kept = list(entries)
        with self._guard:
            known = self._numbers.get(pack)
            if known is not None and self._slice(known) == tuple(kept):
                return
            number = len(self._packs)
            begin = len(self._offsets)
            data, tree = number << 1, number << 1 | 1
            self._ids += b"".join([one.id for one in kept])
            self._packs_of.extend([tree if one.type is BlobType.TREE else data for one in kept])
            self._offsets.extend([one.offset for one in kept])
            self._lengths.extend([one.length for one in kept])
            self._plain_lengths.extend(
                [_RAW if one.plain_length is None else one.plain_length for one in kept]
            )
            self._begins.append(begin)
            self._packs.append(pack)
            self._numbers.setdefault(pack, number)
            if 3 * len(self._offsets) > 2 * len(self._table):
                self._grow()
            else:
                for place in range(begin, begin + len(kept)):
                    self._hash_in(self._table, place)

    def packs(self) -> Iterator[tuple[str, tuple[PackEntry, ...]]]:
        for number in range(len(self._packs)):
            yield self._packs[number], self._slice(number)

    def pack_sizes(self) -> Iterator[tuple[str, int]]:
        """Every pack with the size in bytes that its file must have; a million blobs take
        milliseconds."""
        ends = [*self._begins, len(self._offsets)][1:]
        for pack, begin, end in zip(self._packs, self._begins, ends, strict=True):
            raw = self._plain_lengths[begin:end].count(_RAW)
            yield pack, pack_bytes(end - begin, raw, sum(self._lengths[begin:end]))

    def has_pack(self, pack: str) -> bool:
        return pack in self._numbers

    def entries(self, pack: str) -> tuple[PackEntry, ...] | None:
        number = self._numbers.get(pack)
        return None if number is None else self._slice(number)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def memory_bytes(self) -> int:
        """What the columns and the table take."""
        columns = (self._packs_of, self._offsets, self._lengths, self._plain_lengths, self._table)
        return len(self._ids) + sum(len(one) * one.itemsize for one in columns)

    def _place(self, is_tree: bool, blob_id: bytes) -> int:
        """The first place of a blob, below 0 when there is none."""
        table, ids, packs_of = self._table, self._ids, self._packs_of
        mask = len(table) - 1
        slot = hash(blob_id) & mask
        while found := table[slot]:
            begin = (found - 1) << 5
            if ids[begin : begin + 32] == blob_id and packs_of[found - 1] & 1 == is_tree:
                return found - 1
            slot = (slot + 1) & mask
        return -1

    def _places(self, is_tree: bool, blob_id: bytes) -> Iterator[int]:
        """All places of a blob, in the order in which they were added."""
        table = self._table
        mask = len(table) - 1
        slot = hash(blob_id) & mask
        while found := table[slot]:
            begin = (found - 1) << 5
            is_it = self._ids[begin : begin + 32] == blob_id
            if is_it and self._packs_of[found - 1] & 1 == is_tree:
                yield found - 1
            slot = (slot + 1) & mask

    def _hash_in(self, table: array[int], place: int) -> None:
        mask = len(table) - 1
        slot = hash(bytes(self._ids[place << 5 : (place + 1) << 5])) & mask
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = place + 1

    def _grow(self) -> None:
        slots = len(self._table)
        while 3 * len(self._offsets) > slots:
            slots *= 2
        table = array("I", bytes(4 * slots))
        for place in range(len(self._offsets)):
            self._hash_in(table, place)
        self._table = table  # at once, so that whoever asks meanwhile sees one or the other

    def _slice(self, number: int) -> tuple[PackEntry, ...]:
        end = self._begins[number + 1] if number + 1 < len(self._begins) else len(self._offsets)
        return tuple(map(self._entry, range(self._begins[number], end)))

    def _entry(self, place: int) -> PackEntry:
        plain = self._plain_lengths[place]
        return PackEntry(
            BlobType.TREE if self._packs_of[place] & 1 else BlobType.DATA,
            bytes(self._ids[place << 5 : (place + 1) << 5]),
            self._offsets[place],
            self._lengths[place],
            None if plain == _RAW else plain,
        )


def encode_index(packs: Iterable[tuple[str, Iterable[PackEntry]]]) -> bytes:
    """The JSON of one index file; written by hand, for there may be a million blobs."""
    # As bytes pack by pack: 50,000 blobs as one text, and again as bytes, would be 40 MB.
    listed = [
        f'{{"id":"{pack}","blobs":[{",".join(map(_encode_entry, entries))}]}}'.encode()
        for pack, entries in packs
    ]
    return b'{"packs":[' + b",".join(listed) + b"]}"


def _encode_entry(entry: PackEntry) -> str:
    blob_type, blob_id, offset, length, plain = entry
    plainly = "" if plain is None else f',"uncompressed_length":{plain}'
    return (
        f'{{"id":"{blob_id.hex()}","type":"{blob_type.value}",'
        f'"offset":{offset},"length":{length}{plainly}}}'
    )


def index_parts(
    packs: Iterable[tuple[str, Sequence[PackEntry]]],
) -> Iterator[list[tuple[str, Sequence[PackEntry]]]]:
    """Packs by the index file: all blobs of one in the same."""
    part: list[tuple[str, Sequence[PackEntry]]] = []
    count = 0
    for pack, entries in packs:
        part.append((pack, entries))
        count += len(entries)
        if count >= MAX_BLOBS_PER_FILE:
            yield part
            part, count = [], 0
    if part:
        yield part


def decode_index(content: bytes, subject: str) -> list[tuple[str, list[PackEntry]]]:
    """The packs that an index file lists; IntegrityError when it is not one."""
    types = {"data": BlobType.DATA, "tree": BlobType.TREE}
    try:
        listed = parse_json(content)["packs"]
        packs = []
        for pack in listed:
            entries = []
            for blob in pack["blobs"]:
                blob_id = bytes.fromhex(blob["id"])
                offset, length = blob["offset"], blob["length"]
                plain = blob.get("uncompressed_length") or None
                size = plain or 0
                if len(blob_id) != 32 or {type(offset), type(length), type(size)} != {int}:
                    raise ValueError("a blob entry has fields of the wrong kind")
                highest = max(offset + length, size)
                if offset < 0 or length < 32 or size < 0 or highest >= PLACE_LIMIT:
                    raise ValueError("a blob entry lies outside of any pack")
                entries.append(PackEntry(types[blob["type"]], blob_id, offset, length, plain))
            packs.append((checked_id(pack["id"]), entries))
        return packs
    except MALFORMED as error:
        raise IntegrityError(
            f"not an index: {why(error)}", subject=subject, code="index-damaged"
        ) from error
