"""Each way out of a sandbox is tried for real: none leads anywhere, nothing survives its end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.confinement.enclosure import (
    Enclosure,
    EnclosureError,
    Program,
    Reply,
    Request,
    Surroundings,
)
from strongroom.confinement.kernel import Limits
from strongroom.postgres.cluster import ClusterOptions, start_cluster, throwaway_cluster
from tests.support.application_ground import loopback_listener, running, socket_listener
from tests.support.failure_ground import wait_until

PHP = "/usr/bin/php"


@dataclass
class Sandbox:
    """A folder in which programs may write, and the enclosure over it."""

    folder: Path
    enclosure: Enclosure

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "output"

    def program(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Program:
        given = {"PATH": "/usr/bin:/bin", **(environment or {})}
        return Program(arguments, self.work, given, self.log)

    def php(self, code: str, seconds: float = 20) -> str:
        """What a PHP program says before it ends well."""
        script = self.work / "script.php"
        script.write_text(f"<?php {code}")
        fault = self.enclosure.run(self.program(PHP, str(script)), seconds)
        return fault or self.log.read_text()


@contextlib.contextmanager
def sandbox(limits: Limits | None = None, *, own_network: bool = True) -> Iterator[Sandbox]:
    folder = Path(tempfile.mkdtemp(prefix="strongroom-test-", dir="/var/tmp"))
    try:
        folder.chmod(0o711)
        for name in ("work", "log"):
            (folder / name).mkdir()
        user = 65534 if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder / "work", user, user)
        surroundings = Surroundings(
            shown=[folder],
            writable=[folder / "work", folder / "log"],
            user=user,
            group=user,
            limits=limits or Limits(),
            own_network=own_network,
        )
        with Enclosure(surroundings) as enclosure:
            yield Sandbox(folder, enclosure)
    finally:
        shutil.rmtree(folder)


def test_no_network_leads_out() -> None:
    with loopback_listener() as host, sandbox() as box:
        said = box.php(
            f"""
            $ways = ['127.0.0.1' => {host.port}, '192.0.2.1' => 80, '1.1.1.1' => 53];
            foreach ($ways as $name => $port)
                echo $name, ' ', @fsockopen($name, $port, $n, $e, 3) ? 'open' : 'closed', "\\n";
            echo @fsockopen('udp://192.0.2.1', 53, $n, $e, 3) ? 'open' : 'closed', "\\n";
            echo gethostbyname('training.example.com'), "\\n";
            echo var_export(@file_get_contents('https://training.example.ae/api'), true), "\\n";
            """
        )
        assert host.visits == 0
    assert said.splitlines() == [
        "127.0.0.1 closed", "192.0.2.1 closed", "1.1.1.1 closed", "closed",
        "training.example.com", "false",
    ]  # fmt: skip


def test_no_socket_of_the_host_leads_out(tmp_path: Path) -> None:
    """A network of one's own doesn't cover these: PostgreSQL lets the right user in by them."""
    elsewhere = Path("/opt") / f"strongroom-test-{os.getpid()}"
    elsewhere.mkdir()
    try:
        with (
            socket_listener(tmp_path / "hidden") as hidden,
            socket_listener(elsewhere / "seen") as seen,
            sandbox() as box,
        ):
            said = box.php(
                f"""
                foreach (['{tmp_path}/hidden', '{elsewhere}/seen'] as $place)
                    echo @stream_socket_client("unix://$place", $n, $e, 3) ? 'in' : 'out', "\\n";
                echo json_encode(array_values(array_diff(scandir('/run'), ['.', '..'])));
                """
            )
            assert hidden.visits + seen.visits == 0
    finally:
        elsewhere.rmdir()
    assert said.split() == ["out", "out", "[]"]


def test_writing_is_possible_in_the_sandbox_alone() -> None:
    places = ["/etc/strongroom-test", "/var/lib/strongroom-test", "/opt/strongroom-test", "/x"]
    with sandbox() as box:
        said = box.php(
            f"""
            foreach ({places!r} as $place)
                echo @file_put_contents($place, 'x') === false ? 'refused' : 'written', "\\n";
            echo file_put_contents('mine', 'x'), file_put_contents('/tmp/fleeting', 'x'), "\\n";
            """
        )
        assert (box.work / "mine").read_text() == "x"
    assert said.split() == ["refused"] * 4 + ["11"]
    assert not Path("/tmp/fleeting").exists()
    assert not any(Path(one).exists() for one in places)


def test_the_hosts_processes_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_TEST_SECRET", "correct-horse")
    with sandbox() as box:
        said = box.php(
            """
            $all = '';
            foreach (glob('/proc/[0-9]*/environ') as $one) $all .= @file_get_contents($one);
            foreach (glob('/proc/[0-9]*/cmdline') as $one) $all .= @file_get_contents($one);
            echo str_contains($all, 'correct-horse') ? 'seen' : 'unseen';
            echo ' ', function_exists('posix_kill') ? var_export(@posix_kill(1, 9), true) : 'false';
            """
        )
    assert said.split()[0] == "unseen"


def test_mail_and_calls_are_taken_and_counted() -> None:
    with sandbox() as box:
        mail, web = box.enclosure.mail_port, box.enclosure.web_port
        said = box.php(
            f"""
            $smtp = fsockopen('127.0.0.1', {mail});
            $say = function (string $line) use ($smtp) {{
                fwrite($smtp, "$line\\r\\n");
                do {{ $answer = fgets($smtp); }} while ($answer[3] === '-');
                echo substr($answer, 0, 3), ' ';
            }};
            echo substr(fgets($smtp), 0, 3), ' ';
            foreach (['EHLO app', 'AUTH PLAIN AGEAYg==', 'MAIL FROM:<a@b.c>', 'RCPT TO:<d@e.f>',
                      'DATA', "Subject: x\\r\\n\\r\\nhello\\r\\n.", 'QUIT'] as $line)
                $say($line);
            $type = 'Content-Type: text/plain';
            $post = ['method' => 'POST', 'content' => 'x=1', 'header' => $type];
            $context = stream_context_create(['http' => $post]);
            file_get_contents('http://127.0.0.1:{web}/webhook', false, $context);
            echo $http_response_header[0];
            """
        )
        remains = box.enclosure.stop(1)
    assert said == "220 250 235 250 250 354 250 221 HTTP/1.1 204 No Content"
    assert (remains.mails, remains.requests) == (1, 1)


def test_what_detaches_itself_is_ended_all_the_same() -> None:
    mark = f"strongroom-test-daemon-{os.getpid()}"
    with sandbox() as box:
        daemon = f"(MARK={mark} sleep 300 >/dev/null 2>&1 & echo up >up)"
        script = f'setsid -f sh -c "{daemon}"; exec sleep 300'
        assert box.enclosure.start(box.program("sh", "-c", script)) == ""
        wait_until((box.work / "up").exists)
        assert running(f"MARK={mark}") != []
        remains = box.enclosure.stop(2)
        assert remains.status is None
        assert remains.strays >= 1
        assert running(mark) == []


@pytest.mark.parametrize("own_network", [True, False], ids=["shut in", "open"])
def test_nothing_survives_its_maker_killed(own_network: bool) -> None:
    mark = f"strongroom-test-killed-{os.getpid()}"
    script = f"""
import sys, time
from tests.e2e.test_confinement import sandbox
with sandbox(own_network={own_network}) as box:
    both = ["sh", "-c", "sleep 301 & exec sleep 300"]
    box.enclosure.start(box.program(*both, environment={{"M": "{mark}"}}))
    print(box.folder, flush=True)
    time.sleep(100)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        folder = Path(child.stdout.readline().strip())
    try:
        wait_until(lambda: len(running(f"M={mark}")) == 2)
        child.send_signal(signal.SIGKILL)
        child.wait()
        wait_until(lambda: running(f"M={mark}") == [])
        assert running(f"M={mark}") == []
    finally:
        shutil.rmtree(folder)


def test_a_program_gets_only_so_much() -> None:
    limits = Limits(file_bytes=1 << 20, memory_bytes=300 << 20, processes=8, cpu_seconds=1)
    with sandbox(limits) as box:
        assert "status" in box.php("file_put_contents('large', str_repeat('x', 3 << 20));")
        assert (box.work / "large").stat().st_size <= 1 << 20
        box.log.write_text("")
        assert "ended" in box.php("ini_set('memory_limit', -1); $x = str_repeat('x', 1 << 30);")
        assert "ended with status" in box.php("while (true);")
        loop = "i=0; while [ $i -lt 64 ]; do sleep 5 & i=$((i+1)); done; echo all"
        box.log.write_text("")
        box.enclosure.run(box.program("sh", "-c", loop), 20)
        assert "all" not in box.log.read_text()


def test_everybody_else_comes_first() -> None:
    with sandbox() as box:
        assert box.enclosure.run(box.program("sh", "-c", "nice; ionice"), 10) == ""
        assert box.log.read_text().split() == [str(min(19, os.nice(0) + 10)), "idle"]


def test_a_program_that_takes_too_long_is_ended() -> None:
    with sandbox() as box:
        begun = time.monotonic()
        assert "did not end within" in box.enclosure.run(box.program("sleep", "60"), 0.5)
        assert time.monotonic() - begun < 30
        assert "there is no program nonsense" in box.enclosure.run(box.program("nonsense"), 5)
        assert "ended with status 3" in box.enclosure.run(box.program("sh", "-c", "exit 3"), 5)


def test_answers_come_from_inside() -> None:
    with sandbox() as box:
        (box.work / "index.php").write_text("<?php http_response_code(418); echo 'tea', PHP_EOL;")
        (box.work / "slow.php").write_text("<?php sleep(30);")
        (box.work / "large.php").write_text(
            "<?php for ($i = 0; $i < 80; $i++) echo str_repeat('x', 1 << 17);"
        )
        start = box.program(PHP, "-S", f"127.0.0.1:{box.enclosure.port}", "-t", ".")
        assert box.enclosure.start(start) == ""
        assert box.enclosure.wait_for_listener(20) == ""
        reply = box.enclosure.request(Request("GET", "/"), 10)
        assert isinstance(reply, Reply)
        assert (reply.status, reply.body, reply.is_cut) == (418, b"tea\n", False)
        large = box.enclosure.request(Request("GET", "/large.php"), 20)
        assert isinstance(large, Reply)
        assert (large.size_bytes, large.is_cut) == (80 << 17, True)
        assert isinstance(box.enclosure.request(Request("GET", "/x\r\nEvil: 1"), 5), str)
        assert "no whole answer within 1 s" in str(
            box.enclosure.request(Request("GET", "/slow.php"), 1)
        )


def test_without_being_root_it_is_as_tight() -> None:
    """A user namespace does it then: this host's root is user 1000 in one here."""
    script = """
from tests.e2e.test_confinement import sandbox
import os
assert os.geteuid() == 1000
with sandbox() as box:
    print(box.php("echo posix_getuid(),"
                  " @file_put_contents('/etc/x', 'x') === false ? ' refused ' : ' written ',"
                  " @fsockopen('192.0.2.1', 80, $n, $e, 2) ? 'open ' : 'closed ',"
                  " file_put_contents('a', 'x');"))
    print(box.enclosure.stop(1).strays)
"""
    answer = subprocess.run(
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", sys.executable, "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.stdout.split() == ["1000", "refused", "closed", "1", "0"], answer.stderr


REFUSING = ["unshare", "--user", "--map-root-user", "sh", "-c",
            'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"', "sh"]  # fmt: skip


def test_a_host_that_makes_no_networks_says_so() -> None:
    script = """
from strongroom.confinement.enclosure import *
from pathlib import Path
try:
    with Enclosure(Surroundings(shown=[Path("/var/tmp")])): print("made")
except EnclosureError as error:
    print(error)
"""
    answer = subprocess.run(
        [*REFUSING, sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert answer.stdout.startswith("unshare: "), answer.stdout + answer.stderr


def test_a_keeper_that_is_killed_is_noticed() -> None:
    with sandbox() as box:
        keeper = box.enclosure._keeper
        assert keeper is not None
        keeper.kill()
        with pytest.raises(EnclosureError, match="keeper"):
            box.enclosure.run(box.program("true"), 5)


def test_the_sandboxs_server_has_no_network_either() -> None:
    with loopback_listener() as host, throwaway_cluster(major=15) as cluster:
        assert "sandbox-network" not in {one.code for one in cluster.findings}
        call = f'bash -c "echo hello >/dev/tcp/127.0.0.1/{host.port}"'
        with cluster.connection().connect() as session, pytest.raises(Exception, match="program"):
            session.execute(f"COPY (SELECT 1) TO PROGRAM '{call}'".encode())
        assert host.visits == 0


def test_where_no_network_is_made_the_server_starts_and_says_so() -> None:
    script = """
from strongroom.postgres.cluster import throwaway_cluster
with throwaway_cluster(major=15) as cluster, cluster.connection().connect() as session:
    print(session.execute("SELECT 1").fetchone(), *[one.code for one in cluster.findings])
"""
    user = str(pwd.getpwnam("postgres").pw_uid)
    answer = subprocess.run(
        [*REFUSING, "unshare", "--user", f"--map-user={user}", f"--map-group={user}",
         sys.executable, "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.stdout.strip() == "(1,) sandbox-network", answer.stderr


def test_a_durable_server_keeps_its_network() -> None:
    with loopback_listener() as host:
        cluster = start_cluster(15, ClusterOptions(durable=True))
        try:
            call = f'bash -c "echo hello >/dev/tcp/127.0.0.1/{host.port}"'
            with cluster.connection().connect() as session:
                session.execute(f"COPY (SELECT 1) TO PROGRAM '{call}'".encode())
            wait_until(lambda: host.visits == 1)
            assert host.visits == 1
        finally:
            cluster.stop()
