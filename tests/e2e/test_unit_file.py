"""Does the unit that we hand out hold what systemd asks of one?"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.house.ground import ROOT

UNIT = ROOT / "contrib" / "systemd" / "strongroom.service"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    program = tmp_path / "strongroom"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/strongroom", str(program)))
    checked = analyze("verify", "--man=no", str(unit))
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_unit_gives_up_what_the_service_does_not_need() -> None:
    """The exposure that systemd counts is what a program with root's right to read all files has;
    a line that is lost shows here."""
    checked = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", checked.stdout)
    assert found, checked.stdout + checked.stderr
    assert float(found[1]) <= 5.8, checked.stdout


def test_what_the_service_needs_to_know_of_its_supervisor_is_there() -> None:
    text = UNIT.read_text()
    for line in ("Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "ProtectSystem=strict"):
        assert line in text.splitlines()
    assert re.search(r"^WatchdogSec=\d+min$", text, re.MULTILINE)
    assert re.search(r"^ExecStart=\S+strongroom .*serve$", text, re.MULTILINE)
