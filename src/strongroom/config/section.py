"""What every part of the declaration is made of: a section, and a setting in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pydantic.config import JsonDict


def setting(
    description: str,
    *,
    default: Any = ...,
    factory: Callable[[], Any] | None = None,
    later: bool = False,
    **limits: Any,
) -> Any:
    """A field of the declaration; `later` marks what is accepted today and acts in a later version.

    `Any` because that is the type of pydantic's own `Field`, which this narrows.
    """
    extra: JsonDict | None = {"later": True} if later else None
    if factory is not None:
        return Field(
            default_factory=factory, description=description, json_schema_extra=extra, **limits
        )
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Section(BaseModel):
    """What all parts share: unknown settings are refused, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        defer_build=True,
        hide_input_in_errors=True,
    )
