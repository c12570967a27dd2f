"""The evidence report: what the ledger, the configuration and the copies in repositories say.

It is gathered here for `strongroom.report`, which judges it, and written down as a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.errors import (
    EXIT_FAILED,
    EXIT_FINE,
    EXIT_STALE,
    EXIT_UNKNOWN,
    ConfigError,
)
from strongroom.evidence import Entry
from strongroom.model import Severity, Verdict
from strongroom.report.document import document_of
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.observation import (
    Chain,
    Evidence,
    Promise,
    Scope,
    SourceScope,
    captures,
    observation,
)
from strongroom.report.summary import report_json
from strongroom.report.text import text_lines
from strongroom.service.application import Application
from strongroom.service.history import HEADS, History, Verification, rows, verify
from strongroom.service.output import refuse_taken, write_whole

FORMATS: Final = (".html", ".pdf")
EXITS: Final = {
    Verdict.PROVEN: EXIT_FINE,
    Verdict.STALE: EXIT_STALE,
    Verdict.FAILED: EXIT_FAILED,
    Verdict.UNKNOWN: EXIT_UNKNOWN,
}
# Where systems keep fonts that have what Times lacks; the first that has a character is taken.
_FONTS: Final = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/freefont/FreeSans.ttf",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/arphic/uming.ttc",
)


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """A report, and where it was written to, if it was."""

    report: Report
    output: Path | None

    @property
    def exit_status(self) -> int:
        return EXITS[self.report.verdict]

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        output = str(self.output) if self.output is not None else None
        return {**report_json(self.report), "output": output}

    def lines(self) -> Iterator[str]:
        """The report as text."""
        return text_lines(document_of(self.report))


def evidence_report(
    application: Application,
    output: Path | None,
    *,
    since: datetime | None = None,
    drill: int | None = None,
    now: datetime,
) -> EvidenceReport:
    """Judge the evidence as it stands at `now`, and write it to `output`, which must not exist.

    ConfigError `usage` when its name ends in neither .html nor .pdf, or no drill has this number.
    """
    if output is not None:
        refuse_unknown(output)
        refuse_taken(output)
    report = judge_evidence(gather(application, since, drill), promise_of(application), now)
    if output is not None:
        content = render(report, output.suffix.lower())
        write_whole(output, lambda file: file.write(content))
    return EvidenceReport(report, output)


def refuse_unknown(output: Path) -> None:
    """ConfigError `usage` unless the name says what to write."""
    if output.suffix.lower() not in FORMATS:
        raise ConfigError(
            "what it is to be can't be told from its name",
            subject=str(output),
            code="usage",
            hint="Let the name end in .html or .pdf.",
        )


def render(report: Report, suffix: str) -> bytes:
    """The report as `.html` or `.pdf`."""
    document = document_of(report)
    if suffix == ".html":
        from strongroom.report.html import html_page

        return html_page(document).encode()
    from strongroom.report.pdf import foreign_characters, pdf_file

    return pdf_file(document, _fonts() if foreign_characters(document) else ())


def _fonts() -> list[bytes]:
    found = []
    for place in _FONTS:
        try:
            found.append(Path(place).read_bytes())
        except OSError:  # another system keeps others, or none
            continue
    return found


def gather(application: Application, since: datetime | None, drill: int | None) -> Evidence:
    """The evidence about the application as it is configured now."""
    checked = verify(application)
    entries: list[Entry] = []
    if checked.records:
        entries = [
            one
            for one in application.ledger.entries()
            if one.fields.get("application") == application.name
        ]
    seen = [observation(one.seq, one.at, one.kind, one.fields) for one in entries]
    observations = tuple(one for one in seen if one is not None)
    if drill is not None and drill not in {one.seq for one in observations}:
        raise ConfigError(
            "no record of this number tells of a drill",
            subject=str(drill),
            code="usage",
            hint="List them with `strongroom log --action drill`.",
        )
    return Evidence(
        _scope(application),
        _chain(checked),
        observations,
        tuple(
            found for one in entries for found in captures(one.seq, one.at, one.kind, one.fields)
        ),
        since,
        drill,
    )


def _scope(application: Application) -> Scope:
    settings = application.settings
    return Scope(
        application.name,
        tuple(
            SourceScope(name, one.kind, tuple(_left_out(one)))
            for name, one in settings.sources.items()
        ),
        tuple(settings.repositories),
        settings.environment,
        settings.schedule.time_zone,
    )


def _left_out(source: Any) -> Iterator[str]:  # Any: the settings of any kind of source
    for pattern in getattr(source, "exclude_tables", ()):
        yield f"rows of tables that match {pattern}"
    for pattern in getattr(source, "exclude", ()):
        yield f"files that match {pattern}"


def _chain(checked: Verification) -> Chain:
    failures = [one for one in checked.findings if one.severity is Severity.FAILURE]
    return Chain(
        checked.records,
        checked.head_seq,
        checked.head_hash,
        tuple(one.message for one in failures),
        checked.compared,
        tuple(name for name, _ in checked.uncompared),
    )


def promise_of(application: Application) -> Promise:
    """The objectives that are configured."""
    objectives = application.settings.objectives
    return Promise(objectives.rpo, objectives.rto, objectives.proof_age, objectives.copies)


def export_history(found: History, output: Path, file_format: str) -> int:
    """Write records to a file, which must not exist: all of them as `json` or `csv`, or drills,
    restores and proofs as `junit`. Returns its size in bytes."""
    refuse_taken(output)
    if file_format == "junit":
        from strongroom.report.junit import junit_xml

        content = junit_xml(found.observations)
    elif file_format == "csv":
        from strongroom.report.spreadsheet import csv_table

        content = csv_table(HEADS, rows(found))
    else:
        text = json.dumps(found.as_json(), indent=2, ensure_ascii=True)
        content = text.encode() + b"\n"
    write_whole(output, lambda file: file.write(content))
    return len(content)
