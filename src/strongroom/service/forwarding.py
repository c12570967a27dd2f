"""A port on this host's loopback that leads to a Unix socket: for tools that know no sockets.

The server behind stays in its empty network; only bytes pass. Nobody else's address is ever
listened on.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strongroom.errors import ConfigError

__all__ = ["forwarded"]

_LOOPBACK: Final = "127.0.0.1"
_BLOCK_BYTES: Final = 1 << 16
_MOST_CONNECTIONS: Final = 30


@contextlib.contextmanager
def forwarded(path: Path, port: int) -> Iterator[int]:
    """The port on which connections to `path` are taken while the context lasts; any free one
    when `port` is 0. ConfigError `address-unavailable` when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_LOOPBACK, port))
            listener.listen(_MOST_CONNECTIONS)
        except OSError as error:
            raise ConfigError(
                f"nothing can be listened on there: {os.strerror(error.errno or 0)}",
                subject=f"{_LOOPBACK}:{port}",
                code="address-unavailable",
            ) from None
        room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        taking = threading.Thread(target=_take, args=(listener, path, room), daemon=True)
        taking.start()
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        listener.close()


def _take(listener: socket.socket, path: Path, room: threading.BoundedSemaphore) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        if not room.acquire(blocking=False):
            near.close()
            continue
        threading.Thread(target=_pass, args=(near, path, room), daemon=True).start()


def _pass(near: socket.socket, path: Path, room: threading.BoundedSemaphore) -> None:
    """Bytes both ways until one side ends."""
    try:
        with near, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as far:
            far.connect(os.fspath(path))
            with selectors.DefaultSelector() as waiting:
                waiting.register(near, selectors.EVENT_READ, far)
                waiting.register(far, selectors.EVENT_READ, near)
                while True:
                    for key, _ in waiting.select():
                        assert isinstance(key.fileobj, socket.socket)
                        block = key.fileobj.recv(_BLOCK_BYTES)
                        if not block:
                            return
                        key.data.sendall(block)
    except OSError:
        return  # whoever is cut off sees it himself
    finally:
        room.release()
