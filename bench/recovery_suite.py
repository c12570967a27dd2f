"""The whole reference application brought back: database, uploads and code, on a default server.

Ours is `recover`, to the moment at which the application has answered everything that it is asked,
with every source proven. The peer is what a careful person does by hand with stock programs, one
step after the other, without looking at what came back and without starting it: restic restores
uploads, a directory dump and the repository of the code, `pg_restore -j2` loads the dump, git
clones. Both write into a server of PostgreSQL that flushes as by default, and begin from a local
repository.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import files_workload
from bench.contenders import OURS, base_environment, our_program
from bench.files_suite import LEAST_FILES
from bench.measure import Argv
from bench.sample import Book
from bench.server import MAJOR
from bench.suite import Setting, Turn, take_turn
from strongroom.demo.application import DemoApplication, build_application
from strongroom.demo.database import LEAST_ROWS
from strongroom.postgres.cluster import Cluster, ClusterOptions, start_cluster
from strongroom.recovery.application_run import end_served
from strongroom.service.recovery_journal import journal_in

RECOVER = "recovery.whole"
BY_HAND = "restic, pg_restore -j2, git; by hand"
_ROWS, _FILES = 2_000_000, 20_000
_DATABASE: Final = "training"
_RECOVERY: Final = """
recovery:
  checkout: v1.3.0
  folders: {code: app}
  database_role: tms_app
  environment:
    DB_HOST: "{database.host}"
    DB_PORT: "{database.port}"
    DB_NAME: "{database.name}"
    DB_USER: "{database.user}"
    UPLOADS_PATH: "{uploads}"
  ownership: {uploads: {folder_mode: "755", file_mode: "755"}}
  serve: php -S 127.0.0.1:@PORT@ -t public
  url: http://127.0.0.1:@PORT@
  watch: 0s
"""
# $1 restored files go there, $2 a new database, $3 restic, $4 its repository, $5 the dumps' folder
_STEPS: Final = """set -e
"$3" --quiet --repo "$4" restore latest --target "$1"
psql --quiet --no-psqlrc -d postgres -f "$1$5/roles.sql" >/dev/null 2>&1 || true
createdb --template template0 "$2"
pg_restore -j2 --exit-on-error -d "$2" "$1$5/database"
git clone --quiet "$1$6" "$1/app"
git -C "$1/app" checkout --quiet v1.3.0
sync --file-system "$1"
"""


def run_recovery(setting: Setting, book: Book) -> None:
    """Measures the recovery of everything, by us and by hand."""
    place = setting.work / "recovery"
    place.mkdir()
    place.chmod(0o711)
    source = start_cluster(MAJOR, ClusterOptions(directory=place, durable=True))
    try:
        ground = _Ground(setting, place, source)
        ground.make()
        target = start_cluster(MAJOR, ClusterOptions(directory=place, durable=True))
        try:
            for number in range(setting.rounds):
                ground.recover(book, number, target)
                ground.by_hand(book, number, target)
        finally:
            target.stop()
    finally:
        source.stop()
        shutil.rmtree(place, ignore_errors=True)


@dataclass(slots=True)
class _Ground:
    """The application that is lost, and its two captures."""

    setting: Setting
    place: Path
    source: Cluster
    port: int = 0

    @property
    def application(self) -> Path:
        return self.place / "application"

    @property
    def config(self) -> Path:
        return self.application / "strongroom.yaml"

    @property
    def dumps(self) -> Path:
        return self.place / "dumps"

    @property
    def environment(self) -> dict[str, str]:
        """What stock programs and ours get beside the server's address."""
        programs = str(self.source.programs.directory)
        inherited = base_environment(self.place)
        return inherited | {
            "PATH": f"{programs}:{inherited['PATH']}",
            "RESTIC_PASSWORD_FILE": str(self.place / "password"),
            "RESTIC_CACHE_DIR": str(self.place / "cache"),
        }

    def make(self) -> None:
        """Build it, capture it by both ways, and forget what is not needed."""
        scale, server = self.setting.scale, self.source.connection("postgres")
        rows = max(LEAST_ROWS, round(_ROWS * scale))
        demo = build_application(self.application, server, rows, database=_DATABASE)
        count = max(LEAST_FILES, round(_FILES * scale))
        total = files_workload.make_files(
            demo.uploads / "archive", seed=self.setting.seed, count=count
        )
        print(f"recovery: {rows} rows, {count} files, {total / 1e6:.1f} MB", flush=True)
        self._write_config(demo)
        self._run([*self._ours(), "init"])
        self._run([*self._ours(), "backup"])
        self._capture_by_hand(demo)

    def _write_config(self, demo: DemoApplication) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = int(found.getsockname()[1])
        text = demo.write_config().read_text()
        self.config.write_text(text + _RECOVERY.replace("@PORT@", str(self.port)))

    def _capture_by_hand(self, demo: DemoApplication) -> None:
        (self.place / "password").write_text("benchmark\n")
        self.dumps.mkdir()
        server = self.source.connection(_DATABASE).environment()
        self._run(["pg_dumpall", "--roles-only", "-f", self.dumps / "roles.sql"], server)
        self._run(["pg_dump", "-Fd", "-j2", "-f", self.dumps / "database"], server)
        restic: list[str | Path] = [
            self.setting.stock_restic,
            "--quiet",
            "--repo",
            self.place / "restic",
        ]
        self._run([*restic, "init", "--repository-version", "2"])
        self._run([*restic, "backup", self.dumps, demo.uploads, demo.code])

    def recover(self, book: Book, number: int, target: Cluster) -> None:
        directory = self.place / f"recovered-{number}"
        connection = target.connection(f"recovered_{number}")
        words: list[str | Path] = [
            "recover",
            "--to",
            directory,
            "--database",
            connection.conninfo(),
        ]
        pipeline: list[Argv] = [[*self._ours(), *words, "--reason", "benchmark"]]
        turn = Turn(
            RECOVER, OURS, number, self.environment, self.place, self.application / "repository"
        )
        try:
            usage = take_turn(book, turn, pipeline)
        finally:
            journal = journal_in(directory)
            if journal is not None and journal.served is not None:
                end_served(journal.served)
        if usage is not None:
            document: dict[str, Any] = json.loads(usage.output)  # Any: JSON values
            verdict = document["verdict"]
            sentence = "`recover` says PROVEN, and the application answered what it was asked"
            answered = document["rto_seconds"] is not None
            book.confirm(sentence, verdict == "PROVEN" and answered, verdict)

    def by_hand(self, book: Book, number: int, target: Cluster) -> None:
        directory = self.place / f"by-hand-{number}"
        environment = self.environment | target.connection("postgres").environment()
        steps: list[str | Path] = [directory, f"by_hand_{number}", self.setting.stock_restic]
        steps += [self.place / "restic", self.dumps.resolve(), (self.application / "app").resolve()]
        turn = Turn(RECOVER, BY_HAND, number, environment, self.place, self.place / "restic")
        take_turn(book, turn, [["sh", "-c", _STEPS, "sh", *steps]])

    def _ours(self) -> list[str | Path]:
        return [*our_program(), "--config", self.config, "--json"]

    def _run(self, argv: Argv, more: dict[str, str] | None = None) -> None:
        subprocess.run(
            [str(word) for word in argv],
            env=self.environment | (more or {}),
            cwd=self.place,
            stdout=subprocess.DEVNULL,
            check=True,
        )
