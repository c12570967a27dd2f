"""Time and people, as `status` and the checklists see it: what gets old, fills up, or never ran.

An application did all that the procedures ask for, for some days. Where time has to pass, all that
is recorded is set back by so much (`tests.support.older_records`); everything else is made: runs
that fail, disks that are full, a store on another host.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from strongroom.report.check import CHECK_KINDS
from strongroom.service.gathering import EXITS
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, healthy, scene_of, seen
from tests.e2e.command_line import Answer, Place, make_place, run
from tests.support.failure_ground import small_disk
from tests.support.listeners import web_service
from tests.support.older_records import let_pass
from tests.support.other_host import OtherHost, other_host
from tests.support.store_servers import ACCESS_KEY, SECRET_KEY, rclone_s3

GROUP: Final = "Time and people"
WORKER: Final = "corpus-standing"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# How long ago all was done that is to be done, in the healthy twin.
AGO: Final = 20 * HOUR
# What nobody knows before a drill.
DRILLED: Final = ("proof", "full-restore", "rto")
_CAPTURE: Final = ("capture", "schedule")
STATUS, DAILY, WEEKLY, MONTHLY = "status", "daily list", "weekly list", "monthly list"
_NAGIOS: Final = {"PROVEN": 0, "STALE": 1, "FAILED": 2, "UNKNOWN": 3}

CONFIG: Final = """\
version: 1
application: tms
environment: development
sources:
  uploads: {kind: files, path: uploads}
repositories:
  local: {location: local, password: file:key}
  second: {location: second, password: file:key}
schedule:
  {capture: "@TIME@", check: "@TIME@", prune: never, drill: never, application_drill: never,
   verify_daily: never, verify_weekly: never, verify_monthly: never}
objectives: {rpo: 24h, proof_age: 7d, copies: 2}
retention: {uploads: {last: 30}}
alerts: [{name: operators, to: file:hook}]
monitoring: {space: 1KiB}
review: {last: @TODAY@, every: 90d}
state: state
"""


def config_for(moment: datetime) -> str:
    """What is to be done each day is due at this time of the day."""
    fields = f"{moment.minute} {moment.hour} * * *"
    return CONFIG.replace("@TIME@", fields).replace("@TODAY@", f"{moment:%Y-%m-%d}")


def pass_time(place: Place, span: timedelta) -> None:
    """All that was done at this place was done so much earlier."""
    known = (place.path / name for name in ("local", "second"))
    repositories = [one for one in known if one.exists()]
    let_pass(place.path / "state" / "ledger.jsonl", span, repositories)


def change(place: Place, number: int, size: int = 200_000) -> None:
    """What a day brings: one file is another one."""
    (place.uploads / "changing").write_bytes(random.Random(number).randbytes(size))


@dataclass(frozen=True)
class Ground:
    """An application after six days; `undrilled` is what it would be had nobody drilled it.

    Scenes are copies at the path where it was made, since the ledger names it.
    """

    pattern: Path
    undrilled: Path
    live: Path


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """Six captures, the newest of them in order in every way."""
    directory.mkdir()
    made = Ground(directory / "pattern", directory / "undrilled", directory / "live")
    begun_at = datetime.now(UTC) - AGO
    made.live.mkdir()
    place = make_place(made.live, config_for(begun_at))
    with web_service() as hook:
        write_hook(place, hook.port)
        place.json("init")
        for number in range(6):
            if number:
                pass_time(place, DAY)
            change(place, number)
            place.json("backup")
        place.json("alert", "test")
        assert len(hook.asked) == 1
    place.json("check", "--read-data")
    place.json("prune")
    shutil.copytree(made.live, made.undrilled)
    assert place.json("drill", "--next")["verdict"] == "PROVEN"
    for one in (place, Place(made.undrilled)):
        pass_time(one, AGO)
    made.live.rename(made.pattern)
    yield made


def write_hook(place: Place, port: int, name: str = "hook") -> None:
    """Alerts go to this port of loopback."""
    hook = place.path / name
    hook.write_text(f"json://127.0.0.1:{port}/T0KEN\n")
    hook.chmod(0o600)


@contextlib.contextmanager
def in_order(grounds: Grounds) -> Iterator[Scene]:
    """All is as it is to be, and was done twenty hours ago."""
    made = grounds.shared(ground)
    shutil.copytree(made.pattern, made.live)
    try:
        with scene_of(Place(made.live), target=made.undrilled) as scene:
            yield scene
    finally:
        shutil.rmtree(made.live)


def checked(answer: Answer) -> Seen:
    """The verdict, and the checks or lines that are not well; the exit status agrees with it."""
    document = answer.document
    if "error" in document:
        return seen(answer)
    verdict = str(document["verdict"])
    assert answer.status == {one.value: status for one, status in EXITS.items()}[verdict]
    loud = {one["name"] for one in document["checks"] if one["verdict"] not in ("PROVEN", None)}
    loud |= {one["code"] for one in document.get("findings", [])}
    return Seen(verdict, frozenset(loud), told=answer.text + answer.err)


def ask_status(scene: Scene) -> Seen:
    result = checked(run("--config", scene.place.config, "--json", "status"))
    assert scene.place.run("status", "--nagios").status == _NAGIOS[result.outcome]
    return result


def _list(name: str) -> Callable[[Scene], Seen]:
    def asked(scene: Scene) -> Seen:
        return checked(run("--config", scene.place.config, "--json", "verify", name))

    return asked


STAND = Way("ask how things stand", WORKER, in_order, ask_status)
DAILY_LIST = Way("go through the daily list", WORKER, in_order, _list("daily"))
MONTHLY_LIST = Way("go through the monthly list", WORKER, in_order, _list("monthly"))


# Time


def later(span: timedelta) -> Callable[[Scene], None]:
    """Nothing is done for so long."""

    def spoil(scene: Scene) -> None:
        pass_time(scene.place, span)

    return spoil


def _only_captured(span: timedelta) -> Callable[[Scene], None]:
    """For so long nothing is done, then somebody captures by hand."""

    def spoil(scene: Scene) -> None:
        pass_time(scene.place, span)
        healthy(scene, "backup")

    return spoil


def _all_but_proven(span: timedelta) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        pass_time(scene.place, span)
        for command in (["backup"], ["check", "--read-data"]):
            healthy(scene, *command)

    return spoil


def not_drilled(scene: Scene) -> None:
    """All that is stored and recorded is as it was before the drill."""
    for name in ("state", "local", "second"):
        shutil.rmtree(scene.place.path / name)
        shutil.copytree(scene.target / name, scene.place.path / name)


# Runs and their size


def _captured_with(size: int) -> Callable[[Scene], None]:
    def spoil(scene: Scene) -> None:
        change(scene.place, 7, size)
        healthy(scene, "backup")

    return spoil


def _failed_at_night(scene: Scene) -> None:
    """The folder was away while a capture ran, and nobody looked."""
    away = scene.place.path / "away"
    scene.place.uploads.rename(away)
    assert scene.place.run("backup").status not in (0, 2)
    away.rename(scene.place.uploads)


def _no_password_at_night(scene: Scene) -> None:
    """A capture could not read its password, and nobody looked."""
    key, away = scene.place.path / "key", scene.place.path / "away"
    key.rename(away)
    assert scene.place.run("backup").status == 2
    away.rename(key)


def _prune_unconfirmed(scene: Scene) -> None:
    """A prune would drop more than half of all, so that somebody has to mean it."""
    configure(scene, "last: 30", "last: 1")
    assert scene.place.run("prune").status == 2


def _required_missing(scene: Scene) -> None:
    configure(scene, "path: uploads", "path: uploads, required: [invoices]")
    assert scene.place.run("backup").status == 3


def _damaged(scene: Scene) -> None:
    """A check found a flipped bit, and nobody looked."""
    packs = (one for one in (scene.place.path / "second/data").rglob("*") if one.is_file())
    pack = max(packs, key=lambda one: one.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[20] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert scene.place.run("check", "second", "--read-data").status == 30


def _away(scene: Scene) -> None:
    (scene.place.path / "second").rename(scene.place.path / "elsewhere")


# Settings and records


def configure(scene: Scene, before: str, after: str) -> None:
    text = scene.place.config.read_text()
    assert before in text
    scene.place.write_config(text.replace(before, after))


def review_overdue(scene: Scene) -> None:
    today, long_ago = (f"{datetime.now(UTC) - span:%Y-%m-%d}" for span in (AGO, 91 * DAY))
    configure(scene, f"last: {today}", f"last: {long_ago}")


def _other_policy(scene: Scene) -> None:
    configure(scene, "last: 30", "last: 20")


def _new_source(scene: Scene) -> None:
    (scene.place.path / "more").mkdir()
    configure(scene, "repositories:", "  more: {kind: files, path: more}\nrepositories:")


def _edited(scene: Scene) -> None:
    path = scene.place.path / "state" / "ledger.jsonl"
    text = path.read_text()
    assert '"exit_status":0' in text
    path.write_text(text.replace('"exit_status":0', '"exit_status":1', 1))


# Room: a repository on a disk of its own

ROOM: Final = """\
version: 1
application: tms
environment: development
sources:
  uploads: {kind: files, path: uploads, capture: never}
repositories:
  local: {location: local, password: file:key}
schedule:
  {prune: never, check: never, drill: never, application_drill: never, verify_daily: never,
   verify_weekly: never, verify_monthly: never}
state: state
"""
_DISK_BYTES: Final = 64 << 20


@contextlib.contextmanager
def _on_a_disk(grounds: Grounds) -> Iterator[Scene]:
    """Captured, read and drilled; nearly all of the disk is free."""
    path = grounds.new_directory()
    path.mkdir()
    with small_disk(path / "local", str(_DISK_BYTES)):
        place = make_place(path, ROOM)
        for command in ("init", "backup", "drill"):
            place.json(command)
        place.json("check", "--read-data")
        with scene_of(place) as scene:
            yield scene
    shutil.rmtree(path)


ROOM_LIST = Way("go through the weekly list", WORKER, _on_a_disk, _list("weekly"))


def _filled_up_to(free: int) -> Callable[[Scene], None]:
    """Something else takes the room, but for so many bytes."""

    def spoil(scene: Scene) -> None:
        store = scene.place.path / "local"
        size = shutil.disk_usage(store).free - free
        with (store / "else").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    return spoil


def _filling(scene: Scene) -> None:
    """Each day adds a fourteenth of the disk."""
    for number in range(5):
        pass_time(scene.place, DAY)
        change(scene.place, number, _DISK_BYTES // 14)
        healthy(scene, "backup")


# Copies on another host

PRODUCTION: Final = ROOM.replace("development", "production").replace(
    "schedule:",
    """\
  offsite: {location: "@OFFSITE@", password: file:key,
    access: {access_key: file:key-id, secret_key: file:secret, region: us-east-1}}
objectives: {copies: 2}
schedule:""",
)


@contextlib.contextmanager
def _host(directory: Path) -> Iterator[OtherHost]:
    directory.mkdir()
    with other_host() as host:
        yield host


@contextlib.contextmanager
def _two_hosts(grounds: Grounds) -> Iterator[Scene]:
    """A copy is here, and one in a bucket on another host."""
    host, path = grounds.shared(_host), grounds.new_directory()
    path.mkdir()
    for name, content in (("key-id", ACCESS_KEY), ("secret", SECRET_KEY)):
        (path / name).write_text(content)
        (path / name).chmod(0o600)
    with scene_of(make_place(path), ground=host) as scene:
        bucket = scene.stack.enter_context(rclone_s3(path / "s3", host))
        scene.place.write_config(PRODUCTION.replace("@OFFSITE@", bucket.location("bucket")))
        healthy(scene, "init")
        healthy(scene, "backup")
        yield scene
    shutil.rmtree(path)


HOSTS_LIST = Way("go through the daily list of production", WORKER, _two_hosts, _list("daily"))


def _both_here(scene: Scene) -> None:
    """What is called offsite is another folder of the same host."""
    text = scene.place.config.read_text()
    begin, end = text.index("  offsite:"), text.index("objectives:")
    here = "  offsite: {location: offsite, password: file:key}\n"
    scene.place.write_config(text[:begin] + here + text[end:])
    healthy(scene, "init")
    healthy(scene, "backup")


def _offsite_away(scene: Scene) -> None:
    scene.stack.close()


def _offsite_refused(scene: Scene) -> None:
    """The newest capture was not taken there, for the password was another one; it no longer is."""
    secret = scene.place.path / "secret"
    secret.write_text("another one of the same kind of length!!")
    change(scene.place, 1)
    assert scene.place.run("backup").status == 3
    secret.write_text(SECRET_KEY)


def _row(
    name: str,
    way: Way,
    rung: str,
    spoil: Callable[[Scene], object],
    codes: tuple[str, ...],
    outcome: str,
    *also: str,
) -> Fault:
    return Fault(name, GROUP, rung, way, spoil, codes, outcome, also)


FAULTS: Final = (
    _row("newest snapshot too old", STAND, STATUS, later(6 * HOUR), _CAPTURE, "STALE"),
    _row("newest snapshot twice too old", STAND, STATUS, later(32 * HOUR), _CAPTURE, "FAILED"),
    _row("newest snapshot too old, gone through", DAILY_LIST, DAILY, later(6 * HOUR), _CAPTURE,
         "STALE"),
    _row("clock set back by two days", STAND, STATUS, later(-2 * DAY), ("capture", "proof"),
         "UNKNOWN", *DRILLED),
    _row("scheduler stopped", STAND, STATUS, _only_captured(6 * HOUR), ("schedule",), "STALE"),
    _row("a run failed and nobody looked", STAND, STATUS, _failed_at_night, ("errors",), "FAILED"),
    _row("no password for a run, and nobody looked", STAND, STATUS, _no_password_at_night,
         ("errors",), "FAILED"),
    _row("retention would drop most, and nobody looked", STAND, STATUS, _prune_unconfirmed,
         ("errors", "retention"), "FAILED"),
    _row("backup smaller by a third than usual", STAND, STATUS, _captured_with(80_000),
         ("size", "anomalies"), "STALE"),
    _row("backup much larger than usual", STAND, STATUS, _captured_with(500_000),
         ("size", "anomalies"), "STALE"),
    _row("backup much larger than usual, gone through", DAILY_LIST, DAILY, _captured_with(500_000),
         ("size",), "STALE"),
    _row("files left out, and nobody looked", STAND, STATUS, _required_missing,
         ("files", "anomalies"), "STALE"),
    _row("damage found, and nobody looked", STAND, STATUS, _damaged, ("integrity",), "FAILED"),
    _row("a repository away, gone through", DAILY_LIST, DAILY, _away, ("copies",), "STALE"),
    _row("a source was added and never captured", STAND, STATUS, _new_source,
         ("capture", "size", "copies", "proof", "files", "full-restore", "rto", "retention",
          "schedule"), "UNKNOWN"),
    _row("drill never ran", STAND, STATUS, not_drilled, DRILLED, "UNKNOWN"),
    _row("drill never ran, gone through", MONTHLY_LIST, MONTHLY, not_drilled,
         ("full-restore", "rto"), "UNKNOWN"),
    _row("drilled too long ago", STAND, STATUS, _all_but_proven(8 * DAY), ("proof",), "STALE"),
    _row("retention says otherwise, and nobody pruned", STAND, STATUS, _other_policy,
         ("retention",), "STALE"),
    _row("review date passed", MONTHLY_LIST, MONTHLY, review_overdue, ("review",), "STALE"),
    _row("review date passed, by the way", STAND, STATUS, review_overdue, ("review",), "PROVEN"),
    _row("ledger line edited, judged by", STAND, STATUS, _edited, ("ledger",), "UNKNOWN",
         *(set(CHECK_KINDS) - {"review", "off-site"})),
    _row("destination nearly full", ROOM_LIST, WEEKLY, _filled_up_to(_DISK_BYTES // 20),
         ("space",), "STALE"),
    _row("destination full", ROOM_LIST, WEEKLY, _filled_up_to(4096), ("space",), "FAILED"),
    _row("destination full within a fortnight", ROOM_LIST, WEEKLY, _filling, ("space",), "STALE"),
    _row("no copy on another host", HOSTS_LIST, DAILY, _both_here, ("off-site",), "STALE"),
    _row("the other host is away", HOSTS_LIST, DAILY, _offsite_away, ("copies", "off-site"),
         "STALE"),
    _row("the other host lacks the newest capture", HOSTS_LIST, DAILY, _offsite_refused,
         ("copies", "off-site"), "STALE"),
)  # fmt: skip
