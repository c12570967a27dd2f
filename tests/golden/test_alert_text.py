"""What people are told, word for word: for every kind of check and every event.

The texts stand in `alert_texts.txt`. Where a change of them is meant, write them anew with
`python -m tests.golden.test_alert_text` and read the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.model import AlertEvent, Verdict
from strongroom.report.alert_text import (
    SHORT_CHARACTERS,
    Item,
    Letter,
    Sender,
    Tone,
    letter,
    trial_letter,
)
from strongroom.report.check import CHECK_KINDS, Check

TEXTS = Path(__file__).with_name("alert_texts.txt")
NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)
SENDER = Sender("tms", "production", "Asia/Dubai", NOW)
EVENTS = [one for one in AlertEvent if one is not AlertEvent.TEST]

# What such a check would see: its subject, and what it observes when it is not well.
SEEN = {
    "capture": ("database", "the newest capture is 34 h old, 24 h are promised"),
    "size": ("uploads", "1.2 MiB were captured, usual are 1.1 GiB"),
    "errors": ("", "backup ended with status 20 at 02:00: offsite: the store is full"),
    "copies": ("database", "1 copy, 2 are promised"),
    "off-site": ("", "all repositories are on this host"),
    "schedule": ("", "the capture of 02:00 did not run"),
    "agent": ("crm-2", "crm was last heard of 4 min ago, and said PROVEN"),
    "workers": ("", "0 of 2 drill workers there; away: drill-1, drill-2"),
    "delivery": ("operators", "the last message did not arrive: the connection was refused"),
    "proof": ("database", "the newest proof is 9 days old, 7 days are promised"),
    "files": ("uploads", "3 files could not be read"),
    "space": ("local", "4.1 GiB of 500.0 GiB are free, 10% are wanted; full on 2026-11-29"),
    "integrity": ("offsite", "2 packs are damaged"),
    "full-restore": ("", "the application was never started from a recovery point"),
    "rto": ("", "the newest drill took 5 h 10 min, 4 h are promised"),
    "kit": ("", "made 40 days ago, and since then env:DATABASE_URL changed"),
    "kit-drill": ("", "the drill of 2 h ago ended FAILED: offsite: no key opens with it"),
    "retention": ("local", "2 snapshots are gone that the policy keeps"),
    "ledger": ("", "line 812: the line's hash does not fit its text"),
    "anomalies": ("database", "captures are half of what they were"),
    "review": ("", "the last review was 120 days ago, 90 days are wanted"),
}


def check_of(name: str, verdict: Verdict) -> Check:
    subject, observed = SEEN[name]
    well = "all is as it should be"
    return Check(name, subject, verdict, well if verdict is Verdict.PROVEN else observed, SINCE)


def item_of(name: str, event: AlertEvent) -> Item:
    """The item of such an event, with verdicts that fit it."""
    verdict, before = {
        AlertEvent.NEW: (Verdict.FAILED, Verdict.PROVEN),
        AlertEvent.WORSE: (Verdict.FAILED, Verdict.STALE),
        AlertEvent.BETTER: (Verdict.STALE, Verdict.FAILED),
        AlertEvent.REMINDER: (Verdict.UNKNOWN, Verdict.UNKNOWN),
        AlertEvent.RECOVERED: (Verdict.PROVEN, Verdict.FAILED),
        AlertEvent.FLAPPING: (Verdict.FAILED, Verdict.STALE),
        AlertEvent.PASSED: (Verdict.PROVEN, Verdict.STALE),
        AlertEvent.WITHDRAWN: (Verdict.UNKNOWN, Verdict.FAILED),
    }[event]
    check = check_of(name, verdict)
    passed = event is AlertEvent.PASSED
    return Item(
        check.key,
        event,
        verdict,
        before,
        None if event is AlertEvent.WITHDRAWN else check,
        SINCE if passed else None,
        NOW if passed else None,
    )


def texts() -> Iterator[str]:
    """Every kind as a new failure, whole; every event of one kind, whole; all others by their
    subject and short form."""
    for name in CHECK_KINDS:
        yield from _whole(f"{name}, new", letter(SENDER, [item_of(name, AlertEvent.NEW)]))
    for event in EVENTS[1:]:
        yield from _whole(f"capture, {event}", letter(SENDER, [item_of("capture", event)]))
    several = [
        item_of("capture", AlertEvent.WORSE),
        item_of("space", AlertEvent.REMINDER),
        item_of("review", AlertEvent.PASSED),
    ]
    yield from _whole("several, for another", letter(SENDER, several, instead_of="on-call"))
    yield from _whole("test", trial_letter(SENDER, "operators"))
    yield "==== subjects and short forms of all kinds and events"
    for name in CHECK_KINDS:
        for event in EVENTS:
            made = letter(SENDER, [item_of(name, event)])
            yield f"{made.tone:<7} | {made.subject}"
            yield f"        | {made.short}"


def _whole(name: str, made: Letter) -> Iterator[str]:
    yield f"==== {name} ({made.tone})"
    yield f"Subject: {made.subject}"
    yield f"Short: {made.short}"
    yield ""
    yield made.body


def test_all_texts_are_as_they_were_read() -> None:
    assert "\n".join(texts()) + "\n" == TEXTS.read_text(encoding="utf-8")


def test_every_kind_has_an_example() -> None:
    assert SEEN.keys() == CHECK_KINDS.keys()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("name", CHECK_KINDS)
def test_every_letter_says_what_it_must(name: str, event: AlertEvent) -> None:
    item = item_of(name, event)
    made = letter(SENDER, [item])
    kind, subject = CHECK_KINDS[name], SEEN[name][0]
    for text in (made.subject, made.short):
        assert "\n" not in text
        assert "tms production" in text
        assert kind.title in text
        assert subject in text
    assert "tms (production)" in made.body
    assert len(made.short) <= SHORT_CHARACTERS
    assert "`" not in made.short
    if event is AlertEvent.WITHDRAWN or event is AlertEvent.PASSED:
        return
    assert item.check is not None
    assert item.check.observed in made.body
    assert "2026-11-26 02:00:00 Asia/Dubai, 10 h ago" in made.body
    if event is not AlertEvent.RECOVERED:
        assert kind.line in made.body
        assert kind.meaning in made.body
        assert kind.remedy in made.body


@pytest.mark.parametrize(
    ("events", "tone"),
    [
        (["new"], Tone.FAILURE),
        (["better"], Tone.WARNING),
        (["recovered"], Tone.SUCCESS),
        (["recovered", "passed"], Tone.SUCCESS),
        (["passed"], Tone.INFO),
        (["withdrawn"], Tone.INFO),
        (["recovered", "better", "new"], Tone.FAILURE),
        (["reminder", "recovered"], Tone.WARNING),
    ],
)
def test_the_tone_is_that_of_the_worst(events: list[str], tone: Tone) -> None:
    assert letter(SENDER, [item_of("capture", AlertEvent(one)) for one in events]).tone is tone


def test_what_others_wrote_makes_no_line_and_no_endless_letter() -> None:
    hostile = "a\rFAILED \x1b]0;all fine\x07\u202egnp\nPROVEN  uploads" + "x" * 5000
    check = Check("capture", "database", Verdict.FAILED, hostile)
    made = letter(SENDER, [Item(check.key, AlertEvent.NEW, Verdict.FAILED, Verdict.PROVEN, check)])
    assert not set("\r\x1b\x07\u202e") & set(made.subject + made.body + made.short)
    assert len(made.body.splitlines()) == 8
    assert len(made.subject) == 120
    assert "not known" in made.body  # since when
    assert len(made.body) < 1500


def test_since_when_is_told_as_far_as_anybody_noticed() -> None:
    check = Check("review", "", Verdict.UNKNOWN, "nobody says when")
    item = Item(check.key, AlertEvent.NEW, check.verdict, Verdict.PROVEN, check, changed_at=SINCE)
    assert (
        "  Since          2026-11-26 02:00:00 Asia/Dubai, 10 h ago, when it was first seen so\n"
        in letter(SENDER, [item]).body
    )


def test_a_kind_of_another_version_is_told_by_its_name() -> None:
    gone = Item("tides:moon", AlertEvent.WITHDRAWN, Verdict.UNKNOWN, Verdict.STALE, None)
    assert letter(SENDER, [gone]).subject == "[tms production] no longer looked at: tides (moon)"


if __name__ == "__main__":
    TEXTS.write_text("\n".join(texts()) + "\n", encoding="utf-8")
