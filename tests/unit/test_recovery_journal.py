"""The journal of a recovery: it comes back as it was written, and never stands for another."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.errors import BusyError, IntegrityError, TargetError
from strongroom.model import Stage, Verdict, finding
from strongroom.recovery.application_run import Served
from strongroom.service.recovery_journal import Brought, Journal, held, journal_in

NOW = datetime(2026, 1, 28, 9, tzinfo=UTC)
BROUGHT = Brought(
    "uploads",
    "local",
    "ab" * 32,
    "/srv/tms/uploads",
    Verdict.PROVEN,
    12,
    3456,
    (finding("metadata-unset", "a", "b"),),
    (Stage("restore", 1.5), Stage("prove", 0.5)),
    NOW,
    NOW + timedelta(seconds=2),
    ("database: passwords (tms): set them again",),
)


def journal(folder: Path) -> Journal:
    return Journal(folder, "tms", "01ABC", NOW, NOW, {"database": "env:NEW"}, ("tms_app",))


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = journal(tmp_path)
    with held(tmp_path):
        written.begin_run()
        written.keep(BROUGHT)
        written.load_in_place("database")
        written.serve(Served(4711, 99))
        written.finish(NOW)
    read = journal_in(tmp_path)
    assert read == written
    assert read.brought["uploads"].seconds == 2.0
    assert stat.S_IMODE((tmp_path / ".strongroom/recovery.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".strongroom").stat().st_mode) == 0o700


def test_in_an_empty_or_missing_folder_there_is_none(tmp_path: Path) -> None:
    assert journal_in(tmp_path) is None
    assert journal_in(tmp_path / "new") is None
    with held(tmp_path / "new"):  # killed before its first word
        pass
    assert journal_in(tmp_path / "new") is None


def test_what_is_there_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TargetError) as caught:
        journal_in(tmp_path)
    assert caught.value.code == "target-not-empty"
    with pytest.raises(TargetError):
        journal_in(tmp_path / "file")


def test_another_folder_of_that_name_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / ".strongroom").mkdir()
    (tmp_path / ".strongroom" / "thesis.odt").write_text("x")
    with pytest.raises(TargetError):
        journal_in(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_one_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / ".strongroom").mkdir()
    (tmp_path / ".strongroom" / "recovery.json").write_text(content)
    with pytest.raises(IntegrityError, match="journal"):
        journal_in(tmp_path)


def test_each_change_leaves_a_whole_document(tmp_path: Path) -> None:
    written = journal(tmp_path)
    with held(tmp_path):
        for _ in range(3):
            written.begin_run()
            document = json.loads((tmp_path / ".strongroom/recovery.json").read_text())
            assert document["runs"] == written.runs


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    refused = pytest.raises(BusyError, match="another recovery is running")
    with held(tmp_path), refused, held(tmp_path):
        pass
