"""What is worth telling about a repository at capture: nothing here stops one.

Uncommitted changes (also those that git was told to pass over), rewritten history, new tags,
secrets in the checked-out commit, and what a bundle cannot hold (submodules, other repositories,
large files kept elsewhere, the history beyond a shallow clone).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from strongroom.model import Finding, finding
from strongroom.sources.code_git import Git
from strongroom.sources.code_secrets import holds_private_key, may_be_key, name_kind
from strongroom.sources.code_state import Checkout, CodeState, Ref, without_credentials
from strongroom.sources.code_untracked import HeadEntry

_OLD: Final = timedelta(days=1)
_NAMED: Final = 3
_WATCHED: Final = ("refs/heads/", "refs/remotes/", "refs/tags/")
_SUBMODULE: Final = "160000"
_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
# By its specification a pointer is smaller; the smallest has about 120 bytes.
_LFS_POINTER_BYTES: Final = 1024


def repository_findings(checkout: Checkout) -> list[Finding]:
    """Refs that could not be read, and history that the clone never had."""
    findings = [
        finding("coverage-gap", name, "the ref is broken: git cannot read where it points")
        for name in checkout.broken
    ]
    if checkout.state.shallow:
        findings.append(
            finding(
                "code-shallow",
                f"{len(checkout.state.shallow)} commits",
                "the clone is shallow: what came before these commits is not in it",
            )
        )
    return findings


# Since the last capture


def history_findings(git: Git, before: CodeState | None, now: CodeState) -> list[Finding]:
    """Refs that were moved off the captured history, and tags that are new."""
    if before is None or before.object_format != now.object_format:
        return []
    known = {ref.name: ref for ref in before.refs}
    findings: list[Finding] = []
    for ref in now.refs:
        if not ref.name.startswith(_WATCHED) or ref.symbolic is not None:
            continue
        former = known.get(ref.name)
        if former is None:
            if ref.name.startswith("refs/tags/"):
                findings.append(_new_tag(ref))
        elif former.object != ref.object and not _contains(git, ref, former):
            findings.append(_rewritten(ref, former))
    return findings


def _contains(git: Git, ref: Ref, former: Ref) -> bool:
    """Whether a branch only grew. A tag that moved is never the same release."""
    if ref.name.startswith("refs/tags/"):
        return False
    outcome = git.try_run("merge-base", "--is-ancestor", former.commit, ref.commit)
    return outcome.status == 0


def _new_tag(ref: Ref) -> Finding:
    name = _shown(ref.name.removeprefix("refs/tags/"))
    return finding("code-tag-new", name, f"new since the last capture, at {ref.commit[:12]}")


def _rewritten(ref: Ref, former: Ref) -> Finding:
    kind = "the tag was moved" if ref.name.startswith("refs/tags/") else "its history was rewritten"
    return finding(
        "code-history-rewritten",
        _shown(ref.name),
        f"{kind}: it was at {former.commit[:12]}, which {ref.commit[:12]} does not contain",
    )


# The work tree


@dataclass(frozen=True, slots=True)
class Changes:
    """Work that is not committed: changed tracked files, those that cannot be compared because a
    content filter rewrites them, untracked files that are neither ignored nor declared, and
    repositories of their own among these; paths relative to the work tree."""

    changed: tuple[bytes, ...] = ()
    filtered: tuple[bytes, ...] = ()
    undeclared: tuple[bytes, ...] = ()
    nested: tuple[bytes, ...] = ()


def read_changes(git: Git, captured: frozenset[bytes]) -> Changes:
    """What `git status` says and what it was told to pass over, without what was captured as a
    declared file."""
    status = git.run(
        "status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames",
        "--ignore-submodules=dirty",
    )  # fmt: skip
    changed = set()
    for entry in status.split(b"\0"):
        kind, _, rest = entry.partition(b" ")
        fields = {b"1": 7, b"u": 9}.get(kind)
        if fields is not None:
            changed.add(rest.split(b" ", fields)[fields])
    changed.update(_changed_behind_flags(git))
    filtered = _filtered(git, sorted(changed - captured))
    listed = git.run("ls-files", "-z", "--others", "--exclude-standard").split(b"\0")
    others = [path for path in listed if path and path not in captured]
    return Changes(
        tuple(sorted(changed - captured - filtered)),
        tuple(sorted(filtered)),
        tuple(path for path in others if not path.endswith(b"/")),
        tuple(path for path in others if path.endswith(b"/")),
    )


def _changed_behind_flags(git: Git) -> list[bytes]:
    """Changed files that git takes for unchanged because it was told so: `skip-worktree` and
    `assume-unchanged`. An index of their own, without the flags, compares them."""
    flags = {
        entry[2:]: entry[:1]
        for entry in git.run("ls-files", "-v", "-z", "--cached").split(b"\0")
        if entry[:1] == b"S" or entry[:1].islower()
    }
    if not flags:
        return []
    staged = git.run("ls-files", "--stage", "-z").split(b"\0")
    flagged = [entry + b"\0" for entry in staged if entry.partition(b"\t")[2] in flags]
    with tempfile.TemporaryDirectory(prefix="strongroom-index-") as scratch:
        apart = git.extended(
            variables={"GIT_INDEX_FILE": str(Path(scratch) / "index")},
            settings={"core.sparseCheckout": "false"},
        )
        apart.run("update-index", "-z", "--index-info", given=b"".join(flagged))
        apart.try_run("update-index", "-q", "--refresh")  # status 1: something differs
        raw = apart.run("diff-files", "--raw", "-z", "--ignore-submodules=all").split(b"\0")
    return [
        path
        for entry, path in zip(raw[0::2], raw[1::2], strict=False)
        # A sparse checkout leaves out what is flagged so: no file is no change.
        if not (entry.endswith(b" D") and flags[path] in b"Ss")
    ]


def _filtered(git: Git, changed: list[bytes]) -> frozenset[bytes]:
    """Files that a content filter rewrites. It was not run, so one that was touched differs from
    what is committed even if nobody changed it."""
    if not changed:
        return frozenset()
    given = b"".join(path + b"\0" for path in changed)
    fields = git.run("check-attr", "-z", "--stdin", "filter", given=given).split(b"\0")
    filters = zip(fields[0::3], fields[2::3], strict=False)
    none = (b"unspecified", b"unset")
    return frozenset(path for path, value in filters if value not in none)


def nested_findings(changes: Changes, told: Iterable[Finding]) -> list[Finding]:
    """Repositories in the work tree that are neither submodules, ignored nor in `told`."""
    known = {one.subject for one in told}
    return [
        finding(
            "coverage-gap",
            _shown(os.fsdecode(path)),
            "a repository of its own is not captured with it; make it a source, or ignore it",
        )
        for path in changes.nested
        if _shown(os.fsdecode(path)) not in known
    ]


def uncommitted_findings(
    changes: Changes, work_tree: Path, subject: str, now: datetime
) -> list[Finding]:
    """One finding when anything uncommitted is older than a day by its modification time."""
    parts, oldest = [], now
    for paths, what in (
        (changes.changed, "changed"),
        (
            changes.filtered,
            "touched and perhaps changed (a content filter, which is never run here, rewrites "
            "them; `git status` tells)",
        ),
        (changes.undeclared, "neither committed, ignored nor declared in `untracked`"),
    ):
        dated = [(path, _changed_at(work_tree, path, now)) for path in paths]
        old = [(path, at) for path, at in dated if now - at > _OLD]
        if old:
            oldest = min([oldest, *(at for _, at in old)])
            parts.append(f"{_named([path for path, _ in old])} {what}")
    if not parts:
        return []
    message = f"since {oldest:%Y-%m-%d %H:%M} UTC: {'; '.join(parts)}"
    return [finding("code-uncommitted", subject, message)]


def _changed_at(work_tree: Path, path: bytes, now: datetime) -> datetime:
    """When a file was last modified; of a deleted one, when its nearest directory was."""
    place = work_tree / os.fsdecode(path)
    while True:
        try:
            seconds = place.lstat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            place = place.parent
        except OSError:
            return now
        else:
            return datetime.fromtimestamp(seconds, UTC)


# The checked-out commit


def secret_findings(
    git: Git, head: Mapping[bytes, HeadEntry], allow_secrets: Sequence[str]
) -> list[Finding]:
    """Committed files that look like secrets: history keeps them, so this can only warn."""
    findings = []
    for path, entry in sorted(head.items()):
        name = os.fsdecode(path)
        if entry.mode == _SUBMODULE or name in allow_secrets:
            continue
        kind = name_kind(name)
        if kind is None and may_be_key(name):
            content = git.run("cat-file", "blob", entry.object)
            kind = "private key" if holds_private_key(content) else None
        if kind is not None:
            message = f"this {kind} is committed; its content is in every copy of the code"
            findings.append(finding("code-secret-committed", _shown(name), message))
    return findings


@dataclass(frozen=True, slots=True)
class Submodule:
    """Another repository that the checked-out commit refers to."""

    path: str
    url: str
    commit: str


def read_submodules(git: Git, head: Mapping[bytes, HeadEntry]) -> list[Submodule]:
    """Submodules of the checked-out commit, their URLs without credentials."""
    commits = {
        os.fsdecode(path): entry.object for path, entry in head.items() if entry.mode == _SUBMODULE
    }
    urls: dict[str, str] = {}
    if commits and (modules := head.get(b".gitmodules")):
        outcome = git.try_run(
            "config", "--null", f"--blob={modules.object}", "--get-regexp", r"^submodule\..*"
        )
        values = dict(
            entry.partition("\n")[::2] for entry in os.fsdecode(outcome.output).split("\0")
        )
        for key, value in values.items():
            if key.endswith(".path"):
                urls[value] = values.get(key.removesuffix(".path") + ".url", "")
    return [
        Submodule(path, without_credentials(urls.get(path, "")), commit)
        for path, commit in sorted(commits.items())
    ]


def submodule_findings(submodules: Iterable[Submodule]) -> list[Finding]:
    """A bundle holds the commit ids of submodules, not their content."""
    return [
        finding(
            "coverage-gap",
            _shown(one.path),
            f"the submodule's content is not captured (commit {one.commit[:12]}"
            + (f" of {_shown(one.url)})" if one.url else ")"),
        )
        for one in submodules
    ]


def without_sources(
    findings: Iterable[Finding], work_tree: Path | None, elsewhere: Sequence[Path]
) -> list[Finding]:
    """Without gaps at paths that are sources of their own, or are links to such."""
    sources = {os.path.realpath(one) for one in elsewhere}
    return [
        one
        for one in findings
        if one.code != "coverage-gap"
        or work_tree is None
        or os.path.realpath(work_tree / one.subject) not in sources
    ]


def read_large_files(git: Git, head: Mapping[bytes, HeadEntry]) -> list[str]:
    """Paths of Git LFS pointers in the checked-out commit: the bytes they stand for are
    elsewhere."""
    attributes = [
        entry.object
        for path, entry in head.items()
        if path.rpartition(b"/")[2] == b".gitattributes"
    ]
    rules = b"".join(git.run("cat-file", "blob", one) for one in attributes)
    if not re.search(rb"filter=lfs\b", rules):
        return []
    files = sorted((path, one.object) for path, one in head.items() if one.mode[:3] == "100")
    asked = "".join(f"{object_id}\n" for _, object_id in files).encode()
    sizes = git.text("cat-file", "--batch-check=%(objectsize)", given=asked).split("\n")
    small = [
        (path, object_id, int(size))
        for (path, object_id), size in zip(files, sizes, strict=True)
        if int(size) < _LFS_POINTER_BYTES
    ]
    asked = "".join(f"{object_id}\n" for _, object_id, _ in small).encode()
    answer = git.run("cat-file", "--batch", given=asked)
    pointers, begin = [], 0
    for path, _, size in small:
        begin = answer.index(b"\n", begin) + 1  # a line tells id, type and size
        if answer.startswith(_LFS_POINTER, begin):
            pointers.append(os.fsdecode(path))
        begin += size + 1
    return pointers


def large_file_findings(pointers: Sequence[str], subject: str) -> list[Finding]:
    """One finding for all of them."""
    if not pointers:
        return []
    named = _named([os.fsencode(path) for path in pointers])
    message = f"Git LFS keeps the bytes of {named} elsewhere; only the pointers are captured"
    return [finding("coverage-gap", subject, message)]


def _named(paths: Sequence[bytes]) -> str:
    """`a.php, b.php, c.php and 4 more`."""
    names = ", ".join(_shown(os.fsdecode(path)) for path in sorted(paths)[:_NAMED])
    more = len(paths) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _shown(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "backslashreplace")
