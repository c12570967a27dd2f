"""Python starts in another time where `STRONGROOM_TEST_NOW` says so (seconds since the epoch).

For processes that the simulated week starts: this folder is on their path. Only the clock of the
day moves; what measures spans goes on as ever.
"""

from __future__ import annotations

import os

if now := os.environ.get("STRONGROOM_TEST_NOW"):
    import time_machine

    time_machine.travel(float(now), tick=True).start()
