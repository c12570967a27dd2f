"""I1 for trees: whatever a directory holds, capture, restore and capture again agree."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.repository import SnapshotView
from tests.support.repository_ground import (
    SMALL_PACKS,
    capture,
    check_codes,
    new_repository,
    prove,
    restore,
    view_of,
)
from tests.support.tree_ground import describe

NAMES = st.binary(min_size=1, max_size=40).map(
    lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")
).filter(lambda raw: raw not in (b".", b"..")) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
).map(str.encode).filter(lambda raw: raw not in (b".", b".."))  # fmt: skip
# The file system's own range of times; it stores nanoseconds.
TIMES_NS = st.integers(-(1 << 31) * 10**9, (1 << 33) * 10**9)
OWNERS = st.integers(0, 70_000) | st.sampled_from([(1 << 32) - 2, 1 << 31])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["user.a", "user.ü b", "trusted.c"]), st.binary(max_size=60), max_size=2
)
CONTENTS = st.binary(max_size=200) | st.builds(
    lambda seed, size: hashlib.shake_256(seed).digest(size),
    st.binary(max_size=2),
    st.integers(1, 70_000),
)


@dataclass
class Entry:
    """One entry to make; `what` says which fields count."""

    what: str
    content: bytes = b""
    hole: int = 0
    target: bytes = b"x"
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    time_ns: int = 0
    attributes: dict[str, bytes] = field(default_factory=dict)
    children: dict[bytes, Entry] = field(default_factory=dict)


def entries(children: st.SearchStrategy[Entry]) -> st.SearchStrategy[Entry]:
    return st.builds(
        Entry,
        what=st.just("dir"),
        mode=st.integers(0, 0o7777),
        owner=st.tuples(OWNERS, OWNERS),
        time_ns=TIMES_NS,
        attributes=ATTRIBUTES,
        children=st.dictionaries(NAMES, children, max_size=5),
    )


LEAVES = st.builds(
    Entry,
    what=st.sampled_from(["file", "file", "file", "symlink", "fifo", "chardev", "link"]),
    content=CONTENTS,
    hole=st.sampled_from([0, 0, 0, 5000, 600_000]),
    target=st.binary(min_size=1, max_size=60).map(lambda raw: raw.replace(b"\0", b"0")),
    mode=st.integers(0, 0o7777),
    owner=st.tuples(OWNERS, OWNERS),
    time_ns=TIMES_NS,
    attributes=ATTRIBUTES,
)
TREES = entries(st.recursive(LEAVES, entries, max_leaves=12))


def make(path: bytes, entry: Entry, files: list[bytes]) -> None:
    """Make an entry with all its metadata; a `link` is a second name of an earlier file."""
    if entry.what == "dir":
        os.mkdir(path)
        for name, child in entry.children.items():
            make(path + b"/" + name, child, files)
    elif entry.what == "symlink":
        os.symlink(entry.target, path)
    elif entry.what == "fifo":
        os.mkfifo(path)
    elif entry.what == "chardev":
        os.mknod(path, stat.S_IFCHR, os.makedev(1, entry.mode))
    elif entry.what == "link" and files:
        os.link(files[-1], path)
        return
    else:
        with open(path, "wb") as file:
            file.truncate(entry.hole)
            file.seek(entry.hole)
            file.write(entry.content)
            file.truncate()
        files.append(path)
    os.chown(path, *entry.owner, follow_symlinks=False)
    for attribute, value in entry.attributes.items():
        if entry.what in ("dir", "file") or attribute.startswith("trusted"):
            os.setxattr(path, attribute, value, follow_symlinks=False)
    if entry.what != "symlink":
        os.chmod(path, entry.mode)
    os.utime(path, ns=(entry.time_ns, entry.time_ns), follow_symlinks=False)


def as_files(entry: Entry) -> Entry:
    """A root that can be listed by anybody who runs the test."""
    entry.mode |= 0o700
    return entry


@given(tree=TREES.map(as_files))
@settings(max_examples=25)
def test_a_tree_comes_back_as_it_was(tree: Entry) -> None:
    """Captured, restored, compared, and captured again: one content identity (I1)."""
    work = Path(tempfile.mkdtemp(prefix="strongroom-law-"))
    try:
        make(os.fsencode(work / "tree"), tree, [])
        before = describe(work / "tree")
        repository = new_repository()
        first, findings = capture(repository, work / "tree", options=SMALL_PACKS)
        assert findings == []
        assert describe(work / "tree") == before  # a capture only reads (I7)
        assert restore(repository, first, work / "out") == []
        assert describe(work / "out") == before
        assert prove(repository, first, work / "out") == []
        again, findings = capture(repository, work / "out")
        assert findings == []
        assert identity(view_of(repository, again)) == identity(view_of(repository, first))
        assert check_codes(repository) == []
    finally:
        shutil.rmtree(work)


def identity(view: SnapshotView) -> list[object]:
    """What a snapshot records of its tree, without what I1 leaves out; hard links by their group,
    files by their bytes' blobs."""
    path = os.fsencode(view.snapshot.paths[0])
    groups: dict[tuple[int, int], list[bytes]] = {}
    found: list[object] = []
    for name, node in [(path, view.node(path)), *view.walk(path)]:
        relative = name.removeprefix(path)
        if node.links > 1 and node.type == "file":
            groups.setdefault((node.device_id, node.inode), []).append(relative)
        found.append((
            relative, node.type, node.mode, node.mtime_ns, node.uid, node.gid, node.size,
            node.linktarget, sorted(node.xattrs.items()), node.device, node.content,
        ))  # fmt: skip
    return [*found, sorted(groups.values())]


@given(tree=TREES.map(as_files), data=st.data())
@settings(max_examples=15)
def test_any_single_change_of_a_restored_tree_is_found(tree: Entry, data: st.DataObject) -> None:
    work = Path(tempfile.mkdtemp(prefix="strongroom-law-"))
    try:
        make(os.fsencode(work / "tree"), tree, [])
        repository = new_repository()
        committed, _ = capture(repository, work / "tree")
        restore(repository, committed, work / "out")
        described = describe(work / "out")
        name = data.draw(st.sampled_from(sorted(described)))
        change = data.draw(st.sampled_from(CHANGES))
        change(os.fsencode(work / "out") + b"/" + name)
        expected = describe(work / "out") != described
        assert bool(prove(repository, committed, work / "out")) is expected
    finally:
        shutil.rmtree(work)


def flip_a_byte(path: bytes) -> None:
    """Change one byte of a file and put its times back."""
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        with open(path, "r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def change_the_mode(path: bytes) -> None:
    status = os.lstat(path)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, stat.S_IMODE(status.st_mode) ^ 0o004)


def change_the_owner(path: bytes) -> None:
    status = os.lstat(path)
    os.chown(path, status.st_uid ^ 1, -1, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(path, stat.S_IMODE(status.st_mode))


def change_the_time(path: bytes) -> None:
    status = os.lstat(path)
    os.utime(path, ns=(0, status.st_mtime_ns + 1), follow_symlinks=False)


def remove(path: bytes) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        if not path.endswith(b"/."):
            shutil.rmtree(path)
    else:
        os.unlink(path)


def add(path: bytes) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        status = os.lstat(path)
        with open(path + b"/a name that nobody drew", "wb"):
            pass
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


CHANGES = [flip_a_byte, change_the_mode, change_the_owner, change_the_time, remove, add]
