"""Files and code: a restored copy is changed in one thing, and the proof is to say so."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy, scene_of
from tests.e2e.command_line import Place, make_place
from tests.support.code_ground import make_application, write
from tests.support.observation import as_nobody, open_directory
from tests.support.repository_ground import new_repository
from tests.support.tree_changes import ALSO, CODE, CONFIG, FILES, keeping_time, make_tree

GROUP: Final = "Files and code"


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Place]:
    """Files and code, captured and restored once."""
    directory.mkdir()
    made = make_place(directory, CONFIG)
    make_tree(made.uploads)
    make_application(made.path / "app")
    new_repository(made.path / "local")
    assert made.json("backup")["findings"] == []
    for source in ("uploads", "code"):
        restored = made.json("restore", source, "--to", made.path / f"{source}.restored")
        assert restored["verdict"] == "PROVEN"
    yield made


@contextlib.contextmanager
def _a_copy(source: str, grounds: Grounds) -> Iterator[Scene]:
    """A copy with links, times, owners and attributes."""
    made, target = grounds.shared(ground), grounds.new_directory()
    command = ["cp", "-a", str(made.path / f"{source}.restored"), str(target)]
    subprocess.run(command, check=True)
    with scene_of(made, target=target) as scene:
        yield scene
    shutil.rmtree(target, ignore_errors=True)


def _prove(source: str, scene: Scene) -> Seen:
    return ask("prove", source, "--target", scene.target)(scene)


@contextlib.contextmanager
def _roots_files(grounds: Grounds) -> Iterator[Scene]:
    """Files that are captured as somebody's, and what is there already to be replaced."""
    del grounds
    with open_directory() as path:
        place = make_place(path / "tms", CONFIG.replace("  code:", "  # code:"))
        subprocess.run(["chown", "-R", "65534:65534", str(path)], check=True)
        with as_nobody():
            new_repository(place.path / "local")
            write(path / "used" / "live", "what is there now")
        with scene_of(place, target=path / "used") as scene:
            yield scene


def _replace(scene: Scene) -> Seen:
    """By a user who may not give files away."""
    healthy(scene, "backup", "uploads")
    subprocess.run(["chown", "-R", "65534:65534", str(scene.place.path / "local")], check=True)
    subprocess.run(["chown", "-R", "65534:65534", str(scene.place.path / "state")], check=True)
    with as_nobody():
        result = ask("restore", "uploads", "--to", scene.target, "--replace", "used")(scene)
    replaced = not (scene.target / "live").exists()
    assert replaced is (result.outcome == "PROVEN"), result.told
    return result


def _give_to_root(scene: Scene) -> None:
    subprocess.run(["chown", "0:0", str(scene.place.uploads / "lpos/LPO-1.pdf")], check=True)


FILES_WAY = Way("prove restored files", "corpus-trees", partial(_a_copy, "uploads"),
                partial(_prove, "uploads"))  # fmt: skip
CODE_WAY = Way("prove restored code", "corpus-trees", partial(_a_copy, "code"),
               partial(_prove, "code"))  # fmt: skip
REPLACE = Way("replace files without root's powers", "corpus-trees", _roots_files, _replace)

# What the rows are called in the list; those that are not named here keep their own name.
_NAMES = {
    "byte changed": "one byte changed",
    "mode": "mode changed",
    "owner": "owner changed",
    "time": "time of change lost",
    "link target": "link target changed",
    "attribute lost": "xattr lost",
    "configuration lost": "untracked configuration lost",
    "configuration changed": "untracked configuration changed",
    "configuration readable by all": "untracked configuration readable by all",
    "configuration added": "untracked configuration added",
}


def _file_row(name: str) -> Fault:
    where, change, code, _ = FILES[name]

    def spoil(scene: Scene) -> None:
        keeping_time(scene.target / where, change)

    codes = {code} | {one for one, _ in ALSO.get(name, set())}
    title = _NAMES.get(name, name)
    return Fault(title, GROUP, "content", FILES_WAY, spoil, tuple(sorted(codes)), "FAILED")


def _code_row(name: str, also: tuple[str, ...] = ()) -> Fault:
    change, code, _ = CODE[name]

    def spoil(scene: Scene) -> None:
        change(scene.target)

    title = _NAMES.get(name, name)
    return Fault(title, GROUP, "content", CODE_WAY, spoil, (code,), "FAILED", also)


FAULTS = (
    *map(_file_row, FILES),
    *(_code_row(name) for name in CODE if name != "commit missing"),
    _code_row("commit missing", ("code-ref-differs", "tree-content", "tree-missing")),
    Fault("owners that cannot be given back", GROUP, "restore", REPLACE, _give_to_root,
          ("tree-unchecked", "target-not-replaced"), "UNKNOWN", ("metadata-unset",)),
)  # fmt: skip
