"""The proof: every change to a restored checkout is found, and nothing harmless is."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.model import Verdict, judge
from strongroom.repository import SnapshotView
from strongroom.sources.code import CodeSource
from tests.support.code_ground import DECLARED, Ground, commit, git, make_application, write


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


@pytest.fixture
def restored(ground: Ground, tmp_path: Path) -> tuple[CodeSource, SnapshotView, Path]:
    application = make_application(tmp_path / "app")
    (application / "config/link.php").symlink_to("local.php")
    write(application / "public/index.php", "<?php changed();\n")
    git(application, "stash", "-q")
    source = CodeSource("code", application, untracked=DECLARED)
    _, view, _ = ground.capture(source)
    target = tmp_path / "restored"
    source.restore(view, str(target))
    return source, view, target


def _same_size_and_time(path: Path) -> None:
    """Rot that a size, a time and git's own index do not show."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _flip_object(target: Path) -> None:
    """A bit in an object's content, in a pack or not, behind a correct envelope."""
    git(target, "unpack-objects", "-q", given=_taken_pack(target))
    blob = git(target, "rev-parse", "HEAD:api/health.php")
    loose = target / ".git/objects" / blob[:2] / blob[2:]
    content = bytearray(zlib.decompress(loose.read_bytes()))
    content[-2] ^= 1
    loose.chmod(0o644)
    loose.write_bytes(zlib.compress(bytes(content)))


def _taken_pack(target: Path) -> bytes:
    folder = target / ".git/objects/pack"
    [pack] = folder.glob("*.pack")
    content = pack.read_bytes()
    for file in folder.iterdir():
        file.unlink()
    return content


def _lose_object(target: Path) -> None:
    git(target, "unpack-objects", "-q", given=_taken_pack(target))
    first = git(target, "rev-parse", "HEAD~1")
    (target / ".git/objects" / first[:2] / first[2:]).unlink()


def _link(place: Path, target: str) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "commit added": (commit, "code-ref-differs", "refs/heads/main"),
    "branch moved": (
        lambda at: git(at, "branch", "-f", "next", "HEAD~1"), "code-ref-differs", "refs/heads/next",
    ),
    "branch gone": (
        lambda at: git(at, "branch", "-D", "next"), "code-ref-differs", "refs/heads/next"
    ),
    "branch added": (
        lambda at: git(at, "branch", "extra"), "code-ref-differs", "refs/heads/extra"
    ),
    "tag moved": (
        lambda at: git(at, "tag", "-f", "v1.0", "HEAD"), "code-ref-differs", "refs/tags/v1.0"
    ),
    "HEAD moved": (
        lambda at: git(at, "symbolic-ref", "HEAD", "refs/heads/next"), "code-ref-differs", "HEAD"
    ),
    "HEAD detached": (
        lambda at: git(at, "checkout", "-q", "--detach"), "code-ref-differs", "HEAD"
    ),
    "stash lost": (lambda at: git(at, "stash", "drop", "-q"), "code-ref-differs", "stash"),
    "object altered": (_flip_object, "code-damaged", ""),
    "object lost": (_lose_object, "code-damaged", ""),
    "repository gone": (lambda at: (at / ".git").rename(at / "x"), "code-damaged", ""),
    "tracked file altered": (
        lambda at: write(at / "public/index.php", "<?php\n"), "tree-content", "public/index.php"
    ),
    "tracked file rotten": (
        lambda at: _same_size_and_time(at / "api/health.php"), "tree-content", "api/health.php"
    ),
    "tracked file altered and hidden from git": (
        lambda at: (
            git(at, "update-index", "--assume-unchanged", "api/health.php"),
            write(at / "api/health.php", "<?php\n"),
        ),
        "tree-content", "api/health.php",
    ),
    "tracked file gone": (
        lambda at: (at / "bin/deploy").unlink(), "tree-missing", "bin/deploy"
    ),
    "tracked file's mode": (
        lambda at: (at / "bin/deploy").chmod(0o644), "tree-metadata", "bin/deploy"
    ),
    "declared file altered": (
        lambda at: write(at / "config/local.php", "<?php\n", 0o640),
        "tree-content", "config/local.php",
    ),
    "declared file rotten": (
        lambda at: _same_size_and_time(at / "config/local.php"), "tree-content", "config/local.php"
    ),
    "declared file longer": (
        lambda at: write(at / ".htaccess", "Options -Indexes\n" * 2), "tree-content", ".htaccess"
    ),
    "declared file gone": (
        lambda at: (at / ".htaccess").unlink(), "tree-missing", ".htaccess"
    ),
    "declared file's mode": (
        lambda at: (at / "config/local.php").chmod(0o644), "tree-metadata", "config/local.php"
    ),
    "declared file a link now": (
        lambda at: _link(at / ".htaccess", str((at / ".htaccess").rename(at.parent / "moved"))),
        "tree-metadata",
        ".htaccess",
    ),
    "declared link elsewhere": (
        lambda at: _link(at / "config/link.php", "/etc/passwd"),
        "tree-metadata",
        "config/link.php",
    ),
    "declared file added": (
        lambda at: write(at / "config/evil.php", "<?php\n"), "tree-extra", "config/evil.php"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_change_is_found(restored: tuple[CodeSource, SnapshotView, Path], fault: str) -> None:
    source, view, target = restored
    change, code, subject = FAULTS[fault]
    change(target)
    proof = source.prove(view, str(target))
    assert judge(proof.findings, checked=proof.checked) is Verdict.FAILED
    assert (code, subject or str(target)) in [(one.code, one.subject) for one in proof.findings]


HARMLESS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda at: at,
    "times": lambda at: os.utime(at / "public/index.php", ns=(1, 1)),
    "undeclared files": lambda at: write(at / "cache/page.html", "made up\n"),
    "other packs": lambda at: git(at, "gc", "-q"),
    "a remote": lambda at: git(at, "remote", "add", "origin", "git@example.com:tms.git"),
    "a stale index": lambda at: (at / ".git/index").unlink(),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_not_identity_does_not_alarm(
    restored: tuple[CodeSource, SnapshotView, Path], change: str
) -> None:
    source, view, target = restored
    HARMLESS[change](target)
    proof = source.prove(view, str(target))
    assert proof.findings == ()
    # 5 refs with the stash, HEAD, fsck, 4 tracked files, 4 declared entries
    assert proof.checked == 4 + 1 + 1 + 4 + 4


def test_the_source_itself_is_proven_while_nobody_works_on_it(
    restored: tuple[CodeSource, SnapshotView, Path],
) -> None:
    source, view, target = restored
    proof = source.prove(view, str(target.parent / "app"))
    assert proof.findings == ()


def test_objects_in_an_old_form_are_a_note_and_no_alarm(ground: Ground, tmp_path: Path) -> None:
    application = make_application(tmp_path / "app")
    body = git(application, "cat-file", "commit", "HEAD").replace("amina@example.com> ", "")
    commit_id = git(
        application, "hash-object", "-t", "commit", "-w", "--stdin", "--literally",
        given=body.encode() + b"\n",
    )  # fmt: skip
    git(application, "update-ref", "refs/heads/old", commit_id)
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    source.restore(view, str(tmp_path / "restored"))
    proof = source.prove(view, str(tmp_path / "restored"))
    assert {one.code for one in proof.findings} == {"code-irregular"}
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN


def test_a_directory_that_is_not_there_is_an_error(
    restored: tuple[CodeSource, SnapshotView, Path],
) -> None:
    source, view, target = restored
    with pytest.raises(TargetError):
        source.prove(view, str(target / "nothing"))
