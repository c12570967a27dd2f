"""The ticks of a service: what `tick` reads and does there, with this host's ledger and files, the
engine, and the board. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from strongroom.config import Settings
from strongroom.evidence import Entry
from strongroom.model import Finding
from strongroom.plan.alerting import Record
from strongroom.report.check import Check
from strongroom.report.observation import Scope
from strongroom.service.alerting import AlertReport, tell
from strongroom.service.application import Application
from strongroom.service.dispatch import never
from strongroom.service.gathering import obstacle_at, scope_here
from strongroom.service.health import Board, publish_metrics, publish_status, standing_here
from strongroom.service.recollection import Recollection
from strongroom.service.runs import Runs
from strongroom.service.status import StatusReport
from strongroom.service.tick import Placed, safely, tick


class Ticker:
    """Ticks for one service; one that is under way when it is `stopping` ends soon."""

    def __init__(self, runs: Runs, board: Board, stopping: Callable[[], bool] = never) -> None:
        self._runs, self._board, self._stopping = runs, board, stopping

    def tick(self, application: Application, now: datetime) -> None:
        """All that is to be done at `now`."""
        safely("the runs", lambda: self._runs.refresh(application))
        tick(_Here(application, self._runs, self._board, self._stopping), now)


class _Here:
    """The ports of a service: see `Ports`."""

    def __init__(
        self, application: Application, runs: Runs, board: Board, stopping: Callable[[], bool]
    ) -> None:
        self._application, self._runs, self._board = application, runs, board
        self._stopping = stopping

    @property
    def settings(self) -> Settings:
        return self._application.settings

    def recall(self) -> Recollection:
        known = Recollection(self._application.name)
        known.survey(self._application.ledger)
        return known

    def scope(self) -> Scope:
        return scope_here(self._application)

    def live(self) -> Mapping[str, datetime]:
        return self._runs.jobs()

    def obstacle(self) -> str:
        return obstacle_at(self._application.state)

    def record(self, kind: str, fields: Mapping[str, Any]) -> Entry | Finding:  # Any: JSON values
        return self._application.record(kind, fields)

    def order(self, placed: Placed) -> None:
        self._runs.order(placed)

    def show(self, found: StatusReport) -> None:
        now = found.report.made_at
        standing = standing_here(found, now)
        self._board.post(standing)
        monitoring = self.settings.monitoring
        if (output := monitoring.status_file) is not None:
            safely("the status file", lambda: publish_status(standing, output, now))
        if (metrics := monitoring.metrics_file) is not None:
            safely("the metrics file", lambda: publish_metrics(standing, metrics, now))

    def tell(self, checks: Sequence[Check], told: Sequence[Record], now: datetime) -> AlertReport:
        return tell(self._application, checks, now, told=told, stopping=self._stopping)
