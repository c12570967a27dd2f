"""`recover --dry-run`: which point it would be, from where to where, and how long it would take.

Writes nothing but the ledger, where this host has none: it knows how long drills took.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from strongroom.config.recovery_settings import Recovery
from strongroom.errors import StrongroomError
from strongroom.model import Finding
from strongroom.plan.recovery import estimate, expected_seconds
from strongroom.recovery.reopening import stage_of
from strongroom.repository import SnapshotView
from strongroom.service.application import Application
from strongroom.service.bringing_back import by_hand
from strongroom.service.ledger_copy import take_up
from strongroom.service.recovering import journal_of, refuse_unfit
from strongroom.service.recovery_choice import Drills, Taken, read_drills, take_point
from strongroom.service.recovery_ground import Ground, ground_of
from strongroom.service.recovery_journal import Journal
from strongroom.service.recovery_report import (
    RecoveryPlan,
    StageEstimate,
    exceeded,
    lost_seconds,
    promise_of,
)
from strongroom.service.restoration import shown
from strongroom.service.selection import survey

__all__ = ["plan_recovery"]

_BACK = "it is back already"
_WATCH = "watch the logs"


def plan_recovery(
    application: Application,
    directory: str,
    *,
    database: str | None = None,
    point: str | None = None,
    repository: str | None = None,
    roomy: bool = False,
) -> RecoveryPlan:
    """What `recover` would do with the same words; raises what it would be refused with."""
    now = application.clock()
    ground = ground_of(application, directory, database)
    journal = journal_of(application, ground, point)
    ground.reopening(lambda _: None, lambda _: None)
    noticed: list[Finding] = []
    with contextlib.suppress(StrongroomError):  # the survey says why none opens
        noticed += take_up(application)
    surveyed = survey(application, [repository] if repository else [])
    drills = read_drills(application)
    wanted = journal.point if journal else point
    taken = take_point(application, surveyed, drills, wanted, repository)
    if journal is None:
        noticed += refuse_unfit(ground, taken, roomy=roomy)
    settings = application.settings.recovery
    together = list(_restores(ground, taken, drills, journal))
    after = list(_openings(ground, settings, drills)) if settings else []
    timed = [one.seconds for one in after if one.name != _WATCH]
    seconds, is_whole = expected_seconds([one.seconds for one in together], timed)
    begun_at = journal.begun_at if journal else now
    passed = (now - begun_at).total_seconds()
    rpo, promise = lost_seconds(taken.captured_at, begun_at), promise_of(application)
    found = [*noticed, *(surveyed.unreachable if wanted else surveyed.about())]
    if journal is None:
        found += taken.findings
    return RecoveryPlan(
        taken.id,
        taken.captured_at,
        "with which it was begun" if journal else taken.because,
        str(ground.directory),
        journal is not None,
        (*together, *after),
        seconds + passed,
        is_whole,
        rpo,
        promise,
        (*found, *exceeded(seconds + passed, rpo, promise)),
        (*_by_hand(ground, taken), *(settings.by_hand if settings else ())),
    )


def _by_hand(ground: Ground, taken: Taken) -> Iterator[str]:
    """What the snapshots could not bring along, as far as one of them can be read."""
    for source in ground.sources:
        for copy in taken.copies[source.name]:
            with contextlib.suppress(StrongroomError):
                view = SnapshotView(copy.repository, copy.snapshot)
                yield from by_hand(source, view, ground.given_role())
                break


def _restores(
    ground: Ground, taken: Taken, drills: Drills, journal: Journal | None
) -> Iterator[StageEstimate]:
    """What is restored at the same time."""
    for source in ground.sources:
        name, target = source.name, shown(ground.targets[source.name])
        known = journal.brought.get(name) if journal else None
        if known is not None and known.settled:
            yield StageEstimate(f"restore {name}", _BACK, 0.0)
            continue
        repositories = dict.fromkeys(one.repository.name for one in taken.copies[name])
        what = f"from {', then '.join(repositories)} into {target}"
        seconds = estimate(drills.sources.get(name, []), taken.size_of(name))
        yield StageEstimate(f"restore {name}", what, seconds)


def _openings(ground: Ground, settings: Recovery, drills: Drills) -> Iterator[StageEstimate]:
    """What follows, one after the other; what takes no time worth telling counts as none."""

    def known(name: str) -> float | None:
        return estimate(drills.stages.get(name, []), None)

    if settings.database_password is not None:
        yield StageEstimate("database login", settings.database_role or "", 0.0)
    if settings.checkout is not None:
        yield StageEstimate("check out", settings.checkout, 0.0)
    if settings.links or settings.render:
        written = ", ".join((*settings.links, *settings.render))
        yield StageEstimate("settings and links", written, 0.0)
    if settings.ownership:
        yield StageEstimate("owners and modes", ", ".join(settings.ownership), 0.0)
    for words in settings.prepare:
        name = stage_of("prepare", words)
        yield StageEstimate(name, " ".join(words), known(f"prepare: {words[0]}"))
    for words in settings.start:
        yield StageEstimate(stage_of("start", words), " ".join(words), known("start"))
    if settings.serve is not None:
        name = stage_of("serve", settings.serve)
        yield StageEstimate(name, " ".join(settings.serve), known("start"))
    for words in settings.smoke:
        yield StageEstimate(stage_of("smoke", words), " ".join(words), None)
    questions = ground.questions()
    if settings.url is not None and questions.http:
        yield StageEstimate("requests", settings.url, known("requests"))
    if settings.url is not None and questions.workflow:
        yield StageEstimate("workflow", settings.url, known("workflow"))
    yield StageEstimate(_WATCH, "", settings.watch.total_seconds())
