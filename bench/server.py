"""A private PostgreSQL server for the benchmark's own database, with settings that a small
production server would have.

It listens on a Unix socket only, flushes to disk as usual (fsync on), and leaves vacuuming to the
benchmark, so that no background work falls into a measured run. Started as root it runs as the
user `postgres`, who must be able to reach the data directory.

Invariant: the server ends with the context, whatever happened inside.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DATABASE = "tms"
SETTINGS = {
    "listen_addresses": "",
    "autovacuum": "off",
    "shared_buffers": "1GB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "log_min_messages": "error",
}
_ACCOUNT = "postgres"
_START_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 120.0
_SOCKET_PATH_LIMIT = 100


class ServerError(Exception):
    """The server could not be made, started or asked; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its programs, data directory and socket directory."""

    programs: Path
    data: Path
    socket: Path

    @property
    def url(self) -> str:
        return f"postgresql:///{DATABASE}?host={self.socket}&user={_ACCOUNT}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client program needs to reach the database; there is no password."""
        return {"PGHOST": str(self.socket), "PGUSER": _ACCOUNT, "PGDATABASE": DATABASE}

    def run(self, sql: str, *, database: str = DATABASE) -> str:
        """What `sql` answers, as unaligned text. Raises ServerError."""
        return self._psql(["-c", sql], [], database)

    def copy_in(self, table: str, blocks: Iterable[bytes]) -> None:
        """Adds the rows in `blocks`, COPY text, to `table`. Raises ServerError."""
        self._psql(["-c", f"COPY {table} FROM STDIN"], blocks, DATABASE)

    def _psql(self, words: Sequence[str], blocks: Iterable[bytes], database: str) -> str:
        psql = str(self.programs / "psql")
        argv = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *words]
        with tempfile.TemporaryFile() as messages:
            child = subprocess.Popen(
                argv,
                env={**os.environ, **self.environment, "PGDATABASE": database},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                for block in blocks:
                    child.stdin.write(block)
                child.stdin.close()
            except BrokenPipeError:
                pass  # the exit status and the messages say why
            answer = child.stdout.read().decode()
            child.stdout.close()
            if status := child.wait():
                messages.seek(0)
                text = messages.read().decode(errors="replace").strip()
                raise ServerError(f"psql ended with {status}: {text}")
            return answer.strip()


def installed_programs() -> Path:
    """The directory of the newest PostgreSQL server programs. Raises ServerError."""
    debian = Path("/usr/lib/postgresql")
    places = sorted(debian.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if places:
        return places[-1].parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    raise ServerError("no PostgreSQL server found; install the package postgresql")


@contextmanager
def server(directory: Path) -> Iterator[Server]:
    """A new, empty database on a new server whose data lies in `directory`, which must be new."""
    programs = installed_programs()
    owner = _account()
    directory.mkdir(parents=True)
    socket = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    try:
        for place in (directory, socket):
            place.chmod(0o700)
            if owner is not None:
                os.chown(place, owner.pw_uid, owner.pw_gid)
        _check_reachable(directory, owner)
        data = directory / "data"
        words = ["-U", _ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        log = directory / "server.log"
        if _as_owner([programs / "initdb", "-D", data, *words], owner, log).wait():
            raise ServerError(f"initdb failed: {log.read_text().strip()}")
        running = _start(programs, data, socket, owner, log)
        try:
            made = Server(programs, data, socket)
            _await(running, made)
            made.run(f"CREATE DATABASE {DATABASE}", database="postgres")
            yield made
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(_STOP_TIMEOUT_SECONDS)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(socket, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_ACCOUNT)
    except KeyError:
        raise ServerError(f"PostgreSQL refuses root and there is no user {_ACCOUNT}") from None


def _check_reachable(directory: Path, owner: pwd.struct_passwd | None) -> None:
    if owner is None:
        return
    for place in directory.resolve().parents:
        if not place.stat().st_mode & 0o001:
            raise ServerError(f"{_ACCOUNT} cannot pass {place}; choose another --work")


def _as_owner(
    argv: Sequence[str | Path], owner: pwd.struct_passwd | None, log: Path
) -> subprocess.Popen[bytes]:
    words = [str(word) for word in argv]
    with log.open("ab") as messages:
        if owner is None:
            return subprocess.Popen(words, stdout=messages, stderr=messages, cwd="/")
        return subprocess.Popen(
            words,
            stdout=messages,
            stderr=messages,
            cwd="/",
            user=owner.pw_uid,
            group=owner.pw_gid,
            extra_groups=[],
            umask=0o077,
        )


def _start(
    programs: Path, data: Path, socket: Path, owner: pwd.struct_passwd | None, log: Path
) -> subprocess.Popen[bytes]:
    if len(str(socket)) > _SOCKET_PATH_LIMIT:
        raise ServerError(f"{socket} is too long for a socket")
    settings = {**SETTINGS, "unix_socket_directories": str(socket)}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return _as_owner([programs / "postgres", "-D", data, *words], owner, log)


def _await(running: subprocess.Popen[bytes], made: Server) -> None:
    give_up = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        try:
            made.run("SELECT 1", database="postgres")
        except ServerError as error:
            if running.poll() is not None or time.monotonic() > give_up:
                raise ServerError(f"the server did not start: {error}") from error
            time.sleep(0.1)
        else:
            return
