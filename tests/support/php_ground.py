"""A real `php -S` that serves a folder, for as long as a context lasts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.web_ground import TIMEOUT_SECONDS, ask, free_port


@contextlib.contextmanager
def php_serving(folder: Path, environment: Mapping[str, str], *options: str) -> Iterator[int]:
    """Yields the port on which it listens; ended, it wrote no warning of PHP's."""
    port = free_port()
    log = folder.parent / "php.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["php", "-d", "display_errors=1", "-d", "error_reporting=-1", "-d", "log_errors=1",
             "-d", "error_log=", *options, "-S", f"127.0.0.1:{port}", "-t", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], **environment},
        )  # fmt: skip
    try:
        _wait(server, port, log)
        yield port
    finally:
        server.terminate()
        server.wait(TIMEOUT_SECONDS)
    text = log.read_text()
    assert "PHP Warning" not in text, text
    assert "PHP Fatal" not in text, text


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(ConnectionRefusedError):
            ask(port, "/there-is-no-such-page")
            return
        time.sleep(0.02)
    raise AssertionError(f"php does not answer: {log.read_text()}")
