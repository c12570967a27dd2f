"""A fleet: three agents, two drill workers and a controller share one database, and each host can
be lost, or cut off from it, without anything else being lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.failure_ground import processes, wait_until
from tests.support.fleet_ground import STATE_PASSWORD, FleetGround, Host, fleet_ground
from tests.support.running_service import RunningService

pytestmark = pytest.mark.xdist_group("fleet")


@dataclass
class Fleet:
    """All hosts that serve. `gate` holds drills up for as long as it exists."""

    ground: FleetGround
    control: Host
    alpha: Host
    beta: Host
    gamma: Host
    workers: list[Host]
    gate: Path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    path = tmp_path_factory.mktemp("fleet")
    gate = path / "gate"
    with fleet_ground(path) as ground:
        control, alpha, beta = (ground.agent(name) for name in ("control", "alpha", "beta"))
        gamma = ground.agent("gamma", check="0 5 * * *")
        agents = [alpha, beta, gamma, control]
        workers = [ground.worker(name, agents, gate) for name in ("drill-1", "drill-2")]
        gamma.miss_days("0 5 * * *")
        gamma.cut_off()
        control.serve("--controller", "--most-drills", "2")
        for one in (alpha, beta, gamma):
            one.serve()
        for one in workers:
            one.drill()
        for one in agents:
            log(one).wait_for("capture ended with status 0")
        wait_until(lambda: all(log(one).ask("/readyz")[0] == 200 for one in workers))
        yield Fleet(ground, control, alpha, beta, gamma, workers, gate)


def log(host: Host) -> Any:  # Any: its service, which runs
    assert host.service is not None
    return host.service


def test_each_agent_carries_out_its_own_runs_and_no_others(fleet: Fleet) -> None:
    executors = fleet.ground.state.ask(
        "SELECT DISTINCT application_name, executor_id FROM dbos.workflow_status"
        " WHERE name = 'strongroom.run' AND application_name LIKE 'strongroom-agent-%'"
    )
    assert set(executors) == {
        (f"strongroom-agent-{name}", name) for name in ("control", "alpha", "beta")
    }
    for one in (fleet.control, fleet.alpha, fleet.beta):
        assert {each["application"] for each in one.records("backup")} == {one.name}


def test_a_killed_worker_s_drill_is_made_by_another_and_told_once(fleet: Fleet) -> None:
    fleet.gate.touch()
    answer = fleet.alpha.asked("drill")
    begun = "drill:asked of alpha begins"
    wait_until(lambda: any(begun in log(one).text for one in fleet.workers))
    [lost] = [one for one in fleet.workers if begun in log(one).text]
    [other] = [one for one in fleet.workers if one is not lost]
    wait_until(lambda: processes(str(lost.path / "alpha.key")))
    log(lost).kill()
    fleet.gate.unlink()
    assert answer()["verdict"] == "PROVEN"
    [drill] = fleet.alpha.records("drill")
    [job] = fleet.alpha.jobs("drill:asked")
    assert (drill["verdict"], job["worker"], job["exit_status"]) == ("PROVEN", other.name, 0)
    assert drill["handed_over"] != job["handed_over"]
    assert f"{lost.name} is lost: another worker does its drill" in log(fleet.control).text
    # Who comes back has nothing left to do.
    lost.drill()
    wait_until(lambda: log(lost).ask("/readyz")[0] == 200)
    ended = "SELECT status, count(*) FROM dbos.workflow_status WHERE name = 'strongroom.evidence'"
    assert fleet.ground.state.ask(f"{ended} GROUP BY status") == [("SUCCESS", 1)]
    assert len(fleet.alpha.records("drill")) == 1


def test_an_agent_that_is_cut_off_is_told_by_the_controller_and_goes_on(fleet: Fleet) -> None:
    beta, control = fleet.beta, fleet.control
    for words in (("drill",), ("check", "--read-data"), ("prune",)):
        beta.asked(*words)()
    wait_until(lambda: control.verdict("beta:agent") == "PROVEN")
    beta.cut_off()
    wait_until(lambda: control.verdict("beta:agent") == "STALE")
    [check] = control.health()["checks"]["beta:agent"]
    assert check["observedValue"] > 0
    metrics = log(control).ask("/metrics")[1]
    assert 'strongroom_check_status{application="control",check="agent",subject="beta"} 1.0' in (
        metrics
    )
    # Its own host knows, and what is asked for is done all the same.
    wait_until(lambda: beta.records("state-database")[-1]["reached"] is False)
    by_hand = beta.run("backup")
    assert by_hand.returncode == 0, by_hand.stderr
    assert "it is done here" in by_hand.stderr
    beta.reconnect()
    wait_until(lambda: control.verdict("beta:agent") == "PROVEN")
    wait_until(lambda: beta.records("state-database")[-1]["reached"] is True)
    assert "the state database is there again" in log(beta).text


def test_an_agent_that_comes_late_makes_up_once_for_all_that_it_missed(fleet: Fleet) -> None:
    gamma = fleet.gamma
    # Alone since its start, it has captured all the same; what can wait has waited.
    [captured] = gamma.jobs("capture")
    assert captured["workflow"].endswith("/alone")
    assert gamma.jobs("check:local") == []
    gamma.reconnect()
    wait_until(lambda: gamma.jobs("check:local"))
    wait_until(lambda: fleet.control.verdict("gamma:agent") is not None)
    gamma.asked("backup")()
    [made_up] = gamma.jobs("check:local")
    assert made_up["exit_status"] == 0
    assert "missed" in made_up["because"]
    assert [one["job"] for one in gamma.records("job")] == [
        "capture",
        "check:local",
        "capture:asked",
    ]


def test_a_name_belongs_to_one_process(fleet: Fleet, tmp_path: Path) -> None:
    alpha = fleet.alpha
    options = ("--agent", "alpha", "--listen", "none", "--heartbeat", "8s")
    words = ("--config", str(alpha.config), "--state", str(tmp_path), "serve", *options)
    second = RunningService(words, tmp_path / "second.log", alpha.environment)
    assert second.child.wait(60) == 4
    assert "another process of this name is connected" in second.text
    # Only where the first one is cut off the other one has its way, and the first one gives in.
    way = fleet.ground.host("elsewhere")
    alpha.cut_off()
    wait_until(lambda: alpha.records("state-database")[-1]["reached"] is False)
    environment = {**alpha.environment, "STATE_DATABASE_URL": way.environment["STATE_DATABASE_URL"]}
    second = RunningService(words, tmp_path / "second.log", environment)
    try:
        second.wait_for("serving alpha")
        alpha.reconnect()
        log(alpha).wait_for("another process goes on with what this one had begun")
        assert second.stop() == 0
    finally:
        second.kill()
    wait_until(lambda: alpha.records("state-database")[-1]["reached"] is True)
    alpha.asked("backup")()


@pytest.mark.parametrize(
    ("user", "password", "code", "status"),
    [("poor", "poor", "database-privilege", 13), ("poor", "wrong", "database-login", 12)],
)
def test_a_database_that_refuses_ends_the_start(
    fleet: Fleet, tmp_path: Path, user: str, password: str, code: str, status: int
) -> None:
    """It is for the operator to see at once; one that is away is waited for."""
    exists = "SELECT 1 FROM pg_roles WHERE rolname = 'poor'"
    if not fleet.ground.state.ask(exists):
        fleet.ground.state.tell("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    alpha = fleet.alpha
    url = f"postgresql://{user}:{password}@{alpha.way.address}/fleet"
    words = ["--json", "--config", alpha.config, "--state", tmp_path, "serve", "--agent", "poor"]
    ended = subprocess.run(
        [sys.executable, "-m", "strongroom", *map(str, words), "--listen", "none"],
        env={**alpha.environment, "STATE_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    error = json.loads(ended.stdout)["error"]
    assert (ended.returncode, error["code"]) == (status, code), ended.stderr
    assert f":{password}@" not in ended.stdout + ended.stderr


def test_who_will_not_come_back_is_forgotten(fleet: Fleet) -> None:
    """Asked on any host; the controller's health follows."""
    alpha, control, [_, second] = fleet.alpha, fleet.control, fleet.workers
    listed = json.loads(alpha.run("--json", "fleet").stdout)["members"]
    assert {one["name"]: one["role"] for one in listed} == {
        **dict.fromkeys(("control", "alpha", "beta", "gamma"), "agent"),
        **dict.fromkeys(("drill-1", "drill-2"), "drills"),
    }
    assert log(second).stop() == 0
    wait_until(lambda: "drill-2 is not heard of any more" in log(control).text)
    forgotten = alpha.run("fleet", "--forget", "drill-2")
    assert forgotten.returncode == 0, forgotten.stderr
    assert "drill-2 is forgotten." in forgotten.stdout
    assert "drill-2" not in json.loads(alpha.run("--json", "fleet").stdout)["members"]
    wait_until(lambda: control.records("fleet")[-1]["forgotten"] == ["drill-2"])
    [command] = [one for one in alpha.records("command") if one["command"] == "fleet"]
    assert command["arguments"] == ["--forget", "drill-2"]
    again = alpha.run("--json", "fleet", "--forget", "drill-2")
    assert json.loads(again.stdout)["error"]["code"] == "usage"


def test_every_host_has_its_own_secrets_alone(fleet: Fleet) -> None:
    for host in (fleet.control, fleet.alpha, fleet.beta, fleet.gamma):
        foreign = fleet.ground.secrets_of_others(host)
        assert len(foreign) == 6
        environment = Path(f"/proc/{log(host).child.pid}/environ").read_bytes().decode()
        held = [environment, *texts(host.path), log(host).text]
        assert not [one for one in foreign for text in held if one in text]
    secrets = [one for host in fleet.ground.hosts for one in host.secrets.values()]
    secrets += [STATE_PASSWORD, STATE_PASSWORD.replace(" ", "%20")]
    told = [log(one).text for one in fleet.ground.hosts if one.service is not None]
    for host in (fleet.control, fleet.alpha, fleet.beta, fleet.gamma):
        told += texts(host.path / "state")
    tables = fleet.ground.state.ask(
        "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables"
    )
    assert ("strongroom.presence",) in tables
    for (table,) in tables:
        told += [row for (row,) in fleet.ground.state.ask(f"SELECT t::text FROM {table} AS t")]
    assert not [one for one in secrets for text in told if one in text]


def texts(folder: Path) -> list[str]:
    """What stands in the files of a folder, whatever they are."""
    return [one.read_bytes().decode("latin-1") for one in folder.rglob("*") if one.is_file()]
