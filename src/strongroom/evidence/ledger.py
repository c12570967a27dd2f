"""The ledger: one JSON line per record, each holding the hash of the line before.

For: showing later what was captured, restored and proven, and that the list is whole. Not for:
secrets (invariant I6), or anything that cannot be lost with this host.

    {"seq": 7, "at": "2026-11-23T22:00:00Z", "kind": "drill", ..., "previous": H6, "hash": H7}

Invariants: `append` returns after the line is on stable storage; writers of several processes
take turns; a line is never changed. Any edit, removal, insertion or exchange of lines breaks the
chain, and the `.head` file beside it shows when lines are missing from the end. A line that a
power cut tore is set aside by the next writer, which says so in a record of its own. One that finds
fewer records than the head knows says so as well, and that record is a fault for ever: whoever
writes next must not cover up what somebody took away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from strongroom.errors import ConfigError, StorageError

# The kind of the record with which a ledger goes on from a copy of a lost one.
ADOPTED: Final = "ledger-adopted"
# Kinds of records that tell who did what: a command's run, that one has begun, other settings.
COMMAND: Final = "command"
BEGUN: Final = "command-begun"
CONFIGURATION: Final = "configuration"
# They tell nothing of what is stored: a ledger of these alone knows no capture.
AUDIT_KINDS: Final = frozenset({COMMAND, BEGUN, CONFIGURATION})
# What a writer found to be missing from the end.
_CUT: Final = "ledger-cut"
_GENESIS: Final = "0" * 64
_OWN_FIELDS: Final = frozenset({"seq", "at", "kind", "previous", "hash"})
_TAIL_BYTES: Final = 64 << 10


def utc_now() -> datetime:
    """What the host's clock shows."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it was written: `fields` is what the writer gave."""

    seq: int
    at: datetime
    kind: str
    fields: Mapping[str, Any]  # Any: JSON values
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A place where the ledger is not what was written. `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class _Head:
    seq: int
    hash: str


_START: Final = _Head(0, _GENESIS)


class Ledger:
    """The ledger at a path; the file appears with the first record. `clock` says when that is;
    tests alone give another one than the host's."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._clock = clock
        self._head_path = path.with_name(path.name + ".head")

    def append(self, kind: str, fields: Mapping[str, Any]) -> Entry:  # Any: JSON values
        """Write a record durably and return it.

        StorageError when the place cannot be written to; ConfigError when it is no ledger.
        """
        entry = self.append_if(kind, lambda: fields)
        assert entry is not None, "there are fields"
        return entry

    def append_if(
        self,
        kind: str,
        decide: Callable[[], Mapping[str, Any] | None],  # Any: JSON values
    ) -> Entry | None:
        """Like `append`, with the fields that `decide` gives, which may read the ledger: nobody
        else writes meanwhile. Nothing is written, and None returned, when it gives None."""
        with self._writing() as file:
            fields = decide()
            if fields is None:
                return None
            head, torn = self._last(file)
            missing = self._missing(head)
            if torn:
                head = self._set_aside(file, head, torn)
            if missing is not None:
                cut = self._write(file, head, _CUT, missing)
                head = _Head(cut.seq, cut.hash)
            return self._write(file, head, kind, fields)

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """The records in order, of one kind if given; lines that are none are left out."""
        for _, line in self._lines():
            with contextlib.suppress(ValueError):
                entry = _decode(line)
                if kind is None or entry.kind == kind:
                    yield entry

    def backwards(self) -> Iterator[Entry]:
        """The records from the newest one on, as far as is asked; lines that are none are left
        out."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error
        with file:
            for line in _backwards(file):
                with contextlib.suppress(ValueError):
                    yield _decode(line)

    def verify(self) -> Sequence[Fault]:
        """Every place where the chain is broken; empty when the ledger is whole."""
        with self._unwritten():
            return self._faults()

    def survey(self, take: Callable[[Entry], object]) -> Sequence[Fault]:
        """Hand over each record in order, leaving out lines that are none; returns every place
        where the chain is broken. One reading, in which nobody writes."""
        with self._unwritten():
            return self._faults(take)

    def _faults(self, take: Callable[[Entry], object] | None = None) -> list[Fault]:
        faults, hashes, number = _broken(self._lines(), take)
        head = self._read_head()
        if head is not None and hashes.get(head.seq) != head.hash:
            missing = "the last record that was written is missing or another one"
            faults.append(Fault(number + 1, f"{missing} (record {head.seq})"))
        elif head is None and hashes:
            faults.append(Fault(number + 1, f"{self._head_path.name} is missing or unreadable"))
        return faults

    @property
    def was_removed(self) -> bool:
        """Whether its head is left, and the ledger itself is not."""
        return self._head_path.exists() and not self.path.exists()

    def branch(self) -> str:
        """The hash with which this ledger begins, or from which it went on alone after it was lost:
        the same for all its copies, another one for every other ledger. Empty without records."""
        return branch(self.entries())

    # Copies of it

    def content(self) -> bytes:
        """All whole lines as they stand; empty when there is no ledger."""
        try:
            lines = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._unreadable(error) from error
        return lines[: lines.rfind(b"\n") + 1]

    def adopt(
        self,
        content: bytes,
        fields: Mapping[str, Any],  # Any: JSON values
        meanwhile: Sequence[Entry] = (),
    ) -> Entry:
        """Go on where a copy of a lost ledger ends; returns the record that says so.

        What was recorded here meanwhile follows, each record with its own time and, as `carried`,
        the hash that it had. ConfigError when the ledger here is not what `meanwhile` says, or
        when the copy's chain is broken.
        """
        faults, hashes, _ = _broken(enumerate(content.splitlines(), start=1))
        if faults or not hashes:
            message = faults[0].message if faults else "it holds no record"
            raise ConfigError(f"this copy is no ledger: {message}", subject=str(self.path))
        was_missing = not self.path.exists()
        with self._writing() as file:
            try:
                self._refuse_others(file, meanwhile)
                head = _Head(*max(hashes.items()))
                adopted, line = _seal(head, ADOPTED, fields, self._clock())
                lines, last = [content, line], adopted
                for one in meanwhile:
                    head, told = _Head(last.seq, last.hash), {**one.fields, "carried": one.hash}
                    last, line = _seal(head, one.kind, told, one.at)
                    lines.append(line)
                with self._temporary(self.path, b"".join(lines)) as temporary:
                    temporary.rename(self.path)
            except BaseException:
                if was_missing and not os.fstat(file).st_size:
                    self.path.unlink(missing_ok=True)  # else it would look as if it was emptied
                raise
            self._save_head(_Head(last.seq, last.hash))
        return adopted

    def _refuse_others(self, file: int, known: Sequence[Entry]) -> None:
        """ConfigError when the ledger holds other records than these: somebody was faster."""
        here = [one.hash for one in self.entries()]
        if here != [one.hash for one in known] or (os.fstat(file).st_size and not here):
            raise ConfigError("there is a ledger already", subject=str(self.path))

    # Writing

    @contextlib.contextmanager
    def _writing(self) -> Iterator[int]:
        """An open descriptor of the file, locked against other writers."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = self._locked(os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX)
        except OSError as error:
            raise self._failed(error) from error
        try:
            yield descriptor
        except OSError as error:
            raise self._failed(error) from error
        finally:
            os.close(descriptor)

    def _locked(self, flags: int, how: int) -> int:
        """A locked descriptor of the file that is at the path, also when another one has taken its
        place while we waited."""
        while True:
            descriptor = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, how)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    # Any: JSON values
    def _write(self, file: int, head: _Head, kind: str, fields: Mapping[str, Any]) -> Entry:
        entry, line = _seal(head, kind, fields, self._clock())
        written = os.write(file, line)
        if written != len(line):  # a full disk: take the half line back, nothing was promised
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise StorageError("no space is left", subject=str(self.path), code="store-full")
        os.fsync(file)
        self._save_head(_Head(entry.seq, entry.hash))
        return entry

    def _save_head(self, head: _Head) -> None:
        content = json.dumps({"seq": head.seq, "hash": head.hash}).encode()
        with self._temporary(self._head_path, content) as temporary:
            temporary.rename(self._head_path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _temporary(self, beside: Path, content: bytes) -> Iterator[Path]:
        """A file of this content on stable storage, to be renamed or linked to its place."""
        temporary = beside.with_name(f"{beside.name}-{secrets.token_hex(4)}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _last(self, file: int) -> tuple[_Head, bytes]:
        """The last whole record, and what a torn write left behind it."""
        size = os.fstat(file).st_size
        if size == 0:
            return self._read_head() or _START, b""
        tail, begin = b"", size
        while begin > 0 and tail.count(b"\n") < 2:
            step = min(begin, _TAIL_BYTES)
            begin -= step
            tail = os.pread(file, step, begin) + tail
        whole, newline, torn = tail.rpartition(b"\n")
        if not newline:
            return _START, torn
        try:
            last = _decode(whole.rpartition(b"\n")[2])
        except ValueError as error:
            raise ConfigError(
                f"its last line is no record: {error}",
                subject=str(self.path),
                hint="Look at it with `strongroom log --verify`, then move the file aside.",
            ) from error
        return _Head(last.seq, last.hash), torn

    def _missing(self, last: _Head) -> dict[str, Any] | None:  # Any: JSON values
        """What the head knows of and this last record isn't: told before another head is saved.
        Between a record and its head a writer may be killed, so a head may be behind."""
        head = self._read_head()
        if head is None or head.seq < last.seq or head == last:
            return None
        return {"after": last.seq, "head": {"seq": head.seq, "hash": head.hash}}

    def _set_aside(self, file: int, head: _Head, torn: bytes) -> _Head:
        os.ftruncate(file, os.fstat(file).st_size - len(torn))
        fields = {"torn_bytes": len(torn), "torn_sha256": hashlib.sha256(torn).hexdigest()}
        entry = self._write(file, head, "ledger-torn", fields)
        return _Head(entry.seq, entry.hash)

    def _failed(self, error: OSError) -> StorageError:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return StorageError(
            f"the ledger cannot be written: {reason}",
            subject=str(self.path),
            code="store-refused",
            hint="Let this user write to the folder that `state:` names.",
        )

    # Reading

    @contextlib.contextmanager
    def _unwritten(self) -> Iterator[None]:
        """Holds writers off, between a line and its head as well."""
        try:
            descriptor = self._locked(os.O_RDONLY, fcntl.LOCK_SH)
        except OSError:  # whoever reads it says why
            yield
            return
        try:
            yield
        finally:
            os.close(descriptor)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    yield number, line.removesuffix(b"\n") if line.endswith(b"\n") else line + b"?"
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StorageError:
        return StorageError(
            f"the ledger cannot be read: {os.strerror(error.errno or 0)}",
            subject=str(self.path),
            code="store-refused",
            hint="Let this user read it; it lies in the folder that `state:` names.",
        )

    def _read_head(self) -> _Head | None:
        try:
            fields = json.loads(self._head_path.read_bytes())
            return _Head(int(fields["seq"]), str(fields["hash"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def records(content: bytes) -> list[Entry]:
    """The records of a copy of a ledger, in order; ConfigError when its chain is broken."""
    lines = content.splitlines()
    faults, _, _ = _broken(enumerate(lines, start=1))
    if faults:
        raise ConfigError(f"line {faults[0].line}: {faults[0].message}", subject="ledger")
    return [_decode(line) for line in lines]


def branch(entries: Iterable[Entry]) -> str:
    """See `Ledger.branch`."""
    found = ""
    for entry in entries:
        if not found or entry.kind == ADOPTED:
            found = entry.hash
    return found


def _broken(
    lines: Iterable[tuple[int, bytes]], take: Callable[[Entry], object] | None = None
) -> tuple[list[Fault], dict[int, str], int]:
    """Where the chain is broken, the hash of each record by its number, and the last line's;
    `take` is handed the records themselves."""
    faults: list[Fault] = []
    previous, seq, number = _GENESIS, 0, 0
    hashes: dict[int, str] = {}
    for number, line in lines:
        try:
            entry, before = _decode_linked(line)
        except ValueError as error:
            faults.append(Fault(number, str(error)))
            continue
        if entry.seq != seq + 1:
            faults.append(Fault(number, f"record {seq + 1} is expected, {entry.seq} stands"))
        elif before != previous:
            faults.append(Fault(number, "it does not follow from the line before"))
        previous, seq = entry.hash, entry.seq
        hashes[seq] = entry.hash
        if entry.kind == _CUT:
            faults.append(Fault(number, f"records were missing here: {_told(entry)}"))
        if take is not None:
            take(entry)
    return faults, hashes, number


def _told(cut: Entry) -> str:
    """What a writer found to be missing."""
    after, head = cut.fields.get("after"), cut.fields.get("head")
    last = head.get("seq") if isinstance(head, dict) else None
    if last == after:
        return f"record {last} was another one"
    return f"the last one was {after}, and {last} had been written"


def _backwards(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines of a file, the last one first."""
    end, rest = file.seek(0, os.SEEK_END), b""
    torn = True
    while end > 0:
        begin = max(0, end - _TAIL_BYTES)
        file.seek(begin)
        lines = (file.read(end - begin) + rest).split(b"\n")
        if torn and len(lines) > 1:  # what follows the last line's end is none
            lines.pop()
            torn = False
        rest = lines.pop(0) if begin or torn else b""
        yield from reversed(lines)
        end = begin


def _seal(
    head: _Head,
    kind: str,
    fields: Mapping[str, Any],  # Any: JSON values
    at: datetime,
) -> tuple[Entry, bytes]:
    """The record that follows `head`, and its line."""
    clash = _OWN_FIELDS & fields.keys()
    if clash:
        raise ValueError(f"a record's own fields cannot be given: {sorted(clash)}")
    record = {
        "seq": head.seq + 1,
        "at": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": kind,
        **fields,
        "previous": head.hash,
    }
    line, digest = _encode(record)
    return Entry(head.seq + 1, at, kind, dict(fields), digest), line


def _encode(record: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line of a record and its hash: SHA-256 of the JSON as it stands without `hash`."""
    body = json.dumps(record, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{body[:-1]},"hash":"{digest}"}}\n'.encode(), digest


def _decode(line: bytes) -> Entry:
    """The record of a line; ValueError when it is none or its hash does not fit."""
    return _decode_linked(line)[0]


def _decode_linked(line: bytes) -> tuple[Entry, str]:
    """The same, and the hash of the record before that it names."""
    seal = b',"hash":"'
    body, found, rest = line.rpartition(seal)
    digest = rest.removesuffix(b'"}').decode("ascii", "replace")
    body += b"}"
    if not found or hashlib.sha256(body).hexdigest() != digest:
        raise ValueError("the line's hash does not fit its text")
    try:
        fields = json.loads(body)
        previous = str(fields.pop("previous"))
        seq, kind = int(fields.pop("seq")), str(fields.pop("kind"))
        at = datetime.fromisoformat(fields.pop("at"))
        fields.pop("hash", None)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error}") from error
    if at.tzinfo is None:
        raise ValueError("not a record: its time has no zone")
    return Entry(seq, at, kind, fields, digest), previous
