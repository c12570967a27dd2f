"""A dump that is made by way of a sandbox tells what the sandbox could not hold."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.postgres.programs import find_programs
from tests.support.undelete_ground import CONFIG, Ground, undelete_ground

pytestmark = pytest.mark.xdist_group("export-lacking")

# The newest programs at hand were built without ICU.
LACKING = """
CREATE COLLATION app.german (provider = icu, locale = 'de');
CREATE TABLE app.words (id int PRIMARY KEY, word text COLLATE app.german);
INSERT INTO app.words VALUES (1, 'Wort');
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with undelete_ground(tmp_path_factory.mktemp("export-lacking"), 15) as made:
        made.sql(LACKING)
        yield made


def test_what_the_sandbox_lacks_is_told_object_by_object(ground: Ground, tmp_path: Path) -> None:
    snapshot = ground.capture()
    programs = find_programs(18, purpose="server").directory
    ground.place.write_config(CONFIG.replace("URL}", f"URL, programs: {programs}}}"))
    output = tmp_path / "tms.dump"
    words = ("export", snapshot, "--format", "custom", "--output", output)
    try:
        answer = ground.place.run("--json", *words)
        output.rename(tmp_path / "first.dump")
        told = ground.place.run(*words)
    finally:
        ground.place.write_config(CONFIG)
    assert answer.status == told.status == 3, answer.text
    loud = {one["subject"] for one in answer.document["findings"] if one["severity"] != "note"}
    assert any("german" in one for one in loud), loud
    assert any("words" in one for one in loud), loud
    assert "sandbox-lacks" in told.text
    # What could be had is there.
    listed = subprocess.run(
        [find_programs(18).path("pg_restore"), "--list", str(output)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "TABLE DATA app customers" in listed
    assert "TABLE DATA app words" not in listed


def test_a_sandbox_that_holds_all_tells_nothing(ground: Ground, tmp_path: Path) -> None:
    snapshot = ground.capture()
    report = ground.place.json(
        "export", snapshot, "--format", "custom", "--output", tmp_path / "tms.dump"
    )
    assert [one for one in report["findings"] if one["severity"] != "note"] == []
