"""The registry of findings: one row per code gives severity, meaning, cause and remedy.

docs/FINDINGS.md is generated from these tables, and a code that is not here cannot be reported.
"""

from __future__ import annotations

from typing import Final

from strongroom.findings.database import DATABASE
from strongroom.findings.kind import FindingKind, Severity
from strongroom.findings.recovery import RECOVERY
from strongroom.findings.sources import SOURCES

__all__ = ["FINDING_KINDS", "INCOMPLETE", "FindingKind", "Severity"]

FINDING_KINDS: Final[dict[str, FindingKind]] = {
    kind.code: kind for kind in (*DATABASE, *RECOVERY, *SOURCES)
}

# Warnings after which something that was to be captured is not in the snapshot; docs/OPERATIONS.md
# lists them. All other warnings are advice.
INCOMPLETE: Final = frozenset(
    {
        "code-untracked-missing",
        "coverage-gap",
        "evidence-unrecorded",
        "file-changed",
        "file-unreadable",
        "file-vanished",
        "folder-missing",
        "source-shrunk",
    }
)
