"""What was observed, kept so that nobody can quietly change it afterwards.

One append-only ledger of records, each sealed to the one before by its hash. It judges nothing:
verdicts come in ready-made, and what they mean for an objective is decided elsewhere.
"""

from strongroom.evidence.ledger import (
    ADOPTED,
    AUDIT_KINDS,
    BEGUN,
    COMMAND,
    CONFIGURATION,
    Entry,
    Fault,
    Ledger,
    branch,
    records,
    utc_now,
)

__all__ = [
    "ADOPTED",
    "AUDIT_KINDS",
    "BEGUN",
    "COMMAND",
    "CONFIGURATION",
    "Entry",
    "Fault",
    "Ledger",
    "branch",
    "records",
    "utc_now",
]
