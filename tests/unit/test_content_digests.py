"""Digests of content: equal exactly when contents are, and the observed one is of what was read."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.model import Digests, Piece, PieceDigest, SetDigest
from strongroom.postgres.proof import first_difference
from strongroom.sources.code import CodeSource
from strongroom.sources.files import FilesSource
from strongroom.sources.protocol import Proof
from tests.support.code_ground import DECLARED, Ground, git, make_application
from tests.support.repository_ground import capture, new_repository, view_of
from tests.support.tree_ground import make_plain_tree


def pieces_of(content: bytes, *lengths: int) -> list[Piece]:
    found, begin = [], 0
    for length in lengths:
        part = content[begin : begin + length]
        found.append(Piece(length, hashlib.sha256(part).digest()))
        begin += length
    return found


def seen(*blocks: bytes, pieces: list[Piece]) -> bytes:
    digest = PieceDigest()
    first_difference(blocks, pieces, digest)
    return digest.digest()


def test_a_stream_is_digested_as_it_is_read_to_its_end() -> None:
    content = b"abcdefghij"
    pieces = pieces_of(content, 4, 5, 1)
    whole = seen(content, pieces=pieces)
    assert seen(b"ab", b"cdefg", b"hij", pieces=pieces) == whole
    others = {
        "the first byte": b"Abcdefghij",
        "a byte after the first difference": b"AbcdefghiJ",
        "the last byte": b"abcdefghiJ",
        "shorter": b"abcdefghi",
        "longer": b"abcdefghijk",
        "longer, otherwise": b"abcdefghijl",
        "nothing": b"",
    }
    found = {name: seen(other, pieces=pieces) for name, other in others.items()}
    assert len({whole, *found.values()}) == len(others) + 1


def test_a_set_is_digested_whatever_its_order() -> None:
    def digest(*parts: tuple[bytes, ...]) -> str:
        whole = SetDigest()
        for part in parts:
            whole.add(*part)
        return whole.hexdigest()

    assert digest((b"a", b"1"), (b"b", b"2")) == digest((b"b", b"2"), (b"a", b"1"))
    different = [
        (),
        ((b"a", b"1"),),
        ((b"a", b"1"), (b"a", b"1")),
        ((b"a1",),),
        ((b"a", b"1", b""),),
        ((b"a", b"2"), (b"b", b"1")),
        ((b"a", b"1"), (b"b", b"2")),
    ]
    assert len({digest(*parts) for parts in different}) == len(different)


def digests_of(proof: Proof) -> Digests:
    assert proof.digests is not None
    assert len(proof.digests.expected) == len(proof.digests.observed) == 64
    return proof.digests


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda tree: (tree / "folder 1/plain").write_bytes(b"PLAIN"),
    "a longer file": lambda tree: (tree / "folder 1/plain").write_bytes(b"plain and more"),
    "a mode": lambda tree: (tree / "folder 1/plain").chmod(0o600),
    "a time": lambda tree: os.utime(tree / "folder 1/plain", ns=(0, 1)),
    "a name": lambda tree: (tree / "folder 1/plain").rename(tree / "folder 1/other"),
    "a file less": lambda tree: (tree / "folder 1/plain").unlink(),
    "a file more": lambda tree: (tree / "more").touch(),
    "a link's target": lambda tree: _link(tree / "folder 1/link", "elsewhere"),
    "another type": lambda tree: _link(tree / "folder 1/plain", "plain"),
    "a hard link split": lambda tree: _split(tree / "folder 1/second"),
    "a folder less": lambda tree: shutil.rmtree(tree / "folder 1"),
}


def _link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)
    os.utime(path, ns=(0, 5 * 10**9), follow_symlinks=False)


def _split(path: Path) -> None:
    content, status = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(0, status.st_mtime_ns))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    make_plain_tree(tree, seed=1)
    folder = tree / "folder 1"
    (folder / "plain").write_bytes(b"plain")
    (folder / "first").write_bytes(b"twice")
    os.link(folder / "first", folder / "second")
    (folder / "link").symlink_to("plain")
    return tree


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tree_has_another_digest(tree: Path, tmp_path: Path, change: str) -> None:
    repository = new_repository()
    committed, _ = capture(repository, tree)
    view, copy = view_of(repository, committed), tmp_path / "copy"
    source = FilesSource("tree", tree)
    source.restore(view, str(copy))
    same = digests_of(source.prove(view, str(copy)))
    assert same.agree
    assert same == digests_of(source.prove(view, str(tree)))
    CHANGES[change](copy)
    proof = source.prove(view, str(copy))
    changed = digests_of(proof)
    assert proof.findings
    assert changed.expected == same.expected
    assert changed.observed != same.observed


def test_a_moved_tag_has_another_digest(tmp_path: Path) -> None:
    place = make_application(tmp_path / "app")
    source = CodeSource("code", place, untracked=DECLARED)
    _, view, _ = Ground().capture(source)
    same = digests_of(source.prove(view, str(place)))
    assert same.agree
    git(place, "tag", "-f", "v1.0", "HEAD~1")
    git(place, "branch", "more")
    changed = digests_of(source.prove(view, str(place)))
    assert changed.expected == same.expected
    assert not changed.agree
