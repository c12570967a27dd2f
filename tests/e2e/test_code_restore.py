"""Bringing code back: everything as it was, nothing run, nothing outside of the target."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from strongroom.errors import IntegrityError, StorageError, TargetError
from strongroom.model import Verdict, judge
from strongroom.repository import Content, Folder, Node, SnapshotView, SnapshotWriter
from strongroom.sources.code import CodeSource
from strongroom.sources.code_export import export_release
from strongroom.sources.code_state import decode_state
from tests.support.code_ground import DECLARED, Ground, commit, git, make_application, write


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


@pytest.fixture
def application(tmp_path: Path) -> Path:
    return make_application(tmp_path / "app")


def _restore_and_prove(ground: Ground, source: CodeSource, target: Path) -> SnapshotView:
    """The snapshot, after everything that is to hold for it was seen to hold."""
    _, view, _ = ground.capture(source)
    assert source.restore(view, str(target)).findings == ()
    proof = source.prove(view, str(target))
    assert proof.findings == ()
    assert judge(proof.findings, checked=proof.checked) is Verdict.PROVEN
    again = CodeSource("code", target, untracked=DECLARED)
    _, second, _ = ground.capture(again)
    assert second.read(b"/code/refs.json") == view.read(b"/code/refs.json")
    return view


def test_every_ref_comes_back_with_its_exact_name(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    """Names that git itself confuses are among them: `git bundle create` would drop some."""
    head = git(application, "rev-parse", "HEAD")
    first = git(application, "rev-parse", "HEAD~1")
    blob = git(application, "rev-parse", "HEAD:public/index.php")
    tree = git(application, "rev-parse", "HEAD^{tree}")
    git(application, "notes", "add", "-m", "Seen", "HEAD")
    for change in ("first", "second"):
        write(application / "public/index.php", f"<?php {change}();\n")
        git(application, "stash", "-q")
    git(application, "replace", first, head)
    for name, pointed in {
        "refs/remotes/origin/main": head,
        "refs/heads/refs/heads/main": first,
        "refs/heads/HEAD": first,
        "refs/tags/main": first,
        "refs/tags/blob": blob,
        "refs/tags/tree": tree,
        "refs/heads/ünï/code": head,
        "refs/pull/7/head": first,
    }.items():
        git(application, "update-ref", name, pointed)
    git(application, "update-ref", b"refs/heads/b\xff", head)
    git(application, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    target = tmp_path / "restored"
    _restore_and_prove(ground, CodeSource("code", application, untracked=DECLARED), target)
    assert git(target, "for-each-ref") == git(application, "for-each-ref")
    listed = ["stash", "list", "--format=%H %gs"]
    assert git(target, *listed) == git(application, *listed)
    assert len(git(target, *listed).splitlines()) == 2


def test_the_work_tree_and_the_configuration_come_back(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    git(application, "remote", "add", "origin", "git@example.com:tms.git")
    git(application, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(application, "branch", "-q", "--set-upstream-to=origin/main")
    (application / "config").chmod(0o550)
    os.utime(application / ".htaccess", ns=(1, 1_700_000_000_123_456_789))
    target = tmp_path / "new" / "restored"
    _restore_and_prove(ground, CodeSource("code", application, untracked=DECLARED), target)
    assert (target / "api/health.php").read_bytes() == (application / "api/health.php").read_bytes()
    assert (target / "bin/deploy").stat().st_mode & 0o777 == 0o755
    assert (target / ".htaccess").stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert (target / "config/local.php").stat().st_mode & 0o777 == 0o640
    assert (target / "config").stat().st_mode & 0o777 == 0o550
    assert not (target / "cache").exists()
    assert git(target, "status", "--porcelain") == "?? .htaccess"
    assert git(target, "remote", "get-url", "origin") == "git@example.com:tms.git"
    assert git(target, "rev-parse", "--abbrev-ref", "main@{upstream}") == "origin/main"


def test_no_credential_of_a_remote_gets_into_a_snapshot_or_out_of_one(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    url = "https://amina:hunter2@example.com/tms.git"
    for key in ("remote.origin.url", "remote.origin.pushurl", "remote.bare.url",
                "branch.main.remote", "branch.main.pushRemote",
                f"url.{url}.insteadOf", f"remote.{url}.url"):  # fmt: skip
        git(application, "config", key, "amina:hunter2@example.com:tms" if "bare" in key else url)
    git(application, "config", "branch.main.merge", "refs/heads/main")
    target = tmp_path / "restored"
    source = CodeSource("code", application, untracked=DECLARED)
    view = _restore_and_prove(ground, source, target)
    export_release(view, tmp_path / "bare.git", "git")
    export_release(view, tmp_path / "bundle", "git")
    for path, node in view.walk():
        assert node.type == "dir" or b"hunter2" not in view.read(path), path
    for file in tmp_path.rglob("*"):
        if file.is_file() and not file.is_relative_to(application):
            assert b"hunter2" not in file.read_bytes(), file
    assert git(target, "config", "branch.main.remote") == "https://example.com/tms.git"
    assert git(target, "config", "remote.bare.url") == "amina@example.com:tms"


def test_a_snapshot_that_holds_a_credential_is_restored_without_it(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    git(application, "config", "branch.main.remote", "https://example.com/tms.git")
    git(application, "config", "branch.main.merge", "refs/heads/main")
    source = CodeSource("code", application, untracked=DECLARED)
    _, view, _ = ground.capture(source)
    state = view.read(b"/code/refs.json")
    told = state.replace(b"//example.com", b"//amina:hunter2@example.com")
    assert told != state
    older = _Altered(ground, view).commit({b"code/refs.json": told})
    source.restore(older, str(tmp_path / "restored"))
    export_release(older, tmp_path / "bare.git", "git")
    for directory in ("restored/.git", "bare.git"):
        assert "hunter2" not in (tmp_path / directory / "config").read_text()


@pytest.mark.parametrize("case", ["detached", "unborn", "empty", "bare", "shallow", "sha256"])
def test_every_kind_of_repository_makes_the_round_trip(
    ground: Ground, application: Path, tmp_path: Path, case: str
) -> None:
    path = application
    if case == "detached":
        git(application, "checkout", "-q", "v1.0")
    elif case == "unborn":
        git(application, "symbolic-ref", "HEAD", "refs/heads/not-yet")
        git(application, "rm", "-rq", "--cached", ".")
    elif case == "empty":
        path = tmp_path / "empty"
        git(tmp_path, "init", "-q", "empty")
        write(path / ".htaccess", "x\n")
    elif case == "bare":
        path = tmp_path / "bare.git"
        git(tmp_path, "clone", "-q", "--mirror", str(application), str(path))
    elif case == "shallow":
        path = tmp_path / "shallow"
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{application}", str(path))
    else:
        path = tmp_path / "sha256"
        git(tmp_path, "init", "-q", "--object-format=sha256", "sha256")
        write(path / "index.php", "<?php\n")
        commit(path)
        git(path, "tag", "-a", "v1", "-m", "One")
    target = tmp_path / "restored"
    view = _restore_and_prove(ground, CodeSource("code", path, untracked=DECLARED), target)
    state = decode_state(view.read(b"/code/refs.json"), "code")
    assert git(target, "rev-parse", "--is-bare-repository") == str(case == "bare").lower()
    assert git(target, "for-each-ref") == git(path, "for-each-ref")
    assert (state.head is None) is (case == "detached")
    if case == "shallow":
        assert view.read(b"/code/shallow").decode().split() == list(state.shallow)
        assert len(state.shallow) == 1


def test_a_checkout_is_handed_back_to_its_owner(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.fail("this needs root, which CI has")
    subprocess.run(["chown", "-R", "1234:1235", str(application)], check=True)
    os.chown(application / "config/local.php", 0, 1235)
    target = tmp_path / "restored"
    _restore_and_prove(ground, CodeSource("code", application, untracked=DECLARED), target)
    owners = {
        str(path.relative_to(target)): (path.lstat().st_uid, path.lstat().st_gid)
        for path in [target, *target.rglob("*")]
    }
    assert owners.pop("config/local.php") == (0, 1235)
    assert set(owners.values()) == {(1234, 1235)}


def test_changes_by_hand_to_tracked_files_come_back_when_declared(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    write(application / "public/index.php", "<?php by_hand();\n")
    source = CodeSource("code", application, untracked=["public/*.php"])
    _, view, _ = ground.capture(source)
    target = tmp_path / "restored"
    source.restore(view, str(target))
    assert (target / "public/index.php").read_text() == "<?php by_hand();\n"
    assert source.prove(view, str(target)).findings == ()


def test_single_files_come_back_without_the_repository(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    source = CodeSource("code", application, untracked=DECLARED)
    _, view, _ = ground.capture(source)
    target = tmp_path / "restored"
    source.restore(view, str(target), include=["health.php", "config/"])
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["api/health.php", "config/local.php"]
    with pytest.raises(StorageError) as caught:
        source.restore(view, str(tmp_path / "none"), include=["*.toml"])
    assert caught.value.code == "path-missing"
    assert not (tmp_path / "none").exists()


def test_nothing_that_is_there_is_overwritten(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    kept = write(tmp_path / "target/kept", "mine")
    with pytest.raises(TargetError) as caught:
        source.restore(view, str(kept.parent))
    assert caught.value.code == "target-not-empty"
    assert kept.read_text() == "mine"
    with pytest.raises(TargetError):
        source.restore(view, str(kept))


# Snapshots that somebody has altered


class _Altered:
    """Commits a snapshot like another one, with some files replaced or added."""

    def __init__(self, ground: Ground, view: SnapshotView) -> None:
        self._ground = ground
        self._view = view

    def commit(
        self, files: dict[bytes, bytes], links: dict[bytes, bytes] | None = None
    ) -> SnapshotView:
        with SnapshotWriter([self._ground.repository]) as writer:
            folder = Folder(0)
            for path, node in self._view.walk():
                if node.type != "dir":
                    folder.add_node(path, node)
            for path, content in files.items():
                folder.add(path, writer.put_bytes(content))
            for path, target in (links or {}).items():
                node = Node(path.rpartition(b"/")[2], "symlink", 0o120777, linktarget=target)
                folder.add_node(path, node)
            [done] = writer.commit(
                folder.store(writer), paths=["/x"], tags=["source:code"], time=self._ground.now
            )
        return SnapshotView(self._ground.repository, done.snapshot)


@pytest.mark.parametrize("place", [b".git/hooks/post-checkout", b"public/.GIT/config", b".git"])
def test_a_declared_file_never_lands_in_a_git_directory(
    ground: Ground, application: Path, tmp_path: Path, place: bytes
) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    altered = _Altered(ground, view).commit({b"code/untracked/" + place: b"#!/bin/sh\n"})
    with pytest.raises(IntegrityError) as caught:
        source.restore(altered, str(tmp_path / "target"))
    assert caught.value.code == "tree-damaged"
    assert not (tmp_path / "target").exists()


def test_tracked_files_are_not_written_through_a_planted_link(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    altered = _Altered(ground, view).commit({}, {b"code/untracked/public": os.fsencode(outside)})
    target = tmp_path / "target"
    with pytest.raises(TargetError, match="public"):
        source.restore(altered, str(target))
    assert list(outside.iterdir()) == []
    assert not target.exists()


def test_refs_and_bundle_must_agree(ground: Ground, application: Path, tmp_path: Path) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    head = git(application, "rev-parse", "HEAD").encode()
    other = git(application, "rev-parse", "HEAD~1").encode()
    refs = view.read(b"/code/refs.json").replace(head, other)
    altered = _Altered(ground, view).commit({b"code/refs.json": refs})
    with pytest.raises(IntegrityError) as caught:
        source.restore(altered, str(tmp_path / "target"))
    assert caught.value.code == "snapshot-damaged"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("manifest", [b"", b"{}", b'{"format": 1, "kind": "files"}', b"[1]"])
def test_a_manifest_that_is_none_is_damage(
    ground: Ground, application: Path, tmp_path: Path, manifest: bytes
) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    altered = _Altered(ground, view).commit({b".strongroom/manifest.json": manifest})
    with pytest.raises(IntegrityError):
        source.restore(altered, str(tmp_path / "target"))
    # The next capture goes on without it.
    captured, _, _ = ground.capture(source, altered)
    assert captured.findings == ()


def test_a_damaged_bundle_leaves_nothing_behind(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    content = bytearray(view.read(b"/code/repository.bundle"))
    content[-30] ^= 1
    altered = _Altered(ground, view).commit({b"code/repository.bundle": bytes(content)})
    (tmp_path / "target").mkdir()
    with pytest.raises(IntegrityError, match="bundle"):
        source.restore(altered, str(tmp_path / "target"))
    assert list((tmp_path / "target").iterdir()) == []


def test_the_sandbox_is_gone_afterwards(ground: Ground, application: Path, tmp_path: Path) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    with source.sandbox(view, tmp_path) as target:
        source.restore(view, target)
        assert Path(target).is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app"]


def test_content_is_kept_as_a_value(ground: Ground, application: Path) -> None:
    """What dedupe relies on: the same refs give a bundle with the same blobs."""
    source = CodeSource("code", application)
    _, one, _ = ground.capture(source)
    _, two, _ = ground.capture(source)
    nodes = [view.node(b"/code/repository.bundle") for view in (one, two)]
    contents = [Content(node.content, node.size) for node in nodes]
    assert contents[0] == contents[1]
