"""What the records may tell of a recovery kit, and what is said of it: as in `check_cases`.

The whole table of what makes a kit STALE stands in `tests/unit/test_kit_check.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from strongroom.model import Verdict
from strongroom.report.kit_history import KitDrill, KitMade, KitScope, KitSecret
from tests.support.evidence_ground import SCOPE, ago, history

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED

_PLACES = {"local": "/backup/tms", "offsite": "s3:https://s3.example.com/tms"}
_SECTIONS = {"sources": "aa", "repositories": "bb"}
KIT = KitScope(
    (KitSecret("id", "env:DATABASE_URL"),),
    {"id": "digest"},
    _PLACES,
    _SECTIONS,
    timedelta(days=100),
    True,
)
_MADE = KitMade(
    5, ago(days=40), "0123456789abcdef", {"id": "digest"}, {"id": "env:DATABASE_URL"}, _PLACES,
    _SECTIONS,
)  # fmt: skip


def _drill(verdict: Verdict, because: str = "") -> KitDrill:
    return KitDrill(6, ago(days=30), _MADE.kit, verdict, because)


_OTHER = KitDrill(4, ago(days=50), "fedcba9876543210", PROVEN, "")


# Any below: what evidence takes


def _given(scope: KitScope = KIT, drill: KitDrill | None = None) -> dict[str, Any]:
    return {
        "scope": dataclasses.replace(SCOPE, kit=scope),
        "history": history(kits=(_MADE,), kit_drills=(drill or _drill(PROVEN),)),
    }


# All that is needed for both checks to be well.
WITH_KIT: dict[str, Any] = _given()

KIT_CASES: Mapping[str, tuple[dict[str, Any], str, Verdict, str]] = {
    "a kit that holds what is there": (WITH_KIT, "kit", PROVEN, "all is as it holds it"),
    "a secret that changed since the kit was made": (
        _given(dataclasses.replace(KIT, digests={"id": "other"})),
        "kit",
        STALE,
        "made 40 days ago, and since then env:DATABASE_URL changed",
    ),
    "no kit yet": (
        {"scope": dataclasses.replace(SCOPE, kit=KIT)},
        "kit",
        UNKNOWN,
        "no kit was made yet",
    ),
    "a kit that was drilled": (WITH_KIT, "kit-drill", PROVEN, "from the kit alone 30 days ago"),
    "a kit that was drilled long ago": (
        _given(dataclasses.replace(KIT, drill_age=timedelta(days=20))),
        "kit-drill",
        STALE,
        "from the kit alone 30 days ago",
    ),
    "a drill of another kit than the newest": (
        _given(drill=_OTHER),
        "kit-drill",
        STALE,
        "the newest kit, made 40 days ago, was not drilled",
    ),
    "a kit that does not open a repository": (
        _given(drill=_drill(FAILED, "offsite: no key opens with it")),
        "kit-drill",
        FAILED,
        "ended FAILED: offsite: no key opens with it",
    ),
}
