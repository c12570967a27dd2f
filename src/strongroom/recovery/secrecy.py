"""What must not be repeated of secrets that somebody else may print: every form of them. Pure.

Rather too much is hushed than too little, but not every plain word or number of a settings file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["forms_of", "secrets_in"]

_LEAST: Final = 4  # what is shorter is found in everything
_LEAST_LINE: Final = 8
_ASSIGNED: Final = re.compile(
    r"""\s*(?:export\s+)?["']?([\w.-]+)["']?\s*(?:=>|[=:])\s*(\S.*?)[,;]?\s*$"""
)
_NAMED: Final = re.compile(
    r"pass|pwd|secret|token|credential|key|salt|dsn|auth|cert|(?<![a-z])sk(?![a-z])", re.IGNORECASE
)
_QUOTED: Final = re.compile(r""""((?:\\.|[^"\\])+)"|'((?:\\.|[^'\\])+)'""")
# What a settings file is full of: words, numbers, places, hosts, addresses without a login.
_ORDINARY: Final = re.compile(
    r"[A-Za-z_ -]*|[\d.,:]+|[~.]?/[^\s@]*|[a-z]+://[^\s@]*|[\w-]+(\.[\w-]+)+"
)
_PLACEHOLDER: Final = re.compile(r"\{[\w.-]+\}|\$\{?\w+\}?")


def forms_of(secrets: Iterable[str]) -> list[str]:
    """The secrets as they are, line by line, and as they stand in URLs and JSON; longest first."""
    found: set[str] = set()
    for secret in secrets:
        lines = [one.strip() for one in secret.splitlines()]
        whole = [secret, secret.strip(), *(one for one in lines if len(one) >= _LEAST_LINE)]
        for one in whole:
            found |= {one, json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]}
            for encoded in (quote(one), quote(one, safe=""), quote_plus(one)):
                found |= {encoded, re.sub("%[0-9A-F]{2}", lambda at: at[0].lower(), encoded)}
    return sorted((one for one in found if len(one) >= _LEAST), key=lambda one: (-len(one), one))


def secrets_in(text: str) -> list[str]:
    """What may be secret in a settings file: the values of its assignments that are called so or
    look so, and what stands in quotes beside such a name."""
    return list(dict.fromkeys(one for line in text.splitlines() for one in _in_line(line)))


def _in_line(line: str) -> Iterator[str]:
    given = _ASSIGNED.fullmatch(line)
    if given is not None:
        value = given[2].strip()
        bare = value[1:-1] if value[:1] in ('"', "'") and value[-1:] == value[:1] else value
        is_named = _NAMED.search(given[1]) is not None
        looks_so = len(bare) >= _LEAST_LINE and not _ORDINARY.fullmatch(bare)
        if (is_named or looks_so) and not _PLACEHOLDER.fullmatch(bare):
            yield bare
    if _NAMED.search(line):
        for found in _QUOTED.finditer(line):
            text = found[1] or found[2]
            is_name = re.fullmatch(r"[A-Za-z]+(_[A-Za-z]+)*", text) and _NAMED.search(text)
            if not is_name:
                yield text
