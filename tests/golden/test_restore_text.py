"""What people read when something is replaced, rolled back, refused, or was killed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.command_line import Place, make_place

_MASKS = (
    (r"\b[0-9a-f]{8}\b", "SNAPSHOT"),
    (r"\d{8}T\d{6}Z", "STAMP"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r"\b\d+\.\d s\b", "SPAN"),
    (r"\b[\d.]+ [KMGT]iB(?= free)", "FREE"),
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    made.json("init")
    made.json("backup")
    (made.uploads / "lpos" / "LPO-1.pdf").write_text("overwritten by mistake")
    (made.uploads / "mine").write_text("work of today")
    return made


def said(place: Place, *words: str) -> str:
    answer = place.run(*(word.replace("PLACE", str(place.path)) for word in words))
    errors = [one for one in answer.err.splitlines() if not one.startswith("restore uploads: ")]
    lines = [*answer.text.splitlines(), *errors, f"({answer.status})"]
    text = "\n".join(lines).replace(str(place.path), "PLACE")
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text


REPLACE = ("restore", "uploads", "--to", "PLACE/uploads", "--replace", "uploads")


def test_a_preview_and_what_follows(place: Place) -> None:
    assert said(place, *REPLACE, "--preview") == PREVIEW
    assert said(place, *REPLACE, "--reason", "the import went wrong") == REPLACED
    assert said(place, "restore", "--rollback", "PLACE/uploads") == ROLLED_BACK
    assert said(place, "restore", "--rollback", "PLACE/uploads") == NOTHING_KEPT


PREVIEW = """\
Would restore uploads from snapshot SNAPSHOT (local, TIME UTC, SPAN old)
  175.8 KiB to PLACE/uploads, FREE free there
  change 1 entry, 97.7 KiB:
    lpos/LPO-1.pdf
  take away, and keep beside, 1 entry, 13 B:
    mine
  leave 4 entries as captured
  compared: names, types, sizes, times, modes and owners
Nothing stands in the way. Nothing was written.
(0)"""

REPLACED = """\
Restored uploads to PLACE/uploads from snapshot SNAPSHOT (local, TIME UTC): 175.8 KiB, of which \
78.1 KiB were there already
What was there is kept as PLACE/uploads.before-STAMP; remove it when you are sure.
PROVEN  uploads: identical to snapshot SNAPSHOT (local, TIME UTC); 6 comparisons in SPAN
(0)"""

ROLLED_BACK = """\
Rolled back PLACE/uploads: it is again what was kept as PLACE/uploads.before-STAMP
What gave way is kept as PLACE/uploads.rolled-back-STAMP; remove it when you are sure.
No reason is given, and recorded so; --reason gives one.
(0)"""

NOTHING_KEPT = """\
Error: PLACE/uploads: nothing is kept of an earlier replacement
Hint: Only what `restore --replace` has put in its place can be rolled back.
(5)"""


def test_after_a_run_that_was_killed(place: Place) -> None:
    """The journal of one that had begun, as it would have left it."""
    from strongroom.recovery.switch_journal import Operation, Plan, journal_beside, open_journal

    plan = Plan(Operation.REPLACE, "uploads.restored-1", "uploads.before-1")
    with open_journal(journal_beside(place.uploads), "uploads") as journal:
        journal.write(plan)
    assert said(place, "restore", "--rollback", "PLACE/uploads", "--quiet") == NEVER_SWITCHED
    with open_journal(journal_beside(place.uploads), "uploads") as journal:
        journal.write(plan)
    left = place.path / "uploads.restored-20251122T140000Z"
    left.mkdir()
    told = said(place, *REPLACE, "--quiet").splitlines()
    assert [one for one in told if one.startswith("  ")] == SETTLED.splitlines()


NEVER_SWITCHED = """\
Error: PLACE/uploads: nothing was rolled back: the newest replacement was stopped before it came \
into its place, and what is there is what was there before it
Hint: Run the command again to undo the replacement before that one.
(5)"""

SETTLED = """\
  warning  switch-settled  PLACE/uploads: an earlier replace was stopped before it came into its \
place, and has changed nothing; what it had restored is removed
  warning  restore-left-over  PLACE/uploads.restored-STAMP: an earlier run has left this, unproven \
or unfinished; remove it when you are sure"""


def test_what_is_refused(place: Place) -> None:
    wrong = said(place, *REPLACE[:-1], "upload", "--quiet")
    assert wrong == (
        "Error: PLACE/uploads: the name that was typed is 'upload', the target's is 'uploads'\n"
        "Hint: Type --replace uploads when this is really meant.\n(5)"
    )
    none = said(place, "restore", "uploads", "--to", "PLACE/x", "--include", "no/*", "--quiet")
    assert none == (
        "Error: snapshot SNAPSHOT: no file matches no/*\n"
        "Hint: List what it holds with `strongroom ls`; patterns are those of a .gitignore, from "
        "the source's folder on: 'certificates/2026/*', '**/*.pdf'.\n(27)"
    )
