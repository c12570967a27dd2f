"""What `kit` says about itself: age seals with a passphrase or for recipients, never with both.

Looks at plain values, as `relation` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.config.fault import Fault

_HERE: Final = "kit"


def check_kit(given: object) -> Iterator[Fault]:
    """The faults of the section, with their places."""
    if not isinstance(given, dict):
        return
    recipients = given.get("recipients")
    is_known = given.get("identity") is not None
    if recipients and given.get("passphrase") is not None and not is_known:
        message = "a kit that is sealed for recipients has none, unless it is that of `identity`"
        yield Fault((_HERE, "passphrase"), message)
    if is_known and not recipients:
        message = "a secret key opens what is sealed for `recipients`, and there are none"
        yield Fault((_HERE, "identity"), message)
    escrow = given.get("escrow")
    if isinstance(escrow, list):
        for place, one in enumerate(escrow):
            path = (_HERE, "escrow", place)
            if one in escrow[:place]:
                yield Fault(path, "this stands here twice")
            if one is not None and one == given.get("passphrase"):
                yield Fault(path, "the kit would hold its own passphrase: keep it elsewhere")
