"""What the benchmark ran on and with: facts that let another person judge the numbers.

Never a host name, an address or a path.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent


def describe_machine(work: Path) -> str:
    """Cores, processor, memory, file system of `work`, kernel, system and load, in one line."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    kernel = re.match(r"[\d.]+", platform.release())
    return (
        f"{cores} cores ({processor()}), {memory_gib:.1f} GiB, {file_system(work)},"
        f" Linux {kernel.group() if kernel else 'unknown'}, {system};"
        f" load average when it began {os.getloadavg()[0]:.1f}"
    )


def processor() -> str:
    """The processor's name and whether it computes SHA-256 and AES in hardware."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    helps = [
        name
        for name, flag in (("SHA", ("sha_ni", "sha2")), ("AES", ("aes",)))
        if set(flag) & set(flags)
    ]
    name = facts.get("model name", platform.machine())
    return f"{name}, {' and '.join(helps)} instructions" if helps else name


def file_system(place: Path) -> str:
    """The type of the file system that holds `place`, e.g. ext4."""
    device = place.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return "unknown file system"


def program_version(program: Path) -> str:
    """The first number with dots that `PROGRAM version` or `PROGRAM --version` prints."""
    word = "version" if program.name == "restic" else "--version"
    answer = subprocess.run([program, word], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", answer.stdout)
    return found.group() if found else "unknown"


def describe_versions(programs: Mapping[str, Path]) -> str:
    """Our version with its commit, and the versions of `programs`, in one line."""
    parts = [f"strongroom {version('strongroom')} ({_commit()})"]
    parts += [f"{name} {program_version(program)}" for name, program in programs.items()]
    parts.append(f"Python {sys.version_info.major}.{sys.version_info.minor}")
    return ", ".join(parts)


def _commit() -> str:
    def ask(*words: str) -> str:
        argv = ["git", "-C", str(_CHECKOUT), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    head = ask("rev-parse", "--short", "HEAD") or "no commit"
    return f"{head}, changed since" if ask("status", "--porcelain", "--", "src") else head
