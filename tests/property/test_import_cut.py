"""Wherever a dump or an archive was cut: it is refused, or nothing of it is missing."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from datetime import UTC
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import SourceError
from strongroom.postgres.dump_text import pieces, survey_dump
from strongroom.sources.unpacking import unpack

NAMES = st.text("abcdefgh", min_size=1, max_size=6)
FILES = st.dictionaries(NAMES, st.binary(max_size=2000), min_size=1, max_size=6)
VALUES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\\"), max_size=20
)
TABLES = st.dictionaries(NAMES, st.lists(VALUES, max_size=5), min_size=1, max_size=4)
END = b"-- PostgreSQL database dump complete"


def _tar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return made.getvalue()


@given(FILES, st.booleans(), st.data())
@settings(max_examples=150)
def test_an_archive(files: dict[str, bytes], packs: bool, data: st.DataObject) -> None:
    whole = gzip.compress(_tar(files), mtime=0) if packs else _tar(files)
    place = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        archive, into = Path(folder, "a"), Path(folder, "into")
        archive.write_bytes(whole[:place])
        into.mkdir()
        refusal = ""
        try:
            unpack(archive, into, zone=UTC)
        except SourceError as refused:
            refusal = refused.code
        if refusal:
            assert (refusal, place < len(whole)) == ("file-incomplete", True)
        else:
            assert {one.name: one.read_bytes() for one in into.iterdir()} == files


def _dump(tables: dict[str, list[str]]) -> bytes:
    text = "--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\n"
    for name, values in tables.items():
        text += f"CREATE TABLE public.{name} (value text);\n"
        text += f"COPY public.{name} (value) FROM stdin;\n"
        text += "".join(f"{value}\n" for value in values) + "\\.\n\n"
    return text.encode() + b"--\n" + END + b"\n--\n\n\\unrestrict x\n"


@given(TABLES, st.data())
@settings(max_examples=300)
def test_a_plain_dump(tables: dict[str, list[str]], data: st.DataObject) -> None:
    whole = _dump(tables)
    place = data.draw(st.integers(0, len(whole)))
    facts = survey_dump([whole[:place]])
    assert facts.complete == (place >= whole.rindex(END) + len(END))
    assert facts.complete == (not facts.ends)


@given(TABLES, st.integers(1, 50))
@settings(max_examples=200)
def test_however_a_dump_is_read_its_pieces_are_the_same(
    tables: dict[str, list[str]], size: int
) -> None:
    whole = _dump(tables)
    blocks = [whole[place : place + size] for place in range(0, len(whole), size)]
    found = list(pieces(blocks))
    assert b"".join(one.content for one in found) == whole
    rows = dict.fromkeys(tables, b"")
    for one in found:
        if one.table is not None:
            rows[one.table.removeprefix("public.")] += one.content
    expected = {
        name: "".join(f"{value}\n" for value in values).encode() + b"\\.\n"
        for name, values in tables.items()
    }
    assert rows == expected
