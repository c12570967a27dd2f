"""Stock restic on a repository that we wrote: it checks, restores, finds, copies and goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.repository import BlobType, Committed, Repository, Snapshot, SnapshotView
from strongroom.repository.storage import LocalStorage
from strongroom.repository.tree import decode_former
from tests.support.repository_ground import (
    PASSWORD,
    SMALL_PACKS,
    capture,
    check_codes,
    new_repository,
    prove,
    restore,
    view_of,
)
from tests.support.restic import Restic, stock_restics
from tests.support.tree_ground import ODD_NAMES, describe, make_odd_tree, make_socket

RAW_LINKS_SINCE = (0, 16)
REWRITE_SINCE = (0, 15)


@pytest.fixture(params=stock_restics(), ids=str)
def restic(request: pytest.FixtureRequest) -> Restic:
    found = request.param
    assert isinstance(found, Restic)
    return found


@dataclass(frozen=True)
class Ground:
    """A captured tree: where it lies, our repository of it, and what the tree is."""

    tree: Path
    store: Path
    committed: Committed
    described: Mapping[bytes, tuple[object, ...]]

    def copied(self, to: Path) -> Path:
        """The repository again, for a test that changes it."""
        shutil.copytree(self.store, to)
        return to

    def opened(self, store: Path) -> Repository:
        return Repository.open(LocalStorage(store), PASSWORD, name="store")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    base = tmp_path_factory.mktemp("odd")
    make_odd_tree(base / "tree")
    repository = new_repository(base / "store")
    committed, findings = capture(
        repository, base / "tree", options=SMALL_PACKS, after=timedelta(0)
    )
    assert findings == []
    return Ground(base / "tree", base / "store", committed, describe(base / "tree"))


def as_restored_by(
    restic: Restic, described: Mapping[bytes, tuple[object, ...]]
) -> dict[bytes, tuple[object, ...]]:
    """What this version makes of a tree: before 0.16 raw link targets and attributes of links
    were beyond it."""
    if restic.version >= RAW_LINKS_SINCE:
        return dict(described)
    known = {}
    for name, entry in described.items():
        if entry[0] == stat.S_IFLNK:
            target = entry[-1]
            assert isinstance(target, bytes)
            text = "".join("\ufffd" if "\udc80" <= one <= "\udcff" else one
                           for one in os.fsdecode(target))  # fmt: skip
            entry = (*entry[:4], (), text.encode())
        known[name] = entry
    return known


def test_check_has_nothing_to_complain_about(ground: Ground, restic: Restic) -> None:
    restic.check(ground.store)
    assert check_codes(ground.opened(ground.store)) == []


def test_restore_gives_the_identical_tree(ground: Ground, restic: Restic, tmp_path: Path) -> None:
    restic.run(ground.store, "restore", "latest", "--target", tmp_path / "out")
    restored = tmp_path / "out" / ground.tree.relative_to("/")
    assert describe(restored) == as_restored_by(restic, ground.described)
    found = {one.code for one in prove(ground.opened(ground.store), ground.committed, restored)}
    assert found == (set() if restic.version >= RAW_LINKS_SINCE else {"tree-metadata"})


def test_our_own_restore_gives_the_identical_tree(ground: Ground, tmp_path: Path) -> None:
    repository = ground.opened(ground.store)
    assert restore(repository, ground.committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == ground.described
    assert prove(repository, ground.committed, tmp_path / "out") == []
    sparse = (tmp_path / "out" / "sparse").stat()
    assert sparse.st_blocks * 512 < sparse.st_size // 2


def test_our_nodes_are_the_bytes_that_restic_writes(
    ground: Ground, restic: Restic, tmp_path: Path
) -> None:
    """Every node of the odd tree, as both tools record it."""
    theirs = tmp_path / "theirs"
    new_repository(theirs)
    restic.run(theirs, "backup", ground.tree)
    repository = ground.opened(theirs)
    (snapshot,) = repository.snapshots().snapshots
    ours = _nodes(ground.opened(ground.store), ground.committed.snapshot, ground.tree)
    written = _nodes(repository, snapshot, ground.tree)
    assert ours.keys() == written.keys() >= set(ODD_NAMES)
    if restic.version < RAW_LINKS_SINCE:  # it had another JSON encoder and less in links
        ours, written = ({name: node for name, node in nodes.items() if b'"symlink"' not in node}
                         for nodes in (ours, written))  # fmt: skip
    assert {name: (ours[name], written[name]) for name in ours if ours[name] != written[name]} == {}


def _nodes(repository: Repository, snapshot: Snapshot, tree: Path) -> dict[bytes, bytes]:
    """The nodes of a captured tree, without what the two tools decide differently on purpose:
    device ids, the order of attributes, link counts of pipes, and where large files are cut."""
    view = SnapshotView(repository, snapshot)
    waiting = [(b"", view.node(os.fsencode(tree)).subtree)]
    found = {}
    while waiting:
        prefix, subtree = waiting.pop()
        assert subtree
        nodes = decode_former(repository.read_blob(BlobType.TREE, bytes.fromhex(subtree)))
        for name, former in nodes.items():
            encoded = re.sub(rb'"device_id":\d+,', b"", former.encoded)
            encoded = re.sub(rb'("extended_attributes":)\[(.*?)\]', _sorted_attributes, encoded)
            fields = json.loads(former)
            if fields["type"] == "fifo":
                encoded = encoded.replace(b'"links":1,', b"")
            if fields.get("size", 0) > 500_000 or former.subtree:
                encoded = re.sub(rb'"(content|subtree)":.*', b"", encoded)
            found[prefix + name] = encoded
            if former.subtree:
                waiting.append((prefix + name + b"/", former.subtree))
    return found


def _sorted_attributes(match: re.Match[bytes]) -> bytes:
    return match[1] + b",".join(sorted(re.findall(rb"\{.*?\}", match[2])))


def test_names_are_listed_found_and_dumped(ground: Ground, restic: Restic) -> None:
    listed = {one["path"] for one in restic.lines(ground.store, "ls", "latest") if "path" in one}
    expected = {f"{ground.tree}/{os.fsdecode(name)}" for name in ODD_NAMES if _is_text(name)}
    assert expected <= listed
    assert len(listed) == 1 + len(ground.described) + len(ground.tree.parents) - 1 + 1
    for name in ODD_NAMES[1::3]:
        path = os.fsencode(ground.tree) + b"/" + name
        printed = restic.attempt(ground.store, "dump", "latest", path)
        assert printed.returncode == 0, (name, printed.stderr)
        assert printed.stdout == Path(os.fsdecode(path)).read_bytes()
    found = json.loads(restic.run(ground.store, "find", "--json", "large"))
    assert [one["path"] for one in found[0]["matches"]] == [f"{ground.tree}/a/b/c/d/large"]


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_the_manifest_is_one_dump_away(ground: Ground, restic: Restic) -> None:
    printed = restic.run(ground.store, "dump", "latest", "/.strongroom/manifest.json")
    manifest = json.loads(printed)
    assert (manifest["kind"], manifest["source"], manifest["path"]) == (
        "files", "tree", str(ground.tree)
    )  # fmt: skip


def test_a_backup_on_top_finds_everything_unchanged(
    ground: Ground, restic: Restic, tmp_path: Path
) -> None:
    store = ground.copied(tmp_path / "store")
    summary = restic.lines(store, "backup", "--host", os.uname().nodename, ground.tree)[-1]
    files = [entry for entry in ground.described.values() if entry[0] == stat.S_IFREG]
    assert (summary["files_new"], summary["files_changed"]) == (0, 0)
    assert summary["files_unmodified"] == len(files)
    assert summary["data_blobs"] == 0
    restic.check(store)


def test_work_on_top_leaves_everything_readable(
    ground: Ground, restic: Restic, tmp_path: Path
) -> None:
    store = ground.copied(tmp_path / "store")
    other = tmp_path / "other"
    make_odd_tree(other, seed=2)
    restic.run(store, "backup", other)
    repository = ground.opened(store)
    again, _ = capture(repository, ground.tree, parent=ground.committed.snapshot)
    restic.run(store, "tag", "--add", "kept", ground.committed.snapshot.id)
    restic.run(store, "forget", again.snapshot.id, "--prune", "--max-unused", "0")
    restic.check(store)
    repository = ground.opened(store)
    assert check_codes(repository) == []
    tagged = repository.find("latest", source="tree")
    assert set(tagged.tags) == {"source:tree", "kind:files", "kept"}
    assert (tagged.original, tagged.source) == (ground.committed.snapshot.id, "tree")
    committed = Committed("store", tagged, 0)
    assert restore(repository, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == ground.described
    theirs = next(one for one in repository.snapshots().snapshots if one.source is None)
    view = SnapshotView(repository, theirs)
    view.restore(os.fsencode(other), tmp_path / "other out")
    assert describe(tmp_path / "other out") == as_restored_by(restic, describe(other))


def test_prune_of_everything_else_keeps_what_it_should(
    ground: Ground, restic: Restic, tmp_path: Path
) -> None:
    """Packs partly unused are repacked by stock restic; ours must be fit for that."""
    store, tree = tmp_path / "store", tmp_path / "tree"
    repository = new_repository(store)
    for day in range(4):
        for number in range(8):
            (tree / f"day {day}").mkdir(parents=True, exist_ok=True)
            (tree / f"day {day}" / f"{number}").write_bytes(os.urandom(30_000))
        if day:
            shutil.rmtree(tree / f"day {day - 1}")
        committed, _ = capture(repository, tree, options=SMALL_PACKS)
    restic.run(store, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    restic.check(store)
    repository = ground.opened(store)
    assert [one.id for one in repository.snapshots().snapshots] == [committed.snapshot.id]
    assert check_codes(repository) == []
    assert restore(repository, committed, tmp_path / "out") == []
    assert describe(tmp_path / "out") == describe(tree)


def test_copy_takes_our_snapshots_along(ground: Ground, restic: Restic, tmp_path: Path) -> None:
    store = tmp_path / "copied"
    source = {"RESTIC_FROM_REPOSITORY": str(ground.store), "RESTIC_FROM_PASSWORD": PASSWORD}
    new_repository(store)
    restic.run(store, "copy", **source)
    repository = ground.opened(store)
    (snapshot,) = repository.snapshots().snapshots
    assert (snapshot.tree, snapshot.source) == (ground.committed.snapshot.tree, "tree")
    assert check_codes(repository) == []
    assert restore(repository, Committed("store", snapshot, 0), tmp_path / "out") == []
    assert describe(tmp_path / "out") == ground.described


def test_the_small_commands_work(ground: Ground, restic: Restic, tmp_path: Path) -> None:
    store = ground.copied(tmp_path / "store")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "added").write_text("new")
    repository = ground.opened(store)
    other, _ = capture(repository, tree)
    first, second = ground.committed.snapshot.id, other.snapshot.id
    listed = json.loads(restic.run(store, "snapshots", "--json"))
    assert {one["id"] for one in listed} == {first, second}
    assert "+" in restic.run(store, "diff", first, second)
    stats = json.loads(restic.run(store, "stats", "--mode", "restore-size", "--json", first))
    assert stats["total_size"] > 9 << 20
    assert restic.run(store, "list", "keys").count("\n") == 1
    restic.run(store, "unlock")
    restic.run(store, "key", "list")


def test_rewrite_can_encode_our_trees(ground: Ground, restic: Restic, tmp_path: Path) -> None:
    """Newer restics refuse trees that they would write otherwise; 0.14 cannot rewrite at all."""
    store = ground.copied(tmp_path / "store")
    if restic.version < REWRITE_SINCE:
        assert restic.attempt(store, "rewrite", "latest").returncode != 0
        return
    restic.run(store, "rewrite", "--exclude", f"{ground.tree}/mode 0000", "--forget", "latest")
    repository = ground.opened(store)
    (snapshot,) = repository.snapshots().snapshots
    assert snapshot.tree != ground.committed.snapshot.tree
    view = SnapshotView(repository, snapshot)
    view.restore(os.fsencode(ground.tree), tmp_path / "out")
    expected = {name: entry for name, entry in ground.described.items() if name != b"mode 0000"}
    assert describe(tmp_path / "out") == expected
    assert check_codes(repository) == []


def test_a_socket_is_the_only_thing_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "t"
    tree.mkdir()
    make_socket(tree / "socket")
    (tree / "file").touch()
    repository = new_repository(tmp_path / "store")
    committed, findings = capture(repository, tree)
    assert [(one.code, one.subject) for one in findings] == [("file-skipped", "socket")]
    assert [node.name for node in view_of(repository, committed).children(os.fsencode(tree))] == [
        b"file"
    ]
