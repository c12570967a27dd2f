"""How times, stages and errors look in JSON, everywhere alike."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import Digests, Stage
from strongroom.service.masking import cut, masked_prose


def time_json(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that it names the very moment when given back."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def stages_json(stages: Iterable[Stage]) -> list[dict[str, Any]]:  # Any: JSON values
    """Names and seconds."""
    return [{"name": one.name, "seconds": round(one.seconds, 3)} for one in stages]


def digests_json(digests: Digests | None) -> dict[str, str | None]:
    """What was to be found, what was, and what went in; None where nothing was read."""
    return {
        "expected_digest": digests.expected if digests else None,
        "observed_digest": digests.observed if digests else None,
        "digest_of": digests.of if digests else None,
    }


def error_json(error: StrongroomError) -> dict[str, str]:
    """Code, message with subject, and hint."""
    return {"code": error.code, "message": str(error), "hint": error.hint}


def error_record(error: StrongroomError) -> dict[str, str]:
    """The same for the ledger, without what may be a secret that somebody has typed. Of a bug only
    its kind is told: nobody knows what its text quotes."""
    fields = error_json(error)
    if error.code == "bug":
        fields["message"] = error.message.partition(":")[0]
    return {name: cut(masked_prose(text)) for name, text in fields.items()}
