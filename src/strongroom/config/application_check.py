"""The declaration of a whole-application drill: how the restored application starts, what it is
asked, and what it may use.

Part of `settings`; what relates it to the sources is checked in `application_relation`.
"""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from strongroom.config.scalar import Duration, InsidePath, Name, Secret, Size, Template
from strongroom.config.section import Section, setting

_TAKEN: Final = re.compile(r"values:.+|header:[A-Za-z0-9-]+|cookie:[^\s;=]+|text:.+|sha256")
_VALUE_PATH: Final = re.compile(r"\$?(\.?[^.\[\]\s]+|\[\d+\])(\.[^.\[\]\s]+|\[\d+\])*")


# What PHP, Python, Monolog, nginx, Apache, PHP-FPM and PostgreSQL write. Lines of an access log
# hold what visitors typed, so nothing in them counts; what they ask for in vain is no failure.
_NO_ACCESS: Final = r"^(?!.*HTTP/[\d.]+\" \d{3} )"
_IN_VAIN: Final = (
    r"(?!.*(?:open\(\) .* failed \(2: |access forbidden by rule|is forbidden, client|limiting "
    r"(?:requests|connections)|AH00128|AH01630|AH01276))"
)
_FAILURES: Final = (
    "PHP (Fatal|Parse) error",
    "Uncaught ",
    r"SQLSTATE\[",
    _NO_ACCESS + r".*Traceback \(most recent",
    _NO_ACCESS + _IN_VAIN + r"(.*[\d\]:] )?\[(\w+:)?(error|crit|alert|emerg)\] ",
    _NO_ACCESS + r"(.*\] |.*\w\.)?(ERROR|ALERT|EMERGENCY): ",
    _NO_ACCESS + r"(.*[\s.\[(])?(FATAL|CRITICAL|PANIC)[:\])\s]",
)


# Any: pydantic hands a validator whatever stands in the file
def _words(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return shlex.split(given)
    except ValueError:
        raise ValueError("this cannot be split into words; close its quotes") from None


def _need_word(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0]:
        raise ValueError("a command begins with its program")
    return words


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"this is no regular expression: {error}") from None
    return text


def _taken(text: str) -> str:
    if not _TAKEN.fullmatch(text):
        raise ValueError(
            "what is taken reads values:PATH, header:NAME, cookie:NAME, text:EXPRESSION or sha256"
        )
    kind, _, rest = text.partition(":")
    if kind == "values":
        _value_path(rest)
    if kind == "text" and re.compile(_pattern(rest)).groups != 1:
        raise ValueError("the expression needs one group in parentheses: what is taken")
    return text


def _value_path(text: str) -> str:
    if not _VALUE_PATH.fullmatch(text):
        raise ValueError("a value's path reads like checks.database.ok or certificates[0].number")
    return text


Command = Annotated[
    tuple[str, ...],
    BeforeValidator(_words),
    AfterValidator(_need_word),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Pattern = Annotated[str, AfterValidator(_pattern)]
Taken = Annotated[str, AfterValidator(_taken)]
ValuePath = Annotated[str, AfterValidator(_value_path)]


class HttpCheck(Section):
    """One request to the started application, and what is expected of its answer."""

    path: str = setting("The path to ask for.", pattern="^/", examples=["/api/health.php"])
    status: int = setting("The status that is wanted.", default=200, ge=100, le=599)
    text: tuple[str, ...] = setting(
        "Texts that the answer must hold.", default=(), examples=[["Welcome"]]
    )
    absent: tuple[str, ...] = setting(
        "Texts that it must not hold.", default=(), examples=[["Fatal error"]]
    )
    # Any: JSON values
    values: dict[ValuePath, Any] = setting(
        "Values of a JSON answer by their path: each is equal to what is given, or compares as "
        'a text such as "> 0" says.',
        factory=dict,
        examples=[{"status": "ok", "checks.database.courses": "> 0"}],
    )
    media_type: str | None = setting(
        "The answer's media type.", default=None, examples=["application/json"]
    )
    location: str | None = setting(
        "Where a redirection leads to. None is followed by itself.",
        default=None,
        examples=["/index.php"],
    )
    sha256: str | None = setting(
        "The SHA-256 of the answer's body, in hexadecimal digits.",
        default=None,
        examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )
    headers: dict[str, str] = setting(
        "Header fields to send.", factory=dict, examples=[{"Host": "training.example.ae"}]
    )
    timeout: Duration | None = setting(
        "How long this request may take, if not as long as all others.",
        default=None,
        examples=["30s"],
    )


class WorkflowStep(HttpCheck):
    """One step of a workflow; steps share cookies, and what one takes the next ones may use."""

    name: str = setting("What the step does.", examples=["sign in"])
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = setting(
        "How to ask.", default="GET", examples=["POST"]
    )
    send: dict[str, str] | str | None = setting(
        "What to send: the fields of a form, or a text, whose type is for `headers` to say.",
        default=None,
        examples=[{"email": "drill@example.com"}],
    )
    take: dict[Name, Taken] = setting(
        "What later steps use as {answer.NAME}: values:PATH of a JSON answer, header:NAME, "
        "cookie:NAME, text:EXPRESSION with one group, or sha256 of the body.",
        factory=dict,
        examples=[{"token": 'text:name="token" value="([0-9a-f]+)"'}],
    )


class LogCheck(Section):
    """Where the application says what went wrong. Its standard output and error always count."""

    files: tuple[InsidePath, ...] = setting(
        "Its log files, in the code's folder, with * and ?.",
        default=(),
        examples=[["storage/logs/*.log"]],
    )
    failures: tuple[Pattern, ...] = setting(
        "Regular expressions of lines that mean a failure.",
        default=_FAILURES,
    )
    ignore: tuple[Pattern, ...] = setting(
        "Lines that match one of these are passed over.", default=(), examples=[["deprecated"]]
    )


class ApplicationLimits(Section):
    """What a process of the application may use at most."""

    memory: Size = setting("Address space of a process.", default=4 * 2**30, ge=64 * 2**20)
    file_size: Size = setting("Size of a file that it writes.", default=2**30, ge=2**20)
    cpu: Duration = setting("Processor time of a process.", default=timedelta(minutes=10))
    processes: int = setting("How many processes and threads.", default=256, ge=8)


class ApplicationCheck(Section):
    """How a drill starts the restored application and asks it.

    Texts may hold placeholders in braces.
    """

    start: Command = setting(
        "The command, run in the restored code without a shell: words, or a list of arguments. "
        "It must listen on 127.0.0.1:{port}.",
        examples=["php -S 127.0.0.1:{port} -t public"],
    )
    folder: InsidePath | None = setting(
        "Where in the code to run it; without it, at its root.", default=None, examples=["web"]
    )
    code: Name | None = setting(
        "The source that holds the code; needed when there are several of kind git.",
        default=None,
        examples=["code"],
    )
    database: Name | None = setting(
        "The source that is its database; needed when there are several of kind postgres.",
        default=None,
        examples=["database"],
    )
    database_role: str | None = setting(
        "The role that the application logs in as; without it, the database's owner.",
        default=None,
        examples=["tms_app"],
    )
    secrets: dict[Name, Secret] = setting(
        "Secrets by name, for {secret.NAME}.",
        factory=dict,
        examples=[{"app_key": "env:APP_KEY"}],
    )
    environment: dict[str, str] = setting(
        "Environment variables of the application. {database.host}, .port, .name, .user, "
        ".password, .url and .dsn are the sandbox's database (its host is the folder of a Unix "
        "socket), {NAME} is the folder of a restored source, {mail.host}, {mail.port} and "
        "{sink.url} are where mail and calls are counted and thrown away, {secret.NAME} a secret. "
        "A value may be a secret reference itself.",
        factory=dict,
        examples=[{"DB_HOST": "{database.host}", "UPLOADS_PATH": "{uploads}"}],
    )
    render: dict[InsidePath, Template] = setting(
        "Files to write into the code first: the text, or file:PATH of a template, with the same "
        "placeholders.",
        factory=dict,
        examples=[{".env": "APP_URL=http://127.0.0.1:{port}"}],
    )
    links: dict[InsidePath, Name] = setting(
        "Places in the code that lead to the folder of a restored source.",
        factory=dict,
        examples=[{"public/uploads": "uploads"}],
    )
    prepare: tuple[Command, ...] = setting(
        "Commands to run before, each to its end.",
        default=(),
        examples=[["php artisan config:cache"]],
    )
    http: tuple[HttpCheck, ...] = setting("Requests to make, each for itself.", default=())
    workflow: tuple[WorkflowStep, ...] = setting(
        "Requests that follow each other, as somebody works with the application.", default=()
    )
    logs: LogCheck = setting("What its logs must not say.", factory=LogCheck)
    limits: ApplicationLimits = setting("What it may use.", factory=ApplicationLimits)
    prepare_timeout: Duration = setting(
        "How long each command may take that prepares it.", default=timedelta(minutes=5)
    )
    start_timeout: Duration = setting(
        "How long it may take to start.", default=timedelta(seconds=30)
    )
    request_timeout: Duration = setting(
        "How long a request may take.", default=timedelta(seconds=10)
    )
    allow_network: bool = setting(
        "Drill also where this host can't shut the application in; it may then reach whatever this "
        "host can.",
        default=False,
    )
