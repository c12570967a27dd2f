"""The JSON documents of a repository: what their decoders share, so that each of them is total.

A document may come from another tool, from a defect, or from somebody with a key who means harm.
Whatever its bytes are, taking it apart answers or raises one of MALFORMED, which its decoder turns
into an IntegrityError that names the file.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

MALFORMED: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_MOST_CHARACTERS: Final = 200
_BROKEN: Final = re.compile("[\ud800-\udfff]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)


def parse_json(content: bytes) -> Any:  # Any: JSON of any shape
    """The value of a document in UTF-8; one of MALFORMED when it is none."""
    return _DECODER.decode(content.decode())


def why(error: BaseException) -> str:
    """Why a document is none: a short line, whatever the document holds."""
    told = f"no {error}" if isinstance(error, KeyError) else str(error)
    shown = "".join(one if one.isprintable() else "\ufffd" for one in told[:_MOST_CHARACTERS])
    return shown if len(told) <= _MOST_CHARACTERS else f"{shown}…"


def plain_text(value: object) -> str:
    """A text; half of a surrogate pair becomes U+FFFD, as Go reads it: nobody could print it."""
    if not isinstance(value, str):
        raise ValueError("what should be a text is none")
    return value if value.isascii() else _BROKEN.sub("\ufffd", value)


def checked_id(value: str) -> str:
    """The id itself, 64 lower-case hex digits; ValueError or TypeError when it is none."""
    if len(content := bytes.fromhex(value)) != 32 or content.hex() != value:
        raise ValueError(f"{value!r} is not an id")
    return value
