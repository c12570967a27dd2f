"""Whether a restore's target has room, asked before the first byte.

What a snapshot records of itself answers it at once where there is plenty. Where there isn't, the
tree is counted: bytes in whole blocks without what becomes holes, and inodes, each hard link once.
Nothing is refused for lack of information: what cannot be known is a finding.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.errors import SourceError, TargetError
from strongroom.model import Finding, finding
from strongroom.postgres.connection import Connection
from strongroom.postgres.room import free_bytes_of
from strongroom.repository import SnapshotView
from strongroom.sources import Source
from strongroom.sources.database import connection_to
from strongroom.sources.files import FilesSource

__all__ = [
    "Room",
    "require_bytes_on_server",
    "require_room",
    "require_room_at",
    "require_room_on_server",
    "room_of",
]

# What directories and block maps may take beside the content, where only sizes are known.
_PLENTY: Final = 2
# A file's largest chunk; a run of zeros is cut into these, and each becomes a hole.
_HOLE_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """What a file system has left for us: bytes, inodes (None where it makes them as it needs
    them), its block's size, and how many blocks it has in all."""

    free_bytes: int
    free_files: int | None
    block_bytes: int
    total_blocks: int


def room_of(folder: Path) -> Room:
    """Of the file system that a folder is on, or would be when it is made."""
    absolute = folder.absolute()
    there = next(one for one in (absolute, *absolute.parents) if one.is_dir())
    status = os.statvfs(there)
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    files = status.f_ffree if os.geteuid() == 0 else status.f_favail
    block = status.f_frsize or status.f_bsize or 1
    return Room(blocks * block, files if status.f_files else None, block, status.f_blocks)


def require_room(source: Source, view: SnapshotView, folder: Path) -> list[Finding]:
    """TargetError `target-space` when the folder's file system cannot take the snapshot."""
    room = room_of(folder)
    size, files = view.snapshot.size_bytes, view.snapshot.file_count
    if not room.total_blocks:  # of the kernel's own, which keeps no files and says so itself
        return []
    if size is not None and files is not None and _is_plenty(room, size, files):
        return []
    if isinstance(source, FilesSource):
        size, files = _measured(view, source.root_of(view), room.block_bytes)
    elif size is None:
        return [_unknown(str(folder), "the snapshot does not tell its size")]
    lacking = []
    if size > room.free_bytes:
        lacking.append(f"{_mebibytes(size)} are needed, {_mebibytes(room.free_bytes)} are free")
    if room.free_files is not None and files is not None and files > room.free_files:
        lacking.append(f"{files:,} inodes are needed, {room.free_files:,} are free")
    if lacking:
        raise _lacking(str(folder), "; ".join(lacking))
    return []


def require_room_at(source: Source, view: SnapshotView, target: str) -> list[Finding]:
    """The same for whatever the source's kind restores to."""
    if source.kind == "postgres":
        return require_room_on_server(view, connection_to(target))
    return require_room(source, view, Path(target))


def require_room_on_server(view: SnapshotView, target: Connection) -> list[Finding]:
    """TargetError `target-space` when the server's file system is known and has less room than the
    captured rows alone take; a finding when it isn't known."""
    return require_bytes_on_server(view.snapshot.size_bytes, target)


def require_bytes_on_server(size: int | None, target: Connection) -> list[Finding]:
    """The same for so many bytes of captured rows, None where that is not told."""
    subject = target.describe()
    if size is None:
        return [_unknown(subject, "the snapshot does not tell its size")]
    try:
        free = free_bytes_of(target)
    except SourceError as error:
        return [_unknown(subject, error.message)]
    if isinstance(free, str):
        return [_unknown(subject, free)]
    if size > free:
        told = f"{_mebibytes(size)} of rows are to be loaded, {_mebibytes(free)} are free there"
        raise _lacking(subject, told)
    return []


def _is_plenty(room: Room, size: int, files: int) -> bool:
    needed = size + (files + 1) * 2 * room.block_bytes
    enough = room.free_files is None or _PLENTY * files < room.free_files
    return enough and _PLENTY * needed < room.free_bytes


def _measured(view: SnapshotView, root: bytes, block: int) -> tuple[int, int]:
    """The least that the tree takes: bytes and inodes."""
    size, files = 0, 1
    seen: set[tuple[int, int, int]] = set()
    hole = hashlib.sha256(bytes(_HOLE_BYTES)).digest()
    for _, node in view.walk(root):
        if node.type != "dir" and node.links > 1:
            link = (node.device_id, node.inode, node.size)
            if link in seen:
                continue
            seen.add(link)
        files += 1
        if node.type == "file":
            written = node.size - node.content.count(hole) * _HOLE_BYTES
            size += written + -written % block
    return size, files


def _mebibytes(size: int) -> str:
    return f"{-(-size >> 20):,} MiB" if size >= 1 << 20 else f"{size:,} bytes"


def _lacking(subject: str, told: str) -> TargetError:
    return TargetError(f"there is not enough room: {told}", subject=subject, code="target-space")


def _unknown(subject: str, reason: str) -> Finding:
    told = f"whether there is room for it is not known: {reason}"
    return finding("target-space-unknown", subject, told)
