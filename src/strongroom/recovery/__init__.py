"""Bringing things back, and asking whether they are what they were.

The drill calls the very restore that an operator calls at 3 a.m., so that what is rehearsed is
what will happen. Knows sources and snapshots; nothing of configuration, ledgers or terminals.
"""

from strongroom.recovery.application import drill_application
from strongroom.recovery.drill import drill
from strongroom.recovery.replacement import Replacement, Rollback, replace_content, roll_back
from strongroom.recovery.restore import Outcome, prove, restore

__all__ = [
    "Outcome",
    "Replacement",
    "Rollback",
    "drill",
    "drill_application",
    "prove",
    "replace_content",
    "restore",
    "roll_back",
]
