"""An application that keeps its last snapshot only, and snapshots of earlier days for it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from strongroom.config import load_settings
from strongroom.evidence import Ledger
from strongroom.repository import Repository, Snapshot
from strongroom.repository.snapshot import encode_snapshot
from strongroom.repository.storage import LocalStorage
from strongroom.service.ledger_copy import is_copy
from tests.e2e.command_line import PASSWORD, Place, make_place
from tests.support.repository_ground import new_repository

CONFIG = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
retention: {local: {last: 1}}
state: state
"""
TWO = CONFIG.replace("retention:", "  second: {location: second, password: file:key}\nretention:")
TWO = TWO.replace("{local: {last: 1}}", "{local: {last: 1}, second: {last: 1}}")


def make_history(path: Path, config: str = CONFIG) -> Place:
    """The application, with repositories and without any snapshot."""
    made = make_place(path, config)
    for name in load_settings(made.config).repositories:
        new_repository(path / name)
    return made


def ledger(place: Place) -> Ledger:
    return Ledger(place.path / "state" / "ledger.jsonl")


def backup(place: Place, content: str) -> dict[str, Any]:  # Any: JSON values
    """One snapshot of now; what the first repository got."""
    (place.uploads / "changing").write_text(content)
    report: dict[str, Any] = place.json("backup")["snapshots"][0]
    return report


def older(
    place: Place, model: dict[str, Any], days: float, *, recorded: bool = True, **changes: Any
) -> str:
    """A snapshot like another one, of an earlier day; its id. The ledger knows it as copied from
    elsewhere, unless it was `recorded` by another ledger."""
    repository = Repository.open(LocalStorage(place.path / "local"), PASSWORD, name="local")
    like = repository.find(model["id"])
    fields: dict[str, Any] = {
        "time": datetime.now(UTC) - timedelta(days=days),
        "tree": like.tree,
        "paths": like.paths,
        "tags": (*(one for one in like.tags if one[:6] != "point:"), f"point:of-{days}-days-ago"),
        "hostname": like.hostname,
        "summary": like.summary,
    }
    snapshot = Snapshot("", **(fields | changes))
    made = repository.save_file("snapshots", encode_snapshot(snapshot, os.getuid(), 0))
    if recorded:
        copied = [{"source": "uploads", "id": made, "from_id": made, "tree": like.tree}]
        fields = {"application": "tms", "from": "elsewhere", "to": "local", "snapshots": copied}
        ledger(place).append("copy", fields)
    return made


def captured_ids(place: Place) -> set[str]:
    """All snapshots in the first repository but the copies of the ledger."""
    repository = Repository.open(LocalStorage(place.path / "local"), PASSWORD, name="local")
    return {one.id for one in repository.snapshots().snapshots if not is_copy(one)}


def lose_copies(place: Place) -> None:
    """Take the copies of the ledger out of the first repository."""
    repository = Repository.open(LocalStorage(place.path / "local"), PASSWORD, name="local")
    for one in repository.snapshots().snapshots:
        if is_copy(one):
            repository.storage.delete(f"snapshots/{one.id}")
