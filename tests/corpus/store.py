"""Store: a repository in a directory is damaged, shut, crowded or set back.

The pattern has two recovery points of files; each row works on a copy of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from strongroom.repository import BlobType, Repository, open_storage
from strongroom.repository.index import encode_index
from strongroom.repository.pack import PackEntry
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy, scene_of, seen
from tests.e2e.command_line import PASSWORD, TWO_REPOSITORIES, Place, make_place
from tests.support.demo_ground import end_child, start_child
from tests.support.failure_ground import small_disk
from tests.support.repair_ground import flipped, overwrite
from tests.support.repository_ground import new_repository
from tests.support.restic import stock_restics

GROUP: Final = "Store"
WORKER: Final = "corpus-store"
ONE_REPOSITORY = TWO_REPOSITORIES.replace("  second: {location: second, password: file:key}\n", "")


def _grow(place: Place, number: int) -> None:
    content = random.Random(number).randbytes(60_000)
    (place.uploads / "lpos" / f"LPO-1{number}.pdf").write_bytes(content)


def _made(directory: Path, config: str) -> Place:
    """Two recovery points; `before` is the repository as it was after the first."""
    directory.mkdir()
    place = make_place(directory, config)
    names = ("local", "second") if config is TWO_REPOSITORIES else ("local",)
    for name in names:
        new_repository(directory / name)
    for number in range(2):
        if number:
            shutil.copytree(directory / "local", directory / "before")
        _grow(place, number)
        assert place.json("backup")["findings"] == []
    return place


@contextlib.contextmanager
def one(directory: Path) -> Iterator[Place]:
    """An application with one repository."""
    yield _made(directory, ONE_REPOSITORY)


@contextlib.contextmanager
def two(directory: Path) -> Iterator[Place]:
    """An application with two repositories."""
    yield _made(directory, TWO_REPOSITORIES)


@contextlib.contextmanager
def copy_of(grounds: Grounds, pattern: Place) -> Iterator[Scene]:
    path = grounds.new_directory()
    shutil.copytree(pattern.path, path, symlinks=True)
    with scene_of(Place(path)) as scene:
        yield scene
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _one(grounds: Grounds) -> Iterator[Scene]:
    with copy_of(grounds, grounds.shared(one)) as scene:
        yield scene


@contextlib.contextmanager
def _two(grounds: Grounds) -> Iterator[Scene]:
    with copy_of(grounds, grounds.shared(two)) as scene:
        yield scene


@contextlib.contextmanager
def _behind(grounds: Grounds) -> Iterator[Scene]:
    """The second repository was away during the last captures, and a copy brought them."""
    with copy_of(grounds, grounds.shared(one)) as scene:
        new_repository(scene.place.path / "second")
        scene.place.write_config(TWO_REPOSITORIES)
        healthy(scene, "copy", "--from", "local", "--to", "second")
        yield scene


@contextlib.contextmanager
def _small(grounds: Grounds) -> Iterator[Scene]:
    """A repository on a disk of its own, whose size can be changed."""
    path = grounds.new_directory()
    path.mkdir()
    with small_disk(path / "local", "64m") as remount:
        place = make_place(path, ONE_REPOSITORY)
        new_repository(path / "local")
        (place.uploads / "lpos" / "LPO-9.pdf").write_bytes(os.urandom(3 << 20))
        with scene_of(place, ground=remount) as scene:
            yield scene
    shutil.rmtree(path, ignore_errors=True)


def _crowd(scene: Scene) -> Seen:
    """Two backups, one after the other or at once; then everything is looked at."""
    commands = [("--config", scene.place.config, "--json", "backup")] * 2
    if "at once" in scene.notes:
        children = [start_child(*command) for command in commands]
        answers = [end_child(child) for child in children]
    else:
        answers = [end_child(start_child(*command)) for command in commands]
    for answer in answers:
        if (result := seen(answer)).outcome != "exit 0" or result.loud:
            return result
    healthy(scene, "check", "--read-data")
    stock_restics()[0].check(scene.place.path / "local")
    return ask("drill")(scene)


CHECK = Way("check a repository", WORKER, _one, ask("check"))
READ = Way("check every byte of a repository", WORKER, _one, ask("check", "--read-data"))
DRILL = Way("drill files", WORKER, _one, ask("drill"))
BACKUP = Way("back up files", WORKER, _one, ask("backup"))
BOTH = Way("back up files to two repositories", WORKER, _two, ask("backup"))
DRILL_ONE = Way("drill files of which there are two copies", WORKER, _two, ask("drill"))
COPIED = Way("check a copy in another repository", WORKER, _behind, ask("check", "second"))
FULL = Way("back up files to a small disk", WORKER, _small, ask("backup"))
CROWD = Way("back up files twice", WORKER, _one, _crowd)


# Damages


def local(scene: Scene) -> Path:
    return scene.place.path / "local"


def packs(store: Path) -> list[Path]:
    """All packs, the largest first: it holds files."""
    found = [path for path in (store / "data").rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: (-path.stat().st_size, path.name))


def _truncate(scene: Scene) -> None:
    pack = packs(local(scene))[0]
    pack.chmod(0o600)
    os.truncate(pack, pack.stat().st_size // 2)


def _flip(scene: Scene) -> None:
    pack = packs(local(scene))[0]
    overwrite(pack, flipped(pack.read_bytes()))


def _remove(scene: Scene) -> None:
    packs(local(scene))[0].unlink()


def _rename(scene: Scene) -> None:
    pack = packs(local(scene))[0]
    pack.rename(pack.with_name(pack.name[:2] + "0" * 62))


def _swap(scene: Scene) -> None:
    first, second = packs(local(scene))[:2]
    overwrite(first, second.read_bytes())


def _remove_indexes(scene: Scene) -> None:
    for file in (local(scene) / "index").iterdir():
        file.unlink()


def _spoil_indexes(scene: Scene) -> None:
    for file in (local(scene) / "index").iterdir():
        overwrite(file, b"garbage" * 20)


def _index_a_ghost(scene: Scene) -> None:
    """An index of the right form that names a pack which was never there."""
    opened = Repository.open(open_storage(str(local(scene))), PASSWORD, name="local")
    entry = PackEntry(BlobType.DATA, os.urandom(32), 0, 100, None)
    opened.save_file("index", encode_index([(os.urandom(32).hex(), [entry])]))


def _newest(scene: Scene) -> Path:
    listed = [one for one in scene.place.snapshots() if one["repository"] == "local"]
    return local(scene) / "snapshots" / str(listed[-1]["id"])


def _spoil_snapshot(scene: Scene) -> None:
    file = _newest(scene)
    overwrite(file, file.read_bytes()[::-1])


def _remove_snapshot(scene: Scene) -> None:
    _newest(scene).unlink()


def _roll_back(scene: Scene) -> None:
    shutil.rmtree(local(scene))
    (scene.place.path / "before").rename(local(scene))


def _remove_keys(scene: Scene) -> None:
    for file in (local(scene) / "keys").iterdir():
        file.unlink()


def _wrong_password(scene: Scene) -> None:
    (scene.place.path / "key").write_text("not this\n")


def _remove_config(scene: Scene) -> None:
    (local(scene) / "config").unlink()


def _dead_lock(scene: Scene) -> None:
    """The exclusive lock of a process that is no more."""
    code = (
        "import os, sys\n"
        "from strongroom.repository import Repository, open_storage\n"
        "r = Repository.open(open_storage(sys.argv[1]), sys.argv[2], name='local')\n"
        "r.new_lock(exclusive=True).acquire()\n"
        "os._exit(9)\n"
    )
    arguments = [sys.executable, "-c", code, str(local(scene)), PASSWORD]
    assert subprocess.run(arguments, check=False).returncode == 9


def _old_lock(scene: Scene) -> None:
    """The exclusive lock of another host, from two days ago."""
    opened = Repository.open(open_storage(str(local(scene))), PASSWORD, name="local")
    old = {"time": (datetime.now(UTC) - timedelta(days=2)).isoformat(), "exclusive": True,
           "hostname": "elsewhere", "username": "root", "pid": 7, "uid": 0, "gid": 0}  # fmt: skip
    name = opened.save_file("locks", json.dumps(old).encode())
    os.utime(local(scene) / "locks" / name, (1_700_000_000, 1_700_000_000))


def _held_lock(scene: Scene) -> None:
    opened = Repository.open(open_storage(str(local(scene))), PASSWORD, name="local")
    lock = opened.new_lock(exclusive=True)
    lock.acquire()
    scene.stack.callback(lock.release)


def _at_once(scene: Scene) -> None:
    scene.notes["at once"] = "yes"


def _clock_ahead(scene: Scene) -> None:
    """A host whose clock is an hour off has captured the same directory."""
    ahead = datetime.now().astimezone() + timedelta(hours=1)
    tags = "strongroom,source:uploads,kind:files,application:tms"
    words = ("backup", "--time", f"{ahead:%Y-%m-%d %H:%M:%S}", "--tag", tags, scene.place.uploads)
    stock_restics()[0].run(local(scene), *words)


def _second_away(scene: Scene) -> None:
    (scene.place.path / "second").rename(scene.place.path / "away")


def _half_copied(scene: Scene) -> None:
    """Of what was copied, half never arrived, though the store had said so."""
    found = packs(scene.place.path / "second")
    for pack in found[: (len(found) + 1) // 2]:
        pack.unlink()


_Spoil = Callable[[Scene], object]


def _row(
    name: str, way: Way, spoil: _Spoil, codes: tuple[str, ...], outcome: str, *also: str
) -> Fault:
    return Fault(name, GROUP, way.name.partition(" ")[0], way, spoil, codes, outcome, also)


LOST = ("blob-missing", "tree-unreadable", "restore-failed")
FAULTS = (
    _row("pack truncated", CHECK, _truncate, ("pack-size",), "exit 30", *LOST),
    _row("pack with a flipped bit", READ, _flip, ("pack-content",), "exit 30", *LOST),
    _row("pack with a flipped bit, drilled", DRILL, _flip, ("restore-failed",), "FAILED"),
    _row("pack missing", CHECK, _remove, ("pack-missing",), "exit 30", *LOST),
    _row("pack renamed", CHECK, _rename, ("pack-missing",), "exit 30", *LOST),
    _row("pack swapped for another valid pack", CHECK, _swap, ("pack-size",), "exit 30",
         "pack-content", *LOST),
    _row("pack swapped for another valid pack, drilled", DRILL, _swap, ("restore-failed",),
         "FAILED"),
    _row("index missing", CHECK, _remove_indexes, ("blob-missing",), "exit 30", *LOST),
    _row("index missing, drilled", DRILL, _remove_indexes, ("index-incomplete",), "PROVEN"),
    _row("index garbage", CHECK, _spoil_indexes, ("index-unreadable",), "exit 30", *LOST),
    _row("index pointing at a pack that is gone", CHECK, _index_a_ghost, ("pack-missing",),
         "exit 30"),
    _row("snapshot file garbage", CHECK, _spoil_snapshot, ("snapshot-unreadable",), "exit 30"),
    _row("snapshot file garbage, drilled", DRILL, _spoil_snapshot, ("snapshot-unreadable",),
         "FAILED"),
    _row("snapshot deleted behind our back", DRILL, _remove_snapshot, ("snapshot-vanished",),
         "FAILED"),
    _row("repository rolled back to an older state", DRILL, _roll_back, ("snapshot-vanished",),
         "FAILED", "ledger-differs"),
    _row("key file gone", BACKUP, _remove_keys, ("key-damaged",), "exit 33"),
    _row("config file gone", BACKUP, _remove_config, ("config-lost",), "exit 38"),
    _row("wrong password", BACKUP, _wrong_password, ("wrong-password",), "exit 24"),
    _row("lock left by a dead process", BACKUP, _dead_lock, ("lock-removed",), "exit 0"),
    _row("lock left by a host that is gone", BACKUP, _old_lock, ("lock-stale",), "exit 0"),
    _row("exclusive lock of a living process", BACKUP, _held_lock, ("busy",), "exit 4"),
    _row("two writers at once", CROWD, _at_once, (), "PROVEN"),
    _row("copy destination partially uploaded", COPIED, _half_copied, ("pack-missing",), "exit 30",
         *LOST, "ledger-unreadable"),
    _row("clock an hour off", DRILL, _clock_ahead, ("snapshot-from-future",), "PROVEN"),
    _row("disk full", FULL, lambda scene: scene.ground("size=1m"), ("store-full",), "exit 22"),
    _row("one of two repositories away", BOTH, _second_away,
         ("repository-failed", "repository-behind"), "exit 3"),
    _row("one of two repositories away, drilled", DRILL_ONE, _second_away,
         ("repository-unreachable",), "PROVEN"),
)  # fmt: skip
