"""What the doctor makes of what a store says; which version counts at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.config import ConfigFaultsError, parse_settings
from strongroom.repository.storage import Keeping, LockMode, ObjectLock, Reach, RunningLock
from strongroom.repository.storage.s3 import ObjectVersion
from strongroom.repository.storage.s3_past import as_of
from strongroom.service.protection import judge

NOW = datetime(2026, 11, 22, 14, tzinfo=UTC)
MONTH = ObjectLock(timedelta(days=30), LockMode.COMPLIANCE)
ALL = Reach(removes=True, replaces=True, erases=True)
HIDE = Reach(removes=True, replaces=True, erases=False)
ADD = Reach(removes=False, replaces=True, erases=False)
VERSIONS = Keeping(versions=True)
LOCKING = Keeping(versions=True, lockable=True, object_lock=MONTH)
RUNNING = RunningLock(NOW + timedelta(days=9), LockMode.COMPLIANCE)
GOVERNED = RunningLock(NOW + timedelta(days=9), LockMode.GOVERNANCE)
ENDED = RunningLock(NOW - timedelta(days=1), LockMode.COMPLIANCE)


@pytest.mark.parametrize(
    ("keeping", "reach", "lock", "protected", "told"),
    [
        (Keeping(False), ALL, None, False, "can remove and overwrite everything"),
        (Keeping(False, suspended=True), ALL, None, False, "versions are suspended"),
        (Keeping(False), ADD, None, False, "cannot remove, but overwrite everything"),
        (Keeping(False), Reach(False, False, None), None, True, "can add only"),
        (Keeping(False), Reach(False, None, None), None, None, "could overwrite is unknown"),
        (Keeping(None), ALL, None, None, "whether versions of it stay is unknown"),
        (Keeping(None), ADD, None, None, "whether versions stay is unknown"),
        (VERSIONS, ALL, None, False, "can destroy everything: versions may be erased"),
        (VERSIONS, HIDE, None, None, "by versions without an end, unless it may change"),
        (VERSIONS, ADD, None, None, "can overwrite, not erase"),
        (VERSIONS, Reach(True, True, None), None, None, "can erase the versions is unknown"),
        (
            Keeping(True, versions_end_after=timedelta(days=40)), HIDE, None, None,
            "recoverable by versions for 40 days",
        ),
        (
            Keeping(True, unread=frozenset({"lifecycle"})), HIDE, None, None,
            "for an unknown time",
        ),
        (LOCKING, ALL, RUNNING, True, "Object Lock (compliance) until 2026-12-01 14:00 UTC"),
        (LOCKING, ADD, RUNNING, True, "can overwrite, not destroy"),
        (LOCKING, ALL, GOVERNED, None, "unless it may bypass that, which is unknown"),
        (LOCKING, Reach(True, True, None), GOVERNED, None, "which is unknown"),
        (LOCKING, HIDE, GOVERNED, True, "Object Lock (governance) until"),
        (LOCKING, ALL, ENDED, False, "the lock of `config` ended 2026-11-21"),
        (LOCKING, HIDE, ENDED, None, "the lock of `config` ended 2026-11-21"),
        (LOCKING, ALL, None, False, "the lock of `config` is not there, or may not be asked"),
    ],
)  # fmt: skip
def test_the_worst_that_is_possible_is_told(
    keeping: Keeping, reach: Reach, lock: RunningLock | None, protected: bool | None, told: str
) -> None:
    found = judge(keeping, reach, lock, NOW)
    assert told in found.told
    assert found.protected is protected
    assert bool(found.remedy) is (protected is not True)
    assert ("unknown" in found.told) is (protected is None)


@pytest.mark.parametrize("answer", [None, True])
@pytest.mark.parametrize("keeping", [Keeping(False), Keeping(None), VERSIONS, LOCKING])
def test_less_knowledge_never_protects(keeping: Keeping, answer: bool | None) -> None:
    """I5: what may not be asked is never better than what was asked and refused."""
    for lock in (None, ENDED, GOVERNED):
        assert judge(keeping, Reach(answer, answer, answer), lock, NOW).protected is not True


def version(second: int, *, marker: bool = False, newest: bool = False) -> ObjectVersion:
    at = NOW + timedelta(seconds=second)
    return ObjectVersion("config", f"{second} {marker}", 5, at, newest, marker)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], None),
        ([version(1)], None),
        ([version(0)], "0 False"),
        ([version(-9), version(-3), version(2)], "-3 False"),
        ([version(-9), version(-3, marker=True)], None),
        ([version(-9, marker=True), version(-3)], "-3 False"),
        # Of the same second: what is the newest of all, else what can be read.
        ([version(0), version(0, marker=True, newest=True)], None),
        ([version(0, marker=True), version(0, newest=True)], "0 False"),
        ([version(0), version(0, marker=True), version(5, newest=True)], "0 False"),
    ],
)
def test_the_version_of_a_moment(versions: list[ObjectVersion], expected: str | None) -> None:
    for order in (versions, versions[::-1]):
        found = as_of(iter(order), NOW)
        assert (found["config"].id if found else None) == expected


SETTINGS = """\
version: 1
application: tms
sources: {{uploads: {{kind: files, path: /srv/uploads}}}}
repositories:
  offsite: {{location: "{location}", password: "file:key", {lock}}}
"""
BUCKET = "s3:https://s3.example.com/bucket"


@pytest.mark.parametrize(
    ("location", "lock", "fault"),
    [
        ("/backup", "object_lock: 30d", "only an S3 store locks objects"),
        ("rest:https://h/x", "object_lock_mode: compliance", "only an S3 store locks objects"),
        (BUCKET, "object_lock_mode: compliance", "object_lock says for how long"),
        (BUCKET, "object_lock: 0d", "longer than nothing"),
        (BUCKET, "object_lock: 36501d", "a hundred years at most"),
        (BUCKET, "object_lock: a month", "a duration is a whole number"),
        (BUCKET, "object_lock: 30d, object_lock_mode: compliant", "must be `governance`"),
    ],
)
def test_a_lock_that_would_not_hold_is_a_fault(location: str, lock: str, fault: str) -> None:
    with pytest.raises(ConfigFaultsError) as caught:
        parse_settings(SETTINGS.format(location=location, lock=lock))
    (told,) = caught.value.faults
    assert fault in str(told)


def test_a_lock_is_read() -> None:
    text = SETTINGS.format(location=BUCKET, lock="object_lock: 30d, object_lock_mode: compliance")
    declared = parse_settings(text).repositories["offsite"]
    assert (declared.object_lock, declared.object_lock_mode) == (timedelta(days=30), "compliance")
    none = SETTINGS.format(location="/backup", lock="object_lock: null, object_lock_mode: null")
    assert parse_settings(none).repositories["offsite"].object_lock is None
