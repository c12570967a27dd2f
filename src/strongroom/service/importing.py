"""Import: files from before Strongroom become snapshots of their date.

Each is read to its end first and loaded or unpacked, and refused when it is cut; then it is
captured like a source. Its snapshot has the date of the file, never that of today, and a tag with
the file's digest, by which it is known again on any host. It is recorded as an import and not as a
capture: no objective is met by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config.settings import GitSource, PostgresSource
from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, StrongroomError
from strongroom.model import Finding, Severity, SnapshotRef, finding
from strongroom.repository import Repository, SnapshotWriter
from strongroom.repository.snapshot import IMPORTED
from strongroom.service.application import Application, trace_errors
from strongroom.service.capture_part import snapshot_json
from strongroom.service.import_content import Content, of_archive, of_dump
from strongroom.service.import_file import (
    Given,
    Surveyed,
    date_of,
    gather,
    survey_archive,
    survey_database,
)
from strongroom.service.ledger_copy import store_copies, take_up
from strongroom.service.leftover import sandbox
from strongroom.service.masking import cut, masked
from strongroom.service.point import new_point_id
from strongroom.service.point_record import PATH, PointRecord, PointSource
from strongroom.service.record import noted
from strongroom.service.rendering import error_json, time_json
from strongroom.sources import CaptureContext, Captured

__all__ = ["RECORD", "ImportOptions", "ImportReport", "import_files"]

RECORD: Final = "import"
_DIGEST_TAG: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What was asked for: the time and the repository when given; `again`: also what was imported
    already; `incomplete`: also what cannot all be loaded; of a dump of several databases which
    one, and of an archive which folder."""

    captured_at: datetime | None = None
    repository: str | None = None
    again: bool = False
    incomplete: bool = False
    database: str | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What retention will do to a snapshot in a repository, and why."""

    repository: str
    snapshot: str
    keep: bool
    because: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "repository": self.repository,
            "id": self.snapshot,
            "keep": self.keep,
            "because": list(self.because),
        }


@dataclass(frozen=True, slots=True)
class Imported:
    """One thing that is in the repositories now."""

    surveyed: Surveyed
    source: str
    point: str
    snapshots: tuple[SnapshotRef, ...]
    taken: str
    server: str
    findings: tuple[Finding, ...]
    fates: tuple[Fate, ...] = ()
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        one = self.surveyed
        return {
            "file": one.given.name,
            "source": self.source,
            "captured_at": time_json(one.dated.at),
            "dated_by": one.dated.by,
            "format": one.format,
            "bytes": one.size_bytes,
            "sha256": one.sha256,
            "taken": self.taken,
            "server": self.server or None,
            "recovery_point": self.point,
            "snapshots": [snapshot_json(ref) for ref in self.snapshots],
            "retention": [fate.as_json() for fate in self.fates],
            "findings": [found.as_json() for found in self.findings],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Present:
    """One thing that was there already: which snapshots are of the very same file."""

    given: Given
    sha256: str
    snapshots: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        copies = [{"repository": name, "id": one} for name, one in self.snapshots]
        return {"file": self.given.name, "sha256": self.sha256, "snapshots": copies}


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of each thing, and what was noticed of the repositories."""

    imported: tuple[Imported, ...]
    present: tuple[Present, ...]
    errors: tuple[tuple[str, StrongroomError], ...]
    findings: tuple[Finding, ...]

    @property
    def every_finding(self) -> tuple[Finding, ...]:
        return (*self.findings, *(found for one in self.imported for found in one.findings))

    @property
    def exit_status(self) -> int:
        lacks = any(
            one.severity is Severity.FAILURE or one.code == "import-incomplete"
            for one in self.every_finding
        )
        return EXIT_PARTIAL if self.errors or lacks else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "imported": [one.as_json() for one in self.imported],
            "already_there": [one.as_json() for one in self.present],
            "errors": [{"file": name, **error_json(error)} for name, error in self.errors],
            "findings": [one.as_json() for one in self.findings],
        }


def import_files(
    application: Application,
    paths: Sequence[Path],
    source: str,
    options: ImportOptions = ImportOptions(),
) -> ImportReport:
    """Import these files into the repositories, the oldest first.

    One that is refused does not stop the others; the first error is raised when nothing at all
    could be done.
    """
    _refuse_unfit(application, source, paths, options)
    names = [options.repository] if options.repository else []
    repositories, unreachable = application.reachable(names)
    run = _Import(application, source, options, repositories)
    run.findings += [
        finding("repository-failed", name, str(error)) for name, error in unreachable.items()
    ]
    run.findings += take_up(application, repositories)
    everything = gather(paths)
    run.several = len(everything) > 1
    with sandbox(application) as folder:
        for surveyed in run.survey(everything, folder):
            run.take(surveyed, folder)
    report = run.report()
    raised = report.errors[0][1] if report.errors and not (run.imported or run.present) else None
    trace_errors("import of", report.errors, besides=raised)
    if raised is not None:
        raise raised
    return report


def _refuse_unfit(
    application: Application, source: str, paths: Sequence[Path], options: ImportOptions
) -> None:
    application.source(source)  # `usage` when there is none
    declared = application.settings.sources[source]
    if isinstance(declared, GitSource):
        raise ConfigError(
            "code is imported by Git itself, which has its history",
            subject=source,
            code="usage",
            hint="Clone the bundle or push the tags, and run `strongroom backup`; give release "
            "archives a source of kind `files`.",
        )
    of_database = isinstance(declared, PostgresSource)
    for name, is_given, is_fit in (
        ("--database", options.database is not None, of_database),
        ("--root", options.root is not None, not of_database),
        ("--captured-at", options.captured_at is not None, len(gather(paths)) == 1),
    ):
        if is_given and not is_fit:
            why = "one file" if name == "--captured-at" else "another kind of source"
            raise ConfigError(f"{name} is for {why}", subject=source, code="usage")


@dataclass(slots=True)
class _Import:
    """What a run has come to so far."""

    application: Application
    source: str
    options: ImportOptions
    repositories: Sequence[Repository]
    imported: list[Imported] = field(default_factory=list)
    present: list[Present] = field(default_factory=list)
    errors: list[tuple[str, StrongroomError]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    several: bool = False  # of a single one the error is raised, and told by that

    def survey(self, everything: Sequence[Given], folder: Path) -> list[Surveyed]:
        """What is to be imported, the oldest first; each is read to its end."""
        found: list[Surveyed] = []
        for number, given in enumerate(everything):
            try:
                one = self._survey(given, folder / f"file-{number}")
            except StrongroomError as error:
                self._refused(given, error)
            except OSError as error:
                self._refused(given, _unreadable(given, error))
            else:
                if one is not None:
                    found.append(one)
        return sorted(found, key=lambda one: (one.dated.at, one.given.name))

    def _survey(self, given: Given, folder: Path) -> Surveyed | None:
        self.application.say(f"{given.name}: reading it to its end")
        sha256 = given.digest()
        same = [] if self.options.again else list(self._known(sha256))
        if same or any(one.sha256 == sha256 for one in self.present):
            self.present.append(Present(given, sha256, tuple(same)))
            return None
        dump = None
        folder.mkdir(mode=0o700)
        if isinstance(self.application.settings.sources[self.source], PostgresSource):
            dump = survey_database(given, folder)
            name = dump.format
        else:
            name = survey_archive(given)
        zone, now = self.application.settings.schedule.time_zone, self.application.clock()
        dated = date_of(given, dump, self.options.captured_at, zone, now)
        return Surveyed(given, sha256, given.size_bytes, dated, name, dump)

    def _known(self, sha256: str) -> Iterator[tuple[str, str]]:
        """The snapshots of the source that are of this very file."""
        for repository in self.repositories:
            for one in repository.snapshots().snapshots:
                mine = (one.application, one.source) == (self.application.name, self.source)
                if mine and f"{_DIGEST_TAG}{sha256}" in one.tags:
                    yield repository.name, one.id

    def _refused(self, given: Given, error: StrongroomError) -> None:
        if self.several:
            told = str(error) if given.name in str(error) else f"{given.name}: {error}"
            self.application.say(told)
        self.errors.append((given.name, error))
        fields = {"source": self.source, "file": _shown(given), "error": error_json(error)}
        recorded = self.application.record(f"{RECORD}-failed", fields)
        if isinstance(recorded, Finding):
            self.findings.append(recorded)

    def take(self, surveyed: Surveyed, folder: Path) -> None:
        """Load or unpack it, capture that, and record it; its error is kept, not raised."""
        given = surveyed.given
        if any(one.surveyed.sha256 == surveyed.sha256 for one in self.imported):
            self.present.append(Present(given, surveyed.sha256, ()))  # twice on one command line
            return
        self.application.say(
            f"{given.name}: of {surveyed.dated.at:%Y-%m-%d %H:%M} UTC, by {surveyed.dated.by}"
        )
        begun = time.monotonic()
        try:
            with self._content(surveyed, folder) as content:
                done = self._capture(surveyed, content)
        except StrongroomError as error:
            self._refused(given, error)
        except OSError as error:
            self._refused(given, _unreadable(given, error))
        else:
            self.imported.append(replace(done, seconds=time.monotonic() - begun))

    def _content(self, surveyed: Surveyed, folder: Path) -> AbstractContextManager[Content]:
        options = self.options
        if surveyed.dump is None:
            return of_archive(
                self.application, self.source, surveyed.given, folder, root=options.root
            )
        return of_dump(
            self.application,
            self.source,
            surveyed.dump,
            folder,
            database=options.database,
            incomplete=options.incomplete,
        )

    def _capture(self, surveyed: Surveyed, content: Content) -> Imported:
        application, source = self.application, content.source
        captured_at, point = surveyed.dated.at, new_point_id(surveyed.dated.at)
        begun, begun_at = time.monotonic(), application.clock()
        writer = SnapshotWriter(self.repositories, application.writer_options())
        application.progress.begin(f"import {source.name}", None)
        try:
            with writer:
                context = CaptureContext(captured_at, None, application.progress)
                captured = source.capture(writer, context)
                committed = writer.commit(
                    captured.root,
                    paths=source.paths,
                    tags=self._tags(surveyed, point, content),
                    time=captured_at,
                    summary={
                        "backup_start": time_json(begun_at),
                        "backup_end": time_json(application.clock()),
                        "total_files_processed": captured.files,
                        "total_bytes_processed": captured.size_bytes,
                    },
                )
        finally:
            application.progress.end()
        seconds = time.monotonic() - begun
        refs = tuple(
            SnapshotRef(
                source.name,
                one.repository,
                one.snapshot.id,
                one.snapshot.tree,
                captured_at,
                captured.size_bytes,
                one.added_bytes,
                seconds,
            )
            for one in committed
        )
        findings = (*content.findings, *captured.findings, *writer.findings)
        done = Imported(surveyed, source.name, point, refs, content.taken, content.server, findings)
        return replace(done, findings=(*findings, *self._record(done, captured)))

    def _tags(self, surveyed: Surveyed, point: str, content: Content) -> list[str]:
        return [
            "strongroom",
            f"source:{self.source}",
            f"kind:{content.source.kind}",
            f"application:{self.application.name}",
            f"point:{point}",
            IMPORTED,
            *(["incomplete"] if content.incomplete else []),
            f"{_DIGEST_TAG}{surveyed.sha256}",
        ]

    def _record(self, done: Imported, captured: Captured) -> list[Finding]:
        """Into the ledger, which goes where the snapshots are; findings when that fails."""
        point = self._point(done, captured)
        surveyed = done.surveyed
        recorded = self.application.record(
            RECORD,
            {
                "source": done.source,
                "file": _shown(surveyed.given),
                "format": surveyed.format,
                "bytes": surveyed.size_bytes,
                "sha256": surveyed.sha256,
                "captured_at": time_json(surveyed.dated.at),
                "dated_by": surveyed.dated.by,
                "taken": cut(done.taken),
                "server": done.server or None,
                "only": self.options.repository,
                "point": done.point,
                "record": point.as_json(),
                "snapshots": [
                    {
                        "source": one.source,
                        "repository": one.repository,
                        "id": one.id,
                        "tree": one.tree,
                        "bytes": one.bytes,
                        "added_bytes": one.added_bytes,
                    }
                    for one in done.snapshots
                ],
                **noted(done.findings),
            },
        )
        if isinstance(recorded, Finding):
            return [recorded]
        holders = {one.repository for one in done.snapshots}
        return store_copies(
            self.application,
            [one for one in self.repositories if one.name in holders],
            done.point,
            beside={PATH: point.encode()},
        )

    def _point(self, done: Imported, captured: Captured) -> PointRecord:
        moment = done.surveyed.dated.at
        facts = {**captured.facts, "imported": done.surveyed.sha256}
        if "moment_at" in facts:
            # That of the sandbox says nothing of the source.
            facts |= {"moment_at": time_json(moment), "lsn": None}
        kind = self.application.settings.sources[done.source].kind
        ids = {one.repository: one.id for one in done.snapshots}
        part = PointSource(done.source, kind, captured.root, moment, moment, ids, facts)
        others = (name for name in self.application.settings.sources if name != done.source)
        missing = dict.fromkeys(others, "not asked for")
        return PointRecord(
            done.point, self.application.name, moment, moment, (done.source,), (part,), missing
        )

    def report(self) -> ImportReport:
        """All of it, with what retention will do to each."""
        fates = self._fates() if self.imported else {}
        imported = []
        for one in self.imported:
            mine = tuple(fates[ref.id] for ref in one.snapshots if ref.id in fates)
            leaving = [fate for fate in mine if not fate.keep]
            told = [
                finding(
                    "import-not-kept",
                    f"{fate.repository}: snapshots/{fate.snapshot}",
                    f"{'; '.join(fate.because)}; pin it if it is to stay",
                )
                for fate in leaving
            ]
            imported.append(replace(one, fates=mine, findings=(*one.findings, *told)))
        return ImportReport(
            tuple(imported), tuple(self.present), tuple(self.errors), tuple(self.findings)
        )

    def _fates(self) -> dict[str, Fate]:
        """What the next prune decides about each, as things are now."""
        from strongroom.service.pruning import decide_all

        found: dict[str, Fate] = {}
        now = self.application.clock()
        new = {ref.id for one in self.imported for ref in one.snapshots}
        for repository in self.repositories:
            try:
                listed = repository.snapshots().snapshots
                for one in decide_all(self.application, repository.name, listed, now):
                    if one.id in new:
                        # What stays only because nothing may go now goes some other day.
                        keep = one.keep and not one.suspended
                        found[one.id] = Fate(repository.name, one.id, keep, one.because)
            except StrongroomError as error:
                told = f"what it will keep is not known: {error}"
                self.findings.append(finding("repository-unreachable", repository.name, told))
        return found


def _shown(given: Given) -> str:
    return cut(masked(given.name))


def _unreadable(given: Given, error: OSError) -> StrongroomError:
    from strongroom.errors import SourceError

    why = error.strerror or str(error)
    return SourceError(f"it cannot be read: {why}", subject=given.name, code="path-unreadable")
