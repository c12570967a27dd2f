"""Loads the newest snapshot of a database into a throw-away cluster, then ends the cluster.

Our drill without its proof, which no command does: the peer of `bench.load_with_pg_restore`, with
the very same kind of cluster. `python -m bench.load_from_snapshot CONFIG SOURCE`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from strongroom.findings import Severity
from strongroom.service.application import Application
from strongroom.service.selection import choose, reading, survey


def load(config: Path, name: str) -> int:
    """0 when all was loaded."""
    application = Application.load(config)
    source = application.source(name)
    choice = choose(survey(application, []), "latest", source=name, at=None)
    with (
        tempfile.TemporaryDirectory(dir=config.parent) as folder,
        reading(choice.candidate, progress=application.progress) as view,
    ):
        Path(folder).chmod(0o711)
        with source.sandbox(view, Path(folder)) as target:
            outcome = source.restore(view, target)
    bad = [one for one in outcome.findings if one.severity is not Severity.NOTE]
    print(json.dumps({"stages": [asdict(one) for one in outcome.stages], "bad": len(bad)}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(load(Path(sys.argv[1]), sys.argv[2]))
