"""What is looked at to say how things stand: one table of checks, and one check's outcome.

Checklists, health, metrics, alerts and the exit status all render the same checks, so they cannot
disagree. What each check is called, means and asks for stands in `CHECK_KINDS`; how it comes to its
verdict is decided in `checking`. The lines of the checklists are those of the procedures.

The table also says what a check makes of the whole: a copy that does not come back makes it FAILED;
a copy that is not off-site no worse than STALE, since something is not as promised; an overdue
review is told and costs no verdict. All that is monotone (I5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from strongroom.model import Verdict

__all__ = ["CHECK_KINDS", "WORST_LAST", "Check", "CheckKind", "Checklist", "Exempt", "worst"]

WORST_LAST: Final = (Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; PROVEN of none."""
    return max(verdicts, key=WORST_LAST.index, default=Verdict.PROVEN)


class Checklist(StrEnum):
    """The procedures' lists."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class CheckKind:
    """`line` is what the procedures ask for; `meaning` what it means for a recovery when it is not
    well; `remedy` begins with a verb. `unit` is that of a check's value and limit, if it has any.
    `most` is the worst that it makes of the whole, `unknown_as` what it does when it is UNKNOWN.
    """

    name: str
    title: str
    line: str
    lists: frozenset[Checklist]
    meaning: str
    remedy: str
    unit: str = ""
    most: Verdict = Verdict.FAILED
    unknown_as: Verdict = Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Check:
    """What came of one check.

    `name` is its kind's, `subject` a source, a repository, or empty for the whole. `observed` says
    what was seen, with the numbers; `since` since when it is as it is, None when nobody knows;
    `until` when it gets worse by itself, if time alone does that; `records` are the numbers of the
    ledger's records that say so.
    """

    name: str
    subject: str
    verdict: Verdict
    observed: str
    since: datetime | None = None
    value: float | None = None
    limit: float | None = None
    until: datetime | None = None
    records: tuple[int, ...] = ()

    @property
    def kind(self) -> CheckKind:
        return CHECK_KINDS[self.name]

    @property
    def key(self) -> str:
        """What tells it from all others, now and later."""
        return f"{self.name}:{self.subject}" if self.subject else self.name

    @property
    def is_well(self) -> bool:
        return self.verdict is Verdict.PROVEN

    @property
    def of_whole(self) -> Verdict:
        """What it makes of the whole."""
        own = self.kind.unknown_as if self.verdict is Verdict.UNKNOWN else self.verdict
        return min(own, self.kind.most, key=WORST_LAST.index)


@dataclass(frozen=True, slots=True)
class Exempt:
    """A check that is not made, and why: it does not apply here, or nobody could answer it. It is
    no good news, and told beside the checks."""

    name: str
    subject: str
    because: str

    @property
    def kind(self) -> CheckKind:
        return CHECK_KINDS[self.name]


# Not as promised, while what there is may well come back.
_STALE: Final = Verdict.STALE
_DAILY: Final = frozenset({Checklist.DAILY})
_WEEKLY: Final = frozenset({Checklist.WEEKLY})
_MONTHLY: Final = frozenset({Checklist.MONTHLY})
# The procedures know neither fleet nor kit.
_NONE: Final[frozenset[Checklist]] = frozenset()

CHECK_KINDS: Final[dict[str, CheckKind]] = {
    one.name: one
    for one in (
        CheckKind(
            "capture",
            "Captured",
            "The backup was created",
            _DAILY,
            "What changed since the newest capture would be lost.",
            "Run `strongroom backup` and correct what it says.",
            "seconds",
        ),
        CheckKind(
            "size",
            "Size",
            "The backup's size is reasonable",
            _DAILY,
            "A part may be missing from the newest capture, or something may have gone wrong in "
            "the application.",
            "Compare it with the one before: `strongroom diff`.",
            "bytes",
            unknown_as=_STALE,
        ),
        CheckKind(
            "errors",
            "Runs",
            "The logs are free of errors",
            _DAILY,
            "What failed was not done, and will be missing when it is needed.",
            "Read `strongroom log` and correct what it names.",
        ),
        CheckKind(
            "copies",
            "Copies",
            "Copies are kept in as many places as promised",
            _DAILY,
            "If the place that has it is lost, the newest capture is lost with it.",
            "Make the repository reachable; `strongroom copy` brings it up to date.",
            "copies",
        ),
        CheckKind(
            "off-site",
            "Off-site",
            "A copy is kept on another host than production's",
            _DAILY,
            "A fire, a theft or an attacker that takes the host takes all copies with it.",
            "Configure a repository on another host.",
            "copies",
            most=_STALE,
        ),
        CheckKind(
            "schedule",
            "Schedule",
            "What is to run by itself did run",
            _DAILY,
            "Nothing is captured, checked or proven by itself.",
            "Start the service: `systemctl start strongroom`.",
            "seconds",
            most=_STALE,
        ),
        CheckKind(
            "agent",
            "Agent",
            "Every host of the fleet is heard of, and well",
            _NONE,
            "Whether that application is captured and proven is not known, or it is not well.",
            "Run `strongroom status` on that host; without an answer, look at its service.",
            "seconds",
        ),
        CheckKind(
            "workers",
            "Drill workers",
            "Somebody is there to drill",
            _NONE,
            "Drills wait, and proofs grow old.",
            "Start a drill worker: `systemctl start strongroom-drills`.",
            "workers",
            most=_STALE,
        ),
        CheckKind(
            "delivery",
            "Alerts",
            "Alerts reached somebody",
            _DAILY,
            "Nobody may know of what else is told here.",
            "Try `strongroom alert test` and correct the address.",
            most=_STALE,
        ),
        CheckKind(
            "proof",
            "Restored",
            "A restore was tested",
            _WEEKLY,
            "Whether the copies come back is not known any more.",
            "Run `strongroom drill`.",
            "seconds",
        ),
        CheckKind(
            "files",
            "Files complete",
            "The backup of the files is complete",
            _WEEKLY,
            "These files would be missing after a recovery.",
            "Let Strongroom read what it names, then run `strongroom backup`.",
            unknown_as=_STALE,
        ),
        CheckKind(
            "space",
            "Space",
            "The stores have space left",
            _WEEKLY,
            "When a store is full, nothing new is kept there.",
            "Enlarge the store, or keep less and run `strongroom prune`.",
            "bytes",
            unknown_as=_STALE,
        ),
        CheckKind(
            "integrity",
            "Integrity",
            "The stored copies were read and are whole",
            _WEEKLY,
            "Damage in a store may be found only when the copy is needed.",
            "Run `strongroom check --read-data=10%`, and `strongroom repair` for what it finds.",
            "seconds",
            unknown_as=_STALE,
        ),
        CheckKind(
            "full-restore",
            "Whole application",
            "The whole application was restored",
            _MONTHLY,
            "Whether everything comes back together, and the application with it, is not known.",
            "Run `strongroom drill --application`, or `strongroom drill` where nothing says how it "
            "starts.",
            "seconds",
            unknown_as=_STALE,
        ),
        CheckKind(
            "rto",
            "Recovery time",
            "Recovery takes no longer than promised",
            _MONTHLY,
            "After a disaster the application would be away for longer than promised.",
            "See what takes the time: `strongroom log --action drill`.",
            "seconds",
        ),
        CheckKind(
            "kit",
            "Recovery kit",
            "The recovery kit holds what a recovery needs",
            _NONE,
            "On the day on which this host is gone, keys and secrets may be gone with it.",
            "Run `strongroom kit create`, and destroy the old kit.",
            "seconds",
            most=_STALE,
            unknown_as=_STALE,
        ),
        CheckKind(
            "kit-drill",
            "Lost-key drill",
            "Everything was brought back from the recovery kit alone",
            _NONE,
            "Whether the kit opens the repositories is not known.",
            "Run `strongroom kit drill`; if it fails, make a new kit.",
            "seconds",
            unknown_as=_STALE,
        ),
        CheckKind(
            "retention",
            "Retention",
            "What is kept is what the policy says",
            _MONTHLY,
            "Old copies may be missing, or may be kept for longer than they may be.",
            "Run `strongroom prune --dry-run` and see its reasons.",
            most=_STALE,
        ),
        CheckKind(
            "ledger",
            "Ledger",
            "The record of all runs is whole",
            _MONTHLY,
            "What the records say cannot be relied on.",
            "Run `strongroom log --verify`.",
            most=Verdict.UNKNOWN,
            unknown_as=_STALE,
        ),
        CheckKind(
            "anomalies",
            "Anomalies",
            "The logs show nothing unusual",
            _MONTHLY,
            "Something changed that nobody may have meant to change.",
            "Read `strongroom log` from that day on.",
            most=Verdict.PROVEN,
        ),
        CheckKind(
            "review",
            "Review",
            "The procedures were reviewed",
            _MONTHLY,
            "The procedures may describe a system that is not there any more.",
            "Read the procedures through, then set `review.last`.",
            "seconds",
            most=Verdict.PROVEN,
        ),
    )
}
