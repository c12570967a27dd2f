"""What an auditor reads, word for word: the report's text, from fixed evidence, and the log."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.findings import Severity
from strongroom.model import Verdict
from strongroom.report.document import document_of
from strongroom.report.judgement import judge_evidence
from strongroom.report.text import text_lines
from tests.e2e.command_line import CONFIG, make_place
from tests.support.evidence_ground import NOW, PROMISE, WHOLE, evidence, noticed, proof

_MASKS = (
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME"),
    (r"snapshot [0-9a-f]{8}", "snapshot ID"),
    (r"[^ \n]+@[^ \n]+", "WHO"),
    (r" {2,}", "  "),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name, so that no line is cut."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_log_reads_well(folder: Path) -> None:
    place = make_place(folder, CONFIG)
    said = [place.run("log").text]
    place.json("init")
    place.json("backup")
    place.json("drill")
    place.json("check")
    place.json("restore", "uploads", "--to", folder / "back", "--reason", "Ticket 17")
    place.run("dump", "abc", "/no such file")
    place.write_config(CONFIG + "objectives: {rto: 2h}\n")
    (folder / "back/lpos/LPO-1.pdf").unlink()
    place.run("prove", "uploads", "--target", folder / "back")
    said += [place.run("log").text, place.run("log", "--limit", "1").text]
    said.append(place.run("log", "--source", "database").text)
    text = "".join(said).replace(str(folder), "DIR")
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    assert text == LOG


def test_the_report_reads_well() -> None:
    differs = noticed("content-differs", Severity.FAILURE)
    chain = dataclasses.replace(WHOLE, compared=("local",), uncompared=("offsite",))
    drilled = (
        proof(2),
        proof(3, "uploads", repository="offsite", location="s3:https://s3.example.com/tms",
              verdict=Verdict.FAILED, findings=(differs,), digests=None),
    )  # fmt: skip
    report = judge_evidence(evidence(*drilled, chain=chain), PROMISE, NOW)
    assert "\n".join(text_lines(document_of(report))) == REPORT


LOG = """\
Nothing is recorded yet.
RECORD  TIME (UTC)  ACTION  ABOUT  RESULT  BY
  1  TIME  configuration  DIR/strongroom.yaml  first seen  WHO
  2  TIME  command  init  done  WHO
  3  TIME  backup  uploads  1 snapshot  WHO
  4  TIME  command  backup  done  WHO
  5  TIME  drill  uploads from local, snapshot ID  PROVEN  WHO
  6  TIME  command  drill  done  WHO
  7  TIME  check  local  sound  WHO
  8  TIME  command  check  done  WHO
  9  TIME  command-begun  restore uploads --to DIR/back: Ticket 17  begun  WHO
  10  TIME  restore  uploads from local, snapshot ID: Ticket 17  PROVEN  WHO
  11  TIME  command  restore uploads --to DIR/back: Ticket 17  done  WHO
  12  TIME  command-begun  dump abc '/no such file'  begun  WHO
  13  TIME  command  dump abc '/no such file'  failed: abc: no snapshot has this id  WHO
  14  TIME  configuration  objectives.rto  1 setting changed  WHO
  15  TIME  prove  uploads from local, snapshot ID  FAILED  WHO
  16  TIME  command  prove uploads --target DIR/back  status 41  WHO
RECORD  TIME (UTC)  ACTION  ABOUT  RESULT  BY
  16  TIME  command  prove uploads --target DIR/back  status 41  WHO
15 older records not shown
There is no such record.
"""

REPORT = """\
Evidence of recovery: tms (production)
Made 2026-11-26 12:00:00 UTC; covers all records of the ledger
FAILED  uploads: 1 failure found.

WHAT WAS PROVEN
  database (postgres); Verdict: PROVEN (found identical 1 h ago); From repository: local
    (/backup/tms); Recovery point (UTC): 2026-11-26 09:00:05 (55555555, tree 3549b002); Brought back
    (UTC): 2026-11-26 11:00:00 (drill, record 2); Compared: 120 (5.0 MiB)
  uploads (files); Verdict: FAILED (1 failure found); From repository: offsite
    (s3:https://s3.example.com/tms); Recovery point (UTC): 2026-11-26 09:00:05 (55555555, tree
    9ba88c41); Brought back (UTC): 2026-11-26 11:00:00 (drill, record 3); Compared: 120 (5.0 MiB)

HOW LONG IT TOOK
  database; From: local; In all: 4.5 s; Stages: sandbox 0.8 s · restore 2.5 s · compare files 1.2
    s
  uploads; From: offsite; In all: 4.5 s; Stages: sandbox 0.8 s · restore 2.5 s · compare files 1.2
    s

DIGESTS OF CONTENT
  database (local); Digest of: rows of 17 tables, large objects; Expected, observed:
    eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee,
    eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee; Result: equal
  uploads (offsite); Digest of: not recorded; Expected, observed: –, –; Result: not computed

OBJECTIVES
  RPO; What is measured: age of the newest capture; of the newest that was brought back 2 h 59
    min; Promised: 24 h; Observed: 3 h; Result: met
  RTO; What is measured: restore and proof of all sources, in sum; Promised: 4 h; Observed: –;
    Result: NOT MEASURED
  Proof age; What is measured: age of the newest proof; Promised: 7 days; Observed: –; Result: NOT
    MEASURED
  Copies; What is measured: repositories that hold the newest capture; Promised: 2; Observed: 2;
    Result: met

ALL ELSE THAT IS TO BE IN ORDER
  Restored; Verdict: FAILED; Observed: uploads: 1 failure found (since 2026-11-26 11:00:00 UTC);
    What it means: Whether the copies come back is not known any more.
  Whole application; Verdict: UNKNOWN; Observed: the sources of one recovery point were not all
    brought back yet; What it means: Whether everything comes back together, and the application
    with it, is not known.
  Recovery time; Verdict: UNKNOWN; Observed: it was not measured: not everything was brought back;
    What it means: After a disaster the application would be away for longer than promised.
  As it is to be: Captured, Size, Runs, Copies, Off-site, Schedule, Alerts, Files complete, Space,
  Integrity, Retention, Ledger, Anomalies, Review. Not asked here: Space offsite, Recovery kit.

NOT PROVEN
  ledger; Why: it was not compared with the copy in offsite
  database; Why: the copy in offsite is not proven within 7 days: never proven
  uploads; Why: 1 failure found, the copy in local is not proven within 7 days: never proven, the
    copy in offsite is not proven within 7 days: never proven
  application; Why: the application as a whole was not started: each source was proven by itself

FINDINGS
  failure; Finding: content-differs (uploads); About, and what was observed: public.invoices (one
    row was captured, none is observed); What it means, what to do: A table's rows are not the rows
    that were captured. (Restore again from another repository; compare with `strongroom undelete`.)

LEDGER AND VERSIONS
  Chain: holds from the first to the last of 9 records
  Head: abababababababababababababababababababababababababababababababab
  Copies: compared with that in local; not compared with offsite
  Configuration: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
  Brought back by: amina@backup
  Versions: Strongroom 0.1.0 · Python 3.11.9 · host backup"""
