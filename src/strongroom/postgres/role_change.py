"""Other roles in a schema script: the captured ones under the names that they have on a target.

A role may have another name there (`--role OLD=NEW`), or not be there at all. Then what belonged to
it stays with the role that restores, what was granted to it is left out, and a policy that names
others besides goes on for these: somebody who isn't there cannot be let in or kept out. Each such
change is told. Changes nothing but names of roles; pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from strongroom.model import Finding, finding
from strongroom.postgres.entry_subject import subject_of
from strongroom.postgres.schema_script import Entry, tokens
from strongroom.postgres.statement import quote_name

__all__ = ["RoleChange", "change_roles"]

_NAME: Final = r'("(?:[^"]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_OWNER: Final = re.compile(rf"(ALTER .* OWNER TO ){_NAME}(;\s*)", re.DOTALL | re.ASCII)
_GRANT: Final = re.compile(
    rf"((?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES)\b.* (?:TO|FROM) ){_NAME}"
    rf"( WITH GRANT OPTION)?(?: GRANTED BY {_NAME})?(;\s*)",
    re.DOTALL | re.ASCII,
)
_DEFAULTS_OF: Final = re.compile(
    rf"(ALTER DEFAULT PRIVILEGES FOR ROLE ){_NAME}(.*)", re.DOTALL | re.ASCII
)
_SESSION: Final = re.compile(rf"(SET SESSION AUTHORIZATION ){_NAME}(;\s*)", re.ASCII)
_MAPPING: Final = re.compile(rf"(CREATE USER MAPPING FOR ){_NAME}(.*)", re.DOTALL | re.ASCII)
_RESET: Final = "RESET SESSION AUTHORIZATION"
_EVERYBODY: Final = frozenset({"PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"})
_POLICY_ENDS: Final = frozenset({"USING", "WITH", ";"})


@dataclass(frozen=True, slots=True)
class RoleChange:
    """Roles by captured name: those with `other` names, and those that are `absent`; `unheld` are
    there, but what belonged to them cannot be given to them by `own`, the role that restores."""

    own: str
    other: Mapping[str, str] = field(default_factory=dict)
    absent: Collection[str] = ()
    unheld: Collection[str] = ()

    @property
    def is_none(self) -> bool:
        """Whether every role is what and where it was."""
        return not (self.other or self.absent or self.unheld)

    def owner_of(self, captured: str) -> str:
        """To whom what belonged to a role goes."""
        if captured in self.other:
            return self.other[captured]
        return self.own if captured in self.absent or captured in self.unheld else captured

    def told_owner(self, captured: str) -> str:
        """Why something does not go to whom it belonged."""
        if captured in self.absent:
            return f"it belonged to {captured}, a role that is not here; it belongs to {self.own}"
        why = f"which {self.own} may not act for"
        return f"it belonged to {captured}, {why}; it belongs to {self.own}"


def change_roles(entry: Entry, change: RoleChange) -> tuple[Entry, list[Finding]]:
    """The entry as the target can have it, and what was changed or left out of it."""
    if change.is_none:
        return entry, []
    subject = subject_of(entry)
    kept: list[str] = []
    told: dict[str, Finding] = {}
    skipping = False
    for statement in entry.statements:
        if statement.startswith(_RESET):
            if not skipping:
                kept.append(statement)
            skipping = False
            continue
        changed, finding_ = _changed(statement, entry.kind, subject, change)
        if finding_ is not None:
            told.setdefault(finding_.message, finding_)
        if changed is None and _SESSION.fullmatch(statement):
            skipping = True
        if changed is not None and not skipping:
            kept.append(changed)
    return replace(entry, statements=tuple(kept)), list(told.values())


def _changed(
    statement: str, kind: str, subject: str, change: RoleChange
) -> tuple[str | None, Finding | None]:
    """The statement with the roles that the target has; None when it is to be left out."""
    if owner := _OWNER.fullmatch(statement):
        name = _plain(owner[2])
        if name in change.absent or name in change.unheld:
            return None, finding("target-owner", subject, change.told_owner(name))
        return owner[1] + _renamed(owner[2], change) + owner[3], None
    if kind in ("ACL", "DEFAULT ACL"):
        return _changed_grant(statement, subject, change)
    if kind == "USER MAPPING" and (mapping := _MAPPING.fullmatch(statement)):
        name = _plain(mapping[2])
        if name in change.absent:
            message = f"it is for {name}, a role that is not here; it is left out"
            return None, finding("target-grant", subject, message)
        return mapping[1] + _renamed(mapping[2], change) + mapping[3], None
    if kind == "POLICY" and statement.startswith("CREATE POLICY"):
        return _changed_policy(statement, subject, change)
    return statement, None


def _changed_grant(
    statement: str, subject: str, change: RoleChange
) -> tuple[str | None, Finding | None]:
    if session := _SESSION.fullmatch(statement):
        name = _plain(session[2])
        if name in change.absent:
            message = f"{name}, a role that is not here, had granted it; it is left out"
            return None, finding("target-grant", subject, message)
        return session[1] + _renamed(session[2], change) + session[3], None
    if defaults := _DEFAULTS_OF.fullmatch(statement):
        name = _plain(defaults[2])
        if name in change.absent or name in change.unheld:
            why = "is not here" if name in change.absent else f"{change.own} may not act for"
            message = f"{name}, a role that {why}, had set them; they are left out"
            return None, finding("target-grant", subject, message)
        statement = defaults[1] + _renamed(defaults[2], change) + defaults[3]
    grant = _GRANT.fullmatch(statement)
    if grant is None:
        return statement, None
    name = _plain(grant[2])
    if name in change.absent:
        if statement.startswith("REVOKE") or " REVOKE " in statement:
            return None, None
        message = f"{name}, a role that is not here, had rights; they are left out"
        return None, finding("target-grant", subject, message)
    by = f" GRANTED BY {_renamed(grant[4], change)}" if grant[4] else ""
    return grant[1] + _renamed(grant[2], change) + (grant[3] or "") + by + grant[5], None


def _changed_policy(
    statement: str, subject: str, change: RoleChange
) -> tuple[str | None, Finding | None]:
    """Roles stand after a bare TO, in front of what the policy says."""
    found = [token for token in tokens(statement) if token.depth == 0]
    begin = next((n for n, token in enumerate(found) if token.text == "TO"), None)
    if begin is None:
        return statement, None
    listed = []
    for token in found[begin + 1 :]:
        if token.text in _POLICY_ENDS or token.text == "(":
            break
        if token.text != ",":
            listed.append(token)
    names = [token.name for token in listed]
    gone = [name for name in names if name in change.absent]
    if gone and len(gone) == len(names):
        message = f"it is for {', '.join(gone)}, not here; it is left out"
        return None, finding("target-grant", subject, message)
    kept = [_renamed(one.text, change) for one in listed if one.name not in change.absent]
    kept = list(dict.fromkeys(kept))  # two roles may have become one
    text = statement[: listed[0].begin] + ", ".join(kept) + statement[listed[-1].end :]
    if not gone:
        return text, None
    message = f"of its roles {', '.join(gone)} is not here; it is for the others"
    return text, finding("target-grant", subject, message)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[:1] == '"' else name


def _renamed(name: str, change: RoleChange) -> str:
    if name in _EVERYBODY:
        return name
    other = change.other.get(_plain(name))
    return name if other is None else quote_name(other).encode().decode("latin-1")
