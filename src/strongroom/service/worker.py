"""A drill worker of a fleet: it carries out drills for applications whose agents ordered them.

It has their configurations, with the secrets of their repositories and of nothing else. Each drill
has a state folder of its own, which begins with the ledger's copy from a repository; what the drill
writes there is handed over to the agent, whose ledger it belongs to. A worker that is lost leaves
nothing that the next one would need.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config import load_settings
from strongroom.errors import ConfigError, StrongroomError
from strongroom.evidence import ADOPTED, Entry, Ledger
from strongroom.service.application import LEDGER_NAME, make_private
from strongroom.service.child import Children, Ran
from strongroom.service.engine import Address, evidence_address
from strongroom.service.order import Order, Outcome
from strongroom.service.rendering import error_json, time_json
from strongroom.service.runner import HANDED_OVER, job_fields, refusal, words

LOG: Final = logging.getLogger("strongroom.service")
_AGAIN_SECONDS: Final = 5.0
_CONFIGURATIONS: Final = "*.yaml"


class Worker:
    """Carries out drills; `hand_over` brings records to an agent, once for each workflow."""

    def __init__(
        self,
        name: str,
        configurations: Path,
        folder: Path,
        children: Children,
        hand_over: Callable[[Address, str, Sequence[Mapping[str, Any]]], None],  # Any: JSON values
    ) -> None:
        self._name = name
        self._configurations = configurations
        self._folder = folder
        self._children = children
        self._hand_over = hand_over

    def begin(self, order: Order) -> bool:
        """A drill begins."""
        LOG.info("%s of %s begins: %s", order.job, order.agent, order.because or "asked for")
        return True

    def run(
        self,
        order: Order,
        arguments: Sequence[str],
        given: Mapping[str, Any] | None,  # Any: JSON values
    ) -> Ran:
        """A drill, to its end."""
        if (refused := refusal(order, order.application)) is not None:
            return refused
        try:
            config = configuration_of(self._configurations, order.application)
        except ConfigError as error:
            return _failed(error)
        state = make_private(self._folder / "drill")
        # What an earlier drill, or one that was killed, left.
        shutil.rmtree(state, ignore_errors=True)
        make_private(state)
        command = ["--state", str(state), *words(order, arguments, given)]
        ran = self._children.run(command, given, job=order.job, config=config)
        made = _made(Ledger(state / LEDGER_NAME))
        shutil.rmtree(state, ignore_errors=True)
        return replace(ran, records=tuple(made))

    def record(self, order: Order, workflow: str, begun_at: datetime, outcome: Outcome) -> None:
        """What was found, handed over to the agent; returns when that is certain."""
        ended_at = datetime.now(UTC)
        told = job_fields(order, workflow, begun_at, ended_at, outcome)
        job = {"application": order.application, "worker": self._name, **told}
        last = {"kind": "job", "at": time_json(ended_at), "fields": job}
        records = [*outcome.records, last]
        while True:
            try:
                self._hand_over(evidence_address(order.agent), workflow, records)
                break
            except StrongroomError as error:
                LOG.warning("what was found for %s waits: %s", order.agent, error)
                time.sleep(_AGAIN_SECONDS)
        LOG.info("%s of %s ended with status %d", order.job, order.agent, outcome.exit_status)

    def take(self, workflow: str, records: Sequence[Mapping[str, Any]]) -> bool:
        """No ledger is this one's. `Any`: JSON values."""
        LOG.error("%d records of %s were handed to a drill worker", len(records), workflow)
        return True


def configurations_in(folder: Path) -> list[Path]:
    """The configurations of a folder, by name; ConfigError when there is none."""
    found = sorted(folder.glob(_CONFIGURATIONS))
    if not found:
        raise ConfigError(
            "no configuration is there",
            subject=str(folder / _CONFIGURATIONS),
            hint="Put one there for each application, with the secrets of its repositories alone.",
        )
    return found


def configuration_of(folder: Path, application: str) -> Path:
    """The configuration of an application in a folder of them; ConfigError when none is. One that
    is called like it is looked at first: of a thousand, most are read for nothing."""
    for path in sorted(
        folder.glob(_CONFIGURATIONS), key=lambda one: (one.stem != application, one)
    ):
        try:
            if load_settings(path).application == application:
                return path
        except StrongroomError as error:
            LOG.warning("%s: %s", path, error)
    raise ConfigError(
        "this drill worker has no configuration of it",
        subject=application,
        hint="Put one into the folder of each drill worker, with the secrets of its repositories.",
    )


def _failed(error: StrongroomError) -> Ran:
    LOG.error("%s", error)
    return Ran(error.exit_status, json.dumps({"error": error_json(error)}), (str(error),))


def _made(ledger: Ledger) -> list[dict[str, Any]]:  # Any: JSON values
    """What was written after the copy with which the ledger began."""
    entries: list[Entry] = []
    for one in ledger.entries():
        if one.kind == ADOPTED:
            entries.clear()
        elif one.kind in HANDED_OVER:
            entries.append(one)
    return [
        {"kind": one.kind, "at": time_json(one.at), "fields": dict(one.fields)} for one in entries
    ]
