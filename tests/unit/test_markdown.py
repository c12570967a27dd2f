"""Markdown that holds what others wrote: it is read back as that text, whatever stands in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.report.markdown import (
    anchor,
    code,
    demoted,
    document,
    fenced,
    plain_text,
    table,
    text,
    tokens,
)
from strongroom.report.wording import plain

SPECIAL = st.text(
    st.one_of(st.sampled_from("\\`*_[]<>&~|#+-=.)(!:1 \n\t\"'"), st.characters()), max_size=40
)


def words_of(markdown: str) -> list[str]:
    """The texts of all lines of words, as a reader sees them."""
    return [
        "".join(one.content for one in token.children or ())
        for token in tokens(markdown)
        if token.type == "inline"
    ]


@pytest.mark.parametrize(
    "name",
    [
        "**bold** _em_ `code`",
        "[click](javascript:alert(1))",
        "<script>alert(1)</script>",
        "1. first",
        "# heading",
        "- [ ] done",
        "a|b|c",
        "&amp; &#35;",
        "~~gone~~",
        "<https://example.com>",
        "snake_case_name __init__",
        "ends in a backslash \\",
    ],
)
def test_names_with_special_characters_are_text(name: str) -> None:
    assert words_of(f"it is {text(name)}\n") == [f"it is {name}"]
    assert words_of(f"- [ ] {text(name)}\n") == [f"[ ] {name}"]
    row = "\n".join(table(("Name", "Other"), [(text(name), code(name))]))
    assert words_of(row) == ["Name", "Other", name, name]


@given(SPECIAL)
def test_any_text_is_read_back(name: str) -> None:
    expected = plain(name).strip()
    if not expected:
        return
    for line in (f"before {text(name)}\n", f"- x {text(name)} x\n", f"**{text(name)}** x"):
        assert expected in words_of(line)[0]


@given(SPECIAL, SPECIAL)
def test_any_text_stays_in_its_cell(name: str, other: str) -> None:
    rows = [(text(name) or "–", code(other) or "–"), ("end", "end")]
    read = words_of("\n".join(table(("One", "Two"), rows)))
    assert len(read) == 6
    assert read[4:] == ["end", "end"]
    if plain(name).strip():
        assert read[2] == plain(name).strip()
    if plain(other).strip():
        assert read[3].strip() == plain(other).strip()


@given(st.lists(SPECIAL, max_size=4))
def test_no_command_ends_its_block(commands: list[str]) -> None:
    lines = [one.replace("\r", "").replace("\0", "") for one in commands]
    read = tokens("\n".join(["before", *fenced(lines), "after"]))
    (block,) = (one for one in read if one.type == "fence")
    assert block.content == "".join(f"{one}\n" for one in lines)
    assert read[-2].content == "after"


def test_headings_of_a_file_of_ones_own_become_lower_ones() -> None:
    given = "Names\n=====\nText.\n\n# DNS #\n```sh\n# no heading\n```\n###### Deep\n\nMore\n---\n"
    assert list(demoted(given, 2)) == [
        "### Names", "Text.", "", "### DNS #", "```sh", "# no heading", "```", "###### Deep", "",
        "#### More",
    ]  # fmt: skip


def test_a_block_that_is_left_open_is_closed() -> None:
    assert list(demoted("~~~~\nrun\n~~~\n", 2)) == ["~~~~", "run", "~~~", "~~~~"]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("RESTORE PROCEDURES", "restore-procedures"),
        ("Route 3: The Provider's Own Restore", "route-3-the-providers-own-restore"),
        ("1. Database Backups (PostgreSQL)", "1-database-backups-postgresql"),
        ("نسخة", "نسخة"),
    ],
)
def test_headings_have_names_to_link_to(title: str, name: str) -> None:
    assert anchor(title) == name
    (opening, words, _) = tokens(f"# {text(title)}\n")
    assert opening.type == "heading_open"
    assert plain_text(words) == title


def test_a_document_has_no_gaps_outside_of_blocks() -> None:
    lines = ["", "a  ", "", "", "b", *fenced(["x", "", "", "y  "]), ""]
    assert document(lines) == "a\n\nb\n\n```sh\nx\n\n\ny  \n```\n"
    assert not re.search(r"\n\n\n", document(["a", "", "", "", "b"]))
