"""Time that passes at once: what is recorded was so long ago.

Every time in the records of a ledger is set back, also in what runs wrote into them, and the chain
is sealed anew, as the host would have written it then. Copies of the ledger in repositories hold
the records as they were; that is what finds a forger, so they have to go. Repositories keep all
else, and their times. A record is a line of JSON that ends with the SHA-256 of the line without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_GENESIS = "0" * 64


def let_pass(ledger: Path, span: timedelta, repositories: Iterable[Path] = ()) -> None:
    """All of a ledger's records were made so much earlier; its copies are gone from these folders.

    Snapshots of sources are named in the ledger; those that are not are its copies.
    """
    lines, before, text = [], _GENESIS, ledger.read_text()
    for one in (one for folder in repositories for one in (folder / "snapshots").iterdir()):
        if one.name not in text:
            one.unlink()
    for line in text.splitlines():
        record = set_back(json.loads(line), span)
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
