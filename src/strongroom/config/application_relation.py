"""What `application_check` says about sources, secrets and what a workflow takes on its way.

Looks at plain values, as `relation` does: what has the wrong shape is a fault already, and is
passed over here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from strongroom.config.fault import Fault, Path, nearest
from strongroom.config.placeholder import ANSWER, DATABASE_NAMES, OWN_NAMES, SECRET, names_in

_HERE: Final = "application_check"
# Settings that name a source, and of what kind it must be.
_SOURCE_OF_KIND: Final = {"code": "git", "database": "postgres"}
# Words of a command are seen by everybody on the host.
_COMMANDS: Final = ("start", "prepare")


def check_application(
    given: object, sources: Mapping[str, Mapping[str, object]]
) -> Iterator[Fault]:
    """The faults of the section, with their places."""
    if not isinstance(given, dict):
        return
    yield from check_kinds(_HERE, given, sources)
    yield from check_links(_HERE, given, sources)
    folders = {name for name, body in sources.items() if body.get("kind") in ("files", "git")}
    known = OWN_NAMES | folders
    if any(body.get("kind") == "postgres" for body in sources.values()):
        known |= DATABASE_NAMES
    secrets = given.get("secrets")
    private = {f"{SECRET}{name}" for name in secrets} if isinstance(secrets, dict) else set()
    for name in _COMMANDS:
        yield from check_texts((_HERE, name), given.get(name), known, private)
    for name in ("environment", "render", "http"):
        yield from check_texts((_HERE, name), given.get(name), known | private, set())
    yield from check_workflow(_HERE, given.get("workflow"), known | private)


def check_kinds(
    here: str,
    given: Mapping[str, object],
    sources: Mapping[str, Mapping[str, object]],
    *,
    needs_code: bool = True,
) -> Iterator[Fault]:
    """The faults of a section that says, or leaves open, which source is code or database."""
    for key, kind in _SOURCE_OF_KIND.items():
        fitting = [name for name, body in sources.items() if body.get("kind") == kind]
        name = given.get(key)
        if isinstance(name, str):
            if name not in sources:
                yield Fault(
                    (here, key), "there is no source of this name", nearest=nearest(name, fitting)
                )
            elif name not in fitting:
                yield Fault((here, key), f"this must name a source of kind {kind}")
        elif len(fitting) > 1:
            yield Fault((here,), f"several sources are of kind {kind}; say which one: {key}")
        elif key == "code" and not fitting and needs_code:
            yield Fault((here,), "no source is of kind git, so there is no code to start")


def check_links(
    here: str, given: Mapping[str, object], sources: Mapping[str, Mapping[str, object]]
) -> Iterator[Fault]:
    """The faults of a section's links, which lead to restored trees."""
    links = given.get("links")
    for place, name in links.items() if isinstance(links, dict) else ():
        if not isinstance(name, str):
            continue
        path: Path = (here, "links", str(place))
        if name not in sources:
            yield Fault(path, "there is no source of this name", nearest=nearest(name, sources))
        elif sources[name].get("kind") not in ("files", "git"):
            yield Fault(path, "this must name a source of kind files or git")


def check_workflow(here: str, given: object, known: AbstractSet[str]) -> Iterator[Fault]:
    """The faults of a section's workflow: each step may use what earlier ones have taken."""
    taken: set[str] = set()
    for number, step in enumerate(given if isinstance(given, list) else ()):
        yield from check_texts((here, "workflow", number), step, known | taken, set())
        takes = step.get("take") if isinstance(step, dict) else None
        if isinstance(takes, dict):
            taken |= {f"{ANSWER}{name}" for name in takes}


def check_texts(
    path: Path, given: object, known: AbstractSet[str], private: AbstractSet[str]
) -> Iterator[Fault]:
    """The faults of placeholders in a value and all that it holds."""
    if isinstance(given, str):
        for name in names_in(given):
            if name in private:
                message = f"{{{name}}}: everybody sees a command's words; use `environment`"
                yield Fault(path, message)
            elif name not in known:
                message = f"nothing is known by the name {{{name}}}; {{{{{name}}}}} stays as it is"
                yield Fault(path, message, nearest=nearest(name, known))
    elif isinstance(given, dict):
        for key, item in given.items():
            if key != "take":
                yield from check_texts((*path, str(key)), item, known, private)
    elif isinstance(given, list):
        for number, item in enumerate(given):
            yield from check_texts((*path, number), item, known, private)
