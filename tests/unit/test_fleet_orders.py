"""What a service takes out of a database that others write to, and how often it asks there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.main import main
from strongroom.config import parse_settings
from strongroom.errors import ConfigError, SourceError
from strongroom.postgres.state_database import parse_state_database
from strongroom.service.application import Application
from strongroom.service.child import Children
from strongroom.service.engine import (
    HOST,
    POOL,
    agent_address,
    evidence_address,
    poll_seconds,
    quieten,
)
from strongroom.service.order import Order
from strongroom.service.runner import Runner
from strongroom.service.worker import configuration_of, configurations_in

CONFIG = """
version: 1
application: tms
environment: development
sources: {uploads: {kind: files, path: uploads}}
repositories: {local: {location: local, password: env:KEY}}
state: STATE
"""


def application(path: Path) -> Application:
    return Application(parse_settings(CONFIG.replace("STATE", str(path / "state"))))


def runner(path: Path) -> Runner:
    made = application(path)
    return Runner(lambda: made, Children(path / "none.yaml"))


def test_orders_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    for order in (
        Order("crm", "capture", "capture", ("backup",)),
        Order("tms", "capture", "capture", ("backup", "--config", "/tmp/other.yaml")),
        Order("tms", "capture", "capture", ("backup", "--config=/tmp/other.yaml")),
        Order("tms", "capture", "capture", ("backup", "-qc/tmp/other.yaml")),
        Order("tms", "drill:asked", "drill", ("--state", "/tmp/x", "drill")),
    ):
        ran = runner(tmp_path).run(order, order.arguments, None)
        assert ran.exit_status == 2
        assert ran.document["error"]["code"] == "usage"


def test_a_service_s_child_carries_out_what_it_may(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("STRONGROOM_COMMANDS", "drill verify")
    config = str(tmp_path / "none.yaml")
    for words in (
        ["key", "export", "local", "-o", "/x"],
        ["snapshots"],
        ["restore", "uploads", "--to", "/x"],
    ):
        assert main(["--config", config, *words]) == 2
        assert "no service carries this out" in capsys.readouterr().err
    assert main(["--config", config, "drill"]) == 2  # which has no configuration
    assert "no service carries this out" not in capsys.readouterr().err


def test_another_state_folder_is_for_services_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--state", str(tmp_path), "backup"]) == 2
    assert "--state is for services" in capsys.readouterr().err


def test_records_are_taken_once_and_only_what_a_drill_makes(tmp_path: Path) -> None:
    at = datetime(2026, 11, 26, 8, tzinfo=UTC).isoformat()

    def made(kind: str, **fields: Any) -> dict[str, Any]:
        return {"kind": kind, "at": at, "fields": {"application": "tms", **fields}}

    records = [
        made("drill", source="uploads"),
        made("backup", snapshots=[]),
        made("drill", application="crm"),
        made("job", job="drill"),
    ]
    ended: list[bool] = []
    known = application(tmp_path)
    taking = Runner(lambda: known, Children(tmp_path / "none.yaml"), lambda: ended.append(True))
    assert taking.take("alpha/tms/drill/1", records)
    assert taking.take("alpha/tms/drill/1", records)
    assert taking.take("alpha/tms/drill/2", records[:1])
    entries = list(known.ledger.entries())
    assert [(one.kind, one.fields["handed_over"]) for one in entries] == [
        ("drill", "alpha/tms/drill/1/0"),
        ("job", "alpha/tms/drill/1/3"),
        ("drill", "alpha/tms/drill/2/0"),
    ]
    assert {one.fields["observed_at"] for one in entries} == {at}
    assert ended == [True] * 3


def test_records_that_cannot_be_written_are_not_lost(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    record = {"kind": "drill", "at": "2026-11-26T08:00:00Z", "fields": {"application": "tms"}}
    assert not runner(tmp_path).take("alpha/tms/drill/1", [record])


@pytest.mark.parametrize(
    ("ordered_for", "begins"),
    [("2026-11-20T02:00:00Z", False), ("2026-11-21T02:00:00Z", False),
     ("2026-11-22T02:00:00Z", True), ("", True)],
)  # fmt: skip
def test_what_was_made_otherwise_since_it_was_ordered_is_not_made_again(
    ordered_for: str, begins: bool, tmp_path: Path
) -> None:
    known = application(tmp_path)
    for job, at in (
        ("check:local", "2026-11-21T02:00:00Z"),
        ("check:other", "2026-11-23T02:00:00Z"),
        ("check:local", "2999-01-01T00:00:00Z"),  # by a clock that was wrong
    ):
        known.must_record("job", {"job": job, "scheduled_for": at})
    order = Order("tms", "check:local", "check", ("check",), scheduled_for=ordered_for)
    assert Runner(lambda: known, Children(tmp_path)).begin(order) is begins


def test_nobody_asks_for_the_queues_of_others() -> None:
    addresses = [HOST, POOL, agent_address("a"), agent_address("b"), evidence_address("a")]
    assert len({one.queue for one in addresses}) == len(addresses)
    assert agent_address("a").application == evidence_address("a").application
    assert len({one.application for one in addresses}) == len(addresses) - 1


def test_how_often_queues_are_asked_follows_the_heartbeat() -> None:
    assert poll_seconds(timedelta(minutes=3)) == 5
    assert poll_seconds(timedelta(seconds=2)) == 0.5
    assert poll_seconds(timedelta(hours=1)) == 30


def test_the_engine_s_complaints_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("dbos")
    quieten()
    quieten()
    with caplog.at_level(logging.WARNING, "dbos"):
        for number in range(5):
            logger.warning(f"Exception listing queues: attempt {number}")  # noqa: G004 - as it does
            logger.error("DBOS failed to launch:")
        logger.warning("Something else")
    assert [one.getMessage() for one in caplog.records] == [
        "Exception listing queues: attempt 0",
        "Something else",
    ]


@pytest.mark.parametrize("url", ["hunter2", "sqlite:///x", "mysql://u:hunter2@h/d", ""])
def test_what_names_no_state_database_is_told_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_state_database(url, "a")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_state_database_that_is_not_there_is_told_without_its_password() -> None:
    database = parse_state_database("postgresql://u:hunter2@127.0.0.1:1/fleet", "a")
    assert "hunter2" not in repr(vars(database))
    with pytest.raises(SourceError) as caught:
        database.connect()
    assert caught.value.code == "database-unreachable"
    assert str(caught.value).startswith("the state database: ")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_drill_worker_finds_the_configuration_of_an_application(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration is there"):
        configurations_in(tmp_path)
    (tmp_path / "a.yaml").write_text("version: 7\n")
    (tmp_path / "b.yaml").write_text(CONFIG)
    (tmp_path / "c.txt").write_text(CONFIG.replace("tms", "crm"))
    assert [one.name for one in configurations_in(tmp_path)] == ["a.yaml", "b.yaml"]
    assert configuration_of(tmp_path, "tms").name == "b.yaml"
    (tmp_path / "tms.yaml").write_text(CONFIG)
    assert configuration_of(tmp_path, "tms").name == "tms.yaml"
    with pytest.raises(ConfigError, match="crm: this drill worker has no configuration of it"):
        configuration_of(tmp_path, "crm")
