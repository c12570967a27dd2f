"""Snapshots that somebody made to harm: a restore writes into its target and nowhere else.

Each tree is put together by hand and sealed with the right key, as an attacker with a key would.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import IntegrityError, StrongroomError
from strongroom.repository import BlobType, Repository, SnapshotView, SnapshotWriter
from strongroom.repository.check import check_repository
from strongroom.repository.restore import RestoreReport
from tests.support.repository_ground import new_repository, reopened
from tests.support.tree_ground import describe

Fields = dict[str, Any]  # Any: JSON values of any shape


def planted(nodes: Sequence[Fields], *, ordered: bool = True) -> tuple[Repository, SnapshotView]:
    """A snapshot whose root directory holds these nodes, each written as it is.

    A node may hold its own `nodes`, and a file its `bytes`.
    """
    repository = new_repository()
    with SnapshotWriter([repository]) as writer:
        root = _tree(writer, nodes, ordered)
        (committed,) = writer.commit(root, paths=["/"], tags=[], time=datetime.now(UTC))
    again = reopened(repository)
    return again, SnapshotView(again, committed.snapshot)


def _tree(writer: SnapshotWriter, nodes: Sequence[Fields], ordered: bool) -> str:
    encoded = []
    for number, given in enumerate(nodes):
        fields: Fields = {"mode": 0o644, "mtime": "2026-11-23T10:00:00Z", "uid": 0, "gid": 0,
                  "content": None} | given  # fmt: skip
        if "nodes" in fields:
            fields["subtree"] = _tree(writer, fields.pop("nodes"), ordered)
            fields["mode"] |= 1 << 31
        if "bytes" in fields:
            content = writer.put_bytes(fields.pop("bytes"))
            fields["content"] = [blob.hex() for blob in content.blobs]
            fields.setdefault("size", content.size)
        name = fields["name"].encode() if ordered else b"%06d" % number
        encoded.append((name, json.dumps(fields).encode()))
    return writer.put_tree(encoded)


def file(name: str, content: bytes = b"planted", **more: object) -> Fields:
    return {"name": name, "type": "file", "bytes": content, **more}


def link(name: str, target: str, **more: object) -> Fields:
    return {"name": name, "type": "symlink", "linktarget": target, **more}


def folder(name: str, *nodes: Fields, **more: object) -> Fields:
    return {"name": name, "type": "dir", "nodes": list(nodes), **more}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with things worth harming, and a target inside of it."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "victims").mkdir()
    (tmp_path / "victims" / "one").write_text("precious")
    (tmp_path / "target").mkdir()
    return tmp_path


def restore(view: SnapshotView, place: Path) -> RestoreReport:
    return view.restore(b"/", place / "target")


def unharmed(place: Path) -> dict[bytes, tuple[object, ...]]:
    found = describe(place, top=False)
    return {name: one for name, one in found.items() if not name.startswith(b"target")}


NAMES = ["..", ".", "", "../victim", "a/../../victim", "/etc/planted", "victims/one", "a\0b",
         "\\x2e\\x2e", "\\x2e\\x2e\\x2fvictim", "\\056\\056", "\\u002e\\u002e", "a\\x00b",
         "a\\/b"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", [file, folder, link], ids=["file", "dir", "symlink"])
def test_names_never_lead_out(
    place: Path, name: str, inside: bool, kind: Any
) -> None:  # Any: maker
    node = link(name, "/etc") if kind is link else kind(name)
    before = unharmed(place)
    repository, view = planted([folder("d", node)] if inside else [node])
    with pytest.raises(IntegrityError) as raised:
        restore(view, place)
    assert raised.value.code == "tree-damaged"
    assert unharmed(place) == before
    assert not any(path.is_file() for path in (place / "target").rglob("*"))
    codes = {one.code for one in check_repository(repository).findings}
    assert codes == {"tree-unreadable"}


def test_nothing_is_written_below_a_planted_link(place: Path) -> None:
    """The link `d` first, then the directory `d` with a file: a duplicate is refused whole."""
    before = unharmed(place)
    for nodes in (
        [link("d", str(place / "victims")), folder("d", file("one"))],
        [folder("d", file("one")), link("d", str(place / "victims"))],
        [folder("d", file("one")), folder("d", link("one", "../../victim"))],
    ):
        repository, view = planted(nodes, ordered=False)
        with pytest.raises(IntegrityError) as raised:
            restore(view, place)
        assert raised.value.code == "tree-damaged"
        codes = {one.code for one in check_repository(repository).findings}
        assert codes == {"tree-order"}
        assert list((place / "target").iterdir()) == []
    assert unharmed(place) == before


@pytest.mark.parametrize("kind", ["symlink", "file", "fifo"])
def test_what_is_no_directory_has_nothing_in_it(place: Path, kind: str) -> None:
    """A node that is a link *and* has a subtree must not become a way through the link."""
    node = folder("d", file("one"), linktarget=str(place / "victims"))
    node["type"] = kind
    before = unharmed(place)
    _, view = planted([node])
    with pytest.raises(IntegrityError):
        restore(view, place)
    assert unharmed(place) == before


def test_links_are_made_last_and_are_not_followed(place: Path) -> None:
    """Every link of a tree leads out; files sort before and after them; nothing follows one."""
    before = unharmed(place)
    nodes = [
        link("a", str(place / "victim"), uid=12345, mtime="2001-01-01T00:00:00Z"),
        file("b"),
        link("c", str(place / "victims")),
        folder("d", link("a", "../../victims"), file("z")),
        link("e", "/proc/self/cwd"),
        file("f"),
    ]
    _, view = planted(nodes)
    report = restore(view, place)
    assert report.findings == []
    assert unharmed(place) == before
    assert os.readlink(place / "target" / "a") == str(place / "victim")
    assert (place / "target" / "d" / "z").read_bytes() == b"planted"


def test_hard_links_join_only_what_was_restored(place: Path) -> None:
    """Links are known by numbers of inodes; numbers of files outside mean nothing."""
    victim = (place / "victim").stat()
    same = {"links": 2, "inode": victim.st_ino, "device_id": victim.st_dev}
    before = unharmed(place)
    _, view = planted([
        file("a", b"one", **same),
        file("b", b"two", **same),
        file("c", b"one", **same),
    ])  # fmt: skip
    assert restore(view, place).findings == []
    target = place / "target"
    assert unharmed(place) == before
    assert [(target / name).read_bytes() for name in "abc"] == [b"one", b"two", b"one"]
    assert (target / "a").stat().st_ino == (target / "c").stat().st_ino
    assert (target / "b").stat().st_nlink == 1


@pytest.mark.parametrize("size", [0, 6, 8, 1 << 40, (1 << 64) - 1])
def test_a_size_that_is_not_that_of_its_blobs_is_refused(place: Path, size: int) -> None:
    """Otherwise a few bytes of JSON would claim a disk."""
    repository, view = planted([file("a", b"seven b", size=size)])
    with pytest.raises(IntegrityError, match="7 bytes") as raised:
        restore(view, place)
    assert raised.value.code == "tree-damaged"
    assert list((place / "target").iterdir()) == []
    assert [one.code for one in check_repository(repository).findings] == ["size-differs"]


def test_absurd_metadata_is_told_and_harms_nothing(place: Path) -> None:
    _, view = planted([
        file("a", uid=(1 << 64) - 1, gid=1 << 40),
        file("b", mtime="9999-12-31T23:59:59.999999999Z"),
        file("c", mode=(1 << 32) - 1),
        file("d", extended_attributes=[{"name": "no-namespace", "value": "eA=="}]),
        file("e", extended_attributes=[{"name": "user." + "n" * 300, "value": "eA=="}]),
        {"name": "f", "type": "chardev", "device": (1 << 64) - 1},
        link("g", ""),
        link("h", "x" * 5000),
        {"name": "i", "type": "socket"},
    ])  # fmt: skip
    report = restore(view, place)
    assert {one.code for one in report.findings} == {"metadata-unset"}
    target = place / "target"
    made = {path.name for path in target.iterdir()}
    assert made >= {"a", "b", "c", "d", "e"}
    assert not made & {"g", "h", "i"}
    assert all((target / name).read_bytes() == b"planted" for name in "abcde")
    assert stat.S_ISREG((target / "c").lstat().st_mode)
    told = " ".join(one.message for one in report.findings)
    for word in ("owner", "attribute", "symlink"):
        assert word in told


def test_a_tree_that_contains_itself_cannot_be_made() -> None:
    """A tree's id is its content's hash, so a cycle would need a collision; a tree that is used
    many times is walked as often, and check walks it once."""
    nodes: list[Fields] = [file("x")]
    for _ in range(12):
        nodes = [folder("a", *nodes), folder("b", *nodes)]
    repository, _ = planted(nodes)
    assert check_repository(repository).findings == []


@pytest.mark.parametrize("other", ["tree as data", "missing"])
def test_a_subtree_that_is_not_one_is_refused(place: Path, other: str) -> None:
    repository = new_repository()
    with SnapshotWriter([repository]) as writer:
        stored = writer.put_bytes(b'{"nodes":[]}\n').blobs[0]
        node = {"name": "d", "type": "dir", "mode": 0o755, "mtime": "2026-11-23T10:00:00Z",
                "subtree": stored.hex() if other == "tree as data" else "ab" * 32}  # fmt: skip
        root = writer.put_tree([(b"d", json.dumps(node).encode())])
        (committed,) = writer.commit(root, paths=["/"], tags=[], time=datetime.now(UTC))
    repository = reopened(repository)
    assert not repository.index.has(BlobType.TREE, stored)
    with pytest.raises(StrongroomError) as raised:
        restore(SnapshotView(repository, committed.snapshot), place)
    assert raised.value.code == "index-damaged"
    assert [one.code for one in check_repository(repository).findings] == ["blob-missing"]
