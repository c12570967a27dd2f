"""Where everything lies in the folder of a database's snapshot, made for people with psql alone.

Names of schemas and tables become file names that every file system holds: what it might refuse or
confuse is percent-encoded as UTF-8 bytes, and names that differ only in case or in Unicode form
get a number. The manifest records each table's file, so the names carry no meaning of their own.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

__all__ = [
    "ANSWERS",
    "DATABASE_SQL",
    "INVENTORY",
    "LARGE_OBJECTS_SQL",
    "MANIFEST",
    "POST_DATA_SQL",
    "PRE_DATA_SQL",
    "RESTORE_SCRIPT",
    "ROLES_SQL",
    "SCHEMA_DUMP",
    "SEQUENCES_SQL",
    "FileNames",
]

MANIFEST: Final = "manifest.json"
INVENTORY: Final = "inventory.json"
ANSWERS: Final = "answers.json"
ROLES_SQL: Final = "roles.sql"
DATABASE_SQL: Final = "database.sql"
SCHEMA_DUMP: Final = "schema.dump"
PRE_DATA_SQL: Final = "pre-data.sql"
POST_DATA_SQL: Final = "post-data.sql"
SEQUENCES_SQL: Final = "sequences.sql"
LARGE_OBJECTS_SQL: Final = "large-objects.sql"
RESTORE_SCRIPT: Final = "restore.sh"

_DATA: Final = "data"
_SUFFIX: Final = ".copy"
# Refused by some file system, or special to a shell, or the separator of our own names.
_ENCODED: Final = frozenset('%./\\:*?"<>|\x7f')
_LONGEST_BYTES: Final = 200
_DIGEST_DIGITS: Final = 16


class FileNames:
    """Gives every table a path of its own, `data/SCHEMA.TABLE.copy`, the same in every run."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def for_table(self, schema: str, name: str) -> str:
        stem = f"{_encoded(schema)}.{_encoded(name)}"
        if len(stem.encode()) > _LONGEST_BYTES:
            digest = hashlib.sha256(f"{schema}\0{name}".encode()).hexdigest()[:_DIGEST_DIGITS]
            kept = stem.encode()[: _LONGEST_BYTES - _DIGEST_DIGITS - 1].decode(errors="ignore")
            stem = f"{kept}~{digest}"
        candidate, number = stem, 1
        while _folded(candidate) in self._taken:
            number += 1
            candidate = f"{stem}~{number}"
        self._taken.add(_folded(candidate))
        return f"{_DATA}/{candidate}{_SUFFIX}"


def _encoded(name: str) -> str:
    return "".join(
        "".join(f"%{byte:02X}" for byte in sign.encode())
        if sign in _ENCODED or not sign.isprintable() or (place == 0 and sign in "-~ ")
        else sign
        for place, sign in enumerate(name)
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
