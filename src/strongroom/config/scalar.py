"""Types of single settings: text in the file, checked and turned into a value.

What a text means is decided in `value`; here it becomes part of a declaration. Relative paths are
seen from the folder of the configuration file. Knows nothing of what settings there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from strongroom.config import value


def _from_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    # Any: pydantic hands a validator whatever stands in the file
    def read(given: Any) -> Any:
        if isinstance(given, str):
            return parse(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return parse(str(given))
        return given

    return read


def _base(info: ValidationInfo) -> Path:
    context = info.context if isinstance(info.context, dict) else {}
    return Path(context.get("base", "."))


def _absolute(text: str, info: ValidationInfo) -> Path:
    """The path itself, or seen from the configuration file's folder when relative."""
    if not text.strip():
        raise ValueError("a path is wanted")
    return Path(os.path.normpath(_base(info) / Path(text).expanduser()))


def _read_path(given: Any, info: ValidationInfo) -> Any:
    return _absolute(given, info) if isinstance(given, str) else given


def _anchor_reference(text: str, info: ValidationInfo) -> str:
    if text.startswith("file:") and value.is_reference(text):
        return f"file:{_absolute(text.removeprefix('file:'), info)}"
    return text


def _anchor_location(text: str, info: ValidationInfo) -> str:
    if value.location_scheme(text):
        return text
    return str(_absolute(text, info))


def _state(text: str, info: ValidationInfo) -> str:
    if value.is_reference(text):
        return _anchor_reference(value.check_reference(text), info)
    if "://" in text:
        value.check_url(text)
        raise ValueError("a state database is named by a reference such as env:STATE_DATABASE_URL")
    return str(_absolute(text, info))


def _alert_target(text: str, info: ValidationInfo) -> str:
    if text.startswith("mailto:"):
        return value.check_mail_address(text)
    return _anchor_reference(value.check_reference(text), info)


Duration = Annotated[
    timedelta,
    BeforeValidator(_from_text(value.parse_duration)),
    PlainSerializer(value.format_duration),
    WithJsonSchema({"type": "string", "pattern": value.DURATION_PATTERN}),
]
Size = Annotated[
    int,
    BeforeValidator(_from_text(value.parse_size)),
    PlainSerializer(value.format_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": value.SIZE_PATTERN}),
]
AbsolutePath = Annotated[
    Path, BeforeValidator(_read_path), PlainSerializer(str), WithJsonSchema({"type": "string"})
]
Secret = Annotated[
    str,
    AfterValidator(value.check_reference),
    AfterValidator(_anchor_reference),
    WithJsonSchema({"type": "string", "pattern": value.REFERENCE_PATTERN}),
]
DatabaseUrl = Annotated[
    str, AfterValidator(value.check_database_url), AfterValidator(_anchor_reference)
]
Location = Annotated[str, AfterValidator(value.check_location), AfterValidator(_anchor_location)]
# The text itself, or where it is.
Template = Annotated[str, AfterValidator(_anchor_reference)]
InsidePath = Annotated[str, AfterValidator(value.check_inside)]
Schedule = Annotated[str, AfterValidator(value.check_schedule)]
ScheduleOrNever = Annotated[str, AfterValidator(value.check_schedule_or_never)]
ShareOrSize = Annotated[str, AfterValidator(value.check_share_or_size)]
Hours = Annotated[str, AfterValidator(value.check_hours)]
MailServer = Annotated[str, AfterValidator(value.check_mail_server)]
TimeZone = Annotated[str, AfterValidator(value.check_time_zone)]
State = Annotated[str, AfterValidator(_state)]
AlertTarget = Annotated[str, AfterValidator(_alert_target)]
# A name becomes part of restic tags, where a comma separates; and of folders, hence no slash.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Expectation = Annotated[str, AfterValidator(value.check_expectation)]
AnswerExpectation = Annotated[str, AfterValidator(value.check_answer)]
Question = Annotated[str, AfterValidator(value.check_question)]
