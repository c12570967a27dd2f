"""What others are told about how things stand, as bytes: files, and answers to requests.

A `Provider` knows the newest judgement; `Board` is one to which the daemon posts. Nothing here
judges: that is done in `report`.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from strongroom import __version__
from strongroom.report.health import HEALTH_MEDIA_TYPE, health_document, status_document
from strongroom.report.standing import Standing, standing_of
from strongroom.service.publication import publish

if TYPE_CHECKING:
    from strongroom.service.status import StatusReport

__all__ = [
    "Board",
    "Provider",
    "Told",
    "publish_metrics",
    "publish_status",
    "standing_here",
    "tell_alive",
    "tell_health",
    "tell_metrics",
    "tell_ready",
]

_TEXT: Final = "text/plain; charset=utf-8"
# After so many ticks that did not come, nobody may rely on what was judged before.
_SERVICE_HOLDS: Final = timedelta(minutes=10)


class Provider(Protocol):
    """Who knows how things stand; asked from several threads."""

    def current(self) -> Standing | None:
        """The newest judgement, None before the first."""
        ...

    def ready(self) -> bool:
        """Whether what is to run by itself does run."""
        ...


class Board:
    """A `Provider` that shows what was posted last."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._standing: Standing | None = None
        self._ready = False

    def post(self, standing: Standing) -> None:
        """From now on this is how things stand."""
        with self._guard:
            self._standing = standing

    def set_ready(self, ready: bool) -> None:
        """Whether what is to run by itself does run, as of now."""
        with self._guard:
            self._ready = ready

    def current(self) -> Standing | None:
        with self._guard:
            return self._standing

    def ready(self) -> bool:
        with self._guard:
            return self._ready


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to a request."""

    http_status: int
    media_type: str
    content: bytes


def tell_health(provider: Provider, now: datetime) -> Told:
    """The health document: 200 for `pass` and `warn`, 503 for `fail`."""
    status, document = health_document(provider.current(), now)
    return Told(status, HEALTH_MEDIA_TYPE, json.dumps(document, indent=2).encode() + b"\n")


def tell_metrics(provider: Provider, now: datetime) -> Told:
    """The metrics, always with 200: a scraper has to get them when things are bad."""
    from strongroom.report.metrics import METRICS_MEDIA_TYPE, metrics_text

    return Told(200, METRICS_MEDIA_TYPE, metrics_text(provider.current(), now, __version__))


def tell_alive() -> Told:
    """Whoever gets this knows that the process answers."""
    return Told(200, _TEXT, b"alive\n")


def tell_ready(provider: Provider) -> Told:
    """200 when what is to run by itself does run, else 503."""
    return Told(200, _TEXT, b"ready\n") if provider.ready() else Told(503, _TEXT, b"not ready\n")


def standing_here(
    found: StatusReport, now: datetime, *, at_most: timedelta = _SERVICE_HOLDS
) -> Standing:
    """How things stand as this host's status has it, for no longer than `at_most` from `now` on."""
    until = min(found.valid_until, now + at_most)
    return standing_of(found.report, found.evidence, found.promise, until)


def publish_status(standing: Standing, output: Path, now: datetime) -> None:
    """Replace the status file; TargetError when it can't be written."""
    text = json.dumps(status_document(standing, now), indent=2)
    publish(output, text.encode() + b"\n")


def publish_metrics(standing: Standing, output: Path, now: datetime) -> None:
    """Replace the file for node_exporter, whose name must end in .prom to be read there;
    TargetError when it can't be written."""
    from strongroom.report.metrics import metrics_text

    publish(output, metrics_text(standing, now, __version__))
