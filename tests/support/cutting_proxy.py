"""A proxy on loopback that cuts connections, or says nothing, at a moment of the test's choice."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Behaviour:
    """What happens to connections made from now on. Counts are bytes of one connection.

    `cuts` is how many connections are treated so; those after them pass untouched.
    """

    cut_after_sent: int | None = None  # client to server
    cut_after_received: int | None = None  # server to client
    silent: bool = False
    cuts: int = 1 << 30
    seen: int = field(default=0)


class CuttingProxy:
    """Passes everything on to a port, except for what its behaviour says."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self.behaviour = Behaviour(cuts=0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._guard = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def behave(self, **changes: int | bool | None) -> Behaviour:
        with self._guard:
            self.behaviour = Behaviour(**changes)  # type: ignore[arg-type]  # its own fields
            return self.behaviour

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        with self._guard:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._guard:
                behaviour = self.behaviour
                treated = behaviour.seen < behaviour.cuts
                behaviour.seen += 1
                self._open.append(client)
            arguments = (client, behaviour if treated else Behaviour())
            threading.Thread(target=self._serve, args=arguments, daemon=True).start()

    def _serve(self, client: socket.socket, behaviour: Behaviour) -> None:
        with client:
            if behaviour.silent:
                with contextlib.suppress(OSError):
                    while client.recv(1 << 16):
                        pass
                return
            with (
                contextlib.suppress(OSError),
                socket.create_connection(self._target) as server,
            ):
                _pass_on(client, server, behaviour)


def _pass_on(client: socket.socket, server: socket.socket, behaviour: Behaviour) -> None:
    left = {client: behaviour.cut_after_sent, server: behaviour.cut_after_received}
    other = {client: server, server: client}
    with selectors.DefaultSelector() as selector:
        for end in other:
            selector.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                data = source.recv(1 << 16)
                if not data:
                    return
                room = left[source]
                if room is not None:
                    data = data[:room]
                    left[source] = room = room - len(data)
                other[source].sendall(data)
                if room == 0:
                    # A reset, as when the other host has gone.
                    for one in other:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return


@contextlib.contextmanager
def cutting_proxy(port: int, host: str = "127.0.0.1") -> Iterator[CuttingProxy]:
    """A proxy in front of a port of loopback."""
    proxy = CuttingProxy(port, host)
    try:
        yield proxy
    finally:
        proxy.close()
