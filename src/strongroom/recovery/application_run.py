"""Running the operator's commands for a recovered application: each to its end, or one that stays.

Nothing is shut in: see docs/decisions/0019-recover.md. Environment and output go where nobody
else reads them.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.confinement.detached import begun_at_ticks
from strongroom.errors import SourceError

__all__ = [
    "MARK",
    "Account",
    "Command",
    "Served",
    "end_served",
    "group_id",
    "marked",
    "run",
    "serve",
    "user_id",
]

MARK: Final = "STRONGROOM_RECOVERY"
"""The variable that names the directory for which a process serves: by it a recovery that goes on
knows what one that was killed has left running."""

_STOP_SECONDS: Final = 5.0
_START_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Account:
    """As whom a command runs: ids, and the home directory."""

    user: int
    group: int
    groups: tuple[int, ...]
    home: str

    @classmethod
    def of(cls, name: str) -> Account:
        """The account of this name; SourceError when this host has none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise _unknown("user", name) from None
        groups = os.getgrouplist(name, entry.pw_gid)
        return cls(entry.pw_uid, entry.pw_gid, tuple(groups), entry.pw_dir)


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, where it runs, all of its environment, where its output goes,
    and as whom (None: who we are)."""

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    output: Path
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A process that stays: its id, and the tick in which it began, so that no other is meant."""

    process: int
    begun: int

    def lives(self) -> bool:
        """Whether it is still there."""
        return begun_at_ticks(self.process) == self.begun


def user_id(name: str) -> int:
    """SourceError when this host has no such user."""
    return Account.of(name).user


def group_id(name: str) -> int:
    """SourceError when this host has no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _unknown("group", name) from None


def run(command: Command, seconds: float) -> str:
    """Run it to its end; empty when all went well, else what did not."""
    account = command.account
    try:
        with command.output.open("ab") as output:
            process = subprocess.Popen(
                list(command.words),
                cwd=command.folder,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=0o022,
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=list(account.groups) if account else None,
            )
    except OSError as error:
        return f"it did not start: {error.strerror}"
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"it did not end within {seconds:g} s"
    finally:
        if process.poll() is None:
            _signal(process.pid, signal.SIGKILL)
            process.wait()
    return f"it ended with status {status}" if status else ""


def serve(command: Command) -> Served | str:
    """Start it, to stay when this process is gone; or why it did not start."""
    account = command.account
    wanted = {
        "arguments": list(command.words),
        "folder": str(command.folder),
        "environment": dict(command.environment),
        "log": str(command.output),
        "user": account.user if account else None,
        "group": account.group if account else None,
        "groups": list(account.groups) if account else [],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "strongroom.confinement.detached"],
            input=json.dumps(wanted).encode() + b"\n",
            capture_output=True,
            cwd="/",
            timeout=_START_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return "it could not be started"
    if "failed" in answer:
        return f"it did not start: {answer['failed']}"
    if answer["begun"] is None:
        return "it ended at once"
    return Served(answer["process"], answer["begun"])


def marked(directory: Path) -> list[Served]:
    """What serves for this directory, as far as we may look."""
    wanted = f"{MARK}={directory}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                process = int(entry.name)
                begun = begun_at_ticks(process)
                if begun is not None and process != os.getpid():
                    found.append(Served(process, begun))
    return sorted(found, key=lambda one: (one.begun, one.process))


def end_served(served: Served) -> None:
    """End it and all of its session; by force when it does not end by itself."""
    if not served.lives():
        return
    _signal(served.process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while served.lives() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    if served.lives():
        _signal(served.process, signal.SIGKILL)


def _signal(process: int, number: signal.Signals) -> None:
    """To the whole group of a process that leads one, else to itself."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(process) == process:
            os.killpg(process, number)
        else:
            os.kill(process, number)


def _unknown(what: str, name: str) -> SourceError:
    return SourceError(
        f"this host has no {what} of this name",
        subject=name,
        hint="Create it, or change `recovery` in the configuration.",
    )
