"""What people and monitors read of the status and of the checklists, word for word."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import click

from strongroom.cli.status import lines_of_status
from strongroom.cli.verify import lines_of_list
from strongroom.model import Verdict
from strongroom.report.check import Checklist
from strongroom.report.history import Act, Delivery, Ending
from strongroom.report.judgement import Report, judge_evidence
from strongroom.report.nagios import nagios_line, nagios_unknown
from strongroom.report.observation import Evidence
from strongroom.report.store_check import Holdings
from strongroom.service.status import StatusReport
from strongroom.service.verification import Verified, lines_of, verdict_of
from tests.support.evidence_ground import (
    HOSTILE,
    NOW,
    PROMISE,
    SCOPE,
    STORES,
    ago,
    captures_of,
    evidence,
    history,
    inspection,
    proof,
    prune,
    run,
    space,
)

GOOD = evidence(proof(2), proof(3, "uploads"))
BAD = evidence(
    proof(2, at=ago(days=9)),
    proof(3, "uploads", repository="offsite"),
    scope=dataclasses.replace(
        SCOPE,
        stores=tuple(
            dataclasses.replace(one, off_site=False, because="on a disk of this host")
            for one in STORES
        ),
    ),
    captures=tuple(captures_of("database", "uploads", begun_at=ago(hours=26)))[:3],
    history=history(
        runs=(
            run("capture", "database", begun_at=ago(hours=26), seq=1),
            run("capture", "uploads", begun_at=ago(hours=2), seq=8, ending=Ending.FAILED,
                error="uploads: the folder is not there"),
        ),
        inspections=(inspection("local"),),
        prunes=(prune("local"), prune("offsite", policy="other")),
        deliveries=(Delivery(9, ago(hours=1), "operators", False, "the mail server is away"),),
        spaces=(space(6),),
        acts=(Act(4, ago(days=3), "a restore", "uploads"),),
    ),
)  # fmt: skip


def judged(known: Evidence) -> Report:
    return judge_evidence(known, PROMISE, NOW)


def status_text(known: Evidence, *, verbose: bool = False) -> str:
    report, holdings = judged(known), Holdings(known)
    copies = {one.name: holdings.of(one.capture) for one in report.sources if one.capture}
    until = report.valid_until(timedelta(hours=26))
    found = StatusReport(report, known, PROMISE, until, copies)
    return click.unstyle("\n".join(lines_of_status(found, verbose=verbose)))


def list_text(known: Evidence, checklist: Checklist) -> str:
    report = judged(known)
    lines = lines_of(report, checklist)
    found = Verified(checklist, verdict_of(lines), lines, report, None)
    return click.unstyle("\n".join(lines_of_list(found)))


def test_the_status_reads_well_when_all_is_well() -> None:
    assert status_text(GOOD) == STATUS_GOOD


def test_the_status_says_what_is_wrong_and_what_to_do() -> None:
    assert status_text(BAD) == STATUS_BAD


def test_the_status_says_more_when_asked() -> None:
    assert status_text(GOOD, verbose=True) == STATUS_VERBOSE


def test_the_checklists_read_well() -> None:
    assert list_text(GOOD, Checklist.WEEKLY) == WEEKLY_GOOD
    assert list_text(BAD, Checklist.DAILY) == DAILY_BAD
    assert list_text(GOOD, Checklist.MONTHLY) == MONTHLY_GOOD


def test_nagios_reads_its_line() -> None:
    assert nagios_line(judged(GOOD)) == (0, NAGIOS_GOOD)
    assert nagios_line(judged(BAD)) == (2, NAGIOS_BAD)
    assert nagios_unknown("config: no file\nhere | there") == (
        "BACKUP UNKNOWN - config: no file here / there"
    )


# What the plugins' guidelines allow: 'label'=value[UOM];[warn];[crit];[min];[max]
NUMBER = re.compile(r"[a-z0-9_-]+=-?\d+(?:s|B)?(?:;(?:\d+:?)?){0,2}(?:;\d*){0,2}")


def test_whatever_is_in_it_the_line_is_one_with_one_bar() -> None:
    hostile = proof(2, verdict=Verdict.FAILED, error=f"{HOSTILE} | a=1;2\n{'x' * 2000}")
    for known in (GOOD, BAD, evidence(hostile, proof(3, "uploads")), evidence(captures=())):
        status, line = nagios_line(judged(known))
        assert 0 <= status <= 3
        assert line.isprintable()
        text, bar, numbers = line.partition(" | ")
        assert bar
        assert "|" not in text + numbers
        assert len(line) < 1000
        assert all(NUMBER.fullmatch(one) for one in numbers.split(" ")), numbers


STATUS_GOOD = """\
tms (production): PROVEN
All 2 sources were restored and found identical to what was captured.

SOURCE    VERDICT  CAPTURED  PROVEN   COPIES
database  PROVEN   3 h ago   1 h ago  local, offsite
uploads   PROVEN   3 h ago   1 h ago  local, offsite

RPO: 3 h of 24 h, met
RTO: 9.1 s of 4 h, met
Proof age: 1 h of 7 days, met
Copies: 2 of 2, met

As it is to be: Captured, Size, Runs, Copies, Off-site, Schedule, Alerts, Restored, Files complete,
Space, Integrity, Whole application, Recovery time, Retention, Ledger, Anomalies, Review.
This holds until 2026-11-27 09:15:00 UTC."""
STATUS_BAD = """\
tms (production): FAILED
Runs: capture of uploads failed at 2026-11-26 10:05:00: uploads: the folder is not there; database:
proven 9 days ago, longer than 7 days.

SOURCE    VERDICT  CAPTURED  PROVEN      COPIES
database  STALE    26 h ago  9 days ago  local, offsite
uploads   PROVEN   26 h ago  1 h ago     local

RPO: 26 h of 24 h, MISSED
RTO: 9.1 s of 4 h, met
Proof age: 9 days of 7 days, MISSED
Copies: 1 of 2, MISSED

STALE  Captured (database), since 2026-11-26 10:15:00
  captured 26 h ago, promised is 24 h
STALE  Captured (uploads), since 2026-11-26 10:15:00
  captured 26 h ago, promised is 24 h
  What changed since the newest capture would be lost.
  hint  Run `strongroom backup` and correct what it says.

FAILED  Runs, since 2026-11-26 10:05:00
  capture of uploads failed at 2026-11-26 10:05:00: uploads: the folder is not there
  What failed was not done, and will be missing when it is needed.
  hint  Read `strongroom log` and correct what it names.

STALE  Copies, since 2026-11-25 10:05:00
  the newest capture of uploads is in local; offsite has none yet
  If the place that has it is lost, the newest capture is lost with it.
  hint  Make the repository reachable; `strongroom copy` brings it up to date.

FAILED  Off-site
  local: on a disk of this host; offsite: on a disk of this host
  A fire, a theft or an attacker that takes the host takes all copies with it.
  hint  Configure a repository on another host.

STALE  Schedule, since 2026-11-26 09:15:00
  capture of database was due at 2026-11-26 09:00:00 and did not run
  Nothing is captured, checked or proven by itself.
  hint  Start the service: `systemctl start strongroom`.

FAILED  Alerts, since 2026-11-26 11:00:00
  operators: the mail server is away
  Nobody may know of what else is told here.
  hint  Try `strongroom alert test` and correct the address.

STALE  Restored (database), since 2026-11-24 12:00:00
  proven 9 days ago, longer than 7 days
  Whether the copies come back is not known any more.
  hint  Run `strongroom drill`.

STALE  Space (local), since 2026-11-26 09:00:00
  6.0 GiB of 100.0 GiB free (6 %); 10.0 GiB must be free
  When a store is full, nothing new is kept there.
  hint  Enlarge the store, or keep less and run `strongroom prune`.

UNKNOWN  Integrity (offsite)
  nobody has checked it yet
  Damage in a store may be found only when the copy is needed.
  hint  Run `strongroom check --read-data=10%`, and `strongroom repair` for what it finds.

STALE  Retention (offsite), since 2026-11-26 04:00:00
  pruned 8 h ago: 1 dropped, 30 snapshots kept; the policy was changed since
  Old copies may be missing, or may be kept for longer than they may be.
  hint  Run `strongroom prune --dry-run` and see its reasons.

As it is to be: Size, Files complete, Whole application, Recovery time, Ledger, Anomalies, Review.
This holds until 2026-11-27 10:30:00 UTC."""
STATUS_VERBOSE = """\
tms (production): PROVEN
All 2 sources were restored and found identical to what was captured.

SOURCE    VERDICT  CAPTURED  PROVEN   COPIES
database  PROVEN   3 h ago   1 h ago  local, offsite
uploads   PROVEN   3 h ago   1 h ago  local, offsite

RPO: 3 h of 24 h, met
RTO: 9.1 s of 4 h, met
Proof age: 1 h of 7 days, met
Copies: 2 of 2, met

As it is to be: Captured, Size, Runs, Copies, Off-site, Schedule, Alerts, Restored, Files complete,
Space, Integrity, Whole application, Recovery time, Retention, Ledger, Anomalies, Review.

PROVEN  Captured (database): captured 3 h ago
PROVEN  Captured (uploads): captured 3 h ago
PROVEN  Size (database): 5.0 MiB; too few captures to say what is usual (0 before it)
PROVEN  Size (uploads): 5.0 MiB; too few captures to say what is usual (0 before it)
PROVEN  Runs: no run failed that was not made good; 2 runs recorded
PROVEN  Copies: the newest captures are in 2 repositories
PROVEN  Off-site: local: on a mount of nas (nfs4); offsite: on s3.example.com
PROVEN  Schedule: all 2 that were due did run
PROVEN  Alerts: the newest arrived 20 days ago (operators)
PROVEN  Restored (database): found identical 1 h ago from local
PROVEN  Restored (uploads): found identical 1 h ago from local
PROVEN  Files complete (uploads): nothing was left out of the newest capture that was to be in it
PROVEN  Space (local): 50.0 GiB of 100.0 GiB free (50 %)
PROVEN  Integrity (local): checked 5 h ago and whole
PROVEN  Integrity (offsite): checked 5 h ago and whole
PROVEN  Whole application: all 2 sources of one recovery point were brought back 1 h ago; the
        application was not started, since nothing says how
PROVEN  Recovery time: 9.1 s, all sources in sum
PROVEN  Retention (local): pruned 8 h ago: 1 dropped, 30 snapshots kept
PROVEN  Retention (offsite): pruned 8 h ago: 1 dropped, 30 snapshots kept
PROVEN  Ledger: it holds from the first to the last of 9 records; compared with the copies in local,
        offsite
PROVEN  Anomalies: in the last 31 days: nothing unusual
PROVEN  Review: reviewed on 2026-11-01, due on 2027-01-30
-       Space (offsite): an object store has no fixed size
-       Recovery kit: `kit` is not configured: keys and secrets have to be kept by hand
This holds until 2026-11-27 09:15:00 UTC."""
WEEKLY_GOOD = """\
tms, weekly list: PROVEN

[x] A restore was tested: PROVEN (record 2, 3)
    database: found identical 1 h ago from local
    uploads: found identical 1 h ago from local

[x] The backup of the files is complete: PROVEN (record 1)
    uploads: nothing was left out of the newest capture that was to be in it

[x] The stores have space left: PROVEN (record 1)
    local: 50.0 GiB of 100.0 GiB free (50 %)
    not asked: offsite: an object store has no fixed size

[x] The stored copies were read and are whole: PROVEN (record 5)
    local: checked 5 h ago and whole
    offsite: checked 5 h ago and whole"""
DAILY_BAD = """\
tms, daily list: FAILED

[ ] The backup was created: STALE (record 1)
    STALE  database: captured 26 h ago, promised is 24 h
    STALE  uploads: captured 26 h ago, promised is 24 h
    What changed since the newest capture would be lost.
    hint  Run `strongroom backup` and correct what it says.

[x] The backup's size is reasonable: PROVEN (record 1)
    database: 5.0 MiB; too few captures to say what is usual (0 before it)
    uploads: 5.0 MiB; too few captures to say what is usual (0 before it)

[ ] The logs are free of errors: FAILED (record 8)
    capture of uploads failed at 2026-11-26 10:05:00: uploads: the folder is not there
    What failed was not done, and will be missing when it is needed.
    hint  Read `strongroom log` and correct what it names.

[ ] Copies are kept in as many places as promised: STALE (record 1)
    the newest capture of uploads is in local; offsite has none yet
    If the place that has it is lost, the newest capture is lost with it.
    hint  Make the repository reachable; `strongroom copy` brings it up to date.

[ ] A copy is kept on another host than production's: FAILED
    local: on a disk of this host; offsite: on a disk of this host
    A fire, a theft or an attacker that takes the host takes all copies with it.
    hint  Configure a repository on another host.

[ ] What is to run by itself did run: STALE (record 1, 8)
    capture of database was due at 2026-11-26 09:00:00 and did not run
    Nothing is captured, checked or proven by itself.
    hint  Start the service: `systemctl start strongroom`.

[ ] Alerts reached somebody: FAILED (record 9)
    operators: the mail server is away
    Nobody may know of what else is told here.
    hint  Try `strongroom alert test` and correct the address."""
MONTHLY_GOOD = """\
tms, monthly list: PROVEN

[x] The whole application was restored: PROVEN (record 2, 3)
    all 2 sources of one recovery point were brought back 1 h ago; the application was not started,
    since nothing says how

[x] Recovery takes no longer than promised: PROVEN (record 2, 3)
    9.1 s, all sources in sum

[x] What is kept is what the policy says: PROVEN (record 6)
    local: pruned 8 h ago: 1 dropped, 30 snapshots kept
    offsite: pruned 8 h ago: 1 dropped, 30 snapshots kept

[x] The record of all runs is whole: PROVEN (record 9)
    it holds from the first to the last of 9 records; compared with the copies in local, offsite

[x] The logs show nothing unusual: PROVEN
    in the last 31 days: nothing unusual

[x] The procedures were reviewed: PROVEN
    reviewed on 2026-11-01, due on 2027-01-30"""
NAGIOS_GOOD = (
    "BACKUP OK - All 2 sources were restored and found identical to what was captured; databa"
    "se captured 3 h ago | age=10800s;87300;174600;0 proof_age=3600s;604800;;0 recovery=9s;14"
    "400;;0 check_age=18000s;691200;;0 size_database=5242880B;;;0 size_uploads=5242880B;;;0 c"
    "opies=2;2:;;0 free_local=53687091200B;10737418240:;;0 not_well=0;;;0;22"
)
NAGIOS_BAD = (
    "BACKUP CRITICAL - Runs: capture of uploads failed at 2026-11-26 10:05:00: uploads: the f"
    "older is not there; database: proven 9 days ago, longer than 7 days; database captured 2"
    "6 h ago | age=93600s;87300;174600;0 proof_age=777600s;604800;;0 recovery=9s;14400;;0 che"
    "ck_age=18000s;691200;;0 size_database=5242880B;;;0 size_uploads=5242880B;;;0 copies=1;2:"
    ";;0 free_local=6442450944B;10737418240:;;0 not_well=11;;;0;22"
)
