"""Clusters of our own: for drills, for the demo and for tests; gone when their user is gone.

A cluster lives in a private directory and listens on a Unix socket in it, nowhere else. A
throw-away one runs in an empty network where the kernel makes one, and with everything off that
only protects data on a crash: those settings are forced on the command line and then asked of the
server. PostgreSQL refuses to run as root, so a
root process runs it as another user, with the programs copied to where that user can reach them
when need be. Teardown stands in a `finally`; if this process is killed, a watchdog that holds the
other end of a pipe stops the server and removes the directory; what even that leaves behind,
`remove_leftovers` removes. No cluster that someone else started is ever touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.confinement.fence import Cell, is_fenced
from strongroom.errors import SourceError
from strongroom.model import Finding, finding
from strongroom.postgres.account import Account, find_account
from strongroom.postgres.connection import Connection
from strongroom.postgres.programs import Programs, find_programs
from strongroom.postgres.statement import quote_literal, quote_name

__all__ = ["Cluster", "ClusterOptions", "remove_leftovers", "start_cluster", "throwaway_cluster"]

_PREFIX: Final = "strongroom-pg-"
_PORT: Final = "5432"
_SHORT: Final = Path("/tmp")  # noqa: S108  # only private directories are made in it
# The kernel allows 108 bytes for a socket's path, the closing zero included.
_SOCKET_PATH_BYTES: Final = 107
_START_TIMEOUT_SECONDS: Final = 60
_STOP_TIMEOUT_SECONDS: Final = 30
_TELLING: Final = re.compile(r"FATAL|PANIC|ERROR|error:|No space left")

_ALWAYS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    "logging_collector": "off",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "lc_messages": "C",
    "timezone": "UTC",
    "huge_pages": "off",
}
_THROW_AWAY: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",  # no subscription ever asks its publisher
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "jit": "off",
    "max_locks_per_transaction": "1024",  # a dump of many tables is read in one transaction
    # Parallel workers need room in /dev/shm, which containers are short of; loads run in parallel.
    "max_parallel_maintenance_workers": "0",
}
# $1: the server's process, $2: how to stop it; the rest is to be removed afterwards.
_WATCHDOG: Final = """
read -r _
kill -"$2" "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ "$n" -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
shift 2
[ "$#" = 0 ] || rm -rf -- "$@"
"""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How a cluster is made.

    `directory`: where its own directory is made (default: the system's place for large temporary
    files). `superuser`: name of the bootstrap role. `durable`: keep what protects data on a
    crash, and replication. `programs`: configured directory of PostgreSQL's programs. `account`:
    the operating system's user to run it as when we are root. `in_cell`: keep all files of the host
    from a throw-away server, so that not even its superuser reads or writes one or runs a program;
    None: where the kernel does that. `settings`: more server settings.
    """

    directory: Path | None = None
    superuser: str = "postgres"
    durable: bool = False
    max_connections: int = 40
    programs: Path | None = None
    account: str | None = None
    in_cell: bool | None = False
    settings: Mapping[str, str] = field(default_factory=dict)


class Cluster:
    """A running cluster of ours. `findings` say in what it differs from what was asked for."""

    def __init__(
        self,
        directory: Path,
        socket_directory: Path,
        programs: Programs,
        options: ClusterOptions,
        account: Account,
    ) -> None:
        self.directory = directory
        self.socket_directory = socket_directory
        self.programs = programs
        self.superuser = options.superuser
        self.account = account.name
        self.findings: list[Finding] = []
        self._options = options
        self._account = account
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def major(self) -> int:
        return self.programs.major

    def connection(self, database: str = "postgres", *, user: str | None = None) -> Connection:
        """How to reach `database`; as the bootstrap role unless another is named."""
        return Connection(
            {
                "host": str(self.socket_directory),
                "port": _PORT,
                "user": user or self.superuser,
                "dbname": database,
                "sslmode": "disable",
                "options": "",
            }
        )

    def start(self) -> None:
        """Start the server and the watchdog; returns when connections are accepted."""
        self._start_server()
        self._start_watchdog()
        self._wait_until_ready()
        self._ask_settings()
        if self._wants_fence and not is_fenced(self._server_process()):
            told = "its server runs in the host's network: this host makes no other one"
            self.findings.append(finding("sandbox-network", "sandbox", told))

    def add_tablespace(self, name: str) -> None:
        """Make a tablespace of this name, in the cluster's own directory."""
        parent = self.directory / "tablespaces"
        parent.mkdir(mode=0o700, exist_ok=True)
        place = parent / str(len(list(parent.iterdir())))
        place.mkdir(mode=0o700)
        self._account.own(parent)
        statement = f"CREATE TABLESPACE {quote_name(name)} LOCATION {quote_literal(str(place))}"
        with self.connection().explaining(), self.connection().connect() as session:
            session.execute(statement.encode())

    def close_to_changes(self, access: str) -> None:
        """Start the server again as a standby that follows nobody, which takes no change from
        anybody; `access` takes the place of its pg_hba.conf. Needs `wal_level` replica."""
        self._end_watchdog()
        assert self._server is not None
        _end(self._server, signal.SIGINT)  # with a checkpoint: nothing is to be recovered
        data = self.directory / "data"
        for name, content in (("standby.signal", ""), ("pg_hba.conf", access)):
            (data / name).write_text(content)
            self._account.own(data / name)
        self._start_server()
        self._start_watchdog()
        self._wait_until_ready()

    @property
    def runs(self) -> bool:
        """Whether the server is there."""
        return self._server is not None and self._server.poll() is None

    def stop(self) -> None:
        """Stop the server and remove the cluster's directory. Does nothing the second time."""
        self._end_watchdog()
        if self._server is not None:
            _end(self._server, signal.SIGINT if self._options.durable else signal.SIGQUIT)
            self._server = None
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.socket_directory, ignore_errors=True)

    def _end_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            if self._watchdog.stdin is not None:
                self._watchdog.stdin.close()
            self._watchdog = None

    def forced_settings(self) -> dict[str, str]:
        """The server settings that stand on the command line, by name."""
        settings = {
            **_ALWAYS,
            "unix_socket_directories": str(self.socket_directory),
            "port": _PORT,
            "max_connections": str(self._options.max_connections),
            **_memory_settings(),
        }
        if not self._options.durable:
            settings |= _THROW_AWAY
        return settings | dict(self._options.settings)

    def _start_server(self) -> None:
        arguments = [self.programs.path("postgres"), "-D", str(self.directory / "data")]
        for name, value in self.forced_settings().items():
            arguments += ["-c", f"{name}={value}"]
        log = self.directory / "log"
        with log.open("wb") as out:
            if self._wants_fence:
                self._server = self._account.start_fenced(
                    arguments, self.directory, log=out.fileno(), within=self._cell()
                )
            else:
                self._server = self._account.start(arguments, self.directory, log=out.fileno())

    def _cell(self) -> Cell | None:
        if self._options.in_cell is False:
            return None
        root = self.directory / "root"
        root.mkdir(exist_ok=True)
        installation = self.programs.directory.parent
        package = installation.parent  # a wheel keeps libraries beside the package
        own = [installation, package.with_name(f"{package.name}.libs")]
        shown = [one for one in own if one.is_dir() and not one.is_relative_to("/usr")]
        writable = dict.fromkeys([self.directory, self.socket_directory])
        return Cell(root, shown, list(writable), insists=self._options.in_cell is True)

    def _start_watchdog(self) -> None:
        assert self._server is not None
        how = "INT" if self._options.durable else "QUIT"
        arguments = ["/bin/sh", "-c", _WATCHDOG, "strongroom-watchdog", str(self._server.pid), how]
        if not self._options.durable:
            arguments += [str(self.directory), str(self.socket_directory)]
        # Not in the cluster's directory: it removes that one.
        with Path(os.devnull).open("wb") as out:
            self._watchdog = self._account.start(arguments, Path("/"), log=out.fileno(), pipe=True)

    def _wait_until_ready(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        state = self.directory / "data" / "postmaster.pid"
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                raise self._failure(f"the server ended at once (status {self._server.returncode})")
            with contextlib.suppress(OSError):
                lines = state.read_text(errors="replace").splitlines()
                if len(lines) > 7 and lines[7].strip() == "ready":
                    return
            time.sleep(0.01)
        raise self._failure(f"the server was not ready after {_START_TIMEOUT_SECONDS} s")

    def _ask_settings(self) -> None:
        """A setting that did not take effect could send WAL to production's archive."""
        # Further settings may be written in other units than the server answers in.
        extra = self._options.settings
        wanted = {k: v for k, v in self.forced_settings().items() if k not in extra}
        with self.connection().connect() as connection:
            rows = connection.execute(
                "SELECT lower(name), current_setting(name) FROM pg_settings"
                " WHERE lower(name) = ANY(%s)",
                [sorted(wanted)],
            ).fetchall()
        observed = {str(name): str(value) for name, value in rows}
        for name, value in wanted.items():
            if observed.get(name) != value:
                raise self._failure(f"the server says {name} = {observed.get(name)}, not {value}")

    @property
    def _wants_fence(self) -> bool:
        """Whoever asks for a listener wants it to be reached."""
        return not self._options.durable and not self.forced_settings()["listen_addresses"]

    def _server_process(self) -> int:
        assert self._server is not None
        return self._server.pid

    def _failure(self, message: str) -> SourceError:
        return _failure(message, self.directory / "log")


def start_cluster(major: int, options: ClusterOptions = ClusterOptions()) -> Cluster:
    """A new, running cluster of version `major`, else the lowest higher one that is installed.

    The caller must `stop` it. Raises `SourceError`: `client-programs` or `sandbox-failed`.
    """
    programs = find_programs(major, purpose="server", configured=options.programs)
    account = find_account(options.account)
    directory = _private_directory(options, account)
    cluster: Cluster | None = None
    try:
        programs = _reachable(programs, directory, account)
        _initialise(programs, directory, account, options)
        sockets = _socket_directory(directory, account)
        _write_owner(directory, sockets)
        cluster = Cluster(directory, sockets, programs, options, account)
        if programs.major != major:
            message = f"wanted PostgreSQL {major}, runs {programs.version}"
            cluster.findings.append(finding("sandbox-version", "sandbox", message))
        cluster.start()
    except BaseException:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return cluster


@contextlib.contextmanager
def throwaway_cluster(
    *, major: int, options: ClusterOptions = ClusterOptions()
) -> Iterator[Cluster]:
    """A running cluster for the length of the context; nothing of it survives.

    Raises `SourceError`: `client-programs` or `sandbox-failed`.
    """
    cluster = start_cluster(major, options)
    try:
        yield cluster
    finally:
        cluster.stop()


def remove_leftovers(directory: Path | None = None) -> list[Path]:
    """Stop and remove clusters whose maker is dead; returns the directories that are gone."""
    removed = []
    for place in sorted(_base(directory).glob(f"{_PREFIX}*")):
        owner = _read_owner(place)
        if owner is None or owner.alive:
            continue
        _end_orphan(place / "data")
        if owner.sockets.name.startswith(_PREFIX) and owner.sockets.parent == _SHORT:
            shutil.rmtree(owner.sockets, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            removed.append(place)
    return removed


# Making one


def _private_directory(options: ClusterOptions, account: Account) -> Path:
    base = _base(options.directory)
    try:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    except OSError as error:
        raise SourceError(
            f"no directory for a cluster could be made: {error.strerror}",
            subject=str(base),
            code="sandbox-failed",
            hint="Choose another directory for sandboxes, or free space there.",
        ) from None
    _write_owner(directory, directory)
    account.own(directory)
    return directory


def _write_owner(directory: Path, sockets: Path) -> None:
    """Leave word of whose cluster this is, for `remove_leftovers`."""
    process = os.getpid()
    owner = {"pid": process, "started": _started(process), "sockets": str(sockets)}
    (directory / "owner.json").write_text(json.dumps(owner))


def _base(directory: Path | None) -> Path:
    if directory is not None:
        return directory.resolve()
    if "TMPDIR" in os.environ:
        return Path(tempfile.gettempdir())
    # /tmp may be memory; a restored database belongs on a disk.
    large = Path("/var/tmp")  # noqa: S108  # a private directory is made in it
    return large if os.access(large, os.W_OK) else Path(tempfile.gettempdir())


def _socket_directory(directory: Path, account: Account) -> Path:
    place = directory / "s"
    if len(os.fsencode(place / f".s.PGSQL.{_PORT}")) > _SOCKET_PATH_BYTES:
        place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT))
    else:
        place.mkdir(mode=0o700)
    account.own(place)
    return place


def _initialise(
    programs: Programs, directory: Path, account: Account, options: ClusterOptions
) -> None:
    arguments = [programs.path("initdb"), "-D", str(directory / "data")]
    arguments += ["-U", options.superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    if programs.major >= 18 and not options.durable:
        arguments.append("--no-data-checksums")
    try:
        answer = account.run(arguments, directory)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failure(f"initdb did not run: {error}", None) from None
    if answer.returncode != 0:
        lines = (answer.stderr or answer.stdout).strip().splitlines()
        telling = [one for one in lines if _TELLING.search(one)] or lines[-3:]
        raise _failure(f"initdb failed: {telling[0] if telling else 'without a word'}", None)


def _reachable(programs: Programs, directory: Path, account: Account) -> Programs:
    """The programs where `account` can run them: where they are, else copied into `directory`."""
    if account.uid is None or _runs(programs, directory, account):
        return programs
    installation = programs.directory.parent
    package = installation.parent  # a wheel keeps libraries beside the package
    target = directory / "programs" / package.name
    shutil.copytree(installation, target / installation.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target.with_name(libraries.name), symlinks=True)
    account.own(directory / "programs")
    copied = Programs(
        target / installation.name / programs.directory.name,
        programs.version,
        programs.major,
        programs.tls,
        f"{programs.because}; copied to where {account.name} can reach it",
    )
    if not _runs(copied, directory, account):
        raise SourceError(
            f"{account.name} cannot run PostgreSQL's programs, even copied to {target}",
            subject=str(programs.directory),
            code="sandbox-failed",
            hint=f"Choose a directory for sandboxes that {account.name} can reach and run from.",
        )
    return copied


def _runs(programs: Programs, directory: Path, account: Account) -> bool:
    try:
        answer = account.run([programs.path("postgres"), "--version"], directory)
    except (OSError, subprocess.SubprocessError):
        return False
    return answer.returncode == 0


def _memory_settings() -> dict[str, str]:
    """Sized to the host: an eighth for caches and sorting at most, and never much."""
    try:
        mebibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (ValueError, OSError):
        mebibytes = 2048
    buffers = min(max(mebibytes // 32, 16), 128)
    sorting = min(max(mebibytes // 32, 32), 256)
    return {"shared_buffers": f"{buffers}MB", "maintenance_work_mem": f"{sorting}MB"}


def _failure(message: str, log: Path | None) -> SourceError:
    lines: list[str] = []
    if log is not None:
        with contextlib.suppress(OSError):
            lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if _TELLING.search(line)]
    if telling:
        message = f"{message}: {telling[-1].strip()}"
    return SourceError(message, subject="sandbox", code="sandbox-failed")


# Ending one


def _end(server: subprocess.Popen[bytes], how: signal.Signals) -> None:
    for step in (how, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is not None:
            return
        server.send_signal(step)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_STOP_TIMEOUT_SECONDS)


def _end_orphan(data: Path) -> None:
    """Stop the server that runs in `data`, if its working directory proves that it does."""
    try:
        process = int((data / "postmaster.pid").read_text().splitlines()[0])
        where = Path(f"/proc/{process}/cwd").resolve(strict=True)
    except (OSError, ValueError, IndexError):
        return
    if where != data.resolve():
        return
    os.kill(process, signal.SIGQUIT)
    deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The process that made a cluster, and where the cluster's sockets are."""

    process: int
    started: int
    sockets: Path

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return self.started == _started(self.process)


def _read_owner(place: Path) -> _Owner | None:
    try:
        value = json.loads((place / "owner.json").read_text())
        return _Owner(int(value["pid"]), int(value["started"]), Path(value["sockets"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started(process: int) -> int:
    """When a process started, in clock ticks since boot: a process id may come round again."""
    try:
        line = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0
    return int(line.rpartition(")")[2].split()[19])
