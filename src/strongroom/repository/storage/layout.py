"""Which names belong to the layout of a repository."""

from __future__ import annotations

from typing import Final

FOLDERS: Final = ("data", "index", "keys", "locks", "snapshots")
_HEX: Final = frozenset("0123456789abcdef")


def is_id(name: str) -> bool:
    """Whether this is an id: 64 lower-case hex digits."""
    return len(name) == 64 and _HEX.issuperset(name)


def is_layout_name(name: str) -> bool:
    """Whether this is a file of a folder, at the very place where it belongs."""
    folder, _, rest = name.partition("/")
    if folder == "data":
        prefix, _, rest = rest.partition("/")
        return len(prefix) == 2 and is_id(rest) and rest.startswith(prefix)
    return folder in FOLDERS and is_id(rest)
