"""What a run cost: its processes, their pipes and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.measure import CommandError, Usage, read_through, run_measured, share_memory, size_of

MEBIBYTE = 1 << 20
# Touches its memory, then waits long enough to be seen.
HOLD = "import time; held = b'x' * ({size} << 20); time.sleep(0.4)"


def _run(tmp_path: Path, *pipeline: list[str]) -> Usage:
    return run_measured(pipeline, environment=dict(os.environ), directory=tmp_path)


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_pipeline_hands_on_its_bytes_and_returns_the_last_output(tmp_path: Path) -> None:
    usage = _run(tmp_path, ["printf", "b\na\n"], ["sort"])
    assert usage.output == "a\nb\n"


@pytest.mark.parametrize("place", [0, 1])
def test_a_failure_anywhere_in_a_pipeline_counts(tmp_path: Path, place: int) -> None:
    pipeline = [["cat"], ["cat"]]
    pipeline[place] = ["sh", "-c", "echo no such thing >&2; exit 3"]
    with pytest.raises(CommandError, match=r"sh 3.*no such thing"):
        _run(tmp_path, *pipeline)


def test_memory_is_summed_over_the_tree(tmp_path: Path) -> None:
    child = HOLD.format(size=60)
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    usage = _run(tmp_path, _python(f"held = b'x' * (60 << 20); {parent}"))
    assert 120 * MEBIBYTE < usage.peak_bytes < 220 * MEBIBYTE


def test_a_process_in_another_ones_memory_is_seen_as_such() -> None:
    # Of what is being started nobody can say for how long it stays so; threads share theirs.
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(threading.get_native_id).result()
        assert share_memory(thread, os.getpid())
    with subprocess.Popen(["sleep", "60"]) as child:
        assert not share_memory(child.pid, os.getpid())
        child.kill()


def test_a_database_server_is_left_out(tmp_path: Path) -> None:
    # A process can name itself (prctl(2), PR_SET_NAME = 15).
    child = HOLD.format(size=80)
    renamed = "import ctypes; ctypes.CDLL(None).prctl(15, b'postgres', 0, 0, 0); " + child
    usage = _run(
        tmp_path,
        _python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {renamed!r}])"),
    )
    assert usage.peak_bytes < 60 * MEBIBYTE


def test_processor_time_of_descendants_counts(tmp_path: Path) -> None:
    busy = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    assert _run(tmp_path, _python(parent)).cpu_seconds >= 0.3


def test_sizes_are_of_files_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"678")
    (tmp_path / "link").symlink_to("two")
    assert size_of(tmp_path) == read_through(tmp_path) == 8
    assert size_of(tmp_path / "two") == 3
    assert size_of(tmp_path / "missing") == 0
