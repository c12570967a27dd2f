"""Two Strongrooms and one stock restic at once on one repository never lose a blob.

Both back up, both forget and prune, and all three store the same contents all the time, so that
each relies on what another one stored, and may just be removing. Who comes second gives way.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom.repository import Committed, Repository
from strongroom.repository.storage import LocalStorage
from tests.support.crowd import change, digest_of, tries, turns
from tests.support.repository_ground import PASSWORD, check_codes, names, new_repository, restore
from tests.support.restic import Restic, stock_restics

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20.0
# What a run that gave way may leave: packs that nobody named, and the same blobs twice.
HARMLESS = {"pack-orphaned", "index-hint"}


class Crowd:
    """All that was told by those at work."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.store, self.seed = base, base / "store", seed
        self.stored: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.told: dict[str, int] = {}
        self.failures: list[BaseException] = []

    def count(self, what: str) -> None:
        self.told[what] = self.told.get(what, 0) + 1

    @contextlib.contextmanager
    def strongroom(self, number: int, *roles: str) -> Iterator[None]:
        """One process of ours; leaving waits for it and takes down what it said."""
        tree = self.base / f"tree {number}"
        arguments = [self.store, tree, self.seed + number, SECONDS, *roles]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.crowd", *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as child:  # fmt: skip
            assert child.stdin
            child.stdin.write(PASSWORD.encode() + b"\n")
            child.stdin.flush()
            try:
                yield
            finally:
                out, err = child.communicate(timeout=60)
            assert child.returncode == 0, err.decode()
        for line in out.splitlines():
            self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:  # Any: JSON values
        if "stored" in told:
            self.stored[told["stored"]] = told["content"]
        self.forgotten |= set(told.get("forgetting", ()))
        self.count(f"ours {next(iter(told))}")

    def restic(self, restic: Restic) -> None:
        """Stock restic's part, until the time is up; what it forgets is its own."""
        tree, draw = self.base / "tree 9", random.Random(self.seed + 9)
        own: list[str] = []
        for turn in turns(SECONDS, draw):
            if turn % 4 == 0 and len(own) > 2:
                oldest = own.pop(0)
                self.forgotten.add(oldest)
                for _ in tries(draw):
                    answer = restic.attempt(self.store, "forget", oldest, "--prune")
                    if self._expect_done_or_locked(answer, "forgot"):
                        break
                continue
            change(tree, draw)
            content = digest_of(tree)
            answer = restic.attempt(self.store, "backup", tree, "--json")
            if self._expect_done_or_locked(answer, "stored"):
                summary = json.loads(answer.stdout.splitlines()[-1])
                (snapshot,) = self._full_ids(summary["snapshot_id"])
                self.stored[snapshot] = content
                own.append(snapshot)

    def _full_ids(self, short: str) -> list[str]:
        listed = names(LocalStorage(self.store), "snapshots")
        return [name[-64:] for name in listed if name[-64:].startswith(short)]

    def _expect_done_or_locked(self, answer: subprocess.CompletedProcess[bytes], what: str) -> bool:
        if answer.returncode == 0:
            self.count(f"restic {what}")
            return True
        assert b"locked" in answer.stderr, answer.stderr.decode()
        self.count("restic busy")
        return False

    def guarded(self, restic: Restic) -> None:
        try:
            self.restic(restic)
        except BaseException as error:
            self.failures.append(error)


def content_of(repository: Repository, snapshot_id: str, place: Path) -> str:
    snapshot = repository.find(snapshot_id)
    assert restore(repository, Committed("store", snapshot, 0), place) == []
    try:
        return digest_of(place)
    finally:
        shutil.rmtree(place)


def test_several_programs_at_once_lose_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    crowd, restic = Crowd(tmp_path, seed), stock_restics()[0]
    new_repository(crowd.store)
    theirs = threading.Thread(target=crowd.guarded, args=(restic,))
    theirs.start()
    with crowd.strongroom(1), crowd.strongroom(2, "prune"):
        theirs.join()
    assert crowd.failures == []
    print(crowd.told)
    for what, least in (("ours stored", 5), ("restic stored", 3), ("ours pruned", 1),
                        ("restic forgot", 1)):  # fmt: skip
        assert crowd.told.get(what, 0) >= least, crowd.told

    repository = Repository.open(LocalStorage(crowd.store), PASSWORD, name="store")
    assert set(check_codes(repository)) <= HARMLESS
    assert names(repository.storage, "locks") == []
    restic.run(crowd.store, "check", "--read-data")
    there = {one.id for one in repository.snapshots().snapshots}
    assert there <= set(crowd.stored)
    assert set(crowd.stored) - there <= crowd.forgotten
    for snapshot in there:
        observed = content_of(repository, snapshot, tmp_path / "out")
        assert observed == crowd.stored[snapshot], f"{snapshot} of {crowd.told}"
    # And the other program gives back what ours stored, in the end.
    newest = next(one for one in reversed(crowd.stored) if one in there)
    restic.run(crowd.store, "restore", newest, "--target", tmp_path / "theirs")
    (tree,) = (tmp_path / "theirs").glob(f"{os.fspath(tmp_path).lstrip('/')}/tree *")
    assert digest_of(tree) == crowd.stored[newest]
