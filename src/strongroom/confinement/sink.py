"""Where a sandboxed application's mails, webhooks and jobs go: they are counted and forgotten.

Two listeners on the loopback address in a process of their own. One speaks as much SMTP as a client
needs to believe that its mail was taken; the other takes whatever it is sent and answers as a web
server that is content. Counters live in memory that is shared with whoever started the process.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import socketserver
import struct
import threading
from dataclasses import dataclass
from typing import Final

from strongroom.confinement import kernel

_COUNTS: Final = struct.Struct("QQ")
_MOST_BYTES: Final = 64 << 20
_TIMEOUT_SECONDS: Final = 10
_ANSWERED: Final = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink: its ports, its process, and what it has taken."""

    mail_port: int
    web_port: int
    process: int
    _counts: mmap.mmap

    @property
    def mails(self) -> int:
        return int(_COUNTS.unpack_from(self._counts)[0])

    @property
    def requests(self) -> int:
        return int(_COUNTS.unpack_from(self._counts)[1])


def start_sink() -> Sink:
    """Start one; it ends with this process, in which no other thread runs."""
    counts = mmap.mmap(-1, _COUNTS.size)
    mail, web = _Server(_Mail, counts, 0), _Server(_Web, counts, 1)
    process = os.fork()
    if process == 0:
        kernel.die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=mail.serve_forever, daemon=True).start()
        web.serve_forever()
    ports = mail.port, web.port
    mail.server_close()
    web.server_close()
    return Sink(*ports, process, counts)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(
        self, speak: type[socketserver.BaseRequestHandler], counts: mmap.mmap, place: int
    ) -> None:
        super().__init__(("127.0.0.1", 0), speak)
        self._counts, self._place, self._guard = counts, place, threading.Lock()
        self.port = int(self.socket.getsockname()[1])

    def count(self) -> None:
        with self._guard:
            numbers = list(_COUNTS.unpack_from(self._counts))
            numbers[self._place] += 1
            # Each server has a number of its own, so neither spoils the other's.
            struct.pack_into("Q", self._counts, 8 * self._place, numbers[self._place])


class _Mail(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_SECONDS

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._say("220 strongroom sandbox: mail is counted and thrown away")
            while (line := self.rfile.readline(4096)) and self._answer(line):
                pass

    def _answer(self, line: bytes) -> bool:
        """Answer one command; False at the end."""
        word = line[:4].upper()
        if word == b"QUIT":
            self._say("221 bye")
            return False
        if word == b"DATA":
            self._say("354 go on")
            self._take()
            self._say("250 taken")
        elif line[:10].upper() == b"AUTH LOGIN":
            for asked in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"):
                self._say(asked)
                self.rfile.readline(4096)
            self._say("235 welcome")
        elif word == b"AUTH":
            self._say("235 welcome")
        elif word == b"EHLO":
            self._say("250-strongroom")
            self._say("250 AUTH PLAIN LOGIN")
        else:
            self._say("250 ok")
        return True

    def _take(self) -> None:
        taken = 0
        while (line := self.rfile.readline(65536)) not in (b"", b".\r\n", b".\n"):
            taken += len(line)
            if taken > _MOST_BYTES:
                raise ConnectionError("a mail of more than anybody sends")
        assert isinstance(self.server, _Server)
        self.server.count()

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


class _Web(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_SECONDS

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            length, begun = 0, False
            while (line := self.rfile.readline(65536)) not in (b"", b"\r\n", b"\n"):
                begun = True
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length" and value.strip().isdigit():
                    length = min(int(value), _MOST_BYTES)
            if not begun:
                return
            while length > 0 and (block := self.rfile.read(min(length, 65536))):
                length -= len(block)
            assert isinstance(self.server, _Server)
            self.server.count()
            self.wfile.write(_ANSWERED)
            self.wfile.flush()
            with contextlib.suppress(OSError):
                self.request.shutdown(socket.SHUT_WR)
