"""Client programs that run to their end: pg_dump and its kin, with exit status and messages.

A stream counts only when its program ended with status 0 and said nothing that is an error: an
end of file alone proves nothing. Long-lived children with many statements are `session`'s matter.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

from strongroom.errors import SourceError
from strongroom.postgres.crew import Crew
from strongroom.postgres.exchange import Block

__all__ = ["Outcome", "ProgramError", "feed", "stream_output"]

_BLOCK_BYTES: Final = 1 << 18
_ERROR: Final = re.compile(
    r"^[\w-]+: (?:error|fatal): (.*)|^(?:ERROR|FATAL|PANIC): +(.*)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended and what it wrote to standard error."""

    status: int
    messages: str


class ProgramError(SourceError):
    """A program failed; `messages` is all that it wrote to standard error."""

    def __init__(self, message: str, *, subject: str, code: str, messages: str) -> None:
        super().__init__(message, subject=subject, code=code)
        self.messages = messages


def stream_output(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    crew: Crew,
    *,
    subject: str,
    code: str = "capture-aborted",
    stdin: bytes = b"",
) -> Generator[Block, None, None]:
    """What a program writes; raises `ProgramError` after the last block unless all is well."""
    with tempfile.TemporaryFile() as messages, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        child = subprocess.Popen(
            arguments,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=dict(environment),
            start_new_session=True,
        )
        assert child.stdout is not None
        try:
            with crew.breaking(child.kill):
                while block := child.stdout.read(_BLOCK_BYTES):
                    yield block
                status = child.wait()
        finally:
            _end(child)
        _judge(arguments[0], Outcome(status, _text(messages)), subject, code)


def feed(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    crew: Crew,
    blocks: Iterable[Block],
) -> Outcome:
    """Run a program with `blocks` as its input. A program that stops reading is not an error here:
    its outcome tells."""
    with tempfile.TemporaryFile() as messages:
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env=dict(environment),
            start_new_session=True,
        )
        assert child.stdin is not None
        try:
            with crew.breaking(child.kill):
                with contextlib.suppress(BrokenPipeError):
                    for block in blocks:
                        child.stdin.write(block)
                    child.stdin.close()
                status = child.wait()
        finally:
            _end(child)
        return Outcome(status, _text(messages))


def _judge(program: str, outcome: Outcome, subject: str, code: str) -> None:
    found = _ERROR.search(outcome.messages)
    if outcome.status == 0 and found is None:
        return
    name = program.rpartition("/")[2]
    reason = (found[1] or found[2]) if found else f"ended with status {outcome.status}"
    if "permission denied" in reason:
        code = "database-privilege"
    raise ProgramError(f"{name}: {reason}", subject=subject, code=code, messages=outcome.messages)


def _text(messages: IO[bytes]) -> str:
    messages.seek(0)
    return messages.read().decode(errors="replace")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
