"""Drills of a database in parts: which parts are taken, and what is known about each afterwards.

The ledger tells when each part was last proven: by a drill of the whole that ended PROVEN, or by
one of a sample that covered it. See `plan.sampling` for the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import Finding, Severity, Verdict
from strongroom.plan.sampling import choose_sample, default_share
from strongroom.repository import SnapshotView
from strongroom.service.application import Application
from strongroom.sources import Source
from strongroom.sources.database import DatabaseSource


@dataclass(frozen=True, slots=True)
class SourceSample:
    """Of which parts a drill compared the rows, and of which not; `failed` is part of the first."""

    share: float
    taken: tuple[str, ...]
    left: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def covered(self) -> tuple[str, ...]:
        """What was restored, compared, and found to be as it was."""
        return tuple(one for one in self.taken if one not in self.failed)

    def after(self, findings: Sequence[Finding]) -> SourceSample:
        """What these findings leave of it; of a drill that was stopped nothing is covered."""
        worse = {one for one in findings if one.severity in (Severity.FAILURE, Severity.UNKNOWN)}
        subjects = {one.subject for one in worse}
        is_whole = any(one.code == "sample-partial" for one in findings)
        failed = tuple(
            one for one in self.taken if not is_whole or subjects & {one, f"table {one}"}
        )
        return replace(self, failed=failed)

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "share": round(self.share, 4),
            "covered": list(self.covered),
            "failed": list(self.failed),
            "not_covered": list(self.left),
        }

    def as_record(self) -> dict[str, Any]:  # Any: JSON values
        """What the ledger gets: thousands of tables that were left are told by their number."""
        return {
            "share": round(self.share, 4),
            "covered": list(self.covered),
            "failed": list(self.failed),
            "not_covered": len(self.left),
        }


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of each database a drill takes; None as the share means: as much as covers all of
    it within `proof_age` when there is a drill each day."""

    application: Application
    share: float | None = None

    def take(self, source: Source, view: SnapshotView) -> SourceSample | None:
        """Restrict a database to its sample; None for other sources, and when the sample is all."""
        if not isinstance(source, DatabaseSource):
            return None
        sizes = source.parts(view)
        share = self.share or default_share(self.application.settings.objectives.proof_age)
        chosen = choose_sample(sizes, self._proven_at(source.name, sizes), share)
        if not chosen.left:
            return None
        source.restrict(chosen.taken, chosen.left)
        return SourceSample(share, chosen.taken, chosen.left)

    def _proven_at(self, source: str, parts: Iterable[str]) -> dict[str, datetime]:
        """When each part was last proven, in any repository; nothing without a ledger."""
        found: dict[str, datetime] = {}
        try:
            for entry in self.application.ledger.entries("drill"):
                fields = entry.fields
                mine = fields.get("application") == self.application.name
                if not mine or fields.get("source") != source or "store_as_of" in fields:
                    continue
                sample = fields.get("sample")
                if isinstance(sample, dict):
                    found |= dict.fromkeys(map(str, sample.get("covered", ())), entry.at)
                elif fields.get("verdict") == Verdict.PROVEN.value:
                    found |= dict.fromkeys(parts, entry.at)
        except StrongroomError as error:
            self.application.say(f"what was proven before is not known: {error}")
        return found
