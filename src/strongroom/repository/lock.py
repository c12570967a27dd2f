"""Locks as restic has them, so that both tools can share a repository.

Facts: REPOSITORY_FORMAT 1.12 (docs/FORMAT.md, "Locks"). A writer lists the other locks, writes
its own, lists again, waits, lists once more, and gives way when an exclusive one is there.
`acquire` returns after its own lock is written and nobody else's was seen; `confirm` must be called
before anything is written that relies on it, so that the wait passes while a capture already reads
its source. What the store holds may be looked at between the two, since who removes something
either was seen in time, or sees this lock.

To learn whether the process of a lock lives, stock restic sends it SIGHUP, which must not end it.

A lock of a dead process on this host is removed and reported. Another host's old lock never stops
adding data, not even an exclusive one: whoever could not refresh it for so long must have stopped.
How old it is, the store's clock says, by the times of its file and of ours. To remove data, nobody
goes ahead on age alone: that takes `unlock`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final

from strongroom.errors import BusyError, IntegrityError, StorageError
from strongroom.model import Finding, finding
from strongroom.repository.document import MALFORMED, parse_json, plain_text
from strongroom.repository.snapshot import format_time, moment
from strongroom.repository.storage.protocol import Buffer, StoredFile
from strongroom.repository.tree import parse_time

_SETTLE_SECONDS: Final = 0.2
_REFRESH_SECONDS: Final = 300.0
_GIVE_UP_AFTER: Final = timedelta(minutes=22, seconds=30)
_STALE_AFTER: Final = timedelta(minutes=30)
_UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What a lock file says, and when it was stored by the store's clock, if that tells."""

    name: str
    taken_at: datetime
    exclusive: bool
    hostname: str
    username: str
    pid: int
    modified_at: datetime | None = None

    def is_dead(self, hostname: str) -> bool:
        """Whether its process ran on this host and is gone."""
        if self.hostname != hostname or self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False


class LockStore:
    """The lock files of one repository, as `Repository` reads and writes them."""

    def __init__(
        self,
        files: Callable[[], list[StoredFile]],
        load: Callable[[str], bytes],
        seal: Callable[[bytes], tuple[str, Buffer]],
        save: Callable[[str, Buffer], None],
        delete: Callable[[str], None],
    ) -> None:
        self.files, self.load, self.delete = files, load, delete
        self.seal, self.save = seal, save

    def records(self) -> list[LockRecord]:
        """All locks; an empty file is ignored, an unreadable one counts as exclusive."""
        records = []
        for file in self.files():
            try:
                content = self.load(file.name)
            except StorageError as error:
                if error.code == "store-missing":
                    continue  # released meanwhile
                raise
            except IntegrityError:
                record = _unreadable(file.name)
            else:
                if not content:
                    continue
                record = decode_record(file.name, content)
            records.append(replace(record, modified_at=file.modified_at))
        return records


class Lock:
    """One lock of ours, refreshed by a thread until it is released."""

    def __init__(self, store: LockStore, subject: str, *, exclusive: bool) -> None:
        self._store = store
        self._subject = subject
        self._exclusive = exclusive
        self._hostname = socket.gethostname()
        self._name = ""
        self._refreshed_at = datetime.now(UTC)
        self._confirmed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._deaf = False
        self._told: set[tuple[str, str, int]] = set()
        self.findings: list[Finding] = []

    @property
    def name(self) -> str:
        """Its file's name; empty when there is none."""
        return self._name

    def acquire(self) -> None:
        """Write the lock; BusyError when another one forbids it."""
        self._check_others()
        self._deaf = _hangup.ignore()
        # The name is known before the file is there: whoever interrupts this finds it to remove.
        self._name, sealed = self._store.seal(self._record())
        self._store.save(self._name, sealed)
        self._written = time.monotonic()
        try:
            # Whoever was there since the first look is met here, even if it will be gone when
            # `confirm` looks. Whoever comes later meets this lock.
            self._check_others()
        except BaseException:
            self.release()
            raise
        thread = threading.Thread(target=self._refresh, name="lock", daemon=True)
        thread.start()
        self._thread = thread

    def confirm(self) -> None:
        """Wait until nobody else can have missed this lock; BusyError when somebody had one."""
        if not self._confirmed.is_set():
            time.sleep(max(0.0, _SETTLE_SECONDS - (time.monotonic() - self._written)))
            self._check_others()
            self._confirmed.set()
        if datetime.now(UTC) - self._refreshed_at > _GIVE_UP_AFTER:
            raise BusyError("the lock could not be refreshed in time", subject=self._subject)

    def release(self) -> None:
        """Remove the lock; harmless when it is gone."""
        try:
            self._stop.set()
            if self._thread is not None:
                self._thread.join()
        finally:
            if self._name:
                with contextlib.suppress(StorageError):
                    self._store.delete(self._name)
                self._name = ""
            if self._deaf:
                self._deaf = False
                _hangup.obey()

    def _check_others(self) -> None:
        records = self._store.records()
        now = self._store_now(records)
        for other in records:
            if other.name == self._name:
                continue
            if other.is_dead(self._hostname):
                self._store.delete(other.name)
                self.findings.append(
                    finding(
                        "lock-removed",
                        self._subject,
                        f"process {other.pid} on this host is gone; its lock of "
                        f"{other.taken_at:%Y-%m-%d %H:%M} UTC was removed",
                    )
                )
            elif other.exclusive and not self._exclusive and is_stale(other, now):
                holder = (other.hostname, other.username, other.pid)
                if self._name and holder not in self._told:  # judged by our own lock's time, once
                    self._told.add(holder)
                    self.findings.append(
                        finding(
                            "lock-stale",
                            self._subject,
                            f"{other.username}@{other.hostname} (process {other.pid}) has not "
                            f"renewed its lock since {other.taken_at:%Y-%m-%d %H:%M} UTC",
                        )
                    )
            elif other.exclusive or self._exclusive:
                raise self._busy(other)

    def _store_now(self, records: Sequence[LockRecord]) -> datetime:
        """The store's clock, as our own file shows it; this host's until that is there."""
        own = (one.modified_at for one in records if one.name == self._name)
        return next((one for one in own if one is not None), datetime.now(UTC))

    def _busy(self, other: LockRecord) -> BusyError:
        if (other.username, other.pid) == (_UNREADABLE, 0):
            return BusyError(
                "a lock here cannot be read: it names no process that could be waited for",
                subject=self._subject,
                hint="If nobody else works in this repository, run `strongroom unlock --all`.",
            )
        age = datetime.now(UTC) - other.taken_at
        hint = None
        if age > _STALE_AFTER:
            hint = "If that process is dead, remove its lock with `strongroom unlock`."
        kind = "an exclusive" if other.exclusive else "a"
        return BusyError(
            f"{other.username or 'somebody'}@{other.hostname or 'unknown'} (process {other.pid}) "
            f"holds {kind} lock since {other.taken_at:%Y-%m-%d %H:%M} UTC",
            subject=self._subject,
            hint=hint,
        )

    def _record(self) -> bytes:
        fields = {
            "time": format_time(datetime.now(UTC)),
            "exclusive": self._exclusive,
            "hostname": self._hostname,
            "username": username(),
            "pid": os.getpid(),
            "uid": os.getuid(),
            "gid": os.getgid(),
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    def _refresh(self) -> None:
        while not self._stop.wait(_REFRESH_SECONDS):
            # A store that is away for a while is no reason to stop: `confirm` gives up in time.
            with contextlib.suppress(StorageError):
                name, sealed = self._store.seal(self._record())
                self._store.save(name, sealed)
                old, self._name = self._name, name
                self._refreshed_at = datetime.now(UTC)
                self._store.delete(old)


class _Hangup:
    """What SIGHUP does to this process: nothing while a lock is held.

    Only the main thread may decide that; locks that other threads take leave it as it is.
    """

    def __init__(self) -> None:
        self._locks = 0
        self._before: Callable[[int, FrameType | None], Any] | int | None = None  # Any: unused

    def ignore(self) -> bool:
        """Whether this call counts, so that `obey` must follow."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if not self._locks:
            self._before = signal.getsignal(signal.SIGHUP)
            if self._before not in (None, signal.SIG_IGN):
                # Not SIG_IGN: programs that are started meanwhile would inherit it.
                signal.signal(signal.SIGHUP, lambda *_: None)
        self._locks += 1
        return True

    def obey(self) -> None:
        """With the last lock gone, SIGHUP does again what it did."""
        self._locks -= 1
        here = threading.current_thread() is threading.main_thread()
        if not self._locks and here and self._before not in (None, signal.SIG_IGN):
            signal.signal(signal.SIGHUP, self._before)


_hangup: Final = _Hangup()


def is_stale(record: LockRecord, now: datetime) -> bool:
    """Whether its owner must have stopped: it was not renewed for half an hour. `now` is the
    store's; where that doesn't tell when the file was stored, what the file says counts."""
    return now - (record.modified_at or record.taken_at) > _STALE_AFTER


def remove_locks(store: LockStore, *, everything: bool = False) -> list[LockRecord]:
    """Remove the locks of dead processes and those that were not renewed for half an hour, or all;
    returns what was removed."""
    name, sealed = store.seal(b"")
    store.save(name, sealed)  # an empty one, which counts for nobody: it shows the store's clock
    try:
        times = {one.name: one.modified_at for one in store.files()}
        now = times.get(name) or datetime.now(UTC)
        hostname = socket.gethostname()
        removed = [
            one
            for one in store.records()
            if everything or one.is_dead(hostname) or is_stale(one, now)
        ]
        for one in removed:
            store.delete(one.name)
        return removed
    finally:
        store.delete(name)


def decode_record(name: str, content: bytes) -> LockRecord:
    """What a lock file says; one that cannot be read counts as held by somebody unknown."""
    try:
        fields = parse_json(content)
        if type(pid := fields.get("pid", 0)) is not int:
            raise ValueError("the number of a process is none")
        return LockRecord(
            name,
            moment(parse_time(fields["time"])),
            bool(fields.get("exclusive", False)),
            plain_text(fields.get("hostname") or ""),
            plain_text(fields.get("username") or ""),
            pid,
        )
    except MALFORMED:
        return _unreadable(name)


def _unreadable(name: str) -> LockRecord:
    return LockRecord(name, datetime.now(UTC), True, "", _UNREADABLE, 0)


def username() -> str:
    """Who runs this process, or the number where nobody has told a name."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
