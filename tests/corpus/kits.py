"""Time and people: a recovery kit that is not what a recovery needs any more.

Each scene makes its own kit: it names the places of its repositories.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.corpus.model import Fault, Grounds, Scene, Way, ask, healthy, scene_of
from tests.corpus.standing import checked, configure
from tests.e2e.command_line import IN_ORDER, Place, make_place, run
from tests.support.repository_ground import new_repository

GROUP: Final = "Time and people"
WORKER: Final = "corpus-kits"
_KIT: Final = "kit: {escrow: [file:key, file:app.env], passphrase: file:passphrase, folder: kits}\n"
_CONFIG: Final = IN_ORDER.replace("application_drill: never,", "application_drill: never,\n"
                                  "   kit_drill: never,") + _KIT  # fmt: skip


def _write(place: Place, name: str, text: str) -> None:
    (place.path / name).write_text(text)
    (place.path / name).chmod(0o600)


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Place]:
    """An application in order, captured, read and drilled; it has no kit yet."""
    directory.mkdir()
    place = make_place(directory, _CONFIG)
    _write(place, "passphrase", "six words are better than one\n")
    _write(place, "app.env", "TOKEN=one\n")
    for name in ("local", "second"):
        new_repository(directory / name)
    for command in (["backup"], ["prune"], ["check", "--read-data"], ["drill"]):
        place.json(*command)
    yield place


@contextlib.contextmanager
def _with_kit(grounds: Grounds) -> Iterator[Scene]:
    path = grounds.new_directory()
    shutil.copytree(grounds.shared(ground).path, path, symlinks=True)
    place = Place(path)
    place.json("kit", "create")
    with scene_of(place) as scene:
        yield scene
    shutil.rmtree(path)


@contextlib.contextmanager
def _with_drilled_kit(grounds: Grounds) -> Iterator[Scene]:
    with _with_kit(grounds) as scene:
        healthy(scene, "kit", "drill")
        yield scene


DRILL: Final = Way("drill the recovery kit", WORKER, _with_kit, ask("kit", "drill"))
STAND: Final = Way(
    "ask how a kit stands",
    WORKER,
    _with_drilled_kit,
    lambda scene: checked(run("--config", scene.place.config, "--json", "status")),
)


def _made_anew(scene: Scene) -> None:
    shutil.rmtree(scene.place.path / "second")
    new_repository(scene.place.path / "second")


def _password_changed(scene: Scene) -> None:
    _write(scene.place, "new", "another password\n")
    new = f"file:{scene.place.path}/new"
    healthy(scene, "key", "passwd", "second", "--new-password", new)


def _passphrase_changed(scene: Scene) -> None:
    _write(scene.place, "passphrase", "somebody has changed it\n")


def _secret_left_out(scene: Scene) -> None:
    configure(scene, "escrow: [file:key, ", "escrow: [")
    assert scene.place.run("kit", "create").status == 3


def _away(scene: Scene) -> None:
    (scene.place.path / "second").rename(scene.place.path / "elsewhere")


def _secret_changed(scene: Scene) -> None:
    _write(scene.place, "app.env", "TOKEN=two\n")


def _too_old(scene: Scene) -> None:
    configure(scene, "folder: kits", "folder: kits, drill_age: 0s")


FAULTS: Final = (
    Fault("recovery kit doesn't open the repository", GROUP, "lost-key drill", DRILL, _made_anew,
          ("kit-closed",), "FAILED", also=("repository-unreachable",)),
    Fault("password changed since the kit was made", GROUP, "lost-key drill", DRILL,
          _password_changed, ("kit-closed",), "FAILED"),
    Fault("recovery kit does not open", GROUP, "lost-key drill", DRILL, _passphrase_changed,
          ("kit-unopened",), "FAILED"),
    Fault("a needed secret is not in the kit", GROUP, "lost-key drill", DRILL, _secret_left_out,
          ("kit-lacks",), "FAILED"),
    Fault("store away during a lost-key drill", GROUP, "lost-key drill", DRILL, _away,
          ("kit-unchecked",), "UNKNOWN", also=("repository-unreachable",)),
    Fault("secret changed since the kit was made", GROUP, "kit", STAND, _secret_changed,
          ("kit",), "STALE"),
    Fault("lost-key drill too old", GROUP, "lost-key drill", STAND, _too_old,
          ("kit-drill",), "STALE"),
)  # fmt: skip
