"""One run of the program: its global options, and everything it says.

Invariants: with `--json` exactly one document is written to standard output; secrets that were
resolved never get through (I6): what looks like a password in a URL is masked on every way out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from strongroom.cli.text import finding_lines, one_line, plain
from strongroom.errors import ERROR_KINDS, ConfigError, StrongroomError, TargetError
from strongroom.report.wording import Verbatim

if TYPE_CHECKING:
    from strongroom.cli.audit import Auditor
    from strongroom.model import Finding, Progress
    from strongroom.service.application import Application
    from strongroom.service.kit_seal import Opener

_URL_PASSWORD: Final = re.compile(r"(\w+://[^\s:/@]*):[^\s@/]+@")
_MESSAGES: Final = frozenset({"message", "hint", "faults"})
_WORD_PASSWORD: Final = re.compile(r"\b(\w*passw\w*)\s*=\s*('[^']*'|\S+)", re.IGNORECASE)


@dataclass
class Run:
    """Global options as they were given, before or after the command's name."""

    config: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    limit_upload: int | None = None
    limit_download: int | None = None
    store_as_of: str | None = None
    state: Path | None = None
    # The command line as it was given.
    words: tuple[str, ...] = ()
    reason: str = ""
    auditor: Auditor | None = field(default=None, repr=False)
    _error: StrongroomError | None = field(default=None, repr=False)
    _unrecorded: bool = field(default=False, repr=False)
    _written: bool = field(default=False, repr=False)
    _applications: list[Application] = field(default_factory=list, repr=False)
    _spare: Application | None = field(default=None, repr=False)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def application(self) -> Application:
        """The configured application, with this run's progress and messages."""
        from strongroom.service.application import Application

        if self._spare is not None:
            application, self._spare = self._spare, None
            return application
        return self._take(Application.load(self.config, progress=self.progress(), say=self.say))

    def application_of_kit(self, file: Path, opener: Opener) -> Application:
        """The application of a recovery kit, in the place of a configured one."""
        from strongroom.service.kit import application_of, open_kit

        if self.config is not None:
            raise ConfigError(
                "a kit has a configuration of its own", subject="--config", code="usage",
                hint="Leave out --config or --kit.",
            )  # fmt: skip
        opened = open_kit(file, opener)
        kit = opened.kit
        self.say(
            f"This is the kit of {kit.application}, made {kit.made_at:%Y-%m-%d %H:%M} UTC on "
            f"{kit.host}; SHA-256 {opened.digest}"
        )
        taken = application_of(opened, progress=self.progress(), say=self.say)
        return self._take(self._stack.enter_context(taken))

    def _take(self, application: Application) -> Application:
        application.limit_upload = self.limit_upload
        application.limit_download = self.limit_download
        if self.state is not None:
            application.state_folder = self.state
        if self.store_as_of is not None:
            from strongroom.service.selection import parse_moment

            zone = application.settings.schedule.time_zone
            application.store_as_of = parse_moment(self.store_as_of, zone)
        self._applications.append(application)
        if self.auditor is not None:
            self._tell(self.auditor.begin(application))
        return application

    def followed(self, action: str, sources: Sequence[str]) -> int | None:
        """The exit status of this command where a running service has carried it out; None where
        no service is there."""
        from strongroom.config import find_config
        from strongroom.service.lifeline import JOB
        from strongroom.service.occupancy import is_served

        if JOB in os.environ:
            return None  # the service itself has started this process
        self._spare = application = self.application()
        config = find_config(self.config).resolve()
        # Nothing of the engine is loaded where nobody serves.
        if not is_served(application.state, str(config)):
            return None
        from strongroom.service.following import follow

        if self.auditor is not None:
            self.auditor.job = f"{action}:asked"
        outcome = follow(application, action, _without_config(self.words), sources, self.say)
        if outcome is None:
            return None
        for line in outcome.messages:
            self.say(line)
        if outcome.output:
            self._write(redact(outcome.output).removesuffix("\n"))
        return outcome.exit_status

    @contextlib.contextmanager
    def in_turn(self, action: str) -> Iterator[None]:
        """Nobody else does this for the application meanwhile; who comes later waits."""
        from strongroom.service.occupancy import in_turn

        application = self.application()
        self._spare = application
        with in_turn(application.state, action, self.say):
            yield

    def conclude(self, exit_status: int) -> None:
        """Record how the command ended; what can't be recorded is told, and changes nothing."""
        if self.auditor is not None:
            self._tell(self.auditor.end(exit_status, self._error))

    def _tell(self, findings: Iterable[Finding]) -> None:
        """Also when quiet: somebody relies on the records. Once, for the cause is the same."""
        for one in findings:
            if not self._unrecorded:
                self._unrecorded = True
                for line in finding_lines([one]):
                    write_err(redact(line))

    def close(self) -> None:
        """What was opened for this run is given back."""
        for application in self._applications:
            application.close()
        self._stack.close()

    def progress(self) -> Progress:
        """Bars on a terminal, lines in a pipe, nothing when quiet."""
        from strongroom.cli.progress import choose_progress

        return choose_progress(quiet=self.quiet)

    # What is said

    def say(self, message: str) -> None:
        """A message for people, to standard error; nothing when quiet."""
        if not self.quiet:
            write_err(plain(redact(message)))

    def tell(self, line: str) -> None:
        """A line of `text` for people, which is plain already but for its colours; see `say`."""
        if not self.quiet:
            write_err(redact(line))

    def result(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The command's answer: the document with `--json`, else the lines, each of which stays
        one. `Any`: JSON values."""
        if self.json:
            self._write(json.dumps(_redacted(document), indent=2, ensure_ascii=False))
        else:
            text = "\n".join(map(one_line, lines))
            if text:
                self._write(redact(text))

    def verbatim(self, text: str) -> None:
        """The command's answer, byte for byte: for what other programs are to read."""
        self._written = True
        write_out(text.encode())

    def reveal(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """An answer that comes before the run ends and holds a secret made for whoever asks; the
        document in one line. Any: JSON values."""
        text = json.dumps(document, ensure_ascii=False) if self.json else "\n".join(lines)
        self._write(text)

    def failure(self, error: StrongroomError) -> int:
        """Say what failed, why, and what to do; returns the exit status."""
        self._error = error
        if self.json and not self._written:
            document = {"error": error_document(error)}
            # Where it can't be written it is told to people instead.
            with contextlib.suppress(TargetError):
                self._write(json.dumps(document, indent=2, ensure_ascii=False))
                return error.exit_status
        for line in error_lines(error):
            write_err(redact(line))
        return error.exit_status

    def _write(self, text: str) -> None:
        self._written = True
        write_out(text + "\n")


def _without_config(words: Sequence[str]) -> list[str]:
    """The command line for a process that has the same configuration and state folder already."""
    kept: list[str] = []
    given = iter(words)
    for word in given:
        if word in ("-c", "--config", "--state"):
            next(given, None)
        elif not word.startswith(("--config=", "--state=", "-c")):
            kept.append(word)
    return kept


def write_out(content: str | bytes) -> bool:
    """Write to standard output; a reader who has gone away is not an error, and is told by False.
    TargetError `output-failed` when nothing can be written there."""
    if sys.stdout is None:  # as Python has it where the shell has closed it
        raise output_failed("it is closed")
    try:
        click.echo(content, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return False
    except OSError as error:
        raise output_failed(os.strerror(error.errno or 0)) from error
    return True


def write_err(line: str) -> None:
    """A line to standard error; where it can't be written, nobody can be told."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def output_failed(reason: str) -> TargetError:
    """The error that the answer reaches nobody; nothing more is written there."""
    if sys.stdout is not None:
        _silence_stdout()
    return TargetError(reason, subject="standard output", code="output-failed")


def _silence_stdout() -> None:
    """Let nothing more be tried there, not even by the interpreter's last flush."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def error_document(error: StrongroomError) -> dict[str, Any]:  # Any: JSON values
    """What scripts get."""
    document: dict[str, Any] = {
        "code": error.code,
        "message": redact(str(error)),
        "hint": redact(error.hint),
    }
    if faults := getattr(error, "faults", None):
        document["faults"] = [redact(str(one)) for one in faults]
    return document


def error_lines(error: StrongroomError) -> list[str]:
    """What people read: what failed with its subject, why, and one hint."""
    # Faults of a configuration have a line each; of all else a line is one.
    said = str(error).split("\n") if getattr(error, "faults", None) else [str(error)]
    if error.code == "bug":
        said = [ERROR_KINDS[error.code].meaning, *said]
    lines = [f"{click.style('Error:', fg='red', bold=True)} {plain(said[0])}"]
    lines += map(plain, said[1:])
    lines.append(f"{click.style('Hint:', bold=True)} {plain(error.hint)}")
    return lines


def _redacted(value: Any, key: str = "") -> Any:  # Any: JSON values
    """A document whose texts are redacted one by one: cutting in written JSON would break it.

    Only messages are searched for words that look like a password: names stay as they are.
    """
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, str):
        return redact(value) if key in _MESSAGES else _URL_PASSWORD.sub(r"\1:***@", value)
    if isinstance(value, Mapping):
        return {name: _redacted(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(one, key) for one in value]
    return value


def redact(text: str) -> str:
    """The text without anything that looks like a password in a URL or a connection string."""
    if "://" in text:
        text = _URL_PASSWORD.sub(r"\1:***@", text)
    if "passw" in text.lower():
        text = _WORD_PASSWORD.sub(r"\1=***", text)
    return text
