"""Evidence, check by check: what makes one well, and what makes it anything else.

The healthy case and the sick ones of each kind stand together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.history import CHANGED, Act, Beat, Delivery, Ending, Reach, Timetable
from strongroom.report.noticed import Noticed
from tests.support.evidence_ground import (
    SCOPE,
    STORES,
    TIMETABLE,
    ago,
    captures_of,
    due,
    history,
    inspection,
    late,
    prune,
    run,
    space,
)
from tests.support.evidence_ground import WHOLE as CHAIN

PROVEN, STALE, UNKNOWN, FAILED = Verdict.PROVEN, Verdict.STALE, Verdict.UNKNOWN, Verdict.FAILED
BOTH = ("database", "uploads")
GIB = 2**30


def scope(**more: object) -> Any:  # Any: `replace` takes any of its fields
    return dataclasses.replace(SCOPE, **more)  # type: ignore[arg-type]


def store(place: int, **more: Any) -> Any:  # Any: as above
    stores = list(STORES)
    stores[place] = dataclasses.replace(stores[place], **more)
    return scope(stores=tuple(stores))


def warning(code: str, subject: str = "lpos/1.pdf") -> Noticed:
    return Noticed(code, Severity.WARNING, subject, "it could not be read")


def series(*sizes: int, source: str = "uploads") -> tuple[Any, ...]:  # Any: captures
    """A capture each day, the last three hours ago, of these sizes; the other source as ever."""
    found = []
    for place, size_bytes in enumerate(sizes):
        begun_at = ago(hours=3, days=len(sizes) - 1 - place)
        found += captures_of(
            source, seq=100 + place, begun_at=begun_at, point=f"p{place}", size_bytes=size_bytes
        )
    other = next(one for one in BOTH if one != source)
    return (*captures_of(other), *found)


# What is given beside good proofs, then key, verdict, and what is said of it.
CASES: Mapping[str, tuple[dict[str, Any], str, Verdict, str]] = {
    # How old the newest capture is
    "captured lately": ({}, "capture:database", PROVEN, "captured 3 h ago"),
    "captured just within the objective": (
        {"captures": tuple(captures_of(*BOTH, begun_at=ago(hours=24, minutes=14)))},
        "capture:uploads", PROVEN, "captured 24 h 14 min ago",
    ),
    "captured too long ago": (
        {"captures": tuple(captures_of(*BOTH, begun_at=ago(hours=25)))},
        "capture:uploads", STALE, "captured 25 h ago, promised is 24 h",
    ),
    "runs take long, so one is waited for": (
        {"captures": tuple(captures_of(
            *BOTH, begun_at=ago(hours=25), ended_at=ago(hours=23)))},
        "capture:uploads", PROVEN, "captured 25 h ago",
    ),
    "captured twice too long ago": (
        {"captures": tuple(captures_of(*BOTH, begun_at=ago(hours=49)))},
        "capture:uploads", FAILED, "captured 2 days 1 h ago",
    ),
    "never captured": (
        {"captures": tuple(captures_of("database"))},
        "capture:uploads", UNKNOWN, "nothing was captured yet",
    ),
    "captured into a repository that is gone": (
        {"captures": (*captures_of("database"), *captures_of("uploads", repository="gone"))},
        "capture:uploads", UNKNOWN, "nothing was captured yet",
    ),
    "captured, and something failed": (
        {"captures": tuple(captures_of(*BOTH, findings=(
            Noticed("capture-incomplete", Severity.UNKNOWN, "uploads", "it went away"),)))},
        "capture:uploads", UNKNOWN, "none of 1 capture is complete",
    ),
    "the newest capture is not complete, the one before is": (
        {"captures": (*captures_of(*BOTH, begun_at=ago(hours=5)), *captures_of(
            "uploads", seq=9, findings=(Noticed("x", Severity.FAILURE, "uploads", "gone"),)))},
        "capture:uploads", PROVEN, "captured 5 h ago",
    ),
    "captured in the future": (
        {"captures": tuple(captures_of(*BOTH, begun_at=ago(hours=-2)))},
        "capture:uploads", UNKNOWN, "dated later than now",
    ),
    "a copy is no capture": (
        {"captures": (*captures_of("database"), *captures_of("uploads", is_copy=True))},
        "capture:uploads", UNKNOWN, "nothing was captured yet",
    ),
    # Whether its size is usual
    "few captures": (
        {"captures": series(GIB, GIB, 2 * GIB)},
        "size:uploads", PROVEN, "2.0 GiB; too few captures to say what is usual (2 before it)",
    ),
    "half of what was before, at once": (
        {"captures": series(GIB, GIB // 2 - 1)},
        "size:uploads", UNKNOWN,
        "512.0 MiB, smaller than is usual: the last 1 capture held 1.0 GiB to 1.0 GiB",
    ),
    "steady": ({"captures": series(*[GIB] * 9)}, "size:uploads", PROVEN, "usual are 1.0 GiB"),
    "steady but for a few bytes": (
        {"captures": series(*[200_000] * 8, 195_000)}, "size:uploads", PROVEN, "190.4 KiB",
    ),
    "steady, then a fifth less": (
        {"captures": series(*[GIB] * 8, GIB * 79 // 100)},
        "size:uploads", UNKNOWN, "809.0 MiB, smaller than is usual",
    ),
    "still a fifth less two days later": (
        {"captures": series(*[GIB] * 8, *[GIB * 79 // 100] * 3)},
        "size:uploads", UNKNOWN, "smaller than is usual: the last 9 captures held 809.0 MiB",
    ),
    "less has become usual": (
        {"captures": series(*[GIB] * 8, *[GIB * 79 // 100] * 8)}, "size:uploads", PROVEN, "809",
    ),
    "twice as large": (
        {"captures": series(*[GIB] * 8, 2 * GIB)},
        "size:uploads", UNKNOWN, "2.0 GiB, larger than is usual",
    ),
    "as large as it became yesterday": (
        {"captures": series(*[GIB] * 8, 2 * GIB, 2 * GIB)}, "size:uploads", PROVEN, "2.0 GiB",
    ),
    "it grows each day": (
        {"captures": series(*[GIB * (100 + 3 * day) // 100 for day in range(20)])},
        "size:uploads", PROVEN, "1.6 GiB",
    ),
    "it goes up and down": (
        {"captures": series(*[GIB, 3 * GIB, 2 * GIB] * 4)}, "size:uploads", PROVEN, "2.0 GiB",
    ),
    "nothing in it, for the first time": (
        {"captures": series(GIB, 0)},
        "size:uploads", FAILED, "the newest capture holds nothing; the one before held 1.0 GiB",
    ),
    "nothing in it, as ever": (
        {"captures": series(0, 0)}, "size:uploads", UNKNOWN, "the newest capture holds nothing",
    ),
    "a size that is not recorded": (
        {"captures": tuple(captures_of(*BOTH, size_bytes=None))},
        "size:uploads", UNKNOWN, "not recorded",
    ),
    # What it lacks
    "unread files": (
        {"captures": tuple(captures_of(*BOTH, findings=(warning("file-unreadable"),)))},
        "files:uploads", UNKNOWN, "1 finding: file-unreadable lpos/1.pdf: it could not be read",
    ),
    "advice is no lack": (
        {"captures": tuple(captures_of(*BOTH, findings=(warning("code-shallow"),)))},
        "files:uploads", PROVEN, "nothing was left out",
    ),
    "that it shrank is another check's business": (
        {"captures": tuple(captures_of(*BOTH, findings=(warning("source-shrunk"),)))},
        "files:uploads", PROVEN, "nothing was left out",
    ),
    "a failure among the files": (
        {"captures": tuple(captures_of(
            *BOTH, findings=(Noticed("tree-missing", Severity.FAILURE, "x", "gone"),)))},
        "files:uploads", FAILED, "tree-missing",
    ),
    # Runs
    "a capture that failed": (
        {"history": history(runs=(
            run("capture", "database"),
            run("capture", "database", ending=Ending.FAILED, error="db: refused", seq=8)))},
        "errors", FAILED, "capture of database failed at 2026-11-26 09:05:00: db: refused",
    ),
    "failed again": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED, begun_at=ago(hours=27)),
            run("capture", "database", ending=Ending.FAILED, error="no")))},
        "errors", FAILED, "2 times in a row: no",
    ),
    "failed, and made good": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED), run("capture", "database")))},
        "errors", PROVEN, "no run failed that was not made good; 2 runs recorded",
    ),
    "another source's success makes nothing good": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED), run("capture", "uploads")))},
        "errors", FAILED, "capture of database",
    ),
    "a part of it is none": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED),
            run("capture", ending=Ending.PARTIAL)))},
        "errors", FAILED, "capture of database",
    ),
    "the whole failed, and then each part succeeded": (
        {"history": history(runs=(
            run("capture", ending=Ending.FAILED, error="no store"), run("capture", "uploads")))},
        "errors", PROVEN, "no run failed",
    ),
    "all of it succeeded": (
        {"history": history(runs=(
            run("check", "local", ending=Ending.FAILED), run("check")))},
        "errors", PROVEN, "no run failed",
    ),
    "the run that its parts tell of is told once": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED, error="refused"),
            run("capture", ending=Ending.FAILED, error="exit status 12")))},
        "errors", FAILED, "capture of database failed at 2026-11-26 09:05:00: refused",
    ),
    "stopped by somebody": (
        {"history": history(runs=(run("check", "local", ending=Ending.OPEN),))},
        "errors", PROVEN, "no run failed",
    ),
    "failed for a source that is gone": (
        {"history": history(runs=(run("capture", "gone", ending=Ending.FAILED),))},
        "errors", PROVEN, "no run failed",
    ),
    # Copies
    "enough copies": ({}, "copies", PROVEN, "the newest captures are in 2 repositories"),
    "one copy too few": (
        {"captures": (*captures_of(*BOTH, begun_at=ago(days=2)), *captures_of("database", seq=8),
                      *captures_of("uploads", seq=8, point="point 2", tree="t")[:1])},
        "copies", STALE, "the newest capture of uploads is in local; offsite is 1 capture behind",
    ),
    "a repository that is new": (
        {"captures": tuple(captures_of(*BOTH))[::2]},
        "copies", STALE, "offsite has none yet",
    ),
    "brought up to date by a copy": (
        {"captures": (*captures_of(*BOTH)[::2],
                      *captures_of(*BOTH, seq=8, point="", is_copy=True)[1::2])},
        "copies", PROVEN, "2 repositories",
    ),
    "a repository that does not answer": (
        {"history": history(reaches=(Reach(9, ago(hours=1), "offsite", False, "refused"),))},
        "copies", STALE, "offsite cannot be reached (refused)",
    ),
    "a repository that answers again": (
        {"history": history(reaches=(
            Reach(9, ago(hours=2), "offsite", False, "refused"),
            Reach(9, ago(hours=1), "offsite", True)))},
        "copies", PROVEN, "2 repositories",
    ),
    "a repository that was checked since": (
        {"history": history(
            reaches=(Reach(9, ago(hours=2), "offsite", reached=False, error="refused"),),
            inspections=(inspection("local"), inspection("offsite", seq=10, at=ago(hours=1))))},
        "copies", PROVEN, "2 repositories",
    ),
    "a repository that does not answer since the clock was set back": (
        {"history": history(
            reaches=(Reach(9, ago(hours=1), "offsite", reached=False, error="refused"),),
            inspections=(inspection("local"), inspection("offsite", at=ago(days=-30))))},
        "copies", STALE, "offsite cannot be reached (refused)",
    ),
    "did not answer before it took the capture": (
        {"history": history(reaches=(Reach(2, ago(hours=9), "offsite", False),))},
        "copies", PROVEN, "2 repositories",
    ),
    # Another host
    "all on production's disk": (
        {"scope": scope(stores=tuple(
            dataclasses.replace(one, off_site=False, because="on a disk of this host")
            for one in STORES))},
        "off-site", FAILED,
        "local: on a disk of this host; offsite: on a disk of this host",
    ),
    "one elsewhere": (
        {"scope": store(0, off_site=False)}, "off-site", PROVEN, "offsite: on s3.example.com",
    ),
    "nobody knows where": (
        {"scope": scope(stores=tuple(
            dataclasses.replace(one, off_site=None) for one in STORES))},
        "off-site", UNKNOWN, "local",
    ),
    "the one elsewhere has none of it": (
        {"scope": store(0, off_site=False), "captures": tuple(captures_of(*BOTH))[::2]},
        "off-site", UNKNOWN, "the newest capture of database, uploads is not in offsite",
    ),
    "the one elsewhere is behind": (
        {"scope": store(0, off_site=False), "captures": (
            *captures_of(*BOTH, begun_at=ago(days=2)),
            *captures_of(*BOTH, seq=8, tree="t")[::2])},
        "off-site", STALE, "is not in offsite",
    ),
    "the one elsewhere does not answer": (
        {"scope": store(0, off_site=False), "history": history(
            reaches=(Reach(9, ago(hours=1), "offsite", False, "refused"),))},
        "off-site", STALE, "offsite cannot be reached (refused)",
    ),
    # Room
    "room enough": ({}, "space:local", PROVEN, "50.0 GiB of 100.0 GiB free (50 %)"),
    "little room": (
        {"history": history(spaces=(space(9.9),))},
        "space:local", STALE, "9.9 GiB of 100.0 GiB free (9 %); 10.0 GiB must be free",
    ),
    "no room": (
        {"history": history(spaces=(space(0),))}, "space:local", FAILED, "0 B of 100.0 GiB free",
    ),
    "no room for the next capture": (
        {"history": history(spaces=(space(0.001),))},
        "space:local", FAILED, "a capture adds 2.0 MiB",
    ),
    "full in some days": (
        {"history": history(spaces=tuple(
            space(30 - 2 * day, at=ago(days=9 - day)) for day in range(10)))},
        "space:local", STALE, "12.0 GiB of 100.0 GiB free (12 %); at this rate full on 2026-12-02",
    ),
    "full in some months": (
        {"history": history(spaces=tuple(
            space(60 - 0.5 * day, at=ago(days=9 - day)) for day in range(10)))},
        "space:local", PROVEN, "at this rate full on 2027-03-17",
    ),
    "a prune now and then does not hide it": (
        {"history": history(spaces=tuple(
            space(30 - 2 * day + (8 if day == 5 else 0), at=ago(days=9 - day))
            for day in range(10)))},
        "space:local", STALE, "at this rate full on 2026-12-02",
    ),
    "it shrinks": (
        {"history": history(spaces=tuple(
            space(50 + day, at=ago(days=9 - day)) for day in range(10)))},
        "space:local", PROVEN, "59.0 GiB of 100.0 GiB free (59 %)",
    ),
    "nobody has looked": (
        {"history": history(spaces=())}, "space:local", UNKNOWN, "nobody has looked yet",
    ),
    "nobody has looked for long": (
        {"history": history(spaces=(space(50, at=ago(days=9)),))},
        "space:local", STALE, "as it was 9 days ago",
    ),
    # Integrity
    "checked and read": ({}, "integrity:local", PROVEN, "checked 5 h ago and whole"),
    "never checked": (
        {"history": history(inspections=(inspection("offsite"),))},
        "integrity:local", UNKNOWN, "nobody has checked it yet",
    ),
    "checked long ago": (
        {"history": history(inspections=(inspection(at=ago(days=9)),))},
        "integrity:local", STALE, "checked 9 days ago",
    ),
    "checked, and never read": (
        {"history": history(inspections=(inspection(read_data=False),))},
        "integrity:local", UNKNOWN, "what is stored was never read",
    ),
    "read long ago": (
        {"history": history(inspections=(
            inspection(at=ago(days=20)), inspection(read_data=False)))},
        "integrity:local", STALE, "nothing was read for 20 days",
    ),
    "some was never read": (
        {"history": history(inspections=(inspection(never_read_bytes=GIB),))},
        "integrity:local", PROVEN, "1.0 GiB were never read",
    ),
    "damaged": (
        {"history": history(inspections=(inspection(
            is_sound=False, found=Noticed("pack-missing", Severity.FAILURE, "p", "gone")),))},
        "integrity:local", FAILED, "pack-missing p: gone",
    ),
    "damaged, and whole again": (
        {"history": history(inspections=(
            inspection(at=ago(days=2), is_sound=False), inspection(read_data=False)))},
        "integrity:local", PROVEN, "checked 5 h ago and whole",
    ),
    "damaged bytes are not made good by reading nothing": (
        {"history": history(inspections=(
            inspection(at=ago(days=2), is_sound=False, content=True),
            inspection(read_data=False)))},
        "integrity:local", FAILED, "damage was found",
    ),
    "nor by reading others": (
        {"history": history(inspections=(
            inspection(at=ago(days=2), is_sound=False, content=True), inspection()))},
        "integrity:local", FAILED, "damage was found",
    ),
    "but by reading all": (
        {"history": history(inspections=(
            inspection(at=ago(days=2), is_sound=False, content=True),
            inspection(oldest_read_at=ago(days=1))))},
        "integrity:local", PROVEN, "all of it was read, the first 24 h ago",
    ),
    "or by a repair": (
        {"history": history(
            inspections=(
                inspection(seq=2, at=ago(days=2), is_sound=False, content=True), inspection()),
            repairs=((3, "local"),))},
        "integrity:local", PROVEN, "and whole",
    ),
    "which was of another repository": (
        {"history": history(
            inspections=(
                inspection(seq=2, at=ago(days=2), is_sound=False, content=True), inspection()),
            repairs=((3, "offsite"),))},
        "integrity:local", FAILED, "damage was found",
    ),
    "nor by what was read when it was found": (
        {"history": history(inspections=(
            inspection(at=ago(days=20), is_sound=False, content=True),
            inspection(oldest_read_at=ago(days=20))))},
        "integrity:local", FAILED, "damage was found",
    ),
    "found by a clock that was wrong, and repaired by the right one": (
        {"history": history(
            inspections=(
                inspection(seq=2, at=ago(days=-300), is_sound=False, content=True), inspection()),
            repairs=((3, "local"),))},
        "integrity:local", PROVEN, "and whole",
    ),
    "or all was read by the right one": (
        {"history": history(inspections=(
            inspection(seq=2, at=ago(days=-300), is_sound=False, content=True),
            inspection(seq=3, at=ago(days=1)), inspection(oldest_read_at=ago(hours=20))))},
        "integrity:local", PROVEN, "all of it was read, the first 20 h ago",
    ),
    # Retention
    "pruned": ({}, "retention:local", PROVEN, "pruned 8 h ago: 1 dropped, 30 snapshots kept"),
    "never pruned": (
        {"history": history(prunes=())}, "retention:local", UNKNOWN, "nobody has pruned it yet",
    ),
    "pruned long ago": (
        {"history": history(prunes=(prune(at=ago(days=40)),))},
        "retention:local", STALE, "pruned 40 days ago",
    ),
    "another policy by now": (
        {"scope": store(0, policy="other")},
        "retention:local", STALE, "the policy was changed since",
    ),
    "pruned by a version that says little": (
        {"history": history(prunes=(prune(policy=""),))},
        "retention:local", UNKNOWN, "it is not recorded by which policy",
    ),
    "the store keeps it": (
        {"history": history(prunes=(prune(refused=2),))},
        "retention:local", STALE, "refused to remove 2 files",
    ),
    "a prune that was killed": (
        {"history": history(prunes=(prune(), prune(ended=False, at=ago(hours=1))))},
        "retention:local", UNKNOWN, "did not come to its end",
    ),
    # Schedule
    "what was due did run": ({}, "schedule", PROVEN, "all 2 that were due did run"),
    "what was due did not run": (
        {"history": late()},
        "schedule", STALE, "capture of database was due at 2026-11-26 09:00:00 and did not run",
    ),
    "it may run yet": (
        {"timetable": Timetable((due(times=(ago(minutes=10), ago(hours=4))),))},
        "schedule", PROVEN, "what was due did run",
    ),
    "the last one took long, so this one may": (
        {"timetable": Timetable((due(times=(ago(minutes=50), ago(hours=4))),)),
         "history": history(runs=(run("capture", "database", at=ago(hours=2)),))},
        "schedule", PROVEN, "what was due did run",
    ),
    "that it failed is another check's business": (
        {"history": history(runs=(
            run("capture", "database", ending=Ending.FAILED), run("capture", "uploads")))},
        "schedule", PROVEN, "all 2",
    ),
    "a run of all is one of each": (
        {"history": history(runs=(run("capture"),))}, "schedule", PROVEN, "all 2",
    ),
    "it has never run": (
        {"timetable": Timetable((due("check", "local"),))},
        "schedule", UNKNOWN, "check of local was due at 2026-11-26 09:00:00 and has never run",
    ),
    "nothing was due yet": (
        {"history": history(begun_at=ago(hours=1))},
        "schedule", UNKNOWN, "nothing was due since the records begin",
    ),
    "it had another time when it was not run": (
        {"history": late(ago(hours=2), "capture:database")},
        "schedule", PROVEN, "what was due did run",
    ),
    "another job got other times": (
        {"history": late(ago(hours=2), "capture:uploads", "prune")},
        "schedule", STALE, "capture of database was due at 2026-11-26 09:00:00 and did not run",
    ),
    "the configuration was changed, and its times were not": (
        {"history": late(acts=(Act(5, ago(hours=2), CHANGED),))},
        "schedule", STALE, "capture of database was due at 2026-11-26 09:00:00 and did not run",
    ),
    "it got other times by a clock that was wrong": (
        {"history": late(ago(days=-3000), "capture")},
        "schedule", STALE, "did not run",
    ),
    "it has its time for longer": (
        {"history": late(ago(hours=4), "capture")},
        "schedule", STALE, "did not run",
    ),
    "nobody says what was due": (
        {"timetable": None}, "schedule", UNKNOWN, "nobody says what was due",
    ),
    "a sign of life": (
        {"timetable": Timetable(TIMETABLE.dues, (
            Beat("the service", ago(minutes=2), timedelta(minutes=1)),))},
        "schedule", PROVEN, "all 3",
    ),
    "no sign of life": (
        {"timetable": Timetable(TIMETABLE.dues, (
            Beat("the service", ago(minutes=20), timedelta(minutes=1)),))},
        "schedule", STALE, "the service gave no sign of life for 20 min",
    ),
    "nothing can be started": (
        {"timetable": Timetable(TIMETABLE.dues, obstacle="the disk is full")},
        "schedule", STALE, "what is due cannot be started or recorded: the disk is full",
    ),
    "nothing could be started, and nothing is due": (
        {"timetable": Timetable(obstacle="the disk is full")},
        "schedule", STALE, "what is due cannot be started or recorded: the disk is full",
    ),
    # Alerts
    "an alert arrived": ({}, "delivery", PROVEN, "the newest arrived 20 days ago (operators)"),
    "no alert was sent": (
        {"history": history(deliveries=())}, "delivery", UNKNOWN, "no alert was ever sent",
    ),
    "an alert did not arrive": (
        {"history": history(deliveries=(
            Delivery(7, ago(days=2), "operators", True),
            Delivery(8, ago(days=1), "operators", False, "refused")))},
        "delivery", FAILED, "operators: refused",
    ),
    "the next route had it": (
        {"scope": scope(told=("operators", "2")), "history": history(deliveries=(
            Delivery(8, ago(days=1), "operators", False, "refused"),
            Delivery(9, ago(days=1), "2", True)))},
        "delivery", STALE, "operators: refused; 2 got theirs",
    ),
    "one route was never tried": (
        {"scope": scope(told=("operators", "2"))},
        "delivery", UNKNOWN, "nothing was ever sent to 2; the newest arrived 20 days ago (operat",
    ),
    "one route was not tried for long": (
        {"scope": scope(told=("operators", "2")), "history": history(deliveries=(
            Delivery(7, ago(days=91), "2", True), Delivery(8, ago(days=1), "operators", True)))},
        "delivery", STALE, "the newest of each arrived 91 days ago (2, operators) or since",
    ),
    "a route that is gone": (
        {"history": history(deliveries=(
            Delivery(7, ago(days=2), "gone", False), Delivery(8, ago(days=1), "operators", True)))},
        "delivery", PROVEN, "(operators)",
    ),
    "none was tried for long": (
        {"history": history(deliveries=(Delivery(7, ago(days=91), "operators", True),))},
        "delivery", STALE, "the newest arrived 91 days ago (operators)",
    ),
    # Anomalies
    "a quiet month": ({}, "anomalies", PROVEN, "in the last 31 days: nothing unusual"),
    "people did something": (
        {"history": history(acts=(
            Act(5, ago(days=40), "a restore"), Act(6, ago(days=3), "a key added", "local"),
            Act(7, ago(days=2), "a restore", "uploads"), Act(8, ago(days=1), "a restore")))},
        "anomalies", PROVEN, "a key added (1 time), a restore (2 times)",
    ),
    "a new warning": (
        {"captures": (*captures_of(*BOTH, begun_at=ago(days=1, hours=3)), *captures_of(
            "uploads", seq=9, findings=(warning("file-changed"),)))},
        "anomalies", UNKNOWN, "uploads: file-changed lpos/1.pdf: it could not be read",
    ),
    "a warning that was there before": (
        {"captures": (
            *captures_of(*BOTH, begun_at=ago(days=1, hours=3), findings=(warning("file-changed"),)),
            *captures_of("uploads", seq=9, findings=(warning("file-changed"),)))},
        "anomalies", PROVEN, "nothing unusual",
    ),
    "the first capture's warnings are not new": (
        {"captures": tuple(captures_of(*BOTH, findings=(warning("file-changed"),)))},
        "anomalies", PROVEN, "nothing unusual",
    ),
    "an unusual size": (
        {"captures": series(*[GIB] * 8, 3 * GIB)}, "anomalies", UNKNOWN, "its size is unusual"),
    "an unusual size some days ago": (
        {"captures": series(*[GIB] * 8, 3 * GIB, 3 * GIB)}, "anomalies", PROVEN,
        "an unusual size (1 time)"),
    # The ledger
    "a ledger that holds": (
        {"chain": dataclasses.replace(CHAIN, compared=("local",))},
        "ledger", PROVEN, "of 9 records; compared with the copies in local",
    ),
    "a ledger that is broken": (
        {"chain": dataclasses.replace(CHAIN, faults=("line 3: edited", "line 4: edited"))},
        "ledger", FAILED, "line 3: edited; and 1 more",
    ),
}  # fmt: skip
