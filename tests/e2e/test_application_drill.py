"""`drill --application`: a real PHP application, restored, started without a network, and used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from strongroom.cli.main import strongroom
from strongroom.errors import SourceError
from strongroom.postgres.cluster import ClusterOptions, throwaway_cluster
from strongroom.postgres.quarantine import application_role, quarantine
from tests.e2e.command_line import Place, make_place, run
from tests.support.application_ground import (
    START,
    drill,
    loopback_listener,
    make_application_place,
    running,
    told,
)
from tests.support.code_ground import write
from tests.support.demo_ground import DemoGround, end_child, start_child
from tests.support.failure_ground import wait_until
from tests.support.repository_ground import new_repository

HEALTH = "  http: [{path: /, values: {status: ok}}]\n"
PHP = "<?php header('Content-Type: application/json');\n"


@pytest.fixture(scope="module")
def ground(demo_on: Callable[[int], DemoGround]) -> DemoGround:
    return demo_on(18)


@pytest.mark.xdist_group("demo-18")
class TestDemo:
    """The demonstration's application, as its configuration says."""

    def test_it_recovers_and_works(self, ground: DemoGround) -> None:
        document = ground.json("drill", "--application")
        assert document["verdict"] == "PROVEN", document["findings"]
        assert [one["source"] for one in document["snapshots"]] == ["database", "uploads", "code"]
        names = [one["name"] for one in document["stages"]]
        assert {"database: rows", "start", "requests", "workflow", "stop"} <= set(names), names
        assert document["rto"]["objective_seconds"] == 4 * 3600
        assert 0 < document["rto"]["seconds"] < 600
        assert document["checked"] > 100
        assert running(f"strongroom-drill-{os.getpid()}-") == []

    def test_the_trend_is_kept_in_the_ledger(self, ground: DemoGround) -> None:
        before = ground.json("drill", "--application")
        after = ground.json("drill", "--application")
        last = after["rto"]["trend"][-1]
        assert last["seconds"] == before["rto"]["seconds"]
        assert last["verdict"] == "PROVEN"
        ledger = (ground.demo.state / "ledger.jsonl").read_text()
        record = json.loads(ledger.splitlines()[-2])  # before that of the command
        assert (record["kind"], record["verdict"]) == ("application-drill", "PROVEN")
        assert record["point"] == after["point"]
        assert sum(one["seconds"] for one in record["stages"]) == pytest.approx(
            record["seconds"], abs=0.1
        )

    def test_no_secret_is_in_what_it_says_or_keeps(self, ground: DemoGround) -> None:
        answer = ground.run("--verbose", "drill", "--application")
        word = (ground.demo.directory / "trainee.password").read_text().strip()
        ledger = (ground.demo.state / "ledger.jsonl").read_text()
        assert word not in answer.text + answer.err + ledger
        assert "PROVEN" in answer.text
        assert "Recovery took" in answer.text

    def test_a_wrong_password_stops_the_workflow(self, ground: DemoGround) -> None:
        place = ground.demo.directory / "trainee.password"
        right = place.read_text()
        place.write_text("hunter2-hunter2\n")
        try:
            answer = ground.run("--json", "drill", "--application")
        finally:
            place.write_text(right)
        document = answer.document
        assert (answer.status, document["verdict"]) == (41, "FAILED")
        assert told(document, "application-failed")[0].startswith(
            "workflow step 2 (sign in as a trainee): status is 401, expected 302"
        )
        assert "3 steps of the workflow were left" in told(document, "application-unchecked")
        assert "hunter2" not in answer.text

    @pytest.mark.parametrize("role", ["authenticated", "nobody_here"])
    def test_a_role_that_cannot_be_used_is_told(self, ground: DemoGround, role: str) -> None:
        document = _with_config(ground, "database_role: tms_app", f"database_role: {role}")
        assert document["verdict"] == "UNKNOWN"
        assert role in told(document, "application-unchecked")[0]

    def test_an_application_that_misses_its_uploads_fails(self, ground: DemoGround) -> None:
        """The database alone is not the application."""
        document = _with_config(ground, 'UPLOADS_PATH: "{uploads}"', "UPLOADS_PATH: /nowhere")
        assert document["verdict"] == "FAILED"
        messages = told(document, "application-failed")
        assert any("/api/health.php: status is 503" in one for one in messages)

    def test_killed_at_any_moment_it_leaves_no_process(self, ground: DemoGround) -> None:
        """Spread over a whole drill, which takes some seconds: `kill -9` again and again."""
        for moment in range(1, 7):
            child = start_child("--config", ground.config, "drill", "--application")
            time.sleep(0.6 * moment)
            child.kill()
            child.communicate()
            mark = f"strongroom-drill-{child.pid}-"
            wait_until(lambda mark=mark: running(mark) == [])  # type: ignore[misc]
            ground.run("doctor", "--clean")
            assert _sandboxes(child) == []
            assert running(mark) == []
        assert ground.json("drill", "--application")["verdict"] == "PROVEN"


def _with_config(ground: DemoGround, old: str, new: str) -> dict[str, Any]:
    config = ground.demo.directory / "changed.yaml"
    text = ground.config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return run("--config", config, "--json", "drill", "--application").document


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    def make_place(files: Mapping[str, str] | None = None, check: str = START + HEALTH) -> Place:
        return make_application_place(tmp_path / "place", files or {}, check)

    return make_place


def test_a_small_application_is_drilled_without_a_database(make: Callable[..., Place]) -> None:
    document = drill(make())
    assert (document["verdict"], document["findings"]) == ("PROVEN", [])
    assert [one["source"] for one in document["snapshots"]] == ["uploads", "code"]


def test_files_are_rendered_and_linked_and_mail_is_swallowed(make: Callable[..., Place]) -> None:
    code = (
        PHP
        + """
        session_start(['name' => 'sid']);
        mail('a@example.com', 'subject', 'text');
        $hook = getenv('WEBHOOK_URL');
        file_get_contents($hook);
        $names = array_filter(array_keys(getenv()), fn ($n) => !preg_match('/^(MAIL|SMTP)/', $n));
        sort($names);
        echo json_encode(['status' => trim(file_get_contents('../settings.ini')), 'names' => $names,
                          'file' => file_exists('../public/up/lpos/LPO-1.pdf'),
                          'home' => is_writable(getenv('HOME')), 'token' => getenv('TOKEN')]);
    """
    )
    check = (
        START
        + """\
  secrets: {word: "env:WORD"}
  environment: {TOKEN: "a-{secret.word}", OTHER: "env:WORD"}
  render: {settings.ini: "port {port} and {{port}}"}
  links: {public/up: uploads}
  http: [{path: /, values: {file: true, home: true}, text: ["and {{port}}", "TMPDIR"]}]
"""
    )
    os.environ["WORD"] = "correct-horse"
    try:
        place = make({"public/index.php": code}, check)
        answer = place.run("--json", "drill", "--application")
    finally:
        del os.environ["WORD"]
    document = answer.document
    assert document["verdict"] == "PROVEN", document["findings"]
    assert told(document, "application-swallowed") == [
        "1 mails and 1 calls were counted and thrown away"
    ]
    assert "correct-horse" not in answer.text + (place.path / "state/ledger.jsonl").read_text()


def test_a_production_address_in_the_code_reaches_nothing(make: Callable[..., Place]) -> None:
    with loopback_listener() as production:
        code = (
            PHP
            + f"""
            $answer = @file_get_contents('http://127.0.0.1:{production.port}/api/v1/orders');
            echo json_encode(['status' => $answer === false ? 'ok' : 'reached production']);
        """
        )
        document = drill(make({"public/index.php": code}))
        assert production.visits == 0
    assert document["verdict"] == "PROVEN", document["findings"]


FAILING = {
    "an expectation": ({"public/index.php": "<?php echo 'oh';"}, START + HEALTH, "it is no JSON"),
    "a syntax error": ({"public/index.php": "<?php echo (;"}, START + HEALTH, "PHP Parse error"),
    "an error behind a good answer": (
        {"public/index.php": PHP + "echo '{\"status\": \"ok\"}'; error_log('PHP Fatal error: x');"},
        START + HEALTH,
        "its log says:",
    ),
    "its own log file": (
        {"public/index.php": PHP + "echo '{\"status\": \"ok\"}';"
                             "file_put_contents('../logs/app.log', \"[ERROR] bad\\n\", 8);",
         "logs/.keep": ""},
        START + HEALTH + '  logs: {files: ["logs/*.log"], failures: [ERROR]}\n',
        "its log says: [ERROR] bad",
    ),
    "not starting": ({}, START.replace("php -S", "php --nonsense -S"), "it ended at once"),
    "not listening": ({}, START.replace("php -S 127.0.0.1:{port} -t public", "sleep 60")
                      + "  start_timeout: 1s\n", "it does not listen"),
    "preparing": ({}, START + '  prepare: ["php -r exit(7);"]\n', "it ended with status 7"),
    "ending in between": (
        {"public/index.php": "<?php posix_kill(posix_getpid(), 9);"},
        START + HEALTH,
        "the application ended with status -9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILING)
def test_an_application_that_does_not_work_is_failed(what: str, make: Callable[..., Place]) -> None:
    files, check, message = FAILING[what]
    document = drill(make(files, check))
    assert document["verdict"] == "FAILED", document["findings"]
    assert any(message in one for one in told(document, "application-failed")), document["findings"]
    assert running(f"strongroom-drill-{os.getpid()}-") == []


def test_old_lines_of_a_restored_log_are_no_failure(make: Callable[..., Place]) -> None:
    check = START + HEALTH + '  logs: {files: ["logs/*.log"], failures: [ERROR]}\n'
    place = make({"logs/.keep": ""}, check)
    write(place.path / "app/logs/app.log", "[ERROR] last year\n")
    place.json("backup")
    assert drill(place)["verdict"] == "PROVEN"


UNCHECKED = {
    "no program": (START.replace("php -S", "no-such-php -S"), "there is no program no-such-php"),
    "a template that is gone": (START + "  render: {.env: file:/nowhere/x}\n", "template"),
    "a template with a strange name": (START + "  render: {.env: file:TEMPLATE}\n", "{strange}"),
    "a link over something": (START + "  links: {public: uploads}\n", "holds something at public"),
}


@pytest.mark.parametrize("what", UNCHECKED)
def test_what_cannot_be_carried_out_is_unknown(
    what: str, make: Callable[..., Place], tmp_path: Path
) -> None:
    (tmp_path / "template").write_text("{strange}")
    check, message = UNCHECKED[what]
    answer = make(check=check.replace("TEMPLATE", str(tmp_path / "template"))).run(
        "--json", "drill", "--application"
    )
    assert (answer.status, answer.document["verdict"]) == (42, "UNKNOWN")
    assert message in told(answer.document, "application-unchecked")[0]


def test_a_secret_that_is_missing_is_a_mistake_of_the_configuration(
    make: Callable[..., Place],
) -> None:
    place = make(check=START + "  secrets: {word: env:NOT_SET_AT_ALL}\n")
    answer = place.run("--json", "drill", "--application")
    assert answer.status == 2
    assert answer.document["error"]["code"] == "secret-unavailable"


def test_without_the_section_there_is_nothing_to_drill(make: Callable[..., Place]) -> None:
    answer = make(check="").run("--json", "drill", "--application")
    assert (answer.status, answer.document["error"]["code"]) == (2, "usage")


def test_a_point_that_is_not_whole_is_passed_over_and_told(make: Callable[..., Place]) -> None:
    place = make()
    first = drill(place)["point"]
    place.json("backup", "code")
    document = drill(place)
    assert document["point"] == first
    assert told(document, "application-older-point") == ["it lacks uploads"]
    assert document["verdict"] == "PROVEN"


def test_a_point_that_was_to_be_whole_is_not_passed_over_for_an_older_one(
    make: Callable[..., Place],
) -> None:
    """Invariant I5: a source that could not be captured makes no verdict better."""
    place = make()
    first = drill(place)["point"]
    away = place.uploads.rename(place.path / "away")
    assert place.run("--json", "backup").status == 3
    away.rename(place.uploads)
    document = drill(place)
    assert document["point"] == first
    assert told(document, "point-incomplete") == ["it lacks uploads"]
    assert document["verdict"] == "UNKNOWN"


def test_without_a_whole_point_nothing_is_known(make: Callable[..., Place]) -> None:
    place = make()
    config = place.config.read_text()
    place.write_config(config.replace("  code:", "  more: {kind: files, path: app}\n  code:"))
    document = drill(place)
    assert (document["verdict"], document["point"]) == ("UNKNOWN", None)
    assert told(document, "application-unchecked") == ["no recovery point is whole"]


def test_longer_than_recovery_may_take_is_told(make: Callable[..., Place]) -> None:
    place = make(check="objectives: {rto: 0s}\n" + START + HEALTH)
    document = drill(place)
    assert document["verdict"] == "PROVEN", "a warning leaves the verdict as it is"
    assert "recovery may take 0 s" in told(document, "rto-exceeded")[0]


def test_a_sandbox_without_room_is_told_before_the_first_byte(make: Callable[..., Place]) -> None:
    place = make()
    sandboxes = place.path / "state" / "sandbox"
    for one in (place.path, *place.path.parents):
        if one.stat().st_uid == os.geteuid() and one != Path("/"):
            one.chmod(one.stat().st_mode | 0o011)
    sandboxes.mkdir(mode=0o711, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=711", "none", sandboxes], check=True
    )
    try:
        for command in (["drill", "--application"], ["drill", "uploads"]):
            answer = place.run("--json", *command)
            assert answer.document["verdict"] == "UNKNOWN"
            assert [one["code"] for one in answer.document["findings"]] == ["sandbox-space"]
            assert answer.document["stages"] == []
    finally:
        subprocess.run(["umount", sandboxes], check=True)


DATABASE = """\
version: 1
application: tms
sources:
  database: {{kind: postgres, url: "host={socket} dbname=tms user=postgres"}}
repositories:
  local: {{location: local, password: file:key}}
state: state
"""
REFUSING = ["unshare", "--user", "--map-root-user", "sh", "-c",
            'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"', "sh"]  # fmt: skip


@pytest.mark.parametrize("allowed", [False, True])
def test_a_host_that_cannot_shut_it_in(make: Callable[..., Place], allowed: bool) -> None:
    place = make(check=START + HEALTH + f"  allow_network: {str(allowed).lower()}\n")
    user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    answer = subprocess.run(
        [*REFUSING, *user, sys.executable, "-m", "strongroom", "--config", str(place.config),
         "--json", "drill", "--application"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    document = json.loads(answer.stdout)
    if allowed:
        assert "this host can't shut it in" in told(document, "application-open")[0]
        assert told(document, "application-failed") == []
        assert told(document, "application-unchecked") == []
    else:
        assert document["verdict"] == "UNKNOWN"
        assert "allow_network is not set" in told(document, "application-unchecked")[0]
        assert document["stages"] == []


# Killed


WAITING = START + "  prepare: [\"sh -c 'sleep 120 & setsid sleep 121'\"]\n"


@pytest.mark.parametrize("moment", ["restoring", "running"])
def test_a_killed_drill_leaves_no_process_and_what_it_leaves_is_removed(
    moment: str, make: Callable[..., Place]
) -> None:
    place = make(check=WAITING)
    child = start_child("--config", place.config, "drill", "--application")
    try:
        if moment == "running":
            wait_until(lambda: len(running(_mark(child))) >= 2, child)
        else:
            wait_until(lambda: _sandboxes(child), child)
        left = _sandboxes(child)
    finally:
        child.kill()
        child.communicate()
    wait_until(lambda: running(f"drill-{child.pid}-") == [])
    assert len(left) == 1
    place.run("doctor", "--clean")
    assert not left[0].exists()
    assert running(f"drill-{child.pid}-") == []


def _sandboxes(child: subprocess.Popen[bytes]) -> list[Path]:
    return list(Path("/var/tmp").glob(f"strongroom-drill-{child.pid}-*"))


def _mark(child: subprocess.Popen[bytes]) -> str:
    return f"STRONGROOM_SANDBOX=/var/tmp/strongroom-drill-{child.pid}-"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nothing(
    how: signal.Signals, make: Callable[..., Place]
) -> None:
    place = make(check=WAITING)
    child = start_child("--config", place.config, "drill", "--application")
    wait_until(lambda: len(running(_mark(child))) >= 2, child)
    child.send_signal(how)
    assert end_child(child).status == 130
    assert running(f"drill-{child.pid}-") == []
    assert _sandboxes(child) == []


def test_what_an_open_drill_left_running_is_ended_by_the_doctor(make: Callable[..., Place]) -> None:
    place = make()
    dead = subprocess.Popen(["true"])
    dead.wait()
    folder = place.path / "state" / "sandbox" / f"strongroom-drill-{dead.pid}-00000000"
    folder.mkdir(parents=True)
    stray = subprocess.Popen(["sleep", "120"], env={"STRONGROOM_SANDBOX": str(folder)})
    try:
        document = place.json("doctor", "--clean")
        assert str(folder) in document["removed"]
        assert stray.wait(10) == -signal.SIGKILL
    finally:
        stray.kill()
        stray.wait()


# Production


def _drill_command() -> click.Command:
    assert isinstance(strongroom, click.Group)
    return strongroom.commands["drill"]


def test_no_option_of_a_drill_takes_an_address(make: Callable[..., Place]) -> None:
    """All that it takes are names that must be in the configuration, ids and times."""
    place = make()
    production = "postgresql://postgres@db.example.com/tms"
    for one in _drill_command().params:
        if isinstance(one, click.Option) and (one.is_flag or one.name in ("help", "config")):
            continue
        given = [production] if isinstance(one, click.Argument) else [one.opts[-1], production]
        answer = place.run("--json", "drill", *given)
        assert answer.status in (2, 26), (one.name, answer.text)
        assert "error" in answer.document


def test_what_acts_by_itself_in_a_restored_database_is_made_inert() -> None:
    with loopback_listener() as publisher, throwaway_cluster(major=15) as cluster:
        target = cluster.connection()
        with target.connect() as session:
            session.execute(
                "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port="
                f"{publisher.port} dbname=x' PUBLICATION p WITH (connect = false)".encode()
            )
            session.execute("ALTER SUBSCRIPTION news ENABLE")
            session.execute("CREATE SCHEMA cron")
            session.execute("CREATE TABLE cron.job (jobid int, active boolean)")
            session.execute("INSERT INTO cron.job VALUES (1, true), (2, true), (3, false)")
            session.execute("CREATE SCHEMA net")
            session.execute("CREATE TABLE net.http_request_queue (id int)")
            session.execute("INSERT INTO net.http_request_queue VALUES (1)")
        [found] = quarantine(target)
        assert found.code == "sandbox-quarantined"
        assert found.message == (
            "1 subscriptions disabled, 2 scheduled jobs set inactive, 1 queued calls removed"
        )
        with target.connect() as session:
            enabled = session.execute("SELECT subenabled FROM pg_subscription").fetchall()
            active = session.execute("SELECT count(*) FROM cron.job WHERE active").fetchall()
        assert (enabled, active) == ([(False,)], [(0,)])
        assert quarantine(target) == []
        assert publisher.visits == 0


def test_a_server_that_archives_is_not_used(tmp_path: Path) -> None:
    settings = {"archive_mode": "on", "wal_level": "replica", "max_wal_senders": "0"}
    settings["archive_command"] = f"touch {tmp_path}/archived"
    with (
        throwaway_cluster(major=15, options=ClusterOptions(settings=settings)) as cluster,
        pytest.raises(SourceError, match="archive_mode = on"),
    ):
        quarantine(cluster.connection())


def test_tablespaces_are_remapped_into_the_sandbox(tmp_path: Path) -> None:
    with throwaway_cluster(major=15) as cluster:
        cluster.add_tablespace("fast")
        cluster.add_tablespace("it's slow")
        with cluster.connection().connect() as session:
            session.execute("CREATE DATABASE tms")
        with cluster.connection("tms").connect() as session:
            session.execute("CREATE TABLE t (id int PRIMARY KEY) TABLESPACE fast")
            session.execute('CREATE INDEX i ON t (id) TABLESPACE "it\'s slow"')
            session.execute("INSERT INTO t VALUES (1), (2)")
        place = make_place(tmp_path, DATABASE.format(socket=cluster.socket_directory))
        new_repository(place.path / "local")
        place.json("backup")
        assert place.json("drill")["verdict"] == "PROVEN"


def test_the_role_of_the_application_is_the_owner_unless_one_is_named() -> None:
    with throwaway_cluster(major=15) as cluster:
        with cluster.connection().connect() as session:
            session.execute("CREATE ROLE tms LOGIN")
            session.execute("CREATE ROLE shy NOLOGIN")
            session.execute("CREATE DATABASE app OWNER tms")
        app = cluster.connection("app")
        roles = [application_role(app, name) for name in (None, "shy", "nobody")]
    assert roles[2] is None
    assert [(one.name, one.may_log_in) for one in roles[:2] if one] == [
        ("tms", True),
        ("shy", False),
    ]
