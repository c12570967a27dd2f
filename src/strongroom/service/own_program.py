"""How this program is started by others: hooks, timers and crontabs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def own_program() -> list[str]:
    """The words that start this very program from anywhere: an absolute path first."""
    script = shutil.which(sys.argv[0])
    if script is not None and Path(script).name == "strongroom":
        return [str(Path(script).absolute())]
    return [sys.executable, "-m", "strongroom"]
