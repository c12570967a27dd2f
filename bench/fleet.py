"""What a fleet costs: `python -m bench.fleet` prints the figures of docs/SCALE.md.

An agent with a small application, a drill worker and a controller, each a process with a short way
to a PostgreSQL that does nothing else. CPU seconds are of the kernel's accounts, children included;
memory is what would be free without the process (private and its share of what it shares).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strongroom.evidence import Ledger
from tests.support.fleet_ground import Host, State, fleet_ground

_IDLE_SECONDS = 180
_RUNS = 5
_AGENTS = 1000
_RECORDS = 4000  # a year of about eleven a day
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Counted:
    """Totals at one moment."""

    seconds: float
    cpu: float
    server_cpu: float
    transactions: int
    wal_bytes: int
    rows: int
    row_bytes: int
    ledger_bytes: int


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        fleet_ground(Path(folder)) as ground,
    ):
        agent = ground.agent("alpha")
        _measure(ground.state, agent, ground.worker("drill-1", [agent], Path(folder, "gate")))


def _measure(state: State, agent: Host, worker: Host) -> None:
    agent.serve(heartbeat="3m")
    assert agent.service is not None
    agent.service.wait_for("capture ended with status 0")
    time.sleep(20)
    print(f"agent, memory: {_memory(agent) >> 20} MiB; connections: {_sessions(state)}")
    with _counting("agent, idle, each minute", state, agent, _IDLE_SECONDS / 60):
        time.sleep(_IDLE_SECONDS)
    with _counting("a capture", state, agent, _RUNS):
        _repeat(agent, "backup")
    worker.serve("--drills", str(worker.path), heartbeat="3m")
    assert worker.service is not None
    worker.service.wait_for(" on http://")
    time.sleep(20)
    print(f"worker, memory: {_memory(worker) >> 20} MiB; connections with it: {_sessions(state)}")
    before = _cpu(worker)
    with _counting("a drill, but for the worker", state, agent, _RUNS):
        _repeat(agent, "drill")
    print(f"a drill, on the worker: {(_cpu(worker) - before) / _RUNS:.1f} s CPU")
    print(f"a session, on the server: {_session_memory(state) >> 10} KiB")
    assert worker.service.stop() == 0
    assert agent.service.stop() == 0
    _age(agent)
    agent.serve(heartbeat="3m")
    time.sleep(30)
    with _counting(f"agent, idle, ledger of {_RECORDS} more, each minute", state, agent, 3):
        time.sleep(_IDLE_SECONDS)
    assert agent.service.stop() == 0
    _watch(state, agent)


def _watch(state: State, controller: Host) -> None:
    """Many more say that they are there, and then say nothing more."""
    agents = (
        "INSERT INTO strongroom.presence SELECT 'agent-' || n, role, 'agent-' || n, holder,"
        " '1 hour', clock_timestamp(), document FROM strongroom.presence,"
        f" generate_series(1, {_AGENTS}) AS n WHERE name = 'alpha'"
    )
    state.tell(agents)
    [(size,)] = state.ask("SELECT avg(pg_column_size(document)) FROM strongroom.presence")
    service = controller.serve("--controller", heartbeat="3m")
    begun = time.monotonic()
    _wait_until(lambda: controller.verdict(f"agent-{_AGENTS}:agent") is not None)
    seconds = time.monotonic() - begun
    print(f"controller: documents of {size} bytes; all told after {seconds:.1f} s")
    time.sleep(90)
    with _counting(f"controller of {_AGENTS}, each minute", state, controller, 3):
        time.sleep(_IDLE_SECONDS)
    print(f"controller, memory: {_memory(controller) >> 20} MiB")
    with _counting("all are lost, once", state, controller, 1):
        state.tell("UPDATE strongroom.presence SET heartbeat = '1 second' WHERE name <> 'alpha'")
        begun = time.monotonic()
        _wait_until(lambda: f"agent-{_AGENTS} is not heard of any more" in service.text)
    print(f"that all are lost was told after {time.monotonic() - begun:.1f} s")
    print(f"health of {_AGENTS}: {len(service.ask('/health')[1])} bytes")
    assert service.stop() == 0


def _wait_until(wanted: Callable[[], bool]) -> None:
    """Asked seldom: answers of a large fleet take their time, too."""
    deadline = time.monotonic() + 300
    while not wanted():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(2)


def _repeat(agent: Host, command: str) -> None:
    for _ in range(_RUNS):
        ended = agent.run(command)
        assert ended.returncode == 0, ended.stderr


@contextmanager
def _counting(what: str, state: State, agent: Host, share: float) -> Iterator[None]:
    before = _count(state, agent)
    yield
    time.sleep(2)  # statistics of sessions come late
    after = _count(state, agent)
    names = {
        "s": "seconds", "s CPU": "cpu", "s CPU of the server": "server_cpu",
        "transactions": "transactions", "bytes of WAL": "wal_bytes", "rows": "rows",
        "bytes of rows": "row_bytes", "bytes of ledger": "ledger_bytes",
    }  # fmt: skip
    told = (
        f"{(getattr(after, name) - getattr(before, name)) / share:,.2f} {unit}"
        for unit, name in names.items()
    )
    print(f"{what}: {', '.join(told)}", flush=True)


def _count(state: State, agent: Host) -> Counted:
    [(transactions,)] = state.ask(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'fleet'"
    )
    [(wal,)] = state.ask("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    tables = ("workflow_status", "operation_outputs", "workflow_events", "notifications")
    counted = [
        state.ask(f"SELECT count(*), coalesce(sum(pg_column_size(t.*)), 0) FROM dbos.{name} AS t")
        for name in tables
    ]
    rows = sum(int(one[0][0]) for one in counted)
    size = sum(int(one[0][1]) for one in counted)
    ledger = (agent.path / "state" / "ledger.jsonl").stat().st_size
    return Counted(
        time.monotonic(), _cpu(agent), _server_cpu(state), int(transactions), int(wal), rows, size,
        ledger,
    )  # fmt: skip


def _cpu(host: Host) -> float:
    """Of its service and the children that ended."""
    assert host.service is not None
    return sum(_times(host.service.child.pid))


def _times(process: int) -> tuple[float, float]:
    """Of a process, and of its children that ended."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own, ended = (int(words[11]) + int(words[12])), (int(words[13]) + int(words[14]))
    return own / _TICKS_PER_SECOND, ended / _TICKS_PER_SECOND


def _server_cpu(state: State) -> float:
    """Of the server, its sessions that ended included."""
    [(own,)] = state.ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    parent = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return sum(_times(parent)) + sum(sum(_times(int(one))) for one in children)


def _memory(host: Host) -> int:
    assert host.service is not None
    return _size(host.service.child.pid, "Pss")


def _size(process: int, kind: str) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    [found] = [line for line in lines if line.startswith(f"{kind}:")]
    return int(found.split()[1]) << 10


def _session_memory(state: State) -> int:
    """What the server holds for each session alone, on average."""
    named = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'strongroom %'"
    sizes = [_size(int(pid), "Private_Dirty") for (pid,) in state.ask(named)]
    return sum(sizes) // len(sizes)


def _sessions(state: State) -> int:
    [(count,)] = state.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'strongroom %'"
    )
    return int(count)


def _age(agent: Host) -> None:
    """Its ledger has what a year would leave there."""
    ledger = Ledger(agent.path / "state" / "ledger.jsonl")
    known = list(ledger.entries())
    jobs = [one for one in known if one.kind in ("job", "backup", "drill")]
    for number in range(_RECORDS):
        one = jobs[number % len(jobs)]
        ledger.append(one.kind, dict(one.fields))


if __name__ == "__main__":
    main()
