"""What can be protected: one class per kind of source, all with the same few verbs.

This is where repository and PostgreSQL meet: a source knows how its content becomes streams and
trees in a snapshot, how a snapshot becomes content again, and how to prove that both are the same
(invariant I1). It decides nothing about schedules, retention or reports.
"""

from strongroom.sources.protocol import (
    CaptureContext,
    Captured,
    Proof,
    RestoreOutcome,
    Source,
)

__all__ = ["CaptureContext", "Captured", "Proof", "RestoreOutcome", "Source"]
