"""Evidence as values, for tests of reports: two sources, two repositories."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

from strongroom.findings import Severity
from strongroom.model import Digests, Stage, Verdict
from strongroom.report.fleet import AGENT, DRILLS, Fleet, Look
from strongroom.report.history import (
    Beat,
    Delivery,
    Due,
    Ending,
    History,
    Inspection,
    Prune,
    Retiming,
    Run,
    Space,
    Timetable,
)
from strongroom.report.observation import (
    Capture,
    Chain,
    Evidence,
    Noticed,
    Observation,
    Promise,
    Scope,
    SourceScope,
    Store,
)

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PROMISE = Promise(
    timedelta(hours=24), timedelta(hours=4), timedelta(days=7), 2, review_last=date(2026, 11, 1)
)
STORES = (
    Store("local", True, "on a mount of nas (nfs4)", tells_space=True, policy="p"),
    Store("offsite", True, "on s3.example.com", no_space="an object store has no fixed size",
          policy="p"),
)  # fmt: skip
SCOPE = Scope(
    "tms",
    (SourceScope("database", "postgres"), SourceScope("uploads", "files")),
    ("local", "offsite"),
    "production",
    "UTC",
    STORES,
    told=("operators",),
)
WHOLE = Chain(9, 9, "ab" * 32, (), ("local", "offsite"))
# Markup, an escape sequence, a right-to-left override, a null, and something that ends a cell.
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202egnp.exe\x00</td><b>&amp;"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def noticed(code: str, severity: Severity, subject: str = "public.invoices") -> Noticed:
    return Noticed(code, severity, subject, "one row was captured, none is observed")


def tree_of(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


# Any below: the fields as the values have them
def proof(seq: int, source: str = "database", **more: Any) -> Observation:
    """A drill that was PROVEN an hour ago from `local`, but for what is given."""
    fields: dict[str, Any] = {
        "at": ago(hours=1),
        "action": "drill",
        "verdict": Verdict.PROVEN,
        "run": f"run {seq}",
        "by": "amina@backup",
        "kind": "postgres" if source == "database" else "files",
        "repository": "local",
        "location": "/backup/tms",
        "snapshot": "5" * 64,
        "tree": tree_of(source),
        "point": "point 1",
        "captured_at": ago(hours=3) + timedelta(seconds=5),
        "checked": 120,
        "size_bytes": 5 << 20,
        "stages": (Stage("sandbox", 0.8), Stage("restore", 2.5), Stage("compare files", 1.25)),
        "digests": Digests("e" * 64, "e" * 64, "rows of 17 tables, large objects"),
        "versions": {"strongroom": "0.1.0", "python": "3.11.9", "host": "backup"},
        "config_digest": "c" * 64,
    }
    return Observation(seq, source=source, **(fields | more))


def captures_of(*sources: str, **more: Any) -> list[Capture]:
    """One run three hours ago that stored these sources in both repositories."""
    fields: dict[str, Any] = {
        "seq": 1,
        "begun_at": ago(hours=3),
        "point": "point 1",
        "size_bytes": 5 << 20,
        "added_bytes": 1 << 20,
    } | more
    fields.setdefault("ended_at", fields["begun_at"] + timedelta(minutes=5))
    return [
        Capture(**{"source": source, "repository": repository, "tree": tree_of(source)} | fields)
        for source in sources
        for repository in SCOPE.repositories
    ]


def run(action: str, subject: str = "", **more: Any) -> Run:
    """A run of three hours ago that took five minutes and ended well, but for what is given."""
    fields: dict[str, Any] = {"seq": 1, "begun_at": ago(hours=3), "ending": Ending.DONE} | more
    fields.setdefault("at", fields["begun_at"] + timedelta(minutes=5))
    return Run(action=action, subject=subject, **fields)


def space(free_gib: float, total_gib: float = 100, **more: Any) -> Space:
    """What the store of `local` said three hours ago, but for what is given."""
    fields: dict[str, Any] = {"seq": 1, "at": ago(hours=3), "repository": "local"} | more
    return Space(total_bytes=round(total_gib * 2**30), free_bytes=round(free_gib * 2**30), **fields)


def inspection(repository: str = "local", **more: Any) -> Inspection:
    """A check of five hours ago that read some and found nothing wrong, but for what is given."""
    fields: dict[str, Any] = {
        "seq": 5, "at": ago(hours=5), "is_sound": True, "read_data": True,
    } | more  # fmt: skip
    return Inspection(repository=repository, **fields)


def prune(repository: str = "local", **more: Any) -> Prune:
    """A prune of eight hours ago by the policy of today, but for what is given."""
    fields: dict[str, Any] = {
        "seq": 6, "at": ago(hours=8), "ended": True, "dropped": 1, "kept": 30, "policy": "p",
    } | more  # fmt: skip
    return Prune(repository=repository, **fields)


def history(**more: Any) -> History:
    """Two months in which all went well, but for what is given."""
    fields: dict[str, Any] = {
        "begun_at": ago(days=60),
        "runs": (run("capture", "database"), run("capture", "uploads")),
        "inspections": (inspection("local"), inspection("offsite")),
        "prunes": (prune("local"), prune("offsite")),
        "deliveries": (Delivery(7, ago(days=20), "operators", delivered=True),),
        "spaces": (space(50),),
    } | more
    return History(**fields)


def late(retimed_at: datetime | None = None, *jobs: str, **more: Any) -> History:
    """A history in which one of two captures is due and did not run, after these jobs got other
    times."""
    runs = run("capture", "database", begun_at=ago(hours=27)), run("capture", "uploads")
    retimings = () if retimed_at is None else (Retiming(retimed_at, frozenset(jobs)),)
    return history(runs=runs, retimings=retimings, **more)


def due(action: str = "capture", subject: str = "database", **more: Any) -> Due:
    """Something that was due three hours ago and the two days before."""
    times = tuple(ago(hours=3, days=one) for one in range(3))
    fields: dict[str, Any] = {"times": times, "next_at": ago(hours=-21)} | more
    return Due(action, subject, **fields)


TIMETABLE = Timetable((due(), due(subject="uploads")))
BEAT = Beat("service", ago(seconds=30), timedelta(minutes=1))
# Of a controller, which runs.
WATCHED = Timetable(TIMETABLE.dues, (BEAT,))


def look(name: str = "crm-2", **more: Any) -> Look:
    """An agent that is there and well, but for what is given."""
    fields: dict[str, Any] = {
        "role": AGENT, "application": "crm", "is_there": True, "verdict": Verdict.PROVEN,
        "heartbeat": timedelta(minutes=3),
    } | more  # fmt: skip
    return Look(name=name, **fields)


def worker(name: str = "drill-1", *, is_there: bool = True) -> Look:
    """A drill worker."""
    seen_at = None if is_there else ago(minutes=4)
    return look(name, role=DRILLS, application="", is_there=is_there, verdict=None, seen_at=seen_at)


def fleet(*looks: Look) -> Fleet:
    """What a controller recorded of these two hours ago, in record 8."""
    names = [one.name for one in looks]
    since = dict.fromkeys(names, ago(hours=2))
    return Fleet(dict(zip(names, looks, strict=True)), since, dict.fromkeys(names, 8))


def evidence(*observations: Observation, **more: Any) -> Evidence:
    """Both sources captured as they should be, all in order, and these observations."""
    stored = tuple(captures_of("database", "uploads"))
    fields: dict[str, Any] = {
        "scope": SCOPE,
        "chain": WHOLE,
        "captures": stored,
        "history": history(),
        "timetable": TIMETABLE,
    }
    return Evidence(observations=observations, **(fields | more))
