"""Alerts as values: checks, routes, and a world of ticks in which messages arrive or don't."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from strongroom.model import AlertEvent, Verdict
from strongroom.plan.alerting import (
    Delivery,
    Message,
    Notice,
    Plan,
    Route,
    Standing,
    Told,
    plan_alerts,
    stand_ins,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NIGHT = (time(22), time(7))
CLOSING = frozenset({AlertEvent.RECOVERED, AlertEvent.PASSED, AlertEvent.WITHDRAWN})
Arrives = Callable[[str], bool]


def all_but(away: AbstractSet[str]) -> Arrives:
    """Everybody can be reached but these."""
    return lambda name: name not in away


def subject_of(key: str) -> str:
    return key.partition(":")[2]


def standings(verdicts: Mapping[str, Verdict]) -> list[Standing]:
    return [Standing(key, subject_of(key), verdict) for key, verdict in verdicts.items()]


@dataclass(frozen=True)
class Tick:
    """What one tick was about: the plan, and every message with whether it arrived."""

    at: datetime
    verdicts: Mapping[str, Verdict]
    plan: Plan
    sent: tuple[tuple[Message, bool], ...]

    def notices(self, route: str, *, arrived: bool | None = None) -> list[tuple[Message, Notice]]:
        return [
            (message, notice)
            for message, did in self.sent
            if message.to == route and arrived in (None, did)
            for notice in message.notices
        ]

    def told(self) -> list[str]:
        """Each notice that arrived, as `route: event key VERDICT`, in order."""
        return [
            f"{message.to}: {notice.event} {notice.key} {notice.verdict}"
            for message, did in self.sent
            if did
            for notice in message.notices
        ]


@dataclass
class World:
    """Routes and all that they were told so far."""

    routes: Sequence[Route]
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    past: Told = field(default_factory=Told)
    ticks: list[Tick] = field(default_factory=list)

    def tick(
        self,
        at: datetime,
        verdicts: Mapping[str, Verdict],
        arrives: Arrives = lambda _: True,
    ) -> Tick:
        plan = plan_alerts(standings(verdicts), self.past, self.routes, self.zone, at)
        self.past = self.past.after(plan.changes)
        sent: list[tuple[Message, bool]] = []
        unreachable: set[str] = set()
        failed: list[Message] = []
        waiting = plan.messages
        while waiting or failed:
            if not waiting:
                first = failed.pop(0)
                waiting = stand_ins(first, self.past, self.routes, unreachable, self.zone, at)
            for message in waiting:
                did = arrives(message.to)
                sent.append((message, did))
                self.past = self.past.after(deliveries(message, at, delivered=did))
                if not did:
                    unreachable.add(message.to)
                    failed.append(message)
            waiting = ()
        self.ticks.append(Tick(at, dict(verdicts), plan, tuple(sent)))
        return self.ticks[-1]

    def belief(self, route: str, key: str) -> Verdict:
        """What a route must think, having read all that arrived."""
        belief = Verdict.PROVEN
        for tick in self.ticks:
            for _, notice in tick.notices(route, arrived=True):
                if notice.key == key:
                    belief = Verdict.PROVEN if notice.event in CLOSING else notice.verdict
        return belief


def deliveries(message: Message, at: datetime, *, delivered: bool) -> Iterable[Delivery]:
    for one in message.notices:
        yield Delivery(
            one.key, message.to, one.event, one.verdict, at, delivered, message.instead_of
        )
