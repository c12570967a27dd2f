"""A finding as a record tells it, and whether it says that a capture is not complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from strongroom.findings import FINDING_KINDS, INCOMPLETE, Severity
from strongroom.report.field import mappings, text

__all__ = ["Noticed", "found_in", "noticed", "severity"]

# How many copies there must be is another question than whether a capture is complete.
_OF_COPIES: Final = frozenset({"repository-failed", "repository-behind"})


@dataclass(frozen=True, slots=True)
class Noticed:
    """A finding as a record tells it; its code may be one that this version doesn't know."""

    code: str
    severity: Severity
    subject: str
    message: str

    @property
    def meaning(self) -> str:
        kind = FINDING_KINDS.get(self.code)
        return kind.meaning if kind else "This version does not know what it means."

    @property
    def remedy(self) -> str:
        kind = FINDING_KINDS.get(self.code)
        return kind.remedy if kind else "Ask the version that recorded it."

    @property
    def is_grave(self) -> bool:
        """Whether it says that something failed or could not be checked."""
        return self.severity in (Severity.FAILURE, Severity.UNKNOWN)

    @property
    def is_lack(self) -> bool:
        """Whether something that was to be captured is not in the snapshot, or may not be."""
        return self.code not in _OF_COPIES and (self.is_grave or self.code in INCOMPLETE)


def severity(value: Any) -> Severity:  # Any: JSON values
    """What can't be read counts as something that could not be checked."""
    return next((one for one in Severity if one.value == value), Severity.UNKNOWN)


def noticed(value: Any) -> Iterator[Noticed]:  # Any: JSON values
    """The findings of a list."""
    for one in mappings(value):
        yield Noticed(
            text(one.get("code")),
            severity(one.get("severity")),
            text(one.get("subject")),
            text(one.get("message")),
        )


def found_in(source: str, value: Any) -> Iterator[Noticed]:  # Any: JSON values
    """Those of a capture's findings that are about a source. Older records don't say which one a
    finding is about: then what something lacks counts for all of them."""
    for one, found in zip(mappings(value), noticed(value), strict=True):
        if one.get("source") == source or ("source" not in one and found.is_lack):
            yield found
