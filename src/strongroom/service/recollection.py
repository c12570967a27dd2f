"""What the ledger's records of one application tell a tick: of runs, of all that is judged, of what
was told. They are taken once, in their order, and only what matters of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from strongroom.errors import StrongroomError
from strongroom.evidence import Entry, Ledger
from strongroom.plan.alerting import Record, told_record
from strongroom.plan.job import Timetable
from strongroom.report.history import Timetable as Dues
from strongroom.report.observation import Evidence, Scope
from strongroom.service.gathering import Reading
from strongroom.service.knowledge import Knowledge, RunMemory

__all__ = ["Recollection"]


class Recollection:
    """Takes records as they come. A ledger that could not be read is a broken one to whoever judges
    it, and an error to whoever plans."""

    def __init__(self, application: str) -> None:
        self._name = application
        self._runs = RunMemory()
        self._reading = Reading(application)
        self._unreadable: StrongroomError | None = None
        self.told: list[Record] = []
        """What changed and what was told of it."""

    def survey(self, ledger: Ledger) -> None:
        """All of a ledger, as it stands."""
        try:
            self._reading.survey(ledger, self._note)
        except StrongroomError as error:
            self._unreadable = error

    def take(self, entry: Entry) -> None:
        """A record that was written since."""
        self._reading.take(entry)
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        if entry.fields.get("application") != self._name:
            return
        self._runs.take(entry)
        record = told_record(entry.kind, entry.at, entry.fields)
        if record is not None:
            self.told.append(record)

    def knowledge(
        self, timetable: Timetable, repositories: Sequence[str], now: datetime
    ) -> Knowledge:
        """What is known of the runs of this timetable; StrongroomError where the ledger could not
        be read."""
        if self._unreadable is not None:
            raise self._unreadable
        return self._runs.knowledge(timetable, repositories, now)

    def evidence(self, scope: Scope, dues: Dues) -> Evidence:
        """What is to be judged."""
        return self._reading.evidence(scope, dues)
