"""SQL text from names and values: quoting, and the COPY statements of a captured table.

Names are always quoted, so that no text depends on a server's list of reserved words, and always
qualified, because sessions run with an empty `search_path`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["copy_in", "copy_out", "qualified", "quote_literal", "quote_name"]


def quote_name(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """`value` as an SQL string, whatever `standard_conforming_strings` says."""
    quoted = "'" + value.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


def qualified(schema: str, name: str) -> str:
    """A schema-qualified SQL identifier."""
    return f"{quote_name(schema)}.{quote_name(name)}"


def copy_out(relation: str, columns: Sequence[str], condition: str = "") -> str:
    """The statement whose output is a table's content: its own rows, without those of children.

    `relation` is quoted; `columns` are names; `condition` is SQL that begins with WHERE, which
    only configuration tables of extensions have. A table without columns gives empty lines.
    """
    names = ", ".join(map(quote_name, columns))
    if condition:
        return f"COPY (SELECT {names} FROM ONLY {relation} {condition}) TO STDOUT"
    return f"COPY {relation}{f' ({names})' if names else ''} TO STDOUT"


def copy_in(relation: str, columns: Sequence[str], *, freeze: bool = False) -> str:
    """The statement that takes in what `copy_out` gave.

    `freeze` is for a table that the same transaction has emptied: rows need no later vacuum.
    """
    names = ", ".join(map(quote_name, columns))
    options = " WITH (FREEZE)" if freeze else ""
    return f"COPY {relation}{f' ({names})' if names else ''} FROM STDIN{options}"
