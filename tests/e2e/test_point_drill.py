"""Database, files and code of one point belong together: references, versions, and what moved."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import Place
from tests.support.failure_ground import execute
from tests.support.point_ground import CONFIG, make_point_place, refer_to

pytestmark = pytest.mark.xdist_group("points")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@pytest.fixture
def place(server: Cluster, tmp_path: Path) -> Iterator[Place]:
    yield make_point_place(tmp_path / "tms", server, "tms")
    execute(server, "postgres", "DROP DATABASE tms WITH (FORCE)")


def codes(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["code"], one["subject"]) for one in document["findings"]]


def configure(place: Place, old: str, new: str) -> None:
    text = place.config.read_text()
    assert old in text
    place.write_config(text.replace(old, new))


def test_all_of_it_together_is_proven(place: Place) -> None:
    assert place.json("backup")["findings"] == []
    report = place.json("drill")
    assert (report["verdict"], report["findings"]) == ("PROVEN", [])
    assert report["point"]["references_checked"] == 3
    assert [one["source"] for one in report["drills"]] == ["database", "uploads", "code"]
    (listed,) = place.json("snapshots", "--points")["points"]
    assert listed["migrations"] == {"database": "tms.0002_lpo (public.django_migrations)"}
    assert listed["certainty"] == "certain", listed
    assert "3 references to files looked up" in place.run("drill").text


def test_a_file_that_is_gone_is_told_at_once_and_fails_the_drill(place: Place) -> None:
    (place.uploads / "lpos/LPO-1.pdf").unlink()
    backup = place.json("backup")
    assert codes(backup) == [("reference-absent", "lpos/LPO-1.pdf")]
    answer = place.run("--json", "drill")
    assert answer.status == 41
    assert codes(answer.document) == [("reference-missing", "lpos/LPO-1.pdf")]
    # Each source is what it was; only together they are not.
    assert {one["verdict"] for one in answer.document["drills"]} == {"PROVEN"}
    assert {one["verdict"] for one in place.snapshots() if one["repository"] == "local"} == {
        "PROVEN"
    }
    assert "reference-missing" in place.run("drill").text


def test_a_file_that_is_another_one_fails_the_drill(place: Place) -> None:
    name = "lpos/LPO-2.pdf"
    content = bytearray((place.uploads / name).read_bytes())
    content[-1] ^= 1
    (place.uploads / name).write_bytes(content)
    assert place.json("backup")["findings"] == []
    answer = place.run("--json", "drill")
    assert (answer.status, codes(answer.document)) == (41, [("reference-differs", name)])
    (place.uploads / name).write_bytes(content[:100])
    place.json("backup")
    (found,) = place.run("--json", "drill").document["findings"]
    assert found["message"].endswith("bytes, it has 100")


def test_what_is_excluded_and_referred_to_is_found_by_the_drill(
    place: Place, server: Cluster
) -> None:
    (place.uploads / "draft.tmp").write_text("draft")
    refer_to(server, "tms", place, "draft.tmp")
    assert place.json("backup")["findings"] == []
    answer = place.run("--json", "drill")
    assert codes(answer.document) == [("reference-missing", "draft.tmp")]


def test_files_that_nobody_refers_to_are_a_note(place: Place) -> None:
    (place.uploads / "lost.pdf").write_text("lost")
    place.json("backup")
    report = place.json("drill")
    assert (report["verdict"], codes(report)) == ("PROVEN", [("file-orphaned", "uploads")])


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM documents", "does not exist"),
        ("DELETE FROM documents", "syntax error"),
        ("SELECT 1; DROP TABLE documents", "cannot insert multiple commands"),
        ("SELECT id FROM documents", "no paths"),
        ("SELECT file_path, 'x' AS sha256 FROM documents", "no sha256"),
        ("SELECT 1/0", "division by zero"),
        ("SELECT '/srv/' || file_path FROM documents", "prefix"),
    ],
)
def test_what_cannot_be_asked_is_not_known(place: Place, sql: str, message: str) -> None:
    configure(place, "SELECT file_path, size, sha256 FROM documents", sql)
    backup = place.json("backup")
    assert codes(backup) == [("reference-unasked", "database to uploads")], backup
    answer = place.run("--json", "drill")
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN")
    (found,) = answer.document["findings"]
    assert found["code"] == "reference-unchecked"
    assert message in found["message"]


def test_a_prefix_is_cut_off(place: Place) -> None:
    url = "https://files.example.com/u/"
    configure(place, "SELECT file_path,", f"SELECT '{url}' || file_path,")
    configure(place, "files: uploads", f"files: uploads\n    prefix: {url}")
    assert place.json("backup")["findings"] == []
    report = place.json("drill")
    assert (report["verdict"], report["point"]["references_checked"]) == ("PROVEN", 3)


def test_without_files_in_the_point_it_is_unchecked(place: Place) -> None:
    place.uploads.rename(place.path / "away")
    assert place.run("backup").status == 3
    (place.path / "away").rename(place.uploads)
    answer = place.run("--json", "drill")
    assert answer.status == 42
    assert {"point-incomplete", "reference-unchecked"} <= dict(codes(answer.document)).keys()


def test_without_a_sandbox_it_is_unchecked(place: Place) -> None:
    place.json("backup")
    configure(place, "kind: postgres,", "kind: postgres, programs: nowhere,")
    answer = place.run("--json", "drill")
    assert answer.status == 42
    assert {"drill-stopped", "reference-unchecked"} <= dict(codes(answer.document)).keys()


def test_single_sources_are_drilled_as_before(place: Place) -> None:
    (place.uploads / "lpos/LPO-1.pdf").unlink()
    place.json("backup")
    report = place.json("drill", "database", "uploads")
    assert (report["verdict"], report["point"]) == ("PROVEN", None)


def test_files_that_change_meanwhile_make_it_likely_only(place: Place) -> None:
    """Somebody writes all the time, so also between the database's moment and the files."""
    over = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if over.wait(0.01):
                return
            (place.uploads / "late.pdf").write_text(str(number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert place.run("backup").status in (0, 3)
    finally:
        over.set()
        writer.join()
    (listed,) = place.json("snapshots", "--points")["points"]
    assert listed["certainty"] == "likely"
    assert "late.pdf" in listed["because"][0]


def test_the_declaration_acts() -> None:
    from strongroom.config.description import describe

    assert not any(one.later for one in describe() if one.parts[0] == "references"), CONFIG
