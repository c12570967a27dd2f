"""Whether the recovery kit holds what a recovery needs today, and was shown to open everything.

A kit that was made before a secret, a repository, a key or the recovery's settings changed is
STALE. What a process that has no access to the secrets cannot compare is taken from the newest
record of one that had it; what nobody has compared lately is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from strongroom.model import Verdict
from strongroom.report.act import KEY_ACTS
from strongroom.report.check import Check
from strongroom.report.kit_history import KitDrill, KitMade, KitScope
from strongroom.report.observation import Evidence
from strongroom.report.wording import age, count

__all__ = ["check_kit", "check_kit_drill"]

_FEW: Final = 3
# How long ago somebody may have looked who could.
_SIGHT_HOLDS: Final = timedelta(days=8)
_TOLERANCE: Final = timedelta(minutes=2)


def check_kit(evidence: Evidence, now: datetime) -> Iterator[Check]:
    """Whether the newest kit holds what is there now."""
    scope, kits = evidence.scope.kit, evidence.history.kits
    if scope is None:
        return
    if not kits:
        yield Check("kit", "", Verdict.UNKNOWN, "no kit was made yet")
        return
    newest = kits[-1]
    records = (newest.seq,)
    passed = max(now - newest.at, timedelta())
    seconds = passed.total_seconds()
    changes = [*_repositories(scope, newest), *_keys(evidence, newest), *_sections(scope, newest)]
    known = _known(evidence, scope, newest, now)
    changes += _secrets(scope, newest, known)
    told = f"made {age(passed)} ago"
    if changes:
        more = f"; and {len(changes) - _FEW} more" if changes[_FEW:] else ""
        observed = f"{told}, and since then {'; '.join(changes[:_FEW])}{more}"
        yield Check("kit", "", Verdict.STALE, observed, value=seconds, records=records)
        return
    unread = [one.shown for one in scope.secrets if one.id not in known]
    if not scope.has_key and scope.secrets:
        observed = f"{told}; what it holds cannot be compared: its key is not in the state folder"
        yield Check("kit", "", Verdict.UNKNOWN, observed, value=seconds, records=records)
    elif unread:
        observed = f"{told}; whether these are as it holds them is not known: {_listed(unread)}"
        yield Check("kit", "", Verdict.UNKNOWN, observed, value=seconds, records=records)
    else:
        holds = f"{count(len(newest.repositories), 'repository', 'repositories')}, "
        observed = f"{told}, and all is as it holds it: {holds}{count(len(known), 'secret')}"
        yield Check("kit", "", Verdict.PROVEN, observed, value=seconds, records=records)


def _repositories(scope: KitScope, newest: KitMade) -> Iterator[str]:
    for name, location in scope.repositories.items():
        if name not in newest.repositories:
            yield f"repository {name} was added"
        elif newest.repositories[name] != location:
            yield f"repository {name} moved"
    for name in newest.repositories:
        if name not in scope.repositories:
            yield f"repository {name} was removed"


def _keys(evidence: Evidence, newest: KitMade) -> Iterator[str]:
    acts = evidence.history.acts
    changed = {
        one.about
        for one in acts
        if one.seq > newest.seq and one.what in KEY_ACTS and one.about in newest.repositories
    }
    for name in sorted(changed):
        yield f"keys of repository {name} changed"


def _sections(scope: KitScope, newest: KitMade) -> Iterator[str]:
    changed = [
        name for name, digest in scope.sections.items() if newest.sections.get(name) != digest
    ]
    if changed:
        yield f"the configuration changed ({', '.join(changed)})"


def _known(evidence: Evidence, scope: KitScope, newest: KitMade, now: datetime) -> dict[str, str]:
    """The digests of what is to be in the kit, as they are here, or were when somebody looked."""
    found: dict[str, str] = {}
    sights = [one for one in evidence.history.kit_sights[-1:] if one.seq > newest.seq]
    # Whoever made it had them all.
    for at, digests in [(newest.at, newest.secrets), *((one.at, one.digests) for one in sights)]:
        if -_TOLERANCE <= now - at <= _SIGHT_HOLDS:
            found |= digests
    found |= scope.digests
    wanted = {one.id for one in scope.secrets}
    return {one: digest for one, digest in found.items() if one in wanted}


def _secrets(scope: KitScope, newest: KitMade, known: dict[str, str]) -> Iterator[str]:
    if not scope.has_key:
        return
    for one in scope.secrets:
        if one.id not in newest.secrets:
            yield f"{one.shown} was added to what it is to hold"
        elif one.id in known and known[one.id] != newest.secrets[one.id]:
            yield f"{one.shown} changed"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if names[_FEW:] else ""
    return f"{', '.join(names[:_FEW])}{more}"


def check_kit_drill(evidence: Evidence, now: datetime) -> Iterator[Check]:
    """Whether everything was brought back from the newest kit alone, lately."""
    scope, drills = evidence.scope.kit, evidence.history.kit_drills
    if scope is None:
        return
    made = evidence.history.kits[-1] if evidence.history.kits else None
    # Where no kit is recorded, the one that opened is the newest that is known.
    of_it = [one for one in drills if (one.is_of(made) if made is not None else one.kit)]
    others = [one for one in drills if one.kit and one.verdict is Verdict.PROVEN]
    if of_it:
        yield _drill(of_it[-1], scope, now)
    elif made is not None and others:
        yield _of_another(made, others[-1], scope, now)
    else:
        told = "nobody has recovered from the newest kit alone yet"
        yield Check("kit-drill", "", Verdict.UNKNOWN, told, limit=scope.drill_age.total_seconds())


def _of_another(made: KitMade, other: KitDrill, scope: KitScope, now: datetime) -> Check:
    """One was proven, and it is not the one that would be taken on the worst day."""
    since, passed = max(now - made.at, timedelta()), max(now - other.at, timedelta())
    told = (
        f"the newest kit, made {age(since)} ago, was not drilled; another one brought everything "
        f"back {age(passed)} ago"
    )
    return Check(
        "kit-drill", "", Verdict.STALE, told, made.at, passed.total_seconds(),
        scope.drill_age.total_seconds(), records=(other.seq, made.seq),
    )  # fmt: skip


def _drill(newest: KitDrill, scope: KitScope, now: datetime) -> Check:
    passed, ends = max(now - newest.at, timedelta()), newest.at + scope.drill_age
    seconds, limit = passed.total_seconds(), scope.drill_age.total_seconds()
    records = (newest.seq,)
    if newest.verdict is Verdict.PROVEN and newest.at - now <= _TOLERANCE:
        told = f"everything was brought back from the kit alone {age(passed)} ago"
        if passed > scope.drill_age:
            return Check(
                "kit-drill", "", Verdict.STALE, told, ends, seconds, limit, records=records
            )
        return Check(
            "kit-drill", "", Verdict.PROVEN, told,
            value=seconds, limit=limit, until=ends, records=records,
        )  # fmt: skip
    because = f": {newest.because}" if newest.because else ""
    verdict = Verdict.FAILED if newest.verdict is Verdict.FAILED else Verdict.UNKNOWN
    told = f"the drill of {age(passed)} ago ended {newest.verdict.value}{because}"
    return Check("kit-drill", "", verdict, told, newest.at, seconds, limit, records=records)
