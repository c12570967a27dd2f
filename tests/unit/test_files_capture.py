"""Capturing directory trees: what is read and what is not, and what happens to trees that move."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, SourceError
from strongroom.model import Finding, Silent
from strongroom.repository import (
    ChunkProfile,
    Committed,
    Content,
    Repository,
    SnapshotView,
    SnapshotWriter,
)
from strongroom.repository.storage import Buffer
from strongroom.sources import CaptureContext
from strongroom.sources.file_walk import TreeWalk
from strongroom.sources.files import FilesSource
from tests.support.observation import as_nobody, open_directory, opened_files, small_disk
from tests.support.repository_ground import (
    capture,
    new_repository,
    restore,
    view_of,
)
from tests.support.tree_ground import describe, make_plain_tree

SIZES = {"tiny": 100, "usual": 100_000, "large": 6 << 20}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file for each lane of the walk."""
    made = tmp_path / "tree"
    (made / "folder").mkdir(parents=True)
    for name, size in SIZES.items():
        (made / "folder" / name).write_bytes(os.urandom(size))
    return made


def codes(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return sorted((one.code, one.subject) for one in findings)


def content_of(repository: Repository, committed: Committed, path: Path) -> bytes:
    return view_of(repository, committed).read(os.fsencode(path))


# What is read


def test_unchanged_files_are_not_opened(tree: Path) -> None:
    repository = new_repository()
    with opened_files(tree) as opened:
        first, _ = capture(repository, tree)
    assert sorted(opened) == [f"folder/{name}" for name in sorted(SIZES)]
    with opened_files(tree) as opened:
        second, findings = capture(repository, tree, parent=first.snapshot)
    assert opened == []
    assert findings == []
    # Above the source are folders of the test's machine, which others change meanwhile.
    before, after = (
        SnapshotView(repository, one.snapshot).node(os.fsencode(tree)).subtree
        for one in (first, second)
    )
    assert after == before
    assert second.added_bytes < 10_000


@pytest.mark.parametrize("name", SIZES)
def test_changed_files_are_opened_and_no_others(tree: Path, name: str) -> None:
    repository = new_repository()
    first, _ = capture(repository, tree, after=timedelta(seconds=-10))
    path = tree / "folder" / name
    status = path.stat()
    changed = bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]
    path.write_bytes(changed)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))  # only the ctime tells
    assert path.stat().st_size == status.st_size
    second, _ = capture(repository, tree, parent=first.snapshot)
    assert content_of(repository, second, path) == changed
    with opened_files(tree) as opened:
        third, _ = capture(repository, tree, parent=second.snapshot)
    assert opened == []
    os.utime(path)
    with opened_files(tree) as opened:
        capture(repository, tree, parent=third.snapshot)
    assert opened == [f"folder/{name}"]


@pytest.mark.parametrize("name", SIZES)
def test_a_change_of_anything_about_a_file_is_seen(tree: Path, name: str) -> None:
    """Mode, owner and attributes move the ctime, and the new node has them."""
    path = tree / "folder" / name
    repository = new_repository()
    first, _ = capture(repository, tree, after=timedelta(seconds=-5))
    path.chmod(0o4750)
    os.chown(path, 5, 6)
    os.setxattr(path, "user.reviewed", b"yes")
    second, _ = capture(repository, tree, parent=first.snapshot)
    node = view_of(repository, second).node(os.fsencode(path))
    assert (node.mode & 0o7777, node.uid, node.gid) == (0o750, 5, 6)
    assert node.xattrs == {b"user.reviewed": b"yes"}


def test_a_replaced_file_is_read_though_size_and_time_are_the_same(tree: Path) -> None:
    repository = new_repository()
    first, _ = capture(repository, tree, after=timedelta(seconds=-5))
    path = tree / "folder" / "tiny"
    status = path.stat()
    other = tree.parent / "other"
    other.write_bytes(os.urandom(status.st_size))
    os.utime(other, ns=(status.st_mtime_ns, status.st_mtime_ns))
    other.rename(path)
    second, _ = capture(repository, tree, parent=first.snapshot)
    assert content_of(repository, second, path) == path.read_bytes()


def test_a_file_as_young_as_the_parent_is_read_again(tree: Path) -> None:
    """It may have been changed in the very tick in which it was read: no time would tell."""
    repository = new_repository()
    first, _ = capture(repository, tree, after=timedelta(0))
    with opened_files(tree) as opened:
        second, _ = capture(repository, tree, parent=first.snapshot, after=timedelta(seconds=10))
    assert len(opened) == len(SIZES)
    with opened_files(tree) as opened:
        capture(repository, tree, parent=second.snapshot)
    assert opened == []


def test_a_parent_of_another_place_is_no_reason_not_to_read(tree: Path, tmp_path: Path) -> None:
    repository = new_repository()
    moved = tmp_path / "moved"
    first, _ = capture(repository, tree)
    tree.rename(moved)
    second, findings = capture(repository, moved, parent=first.snapshot)
    assert findings == []
    assert content_of(repository, second, moved / "folder" / "tiny")


def test_an_unchanged_file_whose_blobs_are_gone_is_read(tree: Path) -> None:
    repository = new_repository()
    first, _ = capture(repository, tree)
    for file in list(repository.storage.list("data")):
        repository.storage.delete(file.name)
    with opened_files(tree) as opened:
        second, findings = capture(repository, tree, parent=first.snapshot)
    assert len(opened) == len(SIZES)
    assert {one.code for one in findings} == {"pack-missing"}
    assert restore(repository, second, tree.parent / "out") == []
    assert describe(tree.parent / "out") == describe(tree)


def test_captures_leave_no_trace_in_the_source(tree: Path) -> None:
    """Not even an access time, as far as the owner asks (I7)."""
    for path in tree.rglob("*"):
        os.utime(path, ns=(1, path.lstat().st_mtime_ns))
    before = {path: path.lstat() for path in tree.rglob("*")}
    capture(new_repository(), tree)
    for path, status in before.items():
        after = path.lstat()
        assert (after.st_mtime_ns, after.st_ctime_ns) == (status.st_mtime_ns, status.st_ctime_ns)
        if path.is_file():
            assert after.st_atime_ns == status.st_atime_ns


# What moves meanwhile


class MeddlingWriter(SnapshotWriter):
    """A writer at which somebody changes the source, each time that content passes by."""

    def __init__(self, repository: Repository, meddle: Callable[[int], None]) -> None:
        super().__init__([repository])
        self._meddle = meddle
        self.times = 0

    def put_bytes(self, content: Buffer) -> Content:
        self.times += 1
        self._meddle(self.times)
        return super().put_bytes(content)

    def put_stream(self, blocks: Iterable[Buffer], profile: ChunkProfile) -> Content:
        self.times += 1

        def passed_on() -> Iterable[Buffer]:
            for number, block in enumerate(blocks):
                if not number:
                    self._meddle(self.times)
                yield block

        return super().put_stream(passed_on(), profile)


def walk_with(
    repository: Repository,
    tree: Path,
    *,
    meddle: Callable[[int], None] = lambda _: None,
    excluded: Callable[[bytes, bool], bool] | None = None,
) -> tuple[SnapshotView, list[Finding]]:
    """Capture a tree that somebody changes at a moment of the test's choice; the root of the
    snapshot is the tree itself."""
    path, now = os.fsencode(tree), datetime.now(UTC)
    with MeddlingWriter(repository, meddle) as writer:
        walk = TreeWalk(writer, excluded=excluded, parent=None, parent_path=path, progress=Silent())
        result = walk.run(path)
        root = result.root.subtree
        assert root
        (committed,) = writer.commit(root, paths=[str(tree)], tags=[], time=now)
    return view_of(repository, committed), result.findings


@pytest.mark.parametrize("name", SIZES)
def test_a_file_that_changes_while_it_is_read_is_read_again(tree: Path, name: str) -> None:
    path = tree / name
    (tree / "folder" / name).rename(path)
    shutil.rmtree(tree / "folder")

    def append(times: int) -> None:
        if times == 1:
            with path.open("ab") as file:
                file.write(b"more")

    view, findings = walk_with(new_repository(), tree, meddle=append)
    assert findings == []
    assert view.read(b"/" + os.fsencode(name)) == path.read_bytes()
    assert path.read_bytes().endswith(b"more")


@pytest.mark.parametrize("name", SIZES)
def test_a_file_that_never_rests_is_reported(tree: Path, name: str) -> None:
    path = tree / name
    (tree / "folder" / name).rename(path)
    shutil.rmtree(tree / "folder")

    def append(times: int) -> None:
        with path.open("ab") as file:
            file.write(b"%d" % times)

    view, findings = walk_with(new_repository(), tree, meddle=append)
    assert codes(findings) == [("file-changed", name)]
    node = view.node(b"/" + os.fsencode(name))
    content = view.read(b"/" + os.fsencode(name))
    assert len(content) == node.size  # what was read is whole, though it is of no one moment
    assert path.read_bytes().startswith(content[: SIZES[name]])


def test_a_file_that_is_cut_short_meanwhile_is_read_again(tree: Path) -> None:
    path = tree / "folder" / "large"

    def shorten(_: int) -> None:
        if path.stat().st_size > 1000:
            os.truncate(path, 1000)

    view, findings = walk_with(new_repository(), tree, meddle=shorten)
    assert findings == []
    assert view.read(b"/folder/large") == path.read_bytes()


def once(act: Callable[[], object], wanted: bytes) -> Callable[[bytes, bool], bool]:
    """An `excluded` that acts between the listing of a path and its opening."""

    def excluded(path: bytes, is_directory: bool) -> bool:
        del is_directory
        if path == wanted:
            act()
        return False

    return excluded


def test_a_file_that_vanishes_is_a_finding(tree: Path) -> None:
    for name in SIZES:
        path = tree / "folder" / name
        excluded = once(path.unlink, b"folder/" + os.fsencode(name))
        view, findings = walk_with(new_repository(), tree, excluded=excluded)
        assert codes(findings) == [("file-vanished", f"folder/{name}")]
        assert not view.exists(b"/folder/" + os.fsencode(name))


def test_a_directory_that_vanishes_is_a_finding(tree: Path) -> None:
    excluded = once(lambda: shutil.rmtree(tree / "folder"), b"folder")
    view, findings = walk_with(new_repository(), tree, excluded=excluded)
    assert codes(findings) == [("file-vanished", "folder")]
    assert view.children(b"/") == []


def test_a_directory_swapped_for_a_link_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not ours to capture")

    def swap() -> None:
        (tree / "folder").rename(tmp_path / "moved")
        (tree / "folder").symlink_to(outside)

    view, findings = walk_with(new_repository(), tree, excluded=once(swap, b"folder"))
    assert codes(findings) == [("file-changed", "folder")]
    assert not any(b"secret" in path for path, _ in view.walk())


def test_a_directory_swapped_while_it_is_walked_is_still_the_old_one(
    tree: Path, tmp_path: Path
) -> None:
    """The walk holds it open: what is captured is what was listed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in SIZES:
        (outside / name).write_text("not ours to capture")
    expected = {name: (tree / "folder" / name).read_bytes() for name in SIZES}

    def swap() -> None:
        (tree / "folder").rename(tmp_path / "moved")
        (tree / "folder").symlink_to(outside)

    view, findings = walk_with(new_repository(), tree, excluded=once(swap, b"folder/large"))
    assert findings == []
    for name in SIZES:
        assert view.read(b"/folder/" + os.fsencode(name)) == expected[name]


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_a_file_swapped_for_something_else_is_a_finding(
    tree: Path, tmp_path: Path, kind: str
) -> None:
    path = tree / "folder" / "tiny"
    (tmp_path / "secret").write_text("not ours to capture")

    def swap() -> None:
        path.unlink()
        if kind == "symlink":
            path.symlink_to(tmp_path / "secret")
        elif kind == "fifo":
            os.mkfifo(path)  # opening it must not wait for a writer
        else:
            path.mkdir()

    view, findings = walk_with(new_repository(), tree, excluded=once(swap, b"folder/tiny"))
    assert codes(findings) == [("file-changed", "folder/tiny")]
    assert not view.exists(b"/folder/tiny")


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_link_swapped_for_something_else_is_a_finding(tree: Path, kind: str) -> None:
    path = tree / "folder" / "link"
    path.symlink_to("tiny")

    def swap() -> None:
        path.unlink()
        if kind == "file":
            path.write_text("no link")
        else:
            path.mkdir()

    view, findings = walk_with(new_repository(), tree, excluded=once(swap, b"folder/link"))
    assert codes(findings) == [("file-changed", "folder/link")]
    assert not view.exists(b"/folder/link")


# What cannot be read


def test_without_the_right_to_read_there_are_findings() -> None:
    with open_directory() as base:
        tree = base / "tree"
        make_plain_tree(tree, seed=1)
        capture(new_repository(), tree)  # everything is imported by now
        (tree / "folder 0" / "file 0").chmod(0)
        (tree / "folder 1").chmod(0)
        (tree / "folder 2").chmod(0o100)
        repository = new_repository()
        with as_nobody():
            committed, findings = capture(repository, tree)
        assert codes(findings) == [
            ("file-unreadable", "folder 0/file 0"),
            ("file-unreadable", "folder 1"),
            ("file-unreadable", "folder 2"),
        ]
        assert all("Permission denied" in one.message for one in findings)
        names = [path for path, node in view_of(repository, committed).walk(os.fsencode(tree))]
        assert len(names) == 1 + 3


@pytest.mark.parametrize("what", ["nothing", "file"])
def test_a_source_that_is_no_directory_is_an_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=what) as raised:
        capture(new_repository(), tmp_path / what)
    assert (raised.value.code, raised.value.exit_status) == ("path-unreadable", 15)


def test_the_root_of_the_file_system_is_refused_clearly() -> None:
    with pytest.raises(ConfigError, match="root of the file system"):
        FilesSource("everything", Path("/"))


# What is wanted


def captured_names(
    tree: Path, **options: list[str] | bool
) -> tuple[set[str], list[tuple[str, str]]]:
    repository = new_repository()
    committed, findings = capture(repository, tree, **options)  # type: ignore[arg-type]
    base = os.fsencode(tree)
    walked = view_of(repository, committed).walk(base)
    return {os.fsdecode(path.removeprefix(base + b"/")) for path, _ in walked}, codes(findings)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ([], {"a", "a/x.tmp", "a/keep.tmp", "a/y", "cache", "cache/1", "x.tmp"}),
        (["*.tmp"], {"a", "a/y", "cache", "cache/1"}),
        (["/x.tmp"], {"a", "a/x.tmp", "a/keep.tmp", "a/y", "cache", "cache/1"}),
        (["cache/"], {"a", "a/x.tmp", "a/keep.tmp", "a/y", "x.tmp"}),
        (["*.tmp", "!keep.tmp"], {"a", "a/keep.tmp", "a/y", "cache", "cache/1"}),
        (["cache/*"], {"a", "a/x.tmp", "a/keep.tmp", "a/y", "cache", "x.tmp"}),
        (["a/**", "cache"], {"a", "x.tmp"}),
        (["a/**", "!a/y", "cache"], {"a", "a/y", "x.tmp"}),
        (["# a comment", ""], {"a", "a/x.tmp", "a/keep.tmp", "a/y", "cache", "cache/1", "x.tmp"}),
    ],
)
def test_excludes_have_gitignore_syntax(tmp_path: Path, exclude: list[str], left: set[str]) -> None:
    tree = tmp_path / "tree"
    for name in ("a/x.tmp", "a/keep.tmp", "a/y", "cache/1", "x.tmp"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    assert captured_names(tree, exclude=exclude) == (left, [])


def test_what_is_mounted_can_be_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "mounted").mkdir(parents=True)
    (tree / "own").write_text("ours")
    with small_disk(1 << 20) as disk:
        (disk / "theirs").write_text("not ours")
        subprocess.run(["mount", "--bind", disk, tree / "mounted"], check=True)
        try:
            everything, _ = captured_names(tree)
            own, findings = captured_names(tree, one_file_system=True)
        finally:
            subprocess.run(["umount", tree / "mounted"], check=True)
    assert everything == {"own", "mounted", "mounted/theirs"}
    assert own == {"own", "mounted"}
    assert findings == []


def test_required_folders_that_are_missing_are_findings(tree: Path) -> None:
    (tree / "file").touch()
    names, findings = captured_names(tree, required=["folder", "generated", "file"])
    assert findings == [("folder-missing", "file"), ("folder-missing", "generated")]
    assert "folder/tiny" in names


def test_the_manifest_says_what_was_asked_for(tree: Path) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree, exclude=["*.tmp"], required=["folder"])
    manifest = json.loads(view_of(repository, committed).read(b"/.strongroom/manifest.json"))
    assert manifest == {
        "format": 1, "kind": "files", "source": "tree", "path": str(tree), "exclude": ["*.tmp"],
        "required": ["folder"], "files": 3, "size_bytes": sum(SIZES.values()),
        "chunks": "fastcdc 512KiB/1MiB/8MiB", "one_file_system": False,
    }  # fmt: skip


def test_progress_and_totals_count_what_is_there(tree: Path) -> None:
    class Counting(Silent):
        def __init__(self) -> None:
            self.done = (0, 0)

        def advance(self, bytes_done: int, items_done: int = 0) -> None:
            self.done = (self.done[0] + bytes_done, self.done[1] + items_done)

    repository, parent = new_repository(), None
    for _ in range(2):
        progress = Counting()
        context = CaptureContext(datetime.now(UTC) + timedelta(seconds=9), parent, progress)
        with SnapshotWriter([repository]) as writer:
            captured = FilesSource("tree", tree).capture(writer, context)
            (done,) = writer.commit(captured.root, paths=[str(tree)], tags=[], time=context.now)
        parent = SnapshotView(repository, done.snapshot)
        assert (captured.size_bytes, captured.files) == (sum(SIZES.values()), 3)
        assert progress.done == (sum(SIZES.values()), 3)


def test_directories_too_deep_to_be_restored_are_findings(tmp_path: Path) -> None:
    """No path of the system reaches them: better told at capture than at three in the morning."""
    tree, base, name = tmp_path / "tree", os.getcwd(), "d" * 250
    tree.mkdir()
    os.chdir(tree)
    try:
        for _ in range(20):
            os.mkdir(name)
            os.chdir(name)
    finally:
        os.chdir(base)
    repository = new_repository()
    committed, findings = capture(repository, tree)
    assert [one.code for one in findings] == ["file-unreadable"]
    assert "too deeply" in findings[0].message
    assert restore(repository, committed, tmp_path / "out") == []
    deepest = max(len(str(path)) for path in (tmp_path / "out").rglob("*"))
    assert deepest > 3000


def test_a_deep_tree_is_captured(tmp_path: Path) -> None:
    deep = tmp_path / "tree" / Path(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep down")
    repository = new_repository()
    committed, findings = capture(repository, tmp_path / "tree")
    assert findings == []
    assert content_of(repository, committed, deep / "file") == b"deep down"


def test_times_that_no_snapshot_holds_are_told_each_time() -> None:
    beyond, latest = 253_402_300_800, 253_402_300_799
    with small_disk(1 << 20) as disk:  # such a file system as keeps them
        tree = disk / "tree"
        (tree / "folder").mkdir(parents=True)
        for name, seconds in (("file", beyond), ("fine", latest), ("folder", beyond + 1)):
            (tree / name).touch()
            os.utime(tree / name, ns=(0, seconds * 10**9))
        os.utime(tree, ns=(0, beyond * 10**9))
        repository = new_repository()
        first, findings = capture(repository, tree)
        told = [("time-cut", "."), ("time-cut", "file"), ("time-cut", "folder")]
        assert [(one.code, one.subject) for one in findings] == told
        assert f"{beyond} s" in findings[0].message
        _, again = capture(repository, tree, parent=first.snapshot)
        assert [(one.code, one.subject) for one in again] == told
