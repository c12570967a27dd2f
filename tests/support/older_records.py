"""Time that passes at once: what is recorded was so long ago.

Every time in the records of a ledger is set back, also in what runs wrote into them, and the chain
is sealed anew, as the host would have written it then; so are the times in a status file. Stores
keep their times. Written from docs: the records, one line of JSON each, hold the SHA-256 of the
line without its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_GENESIS = "0" * 64


def let_pass(ledger: Path, span: timedelta) -> None:
    """All of a ledger's records were made so much earlier."""
    lines, before = [], _GENESIS
    for text in ledger.read_text().splitlines():
        record = set_back(json.loads(text), span)
        del record["hash"]
        record["previous"] = before
        body = json.dumps(record, separators=(",", ":"))
        before = hashlib.sha256(body.encode()).hexdigest()
        lines.append(f'{body[:-1]},"hash":"{before}"}}\n')
    ledger.write_text("".join(lines))
    head = {"seq": len(lines), "hash": before}
    ledger.with_name(f"{ledger.name}.head").write_text(json.dumps(head))


def set_back(value: Any, span: timedelta) -> Any:  # Any: JSON values
    """The same with all times in it earlier."""
    if isinstance(value, dict):
        return {name: set_back(one, span) for name, one in value.items()}
    if isinstance(value, list):
        return [set_back(one, span) for one in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        earlier = datetime.fromisoformat(value) - span
        return earlier.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
