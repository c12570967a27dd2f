"""Another host, as far as the network goes: a network namespace with an address of its own.

What listens there is reached by its address, which this host cannot take for its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.demo_ground import AS_ROOT

# For measurements between networks (RFC 2544): nobody's own.
_NETWORK = "198.18"


@dataclass(frozen=True)
class OtherHost:
    """`address` is the host's; programs put behind `enter` run on it."""

    address: str
    enter: tuple[str, ...]


HERE = OtherHost("127.0.0.1", ())


@contextlib.contextmanager
def other_host() -> Iterator[OtherHost]:
    """A host beside this one, on a network of two."""
    number = os.getpid() % (1 << 14) * 4
    name = f"sr{number}"
    here, there = (f"{_NETWORK}.{number >> 8}.{number % 256 + one}" for one in (1, 2))
    try:
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _ip("address", "add", f"{here}/30", "dev", f"{name}a")
        _ip("link", "set", f"{name}a", "up")
        _ip("-n", name, "address", "add", f"{there}/30", "dev", f"{name}b")
        _ip("-n", name, "link", "set", f"{name}b", "up")
        yield OtherHost(there, (*AS_ROOT, "ip", "netns", "exec", name))
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run([*AS_ROOT, "ip", *arguments], check=True)
