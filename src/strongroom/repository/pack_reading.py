"""A pack read whole: its name, its header, and every blob that is said to lie in it.

For `check`, which tells what is wrong, and `repair`, which keeps what is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from strongroom.errors import IntegrityError
from strongroom.repository.pack import PackEntry, decode_header
from strongroom.repository.repository import Repository, pack_name


@dataclass(frozen=True, slots=True)
class PackReading:
    """What was read. `damaged` are those of the listed blobs that don't verify; `header` is what
    the pack itself lists, None when that can't be read."""

    size_bytes: int
    faults: tuple[str, ...]
    damaged: tuple[PackEntry, ...]
    header: tuple[PackEntry, ...] | None

    @property
    def is_sound(self) -> bool:
        return not self.faults


def read_pack(repository: Repository, pack: str, listed: Sequence[PackEntry]) -> PackReading:
    """Read a pack and verify its name, its header, and each blob where it is listed.

    IntegrityError `pack-damaged` when there is nothing to read, StorageError when the store fails.
    """
    name = pack_name(pack)
    content = memoryview(repository.load_pack(pack, 0))
    faults: list[str] = []
    if hashlib.sha256(content).hexdigest() != pack:
        faults.append("the bytes are not those of its name")
    codec = repository.codec()
    header: tuple[PackEntry, ...] | None = None
    try:
        header = tuple(decode_header(codec, content, len(content), name))
        if header != in_order(listed):
            faults.append("its header lists other blobs than the index")
    except IntegrityError as error:
        faults.append(error.message)
    damaged: list[PackEntry] = []
    for entry in listed:
        sealed = content[entry.offset : entry.offset + entry.length]
        try:
            codec.decode(entry.id, sealed, entry.plain_length)
        except IntegrityError as error:
            damaged.append(entry)
            faults.append(f"blob {entry.id.hex()[:12]}: {error.message}")
    return PackReading(len(content), tuple(faults), tuple(damaged), header)


def in_order(entries: Iterable[PackEntry]) -> tuple[PackEntry, ...]:
    """The entries as they lie in the pack, which is how its header lists them."""
    return tuple(sorted(entries, key=attrgetter("offset")))
