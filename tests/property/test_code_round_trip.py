"""I1 for code: capture, restore and capture again give the same content identity."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.repository import SnapshotView
from strongroom.sources.code import CodeSource
from tests.support.code_ground import Ground, git

GROUND = Ground()
PATTERNS = ("/kept/", "*.local")

# Bytes of names that file systems and git allow and people, or attackers, use.
NAME_BYTES = st.sampled_from(
    [
        b"a",
        b"B",
        b" ",
        b"\n",
        b"\t",
        b"'",
        b'"',
        b"\\",
        b"\xc3\xa9",
        b"\xff",
        b"-",
        b"*",
        b"~",
        b".",
    ]
)
FILE_NAMES = st.lists(NAME_BYTES, min_size=1, max_size=5).map(lambda parts: b"f" + b"".join(parts))
REF_PARTS = st.sampled_from(
    [b"a", b"HEAD", b"main", b"\xc3\xa9", b"\xfe", b"refs", b"heads", b"@x"]
)
REF_NAMES = st.lists(REF_PARTS, min_size=1, max_size=3).map(b"/".join)
CONTENT = st.binary(max_size=40)
FILE = st.tuples(CONTENT, st.sampled_from([0o644, 0o755, 0o600]), st.booleans())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), FILE_NAMES, FILE),
        st.tuples(st.just("commit"), st.text(max_size=10), st.none()),
        st.tuples(st.just("branch"), REF_NAMES, st.none()),
        st.tuples(st.just("tag"), REF_NAMES, st.booleans()),
        st.tuples(st.just("merge"), st.none(), st.none()),
        st.tuples(st.just("switch"), st.none(), st.none()),
        st.tuples(st.just("detach"), st.none(), st.none()),
        st.tuples(st.just("stash"), st.none(), st.none()),
        st.tuples(st.just("keep"), FILE_NAMES, FILE),
    ),
    max_size=10,
)


def _put(directory: Path, name: bytes, file: tuple[bytes, int, bool]) -> None:
    content, mode, link = file
    place = directory / os.fsdecode(name)
    place.unlink(missing_ok=True)
    if link and content and b"\0" not in content:
        place.symlink_to(os.fsdecode(content))
    else:
        place.write_bytes(content)
        place.chmod(mode)


def _perform(directory: Path, step: tuple[str, Any, Any]) -> None:  # Any: see STEPS
    """One step of a history; what git refuses (a name that is taken, say) does not happen."""
    action, first, second = step
    try:
        if action == "write":
            _put(directory, first, second)
        elif action == "keep":
            (directory / "kept").mkdir(exist_ok=True)
            _put(directory / "kept", first, second)
        elif action == "commit":
            git(directory, "add", "-A")
            git(directory, "commit", "-q", "--allow-empty", "-m", f"m {first!a}")
        elif action == "branch":
            git(directory, "update-ref", b"refs/heads/" + first, "HEAD")
        elif action == "tag":
            extra = ["-a", "-m", "t"] if second else []
            git(directory, "tag", *extra, first)
        elif action == "merge":
            tree = git(directory, "rev-parse", "HEAD^{tree}")
            parents = ["-p", "HEAD", "-p", "HEAD~1"]
            merged = git(directory, "commit-tree", tree, *parents, "-m", "Merge")
            git(directory, "reset", "-q", "--hard", merged)
        elif action == "switch":
            git(directory, "checkout", "-q", "-b", "side")
        elif action == "detach":
            git(directory, "checkout", "-q", "--detach")
        else:
            git(directory, "stash", "-q", "-u")
    except AssertionError:
        return


def _identity(view: SnapshotView) -> tuple[object, ...]:
    """What I1 says about code: refs with object ids, HEAD, and the declared files."""
    manifest = json.loads(view.read(b"/.strongroom/manifest.json"))
    declared = [
        (path, node.type, node.mode, node.uid, node.gid, node.linktarget,
         node.type == "dir" or node.mtime_ns, node.content)
        for path, node in view.walk(b"/code/untracked")
    ]  # fmt: skip
    state = view.read(b"/code/refs.json")
    return (state, manifest["head"], manifest["commit"], manifest["untracked"], declared)


@settings(max_examples=15)
@given(STEPS)
def test_a_restored_repository_has_the_identity_of_its_snapshot(
    steps: list[tuple[str, Any, Any]],
) -> None:
    root = Path(tempfile.mkdtemp(prefix="code-"))
    try:
        directory = root / "app"
        directory.mkdir()
        git(directory, "init", "-q")
        (directory / ".git/info/exclude").write_text("/kept/\n")
        for step in steps:
            _perform(directory, step)
        source = CodeSource("code", directory, untracked=PATTERNS)
        _, view, _ = GROUND.capture(source)
        source.restore(view, str(root / "restored"))
        proof = source.prove(view, str(root / "restored"))
        assert proof.findings == ()
        assert proof.checked > 1
        again = CodeSource("code", root / "restored", untracked=PATTERNS)
        _, second, _ = GROUND.capture(again)
        assert _identity(second) == _identity(view)
    finally:
        shutil.rmtree(root)
