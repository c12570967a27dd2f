"""A fleet on one machine: each host is a folder of its own, an environment of its own, and a way of
its own to the database that all have in common, which can be cut.

The database is a real PostgreSQL that wants passwords. See `fleet_network` for the ways.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from strongroom.evidence import Ledger
from strongroom.postgres.cluster import ClusterOptions, throwaway_cluster
from tests.support.failure_ground import processes, wait_until
from tests.support.fleet_network import Network, ProxyNetwork, Way
from tests.support.repository_ground import new_repository
from tests.support.running_service import RunningService

STATE_PASSWORD = "a password that nobody may see"
_URL_PASSWORD = STATE_PASSWORD.replace(" ", "%20")
HEARTBEAT_SECONDS = 8

CONFIG = """\
version: 1
application: {name}
environment: development
state: env:STATE_DATABASE_URL
state_folder: state
sources: {{uploads: {{kind: files, path: uploads{capture}}}}}
repositories: {{local: {{location: {repository}, password: "{password}"}}}}
objectives: {{copies: 1}}
monitoring: {{space: 1KiB}}
schedule:
  {{prune: never, drill: never, application_drill: never, verify_daily: never,
   verify_weekly: never, verify_monthly: never, check: "{check}"}}
review: {{last: {today}}}
"""


@dataclass(frozen=True)
class State:
    """The state database: reached without a password by its own host, with one by all others."""

    conninfo: str

    def ask(self, query: str) -> list[tuple[Any, ...]]:  # Any: rows of any shape
        """Rows of a query, asked as its administrator."""
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            return session.execute(query.encode()).fetchall()

    def tell(self, statement: str) -> None:
        """Do something as its administrator."""
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            session.execute(statement.encode())


@contextlib.contextmanager
def state_database(network: Network) -> Iterator[State]:
    """A server with an empty database `fleet` of a role that is no superuser."""
    settings = {"listen_addresses": network.server}
    options = ClusterOptions(settings=settings, max_connections=100)
    with contextlib.ExitStack() as stack:
        with network.entered():
            cluster = stack.enter_context(throwaway_cluster(major=15, options=options))
        access = "local all all trust\nhost all all all scram-sha-256\n"
        (cluster.directory / "data" / "pg_hba.conf").write_text(access)
        with cluster.connection().connect() as session:
            session.execute(f"CREATE ROLE strongroom LOGIN PASSWORD '{STATE_PASSWORD}'".encode())
            session.execute(b"CREATE DATABASE fleet OWNER strongroom")
            session.execute(b"SELECT pg_reload_conf()")
        yield State(cluster.connection("fleet").conninfo())


@dataclass
class Host:
    """A host of the fleet, and the service that runs on it."""

    name: str
    path: Path
    way: Way
    secrets: dict[str, str] = field(default_factory=dict)
    service: RunningService | None = None

    @property
    def config(self) -> Path:
        return self.path / "strongroom.yaml"

    @property
    def environment(self) -> dict[str, str]:
        """What its processes have: nothing that belongs to another host."""
        url = f"postgresql://strongroom:{_URL_PASSWORD}@{self.way.address}/fleet"
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR", "COVERAGE_PROCESS_START")
        known = {name: os.environ[name] for name in kept if name in os.environ}
        return {**known, "STATE_DATABASE_URL": url, **self.secrets}

    def serve(self, *options: str, heartbeat: str = f"{HEARTBEAT_SECONDS}s") -> RunningService:
        """Start its service."""
        words = ("--config", str(self.config), "serve", "--agent", self.name, *options)
        with self.way.entered():
            self.service = RunningService(
                (*words, "--heartbeat", heartbeat),
                self.path.parent / f"{self.name}.log",
                self.environment,
            )
        return self.service

    def drill(self, *options: str) -> RunningService:
        """Start it as a drill worker."""
        return self.serve("--drills", str(self.path), "--grace", "1s", *options)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that somebody gives on this host."""
        program = [sys.executable, "-m", "strongroom", "--config", str(self.config), *words]
        pipe = subprocess.PIPE
        with self.way.entered():
            return subprocess.Popen(
                program, env=self.environment, stdout=pipe, stderr=pipe, text=True
            )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Such a command, when it has ended."""
        child = self.start(*words)
        out, err = child.communicate(timeout=120)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def cut_off(self) -> None:
        """From now on it does not reach the database."""
        self.way.cut()

    def reconnect(self) -> None:
        """It does again."""
        self.way.join()

    def records(self, kind: str) -> list[Mapping[str, Any]]:  # Any: JSON values
        """What its ledger has of a kind."""
        return [one.fields for one in Ledger(self.path / "state" / "ledger.jsonl").entries(kind)]

    def health(self) -> Mapping[str, Any]:  # Any: JSON values
        """What its service says over HTTP."""
        assert self.service is not None
        with self.way.entered():
            found = json.loads(self.service.ask("/health")[1])
        assert isinstance(found, dict)
        return found

    def jobs(self, job: str) -> list[Mapping[str, Any]]:  # Any: JSON values
        """Its runs of a job that ended."""
        return [one for one in self.records("job") if one["job"] == job]

    def asked(self, *words: str) -> Callable[[], Mapping[str, Any]]:  # Any: JSON values
        """Such a command; what is returned waits for its answer."""
        child = self.start("--json", *words)

        def answer() -> Mapping[str, Any]:  # Any: JSON values
            out, err = child.communicate(timeout=120)
            assert child.returncode == 0, err
            found = json.loads(out)
            assert isinstance(found, dict)
            return found

        return answer

    def miss_days(self, check: str) -> None:
        """Its ledger says that there is a check at `check` since three days ago, and none was
        made. Before, there was none to make."""
        (self.path / "state").mkdir(exist_ok=True)
        since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        job = {"job": "check:local", "fields": check, "time_zone": "UTC"}
        ledger = Ledger(self.path / "state" / "ledger.jsonl")
        for jobs in ([], [job]):
            told = {"application": self.name, "since": since, "jobs": jobs, "because": "new"}
            ledger.append("schedule", told)

    def verdict(self, check: str) -> object:
        """Of one check, as health has it; None when it is not made."""
        [found] = self.health().get("checks", {}).get(check, [{}])
        return found.get("verdict")


@dataclass
class FleetGround:
    """A place for hosts, and their database."""

    path: Path
    state: State
    host: Callable[[str], Host]
    hosts: list[Host]

    def agent(self, name: str, *, check: str = "never", capture: str = "") -> Host:
        """A host with an application that has its own repository and password."""
        made = self.host(name)
        (made.path / "uploads").mkdir(parents=True)
        (made.path / "uploads" / "one.pdf").write_bytes(name.encode() * 1000)
        repository = self.path / "stores" / name
        repository.parent.mkdir(exist_ok=True)
        password = f"{name} keeps this to itself"
        new_repository(repository, password=password)
        made.secrets = {f"{name.upper()}_PASSWORD": password}
        config = CONFIG.format(
            name=name,
            today=datetime.now(UTC).date(),
            repository=repository,
            password=f"env:{name.upper()}_PASSWORD",
            check=check,
            capture=f', capture: "{capture}"' if capture else "",
        )
        made.config.write_text(config)
        return made

    def worker(self, name: str, agents: list[Host], gate: Path) -> Host:
        """A host that drills for these: it has the passwords of their repositories, and waits for
        as long as there is a file `gate`."""
        made = self.host(name)
        made.path.mkdir(parents=True)
        script = made.path / "password.sh"
        script.write_text(f'while [ -e {gate} ]; do sleep 0.1; done; cat "$1"\n')
        for agent in agents:
            key = made.path / f"{agent.name}.key"
            [password] = agent.secrets.values()
            key.write_text(password + "\n")
            key.chmod(0o600)
            text = re.sub(r'"env:\w+"', f'"command:sh {script} {key}"', agent.config.read_text())
            # Its sources are named there, and nothing of them is on this host.
            (made.path / f"{agent.name}.yaml").write_text(text)
        return made

    def secrets_of_others(self, host: Host) -> set[str]:
        """What may not be found on a host: names and values of other agents' secrets."""
        others = [one.secrets for one in self.hosts if one is not host]
        return {text for secrets in others for pair in secrets.items() for text in pair}


@contextlib.contextmanager
def fleet_ground(path: Path, network: Network | None = None) -> Iterator[FleetGround]:
    """Such a place; whatever was started there has ended afterwards."""
    network = network or ProxyNetwork()
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(state_database(network))
        hosts: list[Host] = []

        def host(name: str) -> Host:
            hosts.append(Host(name, path / name, stack.enter_context(network.way())))
            return hosts[-1]

        try:
            yield FleetGround(path, state, host, hosts)
        finally:
            for one in hosts:
                if one.service is not None:
                    one.service.kill()
            wait_until(lambda: not processes(str(path)))
