"""A snapshot's tree as a tar archive (POSIX pax), or as a gzipped one, every byte verified.

Names, types, modes, owners, times, symbolic and hard links and extended attributes are kept, as
GNU tar and bsdtar restore them. Sockets have no place in an archive and are left out.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from typing import IO, Final

from strongroom.repository import Node, SnapshotView

_TYPES: Final = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "fifo": tarfile.FIFOTYPE,
    "dev": tarfile.BLKTYPE,
    "chardev": tarfile.CHRTYPE,
}


def write_archive(view: SnapshotView, root: bytes, file: IO[bytes], *, compressed: bool) -> int:
    """Write what the directory `root` of a snapshot holds; returns the number of entries.

    Paths in the archive begin with the directory's own name.
    """
    if not compressed:
        return _write(view, root, file)
    # No name and no time in the header, so that the same snapshot gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        return _write(view, root, packed)


def _write(view: SnapshotView, root: bytes, file: IO[bytes] | gzip.GzipFile) -> int:
    top = view.node(root)
    above = root.rstrip(b"/").rpartition(b"/")[0]
    first_links: dict[tuple[int, int], str] = {}
    count = 0
    with tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as archive:
        entries = [(root, top)] if top.name else []
        for path, node in _chain(entries, view.walk(root)):
            if node.type not in _TYPES:
                continue
            header = _header(path[len(above) + 1 :], node, first_links)
            content = _Content(view.blocks(path)) if header.isreg() and node.content else None
            archive.addfile(header, content)
            count += 1
    return count


def _chain(
    first: list[tuple[bytes, Node]], rest: Iterator[tuple[bytes, Node]]
) -> Iterator[tuple[bytes, Node]]:
    yield from first
    yield from rest


def _header(path: bytes, node: Node, first_links: dict[tuple[int, int], str]) -> tarfile.TarInfo:
    name = path.decode("utf-8", "surrogateescape")
    header = tarfile.TarInfo(name)
    header.type = _TYPES[node.type]
    header.mode = node.mode & 0o7777
    header.uid, header.gid = node.uid, node.gid
    header.uname, header.gname = node.user, node.group
    header.mtime = node.mtime_ns // 1_000_000_000
    header.pax_headers = {"mtime": f"{header.mtime}.{node.mtime_ns % 1_000_000_000:09}"}
    header.pax_headers |= {
        f"SCHILY.xattr.{key.decode('utf-8', 'surrogateescape')}": value.decode(
            "utf-8", "surrogateescape"
        )
        for key, value in node.xattrs.items()
    }
    if node.linktarget is not None:
        header.linkname = node.linktarget.decode("utf-8", "surrogateescape")
    if node.type == "file":
        header.size = node.size
        if node.links > 1 and node.inode:
            first = first_links.setdefault((node.device_id, node.inode), name)
            if first != name:
                header.type, header.linkname, header.size = tarfile.LNKTYPE, first, 0
    if node.type in ("dev", "chardev"):
        header.devmajor, header.devminor = _device(node.device)
    return header


def _device(number: int) -> tuple[int, int]:
    import os

    return os.major(number), os.minor(number)


class _Content:
    """A file's blocks, read as a file is."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; nothing at the end."""
        parts: list[bytes | memoryview] = []
        wanted = size if size >= 0 else 1 << 62
        while wanted > 0:
            if not self._rest:
                block = next(self._blocks, b"")
                if not block:
                    break
                self._rest = memoryview(block)
            parts.append(self._rest[:wanted])
            wanted -= len(parts[-1])
            self._rest = self._rest[len(parts[-1]) :]
        return b"".join(parts)
