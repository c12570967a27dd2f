"""References to files: where a path leads, what is told, and that it stays a few lines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.model import Finding
from strongroom.postgres.references import Reference, UnansweredError
from strongroom.repository import SnapshotView
from strongroom.sources.file_references import (
    Comparison,
    FilesInSnapshot,
    FilesOnDisk,
    compare_references,
    find_orphans,
)
from tests.support.repository_ground import capture, new_repository

NAMES = ("a.pdf", "lpos/1.pdf", "lpos/odd \n näme €.pdf", "lpos/large.bin", "empty")


@pytest.fixture(params=["disk", "snapshot"])
def files(request: pytest.FixtureRequest, tree: Path) -> FilesOnDisk | FilesInSnapshot:
    """Both ways of looking give the same answers."""
    if request.param == "disk":
        return FilesOnDisk(tree)
    return FilesInSnapshot(view_of(tree), os.fsencode(tree))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    base = tmp_path / "uploads"
    for name in NAMES:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else name.encode())
    (base / "lpos/large.bin").write_bytes(os.urandom(3 << 20))
    (base / "linked.pdf").symlink_to("lpos/1.pdf")
    (base / "there").symlink_to("lpos")
    (base / "outside").symlink_to("/etc/hostname" if os.path.exists("/etc/hostname") else "/")
    return base


def view_of(tree: Path) -> SnapshotView:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    return SnapshotView(repository, committed.snapshot)


def compare(
    files: FilesOnDisk | FilesInSnapshot, *rows: Reference | str, prefix: str = ""
) -> Comparison:
    references = [Reference(row.encode()) if isinstance(row, str) else row for row in rows]
    return compare_references(references, files, subject="database to uploads", prefix=prefix)


def codes(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in findings]


def test_what_is_there_is_found(files: FilesOnDisk | FilesInSnapshot) -> None:
    result = compare(files, *NAMES, "./a.pdf", "lpos//1.pdf", "linked.pdf", "there/1.pdf")
    assert (result.findings, result.checked, result.complete) == ([], 9, True)


def test_what_is_not_there_is_missing(files: FilesOnDisk | FilesInSnapshot) -> None:
    gone = ("b.pdf", "lpos/2.pdf", "a.pdf/inner", "lpos", "A.pdf")
    result = compare(files, *gone, "a.pdf")
    assert codes(result.findings) == [("reference-missing", name) for name in gone]


def test_sizes_and_hashes_are_of_the_content(
    files: FilesOnDisk | FilesInSnapshot, tree: Path
) -> None:
    rows = []
    for name in NAMES:
        content = (tree / name).read_bytes()
        sha256, md5 = hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest()
        rows.append(Reference(name.encode(), len(content), sha256, md5))
    assert compare(files, *rows).findings == []
    wrong = [
        Reference(b"a.pdf", size_bytes=4),
        Reference(b"lpos/1.pdf", sha256="00" * 32),
        Reference(b"lpos/large.bin", sha256="00" * 32),
        Reference(b"empty", md5="00" * 16),
    ]
    found = compare(files, *wrong).findings
    assert codes(found) == [("reference-differs", row.path.decode()) for row in wrong]
    assert found[0].message == "its row says 4 bytes, it has 5"


@pytest.mark.parametrize(
    "path", ["/a.pdf", "https://files.example.com/a.pdf", "s3://b/a", "../a.pdf", "x/../../a", "."]
)
def test_what_leads_elsewhere_is_unchecked(files: FilesOnDisk | FilesInSnapshot, path: str) -> None:
    result = compare(files, "a.pdf", path)
    assert codes(result.findings) == [("reference-unchecked", "database to uploads")]
    assert path in result.findings[0].message
    assert "see `prefix:`" in result.findings[0].message
    assert (result.checked, result.complete) == (1, False)


def test_a_prefix_is_cut_off(files: FilesOnDisk | FilesInSnapshot) -> None:
    prefix = "https://files.example.com/uploads"
    good = [f"{prefix}/{name}" for name in NAMES]
    assert compare(files, *good, prefix=prefix).findings == []
    assert compare(files, *good, prefix=prefix + "/").findings == []
    assert compare(files, "/srv/tms/uploads/a.pdf", prefix="/srv/tms/uploads/").findings == []
    result = compare(files, *good, "a.pdf", f"{prefix}/../a.pdf", prefix=prefix)
    assert codes(result.findings) == [("reference-unchecked", "database to uploads")]
    assert result.findings[0].message.startswith("2 paths do not begin with `prefix:`")


def test_a_thousand_missing_files_are_a_few_lines(files: FilesOnDisk | FilesInSnapshot) -> None:
    result = compare(files, *(f"gone/{number}.pdf" for number in range(1000)))
    assert len(result.findings) == 21
    assert result.findings[-1].subject == "database to uploads"
    assert result.findings[-1].message.startswith("1000 in all")
    elsewhere = compare(files, *(f"/{number}" for number in range(1000)))
    assert len(elsewhere.findings) == 1
    assert "and 990 more" in elsewhere.findings[0].message


def test_a_select_that_breaks_off_is_unchecked(files: FilesOnDisk | FilesInSnapshot) -> None:
    def rows() -> Iterator[Reference]:
        yield Reference(b"a.pdf")
        raise UnansweredError("the column size holds values of type list")

    result = compare_references(rows(), files, subject="database to uploads")
    assert codes(result.findings) == [("reference-unchecked", "database to uploads")]
    assert (result.checked, result.complete) == (1, False)


def test_a_link_that_leads_out_is_no_file_of_the_snapshot(tree: Path) -> None:
    files = FilesInSnapshot(view_of(tree), os.fsencode(tree))
    (found,) = compare(files, "outside").findings
    assert found.code == "reference-missing"
    assert "leads out" in found.message
    (tree / "round").symlink_to("about")
    (tree / "about").symlink_to("round")
    files = FilesInSnapshot(view_of(tree), os.fsencode(tree))
    (found,) = compare(files, "round").findings
    assert "too many" in found.message


def test_files_that_nobody_refers_to_are_one_note(tree: Path) -> None:
    view, root = view_of(tree), os.fsencode(tree)
    referred = compare(FilesInSnapshot(view, root), *NAMES[1:]).referred
    (note,) = find_orphans(view, root, referred, "uploads")
    assert (note.code, note.subject) == ("file-orphaned", "uploads")
    assert note.message == "no row refers to 1 files: a.pdf"
    everything = compare(FilesInSnapshot(view, root), *NAMES).referred
    assert list(find_orphans(view, root, everything, "uploads")) == []
