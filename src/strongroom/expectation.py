"""What an operator expects of an answer: one noun, and whether an answer meets it.

`config` makes it of text and tells what is nonsense; the proof of a database asks it. Pure: the
moment that ages are counted from is given, and values are PostgreSQL's own text for them. What
cannot be compared does not meet an expectation: less information never helps (invariant I5).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

__all__ = ["COMPARISONS", "Expectation", "Wanted", "as_number"]


class Wanted(StrEnum):
    """The kinds of expectation."""

    SAME = "same"
    DENIED = "denied"
    COMPARED = "compared"
    YOUNGER = "younger"


# Any: both sides are numbers, or both are text.
COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "<>": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation; `text` is how it was written.

    `operator` and `operand` belong to a comparison, `age` to `younger than`.
    """

    text: str
    wanted: Wanted
    operator: str = "="
    operand: str = ""
    age: timedelta = timedelta(0)

    def accepts(self, value: str | None, *, moment: datetime) -> bool:
        """Whether one value meets it; ages are counted back from `moment`.

        Only for comparisons and ages: `same` and `denied` are not about one value.
        """
        if value is None:
            return False
        if self.wanted is Wanted.YOUNGER:
            then = as_moment(value)
            return then is not None and moment - then < self.age
        compare = COMPARISONS[self.operator]
        wanted, seen = as_number(self.operand), as_number(value)
        if wanted is not None and seen is not None:
            return compare(seen, wanted)
        if self.operator in ("=", "!=", "<>"):
            return compare(value, self.operand)
        return False


def as_number(text: str) -> Decimal | None:
    """The number that a text is; None when it is none, or not a finite one."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def as_moment(text: str) -> datetime | None:
    """The moment that a text is: a date or time, in UTC where it names no zone; else None."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
