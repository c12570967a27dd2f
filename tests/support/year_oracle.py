"""Whether a tick did right: verdicts against the truth, messages against verdicts, runs against
each other and the calendar. In other words than the program's, so that it can be wrong.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from strongroom.config.operation import Alert, route_names
from strongroom.model import AlertEvent, Verdict
from strongroom.report.check import WORST_LAST
from strongroom.report.history import Ending
from strongroom.report.judgement import judge_evidence
from strongroom.service.alerting import AlertReport, Sent
from strongroom.service.status import StatusReport
from tests.support.year_truth import Truth
from tests.support.year_world import DAY, HOUR, MINUTE, Run, World

PROVEN, FAILED = Verdict.PROVEN, Verdict.FAILED
CLOSING = (AlertEvent.RECOVERED, AlertEvent.PASSED, AlertEvent.WITHDRAWN)


class Oracle:
    """Looks at each tick; what is wrong is in `complaints`."""

    def __init__(self, world: World, truth: Truth) -> None:
        self._world, self._truth = world, truth
        self.complaints: list[str] = []
        # What each route believes of each check, by which event, and when it was told.
        self._beliefs: dict[tuple[str, str], tuple[Verdict, AlertEvent, datetime]] = {}
        # When a route could not be reached last, and what was not well since it was told.
        self._unheard: dict[str, datetime] = {}
        self._missed: set[tuple[str, str]] = set()
        # What changed since each route was told of it, and how things stood at the last tick.
        self._changed: set[tuple[str, str]] = set()
        self._verdicts: dict[str, Verdict] = {}

    def after_tick(self, found: StatusReport, told: AlertReport) -> None:
        verdicts = {one.key: one.verdict for one in found.report.checks}
        self._judge(verdicts, found)
        changed = [key for key in verdicts if verdicts[key] is not self._verdicts.get(key, PROVEN)]
        routes = [str(one.name) for one in self._world.settings.alerts]
        self._changed |= {(route, key) for route in routes for key in changed}
        self._verdicts = verdicts
        for sent in told.sent:
            self._heard(sent, verdicts)
        self._informed(verdicts)
        self.complaints += [f"pruned: {one}" for one in self._truth.losses]
        self._truth.losses.clear()

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self._world.clock():%Y-%m-%d %H:%M} {text}")

    # Verdicts

    def _judge(self, verdicts: dict[str, Verdict], found: StatusReport) -> None:
        allowed = self._truth.allowed(self._world)
        told = {one.key: one.observed for one in found.report.checks}
        for key in sorted(verdicts.keys() ^ allowed.keys()):
            self._complain(f"{key} is not both asked and known")
        for key in verdicts.keys() & allowed.keys():
            if verdicts[key] not in allowed[key]:
                wanted = " or ".join(sorted(allowed[key]))
                self._complain(f"{key} is {verdicts[key]}, not {wanted}: {told[key]}")
        ill = any(PROVEN not in each for key, each in allowed.items() if key not in NOT_OF_WHOLE)
        if ill and found.report.verdict is PROVEN:
            self._complain("something is not well, and the whole is")

    def expect_no_better(self, found: StatusReport) -> None:
        """I5: with some of the good news left out, nothing is better."""
        draw, evidence = self._world.random, found.evidence
        keep = draw.choice((0.2, 0.5, 0.8, 0.95))
        past = evidence.history

        def some(good: bool) -> bool:
            return not good or draw.random() < keep

        less = dataclasses.replace(
            evidence,
            observations=tuple(one for one in evidence.observations if some(one.verdict is PROVEN)),
            history=dataclasses.replace(
                past,
                runs=tuple(one for one in past.runs if some(one.ending is Ending.DONE)),
                inspections=tuple(one for one in past.inspections if some(one.is_sound)),
                prunes=tuple(one for one in past.prunes if some(one.ended)),
                deliveries=tuple(one for one in past.deliveries if some(one.delivered)),
                reaches=tuple(one for one in past.reaches if some(one.reached)),
            ),
        )
        report = judge_evidence(less, found.promise, found.report.made_at)
        known = {one.key: one for one in found.report.checks}
        for one in report.checks:
            other = known[one.key]
            if WORST_LAST.index(one.verdict) < WORST_LAST.index(other.verdict):
                self._complain(
                    f"I5: {one.key} is {one.verdict} ({one.observed}) without some good news, "
                    f"{other.verdict} with them ({other.observed})"
                )
        if WORST_LAST.index(report.verdict) < WORST_LAST.index(found.report.verdict):
            self._complain("I5: the whole is better without some good news")

    # Messages

    def _heard(self, sent: Sent, verdicts: dict[str, Verdict]) -> None:
        now, message = self._world.clock(), sent.message
        self._truth.delivered(message.to, now, sent.outcome.delivered)
        if not sent.outcome.delivered:
            self._unheard[message.to] = now
        for notice in message.notices:
            place = message.to, notice.key
            verdict = verdicts.get(notice.key, Verdict.UNKNOWN)
            before = self._beliefs.get(place, (PROVEN, AlertEvent.RECOVERED, now))
            if wrong := self._wrong(notice.event, verdict, before, place):
                self._complain(f"{message.to} is told {notice.event} of {notice.key}: {wrong}")
            if sent.outcome.delivered:
                believed = PROVEN if notice.event in CLOSING else notice.verdict
                self._beliefs[place] = believed, notice.event, now
                self._missed.discard(place)
                self._changed.discard(place)
            else:
                self._missed.add(place)

    def _wrong(
        self,
        event: AlertEvent,
        verdict: Verdict,
        before: tuple[Verdict, AlertEvent, datetime],
        place: tuple[str, str],
    ) -> str:
        """Why nobody should be told so, if so."""
        believed, last, at = before
        now = self._world.clock()
        match event:
            case AlertEvent.NEW:
                fresh = believed is PROVEN or place in self._changed
                return "" if fresh and verdict is not PROVEN else f"it was told, and is {verdict}"
            case AlertEvent.RECOVERED:
                good = verdict is PROVEN and believed is not PROVEN
                return "" if good else "it was told before, or is not so"
            case AlertEvent.PASSED:
                good = verdict is PROVEN and believed is PROVEN and place in self._missed
                return "" if good else "nothing passed, or it was told before"
            case AlertEvent.WORSE | AlertEvent.BETTER:
                return "" if verdict is not PROVEN and believed is not PROVEN else "it is not so"
            case AlertEvent.REMINDER:
                repeat = self._route(place[0]).repeat
                due = now - at >= repeat or now < at or last is AlertEvent.FLAPPING
                return "" if due and verdict is believed else "too early, or it is not so"
            case AlertEvent.WITHDRAWN:
                return "all that is asked is asked for ever"
            case AlertEvent.FLAPPING:
                return ""  # how often it changed, nobody but the program counts
            case AlertEvent.TEST:
                return "nobody asked for a test"

    def _route(self, name: str) -> Alert:
        alerts = self._world.settings.alerts
        return alerts[route_names(alerts).index(name)]

    def _informed(self, verdicts: dict[str, Verdict]) -> None:
        """Each route believes what is so, unless it is not to know yet, or cannot be told."""
        world, now = self._world, self._world.clock()
        for alert in world.settings.alerts:
            route = str(alert.name)
            is_quiet = alert.quiet is not None and self._is_night(now)
            unheard = now - self._unheard.get(route, now - DAY) < HOUR
            for key, verdict in verdicts.items():
                believed, event, _ = self._beliefs.get(
                    (route, key), (PROVEN, AlertEvent.RECOVERED, now)
                )
                subject = key.partition(":")[2]
                mine = not alert.about or subject in ("", *alert.about)
                wanted = mine and (verdict is FAILED or (alert.when == "warning"))
                if verdict is believed or event is AlertEvent.FLAPPING:
                    continue
                if believed is PROVEN and not wanted:
                    continue
                if is_quiet and (verdict is not FAILED):
                    self._missed.add((route, key))
                elif not unheard and route not in world.failing_routes:
                    self._complain(f"{route} was not told that {key} is {verdict}, not {believed}")
                elif wanted and verdict is not PROVEN:
                    self._expect_stand_in(key, verdict, now)

    def _expect_stand_in(self, key: str, verdict: Verdict, now: datetime) -> None:
        """Of those who can be reached somebody knows what another one could not be told."""
        reachable = [
            str(one.name)
            for one in self._world.settings.alerts
            if one.name not in self._world.failing_routes
            and now - self._unheard.get(str(one.name), now - DAY) >= HOUR
            and (one.quiet is None or verdict is FAILED or not self._is_night(now))
        ]
        known = [self._beliefs.get((name, key), (PROVEN,))[0] for name in reachable]
        if known and verdict not in known:
            self._complain(f"nobody was told that {key} is {verdict}")

    def _is_night(self, now: datetime) -> bool:
        hour = now.astimezone(ZoneInfo(self._world.declared["zone"])).hour
        return hour >= 22 or hour < 7


NOT_OF_WHOLE = ("anomalies", "review")


# Runs


def overlapping(one: str, other: str) -> bool:
    """Whether two jobs must not be under way at the same time."""
    actions = {one.partition(":")[0], other.partition(":")[0]}
    if one == other or actions in ({"capture"}, {"drill"}):
        return True
    return "prune" in actions and bool(actions & {"capture", "copy", "check", "drill"})


def wrong_captures(log: Sequence[Run], days: Sequence[tuple[datetime, bool]]) -> Iterator[str]:
    """What is wrong with the captures of these times, of which each is told whether it must have
    its one capture, or just no more than one."""
    made = Counter(
        run.placed.order.scheduled_for for run in log if run.placed.order.job == "capture"
    )
    for at, must in days:
        number = made[f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"]
        if number > 1 or (must and number != 1):
            yield f"the capture of {at:%Y-%m-%d %H:%M} was ordered {number} times"


def occurrences(fields: str, zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """When a clock of this zone shows a time of day (`minute hour * * *`): the first time where it
    does so twice; where it is skipped, when the gap ends."""
    minute, hour = map(int, fields.split()[:2])
    place, utc = ZoneInfo(zone), begin.tzinfo
    day = begin.astimezone(place).date() - DAY
    while True:
        day += DAY
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=place)
        at = local.astimezone(utc)
        if at.astimezone(place).replace(tzinfo=None) != local.replace(tzinfo=None):
            at = _after_gap(at, place)
        if at > end:
            return
        if at > begin:
            yield at


def _after_gap(at: datetime, place: ZoneInfo) -> datetime:
    """The end of the gap before a moment, to the minute: where the offset became what it is."""
    offset = at.astimezone(place).utcoffset()
    while (at - MINUTE).astimezone(place).utcoffset() == offset:
        at -= MINUTE
    return at
