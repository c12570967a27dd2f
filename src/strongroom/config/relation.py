"""What one setting says about another: names that must exist, places that must differ.

Looks at plain values as they stand in the file, so that these faults are told together with all
others; whatever has the wrong shape is passed over here, because it is already a fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path as Folder
from typing import Final

from strongroom.config.alert_relation import check_alerts
from strongroom.config.application_relation import check_application
from strongroom.config.fault import Fault, Path, nearest
from strongroom.config.kit_relation import check_kit
from strongroom.config.recovery_relation import check_recovery
from strongroom.config.value import is_reference, location_scheme, parse_duration

# What each kind of store understands of `access`.
ACCESS_FIELDS = {
    "s3": ("access_key", "secret_key", "session_token", "region", "profile", "ca_file"),
    "rest": ("user", "password", "ca_file"),
    "sftp": ("identity", "password", "known_hosts"),
}

_METRICS_SUFFIX: Final = ".prom"
_OBJECT_LOCK_FIELDS: Final = ("object_lock", "object_lock_mode")
_LONGEST_LOCK: Final = timedelta(days=36500)

# Which settings of which lists name a source, and of what kind it must be.
_SOURCE_NAMES = (
    ("queries", "source", "postgres"),
    ("probes", "source", "postgres"),
    ("references", "source", "postgres"),
    ("references", "files", "files"),
)


def check_relations(value: object, base: Folder) -> Iterator[Fault]:
    """The faults between settings of one document, whose relative paths are seen from `base`."""
    root = _mapping(value)
    sources = {name: _mapping(body) for name, body in _mapping(root.get("sources")).items()}
    repositories = {
        name: _mapping(body) for name, body in _mapping(root.get("repositories")).items()
    }
    for name in sources.keys() & repositories.keys():
        yield Fault(
            ("repositories", name),
            "a source has the same name, so retention could mean either; rename one",
        )
    for name in _mapping(root.get("retention")):
        known = {*sources, *repositories}
        if name not in known:
            yield Fault(
                ("retention", name),
                "there is no repository or source of this name",
                nearest=nearest(name, known),
            )
    yield from _check_source_names(root, sources)
    yield from check_application(root.get("application_check"), sources)
    yield from check_recovery(root.get("recovery"), sources, root.get("application_check"))
    yield from check_kit(root.get("kit"))
    yield from check_alerts(root.get("alerts"), {*sources, *repositories})
    metrics = _mapping(root.get("monitoring")).get("metrics_file")
    if isinstance(metrics, str) and not metrics.endswith(_METRICS_SUFFIX):
        message = f"its name must end in {_METRICS_SUFFIX}: node_exporter reads no other file"
        yield Fault(("monitoring", "metrics_file"), message)
    yield from _check_places(sources, repositories, base)
    yield from _check_access(repositories)
    yield from _check_keys(_mapping(root.get("repositories")))
    yield from _check_object_lock(repositories)
    yield from _check_state(root, base)
    copies = root.get("minimum_copies")
    if isinstance(copies, int) and copies > len(repositories) > 0:
        yield Fault(
            ("minimum_copies",), f"there are only {len(repositories)} repositories to hold a copy"
        )


def _check_state(root: Mapping[str, object], base: Folder) -> Iterator[Fault]:
    """Two folders would be one too many."""
    state, folder = root.get("state"), root.get("state_folder")
    if (
        not isinstance(folder, str)
        or not folder
        or (isinstance(state, str) and is_reference(state))
    ):
        return
    if not isinstance(state, str) or _folder(state, base) != _folder(folder, base):
        message = "it belongs to a `state` that names a database; a folder stands in `state` itself"
        yield Fault(("state_folder",), message)


def _check_source_names(
    root: Mapping[str, object], sources: Mapping[str, Mapping[str, object]]
) -> Iterator[Fault]:
    for section, key, kind in _SOURCE_NAMES:
        for place, item in enumerate(_list(root.get(section))):
            name = _mapping(item).get(key)
            path: Path = (section, place, key)
            if not isinstance(name, str):
                continue
            if name not in sources:
                yield Fault(path, "there is no source of this name", nearest=nearest(name, sources))
            elif sources[name].get("kind") != kind:
                yield Fault(path, f"this must name a source of kind {kind}")


def _check_places(
    sources: Mapping[str, Mapping[str, object]],
    repositories: Mapping[str, Mapping[str, object]],
    base: Folder,
) -> Iterator[Fault]:
    """Two copies in one place are one copy; a capture of its own repository never ends."""
    seen: dict[str, str] = {}
    for name, body in repositories.items():
        location = body.get("location")
        if not isinstance(location, str) or not location:
            continue
        scheme = location_scheme(location)
        place = location.rstrip("/") if scheme else _folder(location, base)
        path: Path = ("repositories", name, "location")
        if place in seen:
            yield Fault(path, f"repository {seen[place]} is at the same place: one copy, not two")
        seen.setdefault(place, name)
        if scheme:
            continue
        for source, source_body in sources.items():
            root = source_body.get("path")
            if isinstance(root, str) and root and f"{place}/".startswith(f"{_folder(root, base)}/"):
                yield Fault(path, f"this is inside of source {source}, which would hold itself")


def _check_access(repositories: Mapping[str, Mapping[str, object]]) -> Iterator[Fault]:
    """What a store doesn't understand would be passed over silently."""
    for name, body in repositories.items():
        location, access = body.get("location"), _mapping(body.get("access"))
        if not isinstance(location, str):
            continue
        kind = location_scheme(location)
        known = ACCESS_FIELDS.get(kind, ())
        for key in access:
            if key not in known:
                takes = f"takes {', '.join(known)}" if known else "takes no access settings"
                yield Fault(("repositories", name, "access", key), f"a store of this kind {takes}")
        for one, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
            if kind == "s3" and access.get(one) and not access.get(other):
                yield Fault(("repositories", name, "access", one), f"{other} belongs to it")


def _check_keys(repositories: Mapping[str, object]) -> Iterator[Fault]:
    """A repository opens with its password or, when its key files are lost, its master key."""
    for name, body in repositories.items():
        if not isinstance(body, dict):
            continue
        password, master_key = (body.get(key) is not None for key in ("password", "master_key"))
        if password and master_key:
            message = "password stands here, too; give one of both"
            yield Fault(("repositories", name, "master_key"), message)
        elif not password and not master_key:
            yield Fault(("repositories", name, "password"), "this setting is required")


def _check_object_lock(repositories: Mapping[str, Mapping[str, object]]) -> Iterator[Fault]:
    """A lock that some store doesn't know, or that ends at once, would protect nothing."""
    for name, body in repositories.items():
        location, period = body.get("location"), body.get("object_lock")
        given = [key for key in _OBJECT_LOCK_FIELDS if body.get(key) is not None]
        if isinstance(location, str) and location_scheme(location) != "s3":
            for key in given:
                yield Fault(("repositories", name, key), "only an S3 store locks objects")
            continue
        if given == ["object_lock_mode"]:
            path: Path = ("repositories", name, "object_lock_mode")
            yield Fault(path, "it says how objects are locked; object_lock says for how long")
        if not _is_sensible(period):
            path = ("repositories", name, "object_lock")
            yield Fault(path, "a lock lasts longer than nothing, and a hundred years at most")


def _is_sensible(period: object) -> bool:
    if not isinstance(period, str):
        return True
    try:
        return timedelta(0) < parse_duration(period) <= _LONGEST_LOCK
    except ValueError:
        return True  # what is no duration at all is a fault of its own


def _folder(text: str, base: Folder) -> str:
    return os.path.normpath(base / Folder(text).expanduser()).rstrip("/")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
