"""The nouns that every package knows; frozen, without behaviour beyond their own rules.

A `Finding` is one thing that a check saw. Its meaning, severity and remedy stand in the registry
(`findings`), so that a code cannot mean two things. Verdicts are monotone (invariant I5): taking
a finding's evidence away never makes a verdict better, and what was not checked is UNKNOWN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from strongroom.findings import FINDING_KINDS, Severity

__all__ = [
    "AlertEvent",
    "Digests",
    "Finding",
    "Piece",
    "PieceDigest",
    "Progress",
    "RecoveryPoint",
    "SetDigest",
    "Severity",
    "Silent",
    "SnapshotRef",
    "Stage",
    "Verdict",
    "finding",
    "judge",
]


class Verdict(StrEnum):
    """What is known about a snapshot or an objective, worst last in `SEVERITY_ORDER`."""

    PROVEN = "PROVEN"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"
    FAILED = "FAILED"


class AlertEvent(StrEnum):
    """Why somebody is told of a check, the most urgent first."""

    NEW = "new"
    WORSE = "worse"
    FLAPPING = "flapping"
    BETTER = "better"
    REMINDER = "reminder"
    RECOVERED = "recovered"
    # It was not well while nobody was to be told or could be, and is well again.
    PASSED = "passed"
    # It is not looked at any more.
    WITHDRAWN = "withdrawn"
    # Somebody wants to know whether alerts arrive.
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check saw, e.g. `content-differs` on `public.invoices`.

    `subject` names the object; `message` says what was expected and what was observed.
    """

    code: str
    subject: str
    message: str

    @property
    def severity(self) -> Severity:
        return FINDING_KINDS[self.code].severity

    def as_json(self) -> dict[str, str]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "message": self.message,
        }


def finding(code: str, subject: str, message: str) -> Finding:
    """A `Finding` whose code is certainly registered; a KeyError is a bug of the caller."""
    FINDING_KINDS[code]
    return Finding(code, subject, message)


def judge(findings: Iterable[Finding], *, checked: int) -> Verdict:
    """The verdict of one proof: `checked` counts the comparisons that were really made.

    FAILED when any finding is a failure; else UNKNOWN when something could not be checked or
    nothing was; else PROVEN. Warnings and notes never change a verdict.
    """
    severities = {one.severity for one in findings}
    if Severity.FAILURE in severities:
        return Verdict.FAILED
    if Severity.UNKNOWN in severities or checked == 0:
        return Verdict.UNKNOWN
    return Verdict.PROVEN


@dataclass(frozen=True, slots=True)
class Piece:
    """One stored piece of a stream: its plaintext length in bytes and its SHA-256 (32 bytes).

    A restored stream is cut at these lengths and hashed: the proof of content (invariant I1).
    """

    length_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Digests:
    """What identifies a content as it was captured, and as it was read back: 64 hex digits each.

    `of` says what went in. `observed` comes from what was really read and is never a copy of
    `expected`, which comes from the snapshot alone. Where content counts as the same in another
    order (rows of a table), and was compared so, the captured order stands for both.
    """

    expected: str
    observed: str
    of: str

    @property
    def agree(self) -> bool:
        return self.expected == self.observed


class PieceDigest:
    """One SHA-256 over the lengths and SHA-256s of a stream's pieces, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, length_bytes: int, sha256: bytes) -> None:
        self._hash.update(b"%d:" % length_bytes + sha256)

    def digest(self) -> bytes:
        return self._hash.digest()


class SetDigest:
    """One digest over a set of parts, whatever the order in which they come; memory is constant.

    Each part is hashed to 2048 bits (SHAKE-256) and these are added up: sums of so many bits can't
    be made to agree by choosing parts, as shorter ones can. Not safe for several threads.
    """

    _BITS = 2048

    def __init__(self) -> None:
        self._sum = 0
        self._count = 0

    def add(self, *words: bytes) -> None:
        """One more part of several words; where one word ends matters."""
        part = b"".join(b"%d:" % len(word) + word for word in words)
        hashed = hashlib.shake_256(part).digest(self._BITS // 8)
        self._sum = (self._sum + int.from_bytes(hashed)) % (1 << self._BITS)
        self._count += 1

    def hexdigest(self) -> str:
        whole = b"%d:" % self._count + self._sum.to_bytes(self._BITS // 8)
        return hashlib.sha256(whole).hexdigest()


@dataclass(frozen=True, slots=True)
class Stage:
    """A named part of a run and how long it took, for the stopwatch."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """One committed snapshot of one source in one repository.

    `id` and `tree` are 64 hex digits; `bytes` counts what the source holds, `added_bytes` what
    the repository grew by.
    """

    source: str
    repository: str
    id: str
    tree: str
    captured_at: datetime
    bytes: int
    added_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """The snapshots of all sources that belong together."""

    id: str
    application: str
    begun_at: datetime
    snapshots: tuple[SnapshotRef, ...] = ()
    findings: tuple[Finding, ...] = field(default=())


class Progress(Protocol):
    """Where a run tells how far it is. Cheap, and safe to call from several threads."""

    def begin(self, stage: str, total_bytes: int | None) -> None:
        """A stage starts; `total_bytes` is None when nobody knows how much there is."""
        ...

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        """So many more bytes and items are done."""
        ...

    def end(self) -> None:
        """The stage is over."""
        ...


class Silent:
    """A `Progress` that tells nobody."""

    def begin(self, stage: str, total_bytes: int | None) -> None:
        del stage, total_bytes

    def advance(self, bytes_done: int, items_done: int = 0) -> None:
        del bytes_done, items_done

    def end(self) -> None:
        return None
