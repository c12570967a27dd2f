"""Files that a database refers to: looked for on disk after a capture, and in a point's drill.

At capture the live database is asked and the folder looked into, for names only: an upload that a
row mentions and that is not there is told while somebody may still have it. In a drill the restored
database is asked, and the files' snapshot of the same recovery point must hold every one of them
with the size and hash that its row says. Nothing here stops a capture or a drill.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from strongroom.config.settings import FileReference
from strongroom.errors import StrongroomError
from strongroom.model import Finding, Stage, finding
from strongroom.postgres.references import Reference, read_references
from strongroom.service.application import LOG, Application
from strongroom.service.selection import Candidate, reading
from strongroom.sources import Source
from strongroom.sources.database import DatabaseSource, connection_to
from strongroom.sources.file_references import (
    Comparison,
    FilesInSnapshot,
    FilesOnDisk,
    compare_references,
    find_orphans,
)
from strongroom.sources.files import FilesSource

# What a look at the live database may cost.
_LIVE_SECONDS: Final = 30
_LIVE_ROWS: Final = 200_000


def check_live(application: Application, captured: Sequence[Source]) -> list[Finding]:
    """Warnings about references of sources that were just captured: files that are not on disk,
    and what could not be asked."""
    by_name = {one.name: one for one in captured}
    findings: list[Finding] = []
    for declared in application.settings.references:
        database, files = by_name.get(declared.source), by_name.get(declared.files)
        if not isinstance(database, DatabaseSource) or not isinstance(files, FilesSource):
            continue
        subject = _subject(declared)
        try:
            rows = read_references(
                database.connection(), declared.sql, timeout_seconds=_LIVE_SECONDS
            )
            compared = compare_references(
                _names(itertools.islice(rows, _LIVE_ROWS)),
                FilesOnDisk(files.folder),
                subject=subject,
                prefix=declared.prefix,
                missing="reference-absent",
                unchecked="reference-unasked",
            )
        except StrongroomError as error:
            LOG.debug("references of %s were not asked", subject, exc_info=True)
            findings.append(finding("reference-unasked", subject, str(error)))
            continue
        findings += compared.findings
    return findings


def _names(rows: Iterator[Reference]) -> Iterator[Reference]:
    """Without what takes reading: a drill compares sizes and hashes."""
    return (Reference(one.path) for one in rows)


def _subject(declared: FileReference) -> str:
    return f"{declared.source} to {declared.files}"


@dataclass(slots=True)
class ReferenceDrill:
    """The references of one recovery point, asked while its databases are in their sandboxes.

    `files` holds the snapshots of the point's files sources, by their names.
    """

    declared: Sequence[FileReference]
    files: Mapping[str, Candidate]
    checked: int = 0
    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    _asked: set[int] = field(default_factory=set)
    _referred: dict[str, set[bytes]] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)

    def ask(self, database: str, target: str) -> None:
        """Ask the restored database of this name, which is at `target`."""
        for place, one in enumerate(self.declared):
            if one.source == database:
                self._asked.add(place)
                begun = time.monotonic()
                self._ask(one, target)
                self.stages.append(Stage(_subject(one), time.monotonic() - begun))

    def _ask(self, declared: FileReference, target: str) -> None:
        candidate = self.files.get(declared.files)
        if candidate is None:
            self._unchecked(declared, f"the point has no snapshot of {declared.files}")
            return
        try:
            with reading(candidate) as view:
                compared: Comparison = compare_references(
                    read_references(connection_to(target), declared.sql),
                    FilesInSnapshot(view, _root(candidate)),
                    subject=_subject(declared),
                    prefix=declared.prefix,
                )
        except StrongroomError as error:
            LOG.debug("references of %s were not asked", declared.source, exc_info=True)
            self._unchecked(declared, str(error))
            return
        self.checked += compared.checked
        self.findings += compared.findings
        self._referred.setdefault(declared.files, set()).update(compared.referred)
        if not compared.complete:
            self._doubtful.add(declared.files)

    def conclude(self, why: Mapping[str, str]) -> None:
        """Tell what was not asked, and which files nobody refers to. `why` says for a database
        why it was not, where that is known."""
        for place, one in enumerate(self.declared):
            if place not in self._asked:
                self._unchecked(one, why.get(one.source, f"{one.source} was not restored"))
        for name, referred in self._referred.items():
            if name not in self._doubtful:
                self._look_for_orphans(name, referred)

    def _look_for_orphans(self, name: str, referred: set[bytes]) -> None:
        candidate = self.files[name]
        try:
            with reading(candidate) as view:
                self.findings.extend(find_orphans(view, _root(candidate), referred, name))
        except StrongroomError:
            # The drill of the files tells that they can't be read.
            LOG.debug("files of %s were not looked through", name, exc_info=True)

    def _unchecked(self, declared: FileReference, why: str) -> None:
        self._doubtful.add(declared.files)
        self.findings.append(finding("reference-unchecked", _subject(declared), why))


def _root(candidate: Candidate) -> bytes:
    """The captured folder, as the snapshot records it."""
    return os.fsencode(candidate.snapshot.paths[0]) if candidate.snapshot.paths else b"/"
