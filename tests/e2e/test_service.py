"""The service as an operator has it: a process that captures, judges, shows and stops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import BusyError
from strongroom.evidence import Ledger
from strongroom.service.application import Application
from strongroom.service.child import Children
from strongroom.service.engine import HOST, EngineClient
from strongroom.service.following import follow
from strongroom.service.order import Order
from strongroom.service.runner import Runner
from tests.e2e.command_line import Place
from tests.support.failure_ground import processes, wait_until
from tests.support.repository_ground import PASSWORD, new_repository
from tests.support.running_service import Service, serving

CONFIG = """
version: 1
application: tms
environment: {environment}
state: state
sources:
  uploads: {{kind: files, path: uploads}}
repositories:
  local: {{location: local, password: "file:key"}}
objectives: {{copies: 1}}
monitoring: {{status_file: status.json, metrics_file: tms.prom}}
review: {{last: 2026-11-01, every: 3650d}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "tms")
    made.uploads.mkdir(parents=True)
    (made.uploads / "one.pdf").write_bytes(b"one" * 1000)
    made.write_config(CONFIG.format(environment="development"))
    (made.path / "key").write_text(PASSWORD + "\n")
    (made.path / "key").chmod(0o600)
    new_repository(made.path / "local")
    return made


def records(place: Place, kind: str) -> list[dict[str, Any]]:  # Any: JSON values
    ledger = Ledger(place.path / "state" / "ledger.jsonl")
    return [dict(one.fields) for one in ledger.entries(kind)]


def test_a_new_service_captures_at_once_shows_how_things_stand_and_stops(place: Place) -> None:
    with serving(place) as service:
        service.wait_for("capture begins: nothing was captured yet", "capture ended with status 0")
        assert service.ask("/livez")[0] == 200
        wait_until(lambda: service.ask("/readyz")[0] == 200)
        # Nobody has brought it back: that is no health.
        status, body = service.ask("/health")
        assert (status, json.loads(body)["verdict"]) == (503, "UNKNOWN")
        # A drill beside it is the service's to do, and counts at once.
        drilled = place.json("drill")
        assert drilled["verdict"] == "PROVEN"
        wait_until(lambda: json.loads(service.ask("/health")[1])["verdict"] != "UNKNOWN")
        metrics = service.ask("/metrics")[1]
        assert 'strongroom_last_proof_timestamp_seconds{application="tms",source="uploads"}' in (
            metrics
        )
        assert service.stop() == 0
    written = json.loads((place.path / "status.json").read_text())
    assert written["schema_version"] == 1
    assert "strongroom_verdict" in (place.path / "tms.prom").read_text()
    [captured, drill] = records(place, "job")
    assert captured["job"] == "capture"
    assert captured["exit_status"] == 0
    assert captured["because"] == "nothing was captured yet"
    assert drill["job"] == "drill:asked"
    assert [one["event"] for one in records(place, "service")] == ["started", "stopped"]


def test_a_second_service_of_the_same_state_is_refused(place: Place) -> None:
    with serving(place) as service:
        service.wait_for("serving tms on")
        second = place.run("--json", "serve", "--listen", "none")
        assert second.status == 4
        assert "another service is running" in second.document["error"]["message"]


def test_a_service_that_is_killed_in_a_run_goes_on_with_it(place: Place) -> None:
    large = place.uploads / "large.bin"
    with large.open("wb") as file:
        for _ in range(40):
            file.write(os.urandom(1 << 20))
    with serving(place) as service:
        service.wait_for("capture begins")
        wait_until(lambda: len(processes(str(place.config))) > 1)
        service.child.kill()
        service.child.wait()
        # The run's own process ends with it.
        wait_until(lambda: not processes(str(place.config)))
    with serving(place) as service:
        service.wait_for("capture ended with status 0")
        assert service.stop() == 0
    [job] = records(place, "job")
    assert job["exit_status"] == 0
    assert len(records(place, "backup")) == 1
    assert place.json("drill")["verdict"] == "PROVEN"


def stop_between_writes(service: Service, file: Path) -> None:
    """SIGSTOP, while it holds no lock of its file."""
    tasks = Path(f"/proc/{service.child.pid}/task")
    while True:
        service.child.send_signal(signal.SIGSTOP)
        # Its threads stop one after another, some while later.
        wait_until(lambda: all(_is_stopped(one) for one in tasks.iterdir()))
        with contextlib.closing(sqlite3.connect(file, timeout=2, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                service.child.send_signal(signal.SIGCONT)
                time.sleep(0.1)
            else:
                other.execute("ROLLBACK")
                return


def _is_stopped(task: Path) -> bool:
    """A thread; one that has ended does nothing either."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return True


def assert_withdrawn_in_time_only(application: Application) -> None:
    """While the service does not look: an order can be taken back, but for a file that is held."""
    client = EngineClient(application.state)
    client.order(HOST, Order("tms", "check:asked", "check", ("check",)), "tms/check/1")
    file = application.state / "runs.sqlite"
    with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert not client.withdraw("tms/check/1")
        other.execute("ROLLBACK")
    assert client.withdraw("tms/check/1")
    assert not client.withdraw("tms/check/1")
    client.close()


def test_a_command_beside_a_service_that_was_stopped_while_it_wrote_gives_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.service.engine._LOCKED_SECONDS", 1.0)
    with serving(place) as service:
        service.wait_until_ready()
        application = Application.load(place.config)
        file = place.path / "state" / "runs.sqlite"
        with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(BusyError, match="database is locked"):
                follow(application, "check", ["check"], (), lambda _: None)
            other.execute("ROLLBACK")
        assert follow(application, "check", ["check"], (), lambda _: None) is not None


def test_a_command_beside_a_service_that_hangs_gives_up_and_is_not_done_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.service.engine._LOCKED_SECONDS", 1.0)
    with serving(place) as service:
        service.wait_until_ready()
        wait_until(lambda: bool(records(place, "job")))
        application = Application.load(place.config)
        stop_between_writes(service, place.path / "state" / "runs.sqlite")
        try:
            lock = place.path / "state" / "service.lock"
            old = lock.stat().st_mtime - 600
            os.utime(lock, (old, old))
            checks = len(records(place, "check"))
            assert_withdrawn_in_time_only(application)
            with pytest.raises(BusyError) as raised:
                follow(
                    application,
                    "check",
                    ["check"],
                    (),
                    lambda _: None,
                    watched=timedelta(seconds=1),
                )
        finally:
            service.child.send_signal(signal.SIGCONT)
        assert "gave no sign of life for 10 min" in raised.value.message
        assert "withdrawn, and nothing was done" in raised.value.message
        assert "restart it" in str(raised.value.hint)
        # It wakes up, and does what it is asked next; what was withdrawn would have come before.
        assert place.run("drill").status == 0
        assert len(records(place, "check")) == checks
        assert records(place, "drill")


def test_a_service_that_lives_again_is_waited_for(place: Place) -> None:
    """As after a host slept: its last sign is old, and the next one comes."""
    with serving(place) as service:
        service.wait_until_ready()
        wait_until(lambda: bool(records(place, "job")))
        lock = place.path / "state" / "service.lock"
        os.utime(lock, (lock.stat().st_mtime - 600,) * 2)
        assert place.run("check").status == 0
        assert records(place, "check")


def test_a_stop_in_a_run_waits_for_its_step_and_goes_on_later(place: Place) -> None:
    with serving(place, "--grace", "60s") as service:
        service.wait_for("capture begins")
        wait_until(lambda: len(processes(str(place.config))) > 1)
        assert service.stop() == 0
        assert "stopped; 0 runs" in service.text
    with serving(place) as service:
        service.wait_for("capture ended with status 0")
    assert len(records(place, "backup")) == 1


def test_a_new_configuration_counts_when_it_has_no_faults(place: Place) -> None:
    with serving(place) as service:
        service.wait_for("serving tms on")
        place.write_config("version: 1\napplication: tms\nsources: []\n")
        service.child.send_signal(signal.SIGHUP)
        service.wait_for("the configuration stays as it was")
        assert service.ask("/livez")[0] == 200
        text = CONFIG.format(environment="development") + "schedule: {capture: '5 5 * * *'}\n"
        place.write_config(text)
        service.child.send_signal(signal.SIGHUP)
        service.wait_for("the configuration was read anew")
        wait_until(
            lambda: (
                records(place, "schedule")[-1]["jobs"][0]
                == {"job": "capture", "fields": "5 5 * * *", "time_zone": "UTC"}
            )
        )
        assert service.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("what", ["faulty", "of another application", "gone"])
def test_a_run_of_the_schedule_goes_by_the_configuration_in_force(place: Place, what: str) -> None:
    application = Application.load(place.config)
    runner = Runner(lambda: application, Children(place.config))
    if what == "gone":
        place.config.unlink()
    else:
        words = ("sources:", "source:") if what == "faulty" else ("tms", "other")
        place.write_config(place.config.read_text().replace(*words))
    order = Order("tms", "capture", "capture", ("backup",), scheduled_for="2026-11-26T02:00:00Z")
    ran = runner.run(order, order.arguments, None)
    assert ran.exit_status == 0, ran
    assert [one["application"] for one in records(place, "backup")] == ["tms"]
    if what == "faulty":  # somebody who gives a command sees the file, and means it
        asked = replace(order, scheduled_for="")
        assert runner.run(asked, asked.arguments, None).exit_status == 2


def test_a_supervisor_is_told(place: Place, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(address)
        supervisor.settimeout(60)
        with serving(place, NOTIFY_SOCKET=address, WATCHDOG_USEC="900000") as service:
            told: list[str] = []

            def hear(wanted: str) -> None:
                while not any(wanted in one for one in told):
                    told.append(supervisor.recv(4096).decode())

            hear("READY=1")
            begun = time.monotonic()
            hear("WATCHDOG=1")
            assert time.monotonic() - begun < 30
            service.child.send_signal(signal.SIGHUP)
            hear("RELOADING=1\nMONOTONIC_USEC=")
            assert service.stop() == 0
            hear("STOPPING=1")


def test_the_log_is_json_for_collectors(place: Place) -> None:
    with serving(place, "--log-format", "json") as service:
        service.wait_for('"message": "capture ended with status 0')
        assert service.stop() == 0
        lines = [json.loads(line) for line in service.text.splitlines()]
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    [ended] = [line for line in lines if line["message"].startswith("capture ended")]
    assert (ended["job"], ended["exit_status"]) == ("capture", 0)


def test_a_service_whose_state_was_taken_away_ends(place: Place) -> None:
    """Another one could run beside it, and what it knew is gone."""
    with serving(place) as service:
        service.wait_for("capture ended with status 0")
        (place.path / "state").rename(place.path / "taken away")
        assert service.stop(signal.SIGHUP) == 4
        assert "it was removed or replaced while the service ran" in service.text
    with serving(place) as service:
        service.wait_for("records were taken from snapshot", "serving tms on")
        assert service.stop() == 0
    assert [one["event"] for one in records(place, "service")] == ["started", "stopped"] * 2


def test_an_address_that_is_taken_is_told(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(place, "--listen", f"127.0.0.1:{port}") as service:
            assert service.child.wait(60) == 2
            assert "another program listens there" in service.text


def test_a_damaged_record_of_runs_is_told_with_a_remedy(place: Place) -> None:
    (place.path / "state").mkdir()
    (place.path / "state" / "runs.sqlite").write_bytes(b"no database" * 1000)
    with serving(place) as service:
        assert service.child.wait(60) == 23
        assert "the record of runs under way cannot be used: file is not a database" in service.text
        assert "move runs.sqlite aside" in service.text


def test_what_is_no_address_is_told(place: Place) -> None:
    answer = place.run("--json", "serve", "--listen", "8480")
    assert (answer.status, answer.document["error"]["code"]) == (2, "usage")
