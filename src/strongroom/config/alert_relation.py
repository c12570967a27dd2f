"""What alerts say about sources, repositories and each other.

Looks at plain values, as `relation` does: what has the wrong shape is a fault already, and is
passed over here.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Final

from strongroom.config.fault import Fault, nearest
from strongroom.config.value import parse_duration

_HERE: Final = "alerts"
# Whoever is told more often no longer reads it.
_SHORTEST_REPEAT: Final = timedelta(minutes=5)


def check_alerts(given: object, known: AbstractSet[str]) -> Iterator[Fault]:
    """The faults of the section, with their places; `known` has all sources and repositories."""
    if not isinstance(given, list):
        return
    places: dict[str, int] = {}
    for place, body in enumerate(given):
        if not isinstance(body, dict):
            continue
        name = body.get("name")
        called = str(name) if isinstance(name, str | int) else str(place + 1)
        if called in places:
            message = f"this is what alerts[{places[called]}] is called; records could mean either"
            yield Fault((_HERE, place, "name"), message)
        places.setdefault(called, place)
        about = body.get("about")
        for number, subject in enumerate(about if isinstance(about, list) else ()):
            if isinstance(subject, str) and subject not in known:
                yield Fault(
                    (_HERE, place, "about", number),
                    "there is no repository or source of this name",
                    nearest=nearest(subject, known),
                )
        if _is_too_often(body.get("repeat")):
            yield Fault((_HERE, place, "repeat"), "this must be at least 5m")


def _is_too_often(repeat: object) -> bool:
    if not isinstance(repeat, str):
        return False
    try:
        return parse_duration(repeat) < _SHORTEST_REPEAT
    except ValueError:
        return False  # what is no duration at all is a fault of its own
