"""Files from before Strongroom: which belong together, what each is, and of which moment.

Everything here only reads. A file is recognised by what is in it, never by its name; its name is
asked for its date alone.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from strongroom.errors import ConfigError, SourceError
from strongroom.plan.dating import Clue, Dated, UndatedError, date_file, dates_in_name
from strongroom.sources.compressed import IncompleteError, compression_of, plain_blocks
from strongroom.sources.unpacking import described, is_tar, is_zip, newest_in, read_tar

if TYPE_CHECKING:
    from strongroom.postgres.dump_archive import Archive
    from strongroom.postgres.dump_load import DumpPart
    from strongroom.postgres.dump_text import DumpFacts

__all__ = ["Dump", "Given", "Surveyed", "date_of", "gather", "survey_archive", "survey_database"]

# The files that the Supabase CLI makes of one database, in the order in which they are loaded.
_PARTS: Final = ("roles", "schema", "data")
_PART: Final = re.compile(r"^(.*?)(?<![a-z])(roles|schema|data)(?![a-z])(.*)$", re.IGNORECASE)
_TOC: Final = "toc.dat"
_BLOCK_BYTES: Final = 1 << 20
_BEGIN_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Given:
    """One thing to import: a file, a directory of pg_dump, or the files of one dump together."""

    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """As people call it."""
        return " + ".join(one.name for one in self.files)

    @property
    def dating_name(self) -> str:
        """Where a date is looked for: the name, or that of the folder when it has none."""
        return (
            self.files[-1].name
            if len(self.files) == 1
            else f"{self.files[-1].parent.name}/" + (self.files[-1].name)
        )

    @property
    def size_bytes(self) -> int:
        return sum(one.stat().st_size for one in self._every())

    @property
    def modified_at(self) -> datetime:
        newest = max(one.stat().st_mtime for one in self._every())
        return datetime.fromtimestamp(newest, UTC)

    def digest(self) -> str:
        """SHA-256 of the file; of several that of their names' and contents' digests."""
        every = list(self._every())
        if len(every) == 1 and every[0] == self.files[0]:
            return _digest_of(every[0])
        whole = hashlib.sha256()
        for one in every:
            whole.update(f"{_digest_of(one)}  {one.name}\n".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def _every(self) -> Iterator[Path]:
        for one in self.files:
            if one.is_dir():
                yield from sorted(inner for inner in one.rglob("*") if inner.is_file())
            else:
                yield one


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump that was read to its end: its format, its parts, and what it says of itself."""

    format: str
    parts: tuple[DumpPart, ...]
    facts: DumpFacts
    database: str = ""
    archive: Archive | None = None


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A thing to import with its digest and its date."""

    given: Given
    sha256: str
    size_bytes: int
    dated: Dated
    format: str
    dump: Dump | None = field(default=None, repr=False)


# Which files there are


def gather(paths: Sequence[Path]) -> list[Given]:
    """The things to import that these paths name; files of one dump are one thing.

    ConfigError `usage` for a path that is none, or a directory that is no dump.
    """
    files: list[Path] = []
    for path in dict.fromkeys(paths):
        if not os.path.lexists(path):
            raise ConfigError("there is no such file", subject=str(path), code="usage")
        if path.is_dir() and not (path / _TOC).exists():
            files += _of_directory(path)
        elif path.is_file() or path.is_dir():
            files.append(path)
        else:
            raise ConfigError("this is neither a file nor a dump", subject=str(path), code="usage")
    found: dict[tuple[object, ...], dict[str, Path]] = {}
    for path in files:
        match = _PART.match(path.name) if path.is_file() else None
        key = (path.parent, match[1], match[3]) if match else (path,)
        found.setdefault(key, {})[match[2].lower() if match else ""] = path
    return [given for parts in found.values() for given in _grouped(parts)]


def _of_directory(path: Path) -> list[Path]:
    names = {one.name.lower(): one for one in path.iterdir() if one.is_file()}
    parts = [names[f"{part}.sql"] for part in _PARTS if f"{part}.sql" in names]
    if {"schema.sql", "data.sql"} <= names.keys():
        return parts
    raise ConfigError(
        f"this directory is no dump: it has neither {_TOC} nor schema.sql and data.sql",
        subject=str(path),
        code="usage",
        hint="Name the files in it: their dates may differ.",
    )


def _grouped(parts: dict[str, Path]) -> Iterator[Given]:
    if {"schema", "data"} <= parts.keys():
        yield Given(tuple(parts[one] for one in _PARTS if one in parts))
        return
    for path in parts.values():
        yield Given((path,))


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# What they are


def _begin_of(path: Path) -> bytes:
    begin = b""
    for block in plain_blocks(path):
        begin += block
        if len(begin) >= _BEGIN_BYTES:
            break
    if not begin:
        raise IncompleteError("it is empty", subject=str(path))
    return begin[:_BEGIN_BYTES]


def survey_database(given: Given, folder: Path) -> Dump:
    """The dump of a database, read to its end; what has to be decompressed lies in `folder`.

    Raises SourceError `file-incomplete` when it is cut, `file-unfit` when it is something else.
    """
    first = given.files[0]
    if first.is_dir():
        return _archive(first, "directory")
    begin = _begin_of(first)
    if begin.startswith(b"PGDMP"):
        return _archive(_decompressed(first, folder), "custom")
    if begin[257:262] == b"ustar":
        if begin.startswith(b"toc.dat\0"):
            read_tar(first)  # pg_restore never comes to an end with one that was cut
            return _archive(_decompressed(first, folder), "tar of pg_dump")
        raise _unfit(first, "it is an archive of files, not a dump of a database")
    if is_zip(first):
        raise _unfit(first, "it is a zip archive, not a dump of a database")
    if b"\0" in begin:
        raise _unfit(first, "it is neither SQL nor an archive of pg_dump")
    return _plain(given)


def _unfit(path: Path, why: str) -> SourceError:
    return SourceError(
        why,
        subject=str(path),
        code="file-unfit",
        hint="Name a source of the kind that the file is of, or unpack what is in it.",
    )


def _plain(given: Given) -> Dump:
    from strongroom.postgres.dump_load import DumpPart
    from strongroom.postgres.dump_text import survey_dump

    whole: DumpFacts | None = None
    parts = []
    for path in given.files:
        facts = survey_dump(plain_blocks(path))
        if facts.ends:
            facts.ends = f"{path.name}: {facts.ends}" if len(given.files) > 1 else facts.ends
        parts.append(DumpPart(path.name, _Reader(path)))
        if whole is None:
            whole = facts
        else:
            whole.take_in(facts)
    assert whole is not None, "there is a file"
    packed = compression_of(given.files[0])
    name = "plain SQL" if len(parts) == 1 else f"plain SQL in {len(parts)} files"
    return Dump(f"{name}, {packed}" if packed else name, tuple(parts), whole)


@dataclass(frozen=True, slots=True)
class _Reader:
    path: Path

    def __call__(self) -> Iterable[bytes]:
        return plain_blocks(self.path)


def _archive(path: Path, format_name: str) -> Dump:
    from strongroom.postgres.dump_archive import open_archive
    from strongroom.postgres.dump_load import DumpPart
    from strongroom.postgres.dump_text import survey_dump

    archive = open_archive(path)
    facts = survey_dump(archive.script())
    # Its own words are surer than those of the script that a newer program makes of it.
    facts.server_version, facts.server_major = (
        archive.server_version,
        _major(archive.server_version),
    )
    facts.program_version, facts.program_major = (
        archive.program_version,
        _major(archive.program_version),
    )
    part = DumpPart(path.name, archive.script)
    return Dump(format_name, (part,), facts, archive.database, archive)


def _major(version: str) -> int | None:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else None


def _decompressed(path: Path, folder: Path) -> Path:
    """The file itself, or what was compressed in it: pg_restore wants to go back and forth."""
    if compression_of(path) is None:
        return path
    plain = folder / (path.name.rpartition(".")[0] or path.name)
    if not plain.exists():
        with plain.open("xb") as file:
            file.writelines(plain_blocks(path))
    return plain


def survey_archive(given: Given) -> str:
    """What an archive of files is, for people; SourceError `file-unfit` when it is none."""
    path = given.files[0]
    if len(given.files) > 1 or path.is_dir():
        raise _unfit(path, "it is a dump of a database, not an archive of files")
    if path.stat().st_size == 0:
        raise IncompleteError("it is empty", subject=str(path))
    if not is_zip(path) and not is_tar(path):
        raise _unfit(path, "it is neither a tar nor a zip archive")
    return described(path)


# When they were made


def date_of(
    given: Given, dump: Dump | None, captured_at: datetime | None, zone_name: str, now: datetime
) -> Dated:
    """The moment of which it is; SourceError `date-unknown` when nobody can say."""
    zone = ZoneInfo(zone_name)
    name = given.dating_name
    try:
        exact = captured_at is not None or any(one.at for one in dates_in_name(name, zone))
        inside = [] if exact else list(_inside(given, dump, zone))
        clues = [*inside, Clue("the file's own time", given.modified_at)]
        return date_file(name, given=captured_at, clues=clues, zone=zone, now=now)
    except UndatedError as why:
        raise SourceError(
            f"of which moment it is, is not known: {why}", subject=given.name, code="date-unknown"
        ) from None


def _inside(given: Given, dump: Dump | None, zone: tzinfo) -> Iterator[Clue]:
    """What stands in the file."""
    if dump is None:
        newest = newest_in(given.files[0], zone)
        if newest is not None:
            yield Clue("the newest file in it", newest)
        return
    if dump.archive is not None and dump.archive.created:
        yield Clue("the archive's own date", _local(dump.archive.created, "", zone))
    elif dump.facts.started is not None:
        yield Clue('its line "Started on"', _local(*dump.facts.started, zone))


def _local(text: str, zone_told: str, zone: tzinfo) -> datetime:
    """A clock's time as a dump has it, in its own zone if it is told so that it can be known."""
    moment = datetime.fromisoformat(text)
    if zone_told in ("UTC", "GMT", "Z"):
        return moment.replace(tzinfo=UTC)
    if re.fullmatch(r"[+-]\d\d(?::?\d\d)?", zone_told):
        return datetime.fromisoformat(f"{text}{zone_told}")
    return moment.replace(tzinfo=zone)
