"""An archive of files (tar, zip) into a private directory, without trusting a word of it.

Names that lead out of the directory are refused, and so is an archive that ends too early; names
that begin at the root are taken as below the directory, as tar has it. Symbolic links are made
last, so that nothing is ever written through one. Devices, pipes and sockets are left out, which
is told. What it may take up is bounded: by the room that there is, and by what its size makes
believable.

Invariant: on return everything of the archive is in the directory or named by a finding.
"""

from __future__ import annotations

import contextlib
import grp
import io
import os
import pwd
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, Final

from strongroom.errors import SourceError
from strongroom.model import Finding, finding
from strongroom.sources.compressed import IncompleteError, compression_of, plain_blocks

__all__ = ["Unpacked", "described", "is_tar", "is_zip", "newest_in", "read_tar", "unpack"]

_BLOCK_BYTES: Final = 1 << 20
_TAR_BLOCK_BYTES: Final = 512
_RECORD_BYTES: Final = 20 * _TAR_BLOCK_BYTES
# More than so many times its own size, beyond a first allowance, no honest archive holds.
_MOST_RATIO: Final = 200
_ALLOWANCE_BYTES: Final = 1 << 30
_LEAST_FREE_BYTES: Final = 128 << 20
_MOST_ENTRIES: Final = 5_000_000
_MOST_DEPTH: Final = 200
_MOST_TOLD: Final = 20
_XATTR: Final = "SCHILY.xattr."


@dataclass(slots=True)
class Unpacked:
    """What was unpacked. `newest_ns` is the newest time of a file in it; `left_out` names what
    has no place in a snapshot."""

    entries: int = 0
    size_bytes: int = 0
    newest_ns: int | None = None
    left_out: list[str] = field(default_factory=list)
    rooted: int = 0
    unset: int = 0

    def findings(self, name: str) -> Iterator[Finding]:
        """What a person should know of it."""
        if self.left_out:
            more = len(self.left_out) - _MOST_TOLD
            told = ", ".join(self.left_out[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")
            yield finding("import-left-out", name, f"devices, pipes or sockets: {told}")
        if self.rooted:
            told = f"{self.rooted} names in it begin at the root, and were taken as below it"
            yield finding("import-changed", name, told)
        if self.unset:
            told = f"{self.unset} extended attributes of it could not be set here"
            yield finding("import-changed", name, told)


@dataclass(slots=True)
class _Late:
    """What is set when all is written: what makes a directory read-only must not stand in the
    way, nor may anything be written through a link."""

    links: dict[str, tuple[str, _Meta]] = field(default_factory=dict)
    folders: dict[str, _Meta] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Meta:
    """What a node is given beside its content; owners are None where nobody knows them."""

    mode: int
    mtime_ns: int
    uid: int | None = None
    gid: int | None = None


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def is_tar(path: Path) -> bool:
    """Whether a file, decompressed when it is compressed, begins as a tar archive does."""
    begin = b""
    try:
        for block in plain_blocks(path):
            begin += block
            if len(begin) >= _TAR_BLOCK_BYTES:
                break
        tarfile.TarInfo.frombuf(begin[:_TAR_BLOCK_BYTES], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, SourceError):
        return begin[257:262] == b"ustar"
    return True


def unpack(path: Path, directory: Path, *, zone: tzinfo) -> Unpacked:
    """Unpack an archive into an empty directory, which gets what the archive says of its top, so
    it must lie in a private one; `zone` is that of a zip's times.

    Raises `IncompleteError` (`file-incomplete`) when it ends too early or a checksum is wrong, and
    SourceError `file-unfit` when it must not be unpacked.
    """
    work = _Unpacking(path, directory)
    if is_zip(path):
        work.zip(zone)
    else:
        work.tar()
    work.finish()
    return work.report


def read_tar(path: Path) -> None:
    """Read a tar archive to its end; `IncompleteError` when that is not there."""
    _Unpacking(path, path.parent).tar(only_read=True)


class _Unpacking:
    """The state of one unpacking."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.report = Unpacked()
        self._path = path
        self._directory = directory
        self._late = _Late()
        self._unnamed: set[str] = {""}  # folders that are there without an entry of their own
        self._most_bytes = _ALLOWANCE_BYTES + _MOST_RATIO * path.stat().st_size
        self._as_root = os.geteuid() == 0

    # Tar

    def tar(self, *, only_read: bool = False) -> None:
        """Everything of a tar archive, to its very end."""
        source = _Tail(plain_blocks(self._path))
        last = ""
        try:
            with tarfile.open(
                fileobj=source,
                mode="r|",
                bufsize=_RECORD_BYTES,
                errors="surrogateescape",
            ) as archive:
                for entry in archive:
                    last = entry.name
                    if only_read:
                        self.report.entries += 1
                        continue
                    self._count(entry.size if entry.isreg() else 0)
                    self._tar_entry(archive, entry)
                end = archive.offset
        except tarfile.TarError as error:
            raise self._cut(f"{error}", last) from None
        except EOFError:
            raise self._cut("unexpected end of data", last) from None
        self._see_end(source, end, last)

    def _cut(self, why: str, last: str) -> IncompleteError:
        place = f", after {last}" if last else ""
        return IncompleteError(
            f"it is cut or damaged: {why}, at entry {self.report.entries + 1}{place}",
            subject=str(self._path),
        )

    def _see_end(self, source: _Tail, end: int, last: str) -> None:
        """Tar's mark of its end is there, nothing but padding follows, and the compressed stream
        ends well."""
        mark = source.at(end)
        if len(mark) < _TAR_BLOCK_BYTES:
            raise self._cut("tar's mark of its end is missing", last)
        if mark.strip(b"\0"):
            raise self._cut("what follows is neither an entry nor the end", last)
        if source.has_more_after(end):
            raise SourceError(
                "more data follow the end of its archive",
                subject=str(self._path),
                code="file-unfit",
                hint="Take the archives in it apart, or pack its files anew.",
            )

    def _tar_entry(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        name = self._name(entry.name)
        meta = _Meta(
            entry.mode & 0o7777,
            _tar_time_ns(entry),
            _id_of(entry.uname, entry.uid, of_group=False),
            _id_of(entry.gname, entry.gid, of_group=True),
        )
        if entry.isdir():
            self._folder(name, meta)
        elif entry.issym():
            self._symlink(name, entry.linkname, meta)
        elif entry.islnk():
            self._hard_link(name, self._name(entry.linkname), meta)
        elif entry.isreg():
            content = archive.extractfile(entry)
            assert content is not None, "it is a regular file"
            self._file(name, content, entry.size, meta)
            self._attributes(name, entry)
        else:
            self.report.left_out.append(entry.name)

    def _attributes(self, name: str, entry: tarfile.TarInfo) -> None:
        """What anybody may set; what belongs to the system's security is only told."""
        for key, value in entry.pax_headers.items():
            if not key.startswith(_XATTR):
                continue
            try:
                content = value.encode("utf-8", "surrogateescape")
                os.setxattr(self._at(name), key.removeprefix(_XATTR), content)
            except OSError:
                self.report.unset += 1

    # Zip

    def zip(self, zone: tzinfo) -> None:
        """Everything of a zip archive, each file compared with its checksum."""
        try:
            with zipfile.ZipFile(self._path) as archive:
                for entry in archive.infolist():
                    self._count(entry.file_size)
                    self._zip_entry(archive, entry, zone)
        except (zipfile.BadZipFile, EOFError) as error:
            told = str(error)
            if "not a zip file" in told.lower():
                told = "it is cut: the list of its entries, which stands at its end, is missing"
            raise IncompleteError(told, subject=str(self._path)) from None
        except (RuntimeError, NotImplementedError) as error:
            raise SourceError(
                f"it cannot be unpacked: {error}",
                subject=str(self._path),
                code="file-unfit",
                hint="Unpack it by hand, and pack its files with tar.",
            ) from None

    def _zip_entry(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, zone: tzinfo) -> None:
        name = self._name(entry.filename.rstrip("/"))
        mode = entry.external_attr >> 16 if entry.create_system == 3 else 0
        folder = entry.is_dir()
        permissions = stat.S_IMODE(mode) or (0o755 if folder else 0o644)
        meta = _Meta(permissions, _zip_time_ns(entry, zone))
        if folder:
            self._folder(name, meta)
        elif stat.S_ISLNK(mode):
            target = archive.read(entry) if entry.file_size <= 4096 else b""
            self._symlink(name, os.fsdecode(target), meta)
        elif mode and stat.S_IFMT(mode) and not stat.S_ISREG(mode):
            self.report.left_out.append(entry.filename)
        else:
            with archive.open(entry) as content:
                self._file(name, content, entry.file_size, meta)

    # Nodes

    def _name(self, name: str) -> str:
        """A name below the directory; SourceError `file-unfit` for one that leads out of it."""
        if name.startswith("/"):
            self.report.rooted += 1
        words = [one for one in name.split("/") if one not in ("", ".")]
        if ".." in words or "\0" in name:
            raise self._unfit(f"a name in it leads out of the archive: {name}")
        if len(words) > _MOST_DEPTH:
            raise self._unfit(f"a name in it is {len(words)} folders deep")
        return "/".join(words)

    def _unfit(self, why: str) -> SourceError:
        return SourceError(
            why,
            subject=str(self._path),
            code="file-unfit",
            hint="Find out who made this archive; no program that backs files up writes that.",
        )

    def _count(self, size_bytes: int) -> None:
        """One more entry, which is to take up so much."""
        self.report.entries += 1
        self.report.size_bytes += size_bytes
        total = self.report.size_bytes
        if size_bytes < 0:
            raise self._unfit("an entry in it has a size below zero")
        if self.report.entries > _MOST_ENTRIES:
            raise self._unfit(f"it has more than {_MOST_ENTRIES:,} entries")
        if total > self._most_bytes:
            raise self._unfit(f"it would unpack to more than {self._most_bytes:,} bytes")
        free = shutil.disk_usage(self._directory).free if size_bytes else None
        if free is not None and size_bytes > free - _LEAST_FREE_BYTES:
            raise SourceError(
                f"there is no room to unpack it: {free:,} bytes are free",
                subject=str(self._directory),
                code="sandbox-failed",
                hint="Free space there, or set `state` to a larger disk.",
            )

    def _at(self, name: str) -> Path:
        return self._directory / name

    def _above(self, name: str) -> None:
        """The folders on the way to a name. No link is among them: links are made last."""
        words = name.split("/")[:-1]
        for number in range(1, len(words) + 1):
            above = "/".join(words[:number])
            if above in self._late.links:
                raise self._unfit(f"{above} is a link in it and a folder as well")
            with self._refusing(above):
                try:
                    self._at(above).mkdir(0o700)
                    self._unnamed.add(above)
                except FileExistsError:
                    if not stat.S_ISDIR(self._at(above).lstat().st_mode):
                        raise self._unfit(f"{above} is a file in it and a folder as well") from None

    def _make_way(self, name: str) -> None:
        """A later entry stands in the place of an earlier one, as in an archive that grew."""
        self._above(name)
        self._late.links.pop(name, None)
        with contextlib.suppress(FileNotFoundError), self._refusing(name):
            if stat.S_ISDIR(self._at(name).lstat().st_mode):
                raise self._unfit(f"{name} is a folder in it and something else as well")
            self._at(name).unlink()

    @contextlib.contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SourceError(
                f"{name} cannot be unpacked: {why}", subject=str(self._path), code="file-unfit"
            ) from None

    def _folder(self, name: str, meta: _Meta) -> None:
        if name:
            self._above(f"{name}/x")
        self._late.folders[name] = meta
        self._unnamed.discard(name)

    def _symlink(self, name: str, target: str, meta: _Meta) -> None:
        if not target or not name:
            raise self._unfit(f"{name} is a link to nothing")
        self._make_way(name)
        self._late.links[name] = target, meta

    def _hard_link(self, name: str, first: str, meta: _Meta) -> None:
        self._make_way(name)
        if first in self._late.links:
            self._late.links[name] = self._late.links[first]
            return
        with self._refusing(name):
            try:
                is_file = stat.S_ISREG(self._at(first).lstat().st_mode)
            except FileNotFoundError:
                is_file = False
            if not is_file:
                raise IncompleteError(
                    f"{name} is a link to {first}, which is not in it", subject=str(self._path)
                )
            os.link(self._at(first), self._at(name), follow_symlinks=False)
        del meta  # that of the first one

    def _file(self, name: str, content: IO[bytes], size: int, meta: _Meta) -> None:
        if not name:
            raise self._unfit("a file in it has no name")
        self._make_way(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._refusing(name):
            descriptor = os.open(self._at(name), flags, 0o600)
        written = 0
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            while block := content.read(_BLOCK_BYTES):
                written += len(block)
                if written > size:
                    raise self._unfit(f"{name} is larger than the archive says")
                with self._refusing(name):
                    file.write(block)
            if written != size:
                raise EOFError
            self._own(descriptor, meta)
            os.fchmod(descriptor, meta.mode)
            os.utime(descriptor, ns=(meta.mtime_ns, meta.mtime_ns))
        self.report.newest_ns = max(self.report.newest_ns or 0, meta.mtime_ns)

    def _own(self, node: Path | int, meta: _Meta) -> None:
        if self._as_root and meta.uid is not None and meta.gid is not None:
            if isinstance(node, int):
                os.fchown(node, meta.uid, meta.gid)
            else:
                os.chown(node, meta.uid, meta.gid, follow_symlinks=False)

    def finish(self) -> None:
        """Links, then what folders are given, the deepest first."""
        for name, (target, meta) in self._late.links.items():
            place = self._at(name)
            with self._refusing(name):
                place.symlink_to(target)
                self._own(place, meta)
                os.utime(place, ns=(meta.mtime_ns, meta.mtime_ns), follow_symlinks=False)
        # The same archive gives the same tree, whenever it is unpacked.
        unnamed = _Meta(0o755, self.report.newest_ns or 0)
        folders = {**dict.fromkeys(self._unnamed, unnamed), **self._late.folders}
        for name in sorted(folders, key=lambda one: (one.count("/"), one), reverse=True):
            meta, place = folders[name], self._at(name)
            self._own(place, meta)
            # Whoever captures must be able to read it, and is not always root.
            place.chmod(meta.mode if self._as_root else meta.mode | 0o700)
            os.utime(place, ns=(meta.mtime_ns, meta.mtime_ns))


class _Tail(io.RawIOBase):
    """Blocks as a file, with the last of what was read at hand."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""
        self._kept = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly so much, unless the end comes before."""
        parts = [self._rest]
        have = len(self._rest)
        while size < 0 or have < size:
            block = next(self._blocks, b"")
            if not block:
                break
            parts.append(block)
            have += len(block)
        whole = b"".join(parts)
        wanted = len(whole) if size < 0 else size
        given, self._rest = whole[:wanted], whole[wanted:]
        self._position += len(given)
        self._kept = (self._kept + given)[-4 * _RECORD_BYTES :]
        return given

    def at(self, position: int) -> bytes:
        """The block of tar that begins there, as far as it was read."""
        place = len(self._kept) - (self._position - position)
        return self._kept[place : place + _TAR_BLOCK_BYTES] if place >= 0 else b""

    def has_more_after(self, position: int) -> bool:
        """Whether there is anything but padding behind; reads to the end."""
        place = max(0, len(self._kept) - (self._position - position))
        found = bool(self._kept[place:].strip(b"\0"))
        while block := self.read(_BLOCK_BYTES):
            found |= bool(block.strip(b"\0"))
        return found


def _tar_time_ns(entry: tarfile.TarInfo) -> int:
    whole, _, part = entry.pax_headers.get("mtime", "").partition(".")
    try:
        return int(whole) * 10**9 + int((part + "0" * 9)[:9])
    except ValueError:
        return int(entry.mtime) * 10**9


def _zip_time_ns(entry: zipfile.ZipInfo, zone: tzinfo) -> int:
    try:
        return int(datetime(*entry.date_time, tzinfo=zone).timestamp()) * 10**9
    except ValueError:
        return 0


def _id_of(name: str, number: int, *, of_group: bool) -> int:
    """The number that a name has on this host, as tar has it; else the archive's."""
    try:
        if name:
            return grp.getgrnam(name).gr_gid if of_group else pwd.getpwnam(name).pw_uid
    except KeyError:
        pass
    return number


def described(path: Path) -> str:
    """What an archive is, for people: `tar.gz`, `zip`."""
    if is_zip(path):
        return "zip"
    short = {"gzip": ".gz", "zstd": ".zst", "bzip2": ".bz2", "xz": ".xz", None: ""}
    return f"tar{short[compression_of(path)]}"


def newest_in(path: Path, zone: tzinfo) -> datetime | None:
    """The newest time of a file in an archive; None when it holds none, or can't be read: what is
    wrong with it is for `unpack` to say."""
    newest: int | None = None
    with contextlib.suppress(
        tarfile.TarError, zipfile.BadZipFile, EOFError, SourceError, OSError, ValueError
    ):
        if is_zip(path):
            with zipfile.ZipFile(path) as packed:
                times = [_zip_time_ns(one, zone) for one in packed.infolist() if not one.is_dir()]
            newest = max(times, default=None)
        else:
            with tarfile.open(
                fileobj=_Tail(plain_blocks(path)), mode="r|", bufsize=_RECORD_BYTES
            ) as archive:
                newest = max((_tar_time_ns(one) for one in archive if one.isreg()), default=None)
    return None if newest is None else datetime.fromtimestamp(newest // 10**9, UTC)
