"""Hooks that real git runs: they capture on deployment and are never in the way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from strongroom.errors import SourceError, TargetError
from strongroom.sources.code_hook import install_hook, remove_hook
from tests.support.code_ground import commit, git, make_application, write


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    return make_application(tmp_path / "upstream")


@pytest.fixture
def checkout(upstream: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(upstream), "checkout")
    return tmp_path / "checkout"


NAMES = ["post-receive", "post-merge", "post-checkout", "post-rewrite", "post-commit"]


def _recorder(tmp_path: Path) -> tuple[Path, list[str]]:
    """A file that grows by a line for each run of the command, and the command."""
    record = tmp_path / "it's recorded"
    script = write(
        tmp_path / "record it",
        '#!/bin/sh\necho "$1 GIT_DIR=${GIT_DIR-none}" >>"$2"\necho told; echo loudly >&2\n',
        0o755,
    )
    return record, [str(script), "backup code", str(record)]


def _lines(record: Path, count: int) -> list[str]:
    """The recorded lines once there are so many; the hook works in the background."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = record.read_text().splitlines() if record.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    pytest.fail(f"the hook did not run: {record}")


def test_a_pull_and_a_switch_capture(upstream: Path, checkout: Path, tmp_path: Path) -> None:
    record, command = _recorder(tmp_path)
    hooks = install_hook(checkout, command)
    assert [hook.path.name for hook in hooks] == NAMES
    commit(upstream, "Deploy")
    assert git(checkout, "pull", "-q") == ""
    assert _lines(record, 1) == ["backup code GIT_DIR=none"]
    git(checkout, "checkout", "-q", "v1.0")
    assert len(_lines(record, 2)) == 2
    (checkout / "public/index.php").unlink()
    git(checkout, "checkout", "-q", "--", "public/index.php")  # a file, not another version
    git(checkout, "checkout", "-q", "main")
    assert len(_lines(record, 3)) == 3
    assert hooks[0].log.read_text() == "told\nloudly\n"


def test_a_change_by_hand_captures(checkout: Path, tmp_path: Path) -> None:
    record, command = _recorder(tmp_path)
    install_hook(checkout, command)
    commit(checkout, "Mend it at once")
    assert len(_lines(record, 1)) == 1
    git(
        checkout,
        "commit",
        "-q",
        "--amend",
        "--allow-empty",
        "-m",
        "Mend it at once, with a better word",
    )
    assert len(_lines(record, 2)) == 2
    git(checkout, "commit", "-q", "--allow-empty", "-m", "Mend more")
    assert len(_lines(record, 3)) == 3


def test_a_rebase_captures_its_end_and_not_every_commit(
    upstream: Path, checkout: Path, tmp_path: Path
) -> None:
    for number in range(4):
        write(checkout / f"local-{number}.php", "<?php\n")
        commit(checkout, f"Local {number}")
    commit(upstream, "Deploy")
    record, command = _recorder(tmp_path)
    install_hook(checkout, command)
    git(checkout, "pull", "-q", "--rebase")
    assert 1 <= len(_lines(record, 1)) <= 2, "the switch to what was pulled, and the end"
    assert git(checkout, "log", "-1", "--format=%s") == "Local 3"


def test_a_push_into_a_checkout_captures(upstream: Path, checkout: Path, tmp_path: Path) -> None:
    record, command = _recorder(tmp_path)
    git(checkout, "config", "receive.denyCurrentBranch", "updateInstead")
    install_hook(checkout, command)
    commit(upstream, "Deploy")
    git(upstream, "push", "-q", str(checkout), "main")
    assert _lines(record, 1) == ["backup code GIT_DIR=none"]


def test_a_push_to_a_bare_repository_captures(upstream: Path, tmp_path: Path) -> None:
    record, command = _recorder(tmp_path)
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(upstream), str(bare))
    [hook] = install_hook(bare, command)
    assert hook.path == bare / "hooks/post-receive"
    commit(upstream, "Deploy")
    git(upstream, "push", "-q", str(bare), "main")
    assert _lines(record, 1) == ["backup code GIT_DIR=none"]


def test_a_command_that_fails_or_hangs_is_not_in_the_way(upstream: Path, checkout: Path) -> None:
    for command in (["/nonexistent/strongroom"], ["/bin/false"], ["/bin/sleep", "5"]):
        install_hook(checkout, command)
        commit(upstream, "Deploy")
        begun = time.monotonic()
        assert git(checkout, "pull", "-q") == ""
        assert time.monotonic() - begun < 4


def test_a_hook_that_is_there_keeps_working(checkout: Path, tmp_path: Path) -> None:
    record, command = _recorder(tmp_path)
    theirs = write(
        checkout / ".git/hooks/post-checkout",
        f'#!/bin/sh\necho "theirs $3" >>"{tmp_path}/theirs"\nexit 3\n',
        0o755,
    )
    before = theirs.read_text()
    for _ in range(2):  # twice is the same as once
        hooks = install_hook(checkout, command)
    assert hooks[2].kept == checkout / ".git/hooks/post-checkout.before-strongroom"
    git(checkout, "checkout", "-q", "v1.0", status=1)  # git says so when theirs fails, as before
    assert (tmp_path / "theirs").read_text() == "theirs 1\n"
    assert len(_lines(record, 1)) == 1
    removed = remove_hook(checkout)
    assert [hook.name for hook in removed] == NAMES
    assert theirs.read_text() == before
    assert not (checkout / ".git/hooks/post-merge").exists()
    assert remove_hook(checkout) == []


def test_hooks_that_lie_elsewhere_are_left_alone(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    git(checkout, "config", "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(TargetError) as caught:
        install_hook(checkout, ["/bin/true"])
    assert caught.value.code == "target-refused"
    assert list((tmp_path / "shared").iterdir()) == []


def test_a_users_own_hooks_path_is_noticed(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git would look there and never see the hook."""
    write(tmp_path / "home/.gitconfig", "[core]\n\thooksPath = ~/hooks\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(TargetError):
        install_hook(checkout, ["/bin/true"])


def test_only_a_repository_gets_hooks(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        install_hook(tmp_path, ["/bin/true"])
