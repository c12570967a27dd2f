"""What records of runs, stores, alerts and people's acts are read as, however odd they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from strongroom.findings import Severity
from strongroom.report.collection import evidence_of
from strongroom.report.history import Act, Due, Ending, History, Run, history_of
from tests.support.evidence_ground import NOW, SCOPE, WHOLE

DONE, PARTIAL, FAILED, OPEN = Ending.DONE, Ending.PARTIAL, Ending.FAILED, Ending.OPEN
ERROR = {"code": "x", "message": "the store is away", "hint": ""}


@dataclass(frozen=True)
class Line:
    """A record of a ledger."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 7
    at: datetime = NOW


def told(kind: str, **fields: Any) -> History:
    return history_of([Line(kind, fields)])


def runs(kind: str, **fields: Any) -> list[tuple[str, str, Ending, str]]:
    return [(one.action, one.subject, one.ending, one.error) for one in told(kind, **fields).runs]


RUNS: Mapping[str, tuple[str, dict[str, Any], list[tuple[str, str, Ending, str]]]] = {
    "a capture, source by source": (
        "backup",
        {"wanted": ["a", "b", "c"], "snapshots": [{"source": "a"}],
         "errors": [{"source": "b", "message": "refused"}]},
        [("capture", "a", DONE, ""), ("capture", "b", FAILED, "refused"),
         ("capture", "c", FAILED, "it was not reached")],
    ),
    "a capture that is told of one source": (
        "backup", {"snapshots": [{"source": "a"}]}, [("capture", "a", DONE, "")],
    ),
    "a check": ("check", {"repository": "local"}, [("check", "local", DONE, "")]),
    "a check of a store's past": ("check", {"repository": "local", "store_as_of": "2026"}, []),
    "a prune": ("pruned", {"repository": "local"}, [("prune", "local", DONE, "")]),
    "a prune that was cut short": ("pruned", {"repository": "local", "ended": False}, []),
    "a drill": ("drill", {"source": "a", "checked": 5}, [("drill", "a", DONE, "")]),
    "a drill that could not begin": ("drill", {"source": "a", "checked": 0}, []),
    "a drill of the whole": (
        "application-drill", {"checked": 5}, [("application-drill", "", DONE, "")],
    ),
    "a copy": ("copy", {"to": "offsite"}, [("copy", "offsite", DONE, "")]),
    "a copy that failed": (
        "copy", {"to": "offsite", "error": ERROR},
        [("copy", "offsite", FAILED, "the store is away")],
    ),
    "a checklist": ("verify", {"list": "daily"}, [("verify-daily", "", DONE, "")]),
    "a job": (
        "job", {"action": "capture", "sources": ["a", "b"], "exit_status": 0},
        [("capture", "a", DONE, ""), ("capture", "b", DONE, "")],
    ),
    "a job of a repository": (
        "job", {"action": "check", "repository": "local", "sources": [], "exit_status": 21,
                "error": ERROR},
        [("check", "local", FAILED, "the store is away")],
    ),
    "a job of all, without a word": (
        "job", {"action": "prune", "exit_status": 1, "sources": None},
        [("prune", "", FAILED, "exit status 1")],
    ),
    "a job that was done in part": (
        "job", {"action": "capture", "sources": ["a", "b"], "exit_status": 3},
        [("capture", "", PARTIAL, "")],
    ),
    "a job that answers": (
        "job", {"action": "drill", "exit_status": 41}, [("drill", "", DONE, "")],
    ),
    "a check that finds damage": (
        "job", {"action": "check", "repository": "local", "exit_status": 30},
        [("check", "local", DONE, "")],
    ),
    "a job that was stopped": (
        "job", {"action": "check", "exit_status": 130}, [("check", "", OPEN, "")],
    ),
    "a job without a status": ("job", {"action": "check"}, [("check", "", OPEN, "")]),
    "a job without a status, with an error": (
        "job", {"action": "check", "error": ERROR}, [("check", "", FAILED, "the store is away")],
    ),
    "a job of nothing": ("job", {"exit_status": 0}, []),
    "a command that failed": (
        "command", {"command": "backup", "exit_status": 21, "error": ERROR},
        [("capture", "", FAILED, "the store is away")],
    ),
    "a command that did well tells by its own record": (
        "command", {"command": "backup", "exit_status": 0}, [],
    ),
    "mistaken words": (
        "command", {"command": "backup", "exit_status": 2, "error": ERROR | {"code": "usage"}}, [],
    ),
    "a status alone, which may be of mistaken words": (
        "command", {"command": "backup", "exit_status": 2, "error": None}, [],
    ),
    "a target that was refused": (
        "command", {"command": "drill", "exit_status": 5, "error": ERROR}, [],
    ),
    "a secret that cannot be read": (
        "command", {"command": "backup", "exit_status": 2,
                    "error": ERROR | {"code": "secret-unavailable"}},
        [("capture", "", FAILED, "the store is away")],
    ),
    "a prune that somebody has to mean": (
        "command", {"command": "prune", "exit_status": 2,
                    "error": ERROR | {"code": "prune-unconfirmed"}},
        [("prune", "", FAILED, "the store is away")],
    ),
    "a command that the schedule does not know": (
        "command", {"command": "restore", "exit_status": 21, "error": ERROR}, [],
    ),
    "a drill of the whole by hand": (
        "command", {"command": "drill", "arguments": ["--application"], "exit_status": 21},
        [("application-drill", "", FAILED, "exit status 21")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_a_record_tells_of_runs(case: str) -> None:
    kind, fields, expected = RUNS[case]
    assert runs(kind, **fields) == expected


def test_when_a_run_began() -> None:
    def begun(**fields: Any) -> datetime:
        (one,) = told("check", repository="local", **fields).runs
        return one.begun_at

    assert begun(seconds=60) == NOW - timedelta(seconds=60)
    assert begun(begun_at="2026-11-26T09:00:00Z") == NOW - timedelta(hours=3)
    for odd in ("x", -5, True, float("nan"), 1e30, None):
        assert begun(seconds=odd) == NOW
    (job,) = told("job", action="prune", scheduled_for="2026-11-26T02:00:00Z", exit_status=0).runs
    assert job.scheduled_for == NOW - timedelta(hours=10)


def test_a_check_tells_what_was_read_and_found() -> None:
    damage = {"code": "pack-content", "severity": "failure", "subject": "p", "message": "flipped"}
    note = {"code": "index-hint", "severity": "note", "subject": "i", "message": "twice"}
    (found,) = told(
        "check", repository="local", sound=False, read_data=True, findings=[note, damage],
        never_read_bytes=5, oldest_read_at=None,
    ).inspections  # fmt: skip
    assert (found.is_sound, found.read_data, found.content) == (False, True, True)
    assert found.found is not None
    assert (found.found.code, found.found.severity) == ("pack-content", Severity.FAILURE)
    assert (found.never_read_bytes, found.oldest_read_at) == (5, None)
    # What does not say that it is sound, or has a failure, is not.
    assert not told("check", repository="local").inspections[0].is_sound
    odd = told("check", repository="local", sound=True, findings=[damage]).inspections[0]
    assert not odd.is_sound


def test_room_is_read_where_it_can_be() -> None:
    spaces = [
        {"repository": "local", "total_bytes": 10, "free_bytes": 4},
        {"repository": "offsite", "total_bytes": 10},
        {"repository": "odd", "total_bytes": 10, "free_bytes": 11},
        "text",
    ]
    for kind in ("backup", "verify"):
        (found,) = told(kind, list="daily", spaces=spaces).spaces
        assert (found.repository, found.total_bytes, found.free_bytes) == ("local", 10, 4)


def test_what_a_checklist_found_out_of_stores_is_kept() -> None:
    reached = [
        {"repository": "local", "reached": True, "error": None},
        {"repository": "offsite", "reached": False, "error": "refused"},
        {"repository": "odd", "reached": "yes"},
    ]
    found = told("verify", list="daily", reached=reached).reaches
    assert [(one.repository, one.reached, one.error) for one in found] == [
        ("local", True, ""),
        ("offsite", False, "refused"),
        ("odd", False, ""),
    ]


def test_a_prune_has_a_beginning_and_an_end() -> None:
    begun = told("prune", repository="local", drop=["a"]).prunes[0]
    assert not begun.ended
    ended = told(
        "pruned", repository="local", ended=True, dropped=["a", "b"], locked=["c"], kept=7,
        policy="p",
    ).prunes[0]  # fmt: skip
    assert (ended.ended, ended.dropped, ended.refused, ended.kept, ended.policy) == (
        True, 2, 1, 7, "p",
    )  # fmt: skip
    cut = told("pruned", repository="local", ended=False).prunes[0]
    assert not cut.ended


def test_alerts_that_were_tried() -> None:
    found = told("alert", to="operators", delivered=False, error="refused", event="new").deliveries
    assert [(one.to, one.delivered, one.error) for one in found] == [
        ("operators", False, "refused")
    ]
    assert not told("alert", to="operators", delivered="yes").deliveries[0].delivered


ACTS: Mapping[str, tuple[str, dict[str, Any], list[tuple[str, str]]]] = {
    "a restore": ("restore", {"source": "uploads"}, [("a restore", "uploads")]),
    "a key": ("key-add", {"repository": "local"}, [("a key added", "local")]),
    "losses": ("acknowledge", {}, [("lost snapshots acknowledged", "")]),
    "other settings": (
        "configuration", {"digest_before": "a", "file": "x.yaml"},
        [("the configuration changed", "x.yaml")],
    ),
    "settings for the first time": ("configuration", {"digest_before": None}, []),
    "a repair": ("repaired", {"repository": "local"}, [("a repair", "local")]),
    "something of a later version": ("later", {}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", ACTS)
def test_what_people_did(case: str) -> None:
    kind, fields, expected = ACTS[case]
    assert [(one.what, one.about) for one in told(kind, **fields).acts] == expected


def changed(*settings: str) -> Line:
    changes = [{"setting": one, "before": None, "after": "x"} for one in settings]
    return Line("configuration", {"digest_before": "a", "changes": changes})


@pytest.mark.parametrize(
    ("setting", "jobs"),
    [
        ("schedule.capture", {"capture"}),
        ("schedule.verify_daily", {"verify-daily"}),
        ("schedule.time_zone", {"*"}),
        ("sources.uploads.capture", {"capture:uploads"}),
        ("repositories.off-site.check", {"check:off-site"}),
        ("application_check", {"application-drill"}),
        ("application_check.url", set()),
        ("sources.uploads.path", set()),
        ("repositories.local.check_amount", set()),
        ("alerts[0].to", set()),
        ("retention.schedule.daily", set()),
    ],
)
def test_a_change_of_settings_gives_other_times_to_what_has_them_from_there(
    setting: str, jobs: set[str]
) -> None:
    found = history_of([changed("retention.local.daily", setting)]).retimings
    assert [one.jobs for one in found] == ([jobs] if jobs else [])


def test_schedules_tell_which_times_are_others() -> None:
    def known(**times: str) -> Line:
        jobs = [{"job": name, "fields": one, "time_zone": "UTC"} for name, one in times.items()]
        return Line("schedule", {"jobs": jobs})

    found = history_of([
        known(capture="0 2 * * *", prune="0 4 * * *", drill="0 6 * * 0"),
        known(capture="0 2 * * *", prune="0 4 * * *", drill="0 6 * * 0"),
        known(capture="0 2 * * *", prune="0 5 * * *", check="0 7 * * *"),
    ]).retimings  # fmt: skip
    assert [one.jobs for one in found] == [{"prune", "drill", "check"}]


@pytest.mark.parametrize(
    ("job", "general", "own"),
    [("*", True, True), ("capture", True, False), ("capture:uploads", True, True),
     ("capture:invoices", False, False), ("check", False, False)],
)  # fmt: skip
def test_times_of_its_own_are_not_those_of_all(job: str, general: bool, own: bool) -> None:
    assert Due("capture", "uploads", ()).is_timed_by(job) is general
    assert Due("capture", "uploads", (), own=True).is_timed_by(job) is own


KINDS = (
    "backup", "check", "repaired", "prune", "pruned", "drill", "application-drill", "restore",
    "copy", "verify", "alert", "job", "command", "configuration", "unlock",
    "schedule",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_in_a_record_is_read(kind: str) -> None:
    names = (
        "wanted", "snapshots", "errors", "findings", "spaces", "repository", "sound", "dropped",
        "locked", "checked", "error", "list", "reached", "to", "delivered", "action", "sources",
        "exit_status", "command", "arguments", "seconds", "begun_at", "scheduled_for", "source",
        "changes", "jobs",
    )  # fmt: skip
    values: list[Any] = [None, 3, "text", [], {}, [3], ["x"], [{}], [{"source": 3}], True, 1e99]
    for odd in values:  # Any: JSON values
        read = history_of([Line(kind, dict.fromkeys(names, odd))])
        assert all(one.ending is not DONE or one.action for one in read.runs)


def test_evidence_of_records_has_all_of_them() -> None:
    lines = [
        Line("backup", {"snapshots": [{"source": "database", "repository": "local"}]}, 1,
             NOW - timedelta(days=2)),
        Line("drill", {"source": "database", "verdict": "PROVEN", "checked": 3}, 2),
        Line("key-add", {"repository": "local"}, 3),
    ]  # fmt: skip
    found = evidence_of(SCOPE, WHOLE, iter(lines))
    assert [one.seq for one in found.captures] == [1]
    assert [one.seq for one in found.observations] == [2]
    assert found.history.begun_at == NOW - timedelta(days=2)
    assert found.history.acts == (Act(3, NOW, "a key added", "local"),)
    first = Run(1, lines[0].at, "capture", "database", DONE, lines[0].at)
    assert found.history.runs[0] == first


def test_of_findings_those_count_that_are_about_the_source() -> None:
    def finding(code: str, severity: str = "warning", **more: Any) -> dict[str, Any]:
        return {"code": code, "severity": severity, "subject": "s", "message": "m", **more}

    def lacks(*findings: dict[str, Any]) -> list[list[str]]:
        fields = {
            "snapshots": [{"source": name, "repository": "local"} for name in ("a", "b")],
            "findings": list(findings),
        }
        stored = evidence_of(SCOPE, WHOLE, [Line("backup", fields)]).captures
        return [[found.code for found in one.lacks] for one in stored]

    assert lacks(finding("file-changed", source="a")) == [["file-changed"], []]
    assert lacks(finding("repository-failed", source=None)) == [[], []]
    assert lacks(finding("snapshot-vanished", "failure", source=None)) == [[], []]
    # Older records don't say of which: then it counts for each.
    assert lacks(finding("file-changed")) == [["file-changed"], ["file-changed"]]
    assert lacks(finding("file-changed"), finding("repository-behind")) == [["file-changed"]] * 2
    assert lacks(finding("x", "odd", source="b")) == [[], ["x"]]
