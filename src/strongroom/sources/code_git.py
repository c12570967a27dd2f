"""Running git: argument lists, a clean environment, checked exit statuses.

It knows how to start git safely, nothing of what Strongroom wants from it. Invariants: no
program that a repository's own configuration names is run (hooks, filters, file system monitors,
helpers), nothing prompts, nothing reaches the network, user and system configuration are not
read, and no index is rewritten behind a read (`GIT_OPTIONAL_LOCKS`). Repositories of other users
are read as they are.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Final

from strongroom.errors import SourceError

_BLOCK_BYTES: Final = 1 << 20
_KEPT_VARIABLES: Final = ("PATH", "HOME", "TMPDIR")
_CONFIGURATION: Final = Path(__file__).with_name("code_git.config")
# GIT_CONFIG_GLOBAL came with 2.32; without it a user's configuration would reach into a capture.
_OLDEST_GIT: Final = (2, 32)

_WRITE_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

# Command scope: stronger than what the repository's own configuration says.
_SETTINGS: Final = {
    "advice.detachedHead": "false",
    "advice.graftFileDeprecated": "false",
    "core.commitGraph": "false",  # a damaged one must not stop a capture
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.logAllRefUpdates": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    # Fixed, so that an unchanged repository gives an unchanged pack; bounded in memory.
    "core.compression": "-1",
    "pack.compression": "-1",
    "pack.deltaCacheSize": "32m",
    "pack.depth": "50",
    "pack.threads": "1",
    "pack.window": "10",
    "pack.windowMemory": "64m",
}
_VARIABLES: Final = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": str(_CONFIGURATION),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "TZ": "UTC",  # a zip archive holds local times
}
# Who signs the entries of a restored stash's log.
_IDENTITY: Final = {
    "GIT_AUTHOR_NAME": "Strongroom",
    "GIT_AUTHOR_EMAIL": "strongroom@localhost",
    "GIT_COMMITTER_NAME": "Strongroom",
    "GIT_COMMITTER_EMAIL": "strongroom@localhost",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its exit status, its output, and its standard error."""

    status: int
    output: bytes
    errors: bytes

    @property
    def complaint(self) -> str:
        """What git said, in one line without its prefixes; at most 500 characters."""
        return _readable(self.errors)


class Git:
    """Git in one directory. `subject` is what errors name; `variables` and `settings` are added
    to the fixed ones."""

    def __init__(
        self,
        directory: Path,
        *,
        subject: str,
        variables: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.subject = subject
        self._own_variables = dict(variables or {})
        self._own_settings = dict(settings or {})
        self._environment = _environment(directory, self._own_variables, self._own_settings)

    def extended(
        self,
        variables: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Git:
        """The same with more variables or settings."""
        return Git(
            self.directory,
            subject=self.subject,
            variables=self._own_variables | dict(variables or {}),
            settings=self._own_settings | dict(settings or {}),
        )

    def without_filters(self) -> Git:
        """The same with every content filter switched off that the repository configures."""
        wanted = r"^filter\..*\.(clean|smudge|process|required)$"
        outcome = self.try_run("config", "--null", "--name-only", "--get-regexp", wanted)
        settings: dict[str, str] = {}
        for key in outcome.output.split(b"\0"):
            driver, dot, _ = os.fsdecode(key).rpartition(".")
            if dot:
                settings |= {f"{driver}.{one}": "" for one in ("clean", "smudge", "process")}
                settings[f"{driver}.required"] = "false"
        return self.extended(settings=settings) if settings else self

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """The command's output; SourceError unless it ended with status 0."""
        outcome = self.try_run(*arguments, given=given)
        if outcome.status:
            raise self._failed(arguments, outcome.status, outcome.complaint)
        return outcome.output

    def text(self, *arguments: str, given: bytes = b"") -> str:
        """The output as text without its last line feed; bytes that are no UTF-8 are kept."""
        return os.fsdecode(self.run(*arguments, given=given)).removesuffix("\n")

    def try_run(self, *arguments: str, given: bytes = b"") -> Outcome:
        """How the command ended, whatever its status; SourceError when there is no git."""
        check_version(self.subject)
        done = subprocess.run(
            self._command(arguments),
            input=given,
            capture_output=True,
            env=self._environment,
            check=False,
            umask=0o022,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def stream(self, *arguments: str, given: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The command's output in blocks, never whole in memory; SourceError at its end unless
        the status is 0, so that nothing may be published before the iterator is exhausted."""
        check_version(self.subject)
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as complaint:
            source.writelines(given)
            source.seek(0)
            process = subprocess.Popen(
                self._command(arguments),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=complaint,
                env=self._environment,
            )
            try:
                assert process.stdout is not None
                while block := process.stdout.read(_BLOCK_BYTES):
                    yield block
                status = process.wait()
            finally:
                _end(process)
            if status:
                raise self._failed(arguments, status, _told(complaint))

    def feed(self, blocks: Iterable[bytes], *arguments: str) -> bytes:
        """The output of a command that reads the blocks; SourceError unless its status is 0."""
        check_version(self.subject)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
            process = subprocess.Popen(
                self._command(arguments),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=complaint,
                env=self._environment,
                umask=0o022,
            )
            try:
                assert process.stdin is not None
                try:
                    for block in blocks:
                        process.stdin.write(block)
                    process.stdin.close()
                except BrokenPipeError:
                    pass  # it ended before it read everything; its status says why
                status = process.wait()
            finally:
                _end(process)
            if status:
                raise self._failed(arguments, status, _told(complaint))
            output.seek(0)
            return output.read()

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["git", "--no-pager", "-C", str(self.directory), *arguments]

    def _failed(self, arguments: Sequence[str], status: int, complaint: str) -> SourceError:
        reason = complaint or f"it ended with status {status}"
        return SourceError(f"git {arguments[0]}: {reason}", subject=self.subject)


def _environment(
    directory: Path, variables: Mapping[str, str], settings: Mapping[str, str]
) -> dict[str, str]:
    """Nothing of ours but where programs are; GIT_* of a surrounding hook would mislead git."""
    environment = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
    environment |= _VARIABLES | _IDENTITY
    # The directory itself is meant, not a repository somewhere above.
    environment["GIT_CEILING_DIRECTORIES"] = str(directory.parent)
    environment |= variables
    everything = {**_SETTINGS, **settings}
    environment["GIT_CONFIG_COUNT"] = str(len(everything))
    for number, (key, value) in enumerate(everything.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


@cache
def _version() -> tuple[int, ...] | None:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(rb"(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else None


def check_version(subject: str) -> None:
    """SourceError `code-unreadable` unless a git is installed that can be kept to itself."""
    version = _version()
    if version is None:
        raise SourceError(
            "the program git was not found",
            subject=subject,
            code="code-unreadable",
            hint="Install git (`apt install git`).",
        )
    if version < _OLDEST_GIT:
        raise SourceError(
            f"git {version[0]}.{version[1]} is too old",
            subject=subject,
            code="code-unreadable",
            hint=f"Install git {_OLDEST_GIT[0]}.{_OLDEST_GIT[1]} or newer.",
        )


def is_about_space(error: SourceError) -> bool:
    """Whether git failed because it could not write, not because of what it read."""
    return any(os.strerror(number) in error.message for number in _WRITE_ERRORS)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    if process.poll() is None:
        process.kill()
        process.wait()


def _told(complaint: IO[bytes]) -> str:
    complaint.seek(0)
    return _readable(complaint.read())


def _readable(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "backslashreplace").splitlines()
    words = (re.sub(r"^(fatal|error): ", "", line.strip()) for line in lines)
    return "; ".join(word for word in words if word)[:500]
