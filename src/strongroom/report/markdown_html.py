"""A Markdown document as one HTML page: no script, nothing to fetch, made for reading and paper.

HTML within the document is text, and links lead to what is named only within the page, by https or
by mail: whoever wrote a part of it cannot make the reader's browser do anything. Boxes to tick are
drawn as such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from strongroom.report.html import STYLE, page_head
from strongroom.report.markdown import anchors, tokens

if TYPE_CHECKING:
    from markdown_it.token import Token

__all__ = ["BOX", "TICKED", "is_safe_link", "markdown_page", "split_box"]

BOX: Final = "☐"
TICKED: Final = "☑"
_BOXES: Final = {"[ ] ": BOX, "[x] ": TICKED, "[X] ": TICKED}
_SAFE: Final = ("#", "https://", "http://", "mailto:", "tel:")
_OWN_STYLE: Final = """
h1 { border-top: 3px solid #1b1b1b; padding-top: .7rem; margin: 0 0 .6rem; }
h2 { font-size: .95rem; margin: 1.6rem 0 .4rem; }
h3 { font-size: 1.12rem; font-weight: 600; margin: 1.25rem 0 .3rem; break-after: avoid; }
h4, h5, h6 { font-size: 1rem; font-weight: 600; margin: 1rem 0 .25rem; break-after: avoid; }
p, ul, ol { margin: .45rem 0; }
ul, ol { padding-left: 1.5rem; }
li { margin: .15rem 0; }
li.box { list-style: none; margin-left: -1.3rem; }
table { table-layout: auto; margin: .5rem 0 .8rem; }
code { font: .86em/1.45 "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
pre { border: 1px solid #bbb; border-left: 4px solid #1b1b1b; padding: .55rem .8rem;
  overflow-x: auto; break-inside: avoid; background: #f6f6f4; }
blockquote { border: 2px solid #8c1c13; margin: .8rem 0; padding: .2rem .9rem; }
hr { border: 0; border-top: 1px solid #1b1b1b; margin: 1.4rem 0; }
a { color: #1b1b1b; }
@media print { pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
"""
_DIRECTED: Final = frozenset({"p", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6"})
_TAGS: Final = frozenset({
    "p", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "blockquote", "em",
    "strong", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip


def markdown_page(markdown: str, title: str) -> str:
    """The page, complete."""
    return "\n".join(_page(markdown, title)) + "\n"


def is_safe_link(target: str) -> bool:
    """Whether it leads within the page, to the web, to mail or to a telephone."""
    return target.lower().startswith(_SAFE)


def split_box(inline: Token) -> str:
    """The box that a list's entry begins with, taken from its first text; empty without one."""
    first = inline.children[0] if inline.children else None
    if first is None or first.type != "text":
        return ""
    box = _BOXES.get(first.content[:4], "")
    if box:
        first.content = first.content[4:]
    return box


def _page(markdown: str, title: str) -> Iterator[str]:
    yield from page_head(title, STYLE + _OWN_STYLE)
    yield "<main>"
    found = tokens(markdown)
    names = anchors(found)
    pieces: list[str] = []
    for place, one in enumerate(found):
        match one.type:
            case "inline":
                pieces.append(_inline(one.children or ()))
            case "fence" | "code_block":
                pieces.append(f"<pre><code>{escape(one.content)}</code></pre>\n")
            case "hr":
                pieces.append("<hr>\n")
            case _:
                shown = one.tag in _TAGS and not one.hidden
                pieces.append(_tag(one, found, place, names) if shown else "")
    yield "".join(pieces).rstrip("\n")
    yield "</main>"
    yield "</body>"
    yield "</html>"


def _tag(one: Token, found: Sequence[Token], place: int, names: dict[int, str]) -> str:
    if one.nesting < 0:
        return f"</{one.tag}>" + ("\n" if one.block else "")
    attributes = ' dir="auto"' if one.tag in _DIRECTED else ""
    if place in names:
        attributes += f' id="{escape(names[place])}"'
    if one.tag == "ol" and (start := one.attrGet("start")) is not None:
        attributes += f' start="{escape(str(start))}"'
    box = ""
    if one.type == "list_item_open" and found[place + 1].type == "paragraph_open":
        box = split_box(found[place + 2])
        attributes += ' class="box"' if box else ""
    return f"<{one.tag}{attributes}>" + (f"{box} " if box else "")


def _inline(children: Sequence[Token]) -> str:
    pieces = []
    for one in children:
        match one.type:
            case "text":
                pieces.append(escape(one.content))
            case "code_inline":
                pieces.append(f"<code>{escape(one.content)}</code>")
            case "softbreak":
                pieces.append("\n")
            case "hardbreak":
                pieces.append("<br>\n")
            case "link_open":
                target = str(one.attrGet("href") or "")
                safe = target if is_safe_link(target) else "#"
                pieces.append(f'<a href="{escape(safe)}">')
            case "link_close":
                pieces.append("</a>")
            case "image":
                pieces.append(escape(one.content))  # nothing is fetched: its description
            case _:
                mark = f"<{'/' if one.nesting < 0 else ''}{one.tag}>"
                pieces.append(mark if one.tag in _TAGS else "")
    return "".join(pieces)
