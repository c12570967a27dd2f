"""What people are told of checks: a letter with what happened, since when, what it means for a
recovery and what to do; and the same in one line, for services that carry little.

Pure: from values and the time to texts. What checks mean and ask for comes from `CHECK_KINDS`.
Invariant: what others wrote comes through `plain`, so that a letter has the lines that it should.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from strongroom.model import AlertEvent, Verdict
from strongroom.report.check import CHECK_KINDS, Check
from strongroom.report.wording import age, clock, count, plain

__all__ = ["Item", "Letter", "Sender", "Tone", "letter", "trial_letter"]

SHORT_CHARACTERS: Final = 160
_SUBJECT_CHARACTERS: Final = 120
_MOST_OBSERVED: Final = 600
_INDENT: Final = 15


class Tone(StrEnum):
    """How a service may show a letter: its colour or sign."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in words. `subject` is one line; `short` stands for the whole in at most 160
    characters, of those that text messages have, where names allow."""

    subject: str
    body: str
    short: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Sender:
    """What a letter is about, and when and in which time zone it is written."""

    application: str
    environment: str
    time_zone: str
    now: datetime

    @property
    def name(self) -> str:
        return f"{self.application} {self.environment}"


@dataclass(frozen=True, slots=True)
class Item:
    """One check in a letter: `before` is what was told last or, of what came and went, how bad it
    was, between `begun_at` and `ended_at`. `check` is None when it is not looked at any more;
    `changed_at` is when its verdict was first seen to be what it is."""

    key: str
    event: AlertEvent
    verdict: Verdict
    before: Verdict
    check: Check | None
    begun_at: datetime | None = None
    ended_at: datetime | None = None
    changed_at: datetime | None = None

    @property
    def title(self) -> str:
        """`Captured (database)`."""
        name, _, subject = self.key.partition(":")
        kind = CHECK_KINDS.get(name)
        title = kind.title if kind is not None else plain(name)
        return f"{title} ({plain(subject)})" if subject else title

    @property
    def state(self) -> str:
        """The word or words that stand before the title."""
        match self.event:
            case AlertEvent.REMINDER:
                return f"still {self.verdict}"
            case AlertEvent.RECOVERED:
                return "well again"
            case AlertEvent.FLAPPING:
                return "to and fro"
            case AlertEvent.PASSED:
                return "came and went"
            case AlertEvent.WITHDRAWN:
                return "no longer looked at"
            case _:
                return self.verdict.value


# What follows the title.
_WAS: Final = frozenset(
    {AlertEvent.WORSE, AlertEvent.BETTER, AlertEvent.RECOVERED, AlertEvent.WITHDRAWN}
)
_TO_AND_FRO: Final = (
    "It changes to and fro, which is told once. You hear of it again when it has stayed the same "
    "for an hour, or is worse."
)
_WITHDRAWN: Final = (
    "Nobody looks at it any more, since the configuration has changed. How it is now is not known."
)


def letter(sender: Sender, items: Sequence[Item], *, instead_of: str = "") -> Letter:
    """The letter about these checks, which come in the order in which they are told; `instead_of`
    names the route that could not be reached."""
    first, *others = items
    head = f"[{sender.name}] {first.state}: {first.title}"
    lines: list[str] = []
    if instead_of:
        lines += [f"The alert route {plain(instead_of)} could not be reached; this was for it.", ""]
    for item in items:
        lines += [*_item_lines(item, sender), ""]
    lines += [_foot(sender)]
    return Letter(
        _cut(f"{head}{_rest(first, others)}", _SUBJECT_CHARACTERS),
        "\n".join(lines) + "\n",
        _short(sender, first, others),
        _tone(items),
    )


def _rest(first: Item, others: Sequence[Item]) -> str:
    """What follows the first check's name: that there are others, or what was seen of it."""
    if others:
        return f", and {len(others)} more"
    if first.check is None or first.event is AlertEvent.PASSED:
        return ""
    return f": {plain(first.check.observed)}"


def trial_letter(sender: Sender, route: str) -> Letter:
    """The letter that shows that a route works."""
    subject = f"[{sender.name}] Test: alerts reach {plain(route)}"
    lines = [
        "This is a test, asked for with `strongroom alert test`. Nothing is wrong.",
        "",
        _foot(sender),
    ]
    short = _cut(f"{sender.name}: test, alerts reach {plain(route)}", SHORT_CHARACTERS)
    return Letter(subject, "\n".join(lines) + "\n", short, Tone.INFO)


def _item_lines(item: Item, sender: Sender) -> Iterator[str]:
    if item.event is AlertEvent.PASSED:
        yield f"{item.state}  {item.title}: {_passed(item, sender)}"
        return
    was = f", was {item.before}" if item.event in _WAS else ""
    at_worst = f", {item.verdict} at worst" if item.event is AlertEvent.FLAPPING else ""
    yield f"{item.state}  {item.title}{was}{at_worst}"
    check = item.check
    if check is None:
        yield _line("What happened", _WITHDRAWN)
        return
    yield _line("Wanted", check.kind.line)
    yield _line("What happened", _cut(plain(check.observed), _MOST_OBSERVED))
    if item.event is AlertEvent.FLAPPING:
        yield _line("", _TO_AND_FRO)
    yield _line("Since", _since(item, check, sender))
    if item.event is not AlertEvent.RECOVERED:
        yield _line("It means", check.kind.meaning)
        yield _line("What to do", check.kind.remedy)


def _passed(item: Item, sender: Sender) -> str:
    """`it was FAILED from … to …, and is well now`."""
    begun = f" from {_time(item.begun_at, sender)}" if item.begun_at is not None else ""
    ended = f" to {_time(item.ended_at, sender)}" if item.ended_at is not None else ""
    return f"it was {item.before}{begun}{ended}, and is well now"


def _since(item: Item, check: Check, sender: Sender) -> str:
    moment, seen = check.since, ""
    if moment is None:
        moment, seen = item.changed_at, ", when it was first seen so"
    if moment is None:
        return "not known"
    elapsed = sender.now - moment
    ago = f", {age(elapsed)} ago" if elapsed.total_seconds() > 0 else ""
    return f"{_time(moment, sender)}{ago}{seen}"


def _time(moment: datetime, sender: Sender) -> str:
    return f"{clock(moment, sender.time_zone)} {sender.time_zone}"


def _line(head: str, text: str) -> str:
    return f"  {head:<{_INDENT}}{text}"


def _foot(sender: Sender) -> str:
    when = _time(sender.now, sender)
    return (
        f"Strongroom, about {sender.application} ({sender.environment}), {when}. "
        "How all stands: `strongroom status`."
    )


def _tone(items: Sequence[Item]) -> Tone:
    """That of the worst; what is over is good news when nothing else is told."""
    over = {AlertEvent.RECOVERED, AlertEvent.PASSED, AlertEvent.WITHDRAWN}
    open_ones = [one for one in items if one.event not in over]
    if not open_ones:
        recovered = any(one.event is AlertEvent.RECOVERED for one in items)
        return Tone.SUCCESS if recovered else Tone.INFO
    failed = any(one.verdict is Verdict.FAILED for one in open_ones)
    return Tone.FAILURE if failed else Tone.WARNING


def _short(sender: Sender, first: Item, others: Sequence[Item]) -> str:
    text = f"{sender.name}: {first.state}: {first.title}"
    if others:
        text += f" (+{count(len(others), 'other')})"
    # A back-tick or an ellipsis halves what a text message holds.
    return _cut((text + _rest(first, ())).replace("`", "'"), SHORT_CHARACTERS, end="...")


def _cut(text: str, most: int, end: str = "…") -> str:
    return text if len(text) <= most else text[: most - len(end)].rstrip() + end
