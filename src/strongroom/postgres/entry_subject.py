"""What an entry of a schema script is about, in the words of the inventory.

One object has one name in all findings of a restore, whether its statement was refused or its
definition compared. Pure; an entry of a kind that nobody foresaw keeps pg_dump's own words.
"""

from __future__ import annotations

import re
from typing import Final

from strongroom.postgres.schema_script import Entry

__all__ = ["shown_name", "subject_of", "table_of"]

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*")
# Names that PostgreSQL quotes although they look plain: its keywords but the unreserved ones.
_KEYWORDS: Final = frozenset(
    {
        "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
        "authorization", "between", "bigint", "binary", "bit", "boolean", "both", "case",
        "cast", "char", "character", "check", "coalesce", "collate", "collation", "column",
        "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
        "current_role", "current_schema", "current_time", "current_timestamp",
        "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct", "do",
        "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for",
        "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping",
        "having", "ilike", "in", "initially", "inner", "inout", "int", "integer",
        "intersect", "interval", "into", "is", "isnull", "join", "json_array",
        "json_arrayagg", "json_object", "json_objectagg", "lateral", "leading", "least",
        "left", "like", "limit", "localtime", "localtimestamp", "merge_action", "national",
        "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif",
        "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps",
        "overlay", "placing", "position", "precision", "primary", "real", "references",
        "returning", "right", "row", "select", "session_user", "setof", "similar",
        "smallint", "some", "substring", "symmetric", "system_user", "table", "tablesample",
        "then", "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union",
        "unique", "user", "using", "values", "varchar", "variadic", "verbose", "when",
        "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists",
        "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
        "xmltable",
    }
)  # fmt: skip
# Their names begin with that of their table.
_OF_TABLES: Final = {
    "POLICY": "policy", "TRIGGER": "trigger", "RULE": "rule", "CONSTRAINT": "constraint",
    "FK CONSTRAINT": "constraint", "FK VALIDATION": "constraint", "CHECK CONSTRAINT": "constraint",
}  # fmt: skip
_ON: Final = {"ACL": "grants", "COMMENT": "comment", "SECURITY LABEL": "security label"}
_WORDS: Final = {
    "DOMAIN": "type", "SHELL TYPE": "type", "FOREIGN DATA WRAPPER": "foreign-data wrapper",
    "PROCEDURAL LANGUAGE": "language", "INDEX ATTACH": "index", "TABLE ATTACH": "table",
    "SEQUENCE OWNED BY": "sequence", "DEFAULT": "default of",
}  # fmt: skip


def shown_name(name: str) -> str:
    """A name as PostgreSQL writes it: quoted where it has to be."""
    if _PLAIN.fullmatch(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def subject_of(entry: Entry) -> str:
    """The object's key in an inventory, or what comes nearest."""
    return _decoded(_subject(entry))


def _subject(entry: Entry) -> str:
    kind, name = entry.kind, entry.name
    schema = f"{shown_name(entry.schema)}." if entry.schema else ""
    if kind in _OF_TABLES:
        table, own = _parted(entry)
        return f"{_OF_TABLES[kind]} {shown_name(own)} on {schema}{shown_name(table)}"
    if kind == "ROW SECURITY":
        return f"row security of table {schema}{shown_name(name)}"
    if kind in ("ACL", "COMMENT", "SECURITY LABEL"):
        what, _, rest = name.partition(" ")
        if what == "COLUMN":
            rest = ".".join(map(shown_name, rest.split(".", 1)))
            return f"{_ON[kind]} on column {schema}{rest}"
        return f"{_ON[kind]} on {what.lower()} {schema}{_signature(rest)}"
    if kind == "DEFAULT ACL":
        place = f" in schema {shown_name(entry.schema)}" if entry.schema else ""
        kinds = name.rpartition(" ")[2].lower()
        return f"default privileges of {shown_name(entry.owner)}{place} for {kinds}"
    if kind == "PUBLICATION TABLE":
        publication, _, table = name.partition(" ")
        return f"publication {shown_name(publication)} table {schema}{shown_name(table)}"
    if kind == "USER MAPPING":
        found = re.fullmatch(r"USER MAPPING (.*) SERVER (.*)", name, re.DOTALL)
        if found:
            return f"user mapping for {shown_name(found[1])} server {shown_name(found[2])}"
    if kind == "CAST":
        return name[:1].lower() + name[1:].replace("CAST", "cast", 1)
    return f"{_WORDS.get(kind, kind.lower())} {schema}{_signature(name)}"


def table_of(entry: Entry) -> str:
    """The key of the table that the entry's object belongs to; "" when it belongs to none."""
    schema = f"{shown_name(entry.schema)}." if entry.schema else ""
    if entry.kind in _OF_TABLES:
        return _decoded(f"table {schema}{shown_name(_parted(entry)[0])}")
    if entry.kind == "ROW SECURITY":
        return _decoded(f"table {schema}{shown_name(entry.name)}")
    if entry.kind == "DEFAULT":
        return _decoded(f"table {schema}{shown_name(_parted(entry)[0])}")
    if entry.kind in ("ACL", "COMMENT", "SECURITY LABEL"):
        what, _, rest = entry.name.partition(" ")
        if what == "COLUMN":
            return _decoded(f"table {schema}{shown_name(rest.partition('.')[0])}")
        return _decoded(f"{what.lower()} {schema}{_signature(rest)}")
    return ""


def _parted(entry: Entry) -> tuple[str, str]:
    """The names of table and object, which stand in one with a space between them."""
    text = "".join(entry.statements)
    places = [place for place, sign in enumerate(entry.name) if sign == " "]
    for place in places:
        table, own = entry.name[:place], entry.name[place + 1 :]
        if shown_name(table) in text and shown_name(own) in text:
            return table, own
    table, _, own = entry.name.partition(" ")
    return table, own


def _signature(name: str) -> str:
    """A name, with the types of a routine's arguments as they are."""
    plain, bracket, arguments = name.partition("(")
    if bracket and arguments.endswith(")"):
        return f"{shown_name(plain)}({arguments}"
    return shown_name(name)


def _decoded(text: str) -> str:
    """Text that was read as latin-1, as people wrote it."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")
