"""A repository of which something is to go."""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.repository import Snapshot, Storage, WriterOptions
from tests.support.repository_ground import capture, new_repository, reopened
from tests.support.tree_ground import make_plain_tree

DAILY_PACKS = WriterOptions(pack_bytes=4 << 20)


class Ground:
    """A repository with four snapshots of a tree that changes; the first two are to go."""

    def __init__(self, base: Path, storage: Storage | Path | None = None) -> None:
        self.tree = base / "tree"
        self.repository = new_repository(storage)
        self.snapshots: list[Snapshot] = []
        make_plain_tree(self.tree, seed=1, files=8, most_bytes=60_000)
        for day in range(4):
            # A pack of each day holds what stays and what goes.
            (self.tree / f"since day {day}").write_bytes(os.urandom(40_000))
            (self.tree / f"only of day {day}").write_bytes(os.urandom(300_000))
            if day:
                (self.tree / f"only of day {day - 1}").unlink()
            parent = self.snapshots[-1] if self.snapshots else None
            committed, _ = capture(
                reopened(self.repository), self.tree, parent=parent, options=DAILY_PACKS
            )
            self.snapshots.append(committed.snapshot)

    @property
    def drop(self) -> list[str]:
        return [one.id for one in self.snapshots[:2]]
