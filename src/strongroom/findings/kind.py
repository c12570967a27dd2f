"""What a kind of finding is: how it counts, and what people are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How a finding counts: see `model.judge`. UNKNOWN means that it could not be checked."""

    NOTE = "note"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What a code means, where it comes from and what to do about it."""

    code: str
    severity: Severity
    meaning: str
    cause: str
    remedy: str
