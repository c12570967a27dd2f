"""Servers of versions that no package of this host has, as the tests' set-up fetched them.

They are found as an operator's would be: on PATH, at its end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

OLDER_SERVERS = Path(sys.prefix) / "postgresql"


def path_with_older_servers() -> str:
    """PATH with the older servers, each once."""
    found = map(str, sorted(OLDER_SERVERS.glob("*/bin")))
    return os.pathsep.join([path_without_older_servers(), *found])


def path_without_older_servers() -> str:
    """PATH as it is where nobody fetched any."""
    entries = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(one for one in entries if not one.startswith(str(OLDER_SERVERS)))
