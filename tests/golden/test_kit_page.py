"""The printed page of a recovery kit, word by word: people read it on their worst day."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from pypdf import PdfReader

from strongroom.report.kit_page import KitPage, PageReopening, PageRepository, page_parts, page_text
from strongroom.report.kit_pdf import page_pdf

PAGE = KitPage(
    "tms",
    "0123456789abcdef",
    "2026-11-26 12:00:00 Asia/Dubai",
    "0.9.0",
    "strongroom-kit-tms-20261126-080000.age",
    ("passphrase",),
    (
        PageRepository("local", "/backup/tms", "secrets/local.key"),
        PageRepository(
            "offsite",
            "s3:https://s3.example.com/tms backup",
            None,
            ('export AWS_ACCESS_KEY_ID="$(cat kit/secrets/OFFSITE_KEY_ID)"',),
        ),
    ),
    (("database", "postgres"), ("uploads", "files"), ("code", "git")),
    (
        "the configuration, /etc/strongroom/strongroom.yaml",
        "the master keys of local, offsite",
        "the secret env:DATABASE_URL",
    ),
    "5d41402abc4b2a76b9719d911017c592ae2f0e1c6a1b7d5f5d41402abc4b2a76",
    2,
)
TEXT = (Path(__file__).parent / "kit_page.txt").read_text(encoding="utf-8")


def test_what_the_page_says() -> None:
    assert page_text(PAGE) == TEXT


SHORT = """\

WITH STOCK PROGRAMS: MAKE IT RUN
In the same shell, as root:
    export KIT="$PWD/kit" WORK="$PWD" TARGET="$PWD/target"
    systemctl start tms

SEE WHETHER IT ANSWERS
Each line ends without a word:
    test "$(status_of http://127.0.0.1/health)" = 200

BY HAND, AFTERWARDS
[ ] Point training.example.ae at the new address.

WHOM TO CALL
database, Amina, +971

THE WHOLE RUNBOOK
The whole runbook, with every step and check, is runbook.md in the kit.

WHAT IT HOLDS
"""
REOPENING = PageReopening(
    ('export KIT="$PWD/kit" WORK="$PWD" TARGET="$PWD/target"', "systemctl start tms"),
    ('test "$(status_of http://127.0.0.1/health)" = 200',),
    ("Point training.example.ae at the new address.",),
    ("database, Amina, +971",),
    "runbook.md",
)


def test_the_runbook_in_short_comes_after_the_restore() -> None:
    page = replace(PAGE, reopening=REOPENING)
    assert SHORT in page_text(page)
    read = "".join(
        "".join(one.extract_text().split())
        for one in PdfReader(io.BytesIO(page_pdf(page, ()))).pages
    )
    for part in page_parts(page):
        for line in (part.heading, *part.told, *part.typed, *part.then):
            assert "".join(line.split()) in read
    unknown = page_text(replace(PAGE, reopening=PageReopening()))
    assert "How it starts is not known" in unknown
    assert "Nobody is named" in unknown


def test_for_recipients_it_asks_for_a_secret_key() -> None:
    keys = ("age1aaa", "age1bbb")
    text = page_text(replace(PAGE, sealed_for=keys, digest="", codes=0))
    words = " ".join(text.split())
    assert "secret key (of age) of any one of these opens it: age1aaa, age1bbb" in words
    assert "age -d -i IDENTITY -o kit.tar.gz" in text
    assert "--identity IDENTITY" in text
    for told in ("passphrase", "SHA-256", "FROM THIS PAPER"):
        assert told not in text, told


def test_the_file_says_what_the_text_says() -> None:
    reader = PdfReader(io.BytesIO(page_pdf(PAGE, ())))
    read = "".join("".join(one.extract_text().split()) for one in reader.pages)
    for part in page_parts(PAGE):
        for line in (part.heading, *part.told, *part.typed, *part.then):
            assert "".join(line.split()) in read
    assert "page1of" in read


def test_each_code_has_its_place_and_its_number() -> None:
    content = page_pdf(PAGE, ("STRONGROOM-KIT 01234567 1/2\nabc", "STRONGROOM-KIT 01234567 2/2\nd"))
    reader = PdfReader(io.BytesIO(content))
    last = reader.pages[-1].extract_text()
    assert "Code 1 of 2" in last
    assert "Code 2 of 2" in last
    assert f"page {len(reader.pages)} of {len(reader.pages)}" in last
    again = page_pdf(PAGE, ("STRONGROOM-KIT 01234567 1/2\nabc", "STRONGROOM-KIT 01234567 2/2\nd"))
    assert content == again, "the same page gives the same bytes"


def test_letters_that_the_page_lacks_are_told() -> None:
    page = replace(PAGE, held=("the file /srv/\u4e2d\u6587 <b>&</b>",))
    text = PdfReader(io.BytesIO(page_pdf(page, ()))).pages[0].extract_text()
    assert "/srv/\\u4e2d\\u6587 <b>&</b>" in text.replace("\n", " ")
