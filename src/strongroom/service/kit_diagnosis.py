"""The doctor's look at the recovery kit: would one that is made now be enough on the worst day?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.config import Settings, read_secret
from strongroom.config.escrow import Need, access_files, access_needs, lacking, needs
from strongroom.config.value import location_scheme
from strongroom.errors import StrongroomError
from strongroom.report.field import mappings, text
from strongroom.report.wording import count
from strongroom.service.application import Application
from strongroom.service.doctor import Check, State
from strongroom.service.kit import RECORD
from strongroom.service.masking import masked_reference

if TYPE_CHECKING:
    from strongroom.evidence import Entry

__all__ = ["kit_checks"]

_TITLE: Final = "kit"
_MAKE: Final = "Run `strongroom kit create`."
_BEGIN: Final = "Name it in `kit.escrow`, then run `strongroom kit create`."
_ADD: Final = "Add it to `kit.escrow`, then run `strongroom kit create`."
# Which settings let us into a store, of which one has to be there.
_KEYS: Final = {"s3": ("access_key",), "sftp": ("identity", "password")}


def kit_checks(application: Application) -> Iterator[Check]:
    """Lines about the kit, and about there being none."""
    settings = application.settings
    if settings.kit is None:
        yield from _none_at_all(settings)
        return
    found = [*_lacking(settings), *_unreadable(settings), *_access(settings), *_made(application)]
    if not found:
        told = f"holds all that a recovery refers to, {len(settings.kit.escrow)} in escrow"
        found = [Check(_TITLE, State.FINE, told)]
    yield from found


def _none_at_all(settings: Settings) -> Iterator[Check]:
    """A recovery that is configured and asks for secrets would end on an empty machine; where
    nobody has said how the application comes back, somebody may keep keys elsewhere by hand."""
    wanted = needs(settings)
    if not wanted:
        return
    first = wanted[0] if settings.recovery is None else _telling(wanted)
    more = len(dict.fromkeys(one.reference for one in wanted)) - 1
    told = f"{first.setting} needs {masked_reference(first.reference)}"
    told += f" (and a recovery {count(more, 'other secret')})" if more else ""
    told += ", and no `kit` is configured that holds it"
    if settings.recovery is None:
        yield Check(_TITLE, State.WARNING, f"{told}: keep it where it survives", _BEGIN)
        return
    yield Check(_TITLE, State.FAILED, told, _BEGIN, "secret-not-escrowed")


def _telling(wanted: tuple[Need, ...]) -> Need:
    """What the application itself asks for before what repositories do."""
    return next((one for one in wanted if one.setting.startswith("recovery.")), wanted[0])


def _lacking(settings: Settings) -> Iterator[Check]:
    for one in lacking(settings):
        told = f"{one.setting} needs {masked_reference(one.reference)}, which no kit holds"
        yield Check(_TITLE, State.FAILED, told, _ADD, "secret-not-escrowed")


def _unreadable(settings: Settings) -> Iterator[Check]:
    """Without one of them no kit can be made."""
    assert settings.kit is not None, "there is a kit"
    for one in settings.kit.escrow:
        try:
            read_secret(one)
        except StrongroomError as error:
            yield Check(_TITLE, State.FAILED, str(error), error.hint, error.code)


def _access(settings: Settings) -> Iterator[Check]:
    """What lets us into the stores, which somebody may want to keep elsewhere."""
    assert settings.kit is not None, "there is a kit"
    if not settings.kit.credentials:
        escrow = settings.kit.escrow
        apart = [one for one in access_needs(settings) if one.reference not in escrow]
        for name in dict.fromkeys(
            one.setting.split(".")[1] for one in (*apart, *access_files(settings))
        ):
            told = f"what lets us into the store of repository {name} is not in it"
            remedy = "Set `kit.credentials: true`, or keep it where it survives."
            yield Check(_TITLE, State.WARNING, told, remedy)
    for name, repository in settings.repositories.items():
        keys = _KEYS.get(location_scheme(repository.location), ())
        if keys and not any(getattr(repository.access, key) for key in keys):
            told = f"what lets us into the store of repository {name} stands elsewhere on this host"
            remedy = f"Write it into `repositories.{name}.access`, by reference."
            yield Check(_TITLE, State.WARNING, told, remedy)


def _made(application: Application) -> Iterator[Check]:
    """Whether the newest kit is of these very repositories."""
    newest = _newest(application)
    if newest is None:
        yield Check(_TITLE, State.WARNING, "no kit was made yet", _MAKE)
        return
    for one in mappings(newest.fields.get("repositories")):
        name = text(one.get("repository"))
        if name not in application.settings.repositories:
            continue
        with contextlib.suppress(StrongroomError):  # the repository's own line tells
            if application.repository(name).id != text(one.get("id")):
                told = f"repository {name} was made anew since the newest kit was made"
                yield Check(_TITLE, State.FAILED, told, _MAKE, "kit-mismatch")


def _newest(application: Application) -> Entry | None:
    with contextlib.suppress(StrongroomError):  # the ledger's own line tells
        for entry in application.ledger.backwards():
            if entry.kind == RECORD and entry.fields.get("application") == application.name:
                return entry
    return None
