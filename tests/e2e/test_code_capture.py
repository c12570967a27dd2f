"""Capturing real repositories: what is in the snapshot, what is told, what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import SourceError
from strongroom.sources.code import CodeSource
from strongroom.sources.code_state import decode_state
from tests.support.code_ground import DECLARED, Ground, codes, commit, git, make_application, write


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground()


@pytest.fixture
def application(tmp_path: Path) -> Path:
    return make_application(tmp_path / "app")


def _tree(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below with mode, modification time and bytes."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(directory.rglob("*"))
    }


def test_a_snapshot_holds_bundle_refs_declared_files_and_manifest(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    git(application, "remote", "add", "origin", "https://amina:hunter2@example.com/tms.git")
    captured, view, _ = ground.capture(CodeSource("code", application, untracked=DECLARED))
    assert captured.findings == ()
    assert [path for path, _ in view.walk()] == [
        b"/.strongroom",
        b"/.strongroom/manifest.json",
        b"/code",
        b"/code/refs.json",
        b"/code/repository.bundle",
        b"/code/untracked",
        b"/code/untracked/.htaccess",
        b"/code/untracked/config",
        b"/code/untracked/config/local.php",
    ]
    state = decode_state(view.read(b"/code/refs.json"), "code")
    assert [ref.name for ref in state.refs] == [
        "refs/heads/main", "refs/heads/next", "refs/tags/v1.0",
    ]  # fmt: skip
    assert state.remotes[0].urls == ("https://example.com/tms.git",)
    manifest = json.loads(view.read(b"/.strongroom/manifest.json"))
    assert manifest["head"] == "refs/heads/main"
    assert manifest["commit"] == git(application, "rev-parse", "HEAD")
    assert manifest["describe"] == f"v1.0-1-g{manifest['commit'][:12]}"
    assert [one["path"] for one in manifest["untracked"]] == [".htaccess", "config/local.php"]
    node = view.node(b"/code/untracked/config/local.php")
    assert node.mode & 0o7777 == 0o640
    assert node.mtime_ns == (application / "config/local.php").stat().st_mtime_ns
    # Stock git reads the bundle without us.
    bundle = write(tmp_path / "repository.bundle", view.read(b"/code/repository.bundle"))
    git(tmp_path, "clone", "-q", str(bundle), "clone")
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == manifest["commit"]


def test_capture_only_reads(ground: Ground, application: Path) -> None:
    (application / "public/index.php").touch()  # its index entry is stale: status would refresh it
    before = _tree(application)
    ground.capture(CodeSource("code", application, untracked=DECLARED))
    assert _tree(application) == before


def test_an_unchanged_repository_gives_an_identical_tree_and_adds_nothing(
    ground: Ground, application: Path
) -> None:
    source = CodeSource("code", application, untracked=DECLARED)
    first, view, _ = ground.capture(source)
    again, _, added = ground.capture(source, view)
    assert again.root == first.root
    assert added == 0
    git(application, "gc", "-q")  # other packs, same objects: the former bundle is kept
    packed, _, added = ground.capture(source, view)
    assert packed.root == first.root
    assert added == 0


def test_one_more_commit_adds_little(ground: Ground, tmp_path: Path) -> None:
    """Old objects keep their place in the bundle, so that nearly all of it is known already."""
    seeded = random.Random(20261123)
    application = tmp_path / "app"
    application.mkdir()
    git(application, "init", "-q")
    for number in range(120):
        words = (f"{seeded.getrandbits(64):x}" for _ in range(1500))
        write(application / f"{number % 10}/{number}.php", "\n".join(words))
    commit(application)
    source = CodeSource("code", application)
    captured, view, added = ground.capture(source)
    assert added > captured.size_bytes * 0.9 > 1_000_000
    for number in (7, 33, 90):
        with (application / f"{number % 10}/{number}.php").open("r+") as file:
            file.write("another line")
    commit(application)
    captured, view, added = ground.capture(source, view)
    assert added < 0.1 * captured.size_bytes


def test_a_capture_during_commits_is_consistent(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            git(application, "commit", "-q", "--allow-empty", "-m", "Work")
            git(application, "tag", "-f", "latest")
            git(application, "branch", "-f", "next")

    worker = threading.Thread(target=work)
    worker.start()
    source = CodeSource("code", application, untracked=DECLARED)
    try:
        views = [ground.capture(source)[1] for _ in range(4)]
    finally:
        stop.set()
        worker.join()
    assert len({view.read(b"/code/refs.json") for view in views}) > 1
    for number, view in enumerate(views):
        target = str(tmp_path / str(number))
        source.restore(view, target)
        assert source.prove(view, target).findings == ()


def test_nothing_that_the_repository_configures_is_run(ground: Ground, application: Path) -> None:
    trap = application.parent / "trap"
    command = write(application.parent / "spring", f"#!/bin/sh\ntouch {trap}\n", 0o755)
    write(application / ".gitattributes", "*.php filter=evil\n")
    commit(application)
    for key in ("core.fsmonitor", "core.sshCommand", "filter.evil.clean", "filter.evil.process",
                "core.pager", "diff.external", "core.alternateRefsCommand"):  # fmt: skip
        git(application, "config", key, str(command))
    git(application, "config", "filter.evil.required", "true")
    for name in ("post-index-change", "pre-auto-gc", "reference-transaction"):
        write(application / ".git/hooks" / name, f"#!/bin/sh\ntouch {trap}\n", 0o755)
    trap.unlink(missing_ok=True)
    (application / "public/index.php").write_text("<?php changed();\n")
    ground.capture(CodeSource("code", application, untracked=DECLARED))
    assert not trap.exists()


def test_the_surrounding_git_environment_does_not_mislead(
    ground: Ground, application: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_application(tmp_path / "other")
    commit(other, "Something else")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    _, view, _ = ground.capture(CodeSource("code", application))
    state = decode_state(view.read(b"/code/refs.json"), "code")
    monkeypatch.undo()
    assert state.head_object == git(application, "rev-parse", "HEAD")


def test_a_repository_of_another_user_is_read(ground: Ground, application: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("this needs root, which CI has")
    subprocess.run(["chown", "-R", "1234:1234", str(application)], check=True)
    captured, _, _ = ground.capture(CodeSource("code", application, untracked=DECLARED))
    assert captured.findings == ()


# Kinds of repositories


def test_before_the_first_commit_there_is_no_bundle(ground: Ground, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    captured, view, _ = ground.capture(CodeSource("code", tmp_path))
    assert not view.exists(b"/code/repository.bundle")
    state = decode_state(view.read(b"/code/refs.json"), "code")
    assert (state.head, state.head_object, state.refs) == ("refs/heads/main", None, ())
    assert captured.files == 1


def test_a_linked_worktree_is_captured_with_its_own_head(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    git(application, "worktree", "add", "-q", str(tmp_path / "linked"), "next")
    _, view, _ = ground.capture(CodeSource("code", tmp_path / "linked"))
    state = decode_state(view.read(b"/code/refs.json"), "code")
    assert state.head == "refs/heads/next"
    assert "refs/heads/main" in [ref.name for ref in state.refs]


def test_a_link_to_the_checkout_is_followed(
    ground: Ground, application: Path, tmp_path: Path
) -> None:
    (tmp_path / "current").symlink_to(application)
    captured, view, _ = ground.capture(CodeSource("code", tmp_path / "current"))
    assert view.snapshot.paths == (str(tmp_path / "current"),)
    assert captured.size_bytes > 0


@pytest.mark.parametrize("case", ["missing", "plain", "inside", "partial", "damaged"])
def test_what_cannot_be_captured_whole_is_an_error(
    ground: Ground, application: Path, tmp_path: Path, case: str
) -> None:
    path, code = application, "code-unreadable"
    if case == "missing":
        path, code = tmp_path / "nothing", "path-unreadable"
    elif case == "plain":
        path = write(tmp_path / "plain/file", "x").parent
    elif case == "inside":
        path = application / "public"
    elif case == "partial":
        git(application, "config", "remote.origin.promisor", "true")
    else:
        blob = git(application, "rev-parse", "HEAD~1:public/index.php")
        (application / ".git/objects" / blob[:2] / blob[2:]).unlink()
        code = "source-failed"
    with pytest.raises(SourceError) as caught:
        ground.capture(CodeSource("code", path))
    assert caught.value.code == code


# Secrets


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        (".env", "APP=1\n", "environment file"),
        ("config/local.php", "<?php return ['password' => 'hunter22'];\n", "password or key"),
        ("config/id_rsa", "x\n", "private SSH key"),
        ("config/key.pem", "-----BEGIN " + "PRIVATE KEY-----\nMIIE\n", "private key in line 1"),
        ("config/t.php", "<?php\n// AKIA" + "IOSFODNN7EXAMPLE\n", "AWS Access Key in line 2"),
    ],
)
def test_a_declared_secret_is_refused_unless_listed_by_name(
    ground: Ground, application: Path, path: str, content: str, kind: str
) -> None:
    write(application / path, content)
    patterns = [path]
    before = dict(ground.storage_names())
    with pytest.raises(SourceError) as caught:
        ground.capture(CodeSource("code", application, untracked=patterns))
    assert caught.value.code == "secret-in-code"
    assert path in caught.value.message
    assert kind in caught.value.message
    assert path in caught.value.hint
    assert "hunter22" not in str(caught.value) + caught.value.hint
    assert dict(ground.storage_names()) == before
    captured, view, _ = ground.capture(
        CodeSource("code", application, untracked=patterns, allow_secrets=[path])
    )
    assert view.read(b"/code/untracked/" + path.encode()) == content.encode()
    assert captured.findings == ()


def test_every_secret_is_named_at_once(ground: Ground, application: Path) -> None:
    write(application / ".env", "A=1\n")
    write(application / "config/b.php", "<?php $password = 'hunter22';\n")
    with pytest.raises(SourceError) as caught:
        ground.capture(CodeSource("code", application, untracked=[".env", "config/"]))
    assert ".env" in caught.value.message
    assert "config/b.php" in caught.value.message


def test_committed_secrets_are_reported(ground: Ground, application: Path) -> None:
    write(application / ".env", "A=1\n")
    write(application / "tls/site.pem", "-----BEGIN " + "RSA PRIVATE KEY-----\n")
    write(application / "tls/chain.pem", "-----BEGIN CERTIFICATE-----\n")
    commit(application)
    captured, _, _ = ground.capture(CodeSource("code", application, allow_secrets=[]))
    assert [(one.code, one.subject) for one in captured.findings] == [
        ("code-secret-committed", ".env"),
        ("code-secret-committed", "tls/site.pem"),
    ]
    allowed = CodeSource("code", application, allow_secrets=[".env", "tls/site.pem"])
    assert codes(ground.capture(allowed)[0]) == []


# Declared files


def test_tracked_files_that_were_changed_by_hand_are_captured_when_declared(
    ground: Ground, application: Path
) -> None:
    write(application / "config/app.php", "<?php return 1;\n")
    write(application / "config/same.php", "<?php return 2;\n")
    git(application, "add", "-f", "config/app.php", "config/same.php")
    git(application, "commit", "-qm", "Configure")
    git(application, "update-index", "--assume-unchanged", "config/app.php")
    write(application / "config/app.php", "<?php return 7;\n")
    captured, view, _ = ground.capture(CodeSource("code", application, untracked=["config/*.php"]))
    assert captured.findings == ()
    names = [node.name for node in view.children(b"/code/untracked/config")]
    assert names == [b"app.php", b"local.php"]
    assert view.read(b"/code/untracked/config/app.php") == b"<?php return 7;\n"


def test_patterns_that_match_nothing_are_reported(ground: Ground, application: Path) -> None:
    source = CodeSource("code", application, untracked=["*.toml", "public/index.php", "!x"])
    captured, _, _ = ground.capture(source)
    assert [(one.code, one.subject) for one in captured.findings] == [
        ("code-untracked-missing", "*.toml")
    ]


def test_links_nested_repositories_and_odd_names(ground: Ground, application: Path) -> None:
    inside = application / "data"
    odd = b"sp ace\n\xff"
    write(inside / "a", "a")
    Path(os.fsdecode(os.fsencode(inside) + b"/" + odd)).write_bytes(b"odd")
    (inside / "near").symlink_to("a")
    (inside / "far").symlink_to("/etc/hostname")
    git(application, "init", "-q", "data/nested")
    write(inside / "nested/file", "x")
    captured, view, _ = ground.capture(CodeSource("code", application, untracked=["/data/"]))
    children = {node.name: node for node in view.children(b"/code/untracked/data")}
    assert set(children) == {b"a", odd, b"near", b"far"}
    assert children[b"near"].linktarget == b"a"
    assert sorted((one.code, one.subject) for one in captured.findings) == [
        ("coverage-gap", "data/far"),
        ("coverage-gap", "data/nested/"),
    ]


@pytest.mark.parametrize("place", ["config/local.php", "config"])
def test_what_the_user_may_not_read_is_told(ground: Ground, place: str) -> None:
    if os.geteuid() != 0:
        pytest.fail("this needs root, which CI has")
    with tempfile.TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        application = make_application(Path(reachable) / "app")
        (application / place).chmod(0)
        os.seteuid(1234)
        try:
            captured, view, _ = ground.capture(CodeSource("code", application, untracked=DECLARED))
        finally:
            os.seteuid(0)
    told = [(one.code, one.subject.rstrip("/")) for one in captured.findings]
    assert ("file-unreadable", place) in told
    assert view.exists(b"/code/untracked/.htaccess")


# What is told


def test_uncommitted_work_is_reported_once_it_is_a_day_old(
    ground: Ground, application: Path
) -> None:
    write(application / "public/index.php", "<?php hacked();\n")
    write(application / "public/shell.php", "<?php\n")
    (application / "bin/deploy").unlink()
    source = CodeSource("code", application, untracked=DECLARED)
    fresh = [one for one in _capture_at(ground, source, datetime.now(UTC)) if one]
    assert fresh == []
    [told] = _capture_at(ground, source, datetime.now(UTC) + timedelta(days=2))
    assert "bin/deploy, public/index.php changed" in told
    assert "public/shell.php neither committed, ignored nor declared" in told


@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged", "both"])
def test_changes_that_git_was_told_to_pass_over_are_reported(
    ground: Ground, application: Path, flag: str
) -> None:
    for one in ("--skip-worktree", "--assume-unchanged") if flag == "both" else (flag,):
        git(application, "update-index", one, "public/index.php", "bin/deploy", "api/health.php")
    write(application / "public/index.php", "<?php debug(true);\n")
    (application / "bin/deploy").unlink()
    (application / "api/health.php").touch()
    before = _tree(application)
    source = CodeSource("code", application, untracked=DECLARED)
    [told] = _capture_at(ground, source, datetime.now(UTC) + timedelta(days=2))
    assert _tree(application) == before
    # What is not there is meant so in a sparse checkout, which sets the former flag.
    names = "public/index.php" if flag != "--assume-unchanged" else "bin/deploy, public/index.php"
    assert told.endswith(f"UTC: {names} changed")
    manifest = json.loads(ground.capture(source)[1].read(b"/.strongroom/manifest.json"))
    assert manifest["changed"] == names.split(", ")


def test_files_left_out_of_a_sparse_checkout_are_no_change(
    ground: Ground, application: Path
) -> None:
    git(application, "sparse-checkout", "set", "--no-cone", "/public/")
    assert not (application / "bin").exists()
    source = CodeSource("code", application, untracked=DECLARED)
    assert _capture_at(ground, source, datetime.now(UTC) + timedelta(days=2)) == []


def test_a_file_that_a_filter_rewrites_is_reported_when_it_was_touched(
    ground: Ground, application: Path
) -> None:
    write(application / ".gitattributes", "*.conf filter=crypt\n")
    # Older than the index, as after a while: git goes by its size and times.
    os.utime(write(application / "app.conf", "debug = 0\n"), (1_700_000_000, 1_700_000_000))
    git(application, "config", "filter.crypt.clean", "tr a-z n-za-m")
    commit(application)
    source = CodeSource("code", application, untracked=DECLARED)
    later = datetime.now(UTC) + timedelta(days=2)
    assert _capture_at(ground, source, later) == []
    write(application / "app.conf", "debug = 1\n")
    [told] = _capture_at(ground, source, later)
    assert "app.conf touched and perhaps changed" in told


def test_a_repository_inside_that_is_not_declared_is_a_gap(
    ground: Ground, application: Path
) -> None:
    make_application(application / "plugins/extra")
    make_application(application / "cache/ignored")
    captured, _, _ = ground.capture(CodeSource("code", application, untracked=DECLARED))
    assert [(one.code, one.subject) for one in captured.findings] == [
        ("coverage-gap", "plugins/extra/")
    ]


def _capture_at(ground: Ground, source: CodeSource, now: datetime) -> list[str]:
    before, ground.now = ground.now, now
    try:
        captured, _, _ = ground.capture(source)
    finally:
        ground.now = before
    assert set(codes(captured)) <= {"code-uncommitted"}
    return [one.message for one in captured.findings]


def test_new_tags_and_rewritten_history_are_told(ground: Ground, application: Path) -> None:
    source = CodeSource("code", application)
    _, view, _ = ground.capture(source)
    write(application / "more.php", "<?php\n")
    commit(application, "Grow")
    git(application, "tag", "v1.1")
    captured, view, _ = ground.capture(source, view)
    assert [(one.code, one.subject) for one in captured.findings] == [("code-tag-new", "v1.1")]
    git(application, "reset", "-q", "--hard", "HEAD~1")
    commit(application, "Rewrite")
    git(application, "tag", "-f", "v1.1")
    captured, _, _ = ground.capture(source, view)
    assert [(one.code, one.subject) for one in captured.findings] == [
        ("code-history-rewritten", "refs/heads/main"),
        ("code-history-rewritten", "refs/tags/v1.1"),
    ]


def test_submodules_and_large_files_are_coverage_gaps(ground: Ground, application: Path) -> None:
    commit_id = git(application, "rev-parse", "HEAD")
    write(
        application / ".gitmodules",
        '[submodule "lib"]\n\tpath = vendor/lib\n\turl = https://u:hunter2@example.com/lib.git\n',
    )
    write(application / ".gitattributes", "*.psd filter=lfs diff=lfs merge=lfs -text\n")
    write(
        application / "logo.psd",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n",
    )
    git(application, "add", "-A")
    git(application, "update-index", "--add", "--cacheinfo", f"160000,{commit_id},vendor/lib")
    git(application, "commit", "-qm", "Vendor")
    captured, _, _ = ground.capture(CodeSource("code", application))
    told = {one.subject: one.message for one in captured.findings if one.code == "coverage-gap"}
    assert set(told) == {"vendor/lib", "code"}
    assert "https://example.com/lib.git" in told["vendor/lib"]
    assert "hunter2" not in str(told)
    assert "logo.psd" in told["code"]


def test_a_broken_ref_is_not_silently_left_out(ground: Ground, application: Path) -> None:
    write(application / ".git/refs/heads/broken", "not an object id\n")
    captured, _, _ = ground.capture(CodeSource("code", application))
    assert [(one.code, one.subject) for one in captured.findings] == [
        ("coverage-gap", "refs/heads/broken")
    ]
