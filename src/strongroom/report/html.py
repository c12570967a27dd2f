"""The report as one HTML page: no script, nothing to fetch, made for reading and for A4 paper.

Every text is escaped, and stands in elements of its own that isolate its direction of writing.
Verdicts have colour and shape beside their word, so that they can be told apart without colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from strongroom.report.document import Cell, Document, Facts, Kind, Section, Table

__all__ = ["STYLE", "html_page", "page_head"]

_NUMBER: Final = ' class="number"'
STYLE: Final = """
@page { size: A4; margin: 12mm 13mm; }
* { box-sizing: border-box; }
html { font-size: 15px; -webkit-text-size-adjust: 100%; }
body { margin: 2.2rem auto; max-width: 62rem; padding: 0 1.5rem; color: #1b1b1b; background: #fff;
  font: 1rem/1.42 Charter, "Bitstream Charter", "Source Serif 4", "Noto Serif",
    "Liberation Serif", "Nimbus Roman", "Times New Roman", serif;
  font-variant-numeric: lining-nums tabular-nums; }
header { border-top: 3px solid #1b1b1b; border-bottom: 1px solid #1b1b1b;
  padding: .7rem 0 .8rem; margin-bottom: 1.1rem; }
h1 { font-size: 1.7rem; line-height: 1.15; font-weight: 600; margin: 0 0 .15rem; }
header p { margin: .15rem 0; }
.subject { font-size: 1.15rem; }
.made, .small, .note { color: #555; }
.whole { display: flex; gap: 1rem; align-items: baseline; margin: .7rem 0 0; font-size: 1.1rem; }
.alarm { border: 3px double #8c1c13; padding: .5rem .8rem; font-weight: 700; color: #8c1c13; }
h2 { font-size: .82rem; letter-spacing: .09em; text-transform: uppercase; font-weight: 600;
  margin: 1.35rem 0 .3rem; }
table { width: 100%; border-collapse: collapse; font-size: .88rem; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .28rem .7rem .28rem 0;
  overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead th { overflow-wrap: normal; border-bottom: 1px solid #1b1b1b; font-weight: 600;
  color: #444; font-size: .8rem; }
tbody th { font-weight: 600; }
tbody tr + tr > * { border-top: 1px solid #ddd; }
tr { break-inside: avoid; }
h2 { break-after: avoid; }
.number { text-align: right; }
.small { display: block; font-size: .84em; line-height: 1.3; font-weight: 400; }
.digest { display: block; font: .78em/1.5 "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas,
  monospace; }
.verdict { display: inline-block; font: 700 .78em/1 "DejaVu Sans", "Liberation Sans", Helvetica,
  Arial, sans-serif; letter-spacing: .05em; padding: .28em .5em; border: 2px solid;
  margin-bottom: .2em; }
.PROVEN { color: #fff; background: #1f6b3a; border-color: #1f6b3a; }
.STALE { color: #7a5200; border-style: dashed; }
.UNKNOWN { color: #444; border-style: dotted; }
.FAILED { color: #fff; background: #8c1c13; border-color: #8c1c13; border-style: double; }
.failure, .missed { font-weight: 700; text-decoration: underline; }
.note { font-size: .84rem; margin: .3rem 0 0; }
.none { margin: .2rem 0; }
@media print {
  html { font-size: 9.6px; }
  body { line-height: 1.3; }
  h2 { margin-top: 1rem; }
  th, td { padding-top: .2rem; padding-bottom: .2rem; }
  body { margin: 0; padding: 0; max-width: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def html_page(document: Document) -> str:
    """The page, complete."""
    return "\n".join(_page(document)) + "\n"


def _page(document: Document) -> Iterator[str]:
    yield from page_head(f"{document.title}: {document.subject}", STYLE)
    yield "<header>"
    yield f"<h1>{escape(document.title)}</h1>"
    yield f'<p class="subject">{_isolated(document.subject)}</p>'
    made = f"Made {document.made}; covers {document.covers}"
    yield f'<p class="made">{escape(made)}</p>'
    told = f"{_verdict(document.verdict)} <span>{_isolated(document.because)}</span>"
    yield f'<p class="whole">{told}</p>'
    yield "</header>"
    yield "<main>"
    if document.alarm:
        yield f'<p class="alarm" role="alert">{_isolated(document.alarm)}</p>'
    for number, section in enumerate(document.sections, 1):
        yield from _section(number, section)
    yield "</main>"
    yield "</body>"
    yield "</html>"


def page_head(title: str, style: str) -> Iterator[str]:
    """A page up to the beginning of its body: nothing is fetched, no script runs."""
    yield "<!DOCTYPE html>"
    yield '<html lang="en" dir="ltr">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{style}</style>"
    yield "</head>"
    yield "<body>"


def _section(number: int, section: Section) -> Iterator[str]:
    yield f'<section aria-labelledby="s{number}">'
    yield f'<h2 id="s{number}">{escape(section.title)}</h2>'
    match section.block:
        case Table() as table:
            yield from _table(number, table)
        case Facts() as facts:
            yield f'<table aria-labelledby="s{number}">'
            yield '<colgroup><col style="width:14%"><col></colgroup>'
            yield "<tbody>"
            for name, cell in facts.facts:
                yield f'<tr><th scope="row">{escape(name)}</th><td>{_cell(cell)}</td></tr>'
            yield "</tbody>"
            yield "</table>"
    yield "</section>"


def _table(number: int, table: Table) -> Iterator[str]:
    if not table.rows:
        yield f'<p class="none">{escape(table.empty)}</p>'
    else:
        numbers = {place for row in table.rows for place, cell in enumerate(row)
                   if cell.kind is Kind.NUMBER}  # fmt: skip
        columns = "".join(f'<col style="width:{width}%">' for width in table.widths)
        heads = "".join(
            f'<th scope="col"{_NUMBER if place in numbers else ""}>{escape(head)}</th>'
            for place, head in enumerate(table.heads)
        )
        yield f'<table aria-labelledby="s{number}">'
        yield f"<colgroup>{columns}</colgroup>"
        yield f"<thead><tr>{heads}</tr></thead>"
        yield "<tbody>"
        for first, *others in table.rows:
            cells = "".join(
                f"<td{_NUMBER if cell.kind is Kind.NUMBER else ''}>{_cell(cell)}</td>"
                for cell in others
            )
            yield f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>'
        yield "</tbody>"
        yield "</table>"
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'


def _cell(cell: Cell) -> str:
    match cell.kind:
        case Kind.VERDICT:
            text = _verdict(cell.text)
        case Kind.DIGEST:
            text = "".join(f'<span class="digest">{escape(line)}</span>' for line in cell.lines)
        case Kind.SEVERITY | Kind.STATE:
            word = escape(cell.text.lower().replace(" ", "-"))
            text = f'<span class="{word}">{escape(cell.text)}</span>'
        case _:
            text = "<br>".join(map(_isolated, cell.lines))
    if cell.small:
        text += f'<span class="small">{_isolated(cell.small)}</span>'
    return text


def _verdict(word: str) -> str:
    return f'<span class="verdict {escape(word)}">{escape(word)}</span>'


def _isolated(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"
