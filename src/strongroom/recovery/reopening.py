"""Opening a recovered application again: settings, owners, commands, questions, logs.

All of it bears being done again, and is, whenever a recovery goes on. What goes wrong is a finding
and ends it: nobody is sent to an application that does not work. The watching of the logs comes
last, and is not part of the time that recovery took.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from strongroom.config import resolve_secret
from strongroom.config.application_check import HttpCheck, WorkflowStep
from strongroom.config.placeholder import SECRET, UnknownNameError, fill_in
from strongroom.config.recovery_settings import Ownership, Recovery
from strongroom.config.value import is_reference
from strongroom.errors import ConfigError, StrongroomError
from strongroom.model import Finding, Stage, finding
from strongroom.postgres.connection import Connection
from strongroom.recovery.application_files import (
    link_folders,
    read_templates,
    render_files,
    secrets_of,
)
from strongroom.recovery.application_ground import lines_of
from strongroom.recovery.application_login import as_application, database_values, let_log_in
from strongroom.recovery.application_logs import Logs
from strongroom.recovery.application_probe import Conversation, hush, log_faults
from strongroom.recovery.application_run import (
    MARK,
    Account,
    Command,
    Served,
    end_served,
    group_id,
    marked,
    run,
    serve,
    user_id,
)
from strongroom.recovery.application_visit import (
    ask,
    listens,
    port_of,
    wait_until_it_listens,
)
from strongroom.recovery.listener import stranger_at
from strongroom.recovery.place import apply_ownership
from strongroom.sources.code_git import Git

__all__ = ["CHECKED_OUT", "OUTPUT", "Grounds", "Questions", "Reopened", "Reopening", "stage_of"]

_SUBJECT: Final = "application"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOOK_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 2.0
_OCTAL: Final = 8

OUTPUT: Final = "output"
"""What the commands have printed, in the folder of our own; what stays has a log beside it."""

CHECKED_OUT, PREPARE, START = "checked-out", "prepare", "start"


class _StoppedError(Exception):
    """It goes no further; the findings say why."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What the application is asked, and the secrets that its requests may name."""

    http: Sequence[HttpCheck]
    workflow: Sequence[WorkflowStep]
    secrets: Mapping[str, str]  # references by name
    unsaid: Sequence[str] = ()  # what must not be repeated either


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where everything is: the directory, the restored folders by source, which of them is the
    code, how its database is reached by whoever restored it, and a folder of our own for
    output."""

    directory: Path
    folders: Mapping[str, Path]
    code: Path | None
    database: Connection | None
    own: Path


@dataclass(slots=True)
class Reopened:
    """What came of it. `answered_seconds` is when all was asked and answered, by the monotonic
    clock; None when it was not."""

    findings: list[Finding] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    checked: int = 0
    answered_seconds: float | None = None


def stage_of(what: str, words: Sequence[str]) -> str:
    """How the stage of a command is called."""
    return f"{what}: {Path(words[0]).name}" if words else what


class Reopening:
    """One try. `remember` keeps what stays running, so that the next try can end it; `reach` is
    told how far it is: CHECKED_OUT, and before the commands that PREPARE and those that START."""

    def __init__(
        self,
        settings: Recovery,
        grounds: Grounds,
        questions: Questions,
        remember: Callable[[Served | None], None],
        reach: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._grounds, self._questions = settings, grounds, questions
        self._remember, self._reach, self._say = remember, reach, say
        self._secrets = {
            f"{SECRET}{name}": resolve_secret(one) for name, one in questions.secrets.items()
        }
        self._environment_secrets = {
            name: resolve_secret(one)
            for name, one in settings.environment.items()
            if is_reference(one)
        }
        self._database = as_application(settings, grounds.database)
        self._account = Account.of(settings.user) if settings.user else None
        self._owners = {name: _owner(one) for name, one in settings.ownership.items()}
        self._values = self._all_values()
        self._templates = read_templates(settings.render)
        self._in_templates = secrets_of(settings.render)
        for name, text in self._templates.items():
            _refuse_unknown(name, text, self._values)
        self._rendered: list[Path] = []
        self._output, self._served_output = grounds.own / OUTPUT, grounds.own / "served"
        self._logs = Logs(
            [self._output, self._served_output],
            grounds.code,
            list(grounds.folders.values()),
            settings.logs.files,
            settings.logs.server,
        )
        self._served: Served | None = None
        self._result = Reopened()

    def carry_out(
        self, before: Served | None, made_roles: Sequence[str] = (), reached: str = ""
    ) -> Reopened:
        """All stages as far as they go; `before` is what an earlier try has left running,
        `made_roles` are the roles that the database's server had not got before, `reached` is how
        far earlier tries had come."""
        try:
            left = [before] if before is not None else []
            for one in (*left, *marked(self._grounds.directory)):
                end_served(one)
            if before is not None:
                self._remember(None)
            self._log_in(made_roles)
            self._arrange()
            self._start(reached)
            self._ask()
            self._result.answered_seconds = time.monotonic()
            self._watch()
        except _StoppedError:
            pass
        except UnknownNameError as error:
            self._note("application-unchecked", str(error))
        except StrongroomError as error:
            self._note("application-unchecked", f"{error} ({error.code})")
        except OSError as error:  # a disk that is full, a folder that may not be written to
            told = f"{error.filename or self._grounds.directory}: {error.strerror or error}"
            self._note("application-unchecked", told)
        return self._result

    # What it needs

    def _log_in(self, made_roles: Sequence[str]) -> None:
        """Where its password is known it can be tried, and given to a role that has none."""
        login, server = self._database, self._grounds.database
        if login is None or server is None or self._settings.database_password is None:
            return
        with self._measure("database login"):
            fault = let_log_in(server, login, is_ours=login.user in made_roles)
        if fault:
            raise self._stop("application-failed", fault)

    def _arrange(self) -> None:
        settings, code = self._settings, self._grounds.code
        if code is not None:
            if settings.checkout is not None:
                with self._measure("check out"):
                    self._check_out(code, settings.checkout)
            if settings.links or settings.render:
                with self._measure("settings and links"):
                    link_folders(code, settings.links, self._grounds.folders)
                    self._rendered = render_files(code, self._templates, self._values)
        if settings.ownership:
            with self._measure("owners and modes"):
                for name, ownership in settings.ownership.items():
                    self._give(name, ownership)
        self._give_rendered()

    def _check_out(self, code: Path, wanted: str) -> None:
        """The commit that runs in production; what was changed by hand is not overwritten."""
        git = Git(code, subject=str(code)).without_filters()
        found = git.try_run("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
        if found.status:
            raise self._stop("application-failed", f"the restored code has no tag {wanted}")
        commit = os.fsdecode(found.output).strip()
        head = git.try_run("rev-parse", "--verify", "--quiet", "HEAD")
        if os.fsdecode(head.output).strip() == commit:
            return
        done = git.try_run("checkout", "--quiet", "--detach", "--no-overwrite-ignore", commit)
        self._reach(CHECKED_OUT)
        if done.status:
            told = f"{wanted} can't be checked out: {done.complaint}"
            raise self._stop("application-failed", told)

    def _give(self, name: str, ownership: Ownership) -> None:
        apply_ownership(
            self._grounds.folders[name],
            owner=self._owners[name],
            folder_mode=_octal(ownership.folder_mode),
            file_mode=_octal(ownership.file_mode),
            kept=frozenset(self._rendered),
        )

    def _give_rendered(self) -> None:
        """Whoever serves must be able to read them, wherever the rest belongs; nobody else may."""
        if self._account is None or os.geteuid() != 0:
            return
        for place in self._rendered:
            os.chown(place, self._account.user, self._account.group, follow_symlinks=False)

    # It starts

    def _start(self, reached: str) -> None:
        settings = self._settings
        if settings.url is not None and not (reached == START and settings.start):
            self._refuse_stranger(settings.url)
        self._reach(PREPARE)
        for words in settings.prepare:
            self._run(stage_of("prepare", words), words, self._account)
        self._logs.remember()
        if settings.start:
            self._reach(START)
        for words in settings.start:
            self._run(stage_of("start", words), words, None)
        if settings.serve is not None:
            with self._measure(stage_of("serve", settings.serve)):
                self._serve(settings.serve)
        if settings.url is not None:
            with self._measure("wait until it answers"):
                seconds = settings.start_timeout.total_seconds()
                fault = wait_until_it_listens(settings.url, seconds, self._is_gone)
                if fault:
                    raise self._stop("application-failed", self._of_served(fault))
            self._refuse_other(settings.url)
        for words in settings.smoke:
            self._run(stage_of("smoke", words), words, self._account)
            self._result.checked += 1

    def _refuse_stranger(self, url: str) -> None:
        """Whoever answers there before anything was started is not what was restored. What was just
        ended gets a moment to be gone."""
        until = time.monotonic() + _SETTLE_SECONDS
        while listens(url):
            if time.monotonic() >= until:
                told = (
                    f"somebody answers at {url} before anything was started, who is not what was "
                    "restored; end it, or let `recovery.start` start it"
                )
                raise self._stop("application-unchecked", told)
            time.sleep(_PAUSE_SECONDS)

    def _refuse_other(self, url: str) -> None:
        """What answers must be what was served; with `start`, that may be a server of the host."""
        if self._served is None or self._settings.start:
            return
        if stranger := stranger_at(url, self._served, self._grounds.directory):
            own = stage_of("serve", self._settings.serve or ())
            told = (
                f"{stranger} answers at {url}, which {own} has not started; end it, or start it "
                "with `recovery.start`"
            )
            raise self._stop("application-unchecked", self._of_served(told))

    def _serve(self, words: Sequence[str]) -> None:
        """What stays."""
        command = self._command(words, self._account)
        environment = {**command.environment, MARK: str(self._grounds.directory)}
        served = serve(replace(command, environment=environment, output=self._served_output))
        if isinstance(served, str):
            raise self._stop("application-failed", f"{stage_of('serve', words)}: {served}")
        self._served = served
        self._remember(served)
        if gone := self._is_gone():
            raise self._stop("application-failed", self._of_served(gone))

    def _is_gone(self) -> str:
        """That what was to stay has ended; empty while it lives, or is somebody else's matter."""
        if self._served is None or self._served.lives():
            return ""
        return f"{stage_of('serve', self._settings.serve or ())}: it has ended"

    def _run(self, name: str, words: Sequence[str], account: Account | None) -> None:
        with self._measure(name):
            seconds = self._settings.command_timeout.total_seconds()
            fault = run(self._command(words, account), seconds)
        if fault:
            raise self._stop("application-failed", self._with_last_words(f"{name}: {fault}"))

    def _command(self, words: Sequence[str], account: Account | None) -> Command:
        filled = [fill_in(word, self._values) for word in words]
        folder = self._grounds.code or self._grounds.directory
        home = account.home if account else os.environ.get("HOME", "/")
        own = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": home}
        given = {
            name: self._environment_secrets[name]
            if name in self._environment_secrets
            else fill_in(text, self._values)
            for name, text in self._settings.environment.items()
        }
        return Command(filled, folder, own | given, self._output, account)

    def _of_served(self, fault: str) -> str:
        return self._with_last_words(fault, self._served_output if self._served else None)

    def _with_last_words(self, fault: str, place: Path | None = None) -> str:
        lines = [line for line in lines_of(place or self._output, 0) if line.strip()]
        return f"{fault}: {lines[-1].strip()}" if lines else fault

    # It is asked

    def _ask(self) -> None:
        url, questions = self._settings.url, self._questions
        if url is None or not (questions.http or questions.workflow):
            told = "nothing says where it answers" if url is None else "nothing says what to ask it"
            raise self._stop("application-unchecked", told)
        with self._measure("requests"):
            for one in questions.http:
                self._ask_once(url, self._conversation(), one, one.path)
        if questions.workflow:
            conversation = self._conversation()
            with self._measure("workflow"):
                for number, step in enumerate(questions.workflow, start=1):
                    name = f"workflow step {number} ({step.name})"
                    if not self._ask_once(url, conversation, step, name):
                        break
        if self._result.findings:
            raise _StoppedError

    def _conversation(self) -> Conversation:
        return Conversation(dict(self._values), self._all_secrets())

    def _ask_once(self, url: str, talk: Conversation, step: HttpCheck, name: str) -> bool:
        timeout = step.timeout or self._settings.request_timeout
        reply = ask(url, talk.request(step), timeout.total_seconds())
        if isinstance(reply, str):
            self._note("application-failed", f"{name}: {reply}")
            return False
        checked, faults = talk.judge(step, reply)
        self._result.checked += checked
        for fault in faults:
            self._note("application-failed", f"{name}: {fault}")
        return not faults

    # It is watched

    def _watch(self) -> None:
        """Until the time is over or a log tells a failure; then it still has to answer."""
        span = self._settings.watch.total_seconds()
        with self._measure("watch the logs"):
            deadline = time.monotonic() + span
            while not (faults := self._log_faults()) and not self._is_gone():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(_LOOK_SECONDS, left))
        for line in faults:
            self._note("application-failed", f"its log says: {line}")
        for reason in self._logs.unread():
            self._note("application-unchecked", f"a log was not watched: {reason}")
        if gone := self._is_gone():
            raise self._stop("application-failed", self._of_served(gone))
        if self._questions.http and self._settings.url is not None and not faults:
            first = self._questions.http[0]
            self._ask_once(self._settings.url, self._conversation(), first, f"{first.path} again")

    def _log_faults(self) -> list[str]:
        return log_faults(self._logs.lines(), self._settings.logs, self._all_secrets())

    # What it knows

    def _all_values(self) -> dict[str, str]:
        grounds, url = self._grounds, self._settings.url
        values = {name: str(place) for name, place in grounds.folders.items()}
        values |= {"directory": str(grounds.directory), **self._secrets}
        if url is not None:
            values |= {"url": url, "port": str(port_of(url))}
        return values | (database_values(self._database) if self._database else {})

    def _all_secrets(self) -> list[str]:
        password = self._database.password if self._database else None
        own = [*self._secrets.values(), *self._environment_secrets.values()]
        own += [*self._questions.unsaid, *self._in_templates]
        return [*own, password] if password else own

    def _note(self, code: str, message: str) -> None:
        self._result.findings.append(finding(code, _SUBJECT, hush(message, self._all_secrets())))

    def _stop(self, code: str, message: str) -> _StoppedError:
        self._note(code, message)
        return _StoppedError()

    @contextlib.contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        self._say(name)
        begun = time.monotonic()
        try:
            yield
        finally:
            self._result.stages.append(Stage(name, time.monotonic() - begun))


def _refuse_unknown(name: str, template: str, values: Mapping[str, str]) -> None:
    """ConfigError for a template that names what nobody knows."""
    try:
        fill_in(template, values)
    except UnknownNameError as error:
        raise ConfigError(
            str(error),
            subject=f"recovery.render.{name}",
            hint="Correct the template; `strongroom config explain recovery.environment` lists "
            "the names.",
        ) from None


def _owner(ownership: Ownership) -> tuple[int, int] | None:
    if not (ownership.owner or ownership.group):
        return None
    return (
        user_id(ownership.owner) if ownership.owner else -1,
        group_id(ownership.group) if ownership.group else -1,
    )


def _octal(mode: str | None) -> int | None:
    return None if mode is None else int(mode, _OCTAL)
