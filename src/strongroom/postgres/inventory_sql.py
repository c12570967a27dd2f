"""The pieces of SQL from which the inventory's queries are made, and the shape of a query.

What it is for: every catalogue tells names, owners, comments, options and grants in its own way;
these fragments make them the same text everywhere, so that two inventories compare by equality.
What it does not do: run anything. Invariants: a fragment only reads, names no object by OID in
its result, and uses functions that exist in `pg_catalog` since PostgreSQL 13. Each query yields
one row per object: `key` (what a human reads in a finding), optionally `part_of` and `follows`
(keys of other objects), and one column per attribute. NULL means "not set"; an attribute that a
server version does not know is not a column at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ENABLED",
    "FIRST_USER_OID",
    "RELATION_KEY",
    "UNREAD",
    "USER_SCHEMA",
    "Section",
    "comment",
    "exploded_grants",
    "extension_of",
    "grants",
    "member",
    "name",
    "of_extension",
    "operator",
    "options",
    "owner",
    "role",
    "routine",
    "since",
    "user_made",
    "words",
]

# Objects that initdb made have OIDs below this one (FirstNormalObjectId in PostgreSQL's sources).
FIRST_USER_OID = 16384

# pg_dump draws the same line: names that begin with pg_ are reserved for the system.
USER_SCHEMA = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

# Stands for a value that may be a secret, or that the reading role may not see.
UNREAD = "(not read)"

ENABLED = {"O": "enabled", "D": "disabled", "R": "on replica only", "A": "always"}

RELATION_KEY = """CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view '
    WHEN 'f' THEN 'foreign table ' WHEN 'c' THEN 'type ' ELSE 'table ' END
    || format('%I.%I', n.nspname, c.relname)"""


@dataclass(frozen=True, slots=True)
class Section:
    """One query of the inventory: `name` is what a finding calls it when it cannot be read.

    `catalog` and `oid` say where an object of the section stands, if it may need an extension.
    """

    name: str
    sql: str
    catalog: str = ""
    oid: str = ""

    @property
    def query(self) -> bytes:
        """The SQL, with the object's OID as a first column when it is known."""
        if not self.oid:
            return self.sql.encode()
        return self.sql.replace("SELECT ", f"SELECT {self.oid} AS oid, ", 1).encode()


def since(version: int, first: int, column: str) -> str:
    """The column when the server (a major version) has it, else nothing."""
    return column if version >= first else ""


def words(column: str, names: Mapping[str, str]) -> str:
    """The word for a one-letter code of the catalogue; an unknown code stays what it is."""
    cases = " ".join(f"WHEN '{code}' THEN '{word}'" for code, word in names.items())
    return f"CASE {column}::text {cases} ELSE {column}::text END"


def role(oid: str) -> str:
    """A role's name by its OID; PUBLIC for zero."""
    return f"CASE WHEN {oid} = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid({oid})) END"


def owner(oid: str) -> str:
    """The `owner` attribute: the role's plain name."""
    return f"pg_get_userbyid({oid})::text AS owner"


def comment(catalog: str, oid: str, sub: str = "0") -> str:
    """The comment on an object, or NULL."""
    return (
        "(SELECT description FROM pg_description pd"
        f" WHERE pd.classoid = '{catalog}'::regclass AND pd.objoid = {oid} AND pd.objsubid = {sub})"
    )


def grants(acl: str, kind: str, owner_oid: str) -> str:
    """What each role may do, as an object {role: "PRIVILEGE PRIVILEGE*"} without any order of ACLs.

    A NULL list is the default that `acldefault` makes of it. `*` is the grant option. The owner
    is called `(owner)`, so that a change of owner is one difference and not many; a grantor is
    told only when it is not the owner.
    """
    default = f"acldefault('{kind}', {owner_oid})"
    return exploded_grants(f"coalesce({acl}, {default})", owner_oid)


def exploded_grants(acl: str, owner_oid: str) -> str:
    """As `grants`, of a list that is known not to be NULL."""
    return f"""coalesce((SELECT jsonb_object_agg(who, what) FROM (
        SELECT CASE WHEN acl.grantee = {owner_oid} THEN '(owner)' ELSE {role("acl.grantee")} END
            || CASE WHEN acl.grantor = {owner_oid} THEN ''
               ELSE ' granted by ' || {role("acl.grantor")} END AS who,
            string_agg(acl.privilege_type || CASE WHEN acl.is_grantable THEN '*' ELSE '' END, ' '
                ORDER BY acl.privilege_type COLLATE "C") AS what
        FROM aclexplode({acl}) acl GROUP BY 1) g), '{{}}'::jsonb)"""


def options(array: str) -> str:
    """An array of `name=value` as an object, or NULL."""
    return (
        "(SELECT jsonb_object_agg(split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))"
        f" FROM unnest({array}) o)"
    )


def of_extension(catalog: str, oid: str) -> str:
    """Whether the object belongs to an extension (which brings it along itself)."""
    return (
        f"EXISTS (SELECT FROM pg_depend xd WHERE xd.classid = '{catalog}'::regclass"
        f" AND xd.objid = {oid} AND xd.deptype = 'e')"
    )


def extension_of(catalog: str, oid: str) -> str:
    """The key of the extension that the object belongs to, or NULL."""
    return (
        "(SELECT 'extension ' || quote_ident(e.extname) FROM pg_depend xd"
        " JOIN pg_extension e ON e.oid = xd.refobjid"
        f" WHERE xd.classid = '{catalog}'::regclass AND xd.objid = {oid} AND xd.deptype = 'e')"
    )


def user_made(catalog: str, oid: str) -> str:
    """Whether the object was made neither by initdb nor by an extension."""
    return f"{oid} >= {FIRST_USER_OID} AND NOT {of_extension(catalog, oid)}"


def member(catalog: str, oid: str) -> str:
    """The extensions that an object was declared to depend on, sorted (`DEPENDS ON EXTENSION`)."""
    return (
        '(SELECT array_agg(e.extname::text ORDER BY e.extname COLLATE "C") FROM pg_depend xd'
        " JOIN pg_extension e ON e.oid = xd.refobjid"
        f" WHERE xd.classid = '{catalog}'::regclass AND xd.objid = {oid} AND xd.deptype = 'x')"
    )


def name(catalog: str, oid: str) -> str:
    """The qualified name of an object by its OID through its `reg` type, or NULL for zero."""
    return f"nullif({oid}, 0)::{catalog}::text"


def routine(oid: str) -> str:
    """A function with its argument types, or NULL for zero."""
    return f"nullif({oid}::oid, 0)::regprocedure::text"


def operator(oid: str) -> str:
    """An operator with its operand types, or NULL for zero."""
    return f"nullif({oid}::oid, 0)::regoperator::text"
