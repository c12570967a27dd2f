"""The demonstration's application, database and all, from the kit alone: drilled and recovered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.postgres.cluster import Cluster, throwaway_cluster
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
  render: {settings.env: "DATABASE_URL={database.url}"}
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
