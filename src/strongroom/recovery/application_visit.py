"""Asking an application that runs in the open, where people will ask it, too.

A redirection is not followed, an answer's beginning is kept, and nothing lasts longer than told.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from strongroom.confinement.enclosure import Reply, Request

__all__ = ["ask", "listens", "port_of", "wait_until_it_listens"]

_BODY_BYTES = 4 << 20
_BLOCK_BYTES = 1 << 16
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 2.0
_PORTS = {"http": 80, "https": 443}


def port_of(url: str) -> int:
    """The port of a URL such as `https://HOST`."""
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]


def listens(url: str) -> bool:
    """Whether anybody takes connections there now."""
    return _refusal(url, _LOOK_SECONDS) is None


def wait_until_it_listens(url: str, seconds: float, is_gone: Callable[[], str]) -> str:
    """Wait until connections are taken; empty, or why none was. `is_gone` says, when it does, that
    there is nobody any more to wait for."""
    deadline = time.monotonic() + seconds
    while True:
        if gone := is_gone():
            return gone
        reason = _refusal(url, max(deadline - time.monotonic(), _PAUSE_SECONDS))
        if reason is None:
            return is_gone()
        if deadline - time.monotonic() <= _PAUSE_SECONDS:
            return f"{url} takes no connection after {seconds:g} s: {reason}"
        time.sleep(_PAUSE_SECONDS)


def _refusal(url: str, seconds: float) -> str | None:
    """Why no connection is taken there; None when one is."""
    try:
        with socket.create_connection((urlsplit(url).hostname, port_of(url)), seconds):
            return None
    except OSError as error:
        return error.strerror or str(error)


def ask(url: str, wanted: Request, seconds: float) -> Reply | str:
    """The answer to one request, or why there is none."""
    parts = urlsplit(url)
    assert parts.hostname is not None, "the settings take no other URL"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, port_of(url), timeout=seconds, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, port_of(url), timeout=seconds)
    deadline = time.monotonic() + seconds
    try:
        return _exchange(connection, wanted, deadline)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"no answer: {str(error) or type(error).__name__}"
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, wanted: Request, deadline: float) -> Reply:
    names = {name.lower() for name in wanted.headers}
    connection.putrequest(
        wanted.method, wanted.path, skip_host="host" in names, skip_accept_encoding=True
    )
    for name, value in wanted.headers.items():
        connection.putheader(name, value)
    if wanted.body or wanted.method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(wanted.body)))
    connection.endheaders(wanted.body or None)
    answer = connection.getresponse()
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    while block := _read(connection, answer, deadline):
        digest.update(block)
        size += len(block)
        kept += block[: _BODY_BYTES - len(kept)]
    return Reply(answer.status, answer.getheaders(), bytes(kept), size, digest.hexdigest())


def _read(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float
) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:
        connection.sock.settimeout(left)
    return answer.read1(_BLOCK_BYTES)
