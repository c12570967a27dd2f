"""Placeholders in settings: `{port}`, `{database.host}`, `{secret.NAME}`, `{uploads}`.

A name in braces is replaced; in double braces it stays as it is, in single ones. All other braces
are left alone, so that JSON and most languages can be written as they are. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# What a drill knows by itself; names of sources and what is declared come on top.
OWN_NAMES: Final = frozenset({
    "port", "home", "mail.host", "mail.port", "sink.host", "sink.port", "sink.url",
})  # fmt: skip
# What a recovery knows in its place: where everything lies, and where the application answers.
RECOVERY_NAMES: Final = frozenset({"directory", "url", "port"})
DATABASE_NAMES: Final = frozenset({
    "database.host", "database.port", "database.name", "database.user", "database.password",
    "database.url", "database.dsn",
})  # fmt: skip
SECRET: Final = "secret."  # noqa: S105 - how such a name begins
ANSWER: Final = "answer."

_NAME: Final = r"[a-z][a-z0-9_.-]*"
_PLACE: Final = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")


class UnknownNameError(LookupError):
    """Nothing is known by the name of a placeholder."""


def names_in(text: str) -> list[str]:
    """The names that are to be replaced, in their order."""
    return [found[2] for found in _PLACE.finditer(text) if found[2]]


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """The text with every name replaced by its value; UnknownNameError for one without."""

    def replace(found: re.Match[str]) -> str:
        if not found[2]:
            return f"{{{found[1]}}}"
        if found[2] not in values:
            raise UnknownNameError(f"nothing is known by the name {{{found[2]}}}")
        return values[found[2]]

    return _PLACE.sub(replace, text)
