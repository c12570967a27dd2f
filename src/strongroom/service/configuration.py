"""The settings as the ledger knows them: a record whenever others are in force than before.

Each record holds the settings whole, so that the next one tells the difference from the ledger
alone. Secrets stay references, and what may hold one in plain words (headers, forms and files of
`application_check` and `recovery`) is not shown: that it changed is told all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from strongroom.config.value import is_reference
from strongroom.errors import StrongroomError
from strongroom.evidence import AUDIT_KINDS, CONFIGURATION, Entry
from strongroom.model import Finding, finding
from strongroom.service.application import Application
from strongroom.service.masking import HIDDEN, cut, masked
from strongroom.service.origin import origin

_MOST_CHANGES: Final = 100
# Of `application_check` and `recovery`: free texts, which people fill with test passwords.
_UNSHOWN: Final = frozenset({"environment", "headers", "render", "send"})
_OF_APPLICATION: Final = (("application_check",), ("recovery",))
UNSHOWN_CHANGE: Final = "a value that is not shown"


def config_digest(application: Application) -> str:
    """SHA-256 of the settings in force as canonical JSON: sorted, with secrets as references."""
    from strongroom.config.sample import effective

    text = json.dumps(effective(application.settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def record_configuration(application: Application) -> Finding | None:
    """Record the settings, once in a run, when the ledger's newest word on them is another one; a
    finding when that fails."""
    if application.config_recorded:
        return None
    try:
        digest = config_digest(application)
        if _known(application) != digest:
            application.must_record_if(CONFIGURATION, lambda: _fields(application, digest))
    except StrongroomError as error:
        return finding("evidence-unrecorded", error.subject or "ledger", error.message)
    application.config_recorded = True
    return None


def vouched(application: Application) -> str | None:
    """The digest of the settings where the ledger knows them, for a record that says so; None when
    others were recorded since by another process."""
    digest = config_digest(application)
    try:
        return digest if _known(application) == digest else None
    except StrongroomError:
        return None


def _known(application: Application) -> str | None:
    """The digest that the newest record holds which vouches for a record of the settings."""
    for entry in application.ledger.backwards():
        if _is_of(application, entry) and entry.fields.get("config_digest"):
            return str(entry.fields["config_digest"])
    return None


def _is_of(application: Application, entry: Entry) -> bool:
    """What was carried over into an adopted ledger was compared with nothing."""
    return (
        entry.kind in AUDIT_KINDS
        and entry.fields.get("application") == application.name
        and "carried" not in entry.fields
    )


def _fields(application: Application, digest: str) -> dict[str, Any] | None:  # Any: JSON values
    """The fields of the record; None when somebody was faster."""
    if _known(application) == digest:
        return None
    before = next(
        (
            one
            for one in application.ledger.backwards()
            if one.kind == CONFIGURATION and _is_of(application, one)
        ),
        None,
    )
    settings = shown_settings(application)
    fields: dict[str, Any] = {
        "file": str(application.config_file) if application.config_file else None,
        "config_digest": digest,
        "digest_before": before.fields.get("config_digest") if before else None,
        "from": origin(),
    }
    changes: list[dict[str, Any]] = []
    if before is not None:
        changes = list(differences(before.fields.get("settings"), settings))
        if not changes:
            changes = [{"setting": UNSHOWN_CHANGE, "before": None, "after": None}]
    return {
        **fields,
        "changes": changes[:_MOST_CHANGES],
        "changes_left_out": max(0, len(changes) - _MOST_CHANGES),
        "settings": settings,
    }


def shown_settings(application: Application) -> dict[str, Any]:  # Any: JSON values
    """The settings in force as a record may hold them."""
    from strongroom.config.sample import effective

    shown = _shown(effective(application.settings), ())
    assert isinstance(shown, dict)
    return shown


def _shown(value: Any, above: tuple[str, ...]) -> Any:  # Any: JSON values
    if isinstance(value, Mapping):
        return {str(name): _shown(one, (*above, str(name))) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one, above) for one in value]
    if not isinstance(value, str):
        return value
    if is_reference(value):
        return cut(value)
    if above[:1] in _OF_APPLICATION and _UNSHOWN & set(above):
        return HIDDEN
    return cut(masked(value))


def differences(before: Any, after: Any) -> Iterator[dict[str, Any]]:  # Any: JSON values
    """Each setting whose value is another one, by its path, in order; None stands for none."""
    first, second = dict(_flat(before, "")), dict(_flat(after, ""))
    for path in sorted(first.keys() | second.keys()):
        if first.get(path) != second.get(path):
            yield {"setting": path, "before": first.get(path), "after": second.get(path)}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # Any: JSON values
    """Plain values by their path; a list of plain values is one."""
    if isinstance(value, Mapping) and (value or not path):
        for name, one in value.items():
            yield from _flat(one, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        for place, one in enumerate(value):
            yield from _flat(one, f"{path}[{place}]")
    else:
        yield path, value
