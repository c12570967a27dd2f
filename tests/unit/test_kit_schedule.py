"""The lost-key drill runs by itself: once a quarter, where all is there that it needs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from strongroom.config import parse_settings
from strongroom.plan.job import is_in_the_way
from strongroom.plan.schedule import Due
from strongroom.report.history import Due as Timed
from strongroom.report.history import HistoryBuilder
from strongroom.service.other_schedulers import command_of
from strongroom.service.scheduling import timetable_of
from strongroom.service.tick import order_of
from strongroom.service.timetable import timetable_of as dues_of
from tests.unit.test_kit_check import Told

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BASE = """\
version: 1
application: tms
sources: {uploads: {kind: files, path: /srv/uploads}}
repositories: {local: {location: /backup, password: file:/etc/key}}
"""
WHOLE = "kit: {passphrase: env:P, folder: /kits}\n"


@pytest.mark.parametrize(
    ("more", "runs", "omitted"),
    [
        ("", False, None),
        (WHOLE, True, None),
        ("kit: {folder: /kits}\n", False, "kit has no folder, or nothing that opens what is in it"),
        (f"{WHOLE}schedule: {{kit_drill: never}}\n", False, "schedule.kit_drill is never"),
    ],
)
def test_when_it_runs(more: str, runs: bool, omitted: str | None) -> None:
    settings = parse_settings(BASE + more)
    table = timetable_of(settings)
    assert ("kit-drill" in {one.name for one in table.jobs}) == runs
    told = {one.name: one.because for one in table.omitted}
    assert told.get("kit-drill") == omitted
    assert ("kit-drill" in {one.action for one in dues_of(settings, NOW)}) == runs


def test_what_is_run() -> None:
    settings = parse_settings(BASE + WHOLE)
    (job,) = [one for one in timetable_of(settings).jobs if one.name == "kit-drill"]
    assert job.declared == "schedule.kit_drill is 30 7 2 1,4,7,10 *"
    assert command_of(job, settings) == ["kit", "drill"]
    order = order_of("tms", Due(job, NOW, "due"))
    assert (order.action, order.arguments) == ("kit-drill", ("kit", "drill"))


@pytest.mark.parametrize(
    ("other", "expected"),
    [("drill", True), ("application-drill", True), ("prune", True), ("kit-drill", True),
     ("capture", False), ("check:local", False)],
)  # fmt: skip
def test_what_is_in_its_way(other: str, expected: bool) -> None:
    assert is_in_the_way(other, "kit-drill") == expected
    assert is_in_the_way("kit-drill", other) == expected


def test_a_change_of_the_kit_is_a_change_of_its_times() -> None:
    """Then it is not late for what nobody expected before."""
    fields = {"changes": [{"setting": "kit.folder"}], "digest_before": "x"}
    builder = HistoryBuilder()
    builder.add(Told(1, NOW, "configuration", fields))
    (retiming,) = builder.history().retimings
    assert Timed("kit-drill", "", ()).is_timed_by(next(iter(retiming.jobs)))


def test_a_drill_by_hand_is_a_run_too() -> None:
    builder = HistoryBuilder()
    builder.add(Told(1, NOW, "kit-drill", {"verdict": "PROVEN", "seconds": 5}))
    (run,) = builder.history().runs
    assert (run.action, run.ending.value) == ("kit-drill", "done")
