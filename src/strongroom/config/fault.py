"""What is wrong with a configuration: every fault at once, each with its place and remedy.

Turns pydantic's findings into sentences. A value that was given is never repeated, unless it had to
be one of a few known words: what was typed in the wrong place may be a secret (invariant I6).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from strongroom.config.value import format_size
from strongroom.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path: TypeAlias = tuple[str | int, ...]

_SIZE_FROM: Final = 2**20  # a limit this large is one of bytes

_WANTED: Final = {
    "string_type": "text is wanted here",
    "int_type": "a whole number is wanted here",
    "int_parsing": "a whole number is wanted here",
    "int_from_float": "a whole number is wanted here",
    "bool_type": "true or false is wanted here",
    "bool_parsing": "true or false is wanted here",
    "dict_type": "settings (name: value) are wanted here",
    "model_type": "settings (name: value) are wanted here",
    "model_attributes_type": "settings (name: value) are wanted here",
    "tuple_type": "a list is wanted here",
    "list_type": "a list is wanted here",
    "time_delta_type": "a duration such as 30s, 24h or 7d is wanted here",
    "path_type": "a path is wanted here",
    "missing": "this setting is required",
    "too_short": "at least one is required here",
    "string_too_short": "this is empty",
    "date_type": "a date such as 2026-01-28 is wanted here",
    "date_parsing": "a date such as 2026-01-28 is wanted here",
    "date_from_datetime_parsing": "a date such as 2026-01-28 is wanted here",
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong: where, what, and the spelling that was probably meant."""

    path: Path
    message: str
    line: int | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (f"line {self.line}" if self.line else "", format_path(self.path))
            if part
        )
        meant = f"; did you mean `{self.nearest}`?" if self.nearest else ""
        return f"{place}: {self.message}{meant}" if place else f"{self.message}{meant}"


class ConfigFaultsError(ConfigError):
    """A configuration with faults. `faults` holds every one, in the order of the file."""

    def __init__(self, faults: Iterable[Fault], *, subject: str) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line or 0, str(fault))))
        count = len(self.faults)
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{count} fault{'s' * (count != 1)}{lines}", subject=subject)


def format_path(path: Path) -> str:
    """`("alerts", 0, "to")` as people write it: `alerts[0].to`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None when nothing comes close."""
    found = difflib.get_close_matches(str(word).lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def from_pydantic(
    details: Sequence[ErrorDetails], value: object, names_at: Callable[[Path], Iterable[str]]
) -> list[Fault]:
    """The same findings as faults; `names_at` lists the settings that exist at a path."""
    faults = []
    for detail in details:
        path = _real_path(detail["loc"], value, detail["type"])
        message, meant = _explain(detail, path, names_at)
        faults.append(Fault(path, message, nearest=meant))
    return faults


def _real_path(location: Sequence[str | int], value: object, kind: str) -> Path:
    """The place in the file: pydantic's own has the names of union members in between."""
    path: list[str | int] = []
    here = value
    for place, part in enumerate(location):
        last = place == len(location) - 1
        if _holds(here, part):
            here = here[part]  # type: ignore[index]  # as _holds has made sure
        elif not (last and kind == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _holds(here: object, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def _explain(
    detail: ErrorDetails, path: Path, names_at: Callable[[Path], Iterable[str]]
) -> tuple[str, str | None]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"]), None
    if kind == "extra_forbidden":
        return "there is no such setting", nearest(path[-1], names_at(path[:-1]))
    if kind == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"this must be {_either(words)}", nearest(detail["input"], words)
    if kind == "union_tag_invalid":
        words = [word.strip("'") for word in context["expected_tags"].split(", ")]
        return f"`kind` must be {_either(words)}", nearest(context["tag"], words)
    if kind == "union_tag_not_found":
        return "`kind` is required: postgres, files or git", None
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"this must match {context['pattern']}"), None
    if kind in ("greater_than_equal", "less_than_equal"):
        side = "at least" if kind == "greater_than_equal" else "at most"
        limit = next(iter(context.values()))
        text = format_size(limit) if limit >= _SIZE_FROM else str(limit)
        return f"this must be {side} {text}", None
    return _WANTED.get(kind, detail["msg"]), None


_PATTERNS: Final = {
    r"^[a-z0-9][a-z0-9_-]{0,62}$": "a name has small letters, digits, - and _, 63 at most",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "the name has letters, digits, dots, - and _ only",
    "^/": "this begins with a slash",
}


def _either(words: Sequence[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
