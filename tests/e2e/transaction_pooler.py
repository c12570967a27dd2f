"""A transaction pooler of the smallest kind: all clients share one session of the server.

Each client is greeted with what the server once said to the pooler, with a key of its own; then
its messages are passed on up to the server's next ReadyForQuery. Enough to be recognised.
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Self

_PROTOCOL = 196608
_CANNOT = (80877103, 80877104)  # requests for TLS and GSSAPI


class TransactionPooler:
    """A context manager that listens on a loopback port; `port` says which."""

    def __init__(self, server_socket: Path, user: str, database: str) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(server_socket))
        words = b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
        self._server.sendall(struct.pack("!ii", len(words) + 8, _PROTOCOL) + words)
        self._greeting = _until_ready(self._server)
        self._turn = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        number = 1
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            self._start(self._serve, client, number)

    def _serve(self, client: socket.socket, number: int) -> None:
        with client:
            while True:
                length, code = struct.unpack("!ii", _exactly(client, 8))
                if code not in _CANNOT:
                    break
                client.sendall(b"N")
            _exactly(client, length - 8)
            for kind, body in self._greeting:
                own_key = struct.pack("!ii", number, number)
                _send(client, kind, own_key if kind == b"K" else body)
            while True:
                held: list[tuple[bytes, bytes]] = []
                while not held or held[-1][0] not in {b"Q", b"S"}:
                    message = _receive(client)
                    if message is None or message[0] == b"X":
                        return
                    held.append(message)
                with self._turn:
                    for kind, body in held:
                        _send(self._server, kind, body)
                    for kind, body in _until_ready(self._server):
                        _send(client, kind, body)


def _until_ready(server: socket.socket) -> list[tuple[bytes, bytes]]:
    messages: list[tuple[bytes, bytes]] = []
    while not messages or messages[-1][0] != b"Z":
        message = _receive(server)
        assert message is not None
        messages.append(message)
    return messages


def _receive(end: socket.socket) -> tuple[bytes, bytes] | None:
    kind = end.recv(1)
    if not kind:
        return None
    (length,) = struct.unpack("!i", _exactly(end, 4))
    return kind, _exactly(end, length - 4)


def _send(end: socket.socket, kind: bytes, body: bytes) -> None:
    end.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _exactly(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = end.recv(count - len(data))
        if not part:
            raise ConnectionError("the other end is gone")
        data += part
    return data
