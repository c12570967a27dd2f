"""The service as a process of its own, as an operator has it: its log, its face, its end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.e2e.command_line import Place
from tests.support.failure_ground import processes, wait_until


class RunningService:
    """A running service; what it logs stands in a file. `words` are those of the command line, of
    which --listen is added where it is missing."""

    def __init__(
        self, words: tuple[str, ...], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self._begin = log.stat().st_size if log.exists() else 0
        listen = () if "--listen" in words else ("--listen", "127.0.0.1:0")
        with self.log.open("ab") as written:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "strongroom", *words, *listen],
                stdout=written,
                stderr=written,
                env=dict(os.environ if environment is None else environment),
            )

    @property
    def text(self) -> str:
        """What it has logged; not what one before it did."""
        return self.log.read_bytes()[self._begin :].decode()

    def wait_for(self, *words: str) -> None:
        """Until the log has all these words."""
        wait_until(lambda: all(one in self.text for one in words) or self.has_ended)
        assert all(one in self.text for one in words), self.text

    def wait_until_ready(self) -> None:
        """Until all was judged, and told, once."""
        wait_until(lambda: self.has_ended or self.ask("/readyz")[0] == 200)
        assert not self.has_ended, self.text

    @property
    def has_ended(self) -> bool:
        return self.child.poll() is not None

    @property
    def url(self) -> str:
        self.wait_for(" on http://")
        return str(re.findall(r" on (http://\S+)", self.text)[-1])

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

    def kill(self) -> None:
        """At once, if it is still there."""
        if not self.has_ended:
            self.child.kill()
            self.child.wait()


class Service(RunningService):
    """The service of a place."""

    def __init__(self, place: Place, *options: str, **environment: str) -> None:
        self.place = place
        words = ("--config", str(place.config), "serve", *options)
        super().__init__(words, place.path / "service.log", {**os.environ, **environment})


@contextlib.contextmanager
def serving(place: Place, *options: str, **environment: str) -> Iterator[Service]:
    """A service of this place's application; nothing of it is left afterwards."""
    service = Service(place, *options, **environment)
    try:
        yield service
    finally:
        service.kill()
        wait_until(lambda: not processes(str(place.config)))
