"""Bundles: all refs and objects of a repository as one stream, and back.

The header is written here and the pack by `git pack-objects`, from the very object ids that were
recorded: so a bundle agrees with refs.json even when a ref moves meanwhile, and a branch whose
short name is ambiguous is not left out, as it would be by `git bundle create --all`. Any git
reads the result (gitformat-bundle(5)), except for shallow clones, whose boundary lies beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from strongroom.errors import IntegrityError, SourceError
from strongroom.sources.code_git import Git, is_about_space
from strongroom.sources.code_state import CodeState


def bundle_blocks(git: Git, state: CodeState) -> Iterator[bytes]:
    """The bundle of `state`, which must have objects. The same repository gives the same bytes.

    SourceError when git cannot read an object: nothing may be published before the end.
    """
    yield _header(state)
    tips = "".join(f"{object_id}\n" for object_id in state.objects()).encode()
    # Oldest first, so that new objects come after all others, and deltas that name their base
    # instead of its distance: a new commit then leaves nearly all of the bundle as it was.
    listed = git.stream("rev-list", "--objects", "--reverse", "--stdin", given=[tips])
    yield from git.stream("pack-objects", "--stdout", "--no-use-bitmap-index", "-q", given=listed)


def _header(state: CodeState) -> bytes:
    if state.object_format == "sha1":
        lines = ["# v2 git bundle"]
    else:
        lines = ["# v3 git bundle", f"@object-format={state.object_format}"]
    return os.fsencode("\n".join([*lines, *_listed_refs(state)]) + "\n\n")


def _listed_refs(state: CodeState) -> list[str]:
    lines = [f"{ref.object} {ref.name}" for ref in state.refs]
    if state.head_object is not None:
        lines.append(f"{state.head_object} HEAD")
    return lines


def unpack_bundle(
    directory: Path, blocks: Iterable[bytes] | None, state: CodeState, *, bare: bool, subject: str
) -> Git:
    """A new repository in `directory` with all objects, refs, stash and HEAD of `state`.

    Nothing is checked out. Templates are left out, so no hook exists. `blocks` is None when
    nothing was ever committed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    git = Git(directory.resolve(), subject=subject)
    kind = ["--bare"] if bare else []
    git.run("init", "-q", "--template=", f"--object-format={state.object_format}", *kind)
    if state.shallow:
        boundary = "".join(f"{object_id}\n" for object_id in state.shallow)
        (Path(git.text("rev-parse", "--absolute-git-dir")) / "shallow").write_text(boundary)
    if blocks is not None:
        try:
            listed = git.feed(blocks, "bundle", "unbundle", "/dev/stdin")
        except SourceError as error:
            if is_about_space(error):
                raise
            raise IntegrityError(error.message, subject=subject, code="snapshot-damaged") from error
        _refuse_disagreement(listed, state, subject)
    _write_refs(git, state)
    _write_configuration(git, state)
    return git


def _refuse_disagreement(listed: bytes, state: CodeState, subject: str) -> None:
    """Both files are in the same snapshot; when they differ, somebody altered one of them."""
    if listed.splitlines() != os.fsencode("\n".join(_listed_refs(state))).split(b"\n"):
        raise IntegrityError(
            "repository.bundle and refs.json name different refs",
            subject=subject,
            code="snapshot-damaged",
        )


def _write_refs(git: Git, state: CodeState) -> None:
    logged = "refs/stash"  # below, since it needs a log: without one, git lists no stash
    commands = [
        f"create {ref.name}\0{ref.object}\0"
        for ref in state.refs
        if ref.symbolic is None and ref.name != logged
    ]
    git.run("update-ref", "-z", "--stdin", given=os.fsencode("".join(commands)))
    for ref in state.refs:
        if ref.symbolic is not None:
            git.run("symbolic-ref", ref.name, ref.symbolic)
    # Each entry of the log makes the one before it older.
    logging = git.extended(settings={"core.logAllRefUpdates": "true"})
    for entry in reversed(state.stash):
        message = entry.message or "stash"
        logging.run("update-ref", "--create-reflog", "-m", message, logged, entry.object)
    if state.head is not None:
        git.run("symbolic-ref", "HEAD", state.head)
    elif state.head_object is not None:
        git.run("update-ref", "--no-deref", "HEAD", state.head_object)


def _write_configuration(git: Git, state: CodeState) -> None:
    """Remotes and upstreams; the keys' beginnings and ends are ours, so nothing else is set."""
    for remote in state.remotes:
        for variable, values in (
            ("url", remote.urls),
            ("pushurl", remote.push_urls),
            ("fetch", remote.fetch),
        ):
            for value in values:
                git.run("config", "--add", f"remote.{remote.name}.{variable}", value)
    for upstream in state.upstreams:
        git.run("config", f"branch.{upstream.branch}.remote", upstream.remote)
        git.run("config", f"branch.{upstream.branch}.merge", upstream.merge)
