"""The report as plain text, for terminals and for whoever greps."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from strongroom.report.document import Document, Facts, Table

_WIDTH = 100
_INDENT = "  "


def text_lines(document: Document) -> Iterator[str]:
    """The lines, of at most about a hundred characters; words that are longer stay whole."""
    yield f"{document.title}: {document.subject}"
    yield f"Made {document.made}; covers {document.covers}"
    if document.alarm:
        yield from wrap(document.alarm, _WIDTH)
    yield from wrap(f"{document.verdict}  {document.because}", _WIDTH)
    for section in document.sections:
        yield ""
        yield section.title.upper()
        match section.block:
            case Table() as table:
                yield from _table(table)
            case Facts(facts):
                for name, cell in facts:
                    yield f"{_INDENT}{name}: {', '.join(cell.lines)}"


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        yield _INDENT + table.empty
    for row in table.rows:
        parts = []
        for head, cell in zip(table.heads, row, strict=True):
            told = ", ".join(cell.lines) + (f" ({cell.small})" if cell.small else "")
            parts.append(told if head == table.heads[0] else f"{head}: {told}")
        first, *rest = wrap("; ".join(parts), _WIDTH - 4, break_long_words=False)
        yield _INDENT + first
        yield from (f"{_INDENT}  {line}" for line in rest)
    if table.note:
        yield from (_INDENT + line for line in wrap(table.note, _WIDTH - 4))
