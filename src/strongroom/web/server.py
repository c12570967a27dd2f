"""A web server in a thread of the daemon: bound before it starts, stopped without dropping answers.

What is listened on is decided by who calls; the default of the daemon is loopback. Nobody can hold
it up: there are bounds on connections, on how long each lasts and on how much a request may say.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from strongroom.errors import ConfigError
from strongroom.service.health import Provider
from strongroom.web.application import web_application

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Address", "WebServer", "listening", "serving"]

_MOST_CONNECTIONS: Final = 64
_MOST_HEADER_BYTES: Final = 16 << 10
# After this a connection ends with the answer it is at; one that asks nothing ends at once.
_CONNECTION_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class WebServer:
    """Listens from the moment it is made; answers between `start` and `stop`.

    ConfigError `address-unavailable` when the address is taken, is not this host's, or may not be
    used by this user. Signals stay the daemon's.
    """

    def __init__(self, application: Starlette, address: Address) -> None:
        self._socket = _bind(address)
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                http=_ShortConnection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST_CONNECTIONS,
                h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer; what was asked since it was made is answered first."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer what was asked, at most for some seconds, and listen no more."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


@contextlib.contextmanager
def serving(application: Starlette, address: Address) -> Iterator[Address]:
    """A server for as long as the context lasts; yields where it really listens."""
    server = WebServer(application, address)
    server.start()
    try:
        yield server.address
    finally:
        server.stop()


@contextlib.contextmanager
def listening(provider: Provider, host: str, port: int | None) -> Iterator[str]:
    """Health and metrics over HTTP for as long as the context lasts; yields in words where, to
    follow a name. Without a port nobody listens."""
    if port is None:
        yield ""
        return
    with serving(web_application(provider), Address(host, port)) as address:
        yield f" on http://{address}"


def _bind(address: Address) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
            bound.listen(_MOST_CONNECTIONS)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(
            _why(error),
            subject=str(address),
            code="address-unavailable",
        ) from error
    return bound


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no host has this name"
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have the address"
    if error.errno == errno.EACCES:
        return "this user may not listen there"
    return os.strerror(error.errno or 0)


class _ShortConnection(H11Protocol):
    """A connection with an end, which uvicorn gives only to those that have asked something."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(_CONNECTION_SECONDS, self._finish)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _finish(self) -> None:
        if not self.transport.is_closing():
            self.shutdown()
        # Who does not take the answer is not waited for any longer.
        self._end = self.loop.call_later(_CONNECTION_SECONDS, self.transport.abort)
