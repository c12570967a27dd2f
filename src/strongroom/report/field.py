"""Fields of a record as values, however old or odd the record is.

A field that is missing or is not what it should be counts as not known: an empty text, None, or
nothing of a list. So reading never fails, and never makes more of a record than it says (I5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from strongroom.model import Verdict

__all__ = ["begin", "mapping", "mappings", "moment", "number", "real", "text", "texts", "verdict"]

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})  # Any: JSON values

# Any below: JSON values, whatever a line holds


def text(value: Any) -> str:
    """The text, or an empty one."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def number(value: Any) -> int | None:
    """The whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def real(value: Any) -> float | None:
    """The number, or None: infinity and what is no number are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e18 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, Mapping) else _NONE


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """The items of a list, each as a mapping."""
    return map(mapping, value if isinstance(value, list) else [])


def moment(value: Any) -> datetime | None:
    """The moment, or None: one without a time zone is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def verdict(value: Any) -> Verdict | None:
    """The verdict, or None."""
    return Verdict(value) if text(value) in Verdict.__members__ else None


def begin(at: datetime, fields: Mapping[str, Any]) -> datetime:
    """When a run began whose record was written at its end; that moment itself where it doesn't
    say."""
    told = moment(fields.get("begun_at"))
    if told is not None:
        return told
    seconds = real(fields.get("seconds"))
    # Longer ago than a year is no run's length; nobody needs to know which nonsense it is.
    took = timedelta(seconds=seconds) if seconds is not None and 0 <= seconds < 3e7 else timedelta()
    return at - took
