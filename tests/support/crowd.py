"""One of several programs at work on one repository, as a process of its own.

    python -m tests.support.crowd STORE TREE SEED SECONDS [prune]

Captures a tree that it changes all the time, and prunes now and then when told so, until its time
is up. The password comes on standard input; each line on standard output is a JSON document that
tells one thing: what was `stored` with a digest of its `content`, what is about to be dropped
(`forgetting`), how many packs were `pruned`, or that others are `busy`.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from strongroom.errors import BusyError
from strongroom.repository import Repository
from strongroom.repository.prune import PruneOptions, PruneReport, execute, plan_prune
from strongroom.repository.storage import LocalStorage
from tests.support.repository_ground import SMALL_PACKS, capture
from tests.support.tree_ground import describe

_AT_ONCE = PruneOptions(grace=timedelta(0), pack_bytes=64 << 10)
# All programs draw from the same contents, so that each relies on blobs that another one stored.
_CONTENTS = 30
_TRIES = 20


def change(tree: Path, draw: random.Random) -> None:
    """Give some files other contents, out of few that are possible."""
    tree.mkdir(exist_ok=True)
    for _ in range(4):
        content = random.Random(draw.randrange(_CONTENTS)).randbytes(20_000)
        (tree / f"{draw.randrange(6)}").write_bytes(content)
    (tree / "of this turn alone").write_bytes(draw.randbytes(5_000))


def digest_of(tree: Path) -> str:
    """What a tree is, in one word; without its own times, which restic's restore sets to now."""
    return hashlib.sha256(repr(describe(tree, top=False)).encode()).hexdigest()


def turns(seconds: float, draw: random.Random) -> Iterator[int]:
    """Numbers from 1 on until the time is up, with pauses in which others have their chance."""
    deadline, turn = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        turn += 1
        yield turn
        time.sleep(draw.uniform(0, 0.6))


def tries(draw: random.Random) -> Iterator[None]:
    """Some more chances for what finds the others busy."""
    for _ in range(_TRIES):
        yield
        time.sleep(draw.uniform(0.05, 0.25))


def _tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _prune(repository: Repository, draw: random.Random) -> bool:
    """Forget all but the newest of each tree of ours; whether nobody was in the way.

    Others capture between plan and deed, and rely on what is about to go.
    """
    report = PruneReport()
    try:
        with repository.reading():
            listed = repository.snapshots().snapshots
            ours = [one for one in listed if "source:tree" in one.tags]
            newest = {one.paths: one.id for one in ours}
            drop = [one.id for one in ours if one.id not in newest.values()]
            _tell(forgetting=drop)
            plan = plan_prune(repository, listed, drop, options=_AT_ONCE, now=datetime.now(UTC))
        time.sleep(draw.uniform(0, 0.8))
        execute(repository, plan, report=report, options=_AT_ONCE)
    except BusyError as error:
        _tell(busy=error.message)
        return False
    _tell(pruned=len(report.deleted))
    return True


def main(store: str, tree: str, seed: str, seconds: str, *prune: str) -> None:
    password = sys.stdin.readline().strip()
    draw, place = random.Random(int(seed)), Path(tree)
    storage = LocalStorage(Path(store))
    for turn in turns(float(seconds), draw):
        if prune and turn % 2 == 0:
            for _ in tries(draw):
                if _prune(Repository.open(storage, password, name="store"), draw):
                    break
            continue
        repository = Repository.open(storage, password, name="store")
        change(place, draw)
        content = digest_of(place)
        try:
            committed, _ = capture(repository, place, options=SMALL_PACKS, after=timedelta(0))
        except BusyError as error:
            _tell(busy=error.message)
        else:
            _tell(stored=committed.snapshot.id, content=content)


if __name__ == "__main__":
    main(*sys.argv[1:])
