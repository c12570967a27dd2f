"""A file that others read is replaced in one step, whatever the umask, or stays as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from strongroom.errors import TargetError
from strongroom.service.health import publish_metrics, publish_status
from strongroom.service.publication import publish
from tests.support.evidence_ground import NOW
from tests.support.standing_ground import standing


def test_everybody_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        publish(tmp_path / "status.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o644


def test_it_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    """Who has the old one open reads it to its end."""
    place = tmp_path / "status.json"
    publish(place, b"old and long")
    with place.open("rb") as reader:
        publish(place, b"new")
        assert reader.read() == b"old and long"
    assert place.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["status.json"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "status.json").symlink_to(elsewhere)
    publish(tmp_path / "status.json", b"new")
    assert elsewhere.read_text() == "precious"
    assert not (tmp_path / "status.json").is_symlink()


@pytest.mark.parametrize("make", ["a folder", "no folder"])
def test_what_can_not_be_written_says_so_and_leaves_nothing(tmp_path: Path, make: str) -> None:
    place = tmp_path / "status.json" if make == "a folder" else tmp_path / "away" / "status.json"
    if make == "a folder":
        place.mkdir()
    with pytest.raises(TargetError) as caught:
        publish(place, b"{}")
    assert str(place) in str(caught.value)
    assert caught.value.hint
    assert [one.name for one in tmp_path.iterdir()] == (["status.json"] if place.is_dir() else [])


def test_the_status_and_the_metrics_stand_in_their_files(tmp_path: Path) -> None:
    publish_status(standing(), tmp_path / "status.json", NOW)
    publish_metrics(standing(), tmp_path / "strongroom.prom", NOW)
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "pass"
    assert (
        'strongroom_verdict{application="tms"} 0.0\n' in (tmp_path / "strongroom.prom").read_text()
    )
