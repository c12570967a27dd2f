"""The runbook on the command line, and beside each recovery point in every repository."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from tests.e2e.command_line import TWO_REPOSITORIES, Place, make_place
from tests.support.demo_ground import error_of
from tests.support.restic import stock_restics

MARKDOWN, PAGE = "/.strongroom/runbook.md", "/.strongroom/runbook.html"
MORE = "contacts: [{role: Database, name: Amina, phone: '+971 4 000 0001'}]\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path, TWO_REPOSITORIES + MORE)
    made.json("init")
    return made


def codes(document: dict[str, Any]) -> list[str]:  # Any: JSON values
    return [one["code"] for one in document["findings"]]


def test_it_is_printed_as_markdown_or_written(place: Place) -> None:
    place.json("backup")
    place.json("drill")
    printed = place.run("runbook")
    assert printed.status == 0
    assert printed.text.startswith("# Backup & Recovery Procedures\n")
    assert "| Database | Amina | +971 4 000 0001 | – |" in printed.text
    assert "`uploads` PROVEN" in printed.text
    # Commands stay commands, though a password's name is in them.
    key = place.path / "key"
    assert f'export RESTIC_PASSWORD_FILE="${{LOCAL_PASSWORD_FILE:-{key}}}"' in printed.text
    for name in ("book.md", "book.html", "book.pdf"):
        answer = place.run("runbook", "--output", place.path / name)
        assert answer.status == 0, answer.err
        assert f"Wrote {place.path / name}" in answer.text
    assert (place.path / "book.md").read_text().startswith("# Backup & Recovery Procedures\n")
    assert '<h2 dir="auto" id="contacts">CONTACTS</h2>' in (place.path / "book.html").read_text()
    pages = PdfReader(io.BytesIO((place.path / "book.pdf").read_bytes())).pages
    assert "CONTACTS" in " ".join(one.extract_text() for one in pages)
    document = place.json("runbook")
    assert document["markdown"].startswith("# Backup & Recovery Procedures\n")
    assert document["bytes"] == len(document["markdown"].encode())


def test_a_file_that_exists_or_has_an_unknown_name_is_refused(place: Place) -> None:
    taken = place.path / "book.md"
    taken.write_text("mine")
    error_of(place.run("--json", "runbook", "--output", taken), 5, "target-refused")
    assert taken.read_text() == "mine"
    answer = place.run("--json", "runbook", "--output", place.path / "book.docx")
    assert ".md, .html or .pdf" in error_of(answer, 2, "usage")["hint"]
    assert place.run("runbook", "--repository", "local").status == 2


def test_one_lies_beside_every_recovery_point_in_every_repository(place: Place) -> None:
    first = place.json("backup")
    place.json("drill")
    second = place.json("backup")
    assert first["findings"] == second["findings"] == []
    for restic in stock_restics():
        for repository in ("local", "second"):
            where = place.path / repository
            restic.check(where)
            for point, proven in ((first, "UNKNOWN"), (second, "PROVEN")):
                tags = f"runbook,strongroom,point:{point['recovery_point']}"
                markdown = restic.run(where, "dump", "--tag", tags, "latest", MARKDOWN)
                assert f"`{point['recovery_point']}`" in markdown
                assert f"`uploads` {proven}" in markdown
                page = restic.run(where, "dump", "--tag", tags, "latest", PAGE)
                assert "</html>" in page
    assert place.json("check", "--read-data")["findings"] == []


def test_a_stored_one_is_read_back_on_a_host_that_has_nothing(place: Place) -> None:
    point = place.json("backup")["recovery_point"]
    place.json("backup")
    shutil.rmtree(place.path / "state")
    shutil.rmtree(place.path / "local")
    document = place.json("runbook", "--point", point[:-2])
    assert (document["point"], document["repository"]) == (point, "second")
    assert document["markdown"].count(f"`{point}`") >= 1
    assert codes(document) == ["repository-unreachable"]
    listed = place.json("ls", document["snapshot"], "/.strongroom")["entries"]
    assert {one["path"] for one in listed} >= {MARKDOWN, PAGE}
    dumped = place.run("dump", document["snapshot"], MARKDOWN)
    assert dumped.text == document["markdown"]
    output = place.path / "book.pdf"
    assert place.run("runbook", "--point", "latest", "--output", output).status == 0
    assert output.read_bytes().startswith(b"%PDF")
    answer = place.run("--json", "runbook", "--point", "zz")
    assert "no such recovery point" in error_of(answer, 26, "snapshot-missing")["message"]


def test_it_goes_and_stays_with_its_recovery_point(place: Place) -> None:
    place.write_config(
        TWO_REPOSITORIES + MORE + "retention: {local: {last: 1}, second: {last: 1}}\n"
    )
    points = [place.json("backup")["recovery_point"] for _ in range(3)]
    place.json("prune", "--yes")
    restic = stock_restics()[0]
    for repository in ("local", "second"):
        tagged = restic.run(place.path / repository, "snapshots", "--tag", "runbook", "--json")
        left = set(re.findall(r'"point:([^"]+)"', tagged))
        assert points[2] in left
        assert points[0] not in left
        restic.check(place.path / repository)


def test_a_copy_brings_it_along(place: Place) -> None:
    point = place.json("backup")["recovery_point"]
    text = place.config.read_text().replace(
        "state: state", "  third: {location: third, password: file:key}\nstate: state"
    )
    place.write_config(text)
    place.json("init")
    place.json("copy", "--from", "local", "--to", "third")
    document = place.json("runbook", "--point", point, "--repository", "third")
    assert document["repository"] == "third"


def test_a_repository_that_does_not_take_it_costs_no_capture(place: Place) -> None:
    """A copy of the ledger, and what goes along, is not what a backup is for."""
    gone = place.path / "second"
    shutil.rmtree(gone)
    document = place.run("--json", "backup").document
    assert [one["repository"] for one in document["snapshots"]] == ["local"]
    assert place.json("runbook", "--point", "latest")["repository"] == "local"


def test_pins_copies_and_repairs_in_the_ledger_take_nothing_away(place: Place) -> None:
    point = place.json("backup")["recovery_point"]
    place.json("snapshots", "pin", "latest:uploads", "--reason", "for the court")
    place.json("copy", "--from", "local", "--to", "second")
    place.json("snapshots", "acknowledge", "--all")
    assert place.json("backup")["findings"] == []
    assert f"| `{point}` |" in place.run("runbook").text


def test_what_prune_has_dropped_is_not_listed(place: Place) -> None:
    place.write_config(
        TWO_REPOSITORIES + MORE + "retention: {local: {last: 1}, second: {last: 1}}\n"
    )
    points = []
    for number in range(3):
        (place.uploads / "more").write_text(str(number))
        points.append(place.json("backup")["recovery_point"])
    assert all(f"| `{one}` |" in place.run("runbook").text for one in points)
    place.json("prune", "--yes")
    text = place.run("runbook").text
    assert f"| `{points[0]}` |" not in text
    assert f"| `{points[2]}` |" in text


def test_own_procedures_are_in_it_without_secrets(place: Place) -> None:
    own = place.path / "dns.md"
    own.write_text("# Names\n\nAsk Amina. `PGPASSWORD=hunter2 psql`\n")
    place.write_config(
        TWO_REPOSITORIES + MORE + "runbook: {procedures: [dns.md], before: [systemctl stop web]}\n"
    )
    document = place.json("backup")
    assert document["findings"] == []
    stored = place.json("runbook", "--point", "latest")["markdown"]
    assert "### Names\n\nAsk Amina." in stored
    assert "systemctl stop web" in stored
    assert "hunter2" not in stored


def test_a_procedure_that_cannot_be_read_is_a_warning(place: Place) -> None:
    (place.path / "text.md").write_bytes(b"\xff\xfe")
    (place.path / "large.md").write_text("x" * 300_000)
    place.write_config(
        TWO_REPOSITORIES + MORE + "runbook: {procedures: [gone.md, text.md, large.md]}\n"
    )
    answer = place.run("--json", "backup")
    assert answer.status == 0, answer.err
    assert codes(answer.document) == ["runbook-incomplete"] * 3
    document = place.json("runbook")
    assert codes(document) == ["runbook-incomplete"] * 3
    said = [one["message"] for one in document["findings"]]
    assert said == [
        "it cannot be read: No such file or directory",
        "it is not UTF-8 text",
        "it is larger than 256 KiB",
    ]
    assert f"**`{place.path / 'gone.md'}` is missing here:**" in document["markdown"]
    told = place.run("runbook").err
    assert "runbook-incomplete" in told


def test_it_needs_no_repository_and_no_source(place: Place) -> None:
    """On the day itself it is written from what this host still has."""
    place.json("backup")
    for name in ("local", "second", "uploads"):
        shutil.rmtree(place.path / name)
    assert place.run("runbook").status == 0
    (place.path / "key").unlink()
    assert "`uploads` UNKNOWN" in place.run("runbook").text
