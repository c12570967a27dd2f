"""Whether a kit is still what a recovery needs, and whether it was drilled: pure tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.model import Verdict
from strongroom.report.check import Check
from strongroom.report.collection import evidence_of
from strongroom.report.kit_check import check_kit, check_kit_drill
from strongroom.report.kit_history import KitScope, KitSecret
from strongroom.report.observation import Chain, Scope

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCOPE = KitScope(
    (KitSecret("a", "env:A"), KitSecret("b", "file:/b")),
    {"a": "1", "b": "2"},
    {"local": "/backup"},
    {"sources": "s", "recovery": "r"},
    100 * DAY,
    True,
)
KIT: dict[str, Any] = {  # Any: JSON values
    "kit": "0123456789abcdef",
    "file": "strongroom-kit-tms-20261126-110000.age",
    "sha256": "aa" * 32,
    "escrow": [
        {"id": "a", "secret": "env:A", "digest": "1"},
        {"id": "b", "secret": "file:/b", "digest": "2"},
    ],
    "repositories": [{"repository": "local", "location": "/backup", "id": "x"}],
    "sections": {"sources": "s", "recovery": "r"},
}


@dataclass(frozen=True)
class Told:
    """A record."""

    seq: int
    at: datetime
    kind: str
    fields: Mapping[str, Any]  # Any: JSON values


def checked(scope: KitScope | None, *records: tuple[timedelta, str, dict[str, Any]]) -> Check:
    told = [
        Told(seq, NOW - ago, kind, fields) for seq, (ago, kind, fields) in enumerate(records, 1)
    ]
    evidence = evidence_of(Scope("tms", kit=scope), Chain(), told)
    (found,) = check_kit(evidence, NOW)
    return found


DRILLED: dict[str, Any] = {"kit": KIT["kit"], "file": KIT["file"], "sha256": KIT["sha256"]}
MADE = (HOUR, "kit", KIT)
UNREAD = replace(SCOPE, digests={})


@pytest.mark.parametrize(
    ("scope", "records", "verdict", "said"),
    [
        (SCOPE, [MADE], "PROVEN", "all is as it holds it: 1 repository, 2 secrets"),
        (SCOPE, [], "UNKNOWN", "no kit was made yet"),
        (replace(SCOPE, digests={"a": "9", "b": "2"}), [MADE], "STALE", "env:A changed"),
        (replace(SCOPE, repositories={"local": "/other"}), [MADE], "STALE", "local moved"),
        (replace(SCOPE, repositories={"local": "/backup", "more": "/m"}), [MADE], "STALE",
         "repository more was added"),
        (replace(SCOPE, repositories={}), [MADE], "STALE", "repository local was removed"),
        (replace(SCOPE, sections={"sources": "s", "recovery": "z"}), [MADE], "STALE",
         "the configuration changed (recovery)"),
        (replace(SCOPE, secrets=(*SCOPE.secrets, KitSecret("c", "env:C"))), [MADE], "STALE",
         "env:C was added"),
        (SCOPE, [MADE, (HOUR, "key-passwd", {"repository": "local"})], "STALE",
         "keys of repository local changed"),
        (SCOPE, [MADE, (HOUR, "key-remove", {"repository": "local"})], "STALE", "keys of"),
        (SCOPE, [MADE, (HOUR, "key-add", {"repository": "elsewhere"})], "PROVEN", "all is as"),
        (SCOPE, [(HOUR, "key-passwd", {"repository": "local"}), MADE], "PROVEN", "all is as"),
        # What cannot be read here was seen by somebody who could, or is not known.
        (UNREAD, [MADE], "PROVEN", "2 secrets"),
        (UNREAD, [(9 * DAY, "kit", KIT)], "UNKNOWN", "is not known: env:A, file:/b"),
        (UNREAD, [(9 * DAY, "kit", KIT), (DAY, "kit-compared", {"digests": {"a": "1", "b": "2"}})],
         "PROVEN", "all is as"),
        (UNREAD, [(9 * DAY, "kit", KIT), (DAY, "kit-compared", {"digests": {"a": "1", "b": "9"}})],
         "STALE", "file:/b changed"),
        (UNREAD, [(9 * DAY, "kit", KIT), (DAY, "kit-compared", {"digests": {"a": "1"}})],
         "UNKNOWN", "is not known: file:/b"),
        (UNREAD, [(9 * DAY, "kit", KIT), (DAY, "kit-compared", {})], "UNKNOWN", "not known"),
        # A look from before the kit says nothing of it.
        (UNREAD, [(10 * DAY, "kit-compared", {"digests": {"a": "1", "b": "9"}}),
                  (9 * DAY, "kit", KIT)], "UNKNOWN", "not known"),
        (replace(SCOPE, has_key=False, digests={}), [MADE], "UNKNOWN", "its key is not in"),
        (SCOPE, [(HOUR, "kit", {})], "STALE", "repository local was added"),
    ],
)  # fmt: skip
def test_a_kit(
    scope: KitScope, records: list[tuple[timedelta, str, dict[str, Any]]], verdict: str, said: str
) -> None:
    found = checked(scope, *records)
    assert (found.verdict.value, said in found.observed) == (verdict, True), found.observed


def test_many_changes_are_counted() -> None:
    scope = replace(SCOPE, digests={"a": "9", "b": "9"}, repositories={"x": "/x", "y": "/y"})
    assert checked(scope, MADE).observed.endswith("; and 2 more")


def test_without_a_kit_nothing_is_asked() -> None:
    evidence = evidence_of(Scope("tms"), Chain(), [])
    assert list(check_kit(evidence, NOW)) == list(check_kit_drill(evidence, NOW)) == []


@pytest.mark.parametrize(
    ("records", "verdict", "said"),
    [
        ([], Verdict.UNKNOWN, "nobody has recovered from the newest kit alone yet"),
        ([(DAY, "PROVEN")], Verdict.PROVEN, "brought back from the kit alone 24 h ago"),
        ([(101 * DAY, "PROVEN")], Verdict.STALE, "101 days ago"),
        ([(DAY, "FAILED")], Verdict.FAILED, "ended FAILED: local: gone"),
        ([(DAY, "UNKNOWN")], Verdict.UNKNOWN, "ended UNKNOWN"),
        ([(DAY, "nonsense")], Verdict.UNKNOWN, "ended UNKNOWN"),
        ([(2 * DAY, "FAILED"), (DAY, "PROVEN")], Verdict.PROVEN, "brought back"),
        ([(2 * DAY, "PROVEN"), (DAY, "FAILED")], Verdict.FAILED, "ended FAILED"),
        ([(-DAY, "PROVEN")], Verdict.UNKNOWN, "ended PROVEN"),
    ],
)
def test_a_drill(records: list[tuple[timedelta, str]], verdict: Verdict, said: str) -> None:
    findings = [{"severity": "failure", "message": "local: gone"}]
    told = [Told(1, NOW - 200 * DAY, "kit", KIT)]
    told += [
        Told(seq, NOW - ago, "kit-drill", {**DRILLED, "verdict": one, "findings": findings})
        for seq, (ago, one) in enumerate(records, 2)
    ]
    evidence = evidence_of(Scope("tms", kit=SCOPE), Chain(), told)
    (found,) = check_kit_drill(evidence, NOW)
    assert found.verdict is verdict
    assert said in found.observed
    if verdict is Verdict.PROVEN:
        assert found.until == NOW + 99 * DAY


OLDER: dict[str, Any] = KIT | {"kit": "fedcba9876543210", "file": "older.age", "sha256": "bb" * 32}
UNOPENED: dict[str, Any] = {"kit": None, "verdict": "FAILED"}
PROVEN_OLDER = (2 * HOUR, "kit-drill", {"kit": OLDER["kit"], "verdict": "PROVEN"})
PROVEN_NEWEST = (HOUR, "kit-drill", {**DRILLED, "verdict": "PROVEN"})


@pytest.mark.parametrize(
    ("records", "verdict", "said"),
    [
        # The newest was not drilled, whatever was.
        ([(DAY, "kit", OLDER), PROVEN_OLDER, MADE], "STALE", "made 1 h ago, was not drilled"),
        ([(DAY, "kit", OLDER), MADE, PROVEN_OLDER], "STALE", "another one brought everything back"),
        ([PROVEN_OLDER, MADE], "STALE", "was not drilled"),
        ([MADE, (HOUR, "kit-drill", {"kit": OLDER["kit"], "verdict": "FAILED"})], "UNKNOWN",
         "nobody has recovered from the newest kit alone yet"),
        ([MADE, (HOUR, "kit-drill", {"verdict": "PROVEN"})], "UNKNOWN", "nobody has"),
        # The newest was, and an older one after it.
        ([(DAY, "kit", OLDER), MADE, PROVEN_NEWEST, PROVEN_OLDER], "PROVEN", "brought back"),
        # Some file that does not open, named by mistake.
        ([MADE, PROVEN_NEWEST, (HOUR, "kit-drill", {
            **UNOPENED, "file": KIT["file"], "sha256": "cc" * 32, "by_hand": True})],
         "PROVEN", "brought back"),
        # The newest does not open: known by its digest, or because the drill took it by itself.
        ([MADE, PROVEN_NEWEST, (HOUR, "kit-drill", {
            **UNOPENED, "file": "copy", "sha256": "aa" * 32, "by_hand": True})],
         "FAILED", "ended FAILED"),
        ([MADE, PROVEN_NEWEST, (HOUR, "kit-drill", {
            **UNOPENED, "file": KIT["file"], "sha256": "cc" * 32, "by_hand": False})],
         "FAILED", "ended FAILED"),
        # Of no kit anything is recorded, as after a move: what was opened tells.
        ([PROVEN_NEWEST], "PROVEN", "brought back"),
        ([(HOUR, "kit-drill", UNOPENED)], "UNKNOWN", "nobody has"),
    ],
)  # fmt: skip
def test_a_drill_tells_of_the_kit_that_was_drilled(
    records: list[tuple[timedelta, str, dict[str, Any]]], verdict: str, said: str
) -> None:
    told = [
        Told(seq, NOW - ago, kind, fields) for seq, (ago, kind, fields) in enumerate(records, 1)
    ]
    (found,) = check_kit_drill(evidence_of(Scope("tms", kit=SCOPE), Chain(), told), NOW)
    assert (found.verdict.value, said in found.observed) == (verdict, True), found.observed
