"""A snapshot opened to be looked into: nothing in it can be changed, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.command_line import Place
from tests.support.import_ground import CONFIG, import_place, old_server

pytestmark = pytest.mark.xdist_group("open")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A snapshot of a database of PostgreSQL 15, unless another version is asked for."""
    with old_server(getattr(request, "param", 15)) as server:
        url = server.cluster.connection("tms").conninfo()
        config = CONFIG.replace('"postgresql://app@127.0.0.1:1/tms"', f'"{url}"')
        made = import_place(tmp_path_factory.mktemp("open") / "here", config)
        made.json("backup")
        return made


def _command(place: Place, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "strongroom", "--config", str(place.config), *arguments]


@contextlib.contextmanager
def _opened(place: Place, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The running command, and its document. Any: JSON values."""
    child = subprocess.Popen(
        _command(place, "--json", "open", "latest:database", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        line = child.stdout.readline()
        assert line, child.stderr.read()
        yield child, json.loads(line)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def _sandboxes(place: Place) -> list[Path]:
    found = list((place.path / "state" / "sandbox").glob("strongroom-*"))
    return found + list(Path("/var/tmp").glob("strongroom-drill-*"))


def _of(place: Place, child: subprocess.Popen[str]) -> list[Path]:
    return [one for one in _sandboxes(place) if f"-{child.pid}-" in one.name]


TRICKS = (
    "INSERT INTO public.trainees (name) VALUES ('x')",
    "INSERT INTO public.sessions VALUES (2, 'x')",
    "UPDATE public.sessions SET body = 'x'",
    "DELETE FROM public.certificates",
    "TRUNCATE public.sessions",
    "CREATE TABLE public.mine ()",
    "CREATE TEMP TABLE mine ()",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "SELECT public.spoil()",
    "SELECT nextval('public.certificates_id_seq')",
    "SELECT lo_create(0)",
    "COPY public.sessions FROM '/etc/passwd'",
    "COPY (SELECT 1) TO '/tmp/strongroom-open-trick'",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/strongroom-open-trick'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_promote()",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER SYSTEM SET default_transaction_read_only = off",
    "SET ROLE app",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "LOCK TABLE public.trainees IN ACCESS EXCLUSIVE MODE",
    "VACUUM",
    "NOTIFY x",
)


@pytest.mark.parametrize("place", [15, 18], indirect=True)
def test_everything_can_be_read_and_nothing_written(place: Place) -> None:
    with _opened(place) as (_, opened):
        assert opened["read_only"] is True
        assert opened["database"] == "tms"
        # A standby cannot show the unlogged table as such.
        assert "open-changed" in {one["code"] for one in opened["findings"]}
        with psycopg.connect(opened["url"], autocommit=True) as session:
            for table, rows in (("trainees", 300), ("certificates", 300), ("sessions", 1),
                                ("named", 300), ("counted", 1)):  # fmt: skip
                (count,) = session.execute(f"SELECT count(*) FROM public.{table}").fetchone() or ()
                assert count == rows, table
            for begin in ("SELECT 1", "SET default_transaction_read_only = off",
                          "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"):  # fmt: skip
                with contextlib.suppress(psycopg.Error):
                    session.execute(begin)
                for trick in TRICKS:
                    with pytest.raises(psycopg.Error):
                        session.execute(trick)
            with pytest.raises(psycopg.Error, match="during recovery"):
                session.execute("BEGIN READ WRITE")
        assert not Path("/tmp/strongroom-open-trick").exists()


def test_nobody_gets_in_without_the_password(place: Place) -> None:
    with _opened(place) as (child, opened):
        password = opened["url"].partition(":")[2].partition(":")[2].partition("@")[0]
        assert len(password) >= 32
        for url in (
            opened["url"].replace(password, "guessed"),
            opened["url"].replace("strongroom_reader", "postgres"),
            opened["url"].replace("strongroom_reader", "app"),
        ):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
        (folder,) = _of(place, child)
        (file,) = folder.rglob("pgpass")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        command = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        assert password.encode() not in command
    assert password not in (place.path / "state" / "ledger.jsonl").read_text()


def test_the_end_of_input_closes_it_and_nothing_is_left(place: Place) -> None:
    with _opened(place) as (child, opened):
        assert child.stdin is not None
        assert opened["age_seconds"] < 3600
        assert opened["verdict"] == "UNKNOWN"
        child.stdin.close()
        assert child.wait(60) == 0
        assert _of(place, child) == []
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(opened["url"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_it_in_order(place: Place, number: signal.Signals) -> None:
    with _opened(place, "--for", "1h") as (child, _):
        child.send_signal(number)
        assert child.wait(60) == 0
        assert _of(place, child) == []


def test_it_closes_by_itself_when_its_time_is_over(place: Place) -> None:
    with _opened(place, "--for", "1s") as (child, _):
        assert child.wait(60) == 0
        assert _of(place, child) == []


def test_what_a_killed_one_leaves_is_removed(place: Place) -> None:
    with _opened(place) as (child, opened):
        (folder,) = _of(place, child)
        child.send_signal(signal.SIGKILL)
        child.wait()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(opened["url"]):
                time.sleep(0.1)
                continue
            break
        assert folder.exists()
        place.run("--json", "doctor", "--clean")
        assert not folder.exists()


def test_a_port_is_there_for_tools_that_know_no_sockets(place: Place) -> None:
    with _opened(place, "--port", "0") as (_, opened):
        assert "127.0.0.1" in opened["url"]
        with psycopg.connect(opened["url"]) as one, psycopg.connect(opened["url"]) as two:
            for session in (one, two):
                rows = session.execute("SELECT repeat('x', 1000000)").fetchall()
                assert len(rows[0][0]) == 1_000_000


def test_a_terminal_gets_a_psql(place: Place) -> None:
    near, far = pty.openpty()
    with contextlib.suppress(OSError):
        os.set_blocking(near, False)
    child = subprocess.Popen(
        _command(place, "open", "latest:database"),
        stdin=far,
        stdout=far,
        stderr=far,
        env={**os.environ, "PAGER": "cat", "PSQLRC": "/dev/null", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(far)
    told = b""
    try:
        asked = False
        deadline = time.monotonic() + 90
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError, OSError):
                told += os.read(near, 1 << 16)
            if b"tms=" in told and not asked:
                os.write(near, b"SELECT 'rows: ' || count(*) FROM trainees;\n\\q\n")
                asked = True
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            told += os.read(near, 1 << 16)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        os.close(near)
    assert child.returncode == 0, told
    assert b"rows: 300" in told
    assert b"for reading only" in told
    assert _of(place, child) == []  # type: ignore[arg-type]  # only its process id matters


def _with_input(place: Place, given: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        _command(place, "open", "latest:database", *options),
        input=given,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_statements_on_standard_input_are_run(place: Place) -> None:
    done = _with_input(place, b"SELECT 'rows: ' || count(*) FROM trainees;\n")
    assert done.returncode == 0, done.stderr
    assert b"rows: 300" in done.stdout
    assert b"postgresql://" not in done.stdout
    assert b"for reading only" in done.stderr
    assert b"UNKNOWN" in done.stderr
    assert b"x1b" not in done.stderr
    failed = _with_input(place, b"DELETE FROM trainees;\nSELECT 'went on';\n")
    assert failed.returncode == 2
    assert b"read-only transaction" in failed.stderr
    assert b"went on" not in failed.stdout


@pytest.mark.parametrize("options", [[], ["--print"]], ids=" ".join)
def test_an_empty_input_is_refused_and_not_taken_for_done(place: Place, options: list[str]) -> None:
    with Path(os.devnull).open("rb") as nothing:
        done = subprocess.run(
            _command(place, "open", "latest:database", *options),
            stdin=nothing,
            capture_output=True,
            check=False,
            timeout=120,
        )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is empty" in done.stderr


def test_large_objects_are_read(place: Place) -> None:
    done = _with_input(place, b"SELECT lo_get(oid) FROM pg_largeobject_metadata;\n")
    assert done.returncode == 0, done.stderr
    assert b"a large object".hex().encode() in done.stdout


def test_files_are_not_opened_but_listed(place: Place) -> None:
    answer = place.run("--json", "open", "latest:uploads")
    assert answer.status == 2
    error = answer.document["error"]
    assert error["code"] == "usage"
    assert "strongroom ls" in error["hint"]
    assert "--include" in error["hint"]


def test_who_looked_is_recorded_from_the_beginning(place: Place) -> None:
    with _opened(place, "--reason", "Ticket 17") as (child, opened):
        (begun,) = [
            one
            for one in place.ledger.entries("command-begun")
            if one.fields.get("reason") == "Ticket 17"
        ]
        assert begun.fields["command"] == "open"
        assert child.stdin is not None
        child.stdin.close()
        child.wait(60)
    (ended,) = [
        one for one in place.ledger.entries("command") if one.fields.get("reason") == "Ticket 17"
    ]
    assert ended.fields["read"][0]["snapshot"] == opened["snapshot"]
    assert ended.fields["given"][0]["database"] == "tms"
