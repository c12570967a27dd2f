"""Mail servers and web services on loopback that take what is sent to them, or don't."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class MailServer:
    """What came in: sender, recipients and message; `refusal` is said to recipients instead."""

    port: int
    refusal: str = ""
    received: list[tuple[str, list[str], Message]] = field(default_factory=list)

    # Hooks of the library, which finds them by name.

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        message = message_from_bytes(content)
        self.received.append((envelope.mail_from, envelope.rcpt_tos, message))
        return "250 Message accepted"


class _OnFreePort(Controller):
    """Listens where the system has put it."""

    def __init__(self, handler: MailServer, listener: socket.socket, **options: Any) -> None:
        # Any: the library's own
        self._listener = listener
        super().__init__(handler, hostname="127.0.0.1", port=handler.port, **options)

    def _create_server(self) -> Any:  # Any: what a loop awaits
        return self.loop.create_server(self._factory_invoker, sock=self._listener)


@contextlib.contextmanager
def mail_server(tls: ssl.SSLContext | None = None) -> Iterator[MailServer]:
    """A mail server that takes everything; with `tls` it offers STARTTLS and wants it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = MailServer(int(listener.getsockname()[1]))
    controller = _OnFreePort(server, listener, tls_context=tls, require_starttls=tls is not None)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
        asyncio.set_event_loop(None)


@dataclass
class WebService:
    """What was asked: method, path and body. From now on it answers with `status` and `content`,
    or, when `silent`, not at all."""

    port: int = 0
    status: int = 200
    content: bytes = b"OK"
    silent: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


class _Listening(BaseHTTPRequestHandler):
    service: WebService

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.service.asked.append((self.command, self.path, body))
        if self.service.silent:
            self.service.over.wait(60)
            return
        self.send_response(self.service.status)
        self.send_header("Content-Length", str(len(self.service.content)))
        self.end_headers()
        self.wfile.write(self.service.content)

    # Any: the base class's own
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its own name
        """Nothing: a test's output is the test's."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    # Any: the base class's own
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that was killed, or refuses a certificate, is what is tested."""


@contextlib.contextmanager
def web_service(tls: ssl.SSLContext | None = None) -> Iterator[WebService]:
    """A web service that takes whatever is posted to it."""
    service = WebService()
    server = _Quiet(("127.0.0.1", 0), type("Listening", (_Listening,), {"service": service}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    service.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def untrusted_tls(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
