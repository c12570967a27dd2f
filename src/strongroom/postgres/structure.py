"""The structure rung of the proof: are two inventories the same database?

What it is for: `compare_structure` turns what was captured and what is observed into findings. What
it does not do: connect to anything; the reference database is asked for only when text differs.
Invariants: pure; every difference of the inventories is a finding, except where the text here says
why it must not be one; one fault is told once, at the object that a human would name (a missing
table is not told again for each of its columns); what cannot be compared is UNKNOWN, not fine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.errors import StrongroomError
from strongroom.model import Finding, finding
from strongroom.postgres.accepted import Accepted, with_other_roles
from strongroom.postgres.inventory import CatalogObject, Inventory, Value
from strongroom.postgres.inventory_sql import UNREAD

__all__ = ["compare_structure"]

# Expressions that PostgreSQL prints otherwise once they went through a dump: `varchar IN (...)`
# gains casts, and nested ANDs lose parentheses. The reference database decides.
_TEXT: Final = frozenset(
    {
        "arguments", "check", "default", "definition", "expression", "partition_bound",
        "partition_key", "sql_body", "using", "where",
    }
)  # fmt: skip

# What pg_dump does not carry in every case; the reference database decides here, too. Disabled
# foreign-key triggers come back enabled, subscriptions disabled, a child's column takes its storage
# and its NOT NULL name from the parent, and the comment on plpgsql is the server's; newer servers
# write ICU locales another way.
_NOT_CARRIED: Final = frozenset(
    {
        ("collations", "locale"), ("columns", "compression"), ("columns", "not_null_comment"),
        ("columns", "not_null_name"), ("columns", "storage"), ("extensions", "comment"),
        ("subscriptions", "enabled"), ("tables", "disabled_constraint_triggers"),
    }
)  # fmt: skip

# What a newer version does otherwise: from 14 on its own conversion functions take one argument
# more, from 15 on the schema public belongs to a role of the server, unless an older dump gives it
# away, from 17 on partitions share their parent's identity, and 18 streams to a subscription unless
# told otherwise.
_OF_THE_VERSION: Final = frozenset(
    {
        ("columns", "identity"), ("conversions", "function"), ("schemas", "owner"),
        ("subscriptions", "streaming"),
    }
)  # fmt: skip

# Every new database has these, and no dump drops them where the captured one has them not.
_IN_NEW_DATABASES: Final = frozenset({"extension plpgsql", "schema public"})

# The attributes that are made of privileges.
_GRANTS: Final = ("grants", "granted", "before")

# Settings that are not PostgreSQL's own have a dot in their names. Applications keep secrets there.
_SETTINGS: Final = "settings"
_SHOWN_DIGITS: Final = 8

_LONGEST: Final = 120
_BEFORE_DIFFERENCE: Final = 30


@dataclass(frozen=True, slots=True)
class _Difference:
    """One attribute of one object that is not as captured."""

    attribute: str
    expected: Value
    observed: Value


def compare_structure(
    captured: Inventory,
    observed: Inventory,
    reference: Callable[[], Inventory] | None = None,
    *,
    lacking: Collection[str] = (),
    accepted: Accepted | None = None,
) -> list[Finding]:
    """The findings of the structure rung, sorted by subject; empty when nothing differs.

    `reference` gives the inventory of the snapshot's schema, loaded without data on a server of
    the target's major version; it is called at most once, and only when the text of an expression
    differs. Without it such a difference is `structure-unchecked`, and so is what needs an
    extension that the target's server does not have. `lacking` are the keys of more such objects,
    e.g. a collation whose locale that server cannot provide. What is `accepted` was told before.
    """
    accepted = accepted or Accepted()
    captured = with_other_roles(captured, accepted.other_roles)
    comparison = _Comparison(captured, observed, frozenset(lacking), accepted)
    findings = list(comparison.unreadable())
    findings += comparison.existence()
    findings += comparison.untold()
    findings += comparison.definitions(reference)
    return sorted(findings, key=lambda one: (one.subject, one.code))


class _Comparison:
    """The two sides, reduced to what may be compared."""

    def __init__(
        self,
        captured: Inventory,
        observed: Inventory,
        lacking: frozenset[str],
        accepted: Accepted,
    ) -> None:
        self.captured, self.observed, self.accepted = captured, observed, accepted
        self.captured_roles = frozenset(
            str(one.attributes["name"])
            for one in captured.objects.values()
            if one.section == "roles"
        )
        self.skipped = frozenset(captured.unreadable) | frozenset(observed.unreadable)
        self.expected_objects = self._comparable(captured)
        self.observed_objects = self._comparable(observed)
        self.missing = self.expected_objects.keys() - self.observed_objects.keys()
        self.extra = self.observed_objects.keys() - self.expected_objects.keys()
        self.lacking = lacking | {
            key
            for key in self.missing
            if self.expected_objects[key].section == "extensions"
            and self.expected_objects[key].attributes["name"] not in observed.available_extensions
        }
        self.lacking |= {
            key
            for key in self.missing
            if self.expected_objects[key].section == "security labels"
            and f"security label provider {key.split()[2]}" in self.lacking
        }

    def unreadable(self) -> Iterator[Finding]:
        """A finding for each section that one of the sides could not read."""
        for section in sorted(self.skipped):
            for side, inventory in (("captured", self.captured), ("target", self.observed)):
                if section in inventory.unreadable:
                    because = inventory.unreadable[section]
                    message = f"could not be read in the {side} database: {because}"
                    yield finding("structure-unchecked", section, message)

    def existence(self) -> Iterator[Finding]:
        """What is missing and what is extra, without the parts of such objects."""
        for key in self.missing:
            one = self.expected_objects[key]
            if one.part_of in self.missing or one.follows in self.missing:
                continue
            if key in self.accepted.unsettled:
                continue
            lost = f"expected {_summary(one)}, observed nothing"
            if self._lacks(one):
                yield finding("structure-unchecked", key, f"{lost}: {self._lacks(one)}")
            elif one.section == "indexes" and one.attributes.get("valid") is False:
                # pg_dump leaves an index out that a failed CREATE INDEX CONCURRENTLY left behind.
                yield finding("structure-rewritten", key, "an invalid index is not restored")
            else:
                yield finding("structure-missing", key, lost)
        usual = {key for key in self.extra & _IN_NEW_DATABASES if self._is_usual(key)}
        unusual = self.extra - usual
        for key in usual:
            yield finding("structure-rewritten", key, "every new database has it")
        for key in unusual:
            one = self.observed_objects[key]
            if one.part_of in unusual or one.follows in unusual:
                continue
            if self.accepted.is_extra(one):
                yield finding("target-kept", key, "the target had it before, and keeps it")
            else:
                more = f"expected nothing, observed {_summary(one)}"
                yield finding("structure-extra", key, more)

    def untold(self) -> Iterator[Finding]:
        """What a target of another version does not tell of an object, so that nobody compared it.

        A newer one tells all that an older one does, as far as the inventory asks.
        """
        if self.captured.major == self.observed.major:
            return
        for key in self.expected_objects.keys() & self.observed_objects.keys():
            expected = self.expected_objects[key].attributes
            lost = sorted(expected.keys() - self.observed_objects[key].attributes.keys())
            if lost:
                message = f"PostgreSQL {self.observed.major} does not tell {', '.join(lost)}"
                yield finding("structure-unchecked", key, message)

    def _is_usual(self, key: str) -> bool:
        """Whether an object is just as initdb makes it, as far as it has an owner."""
        return self.observed_objects[key].attributes.get("owner") in (None, "(default)")

    def definitions(self, reference: Callable[[], Inventory] | None) -> Iterator[Finding]:
        """What is there on both sides and is not defined alike."""
        differences = {
            key: self._differences(key)
            for key in self.expected_objects.keys() & self.observed_objects.keys()
        }
        settler = _Reference(reference, self.observed)
        for key, all_of_it in differences.items():
            one = self.expected_objects[key]
            told_already = differences.get(one.follows, ())
            own = [each for each in all_of_it if each not in told_already]
            if own:
                yield from self._judge(one, own, settler)

    def _judge(
        self, one: CatalogObject, differences: list[_Difference], settler: _Reference
    ) -> Iterator[Finding]:
        by_code: dict[str, list[str]] = {}
        for each in differences:
            code, because = self._code(one, each, settler)
            text = _describe(each.attribute, each.expected, each.observed)
            by_code.setdefault(code, []).append(text + (f" ({because})" if because else ""))
        for code, texts in by_code.items():
            yield finding(code, one.key, "; ".join(texts))

    def _code(self, one: CatalogObject, each: _Difference, settler: _Reference) -> tuple[str, str]:
        """The finding's code, and a reason where the difference alone does not tell it."""
        if self.accepted.is_own(one):
            return "target-own", "the target had it before, and keeps it"
        if self._lacks(one):
            return "structure-unchecked", self._lacks(one)
        if UNREAD in (each.expected, each.observed):
            return "structure-unchecked", "one of the two was read by a role that may not see it"
        if one.section == "database" and each.attribute.startswith("locale"):
            return "structure-locale", ""
        if one.section == "extensions" and each.attribute == "version":
            # Objects of an extension are its own business: those of another version are unknown.
            return "structure-unchecked", "what the extension consists of was not compared"
        rewritten = each.attribute in _TEXT and None not in (each.expected, each.observed)
        place = (one.section, each.attribute)
        newer = place in _OF_THE_VERSION and self.captured.major != self.observed.major
        if rewritten or newer or place in _NOT_CARRIED:
            return settler.code(one.key, each)
        return "structure-differs", ""

    def _differences(self, key: str) -> list[_Difference]:
        expected = self.expected_objects[key].attributes
        observed = self.observed_objects[key].attributes
        # An attribute that one of the two servers' versions does not know says nothing.
        return [
            _Difference(attribute, expected[attribute], observed[attribute])
            for attribute in sorted(expected.keys() & observed.keys())
            if expected[attribute] != observed[attribute]
            and not self.accepted.is_told(self.expected_objects[key], attribute)
        ]

    def _lacks(self, one: CatalogObject) -> str:
        if one.key in self.lacking and one.section not in ("extensions", "collations"):
            return "it could not be made there"
        lacked = sorted(self.lacking & {one.key, *one.needs})
        return f"the target's server lacks {', '.join(lacked)}" if lacked else ""

    def _comparable(self, side: Inventory) -> dict[str, CatalogObject]:
        """The objects of one side that the other must have alike."""
        objects = {}
        for key, one in side.objects.items():
            if one.section in self.skipped or not self._concerns(one):
                continue
            kept = self._comparable_grants(one)
            if kept.section == "parameters" and not kept.attributes["grants"]:
                continue
            objects[key] = kept
        return objects

    def _concerns(self, one: CatalogObject) -> bool:
        """Whether an object of the cluster matters to this database: see `mentioned_roles`.

        A target's cluster may have more roles; a captured role must not gain or lose anything.
        """
        mentioned = self.captured.mentioned_roles
        if one.section == "roles":
            return one.attributes["name"] in mentioned
        if one.section == "memberships":
            member, group = str(one.attributes["member"]), str(one.attributes["group"])
            if group.startswith("pg_") or one.key in self.captured.objects:
                # Others who belong to a group that only a member mentions get nothing by it.
                return member in mentioned and (group in mentioned or group.startswith("pg_"))
            return group in mentioned and member in self.captured_roles
        return True

    def _comparable_grants(self, one: CatalogObject) -> CatalogObject:
        changed: dict[str, Value] = {}
        for attribute in _GRANTS:
            privileges = one.attributes.get(attribute)
            if not isinstance(privileges, dict):
                continue
            kept = dict(privileges)
            if one.section == "parameters":
                kept = {who: what for who, what in kept.items() if self._is_mentioned(who)}
            if min(self.captured.major, self.observed.major) < 17:
                # MAINTAIN is new in 17, and every owner has it there.
                kept = {who: _without_maintain(str(what)) for who, what in kept.items()}
            if kept != privileges:
                changed[attribute] = kept
        return one.with_attributes({**one.attributes, **changed}) if changed else one

    def _is_mentioned(self, grantee: str) -> bool:
        return grantee == "PUBLIC" or grantee.strip('"') in self.captured.mentioned_roles


class _Reference:
    """The reference inventory, taken when it is first needed."""

    def __init__(self, take: Callable[[], Inventory] | None, observed: Inventory) -> None:
        self._take, self._observed_major = take, observed.major
        self._inventory: Inventory | None = None
        self._unusable = "" if take else "there is no reference database to compare with"

    def code(self, key: str, difference: _Difference) -> tuple[str, str]:
        """How a difference counts that PostgreSQL itself may have made."""
        inventory = self._taken()
        if inventory is None:
            return "structure-unchecked", self._unusable
        one = inventory.objects.get(key)
        if one is None or difference.attribute not in one.attributes:
            return "structure-unchecked", "the reference database does not have it"
        if one.attributes[difference.attribute] == difference.observed:
            return "structure-rewritten", ""
        return "structure-differs", ""

    def _taken(self) -> Inventory | None:
        if self._inventory is None and not self._unusable and self._take:
            try:
                self._inventory = self._take()
            except StrongroomError as error:
                self._unusable = f"no reference database: {error}"
            else:
                if self._inventory.major != self._observed_major:
                    self._unusable = (
                        f"the reference database runs PostgreSQL {self._inventory.major},"
                        f" the target {self._observed_major}"
                    )
        return None if self._unusable else self._inventory


def _without_maintain(privileges: str) -> str:
    return " ".join(one for one in privileges.split() if one.rstrip("*") != "MAINTAIN")


def _summary(one: CatalogObject) -> str:
    """What an object is, in one short line."""
    told = [
        f"{name} {_text(_without_secrets(name, value))}"
        for name, value in one.attributes.items()
        if value not in (None, False, [], {})
    ]
    return _cut(", ".join(told) or "it", 0)


def _describe(attribute: str, expected: Value, observed: Value) -> str:
    """`attribute: expected this, observed that`, shortened around the first difference."""
    expected, observed = (_without_secrets(attribute, one) for one in (expected, observed))
    if isinstance(expected, dict) or isinstance(observed, dict):
        return _describe_entries(attribute, expected, observed)
    if isinstance(expected, list) and isinstance(observed, list):
        lost = [_text(one) for one in expected if one not in observed]
        added = [_text(one) for one in observed if one not in expected]
        if lost or added:
            return (
                f"{attribute}: expected {_cut(', '.join(lost) or 'nothing else', 0)},"
                f" observed {_cut(', '.join(added) or 'nothing else', 0)}"
            )
    first, second = _text(expected), _text(observed)
    begin = _first_difference(first, second)
    return f"{attribute}: expected {_cut(first, begin)}, observed {_cut(second, begin)}"


def _describe_entries(attribute: str, expected: Value, observed: Value) -> str:
    before: Mapping[str, Value] = expected if isinstance(expected, dict) else {}
    after: Mapping[str, Value] = observed if isinstance(observed, dict) else {}
    changes = [
        _describe(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return f"{attribute}: " + (", ".join(changes) or "set in another way")


def _without_secrets(attribute: str, value: Value) -> Value:
    """The value as it may be shown: of foreign settings the beginning of a SHA-256 only."""
    if attribute != _SETTINGS or not isinstance(value, dict):
        return value
    return {
        name: _digest(str(one)) if "." in name and one is not None else one
        for name, one in value.items()
    }


def _digest(text: str) -> str:
    return f"a value of SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:_SHOWN_DIGITS]}…"


def _text(value: Value) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_text(one) for one in value)
        case dict():
            return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
        case _:
            return " ".join(str(value).split()) or "''"


def _first_difference(first: str, second: str) -> int:
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return min(len(first), len(second))


def _cut(text: str, difference: int) -> str:
    """At most `_LONGEST` characters, beginning shortly before the difference."""
    if len(text) <= _LONGEST:
        return text
    begin = max(0, difference - _BEFORE_DIFFERENCE)
    if begin + _LONGEST >= len(text):
        begin = len(text) - _LONGEST
    end = begin + _LONGEST
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")
