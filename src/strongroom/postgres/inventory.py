"""What a database consists of: the full definition of every object in its catalogue.

What it is for: one `Inventory` is taken with the snapshot at capture and kept in it; another is
taken of a restored database; `structure` compares the two. What it does not do: judge, write, or
read rows, passwords and secrets. Invariants: everything is read in one transaction under pinned
settings (an empty `search_path`, so that names are qualified); equal definitions give equal JSON;
what could not be read is listed in `unreadable`, never left out in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from strongroom.errors import IntegrityError

if TYPE_CHECKING:
    import psycopg

    from strongroom.postgres.inventory_sql import Section

__all__ = ["CatalogObject", "Inventory", "Value", "take_inventory"]

Value: TypeAlias = "bool | int | str | list[Value] | dict[str, Value] | None"

_FORMAT: Final = 1

# Text that PostgreSQL makes of expressions and values depends on these.
_PINNED: Final = {
    "search_path": "''",
    "quote_all_identifiers": "off",
    "timezone": "'UTC'",
    "datestyle": "'ISO, MDY'",
    "intervalstyle": "'postgres'",
    "bytea_output": "'hex'",
    "extra_float_digits": "1",
    "lc_monetary": "'C'",
    "xmloption": "'content'",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "row_security": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}


@dataclass(frozen=True, slots=True)
class CatalogObject:
    """One object: `key` is its identity as a human reads it, e.g. `policy own on public.t`.

    `part_of` is the key of the object that cannot exist without it, `follows` that of the object
    from which it takes its definition (a partition's column); each "" when there is none. `needs`
    are the keys of extensions and collations without which it cannot exist. An attribute of None
    is not set; one that is absent is unknown to that server's version.
    """

    key: str
    section: str
    attributes: Mapping[str, Value]
    part_of: str = ""
    follows: str = ""
    needs: tuple[str, ...] = ()

    def with_attributes(self, attributes: Mapping[str, Value]) -> CatalogObject:
        """The same object with other attributes."""
        return replace(self, attributes=attributes)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects of one database by key, and the sections that could not be read, with the cause.

    `server_version` is `server_version_num`; `mentioned_roles` are the roles that the database
    cannot do without: those that it names, those that they belong to, and their members.
    `available_extensions` are those that the server could create.
    """

    server_version: int
    objects: Mapping[str, CatalogObject]
    mentioned_roles: frozenset[str] = frozenset()
    available_extensions: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def major(self) -> int:
        return self.server_version // 10000

    def __len__(self) -> int:
        return len(self.objects)

    def to_json(self) -> bytes:
        """The inventory as UTF-8 JSON; equal inventories give equal bytes."""
        sections: dict[str, dict[str, dict[str, object]]] = {}
        for one in self.objects.values():
            entry: dict[str, object] = {"attributes": one.attributes}
            if one.part_of:
                entry["part_of"] = one.part_of
            if one.follows:
                entry["follows"] = one.follows
            if one.needs:
                entry["needs"] = one.needs
            sections.setdefault(one.section, {})[one.key] = entry
        whole = {
            "format": _FORMAT,
            "server_version": self.server_version,
            "mentioned_roles": sorted(self.mentioned_roles),
            "available_extensions": sorted(self.available_extensions),
            "unreadable": self.unreadable,
            "objects": sections,
        }
        text = json.dumps(whole, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode()

    @classmethod
    def from_json(cls, data: bytes) -> Inventory:
        """What `to_json` wrote; IntegrityError snapshot-damaged when it is something else."""
        try:
            whole = json.loads(data)
            if whole["format"] != _FORMAT:
                raise ValueError(f"format {whole['format']} is not known")
            return cls(
                server_version=int(whole["server_version"]),
                objects={
                    key: CatalogObject(
                        key,
                        section,
                        dict(entry["attributes"]),
                        str(entry.get("part_of", "")),
                        str(entry.get("follows", "")),
                        tuple(map(str, entry.get("needs", ()))),
                    )
                    for section, entries in whole["objects"].items()
                    for key, entry in entries.items()
                },
                mentioned_roles=frozenset(map(str, whole["mentioned_roles"])),
                available_extensions=frozenset(map(str, whole["available_extensions"])),
                unreadable={str(k): str(v) for k, v in whole["unreadable"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"this is not an inventory of a database ({error})", code="snapshot-damaged"
            ) from error


def take_inventory(connection: psycopg.Connection) -> Inventory:
    """The full definition of every object of the connection's current database.

    Reads within the caller's transaction when one is open (with its snapshot, and what it has not
    committed yet), else in a read-only snapshot of its own. Leaves no trace in the session. A
    section that cannot be read (privileges, a broken view) is listed in `unreadable`. Raises
    psycopg's OperationalError when the connection is lost or the work is cancelled.
    """
    from psycopg.pq import TransactionStatus

    idle = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.transaction(force_rollback=True):
        if idle:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for setting, value in _PINNED.items():
            connection.execute(f"SET LOCAL {setting} = {value}".encode())
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            # Such a database sends its bytes as they are, and any of them is a LATIN1 character.
            connection.execute("SET LOCAL client_encoding = 'LATIN1'")
        return _read(connection)


def _read(connection: psycopg.Connection) -> Inventory:
    from strongroom.postgres.inventory_access import NEEDS, access_sections, large_objects
    from strongroom.postgres.inventory_definitions import definition_sections
    from strongroom.postgres.inventory_relations import relation_sections

    version = connection.info.server_version
    major = version // 10000
    ((count,),) = _rows(connection, "SELECT count(*) FROM pg_largeobject_metadata")
    sections = [
        *access_sections(major),
        *definition_sections(major),
        *relation_sections(major),
        large_objects(count),
    ]
    needs = {(catalog, oid): tuple(needed) for catalog, oid, needed in _rows(connection, NEEDS)}
    read, unreadable = _read_sections(connection, sections)
    objects: dict[str, CatalogObject] = {}
    for section in sections:
        for row in read.get(section.name, ()):
            one = _object(section, row, needs)
            if one.key in objects:
                unreadable[section.name] = f"two objects are called {one.key}"
            objects[one.key] = one
    available = _rows(connection, "SELECT name::text FROM pg_available_extensions")
    return Inventory(
        version,
        objects,
        _mentioned_roles(connection, objects),
        frozenset(str(name) for (name,) in available),
        unreadable,
    )


def _object(
    section: Section, row: dict[str, Any], needs: Mapping[tuple[str, int], tuple[str, ...]]
) -> CatalogObject:
    key, part_of, follows = row.pop("key"), row.pop("part_of", None), row.pop("follows", None)
    needed = needs.get((section.catalog, row.pop("oid", 0)), ())
    needed = tuple(one for one in needed if one != key)
    return CatalogObject(key, section.name, row, part_of or "", follows or "", needed)


# Any, here and below: what a column holds is known to the query alone.
def _rows(connection: psycopg.Connection, sql: str) -> list[tuple[Any, ...]]:
    from psycopg.rows import tuple_row

    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(sql.encode()).fetchall()


def _read_sections(
    connection: psycopg.Connection, sections: list[Section]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """The rows of each section by its name, and why a section could not be read."""
    import psycopg
    from psycopg.rows import dict_row
    from psycopg.types.json import set_json_loads

    with connection.cursor(row_factory=dict_row) as cursor:
        if connection.info.encoding == "iso8859-1":
            set_json_loads(_load_latin1, cursor)
        try:
            with connection.transaction():
                return {one.name: cursor.execute(one.query).fetchall() for one in sections}, {}
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError:
            # Some section cannot be read: find out which, one by one.
            return _read_one_by_one(connection, cursor, sections)


def _read_one_by_one(
    connection: psycopg.Connection,
    cursor: psycopg.Cursor[dict[str, Any]],
    sections: list[Section],
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    import psycopg

    read: dict[str, list[dict[str, Any]]] = {}
    unreadable: dict[str, str] = {}
    for section in sections:
        try:
            with connection.transaction():
                read[section.name] = cursor.execute(section.query).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.DatabaseError as error:
            unreadable[section.name] = str(error).strip().splitlines()[0]
    return read, unreadable


def _load_latin1(data: str | bytes) -> object:
    return json.loads(data if isinstance(data, str) else data.decode("latin-1"))


def _mentioned_roles(
    connection: psycopg.Connection, objects: Mapping[str, CatalogObject]
) -> frozenset[str]:
    """The roles that are named, everything that they belong to, and everyone who belongs to them.

    Roles that begin with `pg_` come with every server: they are followed upwards only.
    """
    from strongroom.postgres.inventory_access import MENTIONED_ROLES

    named = {str(name) for (name,) in _rows(connection, MENTIONED_ROLES)}
    named |= {str(one.attributes["owner"]) for one in objects.values() if "owner" in one.attributes}
    pairs = [
        (str(one.attributes["member"]), str(one.attributes["group"]))
        for one in objects.values()
        if one.section == "memberships"
    ]
    members = _reached(named, ((group, member) for member, group in pairs))
    found = members | _reached(members, pairs)
    existing = {str(one.attributes["name"]) for one in objects.values() if one.section == "roles"}
    return frozenset(found & existing)


def _reached(start: Iterable[str], edges: Iterable[tuple[str, str]]) -> set[str]:
    """What can be reached from `start`; edges go from their first to their second end."""
    onward: dict[str, list[str]] = {}
    for begin, end in edges:
        if not begin.startswith("pg_"):
            onward.setdefault(begin, []).append(end)
    reached, waiting = set(start), list(start)
    while waiting:
        for end in onward.get(waiting.pop(), ()):
            if end not in reached:
                reached.add(end)
                waiting.append(end)
    return reached
