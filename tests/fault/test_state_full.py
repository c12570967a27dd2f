"""A state folder that is full: no run begins, and everybody is told so, though nothing can be
written down."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.errors import SourceError, StorageError
from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.service.application import Application
from strongroom.service.child import Children
from strongroom.service.engine import HOST, HOST_DRILLS, Engine, EngineClient, QueueLimits
from strongroom.service.order import Order
from strongroom.service.runner import Runner
from strongroom.service.status import status
from strongroom.service.tick import Placed, tick
from tests.e2e.command_line import Place
from tests.support.failure_ground import small_disk, wait_until
from tests.support.listeners import web_service
from tests.support.repository_ground import PASSWORD, new_repository
from tests.support.running_service import Service, serving
from tests.support.year import WorldPorts
from tests.support.year_world import World, year_begin

CONFIG = """\
version: 1
application: tms
environment: development
state: state
sources:
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: "file:key"}
objectives: {copies: 1}
alerts:
  - {name: operators, to: file:hook-url}
review: {last: 2026-11-01, every: 3650d}
"""
ORDER = Order("tms", "capture", "capture", ("backup",), ("uploads",))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Its state folder is a file system of its own."""
    made = Place(tmp_path / "tms")
    made.uploads.mkdir(parents=True)
    (made.uploads / "one.pdf").write_bytes(b"one" * 1000)
    made.write_config(CONFIG)
    for name, text in (("key", PASSWORD), ("hook-url", "json://127.0.0.1:9/x")):
        (made.path / name).write_text(text + "\n")
        (made.path / name).chmod(0o600)
    new_repository(made.path / "local")
    with small_disk(made.path / "state", "1m"):
        yield made


def fill(place: Place) -> None:
    """To the last byte."""
    with contextlib.suppress(OSError), (place.path / "state" / "filling").open("ab", 0) as file:
        while True:
            file.write(bytes(4096))


def schedule_of(service: Service) -> str:
    """How the check stands, as everybody may see it."""
    return str(json.loads(service.ask("/health")[1])["checks"]["schedule"][0]["status"])


def test_a_service_without_room_for_its_records_says_so_at_once(place: Place) -> None:
    with web_service() as web:
        (place.path / "hook-url").write_text(f"json://127.0.0.1:{web.port}/hook\n")
        with serving(place) as service:
            service.wait_for("capture ended with status 0")
            wait_until(lambda: schedule_of(service) == "pass")
            fill(place)
            service.child.send_signal(signal.SIGHUP)  # which makes the next tick come now
            wait_until(lambda: schedule_of(service) != "pass")
            wait_until(lambda: any(b"no space left" in body for _, _, body in web.asked))
            asked = place.run("--json", "backup")
            assert asked.status == 22
            error = asked.document["error"]
            assert error["code"] == "store-full"
            assert str(place.path / "state" / "runs.sqlite") in error["message"]
            assert "Free space where the state folder is" in error["hint"]
            assert "INSERT" not in asked.err + asked.text
            (place.path / "state" / "filling").unlink()
            service.child.send_signal(signal.SIGHUP)
            wait_until(lambda: schedule_of(service) == "pass")
            assert service.stop() == 0
            assert "Traceback" not in service.text


def test_status_beside_it_says_so_too(place: Place) -> None:
    application = Application.load(place.config)
    found = status(application, datetime.now(UTC)).report.checks
    assert not any("no space left" in one.observed for one in found)
    fill(place)
    found = status(application, datetime.now(UTC)).report.checks
    [schedule] = [one for one in found if one.name == "schedule"]
    assert schedule.verdict is Verdict.STALE
    assert "the state folder has no space left" in schedule.observed


def order_many(client: EngineClient) -> None:
    """More than has room in what the file had set aside."""
    for number in range(1000):
        client.order(HOST, ORDER, f"another-{number}")


def test_all_that_the_record_of_runs_is_asked_is_explained(place: Place) -> None:
    state = place.path / "state"
    application = Application.load(place.config)
    children = Children(place.config)
    engine = Engine(state, HOST.application, "here")
    engine.launch(Runner(lambda: application, children), [QueueLimits(HOST_DRILLS)])
    client = EngineClient(state)
    try:
        client.order(HOST, ORDER, "known")
        fill(place)
        with pytest.raises(StorageError, match="database or disk is full") as raised:
            order_many(client)
        assert raised.value.code == "store-full"
        assert raised.value.subject == str(state / "runs.sqlite")
        assert "known" in {one.workflow for one in client.live()}
    finally:
        client.close()
        engine.close()


def test_a_record_of_runs_that_is_none_is_explained(place: Place) -> None:
    (place.path / "state" / "runs.sqlite").write_bytes(b"no database" * 1000)
    client = EngineClient(place.path / "state")
    asked = (
        lambda: client.jobs("tms/"),
        lambda: client.outcome("one"),
        lambda: client.forget(datetime.now(UTC)),
        lambda: client.order(HOST, ORDER, "one"),
    )
    for ask in asked:
        with pytest.raises(StorageError, match="not a database") as raised:
            ask()
        assert raised.value.code == "store-refused"
        assert "move runs.sqlite aside" in raised.value.hint
    client.close()


# What the tick makes of it


class Refusing(WorldPorts):
    """Nothing can be ordered."""

    error: Exception = StorageError("the disk is full", subject="runs.sqlite", code="store-full")

    def order(self, placed: Placed) -> None:
        assert placed.order.arguments
        raise self.error


def judged(ports: WorldPorts, world: World) -> Check:
    tick(ports, world.clock())
    found = ports.take()
    assert found is not None
    [schedule] = [one for one in found.report.checks if one.name == "schedule"]
    return schedule


def test_a_tick_that_can_not_order_tells_of_it_itself() -> None:
    world = World(7, year_begin(7))
    ports = Refusing(world)
    schedule = judged(ports, world)
    assert schedule.verdict is Verdict.STALE
    assert "cannot be started or recorded: the disk is full" in schedule.observed
    told = [notice.key for one in ports.told.sent for notice in one.message.notices]
    assert "schedule" in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("of /a/secret"), "a failure that nobody foresaw (RuntimeError)"),
        # A database of a fleet may be away for a moment.
        (SourceError("gone", subject="the state database", code="database-unreachable"), ""),
    ],
)
def test_what_else_fails_in_planning(error: Exception, told: str) -> None:
    world = World(8, year_begin(8))
    ports = Refusing(world)
    ports.error = error
    observed = judged(ports, world).observed
    assert "secret" not in observed
    assert ("cannot be started" in observed) is bool(told)
    assert told in observed
