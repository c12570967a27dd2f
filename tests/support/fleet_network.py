"""Ways from the hosts of a fleet to its database, each of which can be cut alone.

Where the kernel lets us, hosts are network namespaces with a cable each to a switch in another one;
nothing of that is in the machine's own network, and all of it is gone with its last user. A cable
that is pulled out tells nobody: what was sent is lost, and no answer comes. Elsewhere each host has
a proxy on loopback, which ends its connections when it is cut.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import subprocess
from collections.abc import Iterator
from typing import Final, Protocol

from tests.support.cutting_proxy import CuttingProxy, cutting_proxy

_PORT: Final = 5432
_NEW_NETWORK: Final = 0x40000000
# Only inside of the namespaces.
_PREFIX: Final = "10.99.0."
_libc = ctypes.CDLL(None, use_errno=True)


class Way(Protocol):
    """From a host to the database."""

    @property
    def address(self) -> str:
        """Host and port of the database, as this host has them."""
        ...

    def cut(self) -> None:
        """Nothing passes any more."""
        ...

    def join(self) -> None:
        """All does again."""
        ...

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Within it, what this thread starts and asks is on that host."""
        ...


class Network(Protocol):
    """What all hosts of a fleet are connected to."""

    @property
    def server(self) -> str:
        """The address for the database to listen at."""
        ...

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Within it, what this thread starts is on the database's host."""
        ...

    def way(self) -> contextlib.AbstractContextManager[Way]:
        """For a new host."""
        ...


class ProxyWay:
    """Through a proxy on loopback."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self._proxy = proxy

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._proxy.port}"

    def cut(self) -> None:
        self._proxy.behave(cut_after_sent=0)
        self._proxy.cut_all()

    def join(self) -> None:
        self._proxy.behave(cuts=0)

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class ProxyNetwork:
    """Hosts that share this machine's network."""

    def __init__(self) -> None:
        # An address of its own, since the port is the usual one.
        last = random.randrange(1, 255)
        self.server = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{last}"

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def way(self) -> Iterator[ProxyWay]:
        with cutting_proxy(_PORT, self.server) as proxy:
            yield ProxyWay(proxy)


class _Namespace:
    """A network that is there for as long as somebody is in it or holds this."""

    def __init__(self) -> None:
        with _own_network_kept():
            _call(_libc.unshare(_NEW_NETWORK))
            self._descriptor = _network_of_this_thread()
            _ip("link set lo up")

    @property
    def path(self) -> str:
        """Where other programs find it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Within it, this thread and what it starts is in this network."""
        with _own_network_kept():
            _call(_libc.setns(self._descriptor, _NEW_NETWORK))
            yield

    def close(self) -> None:
        os.close(self._descriptor)


class CableWay:
    """Through a cable to the switch; cut at its far end, so that the host's own link is there."""

    def __init__(self, switch: _Namespace, number: int) -> None:
        self.address = f"{_PREFIX}1:{_PORT}"
        self._switch, self._socket = switch, f"host{number}"
        self.namespace = _Namespace()
        with switch.entered():
            peer = f"peer name eth0 netns {self.namespace.path}"
            _ip(f"link add {self._socket} type veth {peer}")
            _ip(f"link set {self._socket} master switch up")
        with self.namespace.entered():
            _ip(f"address add {_PREFIX}{number}/24 dev eth0")
            _ip("link set eth0 up")

    def cut(self) -> None:
        with self._switch.entered():
            _ip(f"link set {self._socket} down")

    def join(self) -> None:
        with self._switch.entered():
            _ip(f"link set {self._socket} up")

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return self.namespace.entered()


class CableNetwork:
    """Hosts that are namespaces, and a switch with the database in another one."""

    server: str = f"{_PREFIX}1"

    def __init__(self) -> None:
        self.namespace = _Namespace()
        self._hosts = 1
        with self.entered():
            _ip("link add switch type bridge")
            _ip(f"address add {self.server}/24 dev switch")
            _ip("link set switch up")

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return self.namespace.entered()

    @contextlib.contextmanager
    def way(self) -> Iterator[CableWay]:
        self._hosts += 1
        made = CableWay(self.namespace, self._hosts)
        try:
            yield made
        finally:
            made.namespace.close()


@contextlib.contextmanager
def cables_or_proxies() -> Iterator[Network]:
    """Namespaces where they can be made, with all that they take; proxies elsewhere."""
    try:
        network = CableNetwork()
        with network.way():
            pass
    except (OSError, subprocess.CalledProcessError):
        yield ProxyNetwork()
        return
    try:
        yield network
    finally:
        network.namespace.close()


@contextlib.contextmanager
def _own_network_kept() -> Iterator[None]:
    """Whatever network this thread enters within it, it comes back."""
    own = _network_of_this_thread()
    try:
        yield
    finally:
        _call(_libc.setns(own, _NEW_NETWORK))
        os.close(own)


def _network_of_this_thread() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)
