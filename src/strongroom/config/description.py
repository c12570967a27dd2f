"""The declaration as a table: what every setting is called, means, takes and defaults to.

`config explain`, the nearest spelling of a fault and docs/CONFIG.md read this table; it is made
from the models alone, so it cannot disagree with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from strongroom.config import kit_settings, scalar, value
from strongroom.config import settings as declaration
from strongroom.config.application_check import Command
from strongroom.config.fault import nearest
from strongroom.errors import ConfigError

ANY_NAME: Final = "NAME"

# Any: types as objects; the typing module has no narrower name for them
_TYPE_NAMES: Final[tuple[tuple[Any, str], ...]] = (
    (scalar.Duration, "duration"),
    (scalar.Size, "size"),
    (scalar.AbsolutePath, "path"),
    (scalar.Secret, "secret reference"),
    (scalar.DatabaseUrl, "secret reference, or URL without password"),
    (scalar.Location, "location"),
    (kit_settings.Recipient, "public key of age"),
    (scalar.Schedule, "five cron fields"),
    (scalar.ScheduleOrNever, "five cron fields, or `never`"),
    (scalar.ShareOrSize, "share or size"),
    (scalar.Hours, "hours of the day"),
    (scalar.TimeZone, "time zone"),
    (scalar.State, "path or secret reference"),
    (scalar.AlertTarget, "secret reference or mailto:"),
    (scalar.Expectation, "expectation"),
    (scalar.AnswerExpectation, "expectation"),
    (scalar.Question, "SQL"),
    (Command, "command, or list of its words"),
    (bool, "true or false"),
    (int, "whole number"),
    (str, "text"),
    (date, "date"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    `parts` is its path, with `NAME` for names that the operator chooses; a list's index is left
    out. `kind` says in which kind of source it exists, empty elsewhere. `default` is None when the
    setting is required, `later` is true while the program accepts it without acting on it.
    """

    parts: tuple[str, ...]
    kind: str
    type: str
    default: str | None
    examples: tuple[Any, ...]  # Any: plain YAML values
    meaning: str
    later: bool
    section: bool
    repeats: bool

    @property
    def path(self) -> str:
        return ".".join(self.parts)

    @property
    def example(self) -> str:
        told = (format_value(one) for one in self.examples)
        return next((one for one in told if one), "")

    def matches(self, parts: tuple[str, ...]) -> bool:
        return len(parts) == len(self.parts) and all(
            own in (given, ANY_NAME) for own, given in zip(self.parts, parts, strict=True)
        )


@cache
def describe() -> tuple[Setting, ...]:
    """Every setting, sections before what they hold, in the order of the declaration."""
    return tuple(_walk(declaration.Settings, (), kind="", later=False))


def names_at(path: tuple[str | int, ...], given: object = None) -> list[str]:
    """The settings that exist at a path; `given` is the document, which tells a source's kind."""
    here, kinds = given, set()
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
        if isinstance(here, dict) and isinstance(here.get("kind"), str):
            kinds.add(here["kind"])
    above = tuple(part for part in path if isinstance(part, str))
    return [
        setting.parts[-1]
        for setting in describe()
        if setting.matches((*above, setting.parts[-1])) and (not kinds or setting.kind in kinds)
    ]


def explain(path: str) -> str:
    """What the setting at `path` means, such as `sources.database.jobs` or `alerts[0].to`.

    ConfigError `usage` with the nearest spelling when there is none.
    """
    parts = tuple(part for part in re.sub(r"\[[^\]]*\]", "", path).split(".") if part)
    found = [setting for setting in describe() if setting.matches(parts)]
    if not found:
        meant = nearest(".".join(parts), (setting.path for setting in describe()))
        raise ConfigError(
            "there is no such setting",
            subject=path,
            code="usage",
            hint=f"Ask for `{meant}`." if meant else "List all with `strongroom config sample`.",
        )
    return "\n\n".join(_explanation(setting) for setting in found)


def schema_json() -> str:
    """The JSON Schema (draft 2020-12) of the file, for editors."""
    schema = declaration.Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Strongroom configuration"
    return json.dumps(schema, indent=2) + "\n"


def format_value(given: object, type_name: str = "") -> str:
    """A value as it is written in the file."""
    if isinstance(given, timedelta):
        return value.format_duration(given)
    if type_name == "size" and isinstance(given, int):
        return value.format_size(given)
    if isinstance(given, PurePath | date):
        return str(given)
    if given is None or isinstance(given, BaseModel):
        return ""
    if isinstance(given, str):
        return given
    return json.dumps(given)


def _explanation(setting: Setting) -> str:
    kind = f" (kind: {setting.kind})" if setting.kind else ""
    lines = [setting.path + kind, f"  {setting.meaning}"]
    if setting.later:
        lines.append("  Accepted today; acts in a later version.")
    if setting.type:
        lines.append(f"  Type:     {setting.type}")
    if not setting.section:
        default = "none, it is required" if setting.default is None else setting.default
        lines.append(f"  Default:  {default or 'none'}")
    if setting.example:
        lines.append(f"  Example:  {setting.example}")
    inner = [
        below.parts[-1]
        for below in describe()
        if below.parts[-1] != ANY_NAME
        and len(below.parts) > len(setting.parts)
        and below.parts[: len(setting.parts)] == setting.parts
        and set(below.parts[len(setting.parts) : -1]) <= {ANY_NAME}
    ]
    if inner:
        lines.append(f"  Settings: {', '.join(dict.fromkeys(inner))}")
    return "\n".join(lines)


def _walk(
    model: type[BaseModel], above: tuple[str, ...], *, kind: str, later: bool
) -> Iterator[Setting]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        field_later = later or (isinstance(extra, dict) and bool(extra.get("later")))
        parts = (*above, name)
        members, named, repeats = _members(hints[name])
        type_name = _type_name(hints[name], field.metadata)
        default = None if field.is_required() else _default(field, type_name)
        yield Setting(
            parts=parts,
            kind=kind,
            type="" if members and not named and not repeats else type_name,
            default=default,
            examples=tuple(field.examples or ()),
            meaning=field.description or "",
            later=field_later,
            section=bool(members),
            repeats=repeats,
        )
        for member in members:
            member_kind = _kind(member) or kind
            below = (*parts, ANY_NAME) if named else parts
            yield from _walk(member, below, kind=member_kind, later=field_later)


# Any in what follows: types as objects, see _TYPE_NAMES
def _members(hint: Any) -> tuple[list[type[BaseModel]], bool, bool]:
    """The models inside of a type; whether names lead to them; whether it is a list of them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _members(arguments[0])
    if origin in (Union, UnionType):
        models = [model for part in arguments for model in _members(part)[0]]
        return models, False, False
    if origin is dict:
        models = _members(arguments[1])[0]
        return models, bool(models), False
    if origin is tuple:
        models = _members(arguments[0])[0]
        return models, False, bool(models)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return [hint], False, False
    return [], False, False


def _type_name(hint: Any, metadata: Iterable[Any]) -> str:
    for known, name in _TYPE_NAMES:
        if hint == known:
            return name + _limits(metadata)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_name(arguments[0], metadata)
    if origin in (Union, UnionType):
        own = [part for part in arguments if part is not type(None)]
        return _type_name(own[0], metadata) if len(own) == 1 else "settings"
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in arguments)
    if origin is tuple:
        inner = _type_name(arguments[0], ())
        return "list" if inner == "settings" else f"list of {inner}"
    if origin is dict:
        return "settings by name" if _members(hint)[0] else "settings"
    return "settings"


def _limits(metadata: Iterable[Any]) -> str:
    least = next((item.ge for item in metadata if hasattr(item, "ge")), None)
    most = next((item.le for item in metadata if hasattr(item, "le")), None)
    if least is None:
        return ""
    if least >= 2**20:
        return f", {value.format_size(least)} or more" + (
            f", up to {value.format_size(most)}" if most else ""
        )
    return f", {least} to {most}" if most else f", {least} or more"


def _default(field: Any, type_name: str) -> str:
    # Any: pydantic's FieldInfo, whose default may be anything
    if field.default_factory is not None and field.annotation is str:
        return ""  # depends on the user; the description says how
    given = field.get_default(call_default_factory=True)
    if given in ((), {}):
        return "[]" if given == () else "{}"
    return format_value(given, type_name.split(",", maxsplit=1)[0])


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field is not None else ""
