"""Secrets by reference: from where a secret is kept to the secret itself, at the last moment.

What is returned is never logged, put into an error or handed to a program as an argument
(invariant I6). A file that everybody can read is refused: it isn't secret any more.

While a recovery kit is `kept`, what it holds stands in the place of what this host has.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.config import value
from strongroom.errors import ConfigError

_COMMAND_TIMEOUT_SECONDS: Final = 30
_SIZE_LIMIT_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a kit holds, by reference; `alone`: nothing else counts."""

    secrets: Mapping[str, bytes] = field(repr=False)
    alone: bool


# Of the whole process: its threads open repositories.
_kept: list[_Kept] = []


@contextlib.contextmanager
def kept(secrets: Mapping[str, bytes], *, alone: bool = False) -> Iterator[None]:
    """Meanwhile these references lead to these values; with `alone`, no others lead anywhere."""
    one = _Kept(secrets, alone)
    _kept.append(one)
    try:
        yield
    finally:
        _kept.remove(one)


def kept_bytes(reference: str) -> bytes | None:
    """What the kit in force holds of this reference, byte by byte; None where it holds nothing of
    it, or none is in force. ConfigError `secret-unavailable` where nothing else counts."""
    for one in reversed(_kept):
        if reference in one.secrets:
            return one.secrets[reference]
        if one.alone:
            raise _unavailable(
                _shown(reference), "is not in the recovery kit", "Add it to `kit.escrow`."
            )
    return None


def read_secret(reference: str) -> bytes:
    """What a reference leads to, byte by byte: of a file all that it holds, whoever can read it.

    ConfigError `secret-unavailable` when it leads nowhere, or to nothing.
    """
    scheme, _, rest = reference.partition(":")
    if scheme != "file" or _kept:
        return resolve_secret(reference).encode()
    subject = f"file:{rest}"
    try:
        with Path(rest).expanduser().open("rb") as stream:
            content = stream.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise _unavailable(subject, reason, "Let this user read it.") from None
    if len(content) > _SIZE_LIMIT_BYTES:
        raise _unavailable(subject, "is larger than 64 KiB, so no secret", "Name another file.")
    if not content:
        raise _unavailable(subject, "is empty", "Put the secret there.")
    return content


def _shown(reference: str) -> str:
    """Arguments of a command may tell too much."""
    return f"{reference.split(maxsplit=1)[0]} …" if reference.startswith("command:") else reference


def resolve_secret(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret that `env:`, `file:`, `command:` or `keyring:` leads to, never empty.

    One newline at its end is dropped. ConfigError `secret-unavailable` says what to provide.
    """
    try:
        value.check_reference(reference)
    except ValueError as error:
        raise ConfigError(str(error), subject="secret", code="secret-unavailable") from None
    scheme, _, rest = reference.partition(":")
    if (held := kept_bytes(reference)) is not None:
        secret = _decode(held, _shown(reference))
    elif scheme == "env":
        secret = _from_environment(rest, os.environ if environ is None else environ)
    elif scheme == "file":
        secret = _from_file(Path(rest).expanduser())
    elif scheme == "command":
        secret = _from_command(rest)
    else:
        secret = _from_keyring(rest)
    if not secret:
        raise _unavailable(reference, "is empty", "Put the secret there.")
    return secret


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise _unavailable(f"env:{name}", "is not set", f"Set the environment variable {name}.")
    return _strip(environ[name])


def _from_file(path: Path) -> str:
    subject = f"file:{path}"
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IRWXO:
                raise _unavailable(
                    subject,
                    f"everybody on this host has access to it (mode {status.st_mode & 0o777:o})",
                    f"Run `chmod 600 {path}`, and change the secret if others may have seen it.",
                )
            content = stream.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise _unavailable(
            subject, f"cannot be read: {error.strerror}", "Create it with mode 600."
        ) from None
    if len(content) > _SIZE_LIMIT_BYTES:
        raise _unavailable(subject, "is larger than 64 KiB, so no secret", "Name another file.")
    return _decode(content, subject)


def _from_command(command: str) -> str:
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = []
    if not arguments:
        raise _unavailable("command:", "cannot be split into words", "Close its quotes.")
    subject = f"command:{arguments[0]} …"
    hint = "Run the command by hand as the same user."
    try:
        run = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may repeat the secret
            timeout=_COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"gave no answer within {_COMMAND_TIMEOUT_SECONDS} s"
        raise _unavailable(subject, reason, hint) from None
    except OSError as error:
        raise _unavailable(subject, f"did not start: {error.strerror}", hint) from None
    if run.returncode != 0:
        raise _unavailable(subject, f"ended with status {run.returncode}", hint)
    return _decode(run.stdout, subject)


def _from_keyring(rest: str) -> str:
    service, _, user = rest.partition("/")
    subject = f"keyring:{rest}"
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise _unavailable(
            subject, "the keyring library is not installed", "Install `strongroom[keyring]`."
        ) from None
    try:
        secret: str | None = keyring.get_password(service, user)
    except KeyringError:
        raise _unavailable(subject, "the keyring did not open", "Unlock the keyring.") from None
    if secret is None:
        raise _unavailable(
            subject, "the keyring holds no such entry", f"Run `keyring set {service} {user}`."
        )
    return secret


def _decode(content: bytes, subject: str) -> str:
    try:
        return _strip(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise _unavailable(subject, "is not UTF-8 text", "Use a secret made of text.") from None


def _strip(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _unavailable(subject: str, reason: str, hint: str) -> ConfigError:
    return ConfigError(reason, subject=subject, code="secret-unavailable", hint=hint)
