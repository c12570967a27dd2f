"""A repository in a directory of a local or mounted file system.

Durability: a file is written under a temporary name, flushed with fsync, renamed, and its
directory is flushed, so that after `save` a power cut can lose neither bytes nor name (the
ordering that invariant I2 rests on). Large page-aligned buffers go past the page cache with
direct I/O where the file system allows: a backup should not evict the application's cache, and
it is several times faster than buffered writes followed by fsync.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from strongroom.errors import StorageError
from strongroom.repository.direct_io import is_aligned, write_direct
from strongroom.repository.storage.layout import FOLDERS, is_id
from strongroom.repository.storage.protocol import Buffer, Room, StoredFile

_DIRECT_THRESHOLD_BYTES: Final = 1 << 20


class LocalStorage:
    """Files below a root directory; safe to use from several threads and processes."""

    connections = 1  # one writes as fast as the disk takes it

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))

    @property
    def location(self) -> str:
        return str(self._root)

    def create(self) -> None:
        """Make the folders of the layout; the 256 below `data` come on demand."""
        with _explained(self.location):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in FOLDERS:
                (self._root / folder).mkdir(mode=0o700, exist_ok=True)
            _flush_directory(self._root)
            _flush_directory(self._root.parent)

    def save(self, name: str, data: Buffer) -> None:
        target = self._root / name
        temporary = target.with_name(f"{target.name}-tmp-{secrets.token_hex(8)}")
        with _explained(f"{self.location}: {name}"):
            try:
                descriptor = self._create(temporary)
                try:
                    _write_all(descriptor, memoryview(data).cast("B"))
                    os.fsync(descriptor)
                    os.fchmod(descriptor, 0o400)
                finally:
                    os.close(descriptor)
                os.rename(temporary, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
            _flush_directory(target.parent)

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        subject = f"{self.location}: {name}"
        with _explained(subject), open(self._root / name, "rb", buffering=0) as file:
            if length is None:
                if offset:
                    file.seek(offset)
                return file.readall()
            content = os.pread(file.fileno(), length, offset)
            while 0 < len(content) < length:
                more = os.pread(file.fileno(), length - len(content), offset + len(content))
                if not more:
                    break
                content += more
        if len(content) != length:
            raise StorageError(
                f"wanted {length} bytes at {offset}, the file ends after {len(content)} of them",
                subject=subject,
            )
        return content

    def size(self, name: str) -> int:
        with _explained(f"{self.location}: {name}"):
            return os.stat(self._root / name).st_size

    def list(self, folder: str) -> Iterator[StoredFile]:
        base = self._root / folder
        with _explained(f"{self.location}: {folder}"):
            for entry in _entries(base):
                if folder == "data":
                    if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False):
                        for pack in _entries(base / entry.name):
                            yield from _listed(f"data/{entry.name}", pack)
                else:
                    yield from _listed(folder, entry)

    def delete(self, name: str) -> None:
        with _explained(f"{self.location}: {name}"), contextlib.suppress(FileNotFoundError):
            os.unlink(self._root / name)

    def immutability(self) -> None:
        return None

    def room(self) -> Room:
        with _explained(self.location):
            found = os.statvfs(self._root)
        # Of what is kept for root alone nothing is to be had.
        return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def close(self) -> None:
        return None

    def _create(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            if path.parent.parent != self._root / "data":
                raise
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _flush_directory(path.parent.parent)
            return os.open(path, flags, 0o600)


def _listed(folder: str, entry: os.DirEntry[str]) -> Iterator[StoredFile]:
    """The entry if it is a file of the layout and still there: locks come and go meanwhile."""
    if is_id(entry.name):
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat()
            moment = datetime.fromtimestamp(status.st_mtime, UTC)
            yield StoredFile(f"{folder}/{entry.name}", status.st_size, moment)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a directory; a missing one is empty, as restic has it."""
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except FileNotFoundError:
        return []


def _write_all(descriptor: int, data: memoryview) -> None:
    done = 0
    if len(data) >= _DIRECT_THRESHOLD_BYTES and is_aligned(data):
        done = write_direct(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, data[done:])


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a directory and say so.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


class _explained(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a verb
    """Turns an OSError into the StorageError that names the store and what to do."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        reason = os.strerror(error.errno) if error.errno else str(error)
        code = {
            errno.ENOENT: "store-missing",
            errno.ENOSPC: "store-full",
            errno.EDQUOT: "store-full",
            errno.EFBIG: "store-full",
            errno.EACCES: "store-refused",
            errno.EPERM: "store-refused",
            errno.EROFS: "store-refused",
        }.get(error.errno or 0, "store-failed")
        raise StorageError(reason, subject=self._subject, code=code) from error
