"""A real Prometheus with rules, and its checker: what it scrapes, and which alerts it fires."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.support.web_ground import TIMEOUT_SECONDS, ask, free_port

Found = TypeVar("Found")


def promtool(*arguments: object, given: bytes = b"") -> str:
    """What it says of something that must be right; all of it, when it is not."""
    run = subprocess.run(
        ["promtool", *map(str, arguments)], input=given, capture_output=True, check=False
    )
    said = (run.stdout + run.stderr).decode()
    assert run.returncode == 0, said
    return said


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    port: int
    log: Path

    def get(self, path: str, **parameters: str) -> Any:  # Any: JSON values
        """What its interface answers."""
        answer = ask(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert answer.document["status"] == "success", answer.content
        return answer.document["data"]

    def values(self, expression: str) -> list[float]:
        """The values of all series that it finds."""
        return [float(one["value"][1]) for one in self.get("query", query=expression)["result"]]

    def alerts(self) -> dict[str, dict[str, Any]]:  # Any: JSON values
        """The alerts that fire, by their names."""
        found = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"]: one for one in found if one["state"] == "firing"}


@contextlib.contextmanager
def prometheus_scraping(target: int, rules: Path, folder: Path) -> Iterator[Prometheus]:
    """One that asks a port of loopback each second, and evaluates the rules as often."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "strongroom", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    place = folder / "prometheus.yml"
    place.write_text(yaml.safe_dump(config))
    promtool("check", "config", place)
    port, log = free_port(), folder / "prometheus.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["prometheus", f"--config.file={place}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    found = Prometheus(port, log)
    try:
        wait_for(lambda: _is_ready(server, found), log)
        yield found
    finally:
        server.terminate()
        server.wait(TIMEOUT_SECONDS)


def _is_ready(server: subprocess.Popen[bytes], found: Prometheus) -> bool:
    assert server.poll() is None, found.log.read_text()
    try:
        return ask(found.port, "/-/ready").status == 200
    except ConnectionError:
        return False


def wait_for(ask_for: Callable[[], Found], log: Path) -> Found:
    """What it gives as soon as that is something."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if found := ask_for():
            return found
        time.sleep(0.1)
    raise AssertionError(f"it never came: {log.read_text()}")
