"""What a load has told of already, so that a proof does not call it a fault once more.

A managed service keeps its own objects, an ordinary role cannot give everything to everybody, and
an operator may want other roles: such differences are told by the load, object by object, and are
no damage. What is this: the decision whether a difference is one of these. What it is not: an
excuse for anything else: rows and definitions beyond it fail as they always do. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from strongroom.model import Finding, Severity, finding
from strongroom.postgres.entry_subject import shown_name
from strongroom.postgres.inventory import CatalogObject, Inventory, Value

__all__ = ["Accepted", "with_other_roles"]

_GRANTS: Final = frozenset({"grants", "granted", "before"})
# Beginnings of keys that hold a role's name; the last one is of very many large objects in one.
_NAMING_ROLES: Final = ("default privileges of {} ", "user mapping for {} ", "large objects of {} ")
_ROLE_SECTIONS: Final = frozenset({"roles", "role settings"})
_GRANTED_BY: Final = " granted by "
_OF_LARGE_OBJECTS: Final = re.compile(r"(?:grants on )?large object \d+$")


@dataclass(frozen=True, slots=True)
class Accepted:
    """`kept` are keys of what the target's database had before; `unsettled` the subjects of what
    has another owner or lacks grants; `role` is the loading role where it is an ordinary one.
    `other_roles` are the names that captured roles have on the target."""

    kept: frozenset[str] = frozenset()
    unsettled: frozenset[str] = frozenset()
    role: str = ""
    other_roles: Mapping[str, str] = field(default_factory=dict)

    def is_own(self, one: CatalogObject) -> bool:
        """Whether the object, or what it is a part of, is the target's own."""
        return one.key in self.kept or one.part_of in self.kept

    def is_extra(self, one: CatalogObject) -> bool:
        """Whether nobody captured it because it is the target's own."""
        if one.section == "memberships":
            # Whoever makes a role belongs to it, from version 16 on.
            return bool(self.role) and one.attributes.get("member") == self.role
        return self.is_own(one)

    def is_told(self, one: CatalogObject, attribute: str) -> bool:
        """Whether the load told that this attribute of the object is another one."""
        if one.section == "memberships":
            return bool(self.role) and one.attributes.get("member") == self.role
        if one.section == "large objects":
            if one.key.startswith("large objects of "):  # many, in one
                return any(map(_OF_LARGE_OBJECTS.match, self.unsettled))
            return self._is_told_of(one, attribute)
        if one.key == "database":
            return attribute in ("owner", "grants") and any(
                subject.startswith("database ") for subject in self.unsettled
            )
        return self._is_told_of(one, attribute)

    def _is_told_of(self, one: CatalogObject, attribute: str) -> bool:
        if attribute == "owner":
            return one.key in self.unsettled
        if attribute in _GRANTS:
            return bool({f"grants on {one.key}", one.key} & self.unsettled)
        return attribute == "roles" and one.key in self.unsettled

    def softened(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings, those about rows and values of the target's own as what they are."""
        for one in findings:
            keys = {one.subject, f"table {one.subject}", f"sequence {one.subject}"}
            if one.severity is Severity.FAILURE and keys & self.kept:
                yield finding("target-own", one.subject, one.message)
            else:
                yield one


def with_other_roles(captured: Inventory, other: Mapping[str, str]) -> Inventory:
    """The captured definitions under the names that roles have on the target.

    What belongs to the renamed roles themselves, such as attributes and memberships, is the
    target's matter and is left out.
    """
    if not other:
        return captured
    objects: dict[str, CatalogObject] = {}
    for one in captured.objects.values():
        if _is_about(one, other):
            continue
        key = _key(one.key, other)
        objects[key] = replace(one, key=key, attributes=_attributes(one, other))
    mentioned = frozenset(other.get(name, name) for name in captured.mentioned_roles)
    mentioned -= frozenset(other.values())
    return replace(captured, objects=objects, mentioned_roles=mentioned)


def _is_about(one: CatalogObject, other: Mapping[str, str]) -> bool:
    if one.section == "memberships":
        return bool({one.attributes.get("member"), one.attributes.get("group")} & other.keys())
    if one.section in _ROLE_SECTIONS:
        return any(one.key in (f"role {shown_name(name)}", _settings_key(name)) for name in other)
    return False


def _settings_key(name: str) -> str:
    return f"settings of role {shown_name(name)} in this database"


def _key(key: str, other: Mapping[str, str]) -> str:
    for before, after in other.items():
        for pattern in _NAMING_ROLES:
            start = pattern.format(shown_name(before))
            if key.startswith(start):
                return pattern.format(shown_name(after)) + key.removeprefix(start)
    return key


def _attributes(one: CatalogObject, other: Mapping[str, str]) -> dict[str, Value]:
    changed = dict(one.attributes)
    owner = changed.get("owner")
    if isinstance(owner, str):
        changed["owner"] = other.get(owner, owner)
    roles = changed.get("roles")
    if one.section == "policies" and isinstance(roles, list):
        renamed: list[Value] = []
        renamed += sorted({_quoted(str(role), other) for role in roles})
        changed["roles"] = renamed
    for attribute in _GRANTS & changed.keys():
        grants = changed[attribute]
        if isinstance(grants, dict):
            changed[attribute] = _grants(grants, other, str(changed.get("owner", "")))
    return changed


def _grants(grants: Mapping[str, Value], other: Mapping[str, str], owner: str) -> dict[str, Value]:
    """Grants by their new holders; those of two that become one are joined."""
    joined: dict[str, set[str]] = {}
    for who, what in grants.items():
        holder, by, grantor = who.partition(_GRANTED_BY)
        holder, grantor = _quoted(holder, other), _quoted(grantor, other)
        holder = "(owner)" if holder == shown_name(owner) else holder
        by = "" if grantor == shown_name(owner) else by + grantor
        joined.setdefault(holder + by, set()).update(str(what).split())
    return {
        who: " ".join(sorted(what - {one.rstrip("*") for one in what if one.endswith("*")}))
        for who, what in joined.items()
    }


def _quoted(name: str, other: Mapping[str, str]) -> str:
    plain = name[1:-1].replace('""', '"') if name[:1] == '"' else name
    return shown_name(other[plain]) if plain in other else name
