"""The seal of a recovery kit: age's own format, so that the program `age` opens it without us.

By passphrase (scrypt) or for recipients (X25519), never both: age does not mix them. The file is
text (armored), so that it can be printed. Facts: https://age-encryption.org/v1. What a passphrase
opens was made by somebody who knew it; what was sealed for a recipient may be of anybody who knows
the public key: there the digest in the ledger and on the page tells whose it is.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.errors import ConfigError, IntegrityError

__all__ = [
    "LEAST_CHARACTERS",
    "Opener",
    "Seal",
    "asks_for_passphrase",
    "checked_passphrase",
    "identity_in",
    "open_sealed",
]

_HEAD: Final = "-----BEGIN AGE ENCRYPTED FILE-----"
_FOOT: Final = "-----END AGE ENCRYPTED FILE-----"
_VERSION: Final = b"age-encryption.org/v1\n"
_IDENTITY: Final = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")
# Whoever finds the paper tries passphrases for as long as he likes.
LEAST_CHARACTERS: Final = 12
_SIZE_LIMIT_BYTES: Final = 16 << 20
# The base-2 logarithm of scrypt's N, and how often a better one is tried for.
_WORK: Final = re.compile(rb"^-> scrypt \S+ (\d+)$", re.MULTILINE)
_LEAST_WORK: Final = 16
_TRIES: Final = 10
_EXCESSIVE: Final = "Excessive work"
_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Seal:
    """By what a kit is sealed: a passphrase, or public keys."""

    passphrase: str = field(default="", repr=False)
    recipients: tuple[str, ...] = ()

    @property
    def sealed_for(self) -> tuple[str, ...]:
        """What records and pages call it."""
        return self.recipients or ("passphrase",)

    def seal(self, content: bytes) -> bytes:
        """The sealed file, as text; ConfigError `usage` for a recipient that is none."""
        import pyrage

        if self.passphrase:
            return _sealed(content, self.passphrase)
        try:
            keys = [pyrage.x25519.Recipient.from_str(one) for one in self.recipients]
        except pyrage.RecipientError:
            raise ConfigError(
                "a recipient is no public key of age",
                subject="recipients",
                code="usage",
                hint="Give what `age-keygen -y` prints.",
            ) from None
        return bytes(pyrage.encrypt(content, keys, armored=True))


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens a kit: a passphrase, or secret keys; none of it is ever shown."""

    passphrase: str = field(default="", repr=False)
    identities: tuple[str, ...] = field(default=(), repr=False)


def checked_passphrase(passphrase: str) -> str:
    """The passphrase; ConfigError `usage` for one that guessing finds."""
    if len(passphrase) < LEAST_CHARACTERS:
        raise ConfigError(
            f"it has fewer than {LEAST_CHARACTERS} characters",
            subject="the kit's passphrase",
            code="usage",
            hint="Choose six words at random, or more.",
        )
    return passphrase


def identity_in(file: Path, passphrase: str = "") -> Opener:
    """The secret keys of a file as `age-keygen` writes it, which a passphrase may seal.

    ConfigError `secret-unavailable` when it can't be read, or has none; `kit-locked` when it does
    not open.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_SIZE_LIMIT_BYTES)
        if content.startswith((_HEAD.encode(), _VERSION)):
            content = open_sealed(content, Opener(passphrase), str(file))
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"it cannot be read: {reason}", subject=str(file), code="secret-unavailable"
        ) from None
    found = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")
    ]
    if not found or not all(map(_IDENTITY.fullmatch, found)):
        raise ConfigError(
            "it holds no secret keys of age, one a line",
            subject=str(file),
            code="secret-unavailable",
            hint="Name the file that `age-keygen` wrote.",
        )
    return Opener(identities=tuple(found))


def open_sealed(content: bytes, opener: Opener, subject: str) -> bytes:
    """What is sealed in a file, which may be text or not.

    ConfigError `kit-locked` when it does not open with this; IntegrityError `kit-damaged` when it
    is incomplete, altered or no such file.
    """
    import pyrage

    binary = _binary(content, subject)
    by_passphrase = _is_by_passphrase(binary, subject)
    if by_passphrase and not opener.passphrase:
        raise _locked(subject, "a passphrase opens it", "Give --passphrase.")
    if not by_passphrase and not opener.identities:
        raise _locked(subject, "it is sealed for recipients", "Give a secret key with --identity.")
    try:
        if by_passphrase:
            return _opened(binary, opener.passphrase, subject)
        keys = [_identity(one) for one in opener.identities]
        return bytes(pyrage.decrypt(binary, keys))
    except pyrage.DecryptError as error:
        if _is_of_key(str(error)):
            told = "the passphrase is another one" if by_passphrase else "no secret key fits"
            raise _locked(subject, told, "Use the one that it was made with.") from None
        raise _damaged(subject, "it is incomplete, or was altered") from None


def _sealed(content: bytes, passphrase: str) -> bytes:
    """Sealed with a passphrase that takes at least as much work to try as one of a repository.

    The library takes as much work as this machine does in a second, by a look of some
    milliseconds: on a busy one that is too short a look.
    """
    import pyrage

    tries: list[tuple[int, bytes]] = []
    while len(tries) < _TRIES:
        sealed = bytes(pyrage.passphrase.encrypt(content, passphrase, armored=True))
        found = _WORK.search(_binary(sealed, "kit"))
        tries.append((int(found[1]) if found is not None else 0, sealed))
        if tries[-1][0] >= _LEAST_WORK:
            break
    return max(tries)[1]


def _opened(binary: bytes, passphrase: str, subject: str) -> bytes:
    """What a passphrase opens; ConfigError `kit-locked` where this machine would take too long.

    By the same look the library refuses what would take some sixteen seconds, so that nobody is
    made to work for hours: it is asked again, since the machine may be busy.
    """
    import pyrage

    for number in range(_TRIES):
        try:
            return bytes(pyrage.passphrase.decrypt(binary, passphrase))
        except pyrage.DecryptError as error:
            if _EXCESSIVE not in str(error):
                raise
        time.sleep(_PAUSE_SECONDS * number)
    raise _locked(
        subject,
        "trying the passphrase takes too much work for this machine, or it is busy",
        "Try again when it is idle, or open it with `age -d`.",
    )


def asks_for_passphrase(content: bytes, subject: str) -> bool:
    """Whether a passphrase opens it; IntegrityError `kit-damaged` when it is no sealed file."""
    return _is_by_passphrase(_binary(content, subject), subject)


def _identity(text: str) -> object:
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise ConfigError(
            "this is no secret key of age", subject="--identity", code="secret-unavailable"
        ) from None


def _is_of_key(told: str) -> bool:
    """Whether the library says that the key is another one, and nothing of the file."""
    return "No matching keys" in told or told.strip() == "Decryption failed"


def _binary(content: bytes, subject: str) -> bytes:
    """The file without its armor, which scanning and mailing may have re-wrapped."""
    if content.startswith(_VERSION):
        return content
    lines = [line.strip() for line in content.decode("ascii", "replace").splitlines()]
    lines = [line for line in lines if line]
    if not lines or lines[0] != _HEAD:
        raise _damaged(subject, "this is no recovery kit: it does not begin as one")
    if lines[-1] != _FOOT:
        raise _damaged(subject, "it is incomplete: its end is missing")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise _damaged(subject, "it is incomplete, or was altered") from None


def _is_by_passphrase(binary: bytes, subject: str) -> bool:
    header, end, _ = binary.partition(b"\n---")
    if not header.startswith(_VERSION) or not end:
        raise _damaged(subject, "this is no file of age")
    return any(line.startswith(b"-> scrypt ") for line in header.split(b"\n"))


def _locked(subject: str, reason: str, hint: str) -> ConfigError:
    return ConfigError(reason, subject=subject, code="kit-locked", hint=hint)


def _damaged(subject: str, reason: str) -> IntegrityError:
    return IntegrityError(reason, subject=subject, code="kit-damaged")
