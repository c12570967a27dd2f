"""What a controller may have seen of its fleet, and what is said of it: as in `check_cases`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from strongroom.model import Verdict
from strongroom.report.history import Beat, Timetable
from tests.support.evidence_ground import TIMETABLE, WATCHED, ago, fleet, look, worker

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED

FLEET_CASES: Mapping[str, tuple[dict[str, Any], str, Verdict, str]] = {
    "an agent that is there and well": (
        {"fleet": fleet(look()), "timetable": WATCHED},
        "agent:crm-2",
        PROVEN,
        "crm says PROVEN",
    ),
    "an agent that is there and not well": (
        {"fleet": fleet(look(verdict=FAILED)), "timetable": WATCHED},
        "agent:crm-2",
        FAILED,
        "crm says FAILED",
    ),
    "an agent that is not heard of": (
        {"fleet": fleet(look(is_there=False, seen_at=ago(minutes=4))), "timetable": WATCHED},
        "agent:crm-2",
        STALE,
        "crm was last heard of 4 min ago, and said PROVEN",
    ),
    "an agent that had failed before it was lost": (
        {
            "fleet": fleet(look(is_there=False, seen_at=ago(days=1), verdict=FAILED)),
            "timetable": WATCHED,
        },
        "agent:crm-2",
        FAILED,
        "last heard of 24 h ago, and said FAILED",
    ),
    "an agent of which nothing was known before it was lost": (
        {
            "fleet": fleet(look(is_there=False, seen_at=ago(days=1), verdict=None)),
            "timetable": WATCHED,
        },
        "agent:crm-2",
        UNKNOWN,
        "and said UNKNOWN",
    ),
    "an agent that nobody watches now": (
        {"fleet": fleet(look())},
        "agent:crm-2",
        UNKNOWN,
        "crm says PROVEN; nobody watches now",
    ),
    "a controller that does not answer any more": (
        {
            "fleet": fleet(look()),
            "timetable": Timetable(
                TIMETABLE.dues, (Beat("service", ago(minutes=4), timedelta(minutes=1)),)
            ),
        },
        "agent:crm-2",
        UNKNOWN,
        "nobody watches now",
    ),
    "a controller that is cut off from the database": (
        {"fleet": fleet(look()), "timetable": WATCHED, "alone_since": ago(minutes=4)},
        "agent:crm-2",
        UNKNOWN,
        "nobody watches now",
    ),
    "an agent that is cut off from the database": (
        {"timetable": WATCHED, "alone_since": ago(minutes=4)},
        "schedule",
        STALE,
        "the state database is out of reach for 4 min: only captures and copies",
    ),
    "an agent whose database was away for a moment": (
        {"timetable": WATCHED, "alone_since": ago(minutes=2)},
        "schedule",
        PROVEN,
        "did run",
    ),
    "drill workers": (
        {"fleet": fleet(worker(), worker("drill-2", is_there=False)), "timetable": WATCHED},
        "workers",
        PROVEN,
        "1 of 2 drill workers there; away: drill-2",
    ),
    "no drill worker is left": (
        {"fleet": fleet(worker(is_there=False)), "timetable": WATCHED},
        "workers",
        STALE,
        "0 of 1 drill worker there; away: drill-1",
    ),
}
