"""The printed page of a recovery kit, word by word: people read it on their worst day."""

from __future__ import annotations

import io
from dataclasses import replace

from pypdf import PdfReader

from strongroom.report.kit_page import KitPage, PageRepository, page_parts, page_text
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
TEXT = """\
RECOVERY KIT OF TMS
Kit 0123456789abcdef, made 2026-11-26 12:00:00 Asia/Dubai by Strongroom 0.9.0

WHAT THIS IS
With the file strongroom-kit-tms-20261126-080000.age and one repository that survived,
everything comes back on a machine that has nothing else. A passphrase opens it. Keep that
apart from this paper.
Repository local lies at /backup/tms
Repository offsite lies at s3:https://s3.example.com/tms backup
SHA-256 of the file: 5d41402abc4b2a76b9719d911017c592ae2f0e1c6a1b7d5f5d41402abc4b2a76

RECOVER WITH STRONGROOM
On Linux with Python 3.11 or newer:
    python3 -m venv strongroom
    strongroom/bin/pip install strongroom==0.9.0
    export NEW_DATABASE_URL=postgresql://USER:PASSWORD@HOST/NEW_DATABASE
    strongroom/bin/strongroom recover --kit strongroom-kit-tms-20261126-080000.age --to DIRECTORY --database env:NEW_DATABASE_URL
Directory and database have to be new or empty. It says what it does, proves what came back,
and can be started again when it was stopped.

FROM THIS PAPER ALONE
The 2 codes on the pages that follow are the file itself. Scan them with any reader of QR
codes, put their texts into one file in any order, and give that to --kit. By hand, with the
texts in code-1.txt, code-2.txt and so on, this joins them:
    for n in $(seq 2); do sed 1d code-$n.txt; echo; done | grep . >strongroom-kit-tms-20261126-080000.age

OPEN IT WITHOUT STRONGROOM
The program `age` (a package of every distribution) opens the file:
    age -d -o kit.tar.gz strongroom-kit-tms-20261126-080000.age
    mkdir -m 700 kit && tar -xzf kit.tar.gz -C kit

WITH STOCK RESTIC: LOCAL
Choose this repository:
    export RESTIC_REPOSITORY=/backup/tms
    export RESTIC_PASSWORD_FILE=kit/secrets/local.key

WITH STOCK RESTIC: OFFSITE
Choose this repository:
    export RESTIC_REPOSITORY='s3:https://s3.example.com/tms backup'
    export AWS_ACCESS_KEY_ID="$(cat kit/secrets/OFFSITE_KEY_ID)"
Its password is not in this kit: put it into a file, and name that in RESTIC_PASSWORD_FILE.

WITH STOCK RESTIC: BRING IT BACK
The newest of each; `restic snapshots` lists all, and those with the same tag point: belong
together. Run as root, so that files get their owners.
    restic restore latest --tag source:database,application:tms --target restored/database
    sh restored/database/*/restore.sh database_restored
    restic restore latest --tag source:uploads,application:tms --target restored/uploads
    restic restore latest --tag source:code,application:tms --target restored/code
    git clone --mirror restored/code/*/repository.bundle restored/code-code/.git
    git -C restored/code-code config --bool core.bare false
    git -C restored/code-code checkout
    git -C restored/code-code remote remove origin
    cp -a restored/code/*/untracked/. restored/code-code/
A database needs psql, and a server that PGHOST, PGPORT, PGUSER and PGPASSWORD lead to, as a
superuser. Passwords of roles are in no snapshot: set them anew.

WHAT IT HOLDS
the configuration, /etc/strongroom/strongroom.yaml
the master keys of local, offsite
the secret env:DATABASE_URL
"""


def test_what_the_page_says() -> None:
    assert page_text(PAGE) == TEXT


def test_for_recipients_it_asks_for_a_secret_key() -> None:
    keys = ("age1aaa", "age1bbb")
    text = page_text(replace(PAGE, sealed_for=keys, digest="", codes=0))
    assert "secret key (of age) of any one of these opens it: age1aaa, age1bbb" in text
    assert "age -d -i IDENTITY -o kit.tar.gz" in text
    assert "--identity IDENTITY" in text
    for told in ("passphrase", "SHA-256", "paper"):
        assert told not in text.lower().replace("sha-256", "SHA-256"), told


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
