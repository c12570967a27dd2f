"""Running the command line in this process, and a small application for it to protect."""

from __future__ import annotations

import io
import json
import logging
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.cli.main import main
from strongroom.evidence import AUDIT_KINDS, Entry, Ledger

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def document(self) -> dict[str, Any]:  # Any: JSON values
        """Standard output as the one JSON document that it must be."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def run(*arguments: object) -> Answer:
    """Run one command; its output is caught whole."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    before = sys.stdout, sys.stderr
    root = logging.getLogger()
    logged = root.level, root.handlers[:]
    sys.stdout, sys.stderr = out, err
    try:
        status = main([str(one) for one in arguments])
        out.flush()
        err.flush()
    finally:
        sys.stdout, sys.stderr = before
        root.handlers[:] = logged[1]  # -v is meant for one command
        root.setLevel(logged[0])
    assert isinstance(out.buffer, io.BytesIO)
    assert isinstance(err.buffer, io.BytesIO)
    return Answer(status, out.buffer.getvalue(), err.buffer.getvalue().decode())


@dataclass(frozen=True)
class Place:
    """A directory with a configuration, uploads, and repositories to be."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "strongroom.yaml"

    @property
    def uploads(self) -> Path:
        return self.path / "uploads"

    def write_config(self, text: str) -> None:
        self.config.write_text(text)

    def run(self, *arguments: object) -> Answer:
        return run("--config", self.config, *arguments)

    def json(self, *arguments: object) -> dict[str, Any]:  # Any: JSON values
        """The document of a command that must succeed."""
        answer = self.run("--json", *arguments)
        assert answer.status == 0, answer.err + answer.text
        return answer.document

    def snapshots(self) -> list[dict[str, Any]]:  # Any: JSON values
        listed: list[dict[str, Any]] = self.json("snapshots")["snapshots"]
        return listed

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "state" / "ledger.jsonl")

    def seen(self) -> list[Entry]:
        """The records of what was done and seen, without those of who ran which command."""
        return [one for one in self.ledger.entries() if one.kind not in AUDIT_KINDS]


CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads, required: [lpos]}
repositories:
  local: {location: local, password: file:key}
state: state
"""


TWO_REPOSITORIES = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
state: state
"""

# Two repositories, and nothing else that a report could miss once all was done: nothing runs by
# itself, a copy on this host will do, and the disk that tests run on may be nearly full.
IN_ORDER = f"""\
version: 1
application: tms
environment: development
sources:
  uploads: {{kind: files, path: uploads, capture: never}}
repositories:
  local: {{location: local, password: file:key}}
  second: {{location: second, password: file:key}}
schedule:
  {{prune: never, check: never, drill: never, application_drill: never, verify_daily: never,
   verify_weekly: never, verify_monthly: never}}
monitoring: {{space: 1KiB}}
review: {{last: {datetime.now(UTC):%Y-%m-%d}}}
state: state
"""


def make_place(path: Path, config: str = CONFIG) -> Place:
    """The directory filled: two folders of small files, a key, a configuration."""
    place = Place(path)
    files: Mapping[str, bytes] = {
        "lpos/LPO-1.pdf": b"%PDF-1 " + random.Random(1).randbytes(100_000),
        "lpos/LPO-2.pdf": b"%PDF-2 " + random.Random(2).randbytes(80_000),
        "quotes/Q 1\nodd.txt": b"a quotation\n",
    }
    for name, content in files.items():
        file = place.uploads / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    key = path / "key"
    key.write_text(PASSWORD + "\n")
    key.chmod(0o600)
    place.write_config(config)
    return place
