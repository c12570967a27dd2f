"""Runs the corpus (`make faults`), prints the table, and writes the pages when all is as declared.

Ends with 1 when a fault was missed or a healthy twin alarmed; the pages are then left alone.
`--only TEXT` runs the rows whose name, group or way holds the text, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import strongroom
from tests.corpus.model import Fault, Grounds, Seen, Way, alarm
from tests.corpus.page import Measured, detection_page, with_rows
from tests.corpus.real import REAL
from tests.corpus.rows import FAULTS, NOT_YET
from tests.support.older_servers import path_with_older_servers

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run all, or what was asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--only", default="", help="rows whose name, group or way holds this")
    only = parser.parse_args(arguments).only.lower()
    chosen = [one for one in FAULTS if only in f"{one.name} {one.group} {one.way.name}".lower()]
    real = [one for one in REAL if only in f"{one.name} real database".lower()]
    os.environ["PATH"] = path_with_older_servers()
    begun = time.monotonic()
    missed, alarms = _run(chosen, real)
    ways = len({one.way for one in chosen}) + len(real)
    print(f"\n{len(chosen) - missed} of {len(chosen)} faults detected or withstood, ", end="")
    print(f"{alarms} false alarms of {ways} healthy twins, {len(NOT_YET)} faults not yet, ", end="")
    print(f"{time.monotonic() - begun:.0f} s")
    if missed or alarms:
        return 1
    if not only:
        _write(Measured(f"{datetime.now(UTC):%Y-%m-%d}", strongroom.__version__))
    return 0


def _run(faults: Sequence[Fault], real: Sequence[Way]) -> tuple[int, int]:
    """How many faults were missed, and how many healthy twins alarmed."""
    missed = alarms = 0
    with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as directory:
        grounds = Grounds(Path(directory))
        try:
            for way in (*dict.fromkeys(one.way for one in faults), *real):
                alarms += _told(f"healthy: {way.name}", _attempt(way, grounds, alarm))
                for fault in (one for one in faults if one.way is way):
                    codes = ", ".join(fault.codes) or (
                        "nothing lost" if fault.is_withstood else "—"
                    )
                    found = _attempt(way, grounds, fault.missed, fault)
                    missed += _told(f"  {fault.name} → {codes} → {fault.outcome}", found)
        finally:
            grounds.close()
    return missed, alarms


def _attempt(
    way: Way, grounds: Grounds, judge: Callable[[Seen], str], fault: Fault | None = None
) -> str:
    """What is wrong; whatever else goes wrong counts, and stops nothing."""
    try:
        return judge(way.run(grounds, fault.spoil if fault else None))
    except Exception as error:  # one row that breaks is one that detects nothing
        return f"{type(error).__name__}: {error}"


def _told(what: str, wrong: str) -> bool:
    print(f"{'MISSED' if wrong else 'ok':7}{what}{f'  ({wrong})' if wrong else ''}", flush=True)
    return bool(wrong)


def _write(measured: Measured) -> None:
    page, readme = ROOT / "docs" / "DETECTION.md", ROOT / "README.md"
    page.write_text(detection_page(measured), encoding="utf-8")
    readme.write_text(with_rows(readme.read_text(encoding="utf-8"), measured), encoding="utf-8")
    print("wrote docs/DETECTION.md and the README's table")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
