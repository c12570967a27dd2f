"""The runbook: gathered from configuration, ledger and the operators' files, rendered, written, and
put beside each recovery point.

Asks no repository and no network, so that it costs a capture next to nothing. It lies with the copy
of the ledger that belongs to the point, as `/.strongroom/runbook.md` and `.html`: any restic gives
it, and `prune` keeps it for as long as the point. Invariant: no secret is in it (I6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import EXIT_FINE, ConfigError, StorageError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, finding
from strongroom.report.field import mapping, mappings, moment, text
from strongroom.report.observation import captures
from strongroom.service.application import LOG, Application
from strongroom.service.masking import masked_commands
from strongroom.service.rendering import time_json

if TYPE_CHECKING:
    from strongroom.report.kit_history import KitMade
    from strongroom.report.runbook_ground import Point, Procedure, Runbook
    from strongroom.service.selection import Candidate

__all__ = [
    "FORMATS",
    "MARKDOWN_PATH",
    "PAGE_PATH",
    "TAG",
    "Written",
    "beside_point",
    "runbook_of_kit",
    "stored_runbook",
    "write_runbook",
]

FORMATS: Final = (".md", ".html", ".pdf")
MARKDOWN_PATH: Final = b"/.strongroom/runbook.md"
PAGE_PATH: Final = b"/.strongroom/runbook.html"
TAG: Final = "runbook"
_MOST_BYTES: Final = 256 << 10
_LATEST: Final = "latest"
# The records that tell of snapshots which were stored.
_STORING: Final = ("backup", "copy")


@dataclass(frozen=True, slots=True)
class Written:
    """A runbook, where it was written to if it was, and from where it was read if it was stored."""

    markdown: str
    made_at: datetime | None
    findings: tuple[Finding, ...] = ()
    output: Path | None = None
    size_bytes: int = 0
    point: str | None = None
    repository: str | None = None
    snapshot: str | None = None

    @property
    def exit_status(self) -> int:
        return EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "output": str(self.output) if self.output is not None else None,
            "bytes": self.size_bytes,
            "made_at": time_json(self.made_at) if self.made_at is not None else None,
            "point": self.point,
            "repository": self.repository,
            "snapshot": self.snapshot,
            "markdown": self.markdown,
            "findings": [one.as_json() for one in self.findings],
        }


def write_runbook(application: Application, output: Path | None, *, now: datetime) -> Written:
    """The runbook as it stands at `now`, written to `output`, which must not exist.

    ConfigError `usage` when its name ends in none of .md, .html and .pdf.
    """
    _refuse_unfit(output)
    markdown, findings = _render(application, now)
    return _written(Written(markdown, now, tuple(findings)), output, application.name)


def stored_runbook(
    application: Application,
    output: Path | None,
    *,
    point: str,
    repository: str | None = None,
) -> Written:
    """The runbook that lies beside a recovery point, given by the beginning of its id or `latest`.

    StorageError `snapshot-missing` when there is none.
    """
    from strongroom.repository import SnapshotView
    from strongroom.service.selection import survey

    _refuse_unfit(output)
    surveyed = survey(application, [repository] if repository else [])
    holders = _holders(application, surveyed.candidates, point)
    for one in holders:
        with one.repository.reading():
            view = SnapshotView(one.repository, one.snapshot)
            if not view.exists(MARKDOWN_PATH):
                continue
            content = view.read(MARKDOWN_PATH).decode("utf-8", "replace")
        application.note("read", {"repository": one.repository.name, "snapshot": one.snapshot.id})
        found = Written(
            content,
            one.snapshot.time,
            surveyed.unreachable,
            point=one.snapshot.point,
            repository=one.repository.name,
            snapshot=one.snapshot.id,
        )
        return _written(found, output, application.name)
    raise StorageError(
        "no runbook lies beside it" if holders else "there is no such recovery point",
        subject=f"point {point}",
        code="snapshot-missing",
        hint="List recovery points with `strongroom snapshots --points`.",
    )


def beside_point(application: Application) -> tuple[dict[bytes, bytes], list[Finding]]:
    """The files to put beside a recovery point; none, and a warning, when they can't be made: that
    never costs the capture."""
    from strongroom.report.markdown_html import markdown_page

    try:
        markdown, findings = _render(application, application.clock())
        page = markdown_page(markdown, _title(application.name))
    except StrongroomError as known:
        error = known
    except Exception as unforeseen:  # the edge of a step: a bug here must not cost the capture
        error = StrongroomError(f"something that nobody foresaw: {type(unforeseen).__name__}")
        error.__cause__ = unforeseen
    else:
        return {MARKDOWN_PATH: markdown.encode(), PAGE_PATH: page.encode()}, findings
    LOG.debug("no runbook is stored", exc_info=error)
    return {}, [finding("runbook-unstored", error.subject or "runbook", error.message)]


def runbook_of_kit(
    application: Application, made: Callable[[int], KitMade]
) -> tuple[Runbook, str] | Finding:
    """The ground and the text of a runbook for which the kit that is being made is the newest, with
    this number in the ledger; a warning when they can't be made."""
    from dataclasses import replace

    from strongroom.report.judgement import judge_evidence
    from strongroom.report.runbook import runbook_markdown

    try:
        ground = _gather(application, application.clock())
        evidence = ground.evidence
        newest = made(evidence.chain.records + 1)
        history = replace(evidence.history, kits=(*evidence.history.kits, newest))
        evidence = replace(evidence, history=history)
        report = judge_evidence(evidence, ground.promise, ground.made_at)
        ground = replace(ground, evidence=evidence, report=report)
        return ground, runbook_markdown(ground)
    except StrongroomError as known:
        error = known
    except Exception as unforeseen:  # the edge of a step: a bug here must not cost the kit
        error = StrongroomError(f"something that nobody foresaw: {type(unforeseen).__name__}")
        error.__cause__ = unforeseen
    LOG.debug("no runbook is in the kit", exc_info=error)
    return finding("runbook-unstored", error.subject or "runbook", error.message)


# Rendering


def _render(application: Application, now: datetime) -> tuple[str, list[Finding]]:
    from strongroom.report.runbook import runbook_markdown

    ground = _gather(application, now)
    findings = [
        finding("runbook-incomplete", one.name, one.fault) for one in ground.procedures if one.fault
    ]
    return runbook_markdown(ground), findings


def _gather(application: Application, now: datetime) -> Runbook:
    from strongroom.report.judgement import judge_evidence
    from strongroom.report.runbook_ground import Runbook
    from strongroom.service.gathering import gather_here, promise_of

    settings = application.settings
    evidence, promise = gather_here(application, now=now), promise_of(settings)
    return Runbook(
        settings,
        judge_evidence(evidence, promise, now),
        evidence,
        promise,
        tuple(_points(application)),
        tuple(map(_procedure, settings.runbook.procedures)),
        str(application.config_file or ""),
        masked_commands,
    )


def _points(application: Application) -> list[Point]:
    """The recovery points that are stored as far as the ledger knows, the newest first; none when
    it can't be read, which the report says."""
    from strongroom.report.runbook_ground import Point
    from strongroom.service.selection import stored_snapshots

    stored = stored_snapshots(application)
    taken = _Points()
    try:
        for entry in application.ledger.entries():
            if entry.fields.get("application") == application.name:
                taken.take(entry)
    except StrongroomError:
        LOG.debug("no recovery points are known", exc_info=True)
    found = []
    for name, begun_at in taken.begun_at.items():
        kept = [one for one in taken.copies[name] if one.snapshot in stored.get(one.repository, {})]
        if kept:
            found.append(Point(name, begun_at, tuple(kept)))
    return sorted(found, key=lambda one: (one.captured_at, one.id), reverse=True)


class _Points:
    """Takes the records of one application in their order."""

    def __init__(self) -> None:
        self.begun_at: dict[str, datetime] = {}
        self.copies: dict[str, list[Any]] = {}  # Any: see `take`, which imports their type
        self._of: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        """What this record says was stored."""
        from strongroom.report.runbook_ground import Copy

        if entry.kind not in _STORING:
            return
        found = captures(entry.seq, entry.at, entry.kind, entry.fields)
        for capture, one in zip(found, mappings(entry.fields.get("snapshots")), strict=True):
            snapshot = text(one.get("id"))
            point = capture.point or self._of.get(text(one.get("from_id")), "")
            if not point:
                continue
            self._of[snapshot] = point
            told = moment(mapping(entry.fields.get("record")).get("begun_at"))
            if not capture.is_copy:
                self.begun_at.setdefault(point, told or capture.begun_at)
            copy = Copy(capture.source, capture.repository, snapshot, capture.tree)
            self.copies.setdefault(point, []).append(copy)


def _procedure(place: Path) -> Procedure:
    """A file of the operators' own, without what may be a secret."""
    from strongroom.report.runbook_ground import Procedure

    try:
        with place.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return Procedure(str(place), "", "it is larger than 256 KiB")
        return Procedure(str(place), masked_commands(content.decode("utf-8")))
    except OSError as error:
        return Procedure(str(place), "", f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Procedure(str(place), "", "it is not UTF-8 text")


# Reading back, writing down


def _holders(
    application: Application, candidates: tuple[Candidate, ...], point: str
) -> list[Candidate]:
    """The snapshots in which the runbook of a point may lie, the newest first."""
    from strongroom.service.point_record import is_holder

    found = [
        one
        for one in candidates
        if is_holder(one.snapshot, application.name)
        and (point == _LATEST or str(one.snapshot.point).startswith(point.lower()))
    ]
    names = {one.snapshot.point for one in found}
    if point != _LATEST and len(names) > 1:
        listed = ", ".join(sorted(map(str, names)))
        raise StorageError(
            f"several recovery points have ids that begin so ({listed})",
            subject=point,
            code="snapshot-missing",
            hint="Give more of the id.",
        )
    return sorted(found, key=lambda one: one.snapshot.time, reverse=True)


def _refuse_unfit(output: Path | None) -> None:
    from strongroom.service.output import refuse_taken

    if output is None:
        return
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(
            "what it is to be can't be told from its name",
            subject=str(output),
            code="usage",
            hint="Let the name end in .md, .html or .pdf.",
        )
    refuse_taken(output)


def _written(found: Written, output: Path | None, application: str) -> Written:
    from dataclasses import replace

    from strongroom.service.output import write_whole

    if output is None:
        return replace(found, size_bytes=len(found.markdown.encode()))
    content = b"".join(_content(found, output.suffix.lower(), application))
    write_whole(output, lambda file: file.write(content))
    return replace(found, output=output, size_bytes=len(content))


def _content(found: Written, suffix: str, application: str) -> Iterator[bytes]:
    title = _title(application)
    if suffix == ".md":
        yield found.markdown.encode()
    elif suffix == ".html":
        from strongroom.report.markdown_html import markdown_page

        yield markdown_page(found.markdown, title).encode()
    else:
        from strongroom.report.markdown_pdf import foreign_in, markdown_pdf
        from strongroom.service.evidence_report import report_fonts

        fonts = report_fonts() if foreign_in(found.markdown) else ()
        yield markdown_pdf(found.markdown, title, f"Strongroom, {title}", fonts)


def _title(application: str) -> str:
    from strongroom.report.runbook import TITLE

    return f"{TITLE}: {application}"
