"""Restored files and code: one change, one finding, exit status 41."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.command_line import Answer, Place, make_place
from tests.support.code_ground import DECLARED, commit, git, make_application, write
from tests.support.demo_ground import AS_ROOT
from tests.support.repository_ground import new_repository

CONFIG = f"""\
version: 1
application: tms
sources:
  uploads: {{kind: files, path: uploads, required: [lpos]}}
  code: {{kind: git, path: app, untracked: [{", ".join(f'"{one}"' for one in DECLARED)}]}}
repositories:
  local: {{location: local, password: file:key}}
state: state
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Files with everything that can be lost, and code, captured and restored once."""
    made = make_place(tmp_path_factory.mktemp("tamper"), CONFIG)
    uploads = made.uploads
    (uploads / "empty").mkdir()
    (uploads / "latest.pdf").symlink_to("lpos/LPO-2.pdf")
    first = uploads / "lpos" / "LPO-1.pdf"
    os.link(first, uploads / "quotes" / "linked.pdf")
    os.setxattr(first, "user.checked", b"yes")
    make_application(made.path / "app")
    new_repository(made.path / "local")
    assert made.json("backup")["findings"] == []
    for source in ("uploads", "code"):
        restored = made.json("restore", source, "--to", made.path / f"{source}.restored")
        assert restored["verdict"] == "PROVEN"
    return made


def _copy(place: Place, source: str, target: Path) -> Path:
    """A copy with links, times, owners and attributes."""
    restored = place.path / f"{source}.restored"
    subprocess.run(["cp", "-a", str(restored), str(target)], check=True)
    return target


def _prove(place: Place, source: str, target: Path) -> Answer:
    return place.run("--json", "prove", source, "--target", target)


def _loud(answer: Answer) -> set[tuple[str, str]]:
    found = answer.document["findings"]
    return {(one["code"], one["subject"]) for one in found if one["severity"] != "note"}


def _keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    """Make a change in a directory that the directory's own time does not show."""
    before = path.parent.stat()
    change(path)
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))


def _flip(path: Path) -> None:
    """Another byte, same size, same time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _point_elsewhere(path: Path) -> None:
    status = path.lstat()
    path.unlink()
    path.symlink_to("lpos/LPO-1.pdf")
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(path, ns=times, follow_symlinks=False)


def _split(path: Path) -> None:
    """The same file, no longer shared by two names."""
    beside = path.with_name("beside")
    shutil.copy2(path, beside)
    path.unlink()
    beside.rename(path)


def _give_away(path: Path) -> None:
    subprocess.run([*AS_ROOT, "chown", "1234", str(path)], check=True)


LPO_1, LPO_2, LINKED = "lpos/LPO-1.pdf", "lpos/LPO-2.pdf", "quotes/linked.pdf"
FILES: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "byte changed": (LPO_2, _flip, "tree-content", "differ"),
    "file cut short": (LPO_2, lambda at: os.truncate(at, 1000), "tree-content", "differ"),
    "file missing": (LPO_2, Path.unlink, "tree-missing", "the file is not there"),
    "extra file": ("lpos/new.pdf", Path.touch, "tree-extra", "not in the snapshot"),
    "mode": (LPO_2, lambda at: at.chmod(0o666), "tree-metadata", "mode 0666, not 0644"),
    "owner": (LPO_2, _give_away, "tree-metadata", "owner 1234:"),
    "time": (LPO_2, lambda at: os.utime(at, ns=(1, 1)), "tree-metadata", "modified at 1 ns"),
    "link target": ("latest.pdf", _point_elsewhere, "tree-metadata", "LPO-2.pdf"),
    "hard link split": (LINKED, _split, "tree-metadata", "hard links are split"),
    "attribute lost": (
        LPO_1, lambda at: os.removexattr(at, "user.checked"), "tree-metadata", "user.checked",
    ),
    "empty directory lost": ("empty", Path.rmdir, "tree-missing", "the dir is not there"),
    "odd name": (
        "quotes/Q 1\nodd.txt", lambda at: at.rename(at.with_name("Q 1 odd.txt")),
        "tree-missing", "not there",
    ),
}  # fmt: skip
# Where one change is seen at more than the place that was changed.
ALSO = {
    "hard link split": {("tree-metadata", LPO_1)},
    "attribute lost": {("tree-metadata", LINKED)},
    "file cut short": {("tree-metadata", LPO_2)},
    "odd name": {("tree-extra", "quotes/Q 1 odd.txt")},
}


@pytest.mark.parametrize("name", FILES)
def test_one_change_to_restored_files_is_found(name: str, place: Place, tmp_path: Path) -> None:
    where, change, code, says = FILES[name]
    target = _copy(place, "uploads", tmp_path / "copy")
    _keeping_time(target / where, change)
    answer = _prove(place, "uploads", target)
    assert answer.status == 41, answer.text + answer.err
    assert answer.document["verdict"] == "FAILED"
    expected = {(code, where)} | ALSO.get(name, set())
    if name == "hard link split":  # told at the first of the names that were one file
        expected = ALSO[name]
    assert _loud(answer) == expected
    messages = [one["message"] for one in answer.document["findings"] if one["code"] == code]
    assert any(says in one for one in messages), messages


def test_untouched_copies_are_proven(place: Place, tmp_path: Path) -> None:
    for source in ("uploads", "code"):
        target = _copy(place, source, tmp_path / source)
        answer = _prove(place, source, target)
        assert (answer.status, answer.document["findings"]) == (0, []), answer.text


def _lose_commit(at: Path) -> None:
    """The branch stays, its newest commit does not."""
    pack = next((at / ".git/objects/pack").glob("*.pack"))
    content = pack.read_bytes()
    shutil.rmtree(pack.parent)
    git(at, "unpack-objects", "-q", given=content)
    newest = git(at, "rev-parse", "HEAD")
    (at / ".git/objects" / newest[:2] / newest[2:]).unlink()


CODE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "commit missing": (_lose_commit, "code-damaged", ""),
    "branch set back": (
        lambda at: git(at, "branch", "-f", "next", "next~1"),
        "code-ref-differs", "refs/heads/next",
    ),
    "tag moved": (
        lambda at: git(at, "tag", "-f", "v1.0", "HEAD"), "code-ref-differs", "refs/tags/v1.0"
    ),
    "HEAD elsewhere": (
        lambda at: git(at, "symbolic-ref", "HEAD", "refs/heads/next"), "code-ref-differs", "HEAD"
    ),
    "tracked file modified": (
        lambda at: _flip(at / "public/index.php"), "tree-content", "public/index.php"
    ),
    "configuration lost": (
        lambda at: (at / "config/local.php").unlink(), "tree-missing", "config/local.php"
    ),
    "configuration changed": (
        lambda at: write(at / ".htaccess", "Options +Indexes\n"), "tree-content", ".htaccess"
    ),
    "configuration readable by all": (
        lambda at: (at / "config/local.php").chmod(0o644), "tree-metadata", "config/local.php"
    ),
    "configuration added": (
        lambda at: write(at / "config/extra.php", "<?php\n"), "tree-extra", "config/extra.php"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_one_change_to_restored_code_is_found(name: str, place: Place, tmp_path: Path) -> None:
    change, code, subject = CODE[name]
    target = _copy(place, "code", tmp_path / "copy")
    change(target)
    answer = _prove(place, "code", target)
    assert answer.status == 41, answer.text + answer.err
    assert answer.document["verdict"] == "FAILED"
    if name == "commit missing":
        assert {one for one, _ in _loud(answer)} >= {code}
    else:
        assert _loud(answer) == {(code, subject)}


def test_a_deployment_after_the_capture_is_told_as_such(place: Place, tmp_path: Path) -> None:
    target = _copy(place, "code", tmp_path / "copy")
    write(target / "api/version.php", "<?php echo 2;\n")
    commit(target, "Deploy by hand")
    answer = _prove(place, "code", target)
    assert answer.status == 41
    # Declared files were committed by hand as well; of them only the refs differ.
    assert ("code-ref-differs", "refs/heads/main") in _loud(answer)
    assert ("code-ref-differs", "HEAD") in _loud(answer)
