"""How the service logs: a line for each event, as text for a journal or as JSON for a collector.

Nothing that libraries log gets through below a warning: some of them write addresses with
passwords in them (invariant I6).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

from strongroom.service.rendering import time_json

Shape = Literal["text", "json"]
# Of a record, what every record has; all else was given by whoever logged it.
_COMMON: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# syslog's numbers, which journald reads at a line's beginning, see sd-daemon(3).
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


def log_to_stderr(shape: Shape, *, verbose: bool = False) -> None:
    """All that is logged goes to standard error from here on, in one shape."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if shape == "json" else _Text())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("strongroom").setLevel(logging.DEBUG if verbose else logging.INFO)


class _Json(logging.Formatter):
    """One JSON document a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {  # Any: whatever was given with it
            "at": time_json(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: one for key, one in vars(record).items() if key not in _COMMON}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=True, default=str)


class _Text(logging.Formatter):
    """One line of text; its priority first where the journal reads it, else its time."""

    def __init__(self) -> None:
        super().__init__()
        self._for_journal = bool(os.environ.get("JOURNAL_STREAM"))

    def format(self, record: logging.LogRecord) -> str:
        lines = record.getMessage().split("\n")
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        if self._for_journal:
            priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
            return "\n".join(f"<{priority}>{line}" for line in lines)
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return "\n".join(f"{at} {record.levelname.lower():<7} {line}" for line in lines)
