"""Who decides: for records of decisions, which are asked about long after."""

from __future__ import annotations

import os
import socket

from strongroom.repository.lock import username


def actor() -> str:
    """`user@host`; behind sudo, also who called it, as far as sudo's word is kept."""
    user, behind = username(), os.environ.get("SUDO_USER")
    if behind and behind != user:
        user = f"{behind} as {user}"
    return f"{user}@{socket.gethostname()}".encode("utf-8", "replace").decode()
