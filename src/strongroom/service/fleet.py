"""A host's part in a fleet: it says that it is there, and one of them watches the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from strongroom.report.check import Check
from strongroom.report.fleet import DRILLS, fleet_checks, lost
from strongroom.service.engine import Engine
from strongroom.service.presence import Presence

LOG: Final = logging.getLogger("strongroom.service")


class Watch:
    """What the controller does at each tick: judge who is there, and let drills of workers that
    are gone be carried out by others."""

    def __init__(self, presence: Presence, engine: Engine, heartbeat: timedelta) -> None:
        self._presence, self._engine, self._heartbeat = presence, engine, heartbeat

    def look(self, now: datetime) -> Sequence[Check]:
        """The checks of the fleet; StrongroomError when the state database can't be asked."""
        members = self._presence.see()
        gone = lost([one for one in members if one.role == DRILLS], self._heartbeat)
        for run in self._engine.live():
            if run.begun and run.executor in gone:
                LOG.warning("%s is away: another worker does its drill", run.executor)
                self._engine.take_over(run)
        return fleet_checks(members, self._heartbeat, now)
