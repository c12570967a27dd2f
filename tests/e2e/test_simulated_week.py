"""A week of the service with the demo's application, in which a store breaks, a disk fills up and a
release does not start: what it does, judges and tells is exactly what it should.

Each line of the expected timeline was checked by hand against what the operator of such a week
would want to see. `python -m tests.e2e.test_simulated_week` prints what there is now.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from strongroom.demo.database import LEAST_ROWS
from tests.support.code_ground import commit
from tests.support.demo_ground import DemoGround, demo_ground
from tests.support.failure_ground import small_disk
from tests.support.listeners import WebService, web_service
from tests.support.repository_ground import new_repository
from tests.support.week_ground import Week, next_monday, week_of

EXPECTED = Path(__file__).parents[1] / "golden" / "week.txt"
DISK = "48m"

REPOSITORIES = """\
repositories:
  local: {{location: {local}, password: file:{key}}}
  second: {{location: {second}, password: file:{key}}}
objectives: {{rpo: 25h, rto: 4h, proof_age: 5d, copies: 2}}
schedule:
  capture: "0 2 * * *"
  prune: "0 4 * * *"
  check: "0 5 * * *"
  drill: "0 6 * * 1,4"
  application_drill: "0 7 * * 1,6,0"
  verify_daily: "0 8 * * *"
  verify_weekly: "0 9 * * 0"
  verify_monthly: "0 9 * * 0"
monitoring: {{space: 4MiB}}
alerts:
  - {{name: operators, to: "file:{hook}", quiet: "22:00-07:00"}}
  - {{name: duty, to: "file:{hook}", when: failure}}
review: {{last: {reviewed}, every: 90d}}
"""


def _config(ground: DemoGround, disk: Path, web: WebService) -> None:
    """The demo's own, with a second repository, all jobs each day, and two who are told."""
    hook = ground.demo.directory / "hook.url"
    hook.write_text(f"json://127.0.0.1:{web.port}/operators\n")
    hook.chmod(0o600)
    begin, rest = ground.config.read_text().split("repositories:\n", 1)
    _, rest = rest.split("\nqueries:\n", 1)
    own = REPOSITORIES.format(
        local=ground.demo.repository,
        second=disk / "second",
        key=ground.password_file,
        hook=hook,
        reviewed=f"{next_monday() - timedelta(days=1):%Y-%m-%d}",
    )
    ground.config.write_text(f"{begin}{own}\nqueries:\n{rest}")


@contextlib.contextmanager
def week(directory: Path) -> Iterator[tuple[Week, WebService]]:
    """It has passed."""
    disk = directory / "disk"
    with (
        demo_ground(directory / "tms", 15, LEAST_ROWS) as ground,
        small_disk(disk, DISK),
        web_service() as web,
    ):
        shutil.rmtree(ground.demo.state)
        shutil.rmtree(ground.demo.repository)
        for repository in (ground.demo.repository, disk / "second"):
            new_repository(repository)
        _config(ground, disk, web)
        with week_of(ground) as made:
            made.live(_events(ground, disk), days=7)
            yield made, web


def _events(ground: DemoGround, disk: Path) -> dict[timedelta, Callable[[], object]]:
    second, away = disk / "second", disk / "away"
    ballast = disk / "ballast"
    page = ground.demo.code / "public" / "api" / "health.php"
    healthy = page.read_bytes()

    def fill() -> None:
        free = shutil.disk_usage(disk).free
        with ballast.open("wb") as file:
            file.write(bytes(free))

    def break_release() -> None:
        page.write_bytes(b"<?php this does not even parse\n")
        commit(ground.demo.code)

    def mend_release() -> None:
        page.write_bytes(healthy)
        commit(ground.demo.code)

    def upload(day: int) -> None:
        place = ground.demo.uploads / "quotes" / f"week-{day}.pdf"
        place.write_bytes(f"%PDF-1.4 the quote of day {day}".encode())

    def at(day: int, hour: int) -> timedelta:
        return timedelta(days=day, hours=hour)

    return {
        **{at(day, 10): partial(upload, day) for day in range(7)},
        at(1, 1): partial(shutil.move, second, away),  # Tuesday: the store is gone
        at(1, 6): partial(shutil.move, away, second),
        at(3, 1): fill,  # Thursday: its disk is full
        at(3, 6): ballast.unlink,
        at(4, 12): break_release,  # captured on Saturday
        at(5, 12): mend_release,
    }


def test_a_week(tmp_path: Path) -> None:
    with week(tmp_path) as (made, web):
        assert made.lines == EXPECTED.read_text().splitlines()
        assert len(web.asked) == len(made.letters)
        told = [json.loads(body)["title"] for _, _, body in web.asked]
        assert all("training-management-system development" in one for one in told)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, week(Path(folder)) as (made, _):
        print("\n".join(made.lines))
