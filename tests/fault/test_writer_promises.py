"""What the writer must never do: wait for itself, promise a blob that is not stored, or take a
failure of its own for one of the source's."""

from __future__ import annotations

import mmap
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.repository import Node, SnapshotWriter, WriterOptions
from strongroom.repository.file_writing import FileWriter, Metadata
from tests.support.repository_ground import (
    capture,
    check_codes,
    new_repository,
    restore,
)
from tests.support.restic import stock_restics

ONE_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from strongroom.repository import WriterOptions
from tests.support.repository_ground import capture, check_codes, new_repository
repository = new_repository(Path(sys.argv[3]))
capture(repository, Path(sys.argv[2]), options=WriterOptions(workers=1))
print(check_codes(repository))
"""


def test_one_worker_never_waits_for_itself(tmp_path: Path) -> None:
    """Batches that are being filled may hold every slot that one process has."""
    tree = tmp_path / "tree"
    for number in range(400):
        (tree / f"{number}").mkdir(parents=True)
        for name in "abcdef":
            (tree / f"{number}" / name).write_bytes(b"%d%s" % (number, name.encode()))
        if number % 50 == 0:
            (tree / f"{number}" / "large").write_bytes(os.urandom(1_300_000))
    places = [str(Path.cwd()), str(tree), str(tmp_path / "store")]
    arguments = [sys.executable, "-c", ONE_WORKER, *places]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_directory_larger_than_a_pack_has_a_pack_of_its_own(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "store")
    options = WriterOptions(pack_bytes=4 << 20)
    nodes = [
        Node(
            b"%06d" % number,
            "fifo",
            stat.S_IFIFO | 0o644,
            xattrs={b"user.noise": os.urandom(60_000)},
        )
        for number in range(300)
    ]
    with SnapshotWriter([repository], options) as writer:
        writer.put_bytes(b"something beside it")
        root = writer.put_folder(nodes)
        writer.commit(root, paths=["/x"], tags=[], time=datetime.now(UTC))
    assert check_codes(repository) == []
    stock_restics()[0].check(tmp_path / "store")


def test_memory_that_cannot_be_had_is_no_fault_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """... and no other file of the same content may rely on what was not stored."""
    for name in "ab":
        (tmp_path / name).write_bytes(b"the same content")
    refusals = [OSError(12, "Cannot allocate memory")]
    real = mmap.mmap

    def refusing(descriptor: int, size: int) -> mmap.mmap:
        if refusals:
            raise refusals.pop()
        return real(descriptor, size)

    monkeypatch.setattr("mmap.mmap", refusing)
    repository = new_repository()
    with pytest.raises(StorageError, match="no memory for a pack"):
        capture(repository, tmp_path)
    assert not refusals
    assert repository.snapshots().snapshots == ()
    # The writer gave its buffers back to nobody: the next capture has them.
    committed, findings = capture(repository, tmp_path)
    assert findings == []
    assert restore(repository, committed, tmp_path / "out") == []
    assert committed.snapshot.tree


def test_a_limit_of_open_files_stops_the_capture(tmp_path: Path) -> None:
    """A hole in the snapshot would look like the source's fault."""
    tree = tmp_path / "tree"
    for number in range(300):
        (tree / f"{number}").mkdir(parents=True)
        (tree / f"{number}" / "file").write_bytes(b"content")
    (tmp_path / "key").write_text("a password of a test\n")
    (tmp_path / "key").chmod(0o600)
    config = tmp_path / "strongroom.yaml"
    config.write_text(
        "version: 1\napplication: tms\nsources:\n  uploads: {kind: files, path: tree}\n"
        "repositories:\n  local: {location: local, password: file:key}\nstate: state\n"
    )
    program = [sys.executable, "-m", "strongroom", "--config", str(config)]
    subprocess.run([*program, "init"], check=True, capture_output=True)
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *program, "backup"]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    assert "Too many open files" in done.stderr
    assert "ulimit -n" in done.stderr
    listed = subprocess.run([*program, "snapshots"], check=False, capture_output=True, text=True)
    assert "uploads" not in listed.stdout


def test_what_is_refused_of_the_metadata_stops_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"content")
    xattrs = {b"bogus.first": b"refused", b"user.kept": b"kept"}
    metadata = Metadata(0o640, os.getuid(), os.getgid(), 10**18, xattrs)
    unset = FileWriter((os.getuid(), os.getgid())).set_metadata(os.fsencode(target), metadata)
    assert [one.what for one in unset] == ["an extended attribute could not be set"]
    assert os.getxattr(target, "user.kept") == b"kept"
    assert target.stat().st_mtime_ns == 10**18
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_source_that_breaks_off_leaves_no_promise() -> None:
    """An error of the stream's own passes, and what was stored of it is whole."""
    from strongroom.repository import ROWS

    def blocks() -> object:
        for _ in range(20):
            yield os.urandom(300_000)
        raise OSError(5, "Input/output error")

    repository = new_repository()
    with SnapshotWriter([repository]) as writer:
        with pytest.raises(OSError, match="Input/output"):
            writer.put_stream(blocks(), ROWS)  # type: ignore[arg-type]  # an iterator of bytes
        content = writer.put_bytes(b"goes on")
        assert content.size == 7
    assert set(check_codes(repository)) <= {"pack-orphaned"}
