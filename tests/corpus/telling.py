"""Time and people, as whoever is told sees it: alerts, the running service, and health pages.

Services are real processes; alerts and pings go to a web service on loopback, or to a port where
nobody listens; the application's health page is served by PHP.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy
from tests.corpus.standing import (
    DAILY,
    DAILY_LIST,
    DRILLED,
    GROUP,
    STATUS,
    WORKER,
    ask_status,
    configure,
    in_order,
    not_drilled,
    review_overdue,
    write_hook,
)
from tests.house.ground import ROOT
from tests.support.listeners import WebService, closed_port, web_service
from tests.support.older_records import set_back
from tests.support.php_ground import php_serving
from tests.support.running_service import Service, serving
from tests.support.web_ground import ask as ask_page

TEST, TOLD, PAGE, BACKUP = "alert test", "service", "health page", "backup"
# Longer than a service may be silent, and than what it wrote may be believed.
SILENCE: Final = timedelta(minutes=11)


@contextlib.contextmanager
def _listening(grounds: Grounds) -> Iterator[Scene]:
    """All is in order, and who is told listens."""
    with in_order(grounds) as scene, web_service() as web:
        write_hook(scene.place, web.port)
        scene.ground = web
        yield scene


def _nobody_listens(scene: Scene) -> None:
    write_hook(scene.place, closed_port())


def _refuses(scene: Scene) -> None:
    scene.ground.status = 403


def _second_never_tried(scene: Scene) -> None:
    scene.place.write_config(_with_second_route(scene))
    write_hook(scene.place, closed_port(), "second-hook")


def _nobody_listened(scene: Scene) -> None:
    """An alert was sent, and did not arrive."""
    _nobody_listens(scene)
    assert scene.place.run("alert", "test").status == 3


TRY = Way("try the alerts", WORKER, _listening, ask("alert", "test"))


# The service tells


@contextlib.contextmanager
def _two_routes(grounds: Grounds) -> Iterator[Scene]:
    """Besides, somebody is told of failures."""
    with _listening(grounds) as scene, web_service() as second:
        scene.place.write_config(_with_second_route(scene))
        write_hook(scene.place, second.port, "second-hook")
        scene.ground = second
        _try_all(scene)
        yield scene


def _try_all(scene: Scene) -> None:
    healthy(scene, "alert", "test")
    scene.ground.asked.clear()


def _with_second_route(scene: Scene) -> str:
    text = scene.place.config.read_text()
    second = "{name: second, to: file:second-hook, when: failure}"
    return text.replace("file:hook}]", f"file:hook}}, {second}]")


def _served(scene: Scene) -> Seen:
    """What a service tells of its own accord, and how healthy it says that all is."""
    with serving(scene.place) as service:
        service.wait_until_ready()
        status, body = service.ask("/health")
        service.stop()
    verdict = json.loads(body)["verdict"]
    assert (status == 200) is (verdict == "PROVEN")
    told = [one.fields for one in scene.place.ledger.entries("alert")]
    loud = {one["key"].partition(":")[0] for one in told if one["delivered"] and one["key"]}
    assert bool(loud) is bool(scene.ground.asked), "what is recorded as delivered did arrive"
    failed = {"alert-undelivered" for one in told if not one["delivered"]}
    return Seen(verdict, frozenset(loud | failed), told=service.text)


def _first_is_away(scene: Scene) -> None:
    not_drilled(scene)
    _try_all(scene)
    _nobody_listens(scene)


SERVE = Way("let a service tell", WORKER, _listening, _served)
SERVE_TWO = Way("let a service tell two", WORKER, _two_routes, _served)


# Is it there?


@contextlib.contextmanager
def _running(grounds: Grounds) -> Iterator[Scene]:
    """All is in order, and a service runs that writes how things stand."""
    with _listening(grounds) as scene:
        configure(scene, "space: 1KiB", "space: 1KiB, status_file: status.json")
        with serving(scene.place) as service:
            service.wait_until_ready()
            scene.ground = service
            yield scene


def _hangs(scene: Scene) -> None:
    """It holds its lock, and does nothing more."""
    service: Service = scene.ground
    service.child.send_signal(signal.SIGSTOP)
    scene.stack.callback(service.child.send_signal, signal.SIGCONT)
    lock = scene.place.path / "state" / "service.lock"
    silent_since = lock.stat().st_mtime - SILENCE.total_seconds()
    os.utime(lock, (silent_since, silent_since))


def _killed(scene: Scene) -> None:
    """What it wrote last gets old."""
    service: Service = scene.ground
    assert service.stop(signal.SIGKILL) != 0
    file = _status_file(scene)
    file.write_text(json.dumps(set_back(json.loads(file.read_text()), SILENCE)))


def _garbled(scene: Scene) -> None:
    """A full disk took the end of it."""
    scene.ground.stop()
    file = _status_file(scene)
    file.write_text(file.read_text()[:-100])


def _status_file(scene: Scene) -> Path:
    return scene.place.path / "status.json"


def _page(scene: Scene) -> Seen:
    """What the application's own page says of its backups."""
    folder = scene.place.path / "public"
    shutil.copytree(ROOT / "contrib" / "php", folder)
    with php_serving(folder, {"STRONGROOM_STATUS": str(_status_file(scene))}) as port:
        answer = ask_page(port, "/backup-health.php")
    document = answer.document
    verdict = str(document["verdict"])
    assert (answer.status == 200) is (verdict == "PROVEN")
    checks: dict[str, Any] = document.get("checks", {})  # Any: JSON values
    loud = {name.partition(":")[0] for name, status in checks.items() if status != "pass"}
    return Seen(verdict, frozenset(loud), told=answer.content.decode())


STAND_BESIDE = Way("ask how things stand beside a service", WORKER, _running, ask_status)
ASK_PAGE = Way("ask the application's page", WORKER, _running, _page)


# The dead man's switch


@contextlib.contextmanager
def _pinging(grounds: Grounds) -> Iterator[Scene]:
    with in_order(grounds) as scene, web_service() as web:
        configure(scene, "space: 1KiB", "space: 1KiB, ping: file:ping")
        _write_ping(scene, web.port)
        scene.ground = web
        scene.afterwards.append(lambda: _was_pinged(scene, web))
        yield scene


def _write_ping(scene: Scene, port: int) -> None:
    file = scene.place.path / "ping"
    file.write_text(f"http://127.0.0.1:{port}/UUID\n")
    file.chmod(0o600)


def _was_pinged(scene: Scene, web: WebService) -> None:
    assert web.paths == scene.notes.get("paths", "/UUID/start /UUID").split()


def _switch_away(scene: Scene) -> None:
    scene.notes["paths"] = ""
    _write_ping(scene, closed_port())


def _switch_gone(scene: Scene) -> None:
    """The service does not know this address any more."""
    scene.ground.status = 404


PING = Way("back up, and tell that we live", WORKER, _pinging, ask("backup"))


def _row(
    name: str,
    way: Way,
    rung: str,
    spoil: Callable[[Scene], object],
    codes: tuple[str, ...],
    outcome: str,
) -> Fault:
    return Fault(name, GROUP, rung, way, spoil, codes, outcome)


FAULTS: Final = (
    _row("alert delivery failed", TRY, TEST, _nobody_listens, ("alert-undelivered",), "exit 3"),
    _row("alert refused", TRY, TEST, _refuses, ("alert-undelivered",), "exit 3"),
    _row("alert delivery failed, and nobody looked", DAILY_LIST, DAILY, _nobody_listened,
         ("delivery",), "STALE"),
    _row("one alert route never tried", DAILY_LIST, DAILY, _second_never_tried, ("delivery",),
         "STALE"),
    _row("drill never ran, told", SERVE, TOLD, not_drilled, DRILLED, "UNKNOWN"),
    _row("review date passed, told", SERVE, TOLD, review_overdue, ("review",), "PROVEN"),
    _row("alert delivery failed, told by another way", SERVE_TWO, TOLD, _first_is_away,
         (*DRILLED, "alert-undelivered"), "UNKNOWN"),
    _row("scheduler hangs", STAND_BESIDE, STATUS, _hangs, ("schedule",), "STALE"),
    _row("scheduler killed", ASK_PAGE, PAGE, _killed, (), "UNKNOWN"),
    _row("status file cut short", ASK_PAGE, PAGE, _garbled, (), "UNKNOWN"),
    _row("dead man's switch away", PING, BACKUP, _switch_away, ("ping-failed",), "exit 0"),
    _row("dead man's switch gone", PING, BACKUP, _switch_gone, ("ping-failed",), "exit 0"),
)  # fmt: skip
