"""Which recovery point a recovery takes, from which repositories, and what earlier drills took.

The rule is `plan.recovery`'s; here are the points that the repositories hold and what the ledger
knows of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from strongroom.errors import StorageError, StrongroomError
from strongroom.evidence import Entry
from strongroom.model import Finding, Verdict, finding
from strongroom.plan.recovery import Known, PointOption, Timed, choose_point, is_proven
from strongroom.report.wording import span
from strongroom.service.application import Application
from strongroom.service.point_choice import Point, find_points, meant_whole
from strongroom.service.selection import Candidate, Survey

__all__ = ["Drills", "Taken", "read_drills", "take_point"]

# What `prove` compares is somebody's own, which may change rightly, and no store is read for it:
# that says nothing of a copy.
_PROOFS: Final = frozenset({"drill", "restore"})
_WHOLE: Final = "application-drill"
_BY_KIT: Final = "kit-drill"


@dataclass(slots=True)
class Drills:
    """What the ledger knows: by source, tree and repository (of drills with the kit: snapshot and
    repository) whether the newest proof held; by
    source and tree when one held last, wherever; by source how long restores and drills took; by
    name how long an application's stages took."""

    proofs: dict[tuple[str, str, str], Known]
    held: dict[tuple[str, str], Known]
    sources: dict[str, list[Timed]]
    stages: dict[str, list[Timed]]


@dataclass(frozen=True, slots=True)
class Taken:
    """The point to recover, for each source its copies in the order in which to try them, why it
    was this point, and what is to be said about the choice."""

    id: str
    captured_at: datetime
    copies: dict[str, list[Candidate]]
    because: str
    findings: tuple[Finding, ...]

    @property
    def size_bytes(self) -> int:
        return sum(self.size_of(name) or 0 for name in self.copies)

    def size_of(self, source: str) -> int | None:
        return self.copies[source][0].snapshot.size_bytes


def read_drills(application: Application) -> Drills:
    """All of it; nothing when the ledger can't be read, which is said."""
    found = Drills({}, {}, {}, {})
    try:
        for entry in application.ledger.entries():
            if entry.fields.get("application") == application.name:
                _take(found, entry)
    except StrongroomError as error:
        application.say(f"what is proven is not known: {error}")
    return found


def _take(found: Drills, entry: Entry) -> None:
    fields = entry.fields
    if entry.kind == _BY_KIT:
        _take_kit(found, entry)
        return
    verdict = fields.get("verdict")
    if verdict not in (Verdict.PROVEN.value, Verdict.FAILED.value) or "store_as_of" in fields:
        return  # what is not known takes nothing back
    if fields.get("reused_bytes") and verdict != Verdict.FAILED.value:
        return  # not all of it was read from the store
    is_held = verdict == Verdict.PROVEN.value
    if entry.kind in _PROOFS:
        if not is_held and entry.kind == "restore" and _is_older_server(fields):
            return  # what such a server lacks takes nothing back either
        _know(found, fields, Known(is_held, entry.at))
        if is_held:
            seconds = _seconds(fields)
            timed = Timed(seconds, fields.get("bytes") or None)
            found.sources.setdefault(str(fields.get("source")), []).append(timed)
    elif entry.kind == _WHOLE:
        for one in fields.get("snapshots", ()):
            if is_held:  # a failure may be the application's own
                _know(found, one, Known(True, entry.at))
        for stage in fields.get("stages", ()) if is_held else ():
            timed = Timed(float(stage["seconds"]))
            found.stages.setdefault(str(stage["name"]), []).append(timed)


def _is_older_server(fields: Any) -> bool:  # Any: JSON values
    """Whether a database was compared on a server of an older major version than the source's."""
    versions = fields.get("versions") or {}
    told = [str(versions.get(f"postgresql_{one}", "")) for one in ("source", "target")]
    source, target = (int(one.partition(".")[0] or 0) if one[:1].isdigit() else 0 for one in told)
    return 0 < target < source


def _take_kit(found: Drills, entry: Entry) -> None:
    """A drill with nothing but the kit proves as any other; whether the kit itself is well is
    another matter. Its records name snapshots, not trees: it counts for that copy alone."""
    for one in entry.fields.get("snapshots", ()):
        if one.get("verdict") in (Verdict.PROVEN.value, Verdict.FAILED.value):
            copy = (str(one.get("source")), str(one.get("snapshot")), str(one.get("repository")))
            found.proofs[copy] = Known(one["verdict"] == Verdict.PROVEN.value, entry.at)


def _know(found: Drills, fields: Any, known: Known) -> None:  # Any: JSON values
    capture = (str(fields.get("source")), str(fields.get("tree")))
    found.proofs[(*capture, str(fields.get("repository")))] = known
    if known.proven:
        found.held[capture] = replace(known, here=False)


def _seconds(fields: Any) -> float:  # Any: JSON values
    return sum(float(one["seconds"]) for one in fields.get("stages", ()))


def take_point(
    application: Application,
    surveyed: Survey,
    drills: Drills,
    wanted: str | None,
    repository: str | None,
) -> Taken:
    """The point that is wanted, by its id's beginning, or the one that the rule chooses.

    StorageError `snapshot-missing` when there is none that holds every source, or the one that is
    wanted doesn't.
    """
    points = find_points(application, surveyed)
    configured = list(application.settings.sources)
    whole = {one.id: one for one in points.values() if not _lacking(one, configured)}
    mixed: list[Finding] = []
    if not whole and (composed := _compose(points, configured)) is not None:
        whole = {composed.id: composed}
        mixed = list(_of_others(composed, points[composed.id], configured))
        points = points | whole
    if wanted is not None:
        chosen = _named(points, wanted, configured)
        noticed = [*mixed, *_asked_for(whole.values(), chosen)]
        return _taken(application, chosen, drills, repository, "which was asked for", noticed)
    options = [_option(one, configured, drills) for one in whole.values()]
    choice = choose_point(options)
    if choice is None:
        raise StorageError(
            f"no recovery point holds all of {', '.join(configured)}",
            subject=application.name,
            code="snapshot-missing",
            hint="Restore what there is, source by source: `strongroom restore`.",
        )
    findings = [*mixed, *_passed_over(choice.passed_over, choice.point)]
    meant = {one.id for one in meant_whole(application, points, surveyed)}
    findings += _incomplete(points, meant, choice.point, configured)
    findings += _newer_parts(points, meant, choice.point, configured)
    if not is_proven(choice.point):
        told = "nobody has proven it yet; this recovery does"
        findings.append(finding("recovery-unproven", f"point {choice.point.id}", told))
    chosen = whole[choice.point.id]
    return _taken(application, chosen, drills, repository, choice.because, findings)


def _lacking(point: Point, configured: Sequence[str]) -> list[str]:
    """The sources of which the point has no whole snapshot."""
    return [
        name
        for name in configured
        if all(one.snapshot.is_repaired for one in point.copies.get(name, ()))
    ]


def _compose(points: dict[str, Point], configured: Sequence[str]) -> Point | None:
    """Where no point holds every source, as when one was configured since: the newest of those
    that hold most, and for what it lacks the snapshots nearest in time. None when there is no
    snapshot at all of a source."""
    held = {
        one.id: [name for name in configured if name not in _lacking(one, configured)]
        for one in points.values()
    }
    newest_first = sorted(points.values(), key=lambda one: (one.captured_at, one.id), reverse=True)
    base = max(newest_first, key=lambda one: len(held[one.id]), default=None)
    if base is None:
        return None
    moment = base.captured_at
    copies = {name: base.copies[name] for name in held[base.id]}
    for name in configured:
        others = [one for one in newest_first if name in held[one.id]]
        if name in copies or not others:
            continue
        nearest = min(others, key=lambda one: abs(one.captured_at - moment))
        copies[name] = nearest.copies[name]
    return Point(base.id, copies, base.wanted) if len(copies) == len(configured) else None


def _of_others(composed: Point, base: Point, configured: Sequence[str]) -> Iterator[Finding]:
    """Which of its sources come from other points, and how far in time those are."""
    for name in _lacking(base, configured):
        snapshot = composed.copies[name][0].snapshot
        apart = (snapshot.time - base.captured_at).total_seconds()
        when = "after" if apart > 0 else "before"
        told = (
            f"no recovery point holds every source; this one was captured {span(abs(apart))} "
            f"{when} the others, in point {snapshot.point}"
        )
        yield finding("recovery-mixed", name, told)


def _named(points: dict[str, Point], wanted: str, configured: Sequence[str]) -> Point:
    matches = [one for one in points.values() if wanted and one.id.startswith(wanted.lower())]
    if len(matches) != 1:
        listed = ", ".join(sorted(one.id for one in matches[:5]))
        told = f"several recovery points have ids that begin so ({listed})"
        raise StorageError(
            told if matches else f"no recovery point has this id{_of_snapshot(points, wanted)}",
            subject=wanted,
            code="snapshot-missing",
            hint="List them with `strongroom snapshots --points`.",
        )
    lacking = _lacking(matches[0], configured)
    if lacking:
        raise StorageError(
            f"it has no whole snapshot of {', '.join(lacking)}",
            subject=f"point {matches[0].id}",
            code="snapshot-missing",
            hint="Choose another point, or restore what it has with `strongroom restore`.",
        )
    return matches[0]


def _of_snapshot(points: dict[str, Point], wanted: str) -> str:
    """That it is the id of a snapshot, which belongs to a point; empty when it is none."""
    for point in points.values():
        for name, copies in point.copies.items():
            if any(wanted and one.snapshot.id.startswith(wanted.lower()) for one in copies):
                return f"; it is that of a snapshot of {name}, which belongs to point {point.id}"
    return ""


def _option(point: Point, configured: Sequence[str], drills: Drills) -> PointOption:
    proofs = {name: list(_known(point.copies[name], drills)) for name in configured}
    return PointOption(point.id, point.captured_at, proofs)


def _known(copies: Sequence[Candidate], drills: Drills) -> Iterator[Known]:
    for one in copies:
        snapshot = one.snapshot
        elsewhere = drills.held.get((str(snapshot.source), snapshot.tree))
        known = _proof_of(one, drills) or elsewhere
        if known is not None:
            yield known


def _proof_of(copy: Candidate, drills: Drills) -> Known | None:
    snapshot = copy.snapshot
    known = [
        drills.proofs.get((str(snapshot.source), which, copy.repository.name))
        for which in (snapshot.tree, snapshot.id)
    ]
    return max((one for one in known if one is not None), key=lambda one: one.at, default=None)


def _passed_over(newer: Sequence[PointOption], chosen: PointOption) -> Iterator[Finding]:
    """That newer work is lost by the choice, of the newest point and how to get it."""
    for one in newer[:1]:
        why = "failed its proof" if one.has_failed else "was never proven"
        later = span((one.captured_at - chosen.captured_at).total_seconds())
        told = (
            f"it is {later} newer than {chosen.id}, and {why}; --point {one.id} takes it all the "
            "same"
        )
        yield finding("recovery-older-point", f"point {one.id}", told)


def _asked_for(whole: Iterable[Point], chosen: Point) -> Iterator[Finding]:
    """That there is a newer one than somebody has asked for."""
    newest = max(whole, key=lambda one: (one.captured_at, one.id))
    if newest.captured_at > chosen.captured_at:
        later = span((newest.captured_at - chosen.captured_at).total_seconds())
        told = f"it is {later} newer than {chosen.id}, which was asked for"
        yield finding("recovery-older-point", f"point {newest.id}", told)


def _incomplete(
    points: dict[str, Point], meant: set[str], chosen: PointOption, configured: Sequence[str]
) -> Iterator[Finding]:
    """That a newer point which was meant to hold everything does not."""
    newer = [
        one
        for one in points.values()
        if one.captured_at > chosen.captured_at and one.id in meant and _lacking(one, configured)
    ]
    for one in sorted(newer, key=lambda one: one.captured_at, reverse=True)[:1]:
        told = f"it is newer and lacks {', '.join(_lacking(one, configured))}"
        yield finding("recovery-older-point", f"point {one.id}", told)


def _newer_parts(
    points: dict[str, Point], meant: set[str], chosen: PointOption, configured: Sequence[str]
) -> Iterator[Finding]:
    """That a source was captured alone since, with which more of its work can be had."""
    alone = [
        one
        for one in points.values()
        if one.captured_at > chosen.captured_at and one.id not in meant
    ]
    for name in configured:
        copies = [copy for one in alone for copy in one.copies.get(name, ())]
        newest = max(copies, key=lambda one: one.snapshot.time, default=None)
        if newest is not None:
            later = span((newest.snapshot.time - chosen.captured_at).total_seconds())
            told = (
                f"snapshot {newest.snapshot.short_id}, captured alone, is {later} newer than the "
                f"point; `strongroom restore {name} --snapshot {newest.snapshot.short_id}` takes it"
            )
            yield finding("recovery-older-point", name, told)


def _taken(
    application: Application,
    point: Point,
    drills: Drills,
    repository: str | None,
    because: str,
    findings: Sequence[Finding],
) -> Taken:
    """Copies that failed a proof come last, those of a repository that holds all first."""
    holders = point.holders
    configured = list(application.settings.sources)

    def rank(one: Candidate) -> tuple[bool, bool, bool]:
        known = _proof_of(one, drills)
        name = one.repository.name
        return known is not None and not known.proven, name != repository, name not in holders

    copies = {
        name: sorted((c for c in point.copies[name] if not c.snapshot.is_repaired), key=rank)
        for name in configured
    }
    return Taken(point.id, point.captured_at, copies, because, tuple(findings))
