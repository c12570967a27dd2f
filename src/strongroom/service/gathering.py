"""Evidence for a report: what the ledger, the configuration and the calendar say.

`gather_here` opens no repository and asks no network, so that it can be done each minute;
`gather` also holds the ledger against its copies in the repositories.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from strongroom.config import Settings
from strongroom.config.operation import Alert
from strongroom.config.value import parse_share_or_size
from strongroom.errors import (
    EXIT_FAILED,
    EXIT_FINE,
    EXIT_STALE,
    EXIT_UNKNOWN,
    ConfigError,
    StrongroomError,
)
from strongroom.evidence import Entry, Ledger
from strongroom.model import Severity, Verdict
from strongroom.report.collection import Collection
from strongroom.report.history import Beat, Timetable
from strongroom.report.observation import Chain, Evidence, Promise, Scope, SourceScope
from strongroom.service.application import Application
from strongroom.service.escrow import kit_scope
from strongroom.service.occupancy import SERVICE, SIGN_INTERVAL, has_room, last_sign
from strongroom.service.place import Mount, mounts, store_of
from strongroom.service.timetable import timetable_of

if TYPE_CHECKING:
    from strongroom.service.history import Verification

__all__ = ["EXITS", "Reading", "gather", "gather_here", "obstacle_at", "promise_of", "scope_here",
           "scope_of"]  # fmt: skip

EXITS: Final = {
    Verdict.PROVEN: EXIT_FINE,
    Verdict.STALE: EXIT_STALE,
    Verdict.FAILED: EXIT_FAILED,
    Verdict.UNKNOWN: EXIT_UNKNOWN,
}


def gather(
    application: Application,
    since: datetime | None,
    drill: int | None,
    *,
    now: datetime,
    beats: Sequence[Beat] = (),
) -> Evidence:
    """The evidence about the application as it is configured now, with the ledger compared with its
    copies. ConfigError `usage` when no record of this number tells of a drill."""
    from strongroom.service.history import verify

    checked = verify(application)
    read = Reading(application.name)
    if checked.records:
        application.ledger.survey(read.take)
    evidence = read.collection.evidence(
        scope_here(application),
        _chain(checked),
        since=since,
        drill=drill,
        timetable=_timetable(application, now, beats),
    )
    if drill is not None and drill not in {one.seq for one in evidence.observations}:
        raise ConfigError(
            "no record of this number tells of a drill",
            subject=str(drill),
            code="usage",
            hint="List them with `strongroom log --action drill`.",
        )
    return evidence


def gather_here(application: Application, *, now: datetime, beats: Sequence[Beat] = ()) -> Evidence:
    """The same from this host alone. A ledger that can't be read is a broken one."""
    read = Reading(application.name)
    with contextlib.suppress(StrongroomError):  # the chain tells of it
        read.survey(application.ledger)
    return read.evidence(scope_here(application), _timetable(application, now, beats))


class Reading:
    """Takes all records in their order: what those of one application amount to, and how the ledger
    stands."""

    def __init__(self, application: str) -> None:
        self._name = application
        self.collection = Collection()
        self.records, self.seq, self.hash = 0, 0, ""
        self.faults: tuple[str, ...] = ()

    def survey(self, ledger: Ledger, take: Callable[[Entry], object] | None = None) -> None:
        """All of a ledger, in one reading; `take` gets each record, too. One that can't be read is
        a broken one, and the error is raised."""

        def take_both(entry: Entry) -> None:
            self.take(entry)
            if take is not None:
                take(entry)

        try:
            found = ledger.survey(take_both)
        except StrongroomError as error:
            self.faults = (error.message,)
            raise
        ordered = sorted(found, key=lambda one: one.line)
        self.faults = tuple(f"line {one.line}: {one.message}" for one in ordered)

    def evidence(self, scope: Scope, timetable: Timetable) -> Evidence:
        """What was taken so far, about the application as it is configured now."""
        chain = Chain(self.records, self.seq, self.hash, self.faults)
        return self.collection.evidence(scope, chain, timetable=timetable)

    def take(self, entry: Entry) -> None:
        """The next record."""
        self.records += 1
        self.seq, self.hash = entry.seq, entry.hash
        if entry.fields.get("application") == self._name:
            self.collection.add(entry)


def _timetable(application: Application, now: datetime, beats: Sequence[Beat]) -> Timetable:
    signs = list(beats)
    if not signs and (sign := last_sign(application.state, SERVICE)) is not None:
        signs.append(Beat(SERVICE, sign, SIGN_INTERVAL))
    dues = timetable_of(application.settings, now)
    return Timetable(dues, tuple(signs), obstacle_at(application.state))


def obstacle_at(state: Path) -> str:
    """Why nothing can be started or recorded where the records are kept; empty where it can."""
    return "" if has_room(state) else "the state folder has no space left"


def scope_here(application: Application) -> Scope:
    """What the report is about, with the secrets of a kit as they are on this host."""
    return dataclasses.replace(scope_of(application.settings), kit=kit_scope(application))


def scope_of(settings: Settings, known: list[Mount] | None = None) -> Scope:
    """What the report is about, as it is configured now; `known` are the host's mounts where they
    are not to be asked for."""
    known = mounts() if known is None else known
    return Scope(
        settings.application,
        tuple(
            SourceScope(name, one.kind, tuple(_left_out(one)))
            for name, one in settings.sources.items()
        ),
        tuple(settings.repositories),
        settings.environment,
        settings.schedule.time_zone,
        tuple(store_of(settings, name, known) for name in settings.repositories),
        settings.application_check is not None,
        _told(settings.alerts),
    )


def _told(alerts: Sequence[Alert]) -> tuple[str, ...]:
    """What records call each of those who are told: by name, or by place in the list."""
    return tuple(one.name or str(place) for place, one in enumerate(alerts, start=1))


def _left_out(source: Any) -> Iterator[str]:  # Any: the settings of any kind of source
    for pattern in getattr(source, "exclude_tables", ()):
        yield f"rows of tables that match {pattern}"
    for pattern in getattr(source, "exclude", ()):
        yield f"files that match {pattern}"


def _chain(checked: Verification) -> Chain:
    failures = [one for one in checked.findings if one.severity is Severity.FAILURE]
    return Chain(
        checked.records,
        checked.head_seq,
        checked.head_hash,
        tuple(one.message for one in failures),
        checked.compared,
        tuple(name for name, _ in checked.uncompared),
    )


def promise_of(settings: Settings) -> Promise:
    """The objectives that are configured, and what else is expected."""
    objectives, space = settings.objectives, parse_share_or_size(settings.monitoring.space)
    return Promise(
        objectives.rpo,
        objectives.rto,
        objectives.proof_age,
        objectives.copies,
        space if isinstance(space, float) else 0.0,
        space if isinstance(space, int) else None,
        settings.review.last,
        settings.review.every,
        settings.schedule.jitter,
    )
