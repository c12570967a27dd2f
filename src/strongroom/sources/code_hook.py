"""Git hooks that capture the code on deployment.

A repository gets `post-receive` (somebody pushed); a checkout also `post-merge`, `post-checkout`,
`post-rewrite` and `post-commit` (somebody pulled, switched, rebased or changed it by hand). Git
calls nothing after `git reset`. The capture runs in the background, with its output in a file
beside the hooks: it can neither fail nor delay the git command. A hook that is there already keeps
working: it is called first, and its exit status is the hook's. Installing twice is the same as
once, and removing brings the former state back.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.errors import TargetError
from strongroom.sources.code_git import Git
from strongroom.sources.code_state import open_checkout

_MARK: Final = "# strongroom hook: captures the code after a deployment"
_KEPT_SUFFIX: Final = ".before-strongroom"
_LOG: Final = "strongroom-hook.log"

_SCRIPT: Final = """\
#!/bin/sh
{mark}
# Remove it with: strongroom hook remove
status=0
before="$0{suffix}"
if [ -x "$before" ]; then
    "$before" "$@"
    status=$?
fi
{condition}# In the background and never in the way: whatever happens here, git carries on.
(
    unset $(git rev-parse --local-env-vars)
    cd / || exit 0
    trap '' HUP
    {command} >{log} 2>&1 </dev/null &
) >/dev/null 2>&1 </dev/null
exit "$status"
"""
# Each with what must hold for a capture to be worth while.
_HOOKS: Final = {
    "post-receive": "",
    "post-merge": "",
    # Git tells whether a branch was switched (1) or single files were taken (0).
    "post-checkout": '[ "${3:-1}" = 1 ] && [ "${1:-}" != "${2:-x}" ] || exit "$status"\n',
    # An amended commit has had its post-commit.
    "post-rewrite": '[ "${1:-}" = rebase ] || exit "$status"\n',
    # A rebase makes many commits, and one post-rewrite in the end.
    "post-commit": '[ ! -d "$(git rev-parse --git-path rebase-merge)" ] || exit "$status"\n',
}


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook in place; `kept` is where the hook that was there before is now."""

    path: Path
    kept: Path | None
    log: Path


def install_hook(path: Path, command: Sequence[str]) -> list[Hook]:
    """The hooks that run `command` after a deployment, in place.

    `command` is an argument list with absolute paths, since hooks run with git's environment.
    SourceError when `path` is no repository, TargetError when its hooks lie outside of it.
    """
    checkout = open_checkout(path, str(path))
    directory = _hooks_directory(checkout.git, checkout.common_directory)
    names = ["post-receive"] if checkout.work_tree is None else list(_HOOKS)
    log = checkout.common_directory.resolve() / _LOG
    try:
        directory.mkdir(exist_ok=True)
        return [_install_one(directory / name, command, log) for name in names]
    except OSError as error:
        raise _refused(error.filename or directory, os.strerror(error.errno or 0)) from error


def remove_hook(path: Path) -> list[Path]:
    """The hooks of ours that were removed; those that were there before are back."""
    checkout = open_checkout(path, str(path))
    directory = _hooks_directory(checkout.git, checkout.common_directory)
    removed = []
    try:
        for name in _HOOKS:
            hook = directory / name
            if not _is_ours(hook):
                continue
            hook.unlink()
            kept = _kept(hook)
            if kept.exists():
                kept.rename(hook)
            removed.append(hook)
    except OSError as error:
        raise _refused(error.filename or directory, os.strerror(error.errno or 0)) from error
    return removed


def _install_one(hook: Path, command: Sequence[str], log: Path) -> Hook:
    kept = _kept(hook)
    if hook.exists() and not _is_ours(hook):
        if kept.exists():
            raise _refused(hook, f"both it and {kept.name} exist, and neither is Strongroom's")
        hook.rename(kept)
    script = _SCRIPT.format(
        mark=_MARK,
        suffix=_KEPT_SUFFIX,
        condition=_HOOKS[hook.name],
        command=shlex.join(command),
        log=shlex.quote(str(log)),
    )
    temporary = hook.with_name(hook.name + ".strongroom-new")
    temporary.write_text(script)
    temporary.chmod(0o755)
    owner = hook.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(temporary, owner.st_uid, owner.st_gid)
    temporary.rename(hook)
    return Hook(hook, kept if kept.exists() else None, log)


def _hooks_directory(git: Git, common_directory: Path) -> Path:
    """Where git looks for hooks; TargetError when the configuration has moved them outside."""
    inside = common_directory.resolve() / "hooks"
    wanted = ("config", "--type=path", "--get", "core.hooksPath")
    # The installing user's own configuration counts here: with it, git would not see the hook.
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("GIT_")}
    of_user = subprocess.run(
        ["git", *wanted], env=environment, cwd="/", capture_output=True, check=False
    )
    configured = [of_user.stdout, git.try_run(wanted[0], "--local", *wanted[1:]).output]
    for output in configured:
        where = git.directory / os.fsdecode(output).removesuffix("\n")
        if output and where.resolve() != inside:
            raise _refused(where, "core.hooksPath keeps this repository's hooks elsewhere")
    return inside


def _kept(hook: Path) -> Path:
    return hook.with_name(hook.name + _KEPT_SUFFIX)


def _is_ours(hook: Path) -> bool:
    try:
        return _MARK in hook.read_text("utf-8", "replace")
    except FileNotFoundError:
        return False


def _refused(place: object, message: str) -> TargetError:
    return TargetError(
        message,
        subject=str(place),
        hint="Call `strongroom backup` from your own post-merge or post-receive hook.",
    )
