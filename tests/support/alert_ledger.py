"""Alerts as the service tells them, by a ledger in memory: what is sent, and what is recorded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config import parse_settings
from strongroom.config.operation import Alert
from strongroom.errors import StorageError
from strongroom.evidence import Entry
from strongroom.model import Verdict
from strongroom.plan.alerting import Route
from strongroom.report.alert_text import Letter
from strongroom.report.check import Check
from strongroom.service.alerting import AlertReport, routes_of, tell
from strongroom.service.delivery import Outcome
from tests.support.alert_ground import NOW
from tests.support.year_world import MemoryLedger, WorldApplication

SILENCE: Final = "it did not answer in time"
CONFIG: Final = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: "postgresql://backup@db.example.com/tms"}
  uploads: {kind: files, path: /srv/uploads}
repositories:
  local: {location: /backup/tms, password: env:KEY}
alerts:
  - {to: env:OPERATORS, name: operators}
  - {to: env:ON_CALL, name: on-call, when: failure, repeat: 2h}
  - {to: env:DBA, name: dba, about: [database], quiet: "22:00-07:00"}
state: /nowhere
"""
ALONE: Final = "".join(
    line for line in CONFIG.splitlines(keepends=True) if "ON_CALL" not in line and "DBA" not in line
)
"""With one route, for whom nobody stands in."""
_numbers = itertools.count()


class FullLedger(MemoryLedger):
    """One that at times can't be written."""

    is_full = False

    def append_if(
        self,
        kind: str,
        decide: Callable[[], Mapping[str, Any] | None],  # Any: JSON values
    ) -> Entry | None:
        if self.is_full:
            raise StorageError("no space is left", subject="ledger", code="store-full")
        return super().append_if(kind, decide)


class Teller:
    """A service's alerts. Another one with its records knows what a service knows after a start."""

    def __init__(self, before: Teller | None = None, config: str = CONFIG) -> None:
        self.now = NOW
        path = Path(f"/nowhere/alerts-{next(_numbers)}/ledger.jsonl")
        self.ledger = FullLedger(path, lambda: self.now)
        for one in before.ledger.records if before is not None else ():
            self.ledger.append(one.kind, one.fields)
        settings = parse_settings(config, base=Path("/"))
        self.application = WorldApplication(settings, self.ledger)
        self.away: Mapping[str, str] = {}
        """The routes that can't be reached, and why."""

    @property
    def routes(self) -> Sequence[Route]:
        return routes_of(self.application.settings)

    def tick(self, at: datetime, verdicts: Mapping[str, Verdict]) -> AlertReport:
        self.now = at
        checks = []
        for key, verdict in verdicts.items():
            name, _, subject = key.partition(":")
            checks.append(Check(name, subject, verdict, "as it was seen"))
        return tell(self.application, checks, at, post=self._post)

    def _post(self, alert: Alert, _: Letter) -> Outcome:
        error = self.away.get(str(alert.name))
        return Outcome(error is None, error)

    def recorded(self) -> list[dict[str, Any]]:  # Any: JSON values
        """What the ledger has of alerts."""
        return [dict(one.fields) for one in self.ledger.records if one.kind == "alert"]
