"""A service process that carries out one order and may be killed at a step of the test's choice.

Run as a program: `python -m tests.support.service_ground CONFIG WORKFLOW ORDER WHEN STEP`, where
WHEN is `never`, `before`, `within` or `after`, and STEP counts from 1.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

KILLED = 9
_PATIENCE_SECONDS = 120


def main() -> None:
    """Carry the order out, to its end or to the chosen step."""
    from dbos import DBOS

    from strongroom.service.application import Application, make_private
    from strongroom.service.child import Children
    from strongroom.service.engine import EngineClient
    from strongroom.service.order import parse_order
    from strongroom.service.runner import Runner
    from strongroom.service.runs import HostRuns
    from strongroom.service.tick import HOST_QUEUE, Placed

    config, workflow, order, when, step = sys.argv[1:]
    application = Application.load(Path(config))
    make_private(application.state)
    children = Children(Path(config))
    _die(DBOS, children, when, int(step))
    runner = Runner(lambda: application, children)
    runs = HostRuns(application.state, application.name, runner)
    runs.order(Placed(HOST_QUEUE, parse_order(json.loads(order)), workflow))
    client = EngineClient(application.state)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (outcome := client.outcome(workflow)) is None:
        assert time.monotonic() < deadline, "the run never ended"
        time.sleep(0.05)
    client.close()
    runs.close()
    children.end(timedelta())
    print(json.dumps(outcome.as_json()))
    sys.stdout.flush()
    os._exit(0)


def _die(engine: Any, children: Any, when: str, step: int) -> None:
    # Any: the engine's class and the children, in whose places others are put
    steps, count = engine.run_step, 0
    start: Callable[..., Any] = children._start  # Any: whatever it takes and gives

    def run_step(options: Any, function: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        mine = count
        if when == "before" and mine == step:
            os._exit(KILLED)
        if when == "within" and mine == step:
            children._start = start_and_die
        result = steps(options, function, *arguments)
        if when == "after" and mine == step:
            os._exit(KILLED)
        return result

    def start_and_die(*arguments: Any) -> Any:
        child = start(*arguments)
        threading.Timer(0.4, os._exit, (KILLED,)).start()
        return child

    engine.run_step = run_step


if __name__ == "__main__":
    main()
