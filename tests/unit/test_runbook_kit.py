"""What a runbook says of the recovery kit and of the files that a recovery needs; and its stock
route's addresses and owners, as bash has them."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from strongroom.report.runbook import runbook_markdown
from tests.support.runbook_ground import (
    KIT_DRILL,
    MADE,
    SMALL,
    Block,
    blocks_of,
    ground,
    proven_ground,
    settings_of,
)

KIT = 'kit: {escrow: ["file:/etc/strongroom/local.key"], folder: /kits, passphrase: env:WORDS}\n'
RECOVERY = """\
recovery:
  folders: {code: app}
  render: {.env: "file:/etc/tms/env.tpl"}
  user: www-data
"""
STORES = SMALL.replace(
    "password: env:OFFSITE_PASSWORD}",
    "password: env:OFFSITE_PASSWORD, access: {ca_file: /etc/ssl/store.pem}}\n"
    '  far: {location: "sftp:backup@far.example.com:/tms", password: file:/etc/far.key,\n'
    "        access: {identity: /root/.ssh/far, known_hosts: /root/.ssh/known_far}}",
)


def rendered(text: str) -> str:
    return runbook_markdown(proven_ground(settings_of(text)))


def below(markdown: str, heading: str) -> list[Block]:
    found = [one for one in blocks_of(markdown) if heading in one.headings]
    assert found, heading
    return found


# The kit


def test_the_first_route_begins_with_the_kit() -> None:
    markdown = rendered(SMALL + RECOVERY + KIT)
    assert "one command; needs the program, the recovery kit and what opens it" in markdown
    first, second = below(markdown, "With the recovery kit")
    route = below(markdown, "Route 1: Strongroom")
    assert route[:2] == [first, second]
    assert first.commands.startswith("unset STRONGROOM_CONFIG\n")
    assert 'recover --kit "${KIT:?}" ' in second.commands
    assert '--to "${TARGET:?}" --database env:NEW_DATABASE_URL' in second.commands
    for told in (
        f"| File | `{MADE.file}`; kit `{MADE.kit}`, made ",
        f"| Written to | `{MADE.folder}`; it belongs off that host |",
        f"| SHA-256 | `{MADE.digest}` |",
        "| Opened by | its passphrase; on the lost host it stood in `env:WORDS` |",
        "| `env:OFFSITE_PASSWORD` | **not in the kit**: `repositories.offsite.password` |",
        "| recover from the recovery kit alone | `30 7 2 1,4,7,10 *` |",
    ):
        assert told in markdown
    assert re.search(r"\| Drilled \| 2026-10-27 .*: PROVEN \|", markdown)
    assert "`file:/etc/strongroom/local.key` | **not" not in markdown


def test_a_kit_for_recipients_asks_for_an_identity() -> None:
    made = proven_ground(settings_of(SMALL + RECOVERY + KIT))
    kit = dataclasses.replace(MADE, sealed_for=("age1abc",), seq=9)
    history = dataclasses.replace(made.evidence.history, kits=(MADE, kit), kit_drills=())
    evidence = dataclasses.replace(made.evidence, history=history)
    markdown = runbook_markdown(dataclasses.replace(made, evidence=evidence))
    assert "the secret key (of age) of any one of `age1abc`" in markdown
    assert "| Drilled | **never**: nobody has recovered from it alone |" in markdown
    (_, run) = below(markdown, "With the recovery kit")
    assert '--identity "${KIT_IDENTITY:?a file with a secret key of age}"' in run.commands
    assert KIT_DRILL.is_of(MADE)


def test_that_there_is_no_kit_is_told() -> None:
    markdown = rendered(SMALL)
    assert "**No recovery kit is configured** (`kit`)" in markdown
    assert "| recover from the recovery kit alone | never: no `kit` is configured |" in markdown
    unmade = runbook_markdown(ground(settings_of(SMALL)))
    assert "With the recovery kit" not in unmade
    made = proven_ground(settings_of(SMALL + KIT))
    history = dataclasses.replace(made.evidence.history, kits=())
    evidence = dataclasses.replace(made.evidence, history=history)
    markdown = runbook_markdown(dataclasses.replace(made, evidence=evidence))
    assert "**No kit was made yet**" in markdown
    assert "--kit" not in "".join(one.commands for one in blocks_of(markdown))


# What route 1 needs without it


def test_every_file_that_a_recovery_needs_is_named() -> None:
    markdown = rendered(STORES + RECOVERY)
    for told in (
        "| `/etc/strongroom/strongroom.yaml` | the configuration; `STRONGROOM_CONFIG` names",
        "| `/etc/tms/env.tpl` | the template of the application's `.env` |",
        "| `/root/.ssh/far` | identity for the store of repository `far` |",
        "| `/root/.ssh/known_far` | known_hosts for the store of repository `far` |",
        "| `/etc/ssl/store.pem` | ca_file for the store of repository `offsite` |",
        "| `/etc/far.key` | a secret for repository `far` |",
        "| `OFFSITE_PASSWORD` | a secret for repository `offsite` |",
    ):
        assert told in markdown, told


# Route 2 as bash has it

STOCK = """\
recovery:
  folders: {code: app}
  database_role: tms app
  database_password: env:TMS_PW
  render: {.env: "DATABASE_URL={database.url}", by.hand: "file:/etc/tms/env.tpl"}
  environment: {URL: "{database.url}"}
  ownership: {code: {folder_mode: "755"}}
  prepare: [[sh, -c, "id -un >{directory}/prepared"]]
  smoke: [[sh, -c, "id -un >{directory}/smoked; cat .env >{directory}/read"]]
"""


def run_last_step(markdown: str, target: Path, password: str) -> dict[str, str]:
    """What the variables are after the commands of the last step."""
    blocks = below(markdown, "Step 7: make it run")
    (target / "app").mkdir(parents=True, exist_ok=True)
    (target / "app" / "by.hand").touch()
    script = "\n".join(["set -e", *(one.commands for one in blocks), "env -0"])
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "TARGET": str(target), "WORK": str(target),
             "PGHOST": "/run/my postgres", "PGPORT": "5433", "NEW_DATABASE": "tms & co",
             "TMS_PW": password},
        cwd="/", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, script + done.stderr
    said = done.stdout.split("\0")
    return dict(one.split("=", maxsplit=1) for one in said if "=" in one)


@pytest.mark.parametrize(
    "password",
    ["plain", "a&b%zz c", "#?/:@[]+='\"$`\\", "\u06a9\u0644\u0645\u06c1", "line\nline", "%41"],
)
def test_any_password_comes_through_the_address(password: str, tmp_path: Path) -> None:
    values = run_last_step(rendered(SMALL + STOCK), tmp_path / "srv", password)
    asked = conninfo_to_dict(values["URL"])
    assert asked == {
        "dbname": "tms & co", "host": "/run/my postgres", "port": "5433", "user": "tms app",
        "password": password,
    }  # fmt: skip
    assert (tmp_path / "srv" / "app" / ".env").read_text() == f"DATABASE_URL={values['URL']}"


@pytest.mark.parametrize("ownership", ['  ownership: {code: {folder_mode: "755"}}\n', ""])
def test_the_named_user_runs_it_and_reads_what_was_written_for_him(ownership: str) -> None:
    """In a folder that everybody may enter, as /srv is."""
    text = STOCK.replace('  ownership: {code: {folder_mode: "755"}}\n', ownership)
    text = SMALL + text.replace("\n  prepare", "\n  user: nobody\n  prepare")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        target = place / "srv"
        target.mkdir()
        shutil.chown(target, "nobody")
        run_last_step(rendered(text), target, "a&b")
        assert (target / "prepared").read_text() == "nobody\n"
        assert (target / "smoked").read_text() == "nobody\n"
        assert (target / "read").read_text().startswith("DATABASE_URL=postgresql:///")
        assert (target / "app" / ".env").stat().st_mode & 0o777 == 0o600
        assert (target / "app" / ".env").owner() == "nobody"
