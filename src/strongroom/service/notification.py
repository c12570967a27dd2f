"""What the service tells systemd: that it is ready, what it does, and that it is alive.

The protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without it nothing
is told.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Supervisor:
    """The supervisor that started this process, if it listens."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def ready(self, status: str) -> None:
        """The service does its work from here on."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` ends that."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, status: str) -> None:
        """What `systemctl status` shows."""
        self._tell(f"STATUS={status}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """For the watchdog."""
        self._tell("WATCHDOG=1")

    @property
    def patience_seconds(self) -> float | None:
        """How long the watchdog waits for `alive`; None when it doesn't watch this process."""
        given, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        if not given.isdecimal() or (process and process != str(os.getpid())):
            return None
        return int(given) / _MICROSECONDS

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.connect(address)
                to.sendall(message.encode())
        except OSError:  # a supervisor that is gone cannot be told
            return
