"""Words for a shell: quoting, settings' placeholders as variables, and where secrets are kept.

Pure. Invariant: no secret stands in what is made here, only the way to it (invariant I6).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

from strongroom.config.placeholder import fill_in, names_in

__all__ = ["default", "filled", "kept_at", "quoted", "secret", "variable"]

_EDGE: Final = "\0"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_ @%+=:,./…-]*")
_OBEYED: Final = re.compile(r'[\\"$`]')


def quoted(text: str) -> str:
    """One word that means exactly this text."""
    return shlex.quote(text)


def default(text: str) -> str:
    """The text as what stands behind `:-` or `:?` in a variable within double quotes."""
    # Quotes mean different things there in different shells, and not in a command's own words.
    return text if _PLAIN.fullmatch(text) else f"$(printf %s {quoted(text)})"


def variable(name: str, suffix: str = "") -> str:
    """The name of a variable for something that is called so: `OFFSITE_PASSWORD`."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", f"{name}_{suffix}" if suffix else name)
    return words.upper() if not words[:1].isdigit() else f"_{words.upper()}"


def filled(text: str, values: Mapping[str, str]) -> str:
    """One word that is the text with its placeholders replaced by what the shell makes of their
    values, such as `${TARGET}`; LookupError for one that has none."""
    if not names_in(text):
        return quoted(fill_in(text, {}))
    marked = fill_in(text, {name: f"{_EDGE}{value}{_EDGE}" for name, value in values.items()})
    parts = marked.split(_EDGE)
    escaped = (
        part if place % 2 else _OBEYED.sub(lambda found: "\\" + found[0], part)
        for place, part in enumerate(parts)
    )
    return f'"{"".join(escaped)}"'


def secret(reference: str, fallback: str) -> str:
    """What the shell makes of a secret that is kept there; where only a program of ours gets at it,
    the variable `fallback` that somebody has to set."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        return f"${{{rest}}}"
    if scheme == "file":
        return f"$(cat {quoted(rest)})"
    return f"${{{fallback}}}"


def kept_at(reference: str) -> str:
    """Where a secret is kept, for people; of a command the program alone, since arguments may tell
    too much."""
    if not reference.startswith("command:"):
        return reference
    program, *arguments = reference.split(maxsplit=1)
    return f"{program} …" if arguments else program
