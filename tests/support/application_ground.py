"""A small PHP application to drill: uploads, code, and how the configuration says it starts."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import commit, git, write
from tests.support.repository_ground import new_repository

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
  code: {kind: git, path: app, untracked: ["logs/*.log"]}
repositories:
  local: {location: local, password: file:key}
state: state
"""
START = 'application_check:\n  start: "php -S 127.0.0.1:{port} -t public"\n'
HELLO = "<?php header('Content-Type: application/json'); echo json_encode(['status' => 'ok']);\n"


def make_application_place(path: Path, files: Mapping[str, str], check: str = START) -> Place:
    """A place whose code has these files, captured once."""
    place = make_place(path, CONFIG + check)
    code = place.path / "app"
    code.mkdir()
    git(code, "init", "-q")
    write(code / ".gitignore", "*.log\n")
    for name, text in {"public/index.php": HELLO, **files}.items():
        write(code / name, text)
    commit(code)
    write(code / "logs" / "app.log", "[INFO] begun\n")
    new_repository(place.path / "local")
    place.json("backup")
    return place


def drill(place: Place) -> dict[str, Any]:
    """The document of `drill --application`, whatever its verdict. Any: JSON values."""
    answer = place.run("--json", "drill", "--application")
    assert answer.out, answer.err
    return answer.document


def told(document: Mapping[str, Any], code: str) -> list[str]:
    """The messages of all findings of a code."""
    return [one["message"] for one in document["findings"] if one["code"] == code]


class Listener:
    """A server of this host that should never be asked: counts who came."""

    def __init__(self, sock: socket.socket) -> None:
        self.visits = 0
        self._socket = sock
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def _count(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._socket.accept()
                self.visits += 1
                visitor.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextlib.contextmanager
def loopback_listener() -> Iterator[Listener]:
    """One on 127.0.0.1."""
    listener = Listener(socket.create_server(("127.0.0.1", 0)))
    try:
        yield listener
    finally:
        listener.close()


@contextlib.contextmanager
def socket_listener(place: Path) -> Iterator[Listener]:
    """One behind a file."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(place))
    place.chmod(0o777)
    sock.listen()
    listener = Listener(sock)
    try:
        yield listener
    finally:
        listener.close()
        place.unlink()


def running(marks: str) -> list[int]:
    """Processes whose command line or environment holds this text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            content = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if marks.encode() in content and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found
