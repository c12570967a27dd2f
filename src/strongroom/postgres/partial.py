"""A captured database with the rows of some tables only: which parts it has, and how it is seen.

A drill of a large database may restore it in parts. Schema, structure and sequences come whole; of
the rows those of the chosen parts. A part is a table, all partitions of one table together (another
server may place rows in others of them), or all large objects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from strongroom.model import Piece
from strongroom.postgres import layout
from strongroom.postgres.exchange import Block, CapturedFiles
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.manifest import LargeObjects, Manifest, TableRecord
from strongroom.postgres.statement import qualified, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = ["LARGE_OBJECTS", "PartialFiles", "parts_of", "quiet_triggers"]

LARGE_OBJECTS: Final = "large objects"

# Triggers that fire also where those of a replica don't.
_LOUD: Final = b"""
SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')"""
_WORDS: Final = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def parts_of(manifest: Manifest) -> dict[str, int]:
    """The bytes of each part of a captured database by its name, as people write it."""
    sizes: dict[str, int] = {}
    for table in manifest.tables:
        name = _part(table)
        sizes[name] = sizes.get(name, 0) + table.bytes
    if manifest.large_objects.count:
        sizes[LARGE_OBJECTS] = manifest.large_objects.bytes
    return sizes


def _part(table: TableRecord) -> str:
    return ".".join(table.root) if table.root else table.label


@dataclass(frozen=True)
class PartialFiles:
    """A captured database's folder, whose manifest and inventory name the chosen parts only."""

    files: CapturedFiles
    chosen: Collection[str]

    def exists(self, path: str) -> bool:
        return self.files.exists(path)

    def blocks(self, path: str) -> Iterator[Block]:
        return self.files.blocks(path)

    def pieces(self, path: str) -> Sequence[Piece]:
        return self.files.pieces(path)

    def read(self, path: str) -> bytes:
        if path == layout.MANIFEST:
            return self._manifest
        return self._inventory if path == layout.INVENTORY else self.files.read(path)

    @cached_property
    def _inventory(self) -> bytes:
        """Large objects stand among the definitions, and come with their content only."""
        content = self.files.read(layout.INVENTORY)
        if LARGE_OBJECTS in self.chosen:
            return content
        whole = Inventory.from_json(content)
        kept = {key: one for key, one in whole.objects.items() if one.section != LARGE_OBJECTS}
        return replace(whole, objects=kept).to_json()

    @cached_property
    def _manifest(self) -> bytes:
        whole = Manifest.from_json(self.files.read(layout.MANIFEST))
        large = whole.large_objects if LARGE_OBJECTS in self.chosen else LargeObjects()
        tables = tuple(one for one in whole.tables if _part(one) in self.chosen)
        return replace(whole, tables=tables, large_objects=large).to_json()


@contextlib.contextmanager
def quiet_triggers(session: psycopg.Connection) -> Iterator[None]:
    """Rows that are loaded within it set no trigger off, in sessions of the role `replica`."""
    loud = session.execute(_LOUD).fetchall()
    for schema, table, name, _ in loud:
        _alter(session, str(schema), str(table), f"DISABLE TRIGGER {quote_name(str(name))}")
    yield
    for schema, table, name, state in loud:
        change = f"{_WORDS[str(state)]} TRIGGER {quote_name(str(name))}"
        _alter(session, str(schema), str(table), change)


def _alter(session: psycopg.Connection, schema: str, table: str, change: str) -> None:
    session.execute(f"ALTER TABLE ONLY {qualified(schema, table)} {change}".encode())
