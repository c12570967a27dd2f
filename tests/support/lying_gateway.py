"""An HTTP server in front of a store's, on loopback, that passes everything on but for its lies.

Requests keep their `Host`, so that signatures hold. Answers are read whole before they go on.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_OWN = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})
_METHODS = ("GET", "PUT", "HEAD", "DELETE", "POST")
_ENTRY = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)


@dataclass
class Lie:
    """What becomes of requests of this method whose path holds this text.

    The first `after` of them pass, and only `times` are lied to. With `status` they are answered
    so, with the error `code`; `silent` never answers; `cut` ends the connection in the middle of
    the answer; `short` answers with half of the bytes as if that were all; `hidden` leaves out of
    a listing whatever holds this text.
    """

    method: str = ""
    path: str = ""
    after: int = 0
    times: int = 1 << 30
    status: int = 0
    code: str = ""
    silent: bool = False
    cut: bool = False
    short: bool = False
    hidden: str = ""
    seen: int = 0
    told: int = 0


class LyingGateway:
    """Listens at `port`; `lie` says what happens from now on."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.over = threading.Event()
        self._lie: Lie | None = None
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def lie(self, lie: Lie | None) -> None:
        with self._guard:
            self._lie = lie

    def lie_for(self, method: str, path: str) -> Lie | None:
        """The lie that this request is told, counted."""
        with self._guard:
            lie = self._lie
            if lie is None or lie.method not in ("", method) or lie.path not in path:
                return None
            lie.seen += 1
            if not lie.after < lie.seen <= lie.after + lie.times:
                return None
            lie.told += 1
            return lie

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: LyingGateway

    def pass_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        lie = self.gateway.lie_for(self.command, self.path)
        body = self.rfile.read(length)
        if lie is not None and lie.silent:
            self.gateway.over.wait(30)
            self.close_connection = True
        elif lie is not None and lie.status:
            self._answer(lie.status, [("Content-Type", "application/xml")], _error(lie))
        else:
            self._forward(body, lie)

    def _forward(self, body: bytes, lie: Lie | None) -> None:
        there = http.client.HTTPConnection("127.0.0.1", self.gateway.target, timeout=60)
        try:
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"expect", "connection"}:
                    there.putheader(name, value)
            there.endheaders(body)
            answer = there.getresponse()
            content = answer.read()
            headers = [one for one in answer.getheaders() if one[0].lower() not in _OWN]
            if self.command == "HEAD":
                headers.append(("Content-Length", answer.getheader("Content-Length") or "0"))
        finally:
            there.close()
        if lie is not None and lie.hidden:
            content = _ENTRY.sub(
                lambda entry: b"" if lie.hidden.encode() in entry[0] else entry[0], content
            )
        if lie is not None and lie.short:
            content = content[: len(content) // 2]
        self._answer(answer.status, headers, content, cut=lie is not None and lie.cut)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command == "HEAD":
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    # Any: the base class's own
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its own name
        """Nothing: a test's output is the test's."""


def _handler(gateway: LyingGateway) -> type[_Passing]:
    methods = {f"do_{method}": _Passing.pass_on for method in _METHODS}
    return type("Passing", (_Passing,), {"gateway": gateway, **methods})


def _error(lie: Lie) -> bytes:
    return f"<Error><Code>{lie.code}</Code><Message>as told</Message></Error>".encode()


@contextlib.contextmanager
def lying_gateway(port: int) -> Iterator[LyingGateway]:
    """A gateway in front of a port of loopback."""
    gateway = LyingGateway(port)
    try:
        yield gateway
    finally:
        gateway.close()
