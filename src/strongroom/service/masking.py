"""Texts for records, without what could be a secret (invariant I6).

Whoever types a password where none belongs is refused; the ledger must not keep what was typed.
Rather too much is masked than too little: what is kept is read by people, never used again.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.config.value import check_reference, is_reference

HIDDEN: Final = "***"
_MOST_CHARACTERS: Final = 400
# What a reference to a secret begins with, in a command or a template.
_REFERRING: Final = ("$", "{")
_SECRET_WORD: Final = re.compile(
    r"\w*(?:pass|pwd|secret|token|credential|api_?key|access_?key)\w*\s*=\s*(?=\S)", re.IGNORECASE
)
# A value that ends where a space does that is neither in quotes nor escaped, if it surely ends
# there: not one with a quote that nothing closes, a bracket, or a quote of another kind.
_VALUE: Final = re.compile(
    r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\`´(\[{<«»“”„‘’‚‹›])+(?=\s|$)""",
    re.DOTALL,
)


def masked(text: str) -> str:
    """A word of a command line or a setting: logins in URLs lose their password, and nothing
    follows the `=` of what is called a secret."""
    if "://" in text:
        return _without_secret_words(_without_login(text))
    return _without_secret_words(_without_logins(text))


def masked_prose(text: str) -> str:
    """What a person has written, masked word by word: of what is called a secret the one word
    after the `=`, or what stands there in quotes; all that follows where its end is not sure."""
    kept, rest = "", _without_logins(text)
    while found := _SECRET_WORD.search(rest):
        kept += rest[: found.end()] + HIDDEN
        value = _VALUE.match(rest, found.end())
        rest = rest[value.end() :] if value is not None else ""
    return kept + rest


def masked_commands(text: str) -> str:
    """Lines that somebody wrote to be run or read, each masked like prose. Where what follows the
    `=` is a variable of the shell or a placeholder it stays: it only leads to the secret."""
    return "\n".join(map(_masked_command, text.split("\n")))


def _masked_command(line: str) -> str:
    named = list(_SECRET_WORD.finditer(line))
    if all(line[one.end() :].lstrip("\"'")[:1] in _REFERRING for one in named):
        return _without_logins(line)
    return masked_prose(line)


def masked_reference(text: str) -> str:
    """Where a secret is kept; of a `command:` the program alone. What is no reference is hidden
    whole, since it may be the secret; so is what follows `env:` or `keyring:` and can't belong
    there."""
    if not is_reference(text):
        return HIDDEN
    try:
        check_reference(text)
    except ValueError:
        return f"{text.partition(':')[0]}:{HIDDEN}"
    if text.startswith("command:"):
        program, *arguments = text.split(maxsplit=1) or [text]
        return f"{program} …" if arguments else program
    return cut(text)


def cut(text: str) -> str:
    """At most 400 characters; bytes that are no text are escaped."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _without_logins(text: str) -> str:
    return re.sub(r"\S+", lambda word: _without_login(word[0]), text)


def _without_login(text: str) -> str:
    before, at, host = text.rpartition("@")
    if not at or before.startswith("mailto:"):
        return text
    scheme, separator, login = before.partition("://")
    if not separator:
        scheme, login = "", before
    user, colon, _ = login.partition(":")
    if colon:
        return f"{scheme}{separator}{user}:{HIDDEN}@{host}"
    # Of other servers than PostgreSQL's a name alone may be a token.
    if separator and not scheme.startswith("postgres"):
        return f"{scheme}{separator}{HIDDEN}@{host}"
    return text


def _without_secret_words(text: str) -> str:
    found = _SECRET_WORD.search(text)
    return text[: found.end()] + HIDDEN if found else text
