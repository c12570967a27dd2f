"""The service as a process of its own, for as long as a context lasts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from tests.e2e.command_line import Place
from tests.support.failure_ground import processes, wait_until


class Service:
    """A running service; what it logs stands in a file."""

    def __init__(self, place: Place, *options: str, **environment: str) -> None:
        self.place = place
        self.log = place.path / "service.log"
        program = [sys.executable, "-m", "strongroom", "--config", str(place.config), "serve"]
        listen = () if "--listen" in options else ("--listen", "127.0.0.1:0")
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [*program, *listen, *options],
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, *words: str) -> None:
        """Until the log has all these words."""
        wait_until(lambda: all(one in self.text for one in words) or self._ended())
        assert all(one in self.text for one in words), self.text

    def wait_until_ready(self) -> None:
        """Until all was judged, and told, once."""
        wait_until(lambda: self._ended() or self.ask("/readyz")[0] == 200)
        assert not self._ended(), self.text

    def _ended(self) -> bool:
        return self.child.poll() is not None

    @property
    def url(self) -> str:
        self.wait_for("serving tms on http://")
        found = re.findall(r"serving tms on (http://\S+)", self.text)
        return str(found[-1])

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.child.send_signal(number)
        return self.child.wait(60)


@contextlib.contextmanager
def serving(place: Place, *options: str, **environment: str) -> Iterator[Service]:
    """A service of this place's application; nothing of it is left afterwards."""
    service = Service(place, *options, **environment)
    try:
        yield service
    finally:
        if service.child.poll() is None:
            service.child.kill()
            service.child.wait()
        wait_until(lambda: not processes(str(place.config)))
