"""Who is told what, and when: each change of a check's verdict once, to each route that wants it.

For: deciding, from verdicts, what was told before and the time, which messages to deliver now. Not
for: their words (`alert_text`) or their delivery. A route is owed the difference between what it
was last told and what is so. Hence what could not be told, since hours were quiet or nobody
answered, is told afterwards by itself, if it is still so; if not, that it came and went.

Invariants: what was not delivered was not told. FAILED waits for no hours. Nothing is told twice,
unless it changed meanwhile or `repeat` is over. Whoever was told that a check is not well is told
how it goes on until it is well, and that once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeAlias

from strongroom.model import AlertEvent, Verdict

__all__ = [
    "ALERT_RECORD",
    "CALM",
    "FLAPPING_CHANGES",
    "VERDICT_RECORD",
    "Change",
    "Delivery",
    "Message",
    "Notice",
    "Plan",
    "Record",
    "Route",
    "Standing",
    "Told",
    "plan_alerts",
    "stand_ins",
    "told_record",
]

# The kinds of records from which is known what was told.
ALERT_RECORD: Final = "alert"
VERDICT_RECORD: Final = "verdict"

# A check that changes more often than this within the window is told once as flapping, until it
# has stayed the same for as long.
FLAPPING_CHANGES: Final = 4
CALM: Final = timedelta(hours=1)

# A message that did not arrive is tried at the next tick, then after one, two, four … minutes.
_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(minutes=30)
# No hours are quiet for longer.
_DAY: Final = timedelta(hours=24)
# A clock that was set back by more than this makes what was told "later" count as long ago.
_CLOCK_SLACK: Final = timedelta(minutes=5)

_RANK: Final = {verdict: rank for rank, verdict in enumerate(Verdict)}
_EVENT_RANK: Final = {event: rank for rank, event in enumerate(AlertEvent)}
_VERDICTS: Final = {one.value: one for one in Verdict}
_EVENTS: Final = {one.value: one for one in AlertEvent}
# After these nothing is outstanding.
_CLOSING: Final = frozenset({AlertEvent.RECOVERED, AlertEvent.PASSED, AlertEvent.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Route:
    """Somebody to tell. `passes_over` has the sources and repositories that are not its business;
    between the two times of day of `quiet`, FAILED alone is told."""

    name: str
    failures_only: bool = False
    repeat: timedelta = _DAY
    quiet: tuple[time, time] | None = None
    passes_over: frozenset[str] = frozenset()

    def wants(self, subject: str, verdict: Verdict) -> bool:
        """Whether this is to be told here: FAILED is a failure, STALE and UNKNOWN are warnings."""
        if verdict is Verdict.PROVEN or subject in self.passes_over:
            return False
        return verdict is Verdict.FAILED or not self.failures_only

    def is_quiet(self, moment: datetime, zone: tzinfo) -> bool:
        if self.quiet is None:
            return False
        begin, end = self.quiet
        clock = moment.astimezone(zone).time()
        return begin <= clock < end if begin < end else clock >= begin or clock < end


@dataclass(frozen=True, slots=True)
class Standing:
    """How a check stands; `key` tells it from all others, `subject` is what it is about."""

    key: str
    subject: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A check's verdict became another one; None when it is not looked at any more."""

    key: str
    at: datetime
    before: Verdict
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One check in one message to one route, and whether it arrived. `instead_of` names the route
    that could not be reached; by the `error` nothing is planned."""

    key: str
    to: str
    event: AlertEvent
    verdict: Verdict
    at: datetime
    delivered: bool
    instead_of: str = ""
    error: str = field(default="", compare=False)


Record: TypeAlias = Change | Delivery


@dataclass(frozen=True, slots=True)
class Told:
    """What changed and what was told of it, in the order in which it happened."""

    records: tuple[Record, ...] = ()

    def after(self, more: Iterable[Record]) -> Told:
        return Told((*self.records, *more))

    @property
    def changed_at(self) -> Mapping[str, datetime]:
        """When the verdict of each check became what it is, as far as was noticed."""
        return {one.key: one.at for one in self.records if isinstance(one, Change)}


@dataclass(frozen=True, slots=True)
class Notice:
    """What a message tells of one check.

    `verdict` is that of now; of a flapping check the worst of late, and of one that is not looked
    at any more UNKNOWN. `before` is what the route was told last, or what it missed; `told_at`
    when. What came and went did so between `begun_at` and `ended_at`, as far as that is known.
    """

    key: str
    event: AlertEvent
    verdict: Verdict
    before: Verdict
    because: str
    told_at: datetime | None = None
    begun_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What one route is told at once, the worst first."""

    to: str
    notices: tuple[Notice, ...]
    instead_of: str = ""

    @property
    def event(self) -> AlertEvent:
        return self.notices[0].event

    @property
    def because(self) -> str:
        first = f"{self.notices[0].key}: {self.notices[0].because}"
        more = f", and {len(self.notices) - 1} more" if len(self.notices) > 1 else ""
        reached = f"; {self.instead_of} could not be reached" if self.instead_of else ""
        return f"{first}{more}{reached}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What changed since the last time, which is to be recorded, and what is to be told."""

    changes: tuple[Change, ...]
    messages: tuple[Message, ...]


@dataclass(slots=True)
class _Past:
    """What one route knows of one check; `failed` and `changes` are those since it was told."""

    last: Delivery | None = None
    flapping_at: datetime | None = None
    failed: list[Delivery] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    # Whether it changed since anybody tried to tell it.
    fresh: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the route believes."""
        if self.last is None or self.last.event in _CLOSING:
            return Verdict.PROVEN
        return self.last.verdict

    @property
    def told_at(self) -> datetime | None:
        return self.last.at if self.last is not None else None


@dataclass(frozen=True, slots=True)
class _Spell:
    """A time in which a check flaps."""

    begun_at: datetime
    worst: Verdict


_NOTHING: Final = Verdict.PROVEN


def plan_alerts(
    standings: Sequence[Standing],
    told: Told,
    routes: Sequence[Route],
    zone: tzinfo,
    now: datetime,
) -> Plan:
    """What to record and to deliver now. `standings` has all checks: one that is missing and was
    told of is withdrawn. Without any, nothing was looked at, and nothing is decided."""
    if not standings:
        return Plan((), ())
    changes = tuple(_changes(standings, told, now))
    told = told.after(changes)
    standing = {one.key: one for one in standings}
    spells = _spells(told, now)
    pasts = _pasts(told, routes)
    messages = []
    for route in routes:
        owed: list[Notice] = []
        due = False
        keys = dict.fromkeys((*standing, *(key for name, key in pasts if name == route.name)))
        for key in keys:
            past = pasts.get((route.name, key), _Past())
            notice = _owed(route, key, standing.get(key), past, spells.get(key), zone, now)
            if notice is None or (_can_wait(notice) and route.is_quiet(now, zone)):
                continue
            owed.append(notice)
            due = due or _is_due(notice, past, now)
        if due:
            messages.append(Message(route.name, tuple(sorted(owed, key=_worst_first))))
    return Plan(changes, tuple(messages))


def stand_ins(
    message: Message,
    told: Told,
    routes: Sequence[Route],
    unreachable: AbstractSet[str],
    zone: tzinfo,
    now: datetime,
) -> tuple[Message, ...]:
    """What others are told since a message did not arrive: each of its checks that is not well goes
    to the next route in the list that is not unreachable, unless that one knows."""
    original = message.instead_of or message.to
    names = [one.name for one in routes]
    place = names.index(original) if original in names else -1
    others = [
        one
        for one in (*routes[place + 1 :], *routes[: max(place, 0)])
        if one.name not in unreachable
    ]
    pasts = _pasts(told, routes)
    found: dict[str, list[Notice]] = {}
    for notice in message.notices:
        if notice.event in _CLOSING:
            continue
        awake = (one for one in others if not (_can_wait(notice) and one.is_quiet(now, zone)))
        taker = next(awake, None)
        if taker is None:
            continue
        past = pasts.get((taker.name, notice.key), _Past())
        if past.verdict is not notice.verdict:
            found.setdefault(taker.name, []).append(_for_another(notice, past))
    return tuple(
        Message(name, tuple(sorted(notices, key=_worst_first)), original)
        for name, notices in found.items()
    )


def _for_another(notice: Notice, past: _Past) -> Notice:
    event = notice.event
    if event is not AlertEvent.FLAPPING:
        event = _compared(past.verdict, notice.verdict)
    return Notice(
        notice.key,
        event,
        notice.verdict,
        past.verdict,
        notice.because,
        past.told_at,
    )


# What is owed


def _owed(
    route: Route,
    key: str,
    standing: Standing | None,
    past: _Past,
    spell: _Spell | None,
    zone: tzinfo,
    now: datetime,
) -> Notice | None:
    """What this route is to be told of this check, whenever that may be."""
    if standing is None:
        if past.verdict is _NOTHING:
            return None
        because = "it is not looked at any more"
        return _notice(key, AlertEvent.WITHDRAWN, Verdict.UNKNOWN, past, because)
    if spell is not None:
        return _owed_in_spell(route, standing, past, spell, now)
    verdict = standing.verdict
    if verdict is Verdict.PROVEN:
        if past.verdict is not _NOTHING:
            return _notice(key, AlertEvent.RECOVERED, verdict, past, "it is well again")
        return _passed(route, standing, past, zone, now)
    wanted = route.wants(standing.subject, verdict)
    if past.verdict is _NOTHING:
        because = _why_new(past, now)
        return _notice(key, AlertEvent.NEW, verdict, past, because) if wanted else None
    if verdict is not past.verdict:
        because = f"it was {past.verdict}, it is {verdict}"
        return _notice(key, _compared(past.verdict, verdict), verdict, past, because)
    if past.last is not None and past.last.event is AlertEvent.FLAPPING:
        because = f"it flapped, and has been {verdict} for an hour"
        return _notice(key, AlertEvent.REMINDER, verdict, past, because)
    if wanted and past.changes:
        before = past.changes[-1].before
        because = f"it was {before} meanwhile, and is {verdict} again"
        return _notice(key, _compared(before, verdict), verdict, past, because)
    if wanted and _is_over(route.repeat, past.told_at, now):
        return _notice(key, AlertEvent.REMINDER, verdict, past, f"it is still {verdict}")
    return None


def _owed_in_spell(
    route: Route, standing: Standing, past: _Past, spell: _Spell, now: datetime
) -> Notice | None:
    """Of a check that flaps: that it does, and besides only what is worse than was told."""
    key, verdict = standing.key, standing.verdict
    wanted = route.wants(standing.subject, spell.worst)
    if past.flapping_at is None or past.flapping_at < spell.begun_at:
        if not wanted and past.verdict is _NOTHING:
            return None
        because = f"it changed more than {FLAPPING_CHANGES} times within an hour"
        return _notice(key, AlertEvent.FLAPPING, spell.worst, past, because)
    if route.wants(standing.subject, verdict) and _RANK[verdict] > _RANK[past.verdict]:
        because = f"it was {past.verdict} at worst, it is {verdict}"
        return _notice(key, AlertEvent.WORSE, verdict, past, because)
    if wanted and _is_over(route.repeat, past.told_at, now):
        return _notice(key, AlertEvent.FLAPPING, spell.worst, past, "it still changes to and fro")
    return None


def _passed(
    route: Route, standing: Standing, past: _Past, zone: tzinfo, now: datetime
) -> Notice | None:
    """That a check was not well while the route could not be told or was not to be."""
    missed = [
        (one.at, one.verdict)
        for one in past.failed
        if not one.instead_of and one.event not in _CLOSING
    ]
    because = "it came and went while nobody could be reached"
    if not missed:
        because = "it came and went in quiet hours"
        missed = [
            (one.at, one.verdict)
            for one in past.changes
            if one.verdict is not None
            and route.wants(standing.subject, one.verdict)
            and now - one.at < _DAY
            and route.is_quiet(one.at, zone)
        ]
    if not missed:
        return None
    return Notice(
        standing.key,
        AlertEvent.PASSED,
        Verdict.PROVEN,
        max((verdict for _, verdict in missed), key=_RANK.__getitem__),
        because,
        past.told_at,
        min(at for at, _ in missed),
        past.changes[-1].at if past.changes else None,
    )


def _why_new(past: _Past, now: datetime) -> str:
    if any(not one.instead_of for one in past.failed):
        return "it could not be told before"
    if past.changes and past.changes[-1].at == now:
        return f"it was {past.changes[-1].before}"
    return "it was not told here yet"


def _notice(key: str, event: AlertEvent, verdict: Verdict, past: _Past, because: str) -> Notice:
    return Notice(key, event, verdict, past.verdict, because, past.told_at)


def _compared(before: Verdict, verdict: Verdict) -> AlertEvent:
    if before is Verdict.PROVEN:
        return AlertEvent.NEW
    return AlertEvent.WORSE if _RANK[verdict] > _RANK[before] else AlertEvent.BETTER


def _worst_first(notice: Notice) -> tuple[int, int, str]:
    # What is closed stands behind what is not, an unknown end included.
    rank = -1 if notice.event in _CLOSING else _RANK[notice.verdict]
    return -rank, _EVENT_RANK[notice.event], notice.key


# When it is told


def _can_wait(notice: Notice) -> bool:
    """Whether quiet hours hold it back."""
    return notice.verdict is not Verdict.FAILED or notice.event in _CLOSING


def _is_due(notice: Notice, past: _Past, now: datetime) -> bool:
    """Whether it was not tried yet, or long enough ago."""
    if past.fresh and notice.event is not AlertEvent.FLAPPING:
        return True
    tries = 0
    for one in reversed(past.failed):
        if one.verdict is not notice.verdict:
            break
        tries += 1
    if tries == 0:
        return True
    # The exponent is bounded, since a route may be away for a year.
    wait = min(_FIRST_WAIT * 2 ** min(tries - 2, 16), _LONGEST_WAIT) if tries > 1 else timedelta(0)
    elapsed = now - past.failed[-1].at
    return elapsed >= wait or elapsed < -_CLOCK_SLACK


def _is_over(span: timedelta, since: datetime | None, now: datetime) -> bool:
    if since is None:
        return True
    elapsed = now - since
    return elapsed >= span or elapsed < -_CLOCK_SLACK


# What was


def _changes(standings: Sequence[Standing], told: Told, now: datetime) -> Iterator[Change]:
    latest: dict[str, Verdict | None] = {}
    for one in told.records:
        if isinstance(one, Change):
            latest[one.key] = one.verdict
    for standing in standings:
        before = latest.pop(standing.key, None) or Verdict.PROVEN
        if standing.verdict is not before:
            yield Change(standing.key, now, before, standing.verdict)
    for key, verdict in latest.items():
        if verdict is not None and verdict is not Verdict.PROVEN:
            yield Change(key, now, verdict, None)


def _pasts(told: Told, routes: Sequence[Route]) -> dict[tuple[str, str], _Past]:
    pasts: dict[tuple[str, str], _Past] = {}
    names = {one.name for one in routes}
    for one in told.records:
        if isinstance(one, Change):
            for name in names:
                past = pasts.setdefault((name, one.key), _Past())
                past.changes.append(one)
                past.fresh = True
        elif one.to in names and one.event is not AlertEvent.TEST:
            past = pasts.setdefault((one.to, one.key), _Past())
            past.fresh = False
            if not one.delivered:
                past.failed.append(one)
                continue
            past.last = one
            past.failed.clear()
            past.changes.clear()
            if one.event is AlertEvent.FLAPPING:
                past.flapping_at = one.at
    return pasts


def _spells(told: Told, now: datetime) -> dict[str, _Spell]:
    """Of each check that flaps now, since when, and how bad it was at worst."""
    by_key: dict[str, list[Change]] = {}
    for one in told.records:
        if isinstance(one, Change):
            by_key.setdefault(one.key, []).append(one)
    return {key: spell for key, changes in by_key.items() if (spell := _spell(changes, now))}


def _spell(changes: Sequence[Change], now: datetime) -> _Spell | None:
    begun_at: datetime | None = None
    recent: list[Change] = []
    for one in changes:
        if recent and one.at - recent[-1].at >= CALM:
            begun_at, recent = None, []
        recent.append(one)
        if begun_at is None:
            recent = [other for other in recent if one.at - other.at < CALM]
            if len(recent) > FLAPPING_CHANGES:
                begun_at = one.at
    if begun_at is None or now - recent[-1].at >= CALM:
        return None
    seen = (one.verdict or Verdict.UNKNOWN for one in recent)
    return _Spell(begun_at, max(seen, key=_RANK.__getitem__))


# Records


def told_record(
    kind: str,
    at: datetime,
    fields: Mapping[str, Any],  # Any: JSON values
) -> Record | None:
    """What one record of the ledger tells of this; None when it tells nothing, or is odd."""
    key = fields.get("key")
    if kind not in (ALERT_RECORD, VERDICT_RECORD) or not isinstance(key, str):
        return None
    at = _moment(fields.get("judged_at")) or at
    verdict = _verdict(fields.get("verdict"))
    if kind == VERDICT_RECORD:
        return Change(key, at, _verdict(fields.get("before")) or Verdict.PROVEN, verdict)
    to, event = fields.get("to"), _event(fields.get("event"))
    if not isinstance(to, str) or event is None:
        return None
    instead_of, error = fields.get("instead_of"), fields.get("error")
    return Delivery(
        key,
        to,
        event,
        verdict or Verdict.UNKNOWN,
        at,
        fields.get("delivered") is True,
        instead_of if isinstance(instead_of, str) else "",
        error if isinstance(error, str) else "",
    )


# Any below: a JSON value


def _verdict(given: Any) -> Verdict | None:
    return _VERDICTS.get(given) if isinstance(given, str) else None


def _event(given: Any) -> AlertEvent | None:
    return _EVENTS.get(given) if isinstance(given, str) else None


def _moment(given: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
