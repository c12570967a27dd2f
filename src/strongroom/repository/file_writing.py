"""Writing restored files: content under a temporary name, metadata, then the file's own name.

What cannot be set of the metadata is told and is no reason to stop; what cannot be written is.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final, NamedTuple

from strongroom.repository.direct_io import DirectFiles
from strongroom.repository.tree import Node

_HOLE_BYTES: Final = 4096
_EARLY_WRITEBACK_BYTES: Final = 16 << 10
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Metadata(NamedTuple):
    """What a restored entry gets: permission bits (None for a link, which has none of its own),
    owner, time in nanoseconds, extended attributes."""

    mode: int | None
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[bytes, bytes]


class Unset(NamedTuple):
    """Metadata that could not be set: what, and why."""

    what: str
    reason: str


def metadata_of(node: Node) -> Metadata:
    """What a node says of its entry."""
    mode = None if node.type == "symlink" else node.mode & 0o7777
    return Metadata(mode, node.uid, node.gid, node.mtime_ns, node.xattrs)


class FileWriter:
    """Writes files into a target; safe to use from several threads.

    `owner` is whose new files are there: where it is the recorded one, nothing has to be set.
    """

    def __init__(self, owner: tuple[int, int]) -> None:
        self.owner = owner
        self._direct = DirectFiles()
        self._nameless = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")

    def write_whole(
        self, temporary: bytes, path: bytes, content: bytes, metadata: Metadata
    ) -> list[Unset]:
        """A file that is in memory; OSError when it cannot be written.

        Where the file system can, it has no name at all until it is whole: one change of the
        directory instead of three, and nothing to clear up after a stop.
        """
        descriptor = self._open_nameless(path.rpartition(b"/")[0]) if self._nameless else None
        named = descriptor is None
        if descriptor is None:
            descriptor = os.open(temporary, _WRITE_FLAGS, 0o600)
        try:
            written = 0
            may_have_holes = content[:1] == b"\0" or content[-1:] == b"\0"
            if not may_have_holes and self._direct.takes(len(content)):
                written = self._direct.write(descriptor, content)
            write_sparsely(descriptor, content, written)
            if may_have_holes:
                os.ftruncate(descriptor, len(content))
            if named:
                return self._name(descriptor, temporary, path, metadata)
            unset = self.set_metadata(descriptor, metadata)
            place = b"/proc/self/fd/%d" % descriptor
            # A descriptor given beside it makes Python use the call that follows this link.
            try:
                os.link(place, path, src_dir_fd=descriptor, follow_symlinks=True)
            except FileExistsError:
                # Of a process that has died since; the target was empty when we began.
                os.link(place, temporary, src_dir_fd=descriptor, follow_symlinks=True)
                os.rename(temporary, path)
            return unset
        finally:
            os.close(descriptor)

    def _open_nameless(self, folder: bytes) -> int | None:
        """A new file without a name in this directory; None where that can't be had."""
        try:
            return os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            self._nameless = False
            return None

    def write_part(self, temporary: bytes, content: bytes, offset: int) -> int:
        """A part of a file, made if it isn't there; returns its open descriptor."""
        descriptor = os.open(temporary, _WRITE_FLAGS, 0o600)
        try:
            write_sparsely(descriptor, content, 0, offset)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def finish(
        self, descriptor: int, temporary: bytes, path: bytes, size_bytes: int, metadata: Metadata
    ) -> list[Unset]:
        """Give a file whose parts are written its length, its metadata and its name."""
        os.ftruncate(descriptor, size_bytes)
        if size_bytes >= _EARLY_WRITEBACK_BYTES:
            # Starts writing back now, so that the flush at the end has little to do.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return self._name(descriptor, temporary, path, metadata)

    def _name(
        self, descriptor: int, temporary: bytes, path: bytes, metadata: Metadata
    ) -> list[Unset]:
        unset = self.set_metadata(descriptor, metadata)
        os.rename(temporary, path)
        return unset

    def _remove_inherited(
        self, target: int | bytes, metadata: Metadata, *, follow: bool
    ) -> list[Unset]:
        """Take away attributes that were not captured: new entries inherit access control lists
        from the directory that they are made in, which let in whom the captured ones did not.
        Before the mode is set, which means another thing where there is such a list."""
        unset: list[Unset] = []
        try:
            names = os.listxattr(target, follow_symlinks=follow)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                unset.append(Unset("extended attributes could not be read", reason_of(error)))
            return unset
        for name in names:
            if os.fsencode(name) in metadata.xattrs:
                continue
            try:
                os.removexattr(target, name, follow_symlinks=follow)
            except OSError as error:
                what = "an inherited attribute could not be removed"
                unset.append(Unset(what, reason_of(error)))
        return unset

    def set_metadata(self, target: int | bytes, metadata: Metadata) -> list[Unset]:
        """Owner, attributes, mode and times, in the order in which they don't undo each other."""
        follow = isinstance(target, int)
        unset: list[Unset] = []
        try:
            if (metadata.uid, metadata.gid) != self.owner:
                os.chown(target, metadata.uid, metadata.gid, follow_symlinks=follow)
        except (OSError, OverflowError) as error:
            unset.append(Unset("owner could not be set", reason_of(error)))
        unset += self._remove_inherited(target, metadata, follow=follow)
        for name, value in metadata.xattrs.items():
            try:
                os.setxattr(target, name, value, follow_symlinks=follow)
            except OSError as error:
                unset.append(Unset("an extended attribute could not be set", reason_of(error)))
        try:
            if metadata.mode is not None:
                os.chmod(target, metadata.mode)
        except OSError as error:
            unset.append(Unset("mode could not be set", reason_of(error)))
        try:
            os.utime(target, ns=(metadata.mtime_ns, metadata.mtime_ns), follow_symlinks=follow)
        except (OSError, OverflowError) as error:
            unset.append(Unset("time could not be set", reason_of(error)))
        return unset


def reason_of(error: OSError | OverflowError) -> str:
    """Why something could not be set or made, in the system's words."""
    return os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)


def write_sparsely(descriptor: int, content: bytes, begin: int, offset: int = 0) -> None:
    """Write content from `begin` on, the whole of which lies at `offset` in the file, leaving
    holes for long runs of zeros at either end.

    The file's final size is set when it is finished, so that a hole at the end counts.
    """
    end = len(content)
    if content[:1] == b"\0" or content[-1:] == b"\0":
        leading = end - len(content.lstrip(b"\0"))
        begin = max(begin, leading if leading >= _HOLE_BYTES else 0)
        trailing = end - len(content.rstrip(b"\0"))
        end = end - trailing if trailing >= _HOLE_BYTES else end
    view = memoryview(content)
    while begin < end:
        begin += os.pwrite(descriptor, view[begin:end], offset + begin)


def flush_file_system(path: bytes) -> None:
    """One syncfs: everything restored is on stable storage when it returns."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
