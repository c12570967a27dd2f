"""What the ledger tells of recovery kits: which were made, what they hold, which were drilled.

Values are known by keyed digests alone. A record that says nothing counts for nothing (I5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from strongroom.model import Verdict
from strongroom.report.field import mapping, mappings, text, texts
from strongroom.report.field import verdict as read_verdict

__all__ = [
    "KitDrill",
    "KitMade",
    "KitScope",
    "KitSecret",
    "KitSight",
    "drilled",
    "made",
    "misled",
    "sight",
]


_OTHER_FILES: Final = frozenset({"kit-damaged", "kit-locked", "kit-mismatch", "kit-missing"})


@dataclass(frozen=True, slots=True)
class KitMade:
    """A kit: `secrets` are the digests of values by those of references, `shown` what people call
    them, `repositories` locations by name, `sections` digests of the configuration, `file` the name
    of its file, `folder` where that was written and `digest` its SHA-256."""

    seq: int
    at: datetime
    kit: str
    secrets: Mapping[str, str]
    shown: Mapping[str, str]
    repositories: Mapping[str, str]
    sections: Mapping[str, str]
    file: str = ""
    digest: str = ""
    sealed_for: tuple[str, ...] = ()
    folder: str = ""
    credentials: bool = False


@dataclass(frozen=True, slots=True)
class KitSight:
    """What secrets were when somebody who has them looked: digests by those of references."""

    seq: int
    at: datetime
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KitDrill:
    """A lost-key drill: what came of it, and why. `kit` is empty where the file did not open;
    `by_hand` says that somebody has named the file, and may have misled it."""

    seq: int
    at: datetime
    kit: str
    verdict: Verdict
    because: str
    file: str = ""
    digest: str = ""
    by_hand: bool = False

    def is_of(self, made: KitMade) -> bool:
        """Whether it was of this kit. What does not open is known by its digest; the file that the
        drill took by itself also by its name, since it may be damaged."""
        if self.kit:
            return self.kit == made.kit
        if self.digest and self.digest == made.digest:
            return True
        return not self.by_hand and bool(self.file) and self.file == made.file


@dataclass(frozen=True, slots=True)
class KitSecret:
    """A secret that is to be in the kit: the digest of its reference, and what people call it."""

    id: str
    shown: str


@dataclass(frozen=True, slots=True)
class KitScope:
    """What is configured of a kit. `digests` are of the values that can be read here and now;
    without `has_key` none can be compared."""

    secrets: tuple[KitSecret, ...]
    digests: Mapping[str, str]
    repositories: Mapping[str, str]
    sections: Mapping[str, str]
    drill_age: timedelta
    has_key: bool


# Any below: JSON values, whatever a line holds


def made(seq: int, at: datetime, fields: Mapping[str, Any]) -> KitMade:
    """The kit that a record tells of."""
    secrets = list(mappings(fields.get("escrow")))
    return KitMade(
        seq,
        at,
        text(fields.get("kit")),
        {text(one.get("id")): text(one.get("digest")) for one in secrets},
        {text(one.get("id")): text(one.get("secret")) for one in secrets},
        {
            text(one.get("repository")): text(one.get("location"))
            for one in mappings(fields.get("repositories"))
        },
        _texts(fields.get("sections")),
        text(fields.get("file")),
        text(fields.get("sha256")),
        tuple(texts(fields.get("sealed_for"))),
        text(fields.get("folder")),
        fields.get("credentials") is True,
    )


def sight(seq: int, at: datetime, fields: Mapping[str, Any]) -> KitSight:
    """The digests that a record holds."""
    return KitSight(seq, at, _texts(fields.get("digests")))


def drilled(seq: int, at: datetime, fields: Mapping[str, Any]) -> KitDrill:
    """The drill that a record tells of; without a verdict nothing is known."""
    failures = [
        text(one.get("message"))
        for one in mappings(fields.get("findings"))
        if one.get("severity") in ("failure", "unknown")
    ]
    verdict = read_verdict(fields.get("verdict")) or Verdict.UNKNOWN
    return KitDrill(
        seq, at, text(fields.get("kit")), verdict, "; ".join(failures[:2]),
        text(fields.get("file")), text(fields.get("sha256")), fields.get("by_hand") is True,
    )  # fmt: skip


def misled(fields: Mapping[str, Any], code: str) -> bool:
    """Whether the record of a command `kit drill` that ended with this error tells that somebody
    has named a file which is not the kit that he meant."""
    named = texts(fields.get("arguments"))[:1]
    return bool(named) and not named[0].startswith("-") and code in _OTHER_FILES


def _texts(value: Any) -> dict[str, str]:
    return {str(name): text(one) for name, one in mapping(value).items()}
