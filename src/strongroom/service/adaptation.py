"""What a restore adapts to its target: other roles in a database, another owner of files.

Parses what is written on the command line and tells the source; what then comes of it is the
source's matter. A target that such words do not fit is a `usage` error.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from strongroom.errors import ConfigError, StrongroomError
from strongroom.model import Finding, finding
from strongroom.postgres.replacement import name_beside
from strongroom.repository import SnapshotView
from strongroom.sources import Source

__all__ = ["adapt", "fitness_of", "parse_owner", "parse_roles"]


def adapt(source: Source, roles: Sequence[str], owner: str | None) -> None:
    """The source restores and proves with these words of the command line from here on.

    ConfigError `usage` for what does not fit its kind, or says nothing.
    """
    from strongroom.sources.database import DatabaseSource
    from strongroom.sources.files import FilesSource

    if roles:
        if not isinstance(source, DatabaseSource):
            raise _usage("--role", "there are no roles in it", source.name)
        source.map_roles(parse_roles(roles))
    if owner is not None:
        if not isinstance(source, FilesSource):
            raise _usage("--owner", "it is for files; use --role for a database", source.name)
        source.own_by(*parse_owner(owner))


def parse_roles(words: Sequence[str]) -> dict[str, str]:
    """`OLD=NEW` of each word; ConfigError `usage` for another form or a role named twice."""
    found: dict[str, str] = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not (old and sign and new):
            raise _usage("--role", f"{word!r} is not of the form OLD=NEW", "--role")
        if old in found:
            raise _usage("--role", f"{old} is named twice", "--role")
        found[old] = new
    return found


def parse_owner(text: str) -> tuple[int, int]:
    """User and group, by name or number, of `USER:GROUP` or `USER`, whose group it then is."""
    user, sign, group = text.partition(":")
    try:
        if user.isdecimal():
            uid = int(user)
            gid = int(group) if group.isdecimal() else _group(group) if sign else _own_group(uid)
        else:
            entry = _user(user)
            uid = entry.pw_uid
            gid = int(group) if group.isdecimal() else _group(group) if sign else entry.pw_gid
    except KeyError as error:
        raise _usage("--owner", str(error.args[0]), "--owner") from None
    return uid, gid


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise KeyError(f"this host knows no user {name!r}") from None


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise KeyError(f"this host knows no group {name!r}") from None


def _own_group(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        raise KeyError(f"this host knows no user {uid}, so name the group, too") from None


def _usage(option: str, message: str, subject: str) -> ConfigError:
    hints = {
        "--role": "Write --role OLD=NEW for each captured role that is to be another one.",
        "--owner": "Write --owner USER:GROUP, by names or numbers that this host knows.",
    }
    return ConfigError(message, subject=subject, code="usage", hint=hints[option])


def fitness_of(
    source: Source, view: SnapshotView, target: str, *, replaces: bool
) -> tuple[StrongroomError | None, tuple[Finding, ...]]:
    """Why this target would not take the snapshot, None when it would; and what would come back
    otherwise than it was. What `replaces` something comes beside it first. Writes nothing."""
    from strongroom.sources.database import DatabaseSource, connection_to
    from strongroom.sources.files import refuse_unwritable

    if isinstance(source, DatabaseSource):
        if replaces:
            address = connection_to(target)
            beside = name_beside(address.database, "_restored_preview")
            target = address.with_database(beside).conninfo()
        fitness = source.fitness(view, target)
        return fitness.obstacle, fitness.findings
    try:
        refuse_unwritable(Path(target))
    except StrongroomError as error:
        return error, ()
    found: tuple[Finding, ...] = ()
    if os.geteuid():
        message = "this user is not root: what belongs to others will belong to this user"
        found = (finding("metadata-unset", source.name, message),)
    return None, found
