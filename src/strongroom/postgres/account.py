"""As whom a cluster of ours runs: as ourselves, or as another user where we are root, whom
PostgreSQL refuses.

Programs get an environment of their own, without anything of ours. Only `cluster` uses this.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.confinement.fence import Cell, fenced
from strongroom.errors import SourceError

__all__ = ["Account", "find_account"]

_RUN_TIMEOUT_SECONDS: Final = 120
_ACCOUNTS: Final = ("strongroom", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to run as: nothing to change (no ids) unless we are root."""

    name: str
    uid: int | None = None
    gid: int | None = None

    @property
    def _groups(self) -> list[int] | None:
        # Without this, changing the user alone would keep root's groups.
        return None if self.uid is None else []

    def run(self, arguments: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_RUN_TIMEOUT_SECONDS,
            cwd=directory,
            umask=0o077,
            env=_environment(),
            user=self.uid,
            group=self.gid,
            extra_groups=self._groups,
        )

    def start(
        self, arguments: Sequence[str], directory: Path, *, log: int, pipe: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a program as this user."""
        return self._start(arguments, directory, self, log=log, pipe=pipe)

    def start_fenced(
        self, arguments: Sequence[str], directory: Path, *, log: int, within: Cell | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program as this user, in a network of its own where the kernel makes one, and
        in a cell if one is given."""
        program = fenced(arguments, user=self.uid, group=self.gid, within=within)
        more: dict[str, str] = {}
        if within is not None:
            # Without /proc the loader cannot tell where a program lies, beside which its own
            # libraries may be.
            more["LD_ORIGIN_PATH"] = str(Path(arguments[0]).parent)
        # Only root may make the network; the fence changes the user afterwards.
        return self._start(program, directory, Account(self.name), log=log, more=more)

    @staticmethod
    def _start(
        arguments: Sequence[str],
        directory: Path,
        account: Account,
        *,
        log: int,
        pipe: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A session of its own: Ctrl-C in a terminal reaches us, and we tear down in order.
            start_new_session=True,
            cwd=directory,
            umask=0o077,
            env=_environment() | dict(more or {}),
            user=account.uid,
            group=account.gid,
            extra_groups=account._groups,
        )

    def own(self, path: Path) -> None:
        """Give `path` and what is below it to this user."""
        if self.uid is None or self.gid is None:
            return
        os.chown(path, self.uid, self.gid)
        for below in path.rglob("*"):
            os.chown(below, self.uid, self.gid, follow_symlinks=False)


def find_account(wanted: str | None) -> Account:
    """Ourselves, unless we are root: then the wanted user, or the first that there is of those who
    own nothing else. SourceError `sandbox-failed` when there is none."""
    own = os.geteuid()
    if own != 0:
        try:
            return Account(pwd.getpwuid(own).pw_name)
        except KeyError:
            raise SourceError(
                f"user {own} has no name on this host, which PostgreSQL insists on",
                subject="sandbox",
                code="sandbox-failed",
                hint="Add the user to /etc/passwd, or run as another one.",
            ) from None
    for name in [wanted] if wanted else _ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise SourceError(
        f"there is no user {wanted or ' or '.join(_ACCOUNTS)} to run PostgreSQL as",
        subject="sandbox",
        code="sandbox-failed",
        hint="Create one: useradd --system --no-create-home strongroom.",
    )


def _environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}
