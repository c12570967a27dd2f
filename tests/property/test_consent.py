"""Consent to a prune: never asked for in a policy's ordinary course, always after a mistake."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.plan.consent import Doubt, Precedent, doubt
from strongroom.plan.retention import Decision, Kept, Rules, decide
from tests.support.retention_ground import some_rules

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
USUAL = Rules(daily=30 * DAY, weekly=90 * DAY)
LAST_ONE = Rules(last=1)
POLICIES = st.one_of(
    st.just(USUAL),
    st.just(Rules(within=DAY)),
    st.just(Rules(hourly=2 * DAY, daily=7 * DAY)),
    some_rules(
        last=st.one_of(st.none(), st.integers(1, 40)),
        counts=st.one_of(st.none(), st.integers(0, 12)),
    ),
)


@dataclass
class Host:
    """A host that captures at intervals, and prunes once a day without anybody."""

    rules: Rules
    every: timedelta = HOUR
    now: datetime = BEGIN
    snapshots: list[Kept] = field(default_factory=list)
    under: dict[str, Rules] = field(default_factory=dict)
    pruned: tuple[Rules, int] | None = None
    serial: int = 0
    proves_each: int = 170

    def capture(self) -> None:
        self.serial += 1
        is_proven = self.serial % self.proves_each == 0
        one = Kept(f"{self.serial}", self.now, proven=is_proven, recorded=self.serial)
        self.snapshots.append(one)
        self.under[one.id] = self.rules

    def decisions(self) -> list[Decision]:
        return decide(self.snapshots, self.rules, self.now)

    def prune(self, *, consent: bool = False) -> Doubt | None:
        left = self.pruned[1] if self.pruned and self.pruned[0] == self.rules else None
        captured = frozenset(one for one, rules in self.under.items() if rules == self.rules)
        decisions = self.decisions()
        found = doubt(decisions, Precedent(left, captured), share=0.5)
        if found is None or consent:
            kept = {one.id for one in decisions if one.keep}
            self.snapshots = [one for one in self.snapshots if one.id in kept]
            self.pruned = self.rules, len(kept)
        return found

    def days(self, number: int) -> list[Doubt | None]:
        """Live on; what each day's prune said."""
        found = []
        for _ in range(number):
            end = self.now + DAY
            while self.now < end:
                self.capture()
                self.now += self.every
            found.append(self.prune())
        return found


@settings(max_examples=60, deadline=None)
@given(
    POLICIES,
    st.sampled_from([HOUR / 2, HOUR, 3 * HOUR, 6 * HOUR, DAY]),
    st.integers(0, 23),
    st.integers(2, 200),
)
def test_in_its_ordinary_course_nobody_is_asked(
    rules: Rules, every: timedelta, begin: int, proves_each: int
) -> None:
    host = Host(rules, every, BEGIN + begin * HOUR, proves_each=proves_each)
    host.capture()
    assert host.prune() is None  # just installed
    assert host.days(45) == [None] * 45


def test_months_of_hourly_captures_by_the_default_policy() -> None:
    host = Host(USUAL)
    assert host.days(200) == [None] * 200
    assert 30 <= len(host.snapshots) <= 50


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.sampled_from([HOUR, 6 * HOUR, DAY]))
def test_a_policy_that_was_changed_by_mistake_is_asked_about_until_somebody_says_yes(
    before: int, every: timedelta
) -> None:
    host = Host(USUAL, every)
    host.days(before)
    former = {one.id for one in host.snapshots}
    host.rules = LAST_ONE
    # However many come each hour that the new policy may drop.
    assert all(host.days(30))
    assert former <= {one.id for one in host.snapshots}
    assert host.prune(consent=True) is not None
    assert host.days(10) == [None] * 10


def test_a_mistake_that_is_put_right_asks_for_nothing() -> None:
    host = Host(USUAL)
    host.days(20)
    host.rules = LAST_ONE
    assert all(host.days(3))
    host.rules = USUAL
    assert host.days(20) == [None] * 20


def test_a_first_prune_among_what_nobody_knows_is_asked_about() -> None:
    host = Host(USUAL)
    host.snapshots = [Kept(f"old {n}", BEGIN - 5 * DAY - n * HOUR) for n in range(300)]
    found = host.days(5)
    assert all(found)
    assert found[0] is not None
    assert "of the 300 that were not captured under this policy" in found[0].because


def test_a_clock_that_is_years_ahead_is_asked_about() -> None:
    host = Host(USUAL)
    host.days(40)
    former = {one.id for one in host.snapshots}
    host.now += 3000 * DAY
    found = host.days(5)
    assert all(found)
    assert found[0] is not None
    assert "and the last prune by this policy left" in found[0].because
    assert former <= {one.id for one in host.snapshots}


def test_what_is_asked_tells_the_numbers() -> None:
    keep, drop = Decision("a", True, ("x",)), Decision("b", False, ("y",))
    assert doubt([keep, drop], Precedent(), share=0.5) is None
    assert doubt([], Precedent(), share=0.5) is None
    unknown = doubt([keep, drop, drop], Precedent(), share=0.5)
    assert unknown == Doubt(2, 3, "2 of the 3 that were not captured under this policy")
    assert doubt([keep, drop, drop], Precedent(captured=frozenset("ab")), share=0.5) is None
    assert doubt([keep, drop, drop], Precedent(left=2), share=0.5) is None
    less = doubt([keep, drop, drop], Precedent(left=3), share=0.5)
    assert less == Doubt(2, 3, "1 would stay, and the last prune by this policy left 3")
