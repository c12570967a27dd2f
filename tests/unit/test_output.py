"""Files that people ask for are for nobody else to read, and never take another's place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from strongroom.errors import TargetError
from strongroom.service.output import write_whole


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_only_its_maker_reads_it(tmp_path: Path) -> None:
    modes = []

    def fill(file: IO[bytes]) -> None:
        file.write(b"rows")
        modes.append(os.fstat(file.fileno()).st_mode & 0o777)

    write_whole(tmp_path / "out.sql", fill)
    modes.append((tmp_path / "out.sql").stat().st_mode & 0o777)
    assert modes == [0o600, 0o600]
    assert [one.name for one in tmp_path.iterdir()] == ["out.sql"]


def test_what_appeared_meanwhile_stays(tmp_path: Path) -> None:
    output = tmp_path / "out.sql"

    def fill(file: IO[bytes]) -> None:
        file.write(b"ours")
        output.write_bytes(b"theirs")

    with pytest.raises(TargetError, match="it exists already"):
        write_whole(output, fill)
    assert output.read_bytes() == b"theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["out.sql"]
