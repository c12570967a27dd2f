"""A restic newer than the one this Debian installs, unpacked beside the checkout.

The package comes from a later Debian suite through the mirror and the keys that apt is configured
with here; nothing is installed and apt's own state is left alone. The suites are tried in turn.
`python -m bench.newest_restic` prints the program's path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITES = ("sid", "trixie")
CACHE = Path(__file__).resolve().parent.parent / ".bench" / "restic"
_TIMEOUT_SECONDS = 300.0
_DEFAULT_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NewerResticError(Exception):
    """No suite gave a restic that runs here; the text says why, suite by suite."""


@dataclass(frozen=True, slots=True)
class _Archive:
    address: str
    keyring: str


def newest_restic(cache: Path = CACHE, suites: Sequence[str] = SUITES) -> Path:
    """The newest restic of `suites` that runs here; fetched once, then taken from `cache`.

    Raises NewerResticError.
    """
    for suite in suites:
        if _runs(program := _program(cache, suite)):
            return program
    reasons = []
    for suite in suites:
        try:
            return _fetch(cache, suite)
        except (NewerResticError, OSError, subprocess.SubprocessError) as error:
            reasons.append(f"{suite}: {error}")
    raise NewerResticError("; ".join(reasons))


def _program(cache: Path, suite: str) -> Path:
    return cache / suite / "usr" / "bin" / "restic"


def _runs(program: Path) -> bool:
    if not program.is_file():
        return False
    answer = subprocess.run([program, "version"], capture_output=True, check=False, timeout=30)
    return answer.returncode == 0 and answer.stdout.startswith(b"restic ")


def _fetch(cache: Path, suite: str) -> Path:
    target = cache / suite
    apt = target / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    archive = _debian_archive()
    sources = apt / "sources.list"
    sources.write_text(f"deb [signed-by={archive.keyring}] {archive.address} {suite} main\n")
    options = [
        f"Dir::Etc::sourcelist={sources}",
        "Dir::Etc::sourceparts=-",
        "Dir::Etc::preferencesparts=-",
        f"Dir::State::lists={apt / 'lists'}",
        f"Dir::Cache={apt / 'cache'}",
        "Acquire::Languages=none",
        "Acquire::Retries=2",
        f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
    ]
    words = [word for option in options for word in ("-o", option)]
    _apt([*words, "update", "-qq"], target)
    _apt([*words, "download", "-qq", f"restic/{suite}"], target)
    packages = sorted(target.glob("restic_*.deb"))
    if not packages:
        raise NewerResticError("apt downloaded no package")
    subprocess.run(["dpkg-deb", "-x", packages[-1], target], check=True, timeout=60)
    shutil.rmtree(apt)
    if not _runs(program := _program(cache, suite)):
        raise NewerResticError("the package's program does not run on this machine")
    return program


def _apt(words: Sequence[str], directory: Path) -> None:
    answer = subprocess.run(
        ["apt-get", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise NewerResticError(f"apt-get ended with {answer.returncode}: {lines[-1]}")


def _debian_archive() -> _Archive:
    """The archive from which this Debian release itself is installed."""
    release = _codename()
    for suites, archive in _configured():
        if release in suites:
            return archive
    raise NewerResticError(f"apt has no source for the suite {release}")


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise NewerResticError("this is not a Debian with a code name")


def _configured() -> Iterator[tuple[list[str], _Archive]]:
    etc = Path("/etc/apt")
    parts = etc / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        yield from parse_stanzas(path.read_text())
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from parse_lines(path.read_text())


def parse_stanzas(text: str) -> Iterator[tuple[list[str], _Archive]]:
    """The suites and archives of a file in apt's deb822 form (sources.list(5))."""
    for stanza in text.split("\n\n"):
        fields = {}
        for line in stanza.splitlines():
            if not line.startswith(("#", " ")) and ":" in line:
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            keyring = fields.get("signed-by") or _DEFAULT_KEYRING
            for address in fields.get("uris", "").split():
                yield fields.get("suites", "").split(), _Archive(address, keyring)


def parse_lines(text: str) -> Iterator[tuple[list[str], _Archive]]:
    """The suites and archives of a file in apt's one-line form (sources.list(5))."""
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        keyring = _DEFAULT_KEYRING
        rest = rest.strip()
        if rest.startswith("["):
            settings, _, rest = rest[1:].partition("]")
            for setting in settings.split():
                name, _, value = setting.partition("=")
                keyring = value if name == "signed-by" else keyring
        words = rest.split()
        if kind == "deb" and len(words) >= 2:
            yield [words[1]], _Archive(words[0], keyring)


if __name__ == "__main__":
    try:
        print(newest_restic())
    except NewerResticError as error:
        sys.exit(f"no newer restic: {error}")
