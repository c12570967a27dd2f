"""What is written into a restored application: settings from templates, and links.

Names that come out of a restored tree are never trusted: nothing is written through a link that
leads out of it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from strongroom.config import kept_bytes
from strongroom.config.placeholder import fill_in
from strongroom.config.value import is_reference
from strongroom.errors import SourceError
from strongroom.recovery.secrecy import secrets_in

__all__ = ["link_folders", "place_inside", "read_templates", "render_files", "secrets_of"]


def secrets_of(given: Mapping[str, str]) -> list[str]:
    """What may be secret in the templates that are files of their own, as far as those can be
    read."""
    found: list[str] = []
    for name, one in given.items():
        if is_reference(one) and one.startswith("file:"):
            with contextlib.suppress(SourceError):
                found += secrets_in(read_templates({name: one})[name])
    return found


def read_templates(given: Mapping[str, str]) -> dict[str, str]:
    """The texts of templates, by the place of what they make: each is the text itself or
    file:PATH. SourceError for one that cannot be read."""
    return {
        name: _read_template(one) if is_reference(one) and one.startswith("file:") else one
        for name, one in given.items()
    }


def render_files(
    code: Path,
    templates: Mapping[str, str],
    values: Mapping[str, str],
    owner: tuple[int, int] | None = None,
) -> list[Path]:
    """Write the files that are made from texts with placeholders, readable by their owner alone:
    they may hold secrets. Returns where they are; UnknownNameError for a placeholder without a
    value."""
    written = []
    for name, text in templates.items():
        place = place_inside(code, name)
        if place.is_symlink() or place.is_dir():
            raise SourceError(f"{name} is no plain file in the restored code", subject="render")
        place.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(place, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(fill_in(text, values))
        if owner is not None:
            os.chown(place, *owner)
        written.append(place)
    return written


def link_folders(code: Path, links: Mapping[str, str], folders: Mapping[str, Path]) -> None:
    """Let places in the code lead to the folders of restored sources."""
    for name, source in links.items():
        place = place_inside(code, name)
        if place.is_symlink():
            place.unlink()
        elif place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        elif place.exists():
            raise SourceError(f"the restored code holds something at {name}", subject="links")
        place.symlink_to(folders[source])


def place_inside(code: Path, name: str) -> Path:
    """The place of this name in the code, its folder made; no link leads out on the way."""
    place = code / name
    existing = next(one for one in place.parents if one.exists())
    if not existing.resolve().is_relative_to(code.resolve()):
        raise SourceError(f"{name} leads out of the restored code", subject=str(code))
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _read_template(template: str) -> str:
    place = Path(template.removeprefix("file:"))
    try:
        kept = kept_bytes(template)
        return place.read_text(encoding="utf-8") if kept is None else kept.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourceError(f"the template cannot be read: {reason}", subject=str(place)) from None
