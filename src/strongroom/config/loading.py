"""Finds the configuration, reads it, and returns it valid or tells every fault at once.

Resolves no secret and opens no connection: a configuration can be checked on any machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from strongroom.config.description import names_at
from strongroom.config.document import Document, read_document
from strongroom.config.fault import ConfigFaultsError, Fault, from_pydantic
from strongroom.config.relation import check_relations
from strongroom.config.settings import Settings
from strongroom.errors import ConfigError

FILE_NAME: Final = "strongroom.yaml"
_SIZE_LIMIT_BYTES: Final = 2**20


def search_places(environ: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Where the configuration is looked for when no file is named, first match first."""
    environ = os.environ if environ is None else environ
    if named := environ.get("STRONGROOM_CONFIG"):
        yield Path(named)
        return  # a name that was given and doesn't exist is an error, not a reason to look on
    yield Path(FILE_NAME)
    if home := environ.get("HOME"):
        yield Path(home) / ".config" / "strongroom" / FILE_NAME
    yield Path("/etc/strongroom") / FILE_NAME


def find_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The configuration file, absolute. ConfigError `config-missing` names where it was sought."""
    places = [path] if path is not None else list(search_places(environ))
    for place in places:
        if place.is_file():
            return place.absolute()
    sought = ", ".join(str(place) for place in places)
    raise ConfigError(f"no such file: {sought}", subject="configuration", code="config-missing")


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the file at `path`, or of the first one found.

    Relative paths in the file are seen from the file's folder. ConfigError `config-missing` when
    there is none; `ConfigFaultsError` with every fault when it isn't valid.
    """
    file = find_config(path, environ)
    return parse_settings(read_config(file), base=file.parent, subject=str(file))


def parse_settings(
    text: str, *, base: Path | None = None, subject: str = "configuration"
) -> Settings:
    """The settings in the text; `base` is the folder that relative paths are seen from."""
    document = read_document(text)
    faults = list(document.faults)
    if not faults or document.value is not None:
        settings = _validate(document, base or Path.cwd(), faults)
        if settings is not None and not faults:
            return settings
    raise ConfigFaultsError(
        (
            Fault(
                fault.path,
                fault.message,
                document.line(fault.path) if fault.line is None else fault.line,
                fault.nearest,
            )
            for fault in faults
        ),
        subject=subject,
    )


def _validate(document: Document, base: Path, faults: list[Fault]) -> Settings | None:
    if not isinstance(document.value, dict):
        empty = document.value is None
        faults.append(
            Fault((), "the file is empty" if empty else "settings (name: value) are wanted here")
        )
        return None
    # A section that was opened and left empty is as good as not there.
    given = {name: body for name, body in document.value.items() if body is not None}
    faults.extend(check_relations(given, base))
    try:
        return Settings.model_validate(given, context={"base": base})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=True)
        faults.extend(from_pydantic(details, given, lambda path: names_at(path, given)))
        return None


def read_config(file: Path) -> str:
    """The text of a configuration file; ConfigError when it is none, or can't be read."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", subject=str(file), hint="Let this user read it."
        ) from error
    if len(content) > _SIZE_LIMIT_BYTES:
        raise ConfigError("larger than 1 MiB, so not a configuration", subject=str(file))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigFaultsError(
            [Fault((), "this is not UTF-8", line=line)], subject=str(file)
        ) from None
