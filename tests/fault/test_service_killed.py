"""I4 for the service: killed at any step of a run and started again, it leaves the evidence that an
undisturbed run leaves."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from strongroom.evidence import Entry, Ledger
from strongroom.service import capture_step
from strongroom.service.application import Application, make_private
from strongroom.service.order import Order
from tests.e2e.command_line import Place
from tests.support.failure_ground import processes, wait_until
from tests.support.repository_ground import PASSWORD, new_repository
from tests.support.restic import stock_restics
from tests.support.service_ground import KILLED

CONFIG = """
version: 1
application: tms
environment: development
state: state
sources:
  uploads: {kind: files, path: ../uploads}
  papers: {kind: files, path: ../papers}
repositories:
  local: {location: local, password: "file:key"}
  second: {location: second, password: "file:key"}
"""
CAPTURE = Order("tms", "capture", "capture", ("backup",), ("uploads", "papers"))
OTHERS = {
    "copy": Order("tms", "copy", "copy", ("copy", "--missing")),
    "check": Order(
        "tms", "check:local", "check", ("check", "local", "--read-data=100%"), (), "local"
    ),
    "drill": Order("tms", "drill", "drill", ("drill", "--next")),
    "prune": Order("tms", "prune", "prune", ("prune",)),
    "verify": Order("tms", "verify-daily", "verify-daily", ("verify", "daily")),
}
HOSTS = itertools.count()
IN_NAMESPACE = ("unshare", "--uts", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))
# Begin, begin the capture, each of two sources, conclude, record.
STEPS = 6


def attempt(place: Place, when: str = "never", step: int = 0, order: Order = CAPTURE) -> Any:
    """One life of the service, on a host of another name than any before: its state folder may
    have been moved. Its outcome, None when it was killed. `Any`: JSON values."""
    arguments = [str(place.config), "run-1", json.dumps(order.as_json()), when, str(step)]
    program = [sys.executable, "-m", "tests.support.service_ground", *arguments]
    elsewhere = [*IN_NAMESPACE, "sh", "-c", f'hostname host-{next(HOSTS)}; exec "$@"', "sh"]
    ended = subprocess.run([*elsewhere, *program], capture_output=True, check=False, timeout=300)
    if when != "never" and ended.returncode == KILLED:
        return None
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


def fresh(path: Path) -> Place:
    """A place of its own, with the sources that all places of a test have in common."""
    for name in ("uploads", "papers"):
        if not (path.parent / name).exists():
            (path.parent / name).mkdir()
            (path.parent / name / "one").write_text(f"one of {name}")
    path.mkdir()
    place = Place(path)
    place.write_config(CONFIG)
    (path / "key").write_text(PASSWORD + "\n")
    (path / "key").chmod(0o600)
    for name in ("local", "second"):
        new_repository(path / name)
    return place


def evidence(place: Place) -> list[Any]:
    """What the ledger says, without what no two runs have in common. `Any`: JSON values."""
    return [_kept(one) for one in Ledger(place.path / "state" / "ledger.jsonl").entries()]


def _kept(one: Entry) -> Any:  # Any: JSON values
    fields = dict(one.fields)
    if one.kind == "backup":
        return (
            one.kind,
            fields["wanted"],
            sorted((each["source"], each["repository"]) for each in fields["snapshots"]),
            {each["source"]: each["tree"] for each in fields["snapshots"]},
            fields["findings"],
            fields["errors"],
            fields["record"]["certainty"],
        )
    names = (
        "job", "action", "sources", "exit_status", "verdict", "error", "workflow",  # of a run
        "source", "repository", "to", "checked", "list", "kept", "dropped", "ended", "digest",
    )  # fmt: skip
    return (one.kind, *(fields.get(name) for name in names))


def _is_idle(place: Place) -> bool:
    """Whether no process of the service is left."""
    return not processes(str(place.config))


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_a_capture_that_is_killed_at_any_step_is_taken_up(when: str, tmp_path: Path) -> None:
    undisturbed = fresh(tmp_path / "undisturbed")
    outcome = attempt(undisturbed)
    assert outcome["exit_status"] == 0, outcome
    wanted = evidence(undisturbed)
    assert [one[0] for one in wanted] == ["configuration", "backup", "job"]
    # The first and the last start no process that they could be killed beside.
    steps = range(2, STEPS) if when == "within" else range(1, STEPS + 1)
    for step in steps:
        place = fresh(tmp_path / str(step))
        assert attempt(place, when, step) is None
        wait_until(partial(_is_idle, place))
        outcome = attempt(place)
        assert outcome["exit_status"] == 0, outcome
        assert evidence(place) == wanted, (when, step)
        assert place.json("drill")["verdict"] == "PROVEN"
        stock_restics()[0].run(place.path / "local", "check", "--read-data")


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_run_that_is_killed_at_any_step_is_taken_up(name: str, tmp_path: Path) -> None:
    """Steps are: begin, the command, record. What becomes of a kill before the first and after the
    last one does not depend on what is run: see captures."""
    undisturbed = captured(tmp_path / "undisturbed")
    known = len(found(undisturbed))
    outcome = attempt(undisturbed, order=OTHERS[name])
    wanted = found(undisturbed)[known:]
    assert wanted[-1][:2] == ("job", OTHERS[name].job)
    for when, step in (("before", 2), ("within", 2), ("after", 2)):
        place = captured(tmp_path / f"{when} {step}")
        assert attempt(place, when, step, OTHERS[name]) is None
        wait_until(partial(_is_idle, place))
        again = attempt(place, order=OTHERS[name])
        assert again["exit_status"] == outcome["exit_status"], again
        told = found(place)[known:]
        if when == "within":  # it may have come to its end before the kill, which nobody knew
            told = [one for number, one in enumerate(told) if one not in told[:number]]
        assert told == wanted, (when, step)
        stock_restics()[0].run(place.path / "local", "check", "--read-data")


def found(place: Place) -> list[Any]:  # Any: JSON values
    """The evidence without the audit, which tells of commands that were broken off as well."""
    return [one for one in evidence(place) if one[0] != "command"]


def captured(path: Path) -> Place:
    """A place of its own with a recovery point, of which the second repository has nothing yet."""
    place = fresh(path)
    shutil.move(path / "second", path / "away")
    assert place.run("backup").status == 3
    shutil.move(path / "away", path / "second")
    return place


def test_a_capture_killed_between_its_record_and_the_copies_is_concluded_with_that_record(
    tmp_path: Path,
) -> None:
    place = fresh(tmp_path / "place")
    application = Application.load(place.config)
    make_private(application.state)
    begun = capture_step.begin(application, ["uploads", "papers"])
    parts: list[dict[str, Any]] = []  # Any: JSON values
    for name in begun["sources"]:
        parts.append(capture_step.capture(application, begun, parts, name))
    capture_step.conclude(application, begun, parts)
    before = evidence(place)
    for name in ("local", "second"):  # as if the kill had come before them
        copies = (place.path / name / "snapshots").iterdir()
        known = {one["id"] for one in place.json("snapshots")["snapshots"]}
        lost = [one for one in copies if one.name not in known]
        assert len(lost) == 1
        lost[0].unlink()
    capture_step.conclude(Application.load(place.config), begun, parts)
    assert evidence(place) == before
    for name in ("local", "second"):
        assert place.json("drill", "--repository", name)["verdict"] == "PROVEN"
