"""What a preview tells: created, changed, taken away, how old; and that it writes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_line import CONFIG, Place, make_place
from tests.support.code_ground import commit, make_application, write
from tests.support.tree_ground import describe

WITH_CODE = CONFIG.replace("repositories:", "  code: {kind: git, path: app}\nrepositories:")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Files and code with one recovery point."""
    made = make_place(tmp_path, WITH_CODE)
    make_application(tmp_path / "app")
    made.json("init")
    made.json("backup")
    return made


def preview(place: Place, target: Path, *words: object, source: str = "uploads") -> dict[str, Any]:
    """Any: JSON values."""
    records = len(list(place.ledger.entries()))
    answer = place.run("--json", "restore", source, "--to", target, "--preview", *words)
    obstacle = answer.document["obstacle"]
    assert answer.status == (0 if obstacle is None else 5)
    assert len(list(place.ledger.entries())) == records
    return answer.document


def counts(document: dict[str, Any]) -> tuple[int, int, int, int]:
    changes = document["changes"]
    groups = (changes[one]["count"] for one in ("created", "changed", "deleted"))
    created, changed, deleted = groups
    return created, changed, deleted, changes["same"]


def test_a_new_target_gets_everything(place: Place) -> None:
    told = preview(place, place.path / "new")
    assert counts(told) == (5, 0, 0, 0)
    assert told["changes"]["created"]["bytes"] == told["bytes"] == 180_026
    assert told["changes"]["created"]["first"][0] == "lpos"
    assert not (place.path / "new").exists()
    assert told["age_seconds"] < 600
    assert told["age"].endswith((" s", " min"))
    assert told["replaces"] is False


def test_an_untouched_target_would_stay_as_it_is(place: Place) -> None:
    told = preview(place, place.uploads, "--replace", "uploads")
    assert told["obstacle"] is None
    assert counts(told) == (0, 0, 0, 5)


def test_a_target_that_is_partly_different(place: Place) -> None:
    before = place.uploads
    (before / "lpos" / "LPO-1.pdf").write_text("overwritten by mistake")
    (before / "quotes" / "Q 1\nodd.txt").unlink()
    (before / "mine" / "deep").mkdir(parents=True)
    (before / "mine" / "deep" / "file").write_text("four")
    described = describe(before)
    told = preview(place, before, "--replace", "uploads")
    assert counts(told) == (1, 1, 3, 3)
    assert told["changes"]["created"]["first"] == ["quotes/Q 1\nodd.txt"]
    assert told["changes"]["changed"]["first"] == ["lpos/LPO-1.pdf"]
    assert told["changes"]["deleted"]["first"] == ["mine", "mine/deep", "mine/deep/file"]
    assert told["changes"]["deleted"]["bytes"] == 4
    assert describe(before) == described
    # Without --replace it is refused, and looked at all the same.
    refused = preview(place, before)
    assert refused["obstacle"]["code"] == "target-not-empty"
    assert counts(refused) == counts(told)
    text = place.run("restore", "uploads", "--to", before, "--preview", "--replace", "uploads").text
    assert [line for line in text.splitlines() if line.startswith("  ")][1:] == [
        "  create 1 entry, 12 B:",
        "    quotes/Q 1\\nodd.txt",
        "  change 1 entry, 97.7 KiB:",
        "    lpos/LPO-1.pdf",
        "  take away, and keep beside, 3 entries, 4 B:",
        "    mine",
        "    mine/deep",
        "    mine/deep/file",
        "  leave 3 entries as captured",
        "  compared: names, types, sizes, times, modes and owners",
    ]
    assert text.endswith("Nothing stands in the way. Nothing was written.\n")


def test_contents_are_read_where_that_is_asked_for(place: Place) -> None:
    file = place.uploads / "lpos" / "LPO-1.pdf"
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[50] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert counts(preview(place, place.uploads, "--replace", "uploads")) == (0, 0, 0, 5)
    told = preview(place, place.uploads, "--replace", "uploads", "--contents")
    assert counts(told) == (0, 1, 0, 4)
    assert told["changes"]["compared"].endswith("contents")
    assert place.run("restore", "uploads", "--to", place.uploads, "--contents").status == 2


@pytest.mark.parametrize(
    ("change", "is_changed"),
    [
        (lambda one: one.chmod(0o600), True),
        (lambda one: os.chown(one, 5, 5), True),
        (lambda one: os.utime(one, (1, 1)), True),
        (lambda one: (one.unlink(), one.mkdir()), True),
        (lambda one: (one.unlink(), one.symlink_to("LPO-2.pdf")), True),
        (lambda one: one.read_bytes(), False),
    ],
    ids=["mode", "owner", "time", "folder", "link", "read"],
)
def test_each_change_of_a_file_counts(place: Place, change: Any, is_changed: bool) -> None:
    # Any: a table of calls
    change(place.uploads / "lpos" / "LPO-1.pdf")
    _, changed, _, _ = counts(preview(place, place.uploads, "--replace", "uploads"))
    assert changed == is_changed


def test_the_name_has_to_be_typed_for_the_preview_too(place: Place) -> None:
    told = preview(place, place.uploads, "--replace", "upload")
    assert "the target's is 'uploads'" in told["obstacle"]["message"]
    assert told["changes"] is None


def test_a_part_counts_what_matches(place: Place) -> None:
    told = preview(place, place.path / "new", "--include", "lpos/*")
    assert counts(told) == (2, 0, 0, 0)
    none = place.run(
        "--json", "restore", "uploads", "--to", place.path / "new", "--preview", "--include", "*.x"
    )
    assert none.document["obstacle"]["code"] == "path-missing"
    assert none.status != 0


def test_of_code_the_commits_are_compared(place: Place) -> None:
    app = place.path / "app"
    same = preview(place, app, "--replace", "app", source="code")
    assert counts(same) == (0, 0, 0, 1)
    write(app / "public" / "index.php", "changed")
    commit(app)
    told = preview(place, app, "--replace", "app", source="code")
    assert counts(told) == (0, 1, 0, 0)
    assert " becomes " in told["changes"]["changed"]["first"][0]
    assert counts(preview(place, place.path / "new", source="code")) == (1, 0, 0, 0)


def test_too_little_room_is_told_by_a_preview(place: Place) -> None:
    from tests.support.observation import small_disk

    with small_disk(100 << 10) as disk:
        told = preview(place, disk / "new")
        assert told["obstacle"]["code"] == "target-space"
        assert told["free_bytes"] == 100 << 10
        assert preview(place, disk / "new", "--ignore-space")["obstacle"] is None
        answer = place.run("restore", "uploads", "--to", disk / "new")
        assert answer.status == 5
        assert "not enough room" in answer.err
        assert list(disk.iterdir()) == []
