"""The evidence report: what the ledger, the configuration and the copies in repositories say.

It is gathered by `gathering` for `strongroom.report`, which judges it, and written down as a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.errors import ConfigError
from strongroom.report.document import document_of
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.summary import report_json
from strongroom.report.text import text_lines
from strongroom.service.application import Application
from strongroom.service.gathering import EXITS, gather, promise_of
from strongroom.service.history import HEADS, History, rows
from strongroom.service.output import refuse_taken, write_whole

__all__ = [
    "EXITS",
    "FORMATS",
    "EvidenceReport",
    "evidence_report",
    "export_history",
    "gather",
    "promise_of",
    "refuse_unknown",
    "render",
    "report_fonts",
]

FORMATS: Final = (".html", ".pdf")
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
    report = judge_evidence(
        gather(application, since, drill, now=now), promise_of(application.settings), now
    )
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

    return pdf_file(document, report_fonts() if foreign_characters(document) else ())


def report_fonts() -> list[bytes]:
    """The fonts of this host for what Times lacks, in the order in which they are tried."""
    found = []
    for place in _FONTS:
        try:
            found.append(Path(place).read_bytes())
        except OSError:  # another system keeps others, or none
            continue
    return found


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
