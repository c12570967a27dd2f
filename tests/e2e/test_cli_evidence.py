"""From a backup to the auditor's page: drill, log, export, report; and a broken ledger."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from strongroom.evidence import Entry, Ledger
from tests.e2e.command_line import IN_ORDER, PASSWORD, Place, make_place

HOSTILE = "<script>x</script>\x1b[2J\u202egnp"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, IN_ORDER)
    made.json("init")
    return made


@pytest.fixture
def drilled(place: Place) -> Place:
    """Captured, drilled from each repository."""
    place.json("backup")
    for repository in ("local", "second"):
        assert place.json("drill", "--repository", repository)["verdict"] == "PROVEN"
    return place


def ledger_of(place: Place) -> Ledger:
    return Ledger(place.path / "state/ledger.jsonl")


def newest(place: Place) -> Entry:
    return place.seen()[-1]


def edit(place: Place, before: bytes, after: bytes) -> int:
    """Change a word where it stands first; returns the number of its line."""
    path = ledger_of(place).path
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    return content[: content.index(before)].count(b"\n") + 1


# Records


def test_a_long_result_does_not_stretch_the_list(place: Place) -> None:
    """The list has the beginning of it; --verbose and JSON have all."""
    message = f"{'it did not answer ' * 40}at all"
    error = {"code": "store-failed", "message": message, "hint": "Wait."}
    ledger_of(place).append("check", {"application": "tms", "error": error})
    ledger_of(place).append("drill", {"application": "tms", "verdict": "PROVEN"})
    lines = place.run("log").text.splitlines()
    assert max(map(len, lines)) < 200
    assert any("failed: it did not answer" in one and "…" in one for one in lines)
    assert message in place.run("--verbose", "log").text
    assert message in place.run("log", "--json").text


def test_a_drill_records_what_an_auditor_asks(drilled: Place) -> None:
    fields = newest(drilled).fields
    (snapshot,) = [one for one in drilled.snapshots() if one["repository"] == "second"]
    assert fields["source"] == "uploads"
    assert fields["source_kind"] == "files"
    assert fields["repository"] == "second"
    assert fields["location"] == str(drilled.path / "second")
    assert fields["snapshot"] == snapshot["id"]
    assert fields["tree"] == snapshot["tree"]
    assert fields["point"] == snapshot["recovery_point"]
    assert fields["captured_at"] == snapshot["captured_at"]
    assert {"strongroom", "python", "host"} <= set(fields["versions"])
    assert re.fullmatch(r"[0-9a-f]{64}", fields["config_digest"])
    assert re.fullmatch(r"[0-9a-f]{64}", fields["expected_digest"])
    assert fields["observed_digest"] == fields["expected_digest"]
    assert fields["bytes"] > 0
    assert "@" in fields["by"]
    assert fields["stages"][0]["name"] == "sandbox"
    assert PASSWORD not in ledger_of(drilled).content().decode()


def test_restore_and_prove_record_it_too(drilled: Place, tmp_path: Path) -> None:
    target = tmp_path / "back"
    before = newest(drilled).fields["expected_digest"]
    restored = drilled.json("restore", "uploads", "--to", target)
    assert restored["observed_digest"] == before == newest(drilled).fields["observed_digest"]
    (target / "lpos/LPO-1.pdf").write_bytes(b"another")
    answer = drilled.run("--json", "prove", "uploads", "--target", target)
    assert answer.status == 41
    fields = newest(drilled).fields
    assert fields["expected_digest"] == before
    assert fields["observed_digest"] == answer.document["observed_digest"] != before
    # Secrets are references: their values change nothing, settings do.
    digest = fields["config_digest"]
    drilled.write_config(IN_ORDER + "objectives: {rto: 2h}\n")
    drilled.json("drill")
    assert newest(drilled).fields["config_digest"] != digest


def test_records_stay_small_whatever_is_found(drilled: Place) -> None:
    target = drilled.path / "many"
    target.mkdir()
    for number in range(900):
        (target / f"{number} {'x' * 200}").touch()
    answer = drilled.run("--json", "prove", "uploads", "--target", target)
    assert answer.status == 41
    found = len(answer.document["findings"])
    fields = newest(drilled).fields
    assert len(fields["findings"]) == 40
    assert sum(fields["findings_left_out"].values()) == found - 40
    assert all(len(line) < 40_000 for line in ledger_of(drilled).content().splitlines())


# log


def seqs(document: dict[str, Any]) -> list[int]:
    return [one["seq"] for one in document["entries"]]


def test_the_log_lists_what_is_wanted(drilled: Place) -> None:
    (drilled.uploads / "more").write_text("more")
    drilled.run("prove", "uploads", "--target", drilled.uploads)
    whole = drilled.json("log")
    everything = list(range(1, 11))
    assert seqs(whole) == everything
    assert [one["action"] for one in whole["entries"]] == [
        "configuration", "command",  # init
        "backup", "command", "drill", "command", "drill", "command", "prove", "command",
    ]  # fmt: skip
    assert whole["findings"] == []
    at = whole["entries"][4]["at"]
    for chosen, expected in (
        (["--action", "drill"], [5, 7]),
        (["--action", "drill", "--action", "backup"], [3, 5, 7]),
        (["--source", "uploads"], [3, 5, 7, 9]),
        (["--source", "database"], []),
        (["--verdict", "FAILED"], [9]),
        (["--verdict", "proven"], [5, 7]),
        (["--limit", "2"], [9, 10]),
        (["--since", at], [5, 6, 7, 8, 9, 10]),
        (["--until", at], [1, 2, 3, 4]),
        (["--since", "1h", "--action", "prove"], [9]),
        (["--since", "0s"], []),
        (["--command", "drill"], [6, 8]),
        (["--command", "drill", "--command", "init"], [2, 6, 8]),
        (["--command", "dri"], []),
        (["--failed"], [9, 10]),
        (["--by", getpass.getuser()], everything),
        (["--by", "nobody at all"], []),
    ):
        assert seqs(drilled.json("log", *chosen)) == expected, chosen
    assert drilled.run("log", "--since", "yesterday").status == 2


def test_a_broken_ledger_is_listed_as_far_as_it_goes(drilled: Place) -> None:
    line = edit(drilled, b'"drill"', b'"Drill"')
    answer = drilled.run("log")
    assert answer.status == 3
    assert "The ledger is BROKEN" in answer.text
    assert f"line {line}: the line's hash does not fit its text" in answer.text
    document = drilled.run("--json", "log").document
    assert seqs(document) == [one for one in range(1, 9) if one != line]
    assert document["findings"][0]["code"] == "ledger-broken"


def test_a_sound_ledger_is_verified(drilled: Place) -> None:
    report = drilled.json("log", "--verify")
    assert report["holds"]
    assert report["records"] == 8
    assert report["head"]["hash"] == list(ledger_of(drilled).entries())[-1].hash
    assert report["compared"] == ["local", "second"]
    assert report["findings"] == report["uncompared"] == []


def test_what_could_not_be_compared_is_not_called_sound(drilled: Place) -> None:
    shutil.move(drilled.path / "second", drilled.path / "away")
    answer = drilled.run("--json", "log", "--verify")
    assert answer.status == 3
    assert answer.document["holds"]
    assert answer.document["compared"] == ["local"]
    assert [one["repository"] for one in answer.document["uncompared"]] == ["second"]
    shutil.move(drilled.path / "local", drilled.path / "away too")
    assert drilled.run("log", "--verify").status == 3


def test_an_edited_line_is_named(drilled: Place) -> None:
    line = edit(drilled, b'"PROVEN"', b'"FAILED"')
    answer = drilled.run("log", "--verify")
    assert answer.status == 37
    assert f"line {line}: the line's hash does not fit its text" in answer.text
    assert "BROKEN" in answer.text


@pytest.mark.parametrize("how", ["cut back and sealed again", "gone", "emptied", "another one"])
def test_a_ledger_that_was_replaced_is_found_by_its_copies(drilled: Place, how: str) -> None:
    drilled.json("backup")
    path = ledger_of(drilled).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.with_name("ledger.jsonl.head").unlink()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(lines[0] if how.startswith("cut") else b"")
    if how.startswith("cut") or how == "another one":
        ledger_of(drilled).append("drill", {"application": "tms", "verdict": "PROVEN"})
    assert ledger_of(drilled).verify() == []
    answer = drilled.run("--json", "log", "--verify")
    if how == "another one":  # which may be another host's, so nothing is known of it
        assert answer.status == 3
        assert [one["why"] for one in answer.document["uncompared"]] == [
            "it holds no copy of this ledger"
        ] * 2
    else:
        assert answer.status == 37
        assert {one["code"] for one in answer.document["findings"]} == {"ledger-differs"}


def test_records_are_exported(drilled: Place, tmp_path: Path) -> None:
    as_json, as_junit = tmp_path / "log.json", tmp_path / "drills.xml"
    report = drilled.json("log", "--export", as_json)
    assert report["records"] == 8
    assert seqs(json.loads(as_json.read_text())) == list(range(1, 9))
    drilled.json("log", "--export", as_junit, "--format", "junit")
    root = ET.fromstring(as_junit.read_bytes())
    assert [one.get("name") for one in root] == ["drill of record 5", "drill of record 7"]
    assert [one.get("failures") for one in root] == ["0", "0"]
    taken = drilled.run("log", "--export", as_json)
    assert taken.status == 5
    assert not list(tmp_path.glob("*.partial"))


# report


def test_the_evidence_fits_on_a_page(drilled: Place, tmp_path: Path) -> None:
    page, paper = tmp_path / "evidence.html", tmp_path / "evidence.pdf"
    drilled.json("check", "--read-data")
    drilled.json("prune")
    last_drill = list(ledger_of(drilled).entries("drill"))[-1]
    report = drilled.json("report", "--output", paper)
    assert report["verdict"] == "PROVEN"
    assert [one["repository"] for one in report["proofs"]] == ["local", "second"]
    assert {one["state"] for one in report["objectives"]} == {"met"}
    assert report["ledger"]["compared"] == ["local", "second"]
    assert drilled.run("report", "--output", page).status == 0
    reader = PdfReader(paper)
    assert len(reader.pages) == 1
    told = re.sub(r"\s+", "", reader.pages[0].extract_text())
    shown = page.read_text()
    for one in (
        "PROVEN",
        list(ledger_of(drilled).entries())[-1].hash,
        last_drill.fields["observed_digest"],
        last_drill.fields["config_digest"],
        str(drilled.path / "second"),
        "holds from the first to the last of 14 records",
        "the application as a whole was not started",
    ):
        assert one in shown
        assert re.sub(r"\s+", "", one) in told
    assert drilled.run("report", "--output", page).status == 5
    assert drilled.run("report", "--output", tmp_path / "evidence.txt").status == 2
    assert not (tmp_path / "evidence.txt").exists()


def test_the_exit_status_is_the_verdict(place: Place, tmp_path: Path) -> None:
    assert place.run("report").status == 42
    place.json("backup")
    assert place.run("report").status == 42
    place.json("drill")
    assert place.run("report").status == 40  # nobody has checked and pruned the repositories
    place.json("check", "--read-data")
    place.json("prune")
    assert place.run("report").status == 0
    place.write_config(IN_ORDER + "objectives: {proof_age: 0s}\n")
    assert place.run("report").status == 40
    place.write_config(IN_ORDER)
    (data,) = [one for one in (place.path / "second/data").rglob("*") if one.stat().st_size > 1e5]
    data.write_bytes(bytes(100) + data.read_bytes()[100:])
    place.run("drill", "--repository", "second")
    paper = tmp_path / "failed.pdf"
    assert place.run("report", "--output", paper).status == 41
    assert "FAILED" in PdfReader(paper).pages[0].extract_text()
    # A later proof of another copy does not hide it.
    place.json("drill", "--repository", "local")
    assert place.run("report").status == 41


def test_one_drill_is_reported_alone(drilled: Place) -> None:
    report = drilled.json("report", "--drill", "5")
    assert [one["evidence"] for one in report["proofs"]] == [5]
    assert report["drill"] == 5
    unknown = drilled.run("report", "--drill", "1")
    assert unknown.status == 2
    assert "no record of this number tells of a drill" in unknown.err
    assert drilled.run("report", "--since", "0s").status == 42
    assert drilled.run("report", "--since", "1h", "--drill", "5").status == 2


def test_a_report_from_a_broken_ledger_says_so_on_its_face(drilled: Place, tmp_path: Path) -> None:
    line = edit(drilled, b'"uploads"', b'"Uploads"')
    page, paper = tmp_path / "broken.html", tmp_path / "broken.pdf"
    assert drilled.run("report", "--output", page).status == 42
    assert drilled.run("report", "--output", paper).status == 42
    told = f"THE LEDGER IS BROKEN: line {line}: the line's hash does not fit its text."
    first = re.sub(r"\s+", " ", PdfReader(paper).pages[0].extract_text())
    for shown in (page.read_text().replace("&#x27;", "'"), first):
        assert told in shown
        assert "Nothing here is proven." in shown


def test_hostile_names_are_harmless_in_reports(drilled: Place, tmp_path: Path) -> None:
    """Whoever can upload files chooses their names, and a proof quotes them."""
    target = tmp_path / "target"
    shutil.copytree(drilled.uploads, target)
    (target / HOSTILE.replace("/", "|")).touch()
    ledger_of(drilled).append(
        "drill",
        {
            "application": "tms",
            "source": "uploads",
            "repository": "local",
            "verdict": "FAILED",
            "checked": 1,
            "findings": [
                {"code": "tree-extra", "severity": "failure", "subject": HOSTILE,
                 "message": HOSTILE}
            ],
        },
    )  # fmt: skip
    page, paper, cases = tmp_path / "h.html", tmp_path / "h.pdf", tmp_path / "h.xml"
    assert drilled.run("report", "--output", page).status == 41
    assert drilled.run("report", "--output", paper).status == 41
    drilled.run("log", "--export", cases, "--format", "junit")
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    ET.fromstring(cases.read_bytes())
    listed = drilled.run("log").text + drilled.run("report").text
    for shown in (text, listed, PdfReader(paper).pages[0].extract_text(), cases.read_text()):
        assert not {"\x1b", "\u202e"} & set(shown)


@pytest.mark.parametrize("name", ["evidence.html", "evidence.pdf"])
def test_a_full_disk_leaves_no_half_page(drilled: Place, tmp_path: Path, name: str) -> None:
    output = tmp_path / "out" / name
    output.parent.mkdir()
    command = ["prlimit", "--fsize=2000", sys.executable, "-m", "strongroom"]
    options = ["--config", str(drilled.config), "report", "--output", str(output)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    assert list(output.parent.iterdir()) == []
    assert drilled.run("report", "--output", tmp_path / "none" / name).status == 5


def test_a_report_reads_no_repository_that_is_away(drilled: Place) -> None:
    for name in ("local", "second"):
        shutil.rmtree(drilled.path / name)
    answer = drilled.run("--json", "report")
    report = answer.document
    assert [one["verdict"] for one in report["sources"]] == ["PROVEN"]
    assert answer.status == 40  # nobody has checked and pruned them
    assert report["ledger"]["uncompared"] == ["local", "second"]
    assert "it was not compared with the copy in local" in [
        one["why"] for one in report["not_proven"]
    ]
