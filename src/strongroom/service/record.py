"""What a record of a restore, proof or drill holds beside its verdict.

So that somebody who was not there can judge it later: what was read and from where, by which
programs, under which settings.

Records stay small: of many findings the worst are kept, and the others are counted. No secret gets
in (invariant I6): locations and settings are recorded as they are printed, without credentials.
"""

from __future__ import annotations

import platform
import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strongroom import __version__
from strongroom.model import Finding, Severity
from strongroom.service.application import Application
from strongroom.service.configuration import config_digest
from strongroom.service.masking import cut
from strongroom.service.rendering import time_json
from strongroom.service.selection import Candidate

MOST_FINDINGS: Final = 40
_WORST_FIRST: Final = (Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE)
_LOGIN: Final = re.compile(r"//[^/@\s]*@")


def identity(source: str, candidate: Candidate | None) -> dict[str, Any]:  # Any: JSON values
    """Which snapshot a record is about, and where it was read. The tree is the same in every copy
    of a capture."""
    fields: dict[str, Any] = {
        "source": source,
        "source_kind": None,
        "repository": None,
        "location": None,
        "snapshot": None,
        "tree": None,
        "point": None,
        "captured_at": None,
    }
    if candidate is not None:
        snapshot = candidate.snapshot
        fields |= {
            "source_kind": snapshot.kind,
            "repository": candidate.repository.name,
            "location": _LOGIN.sub("//", candidate.repository.location),
            "snapshot": snapshot.id,
            "tree": snapshot.tree,
            "point": snapshot.point,
            "captured_at": time_json(snapshot.time),
        }
        if snapshot.is_imported:  # how what is captured today comes back is another question
            fields["imported"] = True
    return fields


def circumstances(
    application: Application, versions: Mapping[str, str]
) -> dict[str, Any]:  # Any: JSON values
    """By which programs it was done, and a digest of the settings in force."""
    return {
        "versions": {
            "strongroom": __version__,
            "python": platform.python_version(),
            "host": socket.gethostname(),
            **versions,
        },
        "config_digest": config_digest(application),
    }


def noted(findings: Sequence[Finding]) -> dict[str, Any]:  # Any: JSON values
    """The findings for a record, the worst first, and how many of each severity were left out."""
    ordered = sorted(findings, key=lambda one: _WORST_FIRST.index(one.severity))
    left_out = Counter(one.severity.value for one in ordered[MOST_FINDINGS:])
    return {
        "findings": [
            {name: cut(text) for name, text in one.as_json().items()}
            for one in ordered[:MOST_FINDINGS]
        ],
        "findings_left_out": dict(left_out),
    }
