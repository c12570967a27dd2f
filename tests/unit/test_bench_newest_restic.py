"""Where a newer restic would come from: the archive that apt is configured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.newest_restic import NewerResticError, newest_restic, parse_lines, parse_stanzas

STANZAS = """\
Types: deb
# a snapshot of an earlier day
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
"""
LINES = """\
# deb http://off.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib  # the usual
deb [arch=amd64 signed-by=/keys/other.gpg] https://other.example/apt stable main
deb-src http://sources.example/debian bookworm main
"""


def test_stanzas_give_enabled_binary_archives() -> None:
    [(suites, archive)] = parse_stanzas(STANZAS)
    assert suites == ["bookworm", "bookworm-updates"]
    assert archive.address == "http://mirror.example/debian"
    assert archive.keyring == "/keys/debian.gpg"


def test_lines_give_binary_archives_with_their_keys() -> None:
    first, second = parse_lines(LINES)
    assert first[0] == ["bookworm"]
    assert first[1].address == "http://mirror.example/debian"
    assert second[1].keyring == "/keys/other.gpg"


def test_what_was_fetched_before_is_taken_from_the_cache(tmp_path: Path) -> None:
    program = tmp_path / "later" / "usr" / "bin" / "restic"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho restic 9.9.9\n")
    program.chmod(0o755)
    assert newest_restic(tmp_path, suites=["latest", "later"]) == program


def test_without_any_suite_there_is_no_newer_restic(tmp_path: Path) -> None:
    with pytest.raises(NewerResticError):
        newest_restic(tmp_path, suites=[])
