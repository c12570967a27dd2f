"""The demonstration's application, database and all, from the kit alone: drilled and recovered."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.programs import find_programs
from strongroom.service.kit_seal import Opener, open_sealed
from tests.e2e.command_line import Place
from tests.support.demo_ground import DemoGround
from tests.support.kit_ground import PASSPHRASE, bare, variables
from tests.support.recovery_ground import ended, free_port

pytestmark = pytest.mark.xdist_group("demo-15")

MAJOR = 15
RECOVERY = """
recovery:
  folders: {code: app}
  database_role: tms_app
  environment:
    DB_HOST: "{database.host}"
    DB_PORT: "{database.port}"
    DB_NAME: "{database.name}"
    DB_USER: "{database.user}"
    UPLOADS_PATH: "{uploads}"
  render: {settings.env: "DATABASE_URL={database.url}", trainee: file:trainee.password}
  by_hand: [Point training.example.ae at the new address.]
  serve: php -S 127.0.0.1:PORT -t public
  url: http://127.0.0.1:PORT
  watch: 0s
kit:
  escrow: [file:repository.key, file:trainee.password, env:GONE]
  passphrase: file:passphrase
"""


@pytest.fixture(scope="module")
def ground(demo_on: Callable[[int], DemoGround]) -> DemoGround:
    return demo_on(MAJOR)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with throwaway_cluster(major=MAJOR) as found:
        yield found


@pytest.fixture
def production(ground: DemoGround, tmp_path: Path) -> Place:
    """The demonstration's repository and configuration at another place, with a kit."""
    path = tmp_path / "production"
    path.mkdir()
    demo = ground.demo.directory
    for name in ("repository.key", "trainee.password"):
        shutil.copy2(demo / name, path / name)
    shutil.copytree(demo / "repository", path / "repository")
    text = ground.config.read_text().replace(str(demo), str(path))
    source = next(one for one in text.splitlines() if one.startswith("  database: {kind: postgres"))
    text = text.replace(source, "  database: {kind: postgres, url: env:GONE}")
    (path / "passphrase").write_text(PASSPHRASE)
    (path / "passphrase").chmod(0o600)
    place = Place(path)
    place.write_config(text + RECOVERY.replace("PORT", str(free_port())))
    with variables(GONE="postgresql://tms:hunter2@db.example.com/tms"):
        place.json("kit", "create", "--output", tmp_path / "safe")
    return place


def test_its_database_comes_back_in_a_sandbox(production: Place, tmp_path: Path) -> None:
    kit = next((tmp_path / "safe").glob("*.age"))
    answer = production.run("--json", "kit", "drill", kit)
    assert (answer.status, answer.document["verdict"]) == (0, "PROVEN"), answer.document["findings"]
    assert {one["source"] for one in answer.document["drills"]} == {"database", "uploads", "code"}
    assert "hunter2" not in answer.text + answer.err


def test_one_command_and_the_kit_bring_everything_back(
    production: Place, cluster: Cluster, tmp_path: Path
) -> None:
    kit = next((tmp_path / "safe").glob("*.age"))
    passphrase = tmp_path / "passphrase"
    shutil.copy2(production.path / "passphrase", passphrase)
    for one in list(production.path.iterdir()):
        if one.name != "repository":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    socket = str(cluster.socket_directory).replace("/", "%2F")
    database = f"postgresql://postgres@/tms?host={socket}&sslmode=disable"
    target = tmp_path / "tms"
    with ended(target):
        answer = bare(
            tmp_path / "empty", "--json", "recover", "--kit", kit,
            "--passphrase", f"file:{passphrase}", "--to", target, "--database", "env:NEW",
            environment={"NEW": database},
        )  # fmt: skip
        document = answer.document
        assert document.get("verdict") == "PROVEN", document.get("findings", document)
    assert {one["source"]: one["verdict"] for one in document["sources"]} == {
        "database": "PROVEN", "uploads": "PROVEN", "code": "PROVEN"
    }  # fmt: skip
    assert (target / "app" / "settings.env").read_text().startswith("DATABASE_URL=postgresql://")


def commands_under(readme: str, heading: str) -> list[str]:
    """What the page says to type under a heading."""
    part = readme.partition(f"\n{heading.upper()}\n")[2].partition("\n\n")[0]
    return [one.strip() for one in part.split("\n") if one.startswith("    ")]


def test_the_page_brings_everything_back_by_stock_programs(
    ground: DemoGround, production: Place, cluster: Cluster, tmp_path: Path
) -> None:
    """Typed word by word, with the program `age` for opening and no Strongroom at all."""
    folder = tmp_path / "by hand"
    folder.mkdir()
    kit = next((tmp_path / "safe").glob("*.age"))
    plain = open_sealed(kit.read_bytes(), Opener(PASSPHRASE), kit.name)  # also on a busy machine
    (folder / "kit.tar.gz").write_bytes(plain)
    subprocess.run(
        ["sh", "-ec", "mkdir -m 700 kit && tar -xzf kit.tar.gz -C kit"], cwd=folder, check=True
    )
    readme = (folder / "kit" / "README.txt").read_text()
    typed = [
        "umask 022",
        *commands_under(readme, "with stock restic: local"),
        *commands_under(readme, "with stock restic: bring it back"),
        "cp -a restored kept",
        # It was captured where the demonstration lies, and is configured elsewhere here.
        f"mkdir -p restored/uploads{production.path}",
        f"mv restored/uploads{ground.demo.directory}/uploads restored/uploads{production.path}/",
        *commands_under(readme, "with stock programs: make it run"),
        *commands_under(readme, "see whether it answers"),
    ]
    assert any("restore.sh" in one for one in typed)
    assert "$(status_of " in typed[-1]
    connection = cluster.connection()
    environment = {
        "PATH": f"{find_programs(MAJOR).directory}:/usr/local/bin:/usr/bin:/bin",
        "RESTIC_CACHE_DIR": str(folder / "cache"),
        "PGHOST": connection.host,
        "PGPORT": connection.port,
        "PGUSER": connection.user,
    }
    try:
        done = subprocess.run(
            ["sh", "-e"],
            input="\n".join(typed).encode(),
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=300,
            check=False,
        )
    finally:
        if (served := folder / "serve.pid").exists():
            os.kill(int(served.read_text()), signal.SIGTERM)
    assert done.returncode == 0, done.stderr.decode()
    target = folder / "target"
    assert (target / "app" / "settings.env").read_text().startswith("DATABASE_URL=postgresql:///")
    assert (target / "app" / "trainee").read_bytes() == (
        folder / "kit" / "secrets" / "trainee.password"
    ).read_bytes()
    assert (folder / "kit" / "runbook.md").read_text().startswith("# Backup & Recovery Procedures")
    assert "runbook.md in the kit" in readme
    assert "[ ] Point training.example.ae at the new address." in readme
    assert "WHOM TO CALL" in readme
    with cluster.connection("database_restored").connect() as session:
        row = session.execute(b"SELECT count(*) FROM trainees").fetchone()
    assert row is not None
    assert row[0] > 0
    assert (folder / "kept" / "code-code" / "public").is_dir()
    assert any(one.is_file() for one in (target / "uploads").rglob("*"))
