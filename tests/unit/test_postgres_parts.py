"""Crews of threads, children and their endings, programs of many places, unequal streams."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import SourceError, StrongroomError
from strongroom.model import Piece
from strongroom.postgres import programs
from strongroom.postgres.child import feed, stream_output
from strongroom.postgres.comparison import compare_rows
from strongroom.postgres.crew import Crew, Crews
from strongroom.postgres.programs import find_programs
from strongroom.postgres.proof import Difference, first_difference


def test_the_first_failure_breaks_off_the_others_and_is_the_one_that_is_raised() -> None:
    crew, broken = Crew(), threading.Event()

    def waits() -> None:
        with crew.breaking(broken.set):
            assert broken.wait(10)
        raise RuntimeError("because it was broken off")

    def fails() -> None:
        raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        crew.run([waits, waits, fails])
    assert crew.stopped


def test_a_stopped_crew_begins_nothing_and_breaks_off_late_comers() -> None:
    crew, called = Crew(), threading.Event()
    crew.stop()
    with crew.breaking(called.set):
        assert called.is_set()
    ran: list[int] = []
    crew.run([lambda: ran.append(1)])
    assert ran == []


def test_somebody_outside_breaks_off_what_a_thread_has_begun_and_what_it_begins_later() -> None:
    crews, begun, errors = Crews(), threading.Event(), list[str]()

    def waits(crew: Crew) -> None:
        broken = threading.Event()
        with crew.breaking(broken.set):
            begun.set()
            assert broken.wait(10)

    def work() -> None:
        with crews.gathering():
            for _ in range(2):
                crew = Crew()
                with pytest.raises(StrongroomError) as caught:
                    crew.run([functools.partial(waits, crew)])
                errors.append(caught.value.code)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    crews.interrupt()
    thread.join(10)
    assert errors == ["interrupted", "interrupted"]
    ran: list[int] = []
    Crew().run([lambda: ran.append(1)])  # nobody gathers here
    assert ran == [1]


def output(script: str) -> bytes:
    words = ["/bin/sh", "-c", script]
    return b"".join(stream_output(words, os.environ, Crew(), subject="here"))


def test_a_stream_counts_only_with_status_zero_and_no_error() -> None:
    assert output("echo fine; echo 'pg_dump: warning: well' >&2") == b"fine\n"
    for script, message in (
        ("echo part; exit 3", "sh: ended with status 3"),
        ("echo part; echo 'pg_dump: error: it broke' >&2; exit 1", "sh: it broke"),
        ("echo all; echo 'pg_dump: error: it broke' >&2", "sh: it broke"),
        ("echo part; kill -9 $$", "sh: ended with status -9"),
        ("echo 'ERROR:  permission denied for table x' >&2; exit 1", "sh: permission denied for"),
    ):
        with pytest.raises(SourceError) as caught:
            output(script)
        assert caught.value.message.startswith(message)
    assert caught.value.code == "database-privilege"


def test_a_reader_that_gives_up_ends_the_child() -> None:
    words = ["/bin/sh", "-c", "head -c 1000000 /dev/zero; exec sleep 60"]
    blocks = stream_output(words, os.environ, Crew(), subject="here")
    begun = time.monotonic()
    assert len(next(blocks)) > 1000
    blocks.close()
    assert time.monotonic() - begun < 30


def test_a_child_that_stops_reading_is_no_error_of_the_feeder() -> None:
    outcome = feed(["/bin/sh", "-c", "exit 4"], os.environ, Crew(), [bytes(1 << 20)] * 4)
    assert outcome.status == 4
    assert feed(["/bin/cat"], os.environ, Crew(), [b"x"]).status == 0


@pytest.fixture
def installations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Made-up installations of several versions; 18 speaks no TLS."""
    names = ("psql", "pg_dump", "pg_dumpall", "pg_restore", "initdb", "postgres")
    for version, speaks_tls in (("14.9", True), ("16.2", True), ("18.1", False)):
        place = tmp_path / version.partition(".")[0] / "bin"
        place.mkdir(parents=True)
        for name in names:
            refusal = "" if speaks_tls else "SSL support is not compiled in"
            answer = f"{name} (PostgreSQL) {version} (Debian)"
            (place / name).write_text(
                f'#!/bin/sh\n[ "$1" = --version ] && echo "{answer}"\n'
                f'[ "$1" = -X ] && echo "{refusal}" >&2\nexit 0\n'
            )
            (place / name).chmod(0o755)
    (tmp_path / "14" / "bin" / "initdb").unlink()
    packager = tmp_path / "apt-get"
    packager.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_PLACES", (f"{tmp_path}/*/bin",))
    monkeypatch.setattr(programs, "_WHEELS", ())
    yield tmp_path
    programs._examine.cache_clear()


@pytest.mark.parametrize(
    ("major", "purpose", "tls", "chosen", "because"),
    [
        (16, "client", False, "16.2", "same major version as the server, 16"),
        (15, "client", False, "16.2", "the lowest version above the server's 15"),
        (13, "client", False, "14.9", "the lowest version above the server's 13"),
        (13, "server", False, "16.2", "the lowest version above the server's 13"),
        (17, "client", False, "18.1", "the lowest version above the server's 17"),
        (14, "client", True, "14.9", "same major version as the server, 14, with TLS"),
    ],
)
def test_programs_fit_the_server(
    installations: Path, major: int, purpose: programs.Purpose, tls: bool, chosen: str, because: str
) -> None:
    found = find_programs(major, purpose=purpose, tls=tls)
    assert found.version == chosen
    assert found.because == because
    assert found.directory == installations / chosen.partition(".")[0] / "bin"


def test_a_server_alone_on_path_is_one(
    installations: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For sandboxes; whoever wants clients gets those of the next version that has them."""
    place = tmp_path_factory.mktemp("server") / "bin"
    shutil.copytree(installations / "14" / "bin", place)
    for name in ("psql", "pg_dump", "pg_dumpall", "pg_restore"):
        (place / name).unlink()
    shutil.copy(installations / "16" / "bin" / "initdb", place)
    monkeypatch.setenv("PATH", f"{installations}:{place}")
    server = find_programs(14, purpose="server")
    assert server.directory == place
    assert "TLS" not in server.describe()
    assert find_programs(14).directory == installations / "14" / "bin"
    with pytest.raises(SourceError) as caught:
        find_programs(19, purpose="server")
    newest = installations / "18" / "bin"
    assert f"14.9 in {place}; 18.1 in {newest} (no TLS)" in caught.value.message


@pytest.mark.parametrize(
    ("major", "tls", "configured", "reason"),
    [
        (19, False, None, "no client programs of PostgreSQL 19 or newer on this host; found: "),
        (17, True, None, "with TLS on this host; found: "),
        (16, False, "14", "PostgreSQL 14.9 is older than the server (16)"),
        (16, True, "18", "was built without TLS"),
        (16, False, "nowhere", "does not hold psql, pg_dump, pg_dumpall, pg_restore"),
    ],
)
def test_no_fitting_programs_is_an_error_with_the_package(
    installations: Path, major: int, tls: bool, configured: str | None, reason: str
) -> None:
    place = installations / configured / "bin" if configured else None
    with pytest.raises(SourceError) as caught:
        find_programs(major, tls=tls, configured=place)
    assert caught.value.code == "client-programs"
    assert reason in caught.value.message
    if configured != "nowhere":
        assert f"postgresql-client-{major}" in caught.value.hint


def pieces_of(data: bytes, *lengths: int) -> list[Piece]:
    found, place = [], 0
    for length in lengths:
        part = data[place : place + length]
        found.append(Piece(length, hashlib.sha256(part).digest()))
        place += length
    assert place == len(data)
    return found


@pytest.mark.parametrize("block", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("observed", "difference"),
    [
        (b"abcdefghij", None),
        (b"abXdefghij", Difference(0, 4)),
        (b"abcdefghiX", Difference(9, 1)),
        (b"abcdXfghij", Difference(4, 5)),
        (b"abcdefghi", Difference(9, 1)),
        (b"abcdef", Difference(4, 5)),
        (b"abcd", Difference(4, 5)),
        (b"", Difference(0, 4)),
        (b"abcdefghijk", Difference(10, 0)),
        (b"Xabcdefghij", Difference(0, 4)),
    ],
)
def test_the_first_difference_of_a_stream_has_a_place(
    observed: bytes, difference: Difference | None, block: int
) -> None:
    blocks = [memoryview(observed)[at : at + block] for at in range(0, len(observed), block)]
    assert first_difference(blocks, pieces_of(b"abcdefghij", 4, 5, 1)) == difference


def test_an_empty_stream_equals_no_pieces() -> None:
    assert first_difference([], []) is None
    assert first_difference([b"\n"], []) == Difference(0, 0)


@pytest.mark.parametrize(
    ("captured", "observed", "equal", "missing", "extra", "first"),
    [
        (b"a\nb\nc\n", b"c\na\nb\n", True, 0, 0, 1),
        (b"a\na\nb\n", b"a\nb\nb\n", False, 1, 1, 2),
        (b"a\nb\n", b"a\n", False, 1, 0, 2),
        (b"", b"a\n\n", False, 0, 2, 1),
        (b"\n\n\n", b"\n\n", False, 1, 0, 3),
        (b"a\nb\nc\nd\n", b"b\nc\nd\n", False, 1, 0, 1),
        (b"a\n" * 5, b"b\n" * 5, False, 5, 5, 1),
    ],
)
def test_rows_are_compared_as_sets(
    captured: bytes, observed: bytes, equal: bool, missing: int, extra: int, first: int
) -> None:
    for size in (1, 2, 64):
        blocks = [captured[at : at + size] for at in range(0, len(captured), size)]
        found = compare_rows(blocks, [observed])
        assert (found.equal, found.missing, found.extra) == (equal, missing, extra)
        assert found.first_row == first
        assert found.captured_rows == captured.count(b"\n")
        assert found.observed_rows == observed.count(b"\n")


def test_too_many_moved_rows_are_compared_by_sums_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.postgres.comparison._OPEN_ROWS", 100)
    rows = [b"%d\n" % number for number in range(1000)]
    moved = compare_rows([b"".join(rows)], [b"".join(reversed(rows))])
    assert (moved.equal, moved.missing, moved.extra) == (True, None, None)
    rows[500] = b"other\n"
    assert not compare_rows([b"".join(rows)], [b"".join(sorted(rows))[:-2] + b"x\n"]).equal
