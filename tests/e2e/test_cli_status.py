"""From the first day to a green status and back: real captures, real stores, and what they lack."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import Entry, Ledger
from tests.e2e.command_line import IN_ORDER, PASSWORD, Answer, Place, make_place
from tests.support.store_servers import rclone_s3, sftp_server

COPIES = "objectives: {copies: 2}\n"
UNREVIEWED = "\n".join(one for one in IN_ORDER.split("\n") if not one.startswith("review:"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, IN_ORDER + COPIES)
    made.json("init")
    return made


@pytest.fixture
def green(place: Place) -> Place:
    """All that the procedures ask for was done once."""
    place.json("backup")
    place.json("drill")
    place.json("check", "--read-data")
    place.json("prune")
    assert place.run("status").status == 0, place.run("status").text
    return place


def checks(answer: Answer) -> dict[str, dict[str, Any]]:  # Any: JSON values
    return {
        f"{one['name']}:{one['subject']}" if one["subject"] else one["name"]: one
        for one in answer.document["checks"]
    }


def entries(place: Place, kind: str) -> list[Entry]:
    return list(Ledger(place.path / "state/ledger.jsonl").entries(kind))


def test_the_first_day_is_unknown_and_no_alarm(place: Place) -> None:
    answer = place.run("--json", "status")
    assert answer.status == 42
    verdicts = {one["verdict"] for one in answer.document["checks"]}
    assert verdicts == {"UNKNOWN", "PROVEN"}
    assert {one["name"] for one in answer.document["checks"] if one["verdict"] == "PROVEN"} == {
        "ledger",  # it holds who made the repositories
        "review",
    }
    assert place.run("status", "--nagios").status == 3


def test_step_by_step_to_green(place: Place) -> None:
    def not_well() -> set[str]:
        found = checks(place.run("--json", "status"))
        return {key for key, one in found.items() if one["verdict"] != "PROVEN"}

    before = not_well()
    for command, heals in (
        (["backup"], {"capture:uploads", "size:uploads", "errors", "copies", "files:uploads",
                      "space:local", "space:second", "anomalies"}),
        (["drill"], {"proof:uploads", "full-restore", "rto"}),
        (["check"], set()),
        (["check", "--read-data"], {"integrity:local", "integrity:second"}),
        (["prune"], {"retention:local", "retention:second"}),
    ):  # fmt: skip
        place.json(*command)
        after = not_well()
        assert before - after == heals, command
        before = after
    assert before == set()
    answer = place.run("--json", "status")
    assert answer.status == 0
    document = answer.document
    assert document["verdict"] == "PROVEN"
    assert {one["state"] for one in document["objectives"]} == {"met"}
    assert document["sources"][0]["copies"] == ["local", "second"]
    assert {one["name"] for one in document["not_asked"]} == {
        "off-site", "schedule", "delivery", "kit"
    }  # fmt: skip
    made_at, until = (datetime.fromisoformat(document[name]) for name in ("made_at", "valid_until"))
    assert made_at < until
    # All faces say the same.
    assert place.run("report").status == 0
    verdicts = {key: one["verdict"] for key, one in checks(answer).items()}
    reported = checks(place.run("--json", "report"))
    assert {key: one["verdict"] for key, one in reported.items()} == verdicts
    nagios = place.run("status", "--nagios")
    assert nagios.status == 0
    assert nagios.text.startswith("BACKUP OK - ")
    assert nagios.text.count("\n") == 1


def test_a_status_opens_no_repository(green: Place) -> None:
    for name in ("local", "second"):
        shutil.rmtree(green.path / name)
    (green.path / "key").unlink()
    assert green.run("status").status == 0


def test_a_capture_that_fails_is_told_at_once(green: Place) -> None:
    shutil.move(green.uploads, green.path / "away")
    assert green.run("backup").status != 0
    answer = green.run("--json", "status")
    assert answer.status == 41
    found = checks(answer)
    assert found["errors"]["verdict"] == "FAILED"
    assert "capture of uploads failed" in found["errors"]["observed"]
    assert found["capture:uploads"]["verdict"] == "PROVEN"
    assert found["errors"]["evidence"] == [entries(green, "backup")[-1].seq]
    nagios = green.run("status", "--nagios")
    assert nagios.status == 2
    assert nagios.text.startswith("BACKUP CRITICAL - ")
    shutil.move(green.path / "away", green.uploads)
    green.json("backup")
    assert checks(green.run("--json", "status"))["errors"]["verdict"] == "PROVEN"


def test_a_file_that_cannot_be_captured_is_named(green: Place) -> None:
    green.write_config(
        IN_ORDER.replace("uploads, capture", "uploads, required: [invoices], capture")
    )
    assert green.run("backup").status == 3
    answer = green.run("--json", "status")
    found = checks(answer)["files:uploads"]
    assert found["verdict"] == "UNKNOWN"
    assert "folder-missing invoices" in found["observed"]
    assert answer.status == 40
    # New, too, which is for people to read.
    assert checks(answer)["anomalies"]["verdict"] == "UNKNOWN"


def test_a_source_that_lost_most_of_it_is_noticed(green: Place) -> None:
    for one in (green.uploads / "lpos").iterdir():
        one.unlink()
    green.run("backup")
    found = checks(green.run("--json", "status"))["size:uploads"]
    assert found["verdict"] == "UNKNOWN"
    assert "smaller than is usual" in found["observed"]


def test_damage_counts_until_it_is_repaired(green: Place) -> None:
    pack = max((green.path / "second/data").rglob("*"), key=lambda one: one.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[20] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert green.run("check", "second", "--read-data").status == 30
    for _ in range(2):
        answer = green.run("--json", "status")
        assert answer.status == 41
        assert checks(answer)["integrity:second"]["verdict"] == "FAILED"
        assert "pack-content" in checks(answer)["integrity:second"]["observed"]
        green.run("check", "second")  # which reads nothing
    green.json("repair", "second")
    green.json("check", "second", "--read-data")
    assert checks(green.run("--json", "status"))["integrity:second"]["verdict"] == "PROVEN"


def test_another_policy_is_followed_by_a_prune_only(green: Place) -> None:
    green.write_config(IN_ORDER + "retention: {local: {daily: 3d}}\n")
    answer = green.run("--json", "status")
    assert answer.status == 40
    found = checks(answer)
    assert found["retention:local"]["verdict"] == "STALE"
    assert found["retention:second"]["verdict"] == "PROVEN"
    green.json("prune")
    assert green.run("status").status == 0


def test_production_wants_a_copy_elsewhere(green: Place) -> None:
    green.write_config(IN_ORDER.replace("environment: development\n", ""))
    answer = green.run("--json", "status")
    assert answer.status == 40
    found = checks(answer)["off-site"]
    assert found["verdict"] == "FAILED"
    assert "local: on a disk of this host, as production is" in found["observed"]


def test_a_review_is_asked_for_and_costs_no_verdict(green: Place) -> None:
    green.write_config(UNREVIEWED)
    answer = green.run("--json", "status")
    assert answer.status == 0
    assert checks(answer)["review"]["verdict"] == "UNKNOWN"
    assert "to look at: Review" in green.run("status", "--nagios").text


def test_what_was_due_and_did_not_run_is_noticed(green: Place) -> None:
    """Whoever was to run it: the records tell when something ran last."""
    scheduled = IN_ORDER.replace(", capture: never", "")
    scheduled = scheduled.replace("{prune: never,", '{capture: "* * * * *", prune: never,')
    green.write_config(scheduled)
    # The records begin just now, so nothing was due yet.
    found = checks(green.run("--json", "status"))["schedule"]
    assert found["verdict"] == "UNKNOWN"
    assert "nothing was due since" in found["observed"]


def test_an_edited_ledger_is_believed_in_nothing(green: Place) -> None:
    path = green.path / "state/ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"PROVEN"', b'"FAILED"', 1))
    answer = green.run("--json", "status")
    assert answer.status == 42
    found = checks(answer)
    assert found["ledger"]["verdict"] == "FAILED"
    assert {one["verdict"] for key, one in found.items() if key not in ("ledger", "review")} == {
        "UNKNOWN"
    }
    assert "No record counts: line " in answer.document["because"]
    path.write_bytes(b"")
    assert green.run("status").status == 42


def test_a_ledger_that_cannot_be_read_is_said_to_be_so(green: Place) -> None:
    """As by a monitor's own user; root may read everything, so here a folder is in the way."""
    path = green.path / "state/ledger.jsonl"
    path.rename(green.path / "away")
    path.mkdir()
    answer = green.run("status", "--nagios")
    assert answer.status == 3
    assert "No record counts: the ledger cannot be read: Is a directory |" in answer.text


def test_the_status_is_written_for_others(green: Place, tmp_path: Path) -> None:
    output = tmp_path / "status.json"
    output.write_text("what was there before")
    assert green.run("status", "--write", output).status == 0
    assert oct(output.stat().st_mode & 0o777) == "0o644"
    document = json.loads(output.read_text())
    assert document["verdict"] == "PROVEN"
    assert datetime.fromisoformat(document["valid_until"]) > datetime.now(UTC)
    text = output.read_text()
    assert str(green.path) not in text
    assert PASSWORD not in text
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".partial")] == []
    answer = green.run("--json", "status", "--write", tmp_path / "nowhere/status.json")
    assert answer.status == 5
    assert answer.document["error"]["code"] == "target-refused"


def test_monitors_get_their_line_whatever_is_wrong(tmp_path: Path) -> None:
    place = make_place(tmp_path, "nonsense: [")
    answer = place.run("status", "--nagios")
    assert answer.status == 3
    assert answer.text.startswith("BACKUP UNKNOWN - ")
    assert answer.text.count("\n") == 1
    assert place.run("status").status == 2
    assert place.run("--json", "status", "--nagios").status == 2


# Checklists


def line(answer: Answer, name: str) -> dict[str, Any]:  # Any: JSON values
    (found,) = [one for one in answer.document["checks"] if one["name"] == name]
    assert isinstance(found, dict)
    return found


def test_the_checklists_are_gone_through_line_by_line(green: Place) -> None:
    names = {
        "daily": ["capture", "size", "errors", "copies", "off-site", "schedule", "delivery"],
        "weekly": ["proof", "files", "space", "integrity"],
        "monthly": ["full-restore", "rto", "retention", "ledger", "anomalies", "review"],
    }
    for checklist, expected in names.items():
        answer = green.run("--json", "verify", checklist)
        assert answer.status == 0, answer.text
        document = answer.document
        assert document["verdict"] == "PROVEN"
        assert [one["name"] for one in document["checks"]] == expected
        for one in document["checks"]:
            assert one["observed"]
            assert one["verdict"] in ("PROVEN", None)
        recorded = entries(green, "verify")[-1]
        assert recorded.seq == document["evidence"]
        assert recorded.fields["list"] == checklist
        assert [one["name"] for one in recorded.fields["lines"]] == expected
        assert [one["reached"] for one in recorded.fields["reached"]] == [True, True]
    backup = entries(green, "backup")[-1].seq
    assert line(green.run("--json", "verify", "daily"), "capture")["evidence"] == [backup]
    assert (
        "compared with the copies in local, second"
        in (line(green.run("--json", "verify", "monthly"), "ledger")["observed"])
    )
    assert green.run("verify", "yearly").status == 2


def test_a_store_that_is_away_is_found_by_the_checklist_and_remembered(green: Place) -> None:
    shutil.move(green.path / "second", green.path / "away")
    assert green.run("status").status == 0  # nobody has asked it
    answer = green.run("--json", "verify", "daily")
    assert answer.status == 40
    told = line(answer, "copies")
    assert told["verdict"] == "STALE"
    assert "second cannot be reached" in told["observed"]
    later = green.run("--json", "status")
    assert later.status == 40
    assert "second cannot be reached" in checks(later)["copies"]["observed"]
    shutil.move(green.path / "away", green.path / "second")
    assert green.run("verify", "daily").status == 0
    assert green.run("status").status == 0


def test_stores_of_other_kinds_are_asked_what_they_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SFTP server tells its room, an object store has none to tell; both are on this host."""
    with sftp_server(tmp_path / "sftp") as files:
        with rclone_s3(tmp_path / "s3") as bucket:
            monkeypatch.setenv("S3_KEY_ID", str(bucket.access.access_key))
            monkeypatch.setenv("S3_KEY", str(bucket.access.secret_key))
            begin = IN_ORDER.index("  local:")
            end = IN_ORDER.index("schedule:")
            place = make_place(
                tmp_path / "place",
                IN_ORDER[:begin].replace("development", "production")
                + f"""\
  files: {{location: "{files.location()}", password: file:key,
    access: {{identity: {files.access.identity}, known_hosts: {files.access.known_hosts}}}}}
  bucket: {{location: "{bucket.location()}", password: file:key,
    access: {{access_key: env:S3_KEY_ID, secret_key: env:S3_KEY, region: us-east-1}}}}
"""
                + IN_ORDER[end:],
            )
            place.json("init")
            place.json("backup")
            (told,) = entries(place, "backup")[-1].fields["spaces"]
            assert told["repository"] == "files"
            assert 0 < told["free_bytes"] < told["total_bytes"]
            answer = place.run("--json", "verify", "weekly")
            space = line(answer, "space")
            assert [one["subject"] for one in space["subjects"]] == ["files"]
            assert space["left_out"] == ["bucket: an object store has no fixed size"]
            daily = place.run("--json", "verify", "daily")
            assert line(daily, "copies")["verdict"] == "PROVEN"
            off_site = line(daily, "off-site")
            assert off_site["verdict"] == "FAILED"
            assert "bucket: on this host itself, as production is" in off_site["observed"]
        # The bucket's server has ended.
        away = place.run("--json", "verify", "daily")
        assert line(away, "copies")["verdict"] == "STALE"
        assert "bucket cannot be reached" in line(away, "copies")["observed"]
        (reached,) = [
            one
            for one in entries(place, "verify")[-1].fields["reached"]
            if one["repository"] == "bucket"
        ]
        assert not reached["reached"]
        assert str(bucket.access.secret_key) not in json.dumps(reached)


def test_room_is_asked_by_the_checklist(green: Place) -> None:
    green.write_config(IN_ORDER.replace("space: 1KiB", "space: 900TiB"))
    answer = green.run("--json", "verify", "weekly")
    assert answer.status == 40
    told = line(answer, "space")
    assert told["verdict"] == "STALE"
    assert "900.0 TiB must be free" in told["observed"]
    assert len(entries(green, "verify")[-1].fields["spaces"]) == 2
    assert entries(green, "backup")[-1].fields["spaces"][0]["repository"] == "local"


def test_a_line_that_is_not_well_leaves_the_list_open(green: Place) -> None:
    green.write_config(UNREVIEWED)
    answer = green.run("--json", "verify", "monthly")
    assert line(answer, "review")["verdict"] == "UNKNOWN"
    assert answer.status == 40
    text = green.run("verify", "monthly").text
    assert "[ ] The procedures were reviewed: UNKNOWN" in text
    assert "[x] The record of all runs is whole: PROVEN" in text
