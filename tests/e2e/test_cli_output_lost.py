"""Where the answer can't be written, that is what is told: a full disk, a closed stream."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.command_line import Place, make_place

_FILE = "/quotes/Q 1\nodd.txt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("lost"))
    made.json("init")
    made.json("backup")
    return made


def _shell(place: Place, redirection: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-m", "strongroom", "--config", str(place.config), *words]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *program],
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "it is closed")],
)
@pytest.mark.parametrize(
    "words",
    [
        ("snapshots",),
        ("--json", "backup"),
        ("dump", "latest:uploads", "UPLOADS" + _FILE),
        ("ls", "latest:uploads"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_an_answer_that_is_lost_is_an_error_of_its_own(
    place: Place, words: tuple[str, ...], redirection: str, reason: str
) -> None:
    words = tuple(one.replace("UPLOADS", str(place.uploads)) for one in words)
    ended = _shell(place, redirection, *words)
    assert ended.returncode == 6, ended.stderr
    assert f"Error: standard output: {reason}\nHint: " in ended.stderr.decode()
    assert b"foresee" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_an_error_keeps_its_own_status(place: Place, redirection: str) -> None:
    for words in (("--json", "ls", "abcdef"), ("ls", "abcdef")):
        ended = _shell(place, redirection, *words)
        assert ended.returncode == 26
        assert b"no snapshot has this id" in ended.stderr


def test_help_without_space_is_no_bug(place: Place) -> None:
    for words in (("--help",), ("--version",), ("restore", "--help")):
        assert _shell(place, ">/dev/full", *words).returncode == 6


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_what_is_told_meanwhile_may_be_lost(place: Place, redirection: str) -> None:
    ended = _shell(place, redirection, "--json", "backup")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["snapshots"]
    assert _shell(place, redirection, "ls", "abcdef").returncode == 26


def test_a_closed_stream_s_place_is_not_given_to_a_file() -> None:
    code = (
        "import os, sys\n"
        "from strongroom.cli.main import main\n"
        "sys.argv = ['strongroom', 'config', 'sample']\n"
        "main()\n"
        "sys.exit(os.open(os.devnull, os.O_RDONLY))\n"
    )
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(closed, check=False, timeout=60).returncode > 2
