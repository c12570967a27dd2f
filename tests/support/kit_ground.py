"""A production with a recovery kit, and a machine that has nothing but the kit."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import zxingcpp
from PIL import Image

from tests.e2e.command_line import Answer, Place
from tests.support.recovery_ground import make_production, serving

PASSPHRASE = "six words are better than one"
VARIABLE, SECRET = "KIT_TEST_APP_KEY", "hunter2-of-the-application"
KIT = f"""\
kit:
  escrow: [file:key, env:{VARIABLE}, file:app.env]
  passphrase: file:passphrase
  folder: kits
"""
RENDERED = "config/live.env"
_DOTS_AN_INCH = 150


def make_with_kit(path: Path, port: int, kit: str = KIT) -> Place:
    """A captured production whose configuration says what is in its kit; none is made yet."""
    place = make_production(path)
    for name, text in (("passphrase", PASSPHRASE), ("app.env", f"TOKEN={SECRET}-too\n")):
        (path / name).write_text(text)
        (path / name).chmod(0o600)
    recovery = serving(
        port,
        [
            f"secrets: {{key: env:{VARIABLE}}}",
            f'render: {{{RENDERED}: "KEY={{secret.key}}", .env: file:app.env}}',
        ],
    )
    place.write_config(place.config.read_text() + recovery + kit)
    return place


@contextlib.contextmanager
def variables(**given: str) -> Iterator[None]:
    """The environment has these, too."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def create(place: Place, *arguments: object) -> dict[str, Any]:  # Any: JSON values
    """The document of a kit that was made."""
    with variables(**{VARIABLE: SECRET}):
        return place.json("kit", "create", *arguments)


def bare(
    directory: Path, *arguments: object, environment: Mapping[str, str] | None = None
) -> Answer:
    """A command in an empty folder, with an empty environment unless one is given."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", *map(str, arguments)],
        cwd=directory,
        env=dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode())


def scanned(page: Path, directory: Path) -> list[str]:
    """The texts of all QR codes on a printed page, as a camera would see it."""
    directory.mkdir()
    subprocess.run(
        ["pdftoppm", "-r", str(_DOTS_AN_INCH), "-gray", "-png", str(page), str(directory / "page")],
        check=True,
        timeout=120,
    )
    return [
        one.text
        for image in sorted(directory.glob("*.png"))
        for one in zxingcpp.read_barcodes(Image.open(image))
    ]


def everything_written(place: Place) -> str:
    """All that the ledger and its neighbours hold, as text."""
    state = place.path / "state"
    return "".join(
        one.read_text(encoding="utf-8", errors="replace")
        for one in state.rglob("*")
        if one.is_file()
    )


def checks(place: Place) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """What `status` says of each check of the whole."""
    document = json.loads(place.run("--json", "status").text)
    return {one["name"]: one for one in document["checks"]}
