"""What `recovery` says about sources, secrets, and what the recovered application is asked.

Looks at plain values, as `relation` does: what has the wrong shape is a fault already, and is
passed over here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from strongroom.config.application_relation import (
    check_kinds,
    check_links,
    check_texts,
    check_workflow,
)
from strongroom.config.fault import Fault, Path, nearest
from strongroom.config.placeholder import DATABASE_NAMES, RECOVERY_NAMES, SECRET

_HERE: Final = "recovery"
_TREES: Final = ("files", "git")
# What is done to code that was restored; commands run without any, in the directory, too.
_IN_CODE: Final = ("render", "links", "checkout")
# Words of a command are seen by everybody on the host.
_COMMANDS: Final = ("prepare", "start", "serve", "smoke")
_PRIVATE: Final = frozenset({"database.password", "database.url"})
# What is asked where nothing is said here.
_INHERITED: Final = ("http", "workflow")


def check_recovery(
    given: object, sources: Mapping[str, Mapping[str, object]], application_check: object
) -> Iterator[Fault]:
    """The faults of the section, with their places."""
    if not isinstance(given, dict):
        return
    inherited = application_check if isinstance(application_check, dict) else {}
    if _runs(given):
        needs_code = any(given.get(key) for key in _IN_CODE)
        yield from check_kinds(_HERE, given, sources, needs_code=needs_code)
    yield from check_links(_HERE, given, sources)
    for key, kinds in (("databases", ("postgres",)), ("folders", _TREES), ("ownership", _TREES)):
        yield from _check_names(key, given.get(key), sources, kinds)
    yield from _check_folders(given, sources)
    known = RECOVERY_NAMES | {n for n, body in sources.items() if body.get("kind") in _TREES}
    if any(body.get("kind") == "postgres" for body in sources.values()):
        known |= DATABASE_NAMES
    secrets = {
        f"{SECRET}{name}"
        for section in (inherited, given)
        for name in _mapping(section.get("secrets"))
    }
    for name in _COMMANDS:
        yield from check_texts((_HERE, name), given.get(name), known, secrets | _PRIVATE)
    for name in ("environment", "render", "http"):
        yield from check_texts((_HERE, name), given.get(name), known | secrets, frozenset())
    yield from check_workflow(_HERE, given.get("workflow"), known | secrets)
    yield from _check_asked(given, inherited, known | secrets)


def _runs(given: Mapping[str, object]) -> bool:
    """Whether anything is done with the code or the database besides restoring them."""
    return any(given.get(key) for key in (*_COMMANDS, *_IN_CODE, "environment"))


def _check_names(
    key: str,
    given: object,
    sources: Mapping[str, Mapping[str, object]],
    kinds: tuple[str, ...],
) -> Iterator[Fault]:
    fitting = [name for name, body in sources.items() if body.get("kind") in kinds]
    for name in map(str, _mapping(given)):
        path: Path = (_HERE, key, name)
        if name not in sources:
            yield Fault(path, "there is no source of this name", nearest=nearest(name, fitting))
        elif name not in fitting:
            yield Fault(path, f"this must name a source of kind {' or '.join(kinds)}")


def _check_folders(
    given: Mapping[str, object], sources: Mapping[str, Mapping[str, object]]
) -> Iterator[Fault]:
    """A tree that lies in another one would be a part of it, and neither could be proven."""
    folders = _mapping(given.get("folders"))
    places = {
        name: PurePosixPath(str(folders.get(name, name)))
        for name, body in sources.items()
        if body.get("kind") in _TREES
    }
    for name, place in places.items():
        path: Path = (_HERE, "folders", name)
        if place.parts[:1] in ((), (".strongroom",)):
            yield Fault(path, "this is no folder of its own; .strongroom is for the journal")
        for other, outer in places.items():
            inside = place.is_relative_to(outer)
            if other != name and inside and (place != outer or name > other):
                message = f"it would lie in that of source {other}; put a link there with `links`"
                yield Fault(path, message)


def _check_asked(
    given: Mapping[str, object], inherited: Mapping[str, object], known: frozenset[str] | set[str]
) -> Iterator[Fault]:
    """Requests need somebody to ask, and those of `application_check` may need a sandbox."""
    asked = [key for key in _INHERITED if given.get(key)]
    if given.get("url") is None:
        if asked:
            yield Fault((_HERE, asked[0]), "url is missing: where does the application answer?")
        return
    for key in _INHERITED:
        if given.get(key):
            continue
        check = check_workflow if key == "workflow" else _check_http
        for fault in check("application_check", inherited.get(key), known):
            message = f"those of application_check don't fit here: {fault.message}"
            yield Fault((_HERE, key), message)
            break


def _check_http(here: str, given: object, known: frozenset[str] | set[str]) -> Iterator[Fault]:
    yield from check_texts((here, "http"), given, known, frozenset())


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
