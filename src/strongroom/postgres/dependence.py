"""Why an answer may differ in a faithful copy: what a question's text leads to.

A copy is asked at another moment, in another session, under another name; rows of materialised
views are made anew in it, and some tables come back without rows. A question that depends on one of
these is no evidence against a copy. What it leads to is followed by names alone, through views,
policies and functions of the captured inventory: so rather too far than not far enough. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from strongroom.postgres.inventory import CatalogObject, Inventory
from strongroom.postgres.manifest import Coverage

__all__ = ["Dependence", "without_rows"]

_WORD: Final = re.compile(r"[^\W\d][\w$]*")
_MOMENT: Final = re.compile(
    r"\b(?:current_(?:date|time|timestamp)|localtime(?:stamp)?)\b"
    r"|\b(?:now|age|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(",
    re.IGNORECASE,
)
_CHANCE: Final = re.compile(
    r"\b(?:random|gen_random_uuid|uuid_generate_v\d\w*|uuidv\d|pg_backend_pid|txid_\w+"
    r"|pg_current_\w+)\s*\(|\btablesample\b|\bctid\b",
    re.IGNORECASE,
)
_SESSION: Final = re.compile(
    r"\b(?:session_user|system_user|current_catalog)\b"
    r"|\b(?:current_database|inet_\w+|version|pg_\w*size\w*)\s*\(",
    re.IGNORECASE,
)
_REASONS: Final = (
    (_MOMENT, "it looks at the clock"),
    (_CHANCE, "it depends on chance, or on where rows lie"),
    (_SESSION, "it depends on the server, the database's name or who logged in"),
)
_ROUTINES: Final = ("function ", "procedure ", "aggregate ", "window function ")
# What a question reads of an object, or runs.
_TEXTS: Final = ("definition", "body", "sql_body", "using")


class Dependence:
    """What the objects of one captured database lead to. `absent` are the labels of tables that
    come back without rows, each with the reason."""

    def __init__(self, inventory: Inventory, absent: Mapping[str, str]) -> None:
        self._texts: dict[str, list[str]] = {}
        self._excuses: dict[str, str] = {
            _last(label): f"{label} comes back without its rows: {why}"
            for label, why in absent.items()
        }
        for one in inventory.objects.values():
            self._add(one)

    def excuse(self, statement: str) -> str:
        """Why the statement's answer may differ in a faithful copy; "" when nothing is known."""
        visited: set[str] = set()
        waiting = [statement]
        while waiting:
            text = waiting.pop()
            for pattern, reason in _REASONS:
                if pattern.search(text):
                    return reason
            for name in _names(text):
                if name in visited:
                    continue
                visited.add(name)
                if name in self._excuses:
                    return self._excuses[name]
                waiting += self._texts.get(name, ())
        return ""

    def _add(self, one: CatalogObject) -> None:
        key = one.key
        if key.startswith("materialized view "):
            label = key.removeprefix("materialized view ")
            reason = f"it reads the materialised view {label}, whose rows a restore makes anew"
            self._excuses.setdefault(_last(label), reason)
        inherits = one.attributes.get("inherits")
        for parent in inherits if isinstance(inherits, list) else ():
            # Who reads a partitioned table reads its partitions.
            self._texts.setdefault(_last(str(parent)), []).append(_last(key))
        if one.section == "policies":
            owner = one.part_of
        elif key.startswith(("view ", *_ROUTINES)):
            owner = key
        else:
            return
        texts = [text for name in _TEXTS if isinstance(text := one.attributes.get(name), str)]
        self._texts.setdefault(_last(owner.partition("(")[0]), []).extend(texts)


def without_rows(coverage: Iterable[Coverage]) -> dict[str, str]:
    """The labels of tables that are not captured with their rows, each with the reason."""
    return dict(_without_rows(coverage))


def _without_rows(coverage: Iterable[Coverage]) -> Iterator[tuple[str, str]]:
    for one in coverage:
        if one.kind == "excluded table":
            yield one.subject, "they are left out"
        elif one.kind == "foreign table":
            yield one.subject, "they live on another server"
        elif one.kind == "unlogged table" and one.status != "captured":
            yield one.subject, "a standby has none"


def _names(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _last(label: str) -> str:
    """The last name of a qualified one, as `_names` finds it in a text."""
    words = _WORD.findall(label)
    return words[-1].lower() if words else label.lower()
