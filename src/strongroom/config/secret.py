"""Secrets by reference: from where a secret is kept to the secret itself, at the last moment.

What is returned is never logged, put into an error or handed to a program as an argument
(invariant I6). A file that everybody can read is refused: it isn't secret any more.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strongroom.config import value
from strongroom.errors import ConfigError

_COMMAND_TIMEOUT_SECONDS: Final = 30
_SIZE_LIMIT_BYTES: Final = 2**16


def resolve_secret(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret that `env:`, `file:`, `command:` or `keyring:` leads to, never empty.

    One newline at its end is dropped. ConfigError `secret-unavailable` says what to provide.
    """
    try:
        value.check_reference(reference)
    except ValueError as error:
        raise ConfigError(str(error), subject="secret", code="secret-unavailable") from None
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
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
