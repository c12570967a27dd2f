"""Alerts: from checks to messages that arrived, at each tick. `tell` is all that the daemon calls.

It reads from the ledger what was told before, plans (`plan.alerting`), delivers, and records what
changed and what was told. Between a delivery and its record lies a moment in which a kill makes a
message come twice: rather that than never.

Of a message that again does not arrive, for the same reason, not each attempt is recorded: see
`retry`.

Invariants: only what arrived counts as told. A ledger that cannot be written stops no alert, and
does not make each tick tell everything again: what was told stays known in this process, and is
recorded when that is possible again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from strongroom.config.operation import Alert, route_names
from strongroom.config.settings import Settings
from strongroom.config.value import parse_hours
from strongroom.errors import StrongroomError
from strongroom.model import Finding, Verdict, finding
from strongroom.plan.alerting import (
    ALERT_RECORD,
    VERDICT_RECORD,
    Change,
    Delivery,
    Message,
    Notice,
    Record,
    Route,
    Standing,
    Told,
    plan_alerts,
    stand_ins,
    told_record,
)
from strongroom.report.alert_text import Item, Letter, Sender, letter
from strongroom.report.check import Check
from strongroom.service.application import Application
from strongroom.service.delivery import Outcome, deliver
from strongroom.service.dispatch import Dispatch, never
from strongroom.service.rendering import time_json
from strongroom.service.retry import Retries, is_repeated, is_to_be_recorded

__all__ = ["AlertReport", "Post", "Sent", "routes_of", "sender_of", "tell", "undelivered"]

Post: TypeAlias = Callable[[Alert, Letter], Outcome]
"""Delivers a letter to an alert's address."""

_MOST_UNRECORDED: Final = 10_000
_VERDICTS: Final = list(Verdict)

_Fields: TypeAlias = dict[str, Any]  # Any: JSON values
# What this process could not record yet, by ledger.
_UNRECORDED: Final[dict[Path, list[tuple[str, _Fields]]]] = {}
# What it need not record, by ledger.
_RETRIES: Final[dict[Path, Retries]] = {}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, and whether it arrived."""

    message: Message
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        message = self.message
        return {
            "to": message.to,
            "event": message.event.value,
            "checks": [
                {"key": one.key, "event": one.event.value, "verdict": one.verdict.value}
                for one in message.notices
            ],
            "instead_of": message.instead_of or None,
            "because": message.because,
            "delivered": self.outcome.delivered,
            "error": self.outcome.error,
        }


@dataclass(frozen=True, slots=True)
class AlertReport:
    """What one tick changed, told and could not tell."""

    changes: tuple[Change, ...] = ()
    sent: tuple[Sent, ...] = ()
    findings: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "changes": [
                {
                    "key": one.key,
                    "before": one.before.value,
                    "verdict": one.verdict.value if one.verdict is not None else None,
                }
                for one in self.changes
            ],
            "sent": [one.as_json() for one in self.sent],
            "findings": [one.as_json() for one in self.findings],
        }


def tell(
    application: Application,
    checks: Sequence[Check],
    now: datetime,
    *,
    post: Post | None = None,
    told: Sequence[Record] | None = None,
    stopping: Callable[[], bool] = never,
) -> AlertReport:
    """Tell everybody what is to be told at `now` of these checks, which are all that there are.

    Without checks nothing is done. `told` is what the ledger's records tell of it, where the caller
    has just read them; `post` delivers in the place of Apprise. Nothing is raised for what does not
    arrive or cannot be recorded: it stands in the report. It takes a minute and a half at most: who
    was not reached by then is, when it is tried again; and ends when it is `stopping`, as if what
    was under way had not been tried.
    """
    if not checks:
        return AlertReport()
    dispatch = Dispatch(stopping)
    run = _Run(application, checks, now, post or _post(application.settings, dispatch), dispatch)
    before = run.read(told)
    standings = [Standing(one.key, one.subject, one.verdict) for one in run.checks.values()]
    plan = plan_alerts(standings, before, run.routes, run.zone, now)
    run.note_changes(plan.changes)
    known = before.after(plan.changes)
    run.changed_at = known.changed_at
    run.send(plan.messages, known)
    return AlertReport(plan.changes, tuple(run.sent), tuple(run.findings))


class _Run:
    """What one tick has come to so far."""

    def __init__(
        self,
        application: Application,
        checks: Sequence[Check],
        now: datetime,
        post: Post,
        dispatch: Dispatch,
    ) -> None:
        settings = application.settings
        self.application = application
        self.checks: dict[str, Check] = {}
        for one in checks:  # of two that are called alike the worse one counts
            known = self.checks.get(one.key)
            if known is None or _VERDICTS.index(one.verdict) > _VERDICTS.index(known.verdict):
                self.checks[one.key] = one
        self.now = now
        self.post, self.dispatch = post, dispatch
        self.routes = routes_of(settings)
        self.alerts = dict(zip(route_names(settings.alerts), settings.alerts, strict=True))
        self.zone = ZoneInfo(settings.schedule.time_zone)
        self.changed_at: Mapping[str, datetime] = {}
        self.sent: list[Sent] = []
        self.findings: list[Finding] = []
        self.retries = _RETRIES.setdefault(self._ledger, Retries())
        # How many records there are, those included that wait to be written; the newest of each
        # route.
        self.place = 0
        self.newest: dict[str, Delivery] = {}

    # The ledger

    def read(self, told: Sequence[Record] | None) -> Told:
        """What was told before, as far as the ledger can be read, and what it does not know yet."""
        records: list[Record | None] = [*(self._recorded() if told is None else told)]
        # What is recorded late was not there yet when `told` was read.
        waiting = [*_UNRECORDED.get(self._ledger, ())]
        self._record_late()
        records += [told_record(kind, self.now, fields) for kind, fields in waiting]
        known = [one for one in records if one is not None]
        self.place = len(known)
        self.newest = {one.to: one for one in known if isinstance(one, Delivery)}
        return Told(tuple(self.retries.among(known)))

    def _recorded(self) -> Iterator[Record | None]:
        name = self.application.name
        try:
            for one in self.application.ledger.entries():
                if one.fields.get("application") == name:
                    yield told_record(one.kind, one.at, one.fields)
        except StrongroomError as error:
            self._miss(error.subject or "ledger", error.message)

    def note_changes(self, changes: Iterable[Change]) -> None:
        """Record what changed: how things stood is then known, whoever was told."""
        for one in changes:
            check = self.checks.get(one.key)
            self._record(
                VERDICT_RECORD,
                {
                    "key": one.key,
                    "before": one.before.value,
                    "verdict": one.verdict.value if one.verdict is not None else None,
                    **self._of_check(check),
                },
            )

    def _note_delivery(self, sent: Sent, told: Told) -> list[Delivery]:
        """Record what is new in this attempt, and remember the rest of it; all of it is known from
        then on."""
        route, outcome = sent.message.to, sent.outcome
        made = [(notice, self._delivery_of(notice, sent)) for notice in sent.message.notices]
        if outcome.delivered:
            self.retries.arrived(route, (notice.key for notice, _ in made))
        again = [not one.delivered and is_repeated(one, told.records) for _, one in made]
        tries = 1
        if all(again):
            tries = self.retries.tried(route)
            newest = self.newest.get(route)
            again[0] = not is_to_be_recorded(newest, outcome.error or "", self.now)
        recorded = [each for each, silent in zip(made, again, strict=True) if not silent]
        for notice, one in recorded:
            self.newest[route] = one
            self.retries.recorded(route)
            self._record(ALERT_RECORD, self._of_delivery(notice, sent, tries))
        left = [one for (_, one), silent in zip(made, again, strict=True) if silent]
        self.retries.note(self.place, left)
        return [*(one for _, one in recorded), *left]

    def _delivery_of(self, notice: Notice, sent: Sent) -> Delivery:
        message, outcome = sent.message, sent.outcome
        return Delivery(
            notice.key,
            message.to,
            notice.event,
            notice.verdict,
            self.now,
            outcome.delivered,
            message.instead_of,
            outcome.error or "",
        )

    def _of_delivery(self, notice: Notice, sent: Sent, tries: int) -> _Fields:
        return {
            "key": notice.key,
            "event": notice.event.value,
            "verdict": notice.verdict.value,
            "to": sent.message.to,
            "delivered": sent.outcome.delivered,
            "error": sent.outcome.error,
            **({"tries": tries} if tries > 1 else {}),
            **self._of_check(self.checks.get(notice.key)),
            "because": notice.because,
            "instead_of": sent.message.instead_of or None,
        }

    def _of_check(self, check: Check | None) -> _Fields:
        since = check.since if check is not None else None
        return {
            "observed": check.observed if check is not None else None,
            "since": time_json(since) if since is not None else None,
            # The ledger has its own clock; what is planned from these records goes by this one.
            "judged_at": time_json(self.now),
        }

    def _record(self, kind: str, fields: _Fields) -> None:
        self.place += 1
        recorded = self.application.record(kind, fields)
        if isinstance(recorded, Finding):
            self._miss(recorded.subject, recorded.message)
            waiting = _UNRECORDED.setdefault(self._ledger, [])
            waiting.append((kind, fields))
            del waiting[:-_MOST_UNRECORDED]

    def _record_late(self) -> None:
        """Record what could not be recorded at its time; in its order, as far as that goes."""
        waiting = _UNRECORDED.get(self._ledger, [])
        while waiting:
            kind, fields = waiting[0]
            recorded = self.application.record(kind, fields)
            if isinstance(recorded, Finding):
                self._miss(recorded.subject, recorded.message)
                return
            del waiting[0]

    def _miss(self, subject: str, message: str) -> None:
        """Once: a folder that is in the way is so for each record."""
        if not any(one.code == "evidence-unrecorded" for one in self.findings):
            self.findings.append(finding("evidence-unrecorded", subject, message))

    @property
    def _ledger(self) -> Path:
        return self.application.ledger.path

    # Messages

    def send(self, messages: Sequence[Message], told: Told) -> None:
        """Deliver these at the same time, then what did not arrive to who stands in for its route,
        one after another: who was told just now is not told again."""
        unreachable: set[str] = set()
        failed: list[Message] = []
        waiting = tuple(messages)
        while (waiting or failed) and not self.dispatch.is_over:
            if not waiting:
                first = failed.pop(0)
                waiting = stand_ins(first, told, self.routes, unreachable, self.zone, self.now)
            for sent in self._deliver(waiting):
                self.sent.append(sent)
                told = told.after(self._note_delivery(sent, told))
                if not sent.outcome.delivered:
                    failed.append(sent.message)
                    unreachable.add(sent.message.to)
                    self.findings.append(undelivered(sent.message.to, sent.outcome))
            waiting = ()

    def _deliver(self, messages: Sequence[Message]) -> list[Sent]:
        """At the same time; those that were tried."""
        if not messages:
            return []
        self.dispatch.share(len(messages))
        tasks = [partial(self.post, self.alerts[one.to], self._letter(one)) for one in messages]
        outcomes = self.dispatch.carry_out(tasks)
        return [
            Sent(message, outcome)
            for message, outcome in zip(messages, outcomes, strict=True)
            if outcome is not None
        ]

    def _letter(self, message: Message) -> Letter:
        items = [
            Item(
                one.key,
                one.event,
                one.verdict,
                one.before,
                self.checks.get(one.key),
                one.begun_at,
                one.ended_at,
                self.changed_at.get(one.key),
            )
            for one in message.notices
        ]
        sender = sender_of(self.application.settings, self.now)
        return letter(sender, items, instead_of=message.instead_of)


# Routes


def routes_of(settings: Settings) -> tuple[Route, ...]:
    """Whom to tell, in the order of the configuration."""
    subjects = settings.sources.keys() | settings.repositories.keys()
    return tuple(
        Route(
            name,
            one.when == "failure",
            one.repeat,
            parse_hours(one.quiet) if one.quiet is not None else None,
            frozenset(subjects - set(one.about)) if one.about else frozenset(),
        )
        for name, one in zip(route_names(settings.alerts), settings.alerts, strict=True)
    )


def sender_of(settings: Settings, now: datetime) -> Sender:
    """What letters of this application are about."""
    zone = settings.schedule.time_zone
    return Sender(settings.application, settings.environment, zone, now)


def undelivered(route: str, outcome: Outcome) -> Finding:
    """The finding that a message did not arrive."""
    return finding("alert-undelivered", route, outcome.error or "it did not arrive")


def _post(settings: Settings, dispatch: Dispatch) -> Post:
    def post(alert: Alert, message: Letter) -> Outcome:
        return deliver(
            alert.to,
            message,
            mail_server=settings.monitoring.mail_server,
            seconds=dispatch.each_seconds,
            stopping=dispatch.stopping,
        )

    return post
