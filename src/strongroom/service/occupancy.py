"""Who is at work on this host: locks on files in the state folder, given up with their process.

They keep two services apart, and two runs of the same kind; what happens in a repository is guarded
by the repository's own locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from strongroom.errors import BusyError

SERVICE: Final = "service"
# How often whoever serves gives a sign of life, at least.
SIGN_INTERVAL: Final = timedelta(minutes=1)


def _nobody(_: str) -> None:
    """Where messages go when nobody listens."""


@dataclass(frozen=True, slots=True)
class Hold:
    """That nobody else does this, of those who ask."""

    path: Path
    _descriptor: int

    def note(self, *lines: str) -> None:
        """Leave notes, of one line each, for others."""
        _write_holder(self._descriptor, *lines)

    def is_kept(self) -> bool:
        """Whether others would still find it: not once the folder was removed or replaced."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except OSError:
            return False


@contextlib.contextmanager
def sole(folder: Path, what: str) -> Iterator[Hold]:
    """Nobody else does this, of those who ask; BusyError when somebody does."""
    with _opened(folder, what) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            raise BusyError(
                f"another {what} is running{holder}",
                subject=str(folder),
                hint=f"Use that one, or stop it: it holds {_path(folder, what).name}.",
            ) from None
        _write_holder(descriptor)
        yield Hold(_path(folder, what), descriptor)


@contextlib.contextmanager
def in_turn(folder: Path, what: str, say: Callable[[str], None] = _nobody) -> Iterator[None]:
    """Nobody else does this meanwhile, of those who ask; who comes later waits, and says so.

    Where the folder can't be written to, nobody is kept apart: what follows will say why.
    """
    with contextlib.ExitStack() as held:
        try:
            descriptor = held.enter_context(_opened(folder, what))
        except OSError:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another {what} to end{_holder(descriptor)}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write_holder(descriptor)
        yield


def is_occupied(folder: Path, what: str) -> bool:
    """Whether somebody does this now."""
    try:
        descriptor = os.open(_path(folder, what), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_served(folder: Path, config: str) -> bool:
    """Whether a service is there that has this very configuration, and takes orders."""
    return is_occupied(folder, SERVICE) and holder_notes(folder, SERVICE)[:1] == [config]


def touch(folder: Path, what: str) -> None:
    """Whoever does this lives: see `last_sign`."""
    with contextlib.suppress(OSError):
        os.utime(_path(folder, what))


def last_sign(folder: Path, what: str) -> datetime | None:
    """When whoever does this now last gave a sign of life; None when nobody does."""
    if not is_occupied(folder, what):
        return None
    try:
        return datetime.fromtimestamp(_path(folder, what).stat().st_mtime, UTC)
    except OSError:
        return None


def has_room(folder: Path) -> bool:
    """Whether anything can still be written there, as far as its file system says."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return True  # whoever writes there learns why that fails
    # Some say nothing of their size.
    return found.f_blocks == 0 or found.f_bavail > 0


def holder_notes(folder: Path, what: str) -> list[str]:
    """What whoever did this last left for others; nothing when nothing is known."""
    try:
        lines = _path(folder, what).read_text(errors="replace").split("\n")
    except OSError:
        return []
    return lines[1:-1]


def is_held_by(folder: Path, what: str, process: int) -> bool:
    """Whether this process does it now."""
    try:
        first = _path(folder, what).read_text(errors="replace").partition("\n")[0]
    except OSError:
        return False
    return first == str(process) and is_occupied(folder, what)


def _path(folder: Path, what: str) -> Path:
    return folder / f"{what}.lock"


@contextlib.contextmanager
def _opened(folder: Path, what: str) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(_path(folder, what), flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, *notes: str) -> None:
    os.ftruncate(descriptor, 0)
    lines = [str(os.getpid()), *notes]
    os.pwrite(descriptor, "".join(f"{one}\n" for one in lines).encode(), 0)


def _holder(descriptor: int) -> str:
    given = os.pread(descriptor, 32, 0).decode("ascii", "replace").partition("\n")[0]
    return f" (process {given})" if given.isdecimal() else ""
