"""Secrets by reference: each way to keep one, each way in which that fails, and no leak (I6)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from strongroom.config import resolve_secret
from strongroom.errors import ConfigError


def _refused(reference: str, environ: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve_secret(reference, environ)
    assert caught.value.code == "secret-unavailable"
    assert caught.value.exit_status == 2
    assert caught.value.hint
    return caught.value


def _program(code: str) -> str:
    return f"command:{shlex.join([sys.executable, '-c', code])}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\n\n", "a\n"),
     (" s p ", " s p "), ("päss", "päss")],
)  # fmt: skip
def test_a_file_loses_one_newline_and_nothing_else(
    tmp_path: Path, content: str, expected: str
) -> None:
    key = tmp_path / "key"
    key.write_bytes(content.encode())
    key.chmod(0o600)
    assert resolve_secret(f"file:{key}") == expected


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_file_that_everybody_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    key.chmod(mode)
    error = _refused(f"file:{key}")
    assert f"chmod 600 {key}" in error.hint
    assert "s3cret" not in f"{error}{error.hint}"


def test_a_group_may_read_a_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    key.chmod(0o640)
    assert resolve_secret(f"file:{key}") == "s3cret"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in str(_refused(f"file:{tmp_path / 'none'}"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_without_a_usable_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    key.chmod(0o600)
    _refused(f"file:{key}")


def test_an_environment_variable() -> None:
    assert resolve_secret("env:TMS", {"TMS": "s3cret"}) == "s3cret"
    assert "TMS" in _refused("env:TMS", {}).hint
    _refused("env:TMS", {"TMS": ""})


def test_a_command_is_run_without_a_shell() -> None:
    assert resolve_secret(_program("print('a $HOME; b')")) == "a $HOME; b"


@pytest.mark.parametrize(
    "reference",
    [
        _program("import sys; print('s3cret'); sys.exit(3)"),
        _program("pass"),
        _program("import sys; sys.exit('s3cret')"),
        "command:/no/such/program s3cret",
        "command:'unclosed",
    ],
)
def test_a_command_that_fails_says_so_and_tells_nothing_else(reference: str) -> None:
    error = _refused(reference)
    assert "s3cret" not in f"{error}{error.hint}"


def test_a_command_reads_nothing_from_the_terminal() -> None:
    assert resolve_secret(_program("import sys; print(len(sys.stdin.read()))")) == "0"


def test_a_keyring_that_is_not_there_is_explained() -> None:
    assert "keyring" in _refused("keyring:tms/backup").hint


def test_a_literal_secret_is_refused_without_being_repeated() -> None:
    assert "s3cret" not in str(_refused("s3cret"))
