"""What belongs together: rows and the files that they name, a point's record, the application.

A whole recovery point is captured and drilled; what is spoiled before the capture must be seen by
it or by the drill, and what is spoiled after it by the drill.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.service.point_record import PATH
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy, scene_of
from tests.support.application_ground import START, make_application_place
from tests.support.code_ground import commit, write
from tests.support.failure_ground import execute
from tests.support.point_ground import make_point_place, put_record
from tests.support.restic import stock_restics

POINTS: Final = "corpus-points"
CAPTURE: Final = "Capture"
TOGETHER: Final = "Content of the restored database"
CODE: Final = "Files and code"
REFERENCES, POINT, APPLICATION = "references", "point", "application"
LPO: Final = "lpos/LPO-1.pdf"


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Cluster]:
    """A server for all of these databases."""
    directory.mkdir()
    with throwaway_cluster(major=15) as cluster:
        yield cluster


@contextlib.contextmanager
def _a_point(grounds: Grounds) -> Iterator[Scene]:
    """A database whose rows name each upload by size and hash, the uploads, and code."""
    cluster, path = grounds.shared(ground), grounds.new_directory()
    path.mkdir()
    name = f"tms_{path.name.rpartition('-')[2]}"
    place = make_point_place(path, cluster, name)
    with scene_of(place, database=name, ground=cluster) as scene:
        yield scene
    execute(cluster, "postgres", f"DROP DATABASE {name} WITH (FORCE)")
    shutil.rmtree(path)


def _backed_up_and_drilled(scene: Scene) -> Seen:
    scene.place.run("--json", "backup")
    return ask("drill")(scene)


@contextlib.contextmanager
def _captured(grounds: Grounds) -> Iterator[Scene]:
    with _a_point(grounds) as scene:
        document = healthy(scene, "backup")
        scene.notes["point"] = document["recovery_point"]
        yield scene


@contextlib.contextmanager
def _an_application(grounds: Grounds) -> Iterator[Scene]:
    """A small PHP application whose health is asked for."""
    health = "  http: [{path: /, values: {status: ok}}]\n"
    path = grounds.new_directory()
    with scene_of(make_application_place(path, {}, START + health)) as scene:
        yield scene
    shutil.rmtree(path)


BACKUP = Way("back up rows and their files", POINTS, _a_point, ask("backup"))
DRILL = Way("drill what was just captured", POINTS, _a_point, _backed_up_and_drilled)
AGAIN = Way("drill a recovery point", POINTS, _captured, ask("drill", "--repository", "local"))
START_IT = Way("start the restored application", POINTS, _an_application,
               ask("drill", "--application"))  # fmt: skip


def _lose_upload(scene: Scene) -> None:
    (scene.place.uploads / LPO).unlink()


def _alter_upload(scene: Scene) -> None:
    path = scene.place.uploads / LPO
    path.write_bytes(path.read_bytes()[::-1])


def _rename_column(scene: Scene) -> None:
    execute(scene.ground, scene.database, "ALTER TABLE documents RENAME file_path TO place")


def _absolute_path(scene: Scene) -> None:
    statement = f"UPDATE documents SET file_path = '/srv/' || file_path WHERE file_path = '{LPO}'"
    execute(scene.ground, scene.database, statement)


def _lose_code(scene: Scene) -> None:
    shutil.rmtree(scene.place.path / "app")


def _garble_record(scene: Scene) -> None:
    put_record(scene.place, scene.notes["point"], b"{")


def _forge_record(scene: Scene) -> None:
    """Another tree for the first source, by somebody who has the key."""
    told = stock_restics()[0].run(
        scene.place.path / "local", "dump", "latest", "--tag", "kind:ledger", f"/{PATH.decode()}"
    )
    fields = json.loads(told)
    fields["sources"][0]["tree"] = "00" * 32
    put_record(scene.place, scene.notes["point"], json.dumps(fields).encode())


def _release(scene: Scene, page: str) -> None:
    code = scene.place.path / "app"
    write(code / "public" / "index.php", page + "\n")
    commit(code)
    healthy(scene, "backup")


def _broken_page(scene: Scene) -> None:
    _release(scene, "<?php this is none")


def _daemon(scene: Scene) -> None:
    # Until it has really left the group: a stop in the same moment would end it with the others.
    away = "exec('setsid -f sleep 600 >/dev/null 2>&1; sleep 0.5');"
    _release(scene, f"<?php {away} echo json_encode(['status' => 'ok']);")


def _sick_page(scene: Scene) -> None:
    _release(scene, "<?php echo json_encode(['status' => 'down']);")


FAULTS = (
    Fault("upload referenced by the database but missing on disk", CAPTURE, REFERENCES, BACKUP,
          _lose_upload, ("reference-absent",), "exit 0"),
    Fault("a row's file is not in the recovery point", TOGETHER, REFERENCES, DRILL,
          _lose_upload, ("reference-missing",), "FAILED"),
    Fault("a row's file is another one", TOGETHER, REFERENCES, DRILL,
          _alter_upload, ("reference-differs",), "FAILED"),
    Fault("the query that names files does not run", TOGETHER, REFERENCES, DRILL,
          _rename_column, ("reference-unchecked",), "UNKNOWN"),
    Fault("a row names a file by a path that is not below the folder", TOGETHER, REFERENCES, DRILL,
          _absolute_path, ("reference-unchecked",), "UNKNOWN"),
    Fault("a source is missing from the recovery point", TOGETHER, POINT, DRILL,
          _lose_code, ("point-incomplete", "drill-stopped"), "UNKNOWN"),
    Fault("record of the recovery point garbled", TOGETHER, POINT, AGAIN,
          _garble_record, ("point-unreadable",), "UNKNOWN"),
    Fault("record of the recovery point forged", TOGETHER, POINT, AGAIN,
          _forge_record, ("point-differs",), "FAILED"),
    Fault("application does not start", CODE, APPLICATION, START_IT,
          _broken_page, ("application-failed",), "FAILED"),
    Fault("application leaves a process behind", CODE, APPLICATION, START_IT,
          _daemon, ("application-strays",), "PROVEN"),
    Fault("application answers with another status", CODE, APPLICATION, START_IT,
          _sick_page, ("application-failed",), "FAILED"),
)  # fmt: skip
