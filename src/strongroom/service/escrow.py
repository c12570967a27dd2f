"""Digests of what a kit holds, so that a changed secret is noticed and none can be guessed.

The ledger is copied into the repositories: whoever reads it there must not be able to try weak
secrets. So it keeps HMAC-SHA-256 under a key that stands in this host's state folder alone (mode
0600), of references as well, since arguments of a `command:` may tell too much. Without that key
nothing can be compared, and a new kit has to be made.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from strongroom.config import Settings, read_secret
from strongroom.config.escrow import access_files, access_needs
from strongroom.config.sample import effective
from strongroom.errors import ConfigError, StrongroomError
from strongroom.model import Finding
from strongroom.report.field import mapping, text
from strongroom.report.kit_history import KitScope, KitSecret
from strongroom.service.application import Application, make_private
from strongroom.service.masking import masked_reference

__all__ = ["Digester", "compare", "held_references", "kit_scope", "sections_of"]

KEY_NAME: Final = "kit.key"
COMPARED: Final = "kit-compared"
_KEY_BYTES: Final = 32
# What a recovery goes by; all else may change and an older kit does as well.
_SECTIONS: Final = ("sources", "repositories", "recovery", "application_check")
# Asked each minute; programs and keyrings are asked by captures only.
_QUICK: Final = ("env:", "file:")


class Digester:
    """Digests under the key of this host."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, state: Path) -> Digester | None:
        """The one of a state folder; None where there is no key."""
        try:
            key = (state / KEY_NAME).read_bytes()
        except OSError:
            return None
        return cls(key) if len(key) == _KEY_BYTES else None

    @classmethod
    def make(cls, state: Path) -> Digester:
        """The same, with a new key where there is none; ConfigError when it can't be written."""
        known = cls.of(state)
        if known is not None:
            return known
        place = make_private(state) / KEY_NAME
        key = secrets.token_bytes(_KEY_BYTES)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"it cannot be written: {error.strerror}",
                subject=str(place),
                hint="Let this user write there.",
            ) from error
        return cls(key)

    def id_of(self, reference: str) -> str:
        """What stands for a reference."""
        return self._digest(b"reference", reference.encode(), b"")

    def digest(self, reference: str, value: bytes) -> str:
        """What stands for its value."""
        return self._digest(b"value", reference.encode(), value)

    def _digest(self, what: bytes, reference: bytes, value: bytes) -> str:
        # Lengths keep two parts from being taken for another two.
        content = b"".join(len(one).to_bytes(8, "big") + one for one in (what, reference, value))
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()


def held_references(settings: Settings, *, credentials: bool) -> tuple[str, ...]:
    """The references whose values a kit holds, each once."""
    assert settings.kit is not None, "there is a kit"
    of_access = access_needs(settings) if credentials else ()
    return tuple(dict.fromkeys((*settings.kit.escrow, *(one.reference for one in of_access))))


def held_files(settings: Settings) -> tuple[str, ...]:
    """The paths of files that stores ask for, each once."""
    return tuple(dict.fromkeys(one.reference for one in access_files(settings)))


def sections_of(settings: Settings) -> dict[str, str]:
    """16 hex digits for each section of the configuration that a recovery goes by."""
    shown = effective(settings)
    return {
        name: hashlib.sha256(json.dumps(shown.get(name), sort_keys=True).encode()).hexdigest()[:16]
        for name in _SECTIONS
    }


def kit_scope(application: Application) -> KitScope | None:
    """What is configured of a kit, with the digests of what can be read here quickly."""
    settings = application.settings
    if settings.kit is None:
        return None
    digester = Digester.of(application.state)
    references = held_references(settings, credentials=settings.kit.credentials)
    quick = [one for one in references if one.startswith(_QUICK)]
    return KitScope(
        tuple(
            KitSecret(digester.id_of(one) if digester else "", masked_reference(one))
            for one in references
        ),
        _digests(digester, quick) if digester else {},
        {name: one.location for name, one in settings.repositories.items()},
        sections_of(settings),
        settings.kit.drill_age,
        digester is not None,
    )


def compare(application: Application, now: datetime) -> Finding | None:
    """Record the digests of what the newest kit holds, where they are others than were recorded or
    nobody has looked for a day; a finding when that fails. For runs that have the secrets."""
    settings = application.settings
    digester = Digester.of(application.state) if settings.kit is not None else None
    if settings.kit is None or digester is None:
        return None
    references = held_references(settings, credentials=settings.kit.credentials)
    digests = _digests(digester, references)
    try:
        for entry in application.ledger.backwards():
            if text(entry.fields.get("application")) != application.name:
                continue
            if entry.kind == COMPARED:
                known = mapping(entry.fields.get("digests"))
                if known == digests and 0 <= (now - entry.at).total_seconds() < 86_400:
                    return None
                break
    except StrongroomError:
        return None  # whoever judges the ledger tells of it
    fields: Mapping[str, Any] = {"digests": digests}  # Any: JSON values
    recorded = application.record(COMPARED, fields)
    return recorded if isinstance(recorded, Finding) else None


def _digests(digester: Digester, references: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Of those that lead anywhere from here."""
    found: dict[str, str] = {}
    for one in references:
        with contextlib.suppress(StrongroomError):
            found[digester.id_of(one)] = digester.digest(one, read_secret(one))
    return found
