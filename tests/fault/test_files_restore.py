"""Restoring where it is difficult: full and read-only targets, without root's powers, killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, TargetError
from strongroom.repository import Committed, Repository
from strongroom.repository.storage import LocalStorage
from strongroom.sources.files import FilesSource
from tests.support.failure_ground import wait_until
from tests.support.observation import NOBODY, as_nobody, open_directory, small_disk
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    names,
    new_repository,
    prove,
    restore,
    view_of,
)
from tests.support.tree_ground import describe, make_plain_tree


@pytest.fixture
def captured(tmp_path: Path) -> tuple[Repository, Committed, Path]:
    """A repository with a plain tree of a few files."""
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=1)
    repository = new_repository()
    committed, _ = capture(repository, tree, options=SMALL_PACKS)
    return repository, committed, tree


Captured = tuple[Repository, Committed, Path]


def test_a_target_that_holds_something_is_refused(captured: Captured, tmp_path: Path) -> None:
    repository, committed, _ = captured
    for name in ("file", ".hidden", "folder"):
        target = tmp_path / f"target {name}"
        target.mkdir()
        (target / name).mkdir() if name == "folder" else (target / name).write_text("mine")
        with pytest.raises(TargetError) as raised:
            restore(repository, committed, target)
        assert (raised.value.code, raised.value.exit_status) == ("target-not-empty", 5)
        assert [path.name for path in target.iterdir()] == [name]


def test_a_target_that_is_no_directory_is_refused(captured: Captured, tmp_path: Path) -> None:
    repository, committed, _ = captured
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TargetError) as raised:
            restore(repository, committed, target)
        assert (raised.value.code, raised.value.exit_status) == ("target-refused", 5)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_is_not_in_the_snapshot_is_told(
    captured: Captured, tmp_path: Path
) -> None:
    repository, committed, tree = captured
    view = view_of(repository, committed)
    file = next(path for path in tree.rglob("*") if path.is_file())
    with pytest.raises(TargetError, match="not a directory"):
        view.restore(os.fsencode(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_without_the_right_to_write_is_refused() -> None:
    with open_directory() as base:
        make_plain_tree(base / "tree", seed=2)
        repository = new_repository()
        committed, _ = capture(repository, base / "tree")
        restore(repository, committed, base / "warm")
        view = view_of(repository, committed)
        (base / "locked").mkdir()
        with as_nobody(), pytest.raises(TargetError, match="Permission denied") as raised:
            FilesSource("tree", base / "tree").restore(view, str(base / "locked"))
        assert raised.value.code == "target-refused"


def test_a_read_only_target_is_refused_with_a_hint(captured: Captured) -> None:
    repository, committed, _ = captured
    with small_disk(1 << 20, options="ro") as disk:
        for target in (disk, disk / "below"):
            with pytest.raises(TargetError, match="Read-only file system") as raised:
                restore(repository, committed, target)
            assert "not read-only" in raised.value.hint


@pytest.mark.parametrize("files", [1, 40])
def test_a_full_target_is_told_and_nothing_wrong_stands_there(tmp_path: Path, files: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(files):
        (tree / f"{number}").write_bytes(os.urandom((4 << 20) // files))
    repository = new_repository()
    committed, _ = capture(repository, tree)
    with small_disk(2 << 20) as disk:
        target = disk / "target"
        with pytest.raises(TargetError, match="No space left") as raised:
            restore(repository, committed, target)
        assert raised.value.exit_status == 5
        assert raised.value.hint.startswith("Free space")
        left = list(target.iterdir())
        assert len(left) < files
        for path in left:
            assert path.read_bytes() == (tree / path.name).read_bytes()


def test_without_root_everything_but_the_owners_comes_back() -> None:
    with open_directory() as base:
        make_plain_tree(base / "tree", seed=3)
        os.chown(base / "tree" / "folder 0" / "file 0", 5, 5)
        os.mknod(base / "tree" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        repository = new_repository()
        committed, _ = capture(repository, base / "tree")
        restore(repository, committed, base / "warm")  # everything is imported by now
        view = view_of(repository, committed)
        source = FilesSource("tree", base / "tree")
        with as_nobody():
            outcome = source.restore(view, str(base / "out"))
            found = source.prove(view, str(base / "out")).findings
        told = {one.message.split(":")[0].split(",")[0] for one in outcome.findings}
        assert {one.code for one in outcome.findings} == {"metadata-unset"}
        assert told == {"owner could not be set", "a chardev could not be made"}
        assert {(one.code, one.subject) for one in found if one.code != "tree-metadata"} == {
            ("tree-missing", "null"),
            ("tree-unchecked", "owners"),
        }
        for path in (base / "tree").rglob("file*"):
            again = base / "out" / path.relative_to(base / "tree")
            assert again.read_bytes() == path.read_bytes()
            assert again.stat().st_mtime_ns == path.stat().st_mtime_ns
            assert again.stat().st_uid == NOBODY


def test_a_target_that_hands_down_its_group_gives_the_groups_recorded(
    captured: Captured, tmp_path: Path
) -> None:
    repository, committed, tree = captured
    target = tmp_path / "target"
    target.mkdir()
    os.chown(target, 0, 1234)
    target.chmod(0o2770)
    assert restore(repository, committed, target) == []
    assert describe(target) == describe(tree)


def test_names_as_long_as_possible_and_names_like_our_own_come_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("n" * 255, "x", "x.strongroom-partial", ".strongroom-partial-0", "0", "1"):
        (tree / name).write_bytes(hashlib.shake_256(name.encode()).digest(50_000))
    repository = new_repository()
    committed, _ = capture(repository, tree)
    assert restore(repository, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == describe(tree)


def test_a_part_of_a_tree_comes_back(captured: Captured, tmp_path: Path) -> None:
    repository, committed, tree = captured
    source = FilesSource("tree", tree)
    view = view_of(repository, committed)
    outcome = source.restore(view, str(tmp_path / "out"), include=["folder 1/", "/folder 0/file 0"])
    assert outcome.findings == ()
    expected = {
        str(path.relative_to(tree))
        for path in tree.rglob("*")
        if "folder 1" in str(path) or path.name in ("folder 0", "file 0")
    }
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")} == (
        expected
    )
    described, restored = describe(tree), describe(tmp_path / "out", top=False)
    assert all(restored[name] == described[name] for name in restored)


def test_the_same_blob_in_many_places_comes_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    block = os.urandom(1 << 20)
    for number in range(6):
        (tree / f"{number}").write_bytes(block * (number + 1))
    (tree / "zeros").write_bytes(bytes(9 << 20))
    repository = new_repository()
    committed, _ = capture(repository, tree)
    assert restore(repository, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == describe(tree)
    assert (tmp_path / "out" / "zeros").stat().st_blocks * 512 < 1 << 20


def test_a_damaged_blob_stops_the_restore_and_leaves_no_wrong_file(tmp_path: Path) -> None:
    tree, store = tmp_path / "tree", tmp_path / "store"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}").write_bytes(os.urandom(40_000))
    repository = new_repository(store)
    committed, _ = capture(repository, tree, options=SMALL_PACKS)
    pack = max((store / "data").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[30_000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    with pytest.raises(IntegrityError) as raised:
        restore(repository, committed, tmp_path / "out")
    assert (raised.value.code, raised.value.exit_status) == ("pack-damaged", 31)
    assert pack.name in str(raised.value)
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tree / path.name).read_bytes()


RESTORE = """
import sys
from pathlib import Path
from strongroom.repository import Repository, SnapshotView, open_storage
repository = Repository.open(open_storage(sys.argv[1]), sys.stdin.readline().strip(), name="store")
view = SnapshotView(repository, repository.find("latest"))
print("ready", flush=True)
view.restore(sys.argv[2].encode(), Path(sys.argv[3]))
print("done", flush=True)
"""


def _is_over(mark: str) -> bool:
    """Whether no process runs any more that has this in its environment, whoever started it."""
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in entry.read_bytes():
                return False
    return True


def test_a_killed_restore_leaves_no_wrong_file_under_its_name(tmp_path: Path) -> None:
    """Killed at a few moments, whole files may be there, and nothing else under their names."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    tree, store = tmp_path / "tree", tmp_path / "store"
    make_plain_tree(tree, seed=4, files=300, most_bytes=200_000)
    capture(new_repository(store), tree)
    expected = {
        path.relative_to(tree): hashlib.sha256(path.read_bytes()).digest()
        for path in tree.rglob("file*")
    }
    stopped = 0
    for number in range(5):
        out, mark = tmp_path / "out", f"RESTORE_{seed}={number}"
        with subprocess.Popen(
            [sys.executable, "-c", RESTORE, str(store), str(tree), str(out)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, f"RESTORE_{seed}": str(number)},
        ) as child:  # fmt: skip
            assert child.stdin
            assert child.stdout
            child.stdin.write(PASSWORD.encode() + b"\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"ready\n"
            time.sleep(draw.uniform(0, 0.25))
            child.send_signal(signal.SIGKILL)
            stopped += b"done" not in child.stdout.read()
        # Its working processes finish the files in their hands before they notice.
        wait_until(partial(_is_over, mark))
        for path, digest in expected.items():
            if (out / path).exists():
                assert hashlib.sha256((out / path).read_bytes()).digest() == digest
        if out.exists():
            shutil.rmtree(out)
    assert stopped, "no restore was stopped in its course"
    repository = Repository.open(LocalStorage(store), PASSWORD, name="store")
    committed = Committed("store", repository.find("latest"), 0)
    assert restore(repository, committed, tmp_path / "out") == []
    assert prove(repository, committed, tmp_path / "out") == []
    assert names(repository.storage, "locks") == []


def test_hard_links_of_every_kind_stay_linked(tmp_path: Path) -> None:
    """... and a copy in which they are not is not the same."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    (tree / "symlink").symlink_to("file")
    os.mkfifo(tree / "fifo")
    for name in ("file", "symlink", "fifo"):
        os.link(tree / name, tree / f"{name} again", follow_symlinks=False)
    repository = new_repository()
    committed, _ = capture(repository, tree)
    target = tmp_path / "out"
    assert restore(repository, committed, target) == []
    for name in ("file", "symlink", "fifo"):
        assert (target / name).lstat().st_ino == (target / f"{name} again").lstat().st_ino
    assert prove(repository, committed, target) == []
    for name in ("symlink", "fifo"):
        (target / f"{name} again").unlink()
        if name == "symlink":
            (target / f"{name} again").symlink_to("file")
        else:
            os.mkfifo(target / f"{name} again")
        status = (tree / name).lstat()
        times = (status.st_mtime_ns, status.st_mtime_ns)
        os.utime(target / f"{name} again", ns=times, follow_symlinks=False)
    os.utime(target, ns=(tree.stat().st_mtime_ns, tree.stat().st_mtime_ns))
    found = prove(repository, committed, target)
    assert sum("hard links are split" in one.message for one in found) == 2


def _access_list(*others: tuple[int, int]) -> bytes:
    """A POSIX access control list, as the kernel has it: the owner's, groups', rest's rights, and
    those of other users (id, rights)."""
    nobody = 0xFFFF_FFFF
    users = [(0x02, rights, user) for user, rights in others]
    entries = [(0x01, 7, nobody), *users, (0x04, 5, nobody), (0x10, 7, nobody), (0x20, 0, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


@pytest.mark.parametrize("many", [False, True], ids=["few", "in processes"])
def test_rights_that_a_target_hands_down_are_not_kept(
    tmp_path: Path, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        monkeypatch.setattr("strongroom.repository.restore._ENGAGE_FILES", 1)
    tree, handing = tmp_path / "tree", tmp_path / "handing"
    make_plain_tree(tree, seed=8)
    (tree / "empty").touch()
    (tree / "large").write_bytes(random.Random(8).randbytes(9 << 20))
    os.mkfifo(tree / "fifo")
    (tree / "link").symlink_to("empty")
    (tree / "shared").mkdir()
    os.setxattr(tree / "shared", "system.posix_acl_default", _access_list((1001, 7)))
    (tree / "shared" / "own").write_bytes(b"read by 1001 as well")
    handing.mkdir()
    repository = new_repository()
    committed, _ = capture(repository, tree)
    os.setxattr(handing, "system.posix_acl_default", _access_list((4242, 7)))
    (handing / "probe").touch()
    assert os.listxattr(handing / "probe") == ["system.posix_acl_access"]
    assert restore(repository, committed, handing / "target") == []
    assert describe(handing / "target") == describe(tree)
    assert os.listxattr(handing / "target" / "shared" / "own") == ["system.posix_acl_access"]
    assert prove(repository, committed, handing / "target") == []
