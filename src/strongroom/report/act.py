"""What people do now and then, and in which words the history tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Done by people, rarely, and worth knowing of when something is odd.
ACTS: Final[Mapping[str, str]] = {
    "restore-failed": "a restore that failed",
    "recovery": "a recovery of the whole application",
    "recovery-failed": "a recovery that was stopped",
    "undelete": "rows put back",
    "undelete-failed": "rows that could not be put back",
    "import": "a file from before imported",
    "import-failed": "an import that was refused",
    "rollback": "a restore taken back",
    "rollback-failed": "a restore that could not be taken back",
    "acknowledge": "lost snapshots acknowledged",
    "key-add": "a key added",
    "key-remove": "a key removed",
    "key-passwd": "a password changed",
    "key-export": "a master key written down",
    "unlock": "locks removed",
    "ledger-adopted": "a ledger taken up from a copy",
    "ledger-torn": "a torn line of the ledger set aside",
    "ledger-cut": "records missing from the ledger's end",
}
# After these a repository may not open with what was written down of it before.
KEY_ACTS: Final = frozenset(ACTS[one] for one in ("key-add", "key-remove", "key-passwd"))
# The commands that do what the schedule does, too.
COMMANDS: Final[Mapping[str, str]] = {
    "backup": "capture",
    "check": "check",
    "drill": "drill",
    "kit drill": "kit-drill",
    "prune": "prune",
}
# Exit statuses that are answers: verdicts, and of a check that something is damaged.
