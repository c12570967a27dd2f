"""A Markdown document as a PDF file for A4 paper: the same letters and fonts as the report has.

The same document gives the same bytes. Lines of commands that are too long for the page are broken,
which a mark at the end of the line says.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import quoteattr

from strongroom.report.markdown import anchors, plain_text, tokens
from strongroom.report.markdown_html import BOX, is_safe_link, split_box
from strongroom.report.pdf import FOOT, HEIGHT, INNER, MARGIN, WIDTH, Setting, characters_in

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["foreign_in", "markdown_pdf"]

_CODE_WIDTH: Final = 100
_BROKEN: Final = " ¬"
_BLANK: Final = "\xa0\xa0"
_INDENT: Final = 13.0
_LEAST_SHARE, _MOST_SHARE = 10, 46


def foreign_in(markdown: str) -> frozenset[str]:
    """The characters for which fonts have to be given."""
    return characters_in([markdown])


def markdown_pdf(markdown: str, title: str, foot: str, fonts: Sequence[bytes] = ()) -> bytes:
    """The file; `foot` stands below each page. `fonts` are TrueType files, in the order in which
    they are tried."""
    pages = _build(markdown, title, foot, fonts, 0)[1]
    return _build(markdown, title, foot, fonts, pages)[0]


def _build(
    markdown: str, title: str, foot: str, fonts: Sequence[bytes], pages: int
) -> tuple[bytes, int]:
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    buffer = io.BytesIO()
    built = BaseDocTemplate(
        buffer,
        pagesize=(WIDTH, HEIGHT),
        title=title,
        author="Strongroom",
        subject=foot,
        creator="Strongroom",
        lang="en",
        invariant=1,
        pageCompression=1,
    )
    frame = Frame(MARGIN, FOOT, INNER, HEIGHT - FOOT - 30, 0, 0, 0, 0)

    def draw(canvas: Any, page: Any) -> None:  # Any: the library's own shapes, without types
        canvas.setFont("Times-Roman", 7.5)
        canvas.setFillGray(0.33)
        number = f"page {page.page} of {pages}" if pages else ""
        canvas.drawRightString(WIDTH - MARGIN, 22, number)
        canvas.drawString(MARGIN, 22, foot)

    built.addPageTemplates([PageTemplate(frames=[frame], onPage=draw)])
    built.build(_Flow(tokens(markdown), Setting(fonts, 1.0)).flowables())
    return buffer.getvalue(), built.page


class _Flow:
    """Turns tokens into what the library sets. Any: its own shapes, which have no types."""

    def __init__(self, found: Sequence[Token], setting: Setting) -> None:
        from reportlab.lib.styles import ParagraphStyle

        self._found, self._setting = found, setting
        self._names = anchors(found)
        self._place = 0

        def style(name: str, font: str, size: float, **more: Any) -> Any:
            return ParagraphStyle(name, fontName=font, fontSize=size, **more)

        self._text = style("text", "Times-Roman", 9.6, leading=12, spaceAfter=3.5)
        self._cell = style("cell", "Times-Roman", 8.4, leading=10)
        self._head = style("head", "Times-Bold", 8.2, leading=10, textColor="#444444")
        self._code = style("code", "Courier", 7.4, leading=9.2)
        self._headings = (
            style("h1", "Times-Bold", 19, leading=23, spaceAfter=6),
            style("h2", "Helvetica-Bold", 10.5, leading=13, spaceBefore=13, spaceAfter=4),
            style("h3", "Times-Bold", 11.5, leading=14, spaceBefore=8, spaceAfter=2.5),
            style("h4", "Times-Bold", 9.8, leading=12, spaceBefore=6, spaceAfter=2),
        )
        for one in self._headings:
            one.keepWithNext = 1

    def flowables(self) -> list[Any]:
        """All of it."""
        return list(self._until(""))

    def _next(self) -> Token:
        one = self._found[self._place]
        self._place += 1
        return one

    def _until(self, end: str, width: float = INNER) -> Iterator[Any]:
        """What follows up to the token that ends this."""
        while self._place < len(self._found):
            one = self._next()
            if one.type == end:
                return
            yield from self._block(one, width)

    def _block(self, one: Token, width: float) -> Iterator[Any]:
        from reportlab.platypus import HRFlowable, Indenter, Spacer

        match one.type:
            case "heading_open":
                yield from self._heading(one)
            case "paragraph_open":
                yield self._paragraph(self._inline(self._next()), self._text)
                self._next()
            case "fence" | "code_block":
                yield from self._commands(one.content, width)
            case "bullet_list_open" | "ordered_list_open":
                yield from self._list(one, width)
            case "blockquote_open":
                yield Indenter(left=_INDENT)
                yield from list(self._until("blockquote_close", width - _INDENT))
                yield Indenter(left=-_INDENT)
            case "table_open":
                yield from self._table(width)
            case "hr":
                yield Spacer(1, 4)
                yield HRFlowable(width="100%", thickness=0.7, color="#bbbbbb", spaceAfter=4)
            case _:
                pass

    def _paragraph(self, markup: str, style: Any, **more: Any) -> Any:
        from reportlab.platypus import Paragraph

        return Paragraph(markup, style, **more)

    def _heading(self, one: Token) -> Iterator[Any]:
        from reportlab.platypus import HRFlowable

        name = self._names[self._place - 1]
        inline = self._next()
        self._next()
        level = min(int(one.tag[1:]), len(self._headings))
        if level == 1:
            yield HRFlowable(width="100%", thickness=2.2, color="#1b1b1b", spaceAfter=3)
        mark = f"<a name={quoteattr(name)}/>"
        words = self._inline(inline)
        yield self._paragraph(mark + words, self._headings[level - 1])

    def _commands(self, content: str, width: float) -> Iterator[Any]:
        from reportlab.platypus import Spacer, XPreformatted
        from reportlab.platypus import Table as Grid

        most = max(20, int(_CODE_WIDTH * width / INNER))
        lines = [piece for line in content.rstrip("\n").split("\n") for piece in _cut(line, most)]
        rows = [[XPreformatted(self._setting.markup(one) or " ", self._code)] for one in lines]
        grid = Grid(rows or [[""]], colWidths=[width])
        grid.setStyle([
            ("LINEBEFORE", (0, 0), (0, -1), 2.2, "#1b1b1b"),
            ("BACKGROUND", (0, 0), (-1, -1), "#f4f4f1"),
            ("LEFTPADDING", (0, 0), (-1, -1), 7), ("RIGHTPADDING", (0, 0), (-1, -1), 2),
            ("TOPPADDING", (0, 0), (-1, -1), 0.6), ("BOTTOMPADDING", (0, 0), (-1, -1), 0.6),
        ])  # fmt: skip
        yield Spacer(1, 2)
        yield grid
        yield Spacer(1, 5)

    def _list(self, one: Token, width: float) -> Iterator[Any]:
        from reportlab.platypus import Indenter

        end = one.type.replace("_open", "_close")
        number = int(one.attrGet("start") or 1) if one.type.startswith("ordered") else 0
        yield Indenter(left=_INDENT)
        while self._next().type != end:
            mark = "•"
            if number:
                mark, number = f"{number}.", number + 1
            yield from self._entry(mark, width - _INDENT)
        yield Indenter(left=-_INDENT)

    def _entry(self, mark: str, width: float) -> Iterator[Any]:
        """What a list's entry holds; its mark stands before the first paragraph."""
        if self._found[self._place].type == "paragraph_open":
            self._next()
            inline = self._next()
            box = split_box(inline)
            # Readers replace the fonts of signs by others, in which a box may be a full one.
            drawn = f"[{_BLANK if box == BOX else 'x'}]" if box else mark
            self._next()
            words = f"<bullet indent={quoteattr(str(-_INDENT + 2))}>{drawn}</bullet>"
            yield self._paragraph(words + self._inline(inline), self._text)
        yield from list(self._until("list_item_close", width))

    def _table(self, width: float) -> Iterator[Any]:
        from reportlab.platypus import Spacer
        from reportlab.platypus import Table as Grid

        rows: list[list[Any]] = []
        lengths: list[list[int]] = []
        while (one := self._next()).type != "table_close":
            if one.type == "tr_open":
                rows.append([])
                lengths.append([])
            elif one.type in ("th_open", "td_open"):
                inline = self._next()
                style = self._head if one.type == "th_open" else self._cell
                rows[-1].append(self._paragraph(self._inline(inline) or " ", style))
                lengths[-1].append(len(plain_text(inline)))
        shares = [
            min(_MOST_SHARE, max(_LEAST_SHARE, *column))
            for column in zip(*lengths, strict=True)
        ]  # fmt: skip
        grid = Grid(rows, colWidths=[width * one / sum(shares) for one in shares], repeatRows=1,
                    splitInRow=1)  # fmt: skip
        grid.setStyle([*self._setting.grid, ("LINEBELOW", (0, 0), (-1, 0), 0.7, "#1b1b1b")])
        yield Spacer(1, 2)
        yield grid
        yield Spacer(1, 6)

    def _inline(self, inline: Token) -> str:
        """The markup of a line of words, in which nothing of their text is markup."""
        pieces = []
        is_link = False
        for one in inline.children or ():
            match one.type:
                case "text" | "image":
                    pieces.append(self._setting.markup(one.content))
                case "code_inline":
                    words = self._setting.markup(one.content)
                    pieces.append(f'<font name="Courier" size="-1">{words}</font>')
                case "softbreak":
                    pieces.append(" ")
                case "hardbreak":
                    pieces.append("<br/>")
                case "strong_open" | "strong_close":
                    pieces.append("<b>" if one.nesting > 0 else "</b>")
                case "em_open" | "em_close":
                    pieces.append("<i>" if one.nesting > 0 else "</i>")
                case "link_open":
                    target = str(one.attrGet("href") or "")
                    known = target[1:] in self._names.values()
                    is_link = known if target.startswith("#") else is_safe_link(target)
                    pieces += [f"<a href={quoteattr(target)}>"] if is_link else []
                case "link_close":
                    pieces += ["</a>"] if is_link else []
                case _:
                    pass
        return "".join(pieces)


def _cut(line: str, most: int) -> Iterator[str]:
    """A line of commands in pieces that fit on the page."""
    line = line.expandtabs(4)
    while len(line) > most:
        yield line[: most - len(_BROKEN)] + _BROKEN
        line = line[most - len(_BROKEN) :]
    yield line
