"""The encryption container of the restic format: AES-256-CTR with Poly1305-AES, and key files.

Facts: REPOSITORY_FORMAT 1.2 and 1.3 (docs/FORMAT.md, "Container" and "Keys"). A container is
`IV(16) || ciphertext || MAC(16)`; the MAC covers the ciphertext only, under the one-time key
`r || AES-128(k, IV)`. Nothing here knows what is inside.

Invariants: an IV is never all zero and never reused; a failed MAC raises IntegrityError and
gives out no plaintext; key material never appears in a message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from strongroom.errors import IntegrityError
from strongroom.repository.document import MALFORMED, parse_json, why

OVERHEAD_BYTES: Final = 32
_IV_BYTES: Final = 16
_MAC_BYTES: Final = 16

# 64 MiB and about 0.2 s: restic's own calibration arrives at these on many machines.
SCRYPT_N: Final = 1 << 16
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
_SCRYPT_MEMORY_LIMIT_BYTES: Final = (1 << 31) - 2
# What all passes read and write; 64 times as much as ours, which takes some ten seconds.
_SCRYPT_WORK_LIMIT_BYTES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The three keys that seal everything in one repository; `repr` never shows them."""

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    def __repr__(self) -> str:
        return "MasterKey(...)"

    @classmethod
    def generate(cls) -> MasterKey:
        return cls(os.urandom(32), os.urandom(16), os.urandom(16))


class Sealer:
    """Seals and opens containers with one key; holds cipher contexts, so one per thread."""

    def __init__(self, key: MasterKey) -> None:
        self._mac_r = key.mac_r
        # One block each time: the format's way from an IV to a Poly1305 key.
        self._nonce: CipherContext = Cipher(AES(key.mac_k), ECB()).encryptor()  # noqa: S305
        self._stream: CipherContext = Cipher(AES(key.encrypt), CTR(bytes(16))).encryptor()

    def seal(self, plaintext: bytes | bytearray | memoryview) -> bytearray:
        """The container of `plaintext`, 32 bytes longer, under a fresh random IV."""
        sealed = bytearray(len(plaintext) + OVERHEAD_BYTES)
        with memoryview(sealed) as view:
            self.seal_into(view, plaintext)
        return sealed

    def seal_into(self, target: memoryview, plaintext: bytes | bytearray | memoryview) -> None:
        """Like `seal`, into memory of the very length."""
        initial = os.urandom(_IV_BYTES)
        while not any(initial):
            initial = os.urandom(_IV_BYTES)
        end = _IV_BYTES + len(plaintext)
        target[:_IV_BYTES] = initial
        self._stream.reset_nonce(initial)
        self._stream.update_into(plaintext, target[_IV_BYTES:])
        key = self._mac_r + self._nonce.update(initial)
        target[end:] = Poly1305.generate_tag(key, target[_IV_BYTES:end])

    def open(self, sealed: bytes | bytearray | memoryview, subject: str = "") -> bytes:
        """The plaintext of a container; IntegrityError when the seal does not hold."""
        view = memoryview(sealed)
        end = len(view) - _MAC_BYTES
        if end < _IV_BYTES:
            raise IntegrityError("too short to be sealed", subject=subject)
        initial = bytes(view[:_IV_BYTES])
        ciphertext = view[_IV_BYTES:end]
        key = self._mac_r + self._nonce.update(initial)
        try:
            Poly1305.verify_tag(key, ciphertext, bytes(view[end:]))
        except InvalidSignature:
            raise IntegrityError("the seal does not hold", subject=subject) from None
        self._stream.reset_nonce(initial)
        return self._stream.update(ciphertext)


def derive_key(password: str, salt: bytes, n: int, r: int, p: int) -> MasterKey:
    """The user key that scrypt makes of a password; it seals the master key in a key file."""
    material = hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=n,
        r=r,
        p=p,
        maxmem=_SCRYPT_MEMORY_LIMIT_BYTES,
        dklen=64,
    )
    return MasterKey(material[:32], material[32:48], material[48:])


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file says openly, and the master key that it seals. `created` is as it stands
    there: text of whoever wrote the file, which nothing vouches for."""

    created: str
    username: str
    hostname: str
    n: int
    r: int
    p: int
    salt: bytes
    sealed: bytes

    def open(self, password: str, subject: str) -> MasterKey | None:
        """The master key, or None when the password is not this key's; IntegrityError
        `key-damaged` when what is sealed is no key."""
        try:
            user_key = derive_key(password, self.salt, self.n, self.r, self.p)
        except (ValueError, MemoryError):
            # Not every pair of N and r exists. The cause is left out: it could quote the password.
            reason = "its parameters are none of scrypt, or there is no memory for them"
            raise _damaged_key(subject, reason) from None
        try:
            inner = Sealer(user_key).open(self.sealed)
        except IntegrityError:
            return None
        return decode_master_key(inner, subject)


def encode_master_key(master: MasterKey) -> str:
    """The JSON of a master key, as key files seal it."""
    fields = {
        "mac": {"k": _base64(master.mac_k), "r": _base64(master.mac_r)},
        "encrypt": _base64(master.encrypt),
    }
    return json.dumps(fields, separators=(",", ":"))


def decode_master_key(content: str | bytes, subject: str) -> MasterKey:
    """The master key that JSON holds; IntegrityError `key-damaged` when it is none."""
    try:
        keys = parse_json(content if isinstance(content, bytes) else content.encode())
        master = MasterKey(
            base64.b64decode(keys["encrypt"], validate=True),
            base64.b64decode(keys["mac"]["k"], validate=True),
            base64.b64decode(keys["mac"]["r"], validate=True),
        )
    except MALFORMED:
        # The cause is left out on purpose: it could quote key material.
        raise _damaged_key(subject, "this is not a master key") from None
    lengths = (len(master.encrypt), len(master.mac_k), len(master.mac_r))
    if lengths != (32, 16, 16) or not any(master.encrypt) or not any(master.mac_k):
        raise _damaged_key(subject, "this is not a master key")
    return master


def encode_key_file(master: MasterKey, password: str, username: str, hostname: str) -> bytes:
    """A new key file (JSON) that opens `master` with `password`."""
    salt = os.urandom(64)
    user_key = derive_key(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    fields = {
        "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "username": username,
        "hostname": hostname,
        "kdf": "scrypt",
        "N": SCRYPT_N,
        "r": SCRYPT_R,
        "p": SCRYPT_P,
        "salt": _base64(salt),
        "data": _base64(Sealer(user_key).seal(encode_master_key(master).encode())),
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_key_file(content: bytes, subject: str) -> KeyFile:
    """What a key file says; no password is needed for that.

    IntegrityError `key-damaged` when the file is no key file or names parameters that no tool
    would write (an attacker could otherwise ask for any amount of memory).
    """
    try:
        fields = parse_json(content)
        if fields["kdf"] != "scrypt":
            raise ValueError("unknown key derivation")
        n, r, p = int(fields["N"]), int(fields["r"]), int(fields["p"])
        salt = base64.b64decode(fields["salt"], validate=True)
        sealed = base64.b64decode(fields["data"], validate=True)
        if len(salt) != 64 or n < 2 or n & (n - 1) or r < 1 or p < 1:
            raise ValueError("parameters out of range")
        if 128 * r * (n + p + 2) > _SCRYPT_MEMORY_LIMIT_BYTES:
            raise ValueError("parameters ask for too much memory")
        if 128 * r * n * p > _SCRYPT_WORK_LIMIT_BYTES:
            raise ValueError("parameters ask for too much work")
        created, username, hostname = (
            _readable(fields.get(name)) for name in ("created", "username", "hostname")
        )
    except MALFORMED as error:
        raise _damaged_key(subject, why(error)) from error
    return KeyFile(created, username, hostname, n, r, p, salt, sealed)


def open_key_file(content: bytes, password: str, subject: str) -> MasterKey | None:
    """The master key, or None when the password is not this key's; errors as `decode_key_file`."""
    return decode_key_file(content, subject).open(password, subject)


def _readable(told: object) -> str:
    """What a key file says of itself, as text that can be written anywhere."""
    return str(told or "").encode("utf-8", "replace").decode()


def _base64(content: bytes | bytearray) -> str:
    return base64.b64encode(content).decode("ascii")


def _damaged_key(subject: str, reason: str) -> IntegrityError:
    return IntegrityError(reason, subject=subject, code="key-damaged")
