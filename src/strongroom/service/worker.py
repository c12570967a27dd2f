"""A drill worker of a fleet: it carries out drills for applications whose agents ordered them.

It has their configurations, with the secrets of their repositories and of nothing else. Each drill
has a state folder of its own, which begins with the ledger's copy from a repository; what the drill
writes there is handed over to the agent, whose ledger it belongs to.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config import load_settings
from strongroom.errors import ConfigError, StrongroomError
from strongroom.evidence import ADOPTED, Entry, Ledger
from strongroom.service.application import LEDGER_NAME, make_private
from strongroom.service.child import Children, Ran
from strongroom.service.rendering import time_json
from strongroom.service.runner import job_fields
from strongroom.service.workflow import Order, Outcome

LOG: Final = logging.getLogger("strongroom.service")
# What a drill writes into the ledger that is the agent's to know.
_EVIDENCE: Final = frozenset({"drill", "point-drill", "application-drill"})


class Worker:
    """Carries out drills; `hand_over` brings records to an agent's queue, once for a workflow."""

    def __init__(
        self,
        configurations: Path,
        folder: Path,
        children: Callable[[Path], Children],
        hand_over: Callable[[str, str, Sequence[Mapping[str, Any]]], None],  # Any: JSON values
    ) -> None:
        self._configurations = configurations
        self._folder = make_private(folder)
        self._children = children
        self._hand_over = hand_over

    def begin(self, order: Order) -> None:
        """A drill begins."""
        LOG.info("%s of %s begins: %s", order.job, order.application, order.because)

    def run(
        self,
        order: Order,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None,  # Any: JSON values
    ) -> Ran:
        """A drill, to its end."""
        del given  # captures have it, and are never here
        config = configuration_of(self._configurations, order.application)
        state = self._folder / order.application
        # What an earlier drill, or one that was killed, left.
        shutil.rmtree(state, ignore_errors=True)
        make_private(state)
        command = ["--state", str(state), "--json", "--quiet", *arguments]
        ran = self._children(config).run(command, job=order.job)
        made = _made(Ledger(state / LEDGER_NAME))
        shutil.rmtree(state, ignore_errors=True)
        return replace(ran, records=tuple(made))

    def record(self, order: Order, workflow: str, begun_at: datetime, outcome: Outcome) -> None:
        """What was found, handed over to the agent."""
        job = {"application": order.application, **job_fields(order, workflow, begun_at, outcome)}
        at = time_json(datetime.now(begun_at.tzinfo))
        records = [*outcome.records, {"kind": "job", "at": at, "fields": job}]
        self._hand_over(f"agent.{order.agent}", workflow, records)
        LOG.info("%s of %s ended with status %d", order.job, order.application, outcome.exit_status)

    def take(self, workflow: str, records: Sequence[Mapping[str, Any]]) -> None:
        """No application is this one's. `Any`: JSON values."""
        raise AssertionError(f"{len(records)} records of {workflow} were handed to a worker")


def configuration_of(folder: Path, application: str) -> Path:
    """The configuration of an application in a folder of them; ConfigError when none is."""
    for path in sorted(folder.glob("*.yaml")):
        try:
            if load_settings(path).application == application:
                return path
        except StrongroomError as error:
            LOG.warning("%s: %s", path, error)
    raise ConfigError(
        "no configuration of this application is here",
        subject=application,
        hint=f"Put one, with the secrets of its repositories alone, into {folder}.",
    )


def _made(ledger: Ledger) -> list[dict[str, Any]]:  # Any: JSON values
    """What was written after the copy with which the ledger began."""
    entries: list[Entry] = []
    for one in ledger.entries():
        if one.kind == ADOPTED:
            entries.clear()
        elif one.kind in _EVIDENCE:
            entries.append(one)
    return [
        {"kind": one.kind, "at": time_json(one.at), "fields": dict(one.fields)} for one in entries
    ]
