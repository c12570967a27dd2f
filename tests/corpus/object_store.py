"""Store, where it is somebody else's: a bucket that errs, stalls, lies, or locks.

A real S3 server stands behind a gateway that lies on demand. Patience is shortened, so that what is
waited out for two minutes in earnest is given up after a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from strongroom.errors import StrongroomError
from strongroom.repository import Storage, open_storage
from strongroom.repository.storage import Access, Patience, RetryingStorage
from strongroom.repository.storage.s3 import S3Storage
from strongroom.service.application import Application
from strongroom.service.backup import backup
from strongroom.service.drill import drill_sources
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, scene_of, seen
from tests.e2e.command_line import Answer, make_place
from tests.e2e.offsite_place import environment, place_at, pruned
from tests.support.bucket_ground import PREFIX, new_bucket
from tests.support.lying_gateway import Lie, LyingGateway, lying_gateway
from tests.support.repository_ground import new_repository
from tests.support.store_servers import (
    ACCESS_KEY,
    SECRET_KEY,
    S3Server,
    moto_s3,
    rclone_s3,
)

GROUP: Final = "Store"
WORKER, LOCKED = "corpus-bucket", "corpus-locked"
CONFIG: Final = """\
version: 1
application: tms
sources:
  uploads: {kind: files, path: uploads}
repositories:
  offsite: {location: "@LOCATION@", password: file:key,
    access: {access_key: file:id, secret_key: file:secret, region: us-east-1}}
state: state
"""
_ACCESS: Final = Access(access_key=ACCESS_KEY, secret_key=SECRET_KEY, region="us-east-1")
_SOON: Final = Patience(total_seconds=2, first_seconds=0.1, longest_seconds=0.5)


@dataclass(frozen=True)
class Ground:
    """A server and the gateway in front of it."""

    server: S3Server
    gateway: LyingGateway

    def location(self, bucket: str) -> str:
        return f"s3:http://127.0.0.1:{self.gateway.port}/{bucket}/deep/prefix"


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """A server that checks signatures, and keeps what it holds on disk."""
    with (
        rclone_s3(directory) as server,
        lying_gateway(int(server.url.rpartition(":")[2])) as gateway,
    ):
        yield Ground(server, gateway)


class Hurried(Application):
    """Gives stores up soon."""

    def storage(self, name: str, *, as_of: datetime | None = None) -> Storage:
        del as_of
        location = self.settings.repositories[name].location
        return RetryingStorage(S3Storage(location, _ACCESS, timeout_seconds=1), _SOON)


@contextlib.contextmanager
def _bucket(grounds: Grounds) -> Iterator[Scene]:
    """A repository with one recovery point, and something to add to it."""
    made, path = grounds.shared(ground), grounds.new_directory()
    path.mkdir()
    location = made.location(f"bucket-{path.name}")
    place = make_place(path, CONFIG.replace("@LOCATION@", location))
    for name, secret in (("id", ACCESS_KEY), ("secret", SECRET_KEY)):
        file = path / name
        file.write_text(secret)
        file.chmod(0o600)
    new_repository(open_storage(location, _ACCESS))
    place.json("backup")
    (place.uploads / "lpos" / "LPO-9.pdf").write_bytes(os.urandom(200_000))
    with scene_of(place, ground=made) as scene:
        yield scene
    made.gateway.lie(None)
    shutil.rmtree(path, ignore_errors=True)


def _hurried(act: Callable[[Application], Any], scene: Scene) -> Seen:  # Any: some report
    application = Hurried.load(scene.place.config)
    try:
        report = act(application)
    except StrongroomError as error:
        return Seen(f"exit {error.exit_status}", frozenset({error.code}), told=str(error))
    finally:
        application.close()
    answer = json.dumps(report.as_json()).encode()
    return seen(Answer(report.exit_status, answer, ""))


def _round(scene: Scene) -> Seen:
    """A backup with its faults, then a drill without any."""
    result = _hurried(backup, scene)
    if result.outcome != "exit 0" or result.loud:
        return result
    scene.ground.gateway.lie(None)
    assert ask("check", "--read-data")(scene).outcome == "exit 0"
    return ask("drill")(scene)


BACKUP = Way("back up files to S3", WORKER, _bucket, partial(_hurried, backup))
DRILL = Way("drill files from S3", WORKER, _bucket, partial(_hurried, drill_sources))
ROUND = Way("back up files to S3, then drill them", WORKER, _bucket, _round)


def lying(lie: Lie) -> Callable[[Scene], None]:
    """Tell this lie; it must have been told."""

    def spoil(scene: Scene) -> None:
        told = replace(lie)
        scene.ground.gateway.lie(told)

        def came_about() -> None:
            assert told.told, "the fault never came about"

        scene.afterwards.append(came_about)

    return spoil


def _list_late(scene: Scene) -> None:
    """The store's listing lacks what was stored last."""
    scene.place.json("backup")
    newest = str(scene.place.snapshots()[-1]["id"])
    lying(Lie(method="GET", hidden=newest))(scene)


# Object Lock


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[S3Server]:
    directory.mkdir()
    with moto_s3(directory) as server:
        yield server


@contextlib.contextmanager
def _bucket_with_versions(grounds: Grounds) -> Iterator[Scene]:
    """Two recovery points, the older of which the policy drops."""
    server, path = grounds.shared(_locked), grounds.new_directory()
    path.mkdir()
    bucket = new_bucket(server, lock=True)
    known = environment(bucket)
    os.environ.update(known)
    try:
        place = place_at(path, bucket)
        new_repository(bucket.storage())
        for _ in range(2):
            (place.uploads / "changing").write_bytes(os.urandom(100_000))
            place.json("backup")
        with scene_of(place, ground=bucket) as scene:
            yield scene
    finally:
        for name in known:
            os.environ.pop(name, None)
        shutil.rmtree(path, ignore_errors=True)


def _pruned(scene: Scene) -> Seen:
    pruned(scene.place)
    assert len(scene.place.snapshots()) == 1
    assert ask("check", "--read-data")(scene).outcome == "exit 0"
    return ask("drill")(scene)


def _lock_packs(scene: Scene) -> None:
    """Packs that are about to be removed can't be erased before the time."""
    bucket = scene.ground
    until = datetime.now(UTC) + timedelta(days=30)
    names = [name for name in bucket.names() if name.startswith("data/")]
    for name in names:
        bucket.client.put_object_retention(
            Bucket=bucket.name,
            Key=PREFIX + name,
            Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
        )

    def all_kept() -> None:
        kept = {one["Key"].removeprefix(PREFIX) for one in bucket.versions()}
        assert set(names) <= kept

    scene.afterwards.append(all_kept)


PRUNE = Way("prune a bucket with versions, then drill", LOCKED, _bucket_with_versions, _pruned)


def _row(name: str, way: Way, lie: Lie, codes: tuple[str, ...], outcome: str, *also: str) -> Fault:
    rung = way.name.partition(" ")[0]
    return Fault(name, GROUP, rung, way, lying(lie), codes, outcome, also)


FAULTS = (
    _row("object store answers 500, for good", BACKUP,
         Lie("PUT", "/data/", status=500, code="InternalError"), ("store-unreachable",), "exit 28"),
    _row("object store answers 500, twice", ROUND,
         Lie("PUT", "/data/", status=500, code="InternalError", times=2), (), "PROVEN"),
    _row("object store answers 503 slow down, for good", BACKUP,
         Lie("PUT", "/data/", status=503, code="SlowDown"), ("store-unreachable",), "exit 28"),
    _row("object store answers 503 slow down, twice", ROUND,
         Lie("", "/data/", status=503, code="SlowDown", times=2), (), "PROVEN"),
    _row("object store times out", BACKUP,
         Lie("PUT", "/data/", silent=True), ("store-unreachable",), "exit 28"),
    _row("object store cuts its answers", DRILL,
         Lie("GET", "/data/", cut=True), ("store-unreachable",), "exit 28"),
    _row("object store returns a short body", DRILL,
         Lie("GET", "/data/", short=True), ("store-failed",), "exit 20"),
    _row("credentials expired half-way", BACKUP,
         Lie("PUT", "", status=403, code="ExpiredToken", after=2), ("store-refused",), "exit 23"),
    _row("store refuses the copy of the ledger", BACKUP,
         Lie("PUT", "/snapshots/", status=403, code="AccessDenied", after=1),
         ("evidence-uncopied", "point-unrecorded", "runbook-unstored"), "exit 0"),
    Fault("object store lists late", GROUP, "drill", DRILL, _list_late,
          ("snapshot-vanished",), "FAILED"),
    Fault("object locked at prune", GROUP, "prune", PRUNE, _lock_packs, (), "PROVEN"),
)  # fmt: skip
