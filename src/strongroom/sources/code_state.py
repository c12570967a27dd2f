"""What a Git repository is, apart from its objects: refs, HEAD, stash, remotes.

`CodeState` is what a capture records in refs.json and what a proof compares (invariant I1: refs
with their object ids, and HEAD). Whatever may be a remote's URL is kept without credentials
(invariant I6), when it is read from the repository and again when it is read from a snapshot.
Names may be any bytes: they are `os.fsdecode`d text. `decode_state` lets nothing through that
git would not accept as a ref or an object id, for a snapshot's content is not trusted.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from strongroom.errors import IntegrityError, SourceError
from strongroom.sources.code_git import Git

STATE_FORMAT: Final = 1
_OBJECT_ID: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# A password before a host, without a scheme. A path with an @ can look the same: it is taken for
# one, since a remote that is lost can be written again, and a secret that got out cannot be undone.
_BARE_PASSWORD: Final = re.compile(r"([^/:@]*):.*@([^/:@]+[:/].*)", re.DOTALL)
_FIELDS: Final = "%(objectname)%00%(objecttype)%00%(refname)%00%(symref)%00%(creatordate:unix)"


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref; `peeled` is what an annotated tag leads to, `symbolic` the ref that it stands for."""

    name: str
    object: str
    type: str
    peeled: str | None = None
    symbolic: str | None = None

    @property
    def commit(self) -> str:
        return self.peeled or self.object


@dataclass(frozen=True, slots=True)
class StashEntry:
    """One stashed change, newest first in its list."""

    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote's name, URLs without credentials, and what is fetched from it. However it is made,
    it holds no credentials: git takes a URL for a name, too."""

    name: str
    urls: tuple[str, ...] = ()
    push_urls: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", without_credentials(self.name))
        for field in ("urls", "push_urls"):
            cleaned = tuple(map(without_credentials, getattr(self, field)))
            object.__setattr__(self, field, cleaned)
        # No refspec has this in it.
        object.__setattr__(self, "fetch", tuple(one for one in self.fetch if "://" not in one))


@dataclass(frozen=True, slots=True)
class Upstream:
    """Which remote branch a branch follows. The remote may be a URL in the place of a name; it is
    kept without credentials, however this is made."""

    branch: str
    remote: str
    merge: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "branch", without_credentials(self.branch))
        object.__setattr__(self, "remote", without_credentials(self.remote))
        object.__setattr__(self, "merge", without_credentials(self.merge))


@dataclass(frozen=True, slots=True)
class CodeState:
    """`head` is the ref that HEAD stands for, None when it is detached; `head_object` is None
    before the first commit. `shallow` lists the commits whose parents the clone never had."""

    object_format: str
    bare: bool
    head: str | None
    head_object: str | None
    refs: tuple[Ref, ...] = ()
    shallow: tuple[str, ...] = ()
    stash: tuple[StashEntry, ...] = ()
    remotes: tuple[Remote, ...] = ()
    upstreams: tuple[Upstream, ...] = ()

    def objects(self) -> tuple[str, ...]:
        """Every object id that must be in a bundle with all that it leads to; sorted."""
        wanted = {ref.object for ref in self.refs} | {entry.object for entry in self.stash}
        if self.head_object is not None:
            wanted.add(self.head_object)
        return tuple(sorted(wanted))

    def bundled(self) -> tuple[object, ...]:
        """What decides a bundle's content: equal here means that an old bundle can be kept."""
        refs = tuple((ref.name, ref.object) for ref in self.refs)
        return (self.object_format, refs, self.head_object, self.objects(), self.shallow)

    def tags_at_head(self) -> tuple[str, ...]:
        """Names of the tags that the checked-out commit carries."""
        return tuple(
            ref.name.removeprefix("refs/tags/")
            for ref in self.refs
            if ref.name.startswith("refs/tags/") and ref.commit == self.head_object
        )

    def encode(self) -> bytes:
        """refs.json: the same state always gives the same bytes."""
        fields = {"format": STATE_FORMAT, **asdict(self)}
        return json.dumps(fields, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository on disk that can be read: git in it, its work tree (None when it is bare),
    its common directory, what was read, refs that could not be, and the newest commit's time."""

    git: Git
    work_tree: Path | None
    common_directory: Path
    state: CodeState
    broken: tuple[str, ...] = ()
    newest_at_ns: int = 0


def open_checkout(path: Path, subject: str) -> Checkout:
    """The repository whose root is `path`. SourceError `path-unreadable` when there is no such
    directory, `code-unreadable` when it is no repository that can be captured whole."""
    if not path.is_dir():
        raise SourceError("there is no such directory", subject=subject, code="path-unreadable")
    path = path.resolve()
    git = Git(path, subject=subject)
    found = git.try_run("rev-parse", "--is-bare-repository")
    if found.status:
        raise _unreadable(subject, found.complaint or "not a Git repository")
    git = git.without_filters()
    bare = found.output.strip() == b"true"
    work_tree = None if bare else Path(git.text("rev-parse", "--show-toplevel"))
    if work_tree is not None and work_tree.resolve() != path:
        raise _unreadable(
            subject, f"the work tree is {work_tree}", f"Name {work_tree} as the source's path."
        )
    _refuse_partial(git, subject)
    common = path / git.text("rev-parse", "--git-common-dir")
    state, broken, newest_at_ns = _read_state(git, bare=bare, common=common)
    return Checkout(git, work_tree, common, state, broken, newest_at_ns)


def _unreadable(subject: str, message: str, hint: str | None = None) -> SourceError:
    return SourceError(message, subject=subject, code="code-unreadable", hint=hint)


def _refuse_partial(git: Git, subject: str) -> None:
    wanted = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    if git.try_run("config", "--get-regexp", wanted).output.strip():
        raise _unreadable(
            subject,
            "this is a partial clone: objects that were never fetched cannot be captured",
            "Clone it again without --filter.",
        )


def _read_state(git: Git, *, bare: bool, common: Path) -> tuple[CodeState, tuple[str, ...], int]:
    refs, broken, newest_at_ns = _read_refs(git)
    head_outcome = git.try_run("symbolic-ref", "-q", "HEAD")
    head = None if head_outcome.status else os.fsdecode(head_outcome.output).removesuffix("\n")
    if head is None:
        head_object: str | None = git.text("rev-parse", "-q", "--verify", "HEAD^{commit}")
    else:
        head_object = next((ref.object for ref in refs if ref.name == head), None)
    shallow_file = common / "shallow"
    shallow = sorted(shallow_file.read_text("ascii").split()) if shallow_file.exists() else []
    remotes, upstreams = _read_remotes(git)
    state = CodeState(
        object_format=git.text("rev-parse", "--show-object-format"),
        bare=bare,
        head=head,
        head_object=head_object,
        refs=refs,
        shallow=tuple(shallow),
        stash=_read_stash(git, refs),
        remotes=remotes,
        upstreams=upstreams,
    )
    return state, broken, newest_at_ns


def _read_refs(git: Git) -> tuple[tuple[Ref, ...], tuple[str, ...], int]:
    outcome = git.try_run("for-each-ref", f"--format={_FIELDS}")
    if outcome.status:
        raise SourceError(
            f"git for-each-ref: {outcome.complaint}",
            subject=git.subject,
            hint=f"Look at `git -C {git.directory} fsck`.",
        )
    # Not splitlines(): a name may hold what Unicode calls a line separator.
    found = [line.split("\0") for line in os.fsdecode(outcome.output).split("\n") if line]
    tags = [fields[0] for fields in found if fields[1] == "tag"]
    peeled = dict(zip(tags, _peel(git, tags), strict=True))
    refs = tuple(
        Ref(name, object_id, object_type, peeled.get(object_id), symbolic or None)
        for object_id, object_type, name, symbolic, _ in found
    )
    # A symbolic ref that leads nowhere, as origin/HEAD often does, loses nothing.
    broken = re.findall(
        r"ignoring (?:broken ref|ref with broken name) (\S+?)(?:;|$)", outcome.complaint
    )
    dates = [int(fields[4]) for fields in found if fields[4].lstrip("-").isdigit()]
    return refs, tuple(broken), max([0, *dates]) * 1_000_000_000


def _peel(git: Git, tags: list[str]) -> list[str]:
    if not tags:
        return []
    wanted = "".join(f"{tag}^{{}}\n" for tag in tags).encode()
    lines = git.text("cat-file", "--batch-check=%(objectname)", given=wanted).splitlines()
    for line in lines:
        if not _OBJECT_ID.fullmatch(line):
            raise SourceError(f"a tag leads nowhere: {line}", subject=git.subject)
    return lines


def _read_stash(git: Git, refs: tuple[Ref, ...]) -> tuple[StashEntry, ...]:
    """All stashed changes; the ref names the newest only, its log the others."""
    newest = next((ref.object for ref in refs if ref.name == "refs/stash"), None)
    if newest is None:
        return ()
    outcome = git.try_run("log", "-g", "-z", "--format=%H%x00%gs", "refs/stash", "--")
    fields = os.fsdecode(outcome.output).split("\0")
    pairs = zip(fields[0::2], fields[1::2], strict=False)  # the last field ends the list
    entries = tuple(StashEntry(object_id, message) for object_id, message in pairs)
    if outcome.status or not entries or entries[0].object != newest:
        return (StashEntry(newest, "stash"),)
    return entries


def _read_remotes(git: Git) -> tuple[tuple[Remote, ...], tuple[Upstream, ...]]:
    outcome = git.try_run("config", "--null", "--get-regexp", r"^(remote|branch)\..*\..*")
    values: dict[tuple[str, str], dict[str, list[str]]] = {}
    for entry in os.fsdecode(outcome.output).split("\0"):
        key, newline, value = entry.partition("\n")
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if newline:
            values.setdefault((section, name), {}).setdefault(variable, []).append(value)
    remotes = tuple(
        Remote(
            name,
            tuple(found.get("url", [])),
            tuple(found.get("pushurl", [])),
            tuple(found.get("fetch", [])),
        )
        for (section, name), found in sorted(values.items())
        if section == "remote"
    )
    upstreams = tuple(
        Upstream(name, found["remote"][-1], found["merge"][-1])
        for (section, name), found in sorted(values.items())
        if section == "branch" and "remote" in found and "merge" in found
    )
    return remotes, upstreams


def without_credentials(url: str) -> str:
    """The URL without password and token, wherever it could carry one; paths stay as they are."""
    helper, double_colon, address = url.partition("::")
    if double_colon and not re.search(r"[/@\[]", helper):
        # The address of `ext` is a command, which may hold anything.
        kept = "" if helper == "ext" else without_credentials(address)
        return helper + double_colon + kept
    if "://" not in url:
        bare = _BARE_PASSWORD.fullmatch(url)
        return f"{bare[1]}@{bare[2]}" if bare else url
    scheme = url.partition("://")[0].strip().lower()
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://"
    user, at, host = parts.netloc.rpartition("@")
    if scheme == "file" and not at:
        return url
    if re.search(r":(?!\d*$)", host.rpartition("]")[2]) or not parts.scheme:
        # What stands in the place of a port is the beginning of a password with a slash in it.
        return f"{scheme}://"
    if scheme in ("ssh", "git+ssh", "ssh+git") and at:
        host = user.partition(":")[0] + at + host
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


# refs.json, read back


def decode_state(content: bytes, subject: str) -> CodeState:
    """The state of a refs.json; IntegrityError `snapshot-damaged` when it is not a safe one."""
    try:
        return _decode(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"refs.json cannot be used: {error}", subject=subject, code="snapshot-damaged"
        ) from error


def _decode(fields: dict[str, Any]) -> CodeState:  # Any: JSON of any shape; all of it is checked
    if fields["format"] != STATE_FORMAT:
        raise ValueError(f"format {fields['format']!r} is not known")
    if fields["object_format"] not in ("sha1", "sha256"):
        raise ValueError(f"object format {fields['object_format']!r} is not known")
    head = None if fields["head"] is None else _ref_name(fields["head"])
    refs = tuple(
        Ref(
            _ref_name(one["name"]),
            _object_id(one["object"]),
            str(one["type"]),
            None if one["peeled"] is None else _object_id(one["peeled"]),
            None if one["symbolic"] is None else _ref_name(one["symbolic"]),
        )
        for one in fields["refs"]
    )
    return CodeState(
        object_format=fields["object_format"],
        bare=bool(fields["bare"]),
        head=head,
        head_object=None if fields["head_object"] is None else _object_id(fields["head_object"]),
        refs=refs,
        shallow=tuple(map(_object_id, fields["shallow"])),
        stash=tuple(
            StashEntry(_object_id(one["object"]), _line(one["message"])) for one in fields["stash"]
        ),
        remotes=tuple(
            Remote(
                _line(one["name"]),
                tuple(map(_line, one["urls"])),
                tuple(map(_line, one["push_urls"])),
                tuple(map(_line, one["fetch"])),
            )
            for one in fields["remotes"]
        ),
        upstreams=tuple(
            Upstream(_line(one["branch"]), _line(one["remote"]), _line(one["merge"]))
            for one in fields["upstreams"]
        ),
    )


def _object_id(text: str) -> str:
    if not _OBJECT_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no object id")
    return text


def _ref_name(text: str) -> str:
    """Git checks the rest; what matters here is that it lies below refs/ and is one word."""
    if not text.startswith("refs/") or ".." in text or re.search(r"[\0-\x20\x7f~^:?*\[\\]", text):
        raise ValueError(f"{text!r} is no ref")
    return text


def _line(text: str) -> str:
    if re.search(r"[\0\n]", text):
        raise ValueError(f"{text!r} is not one line of text")
    return text
