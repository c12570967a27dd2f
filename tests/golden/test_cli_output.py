"""What people read on the main path, word for word; ids, times and sizes of packs are masked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strongroom.cli.main import strongroom
from tests.e2e.command_line import CONFIG, PASSWORD, Place, make_place, run
from tests.support.restic import stock_restics

_MASKS = (
    (r"\b[0-9a-hjkmnp-tv-z]{26}\b", "POINT"),
    (r"\b[0-9a-f]{8}\b", "SNAPSHOT"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r"\b\d+\.\d s\b", "SPAN"),
    (r"\b\d+\.\d KiB(?= +SPAN)", "ADDED"),
    (r"\b\d+ packs?\b", "PACKS"),
    (r"\b[\d.]+ [KMGT]iB(?= free)", "FREE"),
)


def _masked(text: str, place: Place) -> list[str]:
    text = text.replace(str(place.path), "PLACE")
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return [re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("errors"))
    made.json("init")
    made.json("backup")
    return made


def _said(place: Place, *commands: list[str]) -> str:
    said: list[str] = []
    for command in commands:
        said += [f"$ {' '.join(command)}"]
        words = [word.replace("PLACE", str(place.path)) for word in command]
        said += _masked(place.run(*words).text, place)
    return "\n".join(said)


def test_the_main_path_reads_well(place: Place) -> None:
    said = _said(
        place,
        ["init"],
        ["backup", "--quiet"],
        ["snapshots"],
        ["restore", "uploads", "--to", "PLACE/back"],
        ["restore", "uploads", "--to", "PLACE/back", "--preview"],
        ["drill"],
        ["check"],
        ["snapshots"],
    )
    assert said == MAIN_PATH


def test_what_was_not_captured_is_said_again_at_the_drill(tmp_path: Path) -> None:
    config = CONFIG.replace("required: [lpos]", "required: [lpos, certificates]")
    place = make_place(tmp_path, config)
    place.json("init")
    assert _said(place, ["backup", "--quiet"], ["drill"], ["snapshots"]) == INCOMPLETE


MAIN_PATH = """\
$ init
Created repository local at PLACE/local
$ backup --quiet
Recovery point POINT of tms
SOURCE  REPOSITORY  SNAPSHOT  SIZE  ADDED  TIME
uploads  local  SNAPSHOT  175.8 KiB  ADDED  SPAN
Captured 1 of 1 source in SPAN.
$ snapshots
ID  SOURCE  REPOSITORY  CAPTURED (UTC)  SIZE  VERDICT  RECOVERY POINT
SNAPSHOT  uploads  local  TIME  175.8 KiB  UNKNOWN  POINT
$ restore uploads --to PLACE/back
Restored uploads to PLACE/back from snapshot SNAPSHOT (local, TIME UTC): 175.8 KiB
PROVEN  uploads: identical to snapshot SNAPSHOT (local, TIME UTC); 6 comparisons in SPAN
$ restore uploads --to PLACE/back --preview
Would restore uploads from snapshot SNAPSHOT (local, TIME UTC, SPAN old)
  175.8 KiB to PLACE/back, FREE free there
  leave 5 entries as captured
  compared: names, types, sizes, times, modes and owners
It would be refused: PLACE/back: the directory is not empty
  Choose an empty target. Or --replace back finishes what a restore that was stopped has left \
there; what is there is kept beside it.
$ drill
PROVEN  uploads: identical to snapshot SNAPSHOT (local, TIME UTC); 6 comparisons in SPAN
$ check
local: sound, PACKS, SPAN
$ snapshots
ID  SOURCE  REPOSITORY  CAPTURED (UTC)  SIZE  VERDICT  RECOVERY POINT
SNAPSHOT  uploads  local  TIME  175.8 KiB  PROVEN  POINT"""

INCOMPLETE = """\
$ backup --quiet
Recovery point POINT of tms
SOURCE  REPOSITORY  SNAPSHOT  SIZE  ADDED  TIME
uploads  local  SNAPSHOT  175.8 KiB  ADDED  SPAN
  warning  folder-missing  certificates: PLACE/uploads/certificates is not a directory
Captured 1 of 1 source in SPAN.
$ drill
  unknown  capture-incomplete  uploads: 1 files or folders were not there to be read: certificates
UNKNOWN  uploads: not known to be identical to snapshot SNAPSHOT (local, TIME UTC); \
6 comparisons in SPAN
$ snapshots
ID  SOURCE  REPOSITORY  CAPTURED (UTC)  SIZE  VERDICT  RECOVERY POINT
SNAPSHOT  uploads  local  TIME  175.8 KiB  UNKNOWN  POINT"""


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            ["restore", "uploads", "--to", "PLACE/uploads"],
            "Error: PLACE/uploads: the directory is not empty\nHint: Choose an empty target. Or "
            "--replace uploads finishes what a restore that was stopped has left there; what is "
            "there is kept beside it.",
        ),
        (
            ["restore", "uploads", "--to", "PLACE/x", "--snapshot", "abc"],
            "Error: abc: no snapshot has this id\n"
            "Hint: List what exists with `strongroom snapshots`.",
        ),
        (
            ["backup", "database"],
            "Error: database: there is no source of this name\nHint: Choose from: uploads.",
        ),
        (
            ["restore", "uploads"],
            "Error: --to TARGET is missing: what is to be restored, and where to?\n"
            "Hint: See `strongroom restore --help`.",
        ),
        (
            ["--quiet", "--verbose", "backup"],
            "Error: --quiet and --verbose exclude each other\nHint: See `strongroom --help`.",
        ),
        (
            ["export", "latest:uploads", "--format", "sql", "--output", "PLACE/x"],
            "Error: PLACE/x: a snapshot of kind files has no format sql\n"
            "Hint: Choose one of: tar, tar.gz.",
        ),
        (
            ["hook", "install"],
            "Error: there is no source of kind git\nHint: Name one that is, or add it to "
            "`sources:`.",
        ),
    ],
)
def test_errors_say_what_why_and_what_to_do(captured: Place, command: list[str], text: str) -> None:
    answer = captured.run(*(word.replace("PLACE", str(captured.path)) for word in command))
    said = [line for line in answer.err.splitlines() if line.startswith(("Error:", "Hint:"))]
    assert "\n".join(said).replace(str(captured.path), "PLACE") == text
    assert answer.out == b""


def test_a_fault_in_the_configuration_names_its_line(tmp_path: Path) -> None:
    place = make_place(tmp_path, CONFIG.replace("kind: files", "kind: fils"))
    assert place.run("backup").err.replace(str(place.config), "FILE").splitlines() == [
        "Error: FILE: 1 fault",
        "  line 4, sources.uploads: `kind` must be `postgres`, `files` or `git`; "
        "did you mean `files`?",
        "Hint: Correct the places named, then run `strongroom config check`.",
    ]


def test_every_command_helps_with_two_examples() -> None:
    assert len(strongroom.commands) >= 15
    for name, command in strongroom.commands.items():
        inner = getattr(command, "commands", {})
        for words in [[name], *([name, below] for below in inner)]:
            answer = run(*words, "--help")
            assert answer.status == 0
            head, _, examples = answer.text.partition("\nExamples:\n")
            assert head.startswith(f"Usage: strongroom {' '.join(words)} ")
            lines = examples.splitlines()
            assert len(lines) == 2, words
            assert all(line.startswith("  strongroom ") and len(line) < 90 for line in lines)


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from strongroom.cli.main import main\n"
        "status = main(['restore', '--help'])\n"
        "heavy = {'pydantic', 'psycopg', 'rich', 'cryptography', 'yaml', 'zstandard', 'asyncio'}\n"
        "found = sorted(heavy & set(sys.modules))\n"
        "sys.exit(' '.join(found) if found else status)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr


_HOSTILE = "a\rPROVEN \x1b]0;all fine\x07\u202egnp\nPROVEN  uploads\x9b2K"
_SHOWN = r"a\rPROVEN \x1b]0;all fine\x07\u202egnp\nPROVEN  uploads\x9b2K"


def test_names_that_others_chose_reach_no_terminal(tmp_path: Path) -> None:
    place = make_place(tmp_path, CONFIG.replace("path: uploads", f"path: {tmp_path}/uploads"))
    place.json("init")
    place.json("backup")
    (place.uploads / _HOSTILE).write_bytes(b"sent by somebody")
    (place.uploads / "link").symlink_to(_HOSTILE)
    place.json("backup")
    first, second = (one["id"] for one in place.snapshots())
    listed = place.run("ls", second, place.uploads)
    assert [line.split("uploads/", 1)[1] for line in listed.text.splitlines()[1:-1]] == [
        _SHOWN,
        f"link -> {_SHOWN}",
        "lpos",
        "quotes",
    ]
    compared = place.run("diff", first, second).text.splitlines()
    assert f"+ {place.uploads}/{_SHOWN}" in compared
    proven = place.run("prove", "uploads", "--target", place.uploads, "--snapshot", first)
    assert f"  failure  tree-extra  {_SHOWN}: it is not in the snapshot" in proven.text.splitlines()
    missing = place.run("dump", second, f"/{_HOSTILE}")
    assert _SHOWN in missing.err
    restic = stock_restics()[0]
    tags = ("--tag", f"source:{_HOSTILE}", "--tag", f"point:{_HOSTILE}")
    restic.run(place.path / "local", "backup", *tags, place.uploads, RESTIC_PASSWORD=PASSWORD)
    told = place.run("snapshots")
    assert any(_SHOWN in line and line.endswith(_SHOWN) for line in told.text.splitlines())
    for answer in (listed, proven, missing, told):
        assert not set("\r\x1b\x07\u202e\x9b") & set(answer.text + answer.err)
    document = place.json("ls", second, place.uploads)
    assert document["entries"][0]["path"].endswith("/" + _HOSTILE)
