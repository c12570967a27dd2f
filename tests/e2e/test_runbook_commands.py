"""Every command of a runbook, run by bash as a tired operator would: the restores of one thing, the
first and the second route of the worst day, from a local repository and from an S3 store.

The application is the demonstration's, on a PostgreSQL of its own; the new machine has an empty
directory, an empty database server, the programs that the document names, and the secrets that the
configuration refers to. Afterwards our own proof says what came back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from strongroom.config import parse_settings
from strongroom.config.escrow import needs
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.e2e.command_line import PASSWORD, Place
from tests.support.demo_ground import DemoGround
from tests.support.recovery_ground import ended, free_port
from tests.support.runbook_ground import Block, blocks_of
from tests.support.store_servers import ACCESS_KEY, SECRET_KEY, S3Server, rclone_s3

pytestmark = pytest.mark.xdist_group("demo-15")

MAJOR = 15
OFFSITE = "a password that only the environment has"
RECOVERY = """
recovery:
  checkout: v1.3.0
  folders: {{code: app}}
  database_role: tms_app
  environment:
    DB_HOST: "{{database.host}}"
    DB_PORT: "{{database.port}}"
    DB_NAME: "{{database.name}}"
    DB_USER: "{{database.user}}"
    UPLOADS_PATH: "{{uploads}}"
  ownership: {{uploads: {{folder_mode: "755", file_mode: "755"}}}}
  render: {{own.env: "DB={{database.name}} $HOME `x` UP={{uploads}}"}}
  links: {{public/up: uploads}}
  prepare: [[sh, -c, "test -d {{uploads}}/lpos"]]
  serve: php -S 127.0.0.1:{port} -t public
  smoke: [[sh, -c, "test -e {{code}}/public/up/lpos"]]
  url: http://127.0.0.1:{port}
  watch: 0s
  by_hand: [Point training.example.ae at the new address.]

runbook:
  procedures: [dns.md]
  before: ["echo told the duty manager > $HOME/before"]
  after: ["echo opened the doors > $HOME/after"]
"""
PASSPHRASE = "six words are better than one"
DNS = "# DNS\n\nSee who answers:\n\n```sh\ngetent hosts localhost\n```\n"
# Which test runs what stands below which heading.
LISTS = frozenset({
    "AUTOMATED BACKUP SETUP", "BACKUP VERIFICATION CHECKLIST", "BACKUP MONITORING", "NOTES",
    "OWN PROCEDURES",
})  # fmt: skip
ONE_THING = frozenset({"RESTORE PROCEDURES"})
BY_KIT = frozenset({"Before You Begin", "With the recovery kit"})
FIRST = frozenset({"Before You Begin", "Without the kit"})
SECOND = frozenset({"Before You Begin", "Route 2: Stock restic and psql"})
IN_THE_END = frozenset({"Verify System", "Afterwards"})
REPOSITORIES = ("local", "offsite")
# Of lists and states the status is a verdict.
VERDICTS = {0, 40, 42}


@dataclass
class Ground:
    """Production's configuration and runbook; the new machine's server."""

    place: Place
    markdown: str
    port: int
    server: Cluster

    @property
    def blocks(self) -> list[Block]:
        return blocks_of(self.markdown)

    def below(self, headings: Collection[str]) -> list[Block]:
        """The blocks below these headings, in the document's order."""
        found = [one for one in self.blocks if not set(headings).isdisjoint(one.headings)]
        assert found, headings
        return found

    def url(self, database: str) -> str:
        socket = quote(str(self.server.socket_directory), safe="")
        return f"postgresql://postgres@/{database}?host={socket}&sslmode=disable"

    def prove(self, source: str, target: object) -> None:
        os.environ["PROVE_URL"] = str(target)
        target = "env:PROVE_URL" if source == "database" else target
        answer = self.place.run("--json", "prove", source, "--target", target)
        assert answer.status == 0, answer.text + answer.err
        assert answer.document["verdict"] == "PROVEN"


def config_of(ground: DemoGround, place: Path, store: S3Server, port: int) -> str:
    """The demonstration's configuration with repositories of this test's own."""
    text = ground.config.read_text()
    text = re.sub(
        r"repositories:\n.*?\n\n",
        "repositories:\n"
        "  local: {location: local, password: file:local.key}\n"
        f'  offsite: {{location: "{store.location("runbook")}", password: env:OFFSITE_PASSWORD,'
        " access: {access_key: env:OFFSITE_ID, secret_key: env:OFFSITE_KEY, region: us-east-1}}\n"
        "monitoring: {space: 1KiB}\n\n",
        text,
        flags=re.DOTALL,
    )
    text = re.sub(r"url: .*?, jobs", "url: env:DATABASE_URL, jobs", text)
    text = re.sub(r"last: 2026-01-28", f"last: {datetime.now(UTC):%Y-%m-%d}", text)
    text = re.sub(r"(?m)^state: .*$", f"state: {place}/state", text)
    return text + RECOVERY.format(port=port)


def write_kit_section(place: Place) -> None:
    """Let the kit hold all that a recovery asks for."""
    words = place.path / "kit.words"
    words.write_text(PASSPHRASE + "\n")
    words.chmod(0o600)
    settings = parse_settings(place.config.read_text(), base=place.path)
    escrow = json.dumps(list(dict.fromkeys(one.reference for one in needs(settings))))
    section = f"kit: {{escrow: {escrow}, credentials: true, passphrase: file:kit.words, "
    place.write_config(f"{place.config.read_text()}\n{section}folder: kits}}\n")


@pytest.fixture(scope="module")
def ground(
    demo_on: Callable[[int], DemoGround], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    demo = demo_on(MAJOR)
    place = Place(tmp_path_factory.mktemp("runbook"))
    before = dict(os.environ)
    with contextlib.ExitStack() as stack:
        stack.callback(_put_back, before)
        store = stack.enter_context(rclone_s3(place.path / "store"))
        os.environ |= {
            "DATABASE_URL": demo.url(demo.demo.database),
            "OFFSITE_PASSWORD": OFFSITE,
            "OFFSITE_ID": ACCESS_KEY,
            "OFFSITE_KEY": SECRET_KEY,
        }
        port = free_port()
        place.write_config(config_of(demo, place.path, store, port))
        key = place.path / "local.key"
        key.write_text(PASSWORD + "\n")
        key.chmod(0o600)
        (place.path / "dns.md").write_text(DNS)
        write_kit_section(place)
        place.json("init")
        place.json("backup")
        place.json("drill", "--repository", "local")
        assert place.json("kit", "create")["findings"] == []
        assert place.json("kit", "drill")["verdict"] == "PROVEN"
        assert place.json("backup")["findings"] == []
        stored = place.json("runbook", "--point", "latest")["markdown"]
        markdown = place.run("runbook").text
        # Written a moment later, it says the same.
        assert stored.count("\n") == markdown.count("\n")
        del os.environ["DATABASE_URL"]  # production is gone
        server = stack.enter_context(throwaway_cluster(major=MAJOR))
        yield Ground(place, markdown, port, server)


def _put_back(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


@dataclass(frozen=True)
class Machine:
    """A place for one route: its own home, and what somebody has typed before the first block."""

    ground: Ground
    home: Path
    variables: dict[str, str]

    def bash(self, blocks: Sequence[Block], *checks: str, ours: bool = True) -> str:
        """Run blocks in one shell, up to the first command that fails; what they said."""
        script = "\n".join(["set -e", *(one.commands for one in blocks), *checks])
        done = self.attempt(script, ours=ours)
        assert done.returncode == 0, f"{script}\n---\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def attempt(self, script: str, *, ours: bool = True) -> subprocess.CompletedProcess[str]:
        programs = [
            str(self.ground.server.programs.directory),
            "/usr/local/bin",
            "/usr/bin",
            "/bin",
        ]
        if ours:
            programs.insert(0, str(Path(sys.executable).parent))
        secrets = {
            name: os.environ[name] for name in ("OFFSITE_PASSWORD", "OFFSITE_ID", "OFFSITE_KEY")
        }
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env={
                "PATH": ":".join(programs),
                "HOME": str(self.home),
                "LANG": "C.UTF-8",
                "RESTIC_CACHE_DIR": str(self.home / "cache"),
                **secrets,
                **self.variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(ground: Ground, tmp_path: Path) -> Callable[..., Machine]:
    def make(**variables: str) -> Machine:
        return Machine(ground, tmp_path, variables)

    return make


def test_the_lists_and_what_shows_how_things_stand(
    ground: Ground, machine: Callable[..., Machine]
) -> None:
    here = machine(STRONGROOM_CONFIG=str(ground.place.config))
    blocks = ground.below(LISTS)
    assert {one.commands.split()[1] for one in blocks} >= {"schedule", "verify", "status", "log"}
    for block in blocks:
        done = here.attempt(f"set -e\n{block.commands}")
        verdict = block.commands.split()[1] in ("verify", "status")
        assert done.returncode in (VERDICTS if verdict else {0}), done.stdout + done.stderr


def test_one_thing_is_brought_back_beside_what_is_there(
    ground: Ground, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    here = machine(RESTORE_TO=str(tmp_path / "back"), RESTORE_URL=ground.url("beside"))
    said = here.bash(ground.below(ONE_THING))
    assert said.count("PROVEN") >= 6
    assert (tmp_path / "back" / "uploads" / "lpos").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_the_second_route_brings_everything_back_without_us(
    repository: str, ground: Ground, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    target = tmp_path / "srv" / "tms"
    connection = ground.server.connection()
    database = f"stock_{repository}"
    here = machine(
        TARGET="srv/tms",  # as people type it
        NEW_DATABASE=database,
        PGHOST=connection.host,
        PGPORT=connection.port,
        PGUSER=connection.user,
    )
    assert here.attempt("command -v strongroom", ours=False).returncode != 0
    steps = ground.below(SECOND)
    others = {one for one in steps if "RESTIC_REPOSITORY=" in one.commands} - {
        one for one in steps if _opens(one, repository)
    }
    assert len(others) == 1, "there are two repositories, and one is taken"
    chosen = [one for one in steps if one not in others]
    last = [one for one in chosen if one.heading == "Step 7: make it run"]
    first = [one for one in chosen if one not in last]
    said = here.bash(first, "export -p >environment", ours=False)
    assert re.search(r"restore\.sh: done: \d+ tables, 20000 rows", said)
    assert "trainees exist" in ground.markdown
    ground.prove("database", ground.url(database))
    ground.prove("uploads", target / "uploads")
    ground.prove("code", target / "app")
    goes_on = Block(("what the shell knows",), ". ./environment")
    try:
        here.bash([goes_on, *last, *ground.below(IN_THE_END)], ours=False)
    finally:
        _end(Path(f"{target}.work") / "serve.pid")
    assert (target / "app" / "own.env").read_text() == (
        f"DB={database} $HOME `x` UP={target}/uploads"
    )
    assert (target / "app" / "own.env").stat().st_mode & 0o777 == 0o600
    assert (target / "uploads" / "lpos").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()


def _opens(block: Block, repository: str) -> bool:
    is_s3 = "RESTIC_REPOSITORY=s3:" in block.commands
    return "RESTIC_REPOSITORY=" in block.commands and is_s3 == (repository == "offsite")


def _end(place: Path) -> None:
    """End the server that was started by the document's own command, by its id."""
    if place.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(place.read_text()), signal.SIGTERM)


def test_the_first_route_brings_everything_back_with_one_command(
    ground: Ground, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    target = tmp_path / "srv" / "tms"
    here = machine(TARGET=str(target), NEW_DATABASE_URL=ground.url("by_route_one"))
    with ended(target):
        said = here.bash(ground.below(FIRST | IN_THE_END))
        assert "it is back, identical, and works" in said
    ground.prove("database", ground.url("by_route_one"))
    assert json.loads((target / ".strongroom/recovery.json").read_text())


def test_the_kit_alone_brings_everything_back(
    ground: Ground, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """No configuration is named, and none of its secrets is in the environment."""
    (made,) = (ground.place.path / "kits").glob("*.age")
    assert made.name in ground.markdown
    assert hashlib.sha256(made.read_bytes()).hexdigest() in ground.markdown
    (kit := tmp_path / "found it.age").write_bytes(made.read_bytes())
    (words := tmp_path / "six words").write_text(PASSPHRASE + "\n")
    words.chmod(0o600)
    target = tmp_path / "srv" / "tms"
    here = machine(
        KIT=str(kit), KIT_PASSPHRASE_FILE=str(words), TARGET=str(target),
        NEW_DATABASE_URL=ground.url("by_the_kit"), OFFSITE_PASSWORD="", OFFSITE_ID="",
        OFFSITE_KEY="", STRONGROOM_CONFIG="/of/the/lost/host",
    )  # fmt: skip
    with ended(target):
        said = here.bash(ground.below(BY_KIT | IN_THE_END))
        assert "it is back, identical, and works" in said
    ground.prove("database", ground.url("by_the_kit"))


def test_a_variable_that_was_forgotten_is_named(
    ground: Ground, machine: Callable[..., Machine]
) -> None:
    done = machine().attempt(ground.below({"Step 1: say where everything goes"})[0].commands)
    assert "TARGET: an empty or new directory" in done.stderr
    done = machine().attempt(ground.below({"Without the kit"})[1].commands)
    assert "TARGET: an empty or new directory" in done.stderr
    done = machine().attempt(ground.below({"With the recovery kit"})[0].commands)
    assert "KIT: the file of the recovery kit" in done.stderr


def test_every_block_is_run_by_one_of_these_tests(ground: Ground) -> None:
    run = LISTS | ONE_THING | BY_KIT | FIRST | SECOND | IN_THE_END
    left = [one for one in ground.blocks if run.isdisjoint(one.headings)]
    assert not left, "\n".join(f"{one.headings}: {one.commands}" for one in left)
    # Of the blocks that open a repository, each is run by the second route's test once.
    opening = [one for one in ground.blocks if "RESTIC_REPOSITORY=" in one.commands]
    assert len(opening) == len(REPOSITORIES)
    assert all(any(_opens(one, name) for one in opening) for name in REPOSITORIES)
