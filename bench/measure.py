"""Runs a contender and says what it cost: wall time, processor time, peak memory.

A contender is one command or a pipeline of commands. Processor time is what the kernel accounts
to the commands and to every descendant they waited for. Peak memory is the largest sum of
resident sets of the whole process tree, sampled; a process called `postgres` is left out, because
a database server's shared memory is no contender's own. Shared pages of several processes count
once for each, so the number is never flattering; but a process that is being started and still
lives in its parent's memory (vfork(2)) has none of its own.

Invariant: a command that fails never yields a measurement; it raises `CommandError`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Argv = Sequence[str | Path]

SAMPLE_SECONDS = 0.04
READ_BYTES = 1 << 20
_ERROR_TAIL_CHARACTERS = 2000
_LEFT_OUT = "postgres"
_KCMP = {"x86_64": 312, "aarch64": 272}.get(platform.machine())
_KCMP_VM = 1
_SYSCALL = ctypes.CDLL(None).syscall


class CommandError(Exception):
    """A command of a contender ended badly; the text has its name and the end of its messages."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run cost: seconds of wall clock, seconds of processor (user + system), bytes."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str = ""


@dataclass(frozen=True, slots=True)
class _Resident:
    now_bytes: int
    peak_bytes: int
    parent: int = 0


def run_measured(
    pipeline: Sequence[Argv],
    *,
    environment: Mapping[str, str],
    directory: Path,
) -> Usage:
    """The cost of `pipeline`, whose commands are joined by pipes and start together.

    Standard output of the last command is returned as text. Raises CommandError when any of them
    ends with a status other than 0. Nothing that was started outlives the call.
    """
    with tempfile.TemporaryFile() as messages, tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        children = _start(pipeline, environment, directory, output, messages)
        sampler = _Sampler([child.pid for child in children])
        sampler.start()
        try:
            cpu_seconds = sum(_wait(child) for child in children)
            wall_seconds = time.perf_counter() - begun
        except BaseException:
            for child in children:
                child.terminate()  # Popen asks first whether it is still there
                child.wait()
            raise
        finally:
            sampler.stop()
        statuses = [child.returncode for child in children]
        if any(statuses):
            raise CommandError(_failure(pipeline, statuses, _text(messages), _text(output)))
        return Usage(wall_seconds, cpu_seconds, sampler.peak_bytes, _text(output))


def _wait(child: subprocess.Popen[bytes]) -> float:
    """Waits for the end of `child`; the processor seconds of it and what it waited for itself."""
    _, status, spent = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return spent.ru_utime + spent.ru_stime


def _start(
    pipeline: Sequence[Argv],
    environment: Mapping[str, str],
    directory: Path,
    output: IO[bytes],
    messages: IO[bytes],
) -> list[subprocess.Popen[bytes]]:
    children: list[subprocess.Popen[bytes]] = []
    for place, argv in enumerate(pipeline):
        last = place == len(pipeline) - 1
        before = children[-1].stdout if children else None
        child = subprocess.Popen(
            [str(word) for word in argv],
            stdin=before if before is not None else subprocess.DEVNULL,
            stdout=output if last else subprocess.PIPE,
            stderr=messages,
            env=dict(environment),
            cwd=directory,
        )
        if before is not None:
            before.close()  # so that the writer notices when its reader has gone
        children.append(child)
    return children


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _failure(pipeline: Sequence[Argv], statuses: Sequence[int], messages: str, output: str) -> str:
    ended = ", ".join(
        f"{Path(argv[0]).name} {status}" for argv, status in zip(pipeline, statuses, strict=True)
    )
    tail = (messages.strip() or output.strip())[-_ERROR_TAIL_CHARACTERS:]
    return f"exit status {ended}: {tail}"


class _Sampler(threading.Thread):
    """Watches the trees below some processes until told to stop; `peak_bytes` is the result."""

    def __init__(self, roots: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self._roots = roots
        self._over = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        self._sample()
        while not self._over.wait(SAMPLE_SECONDS):
            self._sample()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _sample(self) -> None:
        together = 0
        for pid in tree(self._roots):
            resident = _resident(pid)
            if not share_memory(pid, resident.parent):
                together += resident.now_bytes
            self.peak_bytes = max(self.peak_bytes, resident.peak_bytes)
        self.peak_bytes = max(self.peak_bytes, together)


def tree(roots: Sequence[int]) -> list[int]:
    """The process ids of `roots` and all their descendants that are alive."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            threads = list(Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                children = (thread / "children").read_text()
            except OSError:
                continue
            waiting += map(int, children.split())
    return found


def _resident(pid: int) -> _Resident:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return _Resident(0, 0)
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    if facts["Name"].strip() == _LEFT_OUT:
        return _Resident(0, 0)
    now, peak = _kibibytes(facts.get("VmRSS")), _kibibytes(facts.get("VmHWM"))
    return _Resident(now, peak, int(facts["PPid"]))


def share_memory(one: int, other: int) -> bool:
    """Whether two processes are known to live in the very same memory; see kcmp(2)."""
    return _KCMP is not None and _SYSCALL(_KCMP, one, other, _KCMP_VM, 0, 0) == 0


def _kibibytes(field: str | None) -> int:
    return int(field.split()[0]) * 1024 if field else 0  # a zombie has no such line


def read_through(place: Path) -> int:
    """Reads every file at or below `place`, so that the next run finds them in memory; in bytes."""
    total = 0
    buffer = bytearray(READ_BYTES)
    for path in files_below(place):
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                total += count
    return total


def size_of(place: Path) -> int:
    """The lengths of all files at or below `place`, summed, in bytes."""
    return sum(path.lstat().st_size for path in files_below(place))


def files_below(place: Path) -> list[Path]:
    """All regular files at or below `place`, in a stable order."""
    if place.is_file():
        return [place]
    found = []
    for folder, _, names in os.walk(place):
        found += [Path(folder, name) for name in names]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())
