"""Containers and key files, against published vectors and a second composition of primitives."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from strongroom.errors import IntegrityError
from strongroom.repository.crypto import (
    OVERHEAD_BYTES,
    MasterKey,
    Sealer,
    encode_key_file,
    open_key_file,
)
from tests.support.repository_ground import PASSWORD, key_file, seal

# Appendix B of Bernstein's paper on Poly1305-AES: message, k, r, nonce, authenticator.
POLY1305_AES = [
    ("f3f6", "ec074c835580741701425b623235add6", "851fc40c3467ac0be05cc20404f3f700",
     "fb447350c4e868c52ac3275cf9d4327e", "f4c633c3044fc145f84f335cb81953de"),
    ("", "75deaa25c09f208e1dc4ce6b5cad3fbf", "a0f3080000f46400d0c7e9076c834403",
     "61ee09218d29b0aaed7e154a2c5509cc", "dd3fab2251f11ac759f0887129cc2ee7"),
    ("663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
     "6acb5f61a7176dd320c5c1eb2edcdc74", "48443d0bb0d21109c89a100b5ce2c208",
     "ae212a55399729595dea458bc621ff0e", "0ee1c16bb73f0f4fd19881753c01cdbe"),
    ("ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0"
     "990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9",
     "e1a5668a4d5b66a5f68cc5424ed5982d", "12976a08c4426d0ce8a82407c4f48207",
     "9ae831e743978d3a23527c7128149e3a", "5154ad0d2cb26e01274fc51148491f1b"),
]  # fmt: skip

# NIST SP 800-38A, F.5.5: AES-256 in counter mode.
CTR_KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
CTR_COUNTER = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
CTR_PLAIN = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
CTR_CIPHER = "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"


def master() -> tuple[bytes, bytes, bytes]:
    return os.urandom(32), os.urandom(16), os.urandom(16)


@pytest.mark.parametrize(("message", "k", "r", "nonce", "tag"), POLY1305_AES)
def test_a_seal_is_poly1305_aes(message: str, k: str, r: str, nonce: str, tag: str) -> None:
    key = os.urandom(32)
    sealer = Sealer(MasterKey(key, bytes.fromhex(k), bytes.fromhex(r)))
    container = bytes.fromhex(nonce + message + tag)
    expected = Cipher(AES(key), CTR(bytes.fromhex(nonce))).decryptor()
    assert sealer.open(container) == expected.update(bytes.fromhex(message))


def test_the_stream_is_aes_256_counting_from_the_whole_iv() -> None:
    key = (bytes.fromhex(CTR_KEY), os.urandom(16), os.urandom(16))
    container = seal(key, bytes.fromhex(CTR_PLAIN), bytes.fromhex(CTR_COUNTER))
    assert container[16:-16].hex() == CTR_CIPHER
    assert Sealer(MasterKey(*key)).open(container).hex() == CTR_PLAIN


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096, 1 << 20])
def test_what_is_sealed_opens_and_other_primitives_agree(size: int) -> None:
    key, plain = master(), os.urandom(size)
    sealer = Sealer(MasterKey(*key))
    sealed = bytes(sealer.seal(plain))
    assert len(sealed) == size + OVERHEAD_BYTES
    assert sealed == seal(key, plain, sealed[:16])
    assert sealer.open(sealed) == plain
    assert sealer.open(seal(key, plain)) == plain


def test_every_seal_has_a_new_iv() -> None:
    sealer = Sealer(MasterKey(*master()))
    assert len({bytes(sealer.seal(b"same")[:16]) for _ in range(100)}) == 100


def test_every_single_bit_counts() -> None:
    sealer = Sealer(MasterKey(*master()))
    sealed = bytes(sealer.seal(b"eight by"))
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises(IntegrityError):
                sealer.open(changed)
    for size in range(len(sealed)):
        with pytest.raises(IntegrityError):
            sealer.open(sealed[:size])


def test_another_key_opens_nothing() -> None:
    with pytest.raises(IntegrityError, match="does not hold"):
        Sealer(MasterKey(*master())).open(Sealer(MasterKey(*master())).seal(b"secret"))


def test_a_key_does_not_show_itself() -> None:
    key = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)
    assert "e" * 4 not in f"{key!r} {key}"


# Key files


def test_our_key_file_opens_by_its_own_description() -> None:
    made = MasterKey.generate()
    fields = json.loads(encode_key_file(made, PASSWORD, "amina", "host"))
    salt = base64.b64decode(fields["salt"])
    assert len(salt) == 64
    assert (fields["kdf"], fields["username"], fields["hostname"]) == ("scrypt", "amina", "host")
    material = hashlib.scrypt(
        PASSWORD.encode(), salt=salt, n=fields["N"], r=fields["r"], p=fields["p"],
        maxmem=1 << 27, dklen=64,
    )  # fmt: skip
    user = MasterKey(material[:32], material[32:48], material[48:])
    inner = json.loads(Sealer(user).open(base64.b64decode(fields["data"])))
    assert base64.b64decode(inner["encrypt"]) == made.encrypt
    assert base64.b64decode(inner["mac"]["k"]) == made.mac_k
    assert base64.b64decode(inner["mac"]["r"]) == made.mac_r


def test_a_key_file_made_elsewhere_opens() -> None:
    key = master()
    assert open_key_file(key_file(key), PASSWORD, "key") == MasterKey(*key)


def test_a_wrong_password_is_no_damage() -> None:
    content = key_file(master())
    assert open_key_file(content, PASSWORD + " ", "key") is None
    assert open_key_file(content, "", "key") is None


def test_a_password_of_any_bytes_is_possible() -> None:
    key = master()
    salt, odd = os.urandom(64), b"\xff\xfe"
    material = hashlib.scrypt(odd, salt=salt, n=1024, r=8, p=1, dklen=64)
    encrypt, k, r = (base64.b64encode(part).decode() for part in key)
    inner = {"mac": {"k": k, "r": r}, "encrypt": encrypt}
    data = seal((material[:32], material[32:48], material[48:]), json.dumps(inner).encode())
    content = key_file(
        key, salt=base64.b64encode(salt).decode(), data=base64.b64encode(data).decode()
    )
    assert open_key_file(content, os.fsdecode(odd), "key") == MasterKey(*key)


@pytest.mark.parametrize(
    "changed",
    [
        {"kdf": "argon2"},
        {"kdf": None},
        {"N": 0},
        {"N": 1},
        {"N": 1000},
        {"N": 1 << 40},
        {"N": "many"},
        {"N": float("inf")},
        {"N": 2, "r": 1 << 22, "p": 64},
        {"r": 0},
        {"p": 0},
        {"p": 1 << 20},
        {"salt": base64.b64encode(bytes(63)).decode()},
        {"salt": base64.b64encode(bytes(65)).decode()},
        {"salt": "not base64!"},
        {"data": "not base64!"},
        {"data": None},
        {"salt": 7},
    ],
    ids=repr,
)
def test_values_that_no_tool_would_write_are_damage(changed: dict[str, object]) -> None:
    with pytest.raises(IntegrityError) as raised:
        open_key_file(key_file(master(), PASSWORD, **changed), PASSWORD, "keys/ab")
    assert raised.value.code == "key-damaged"
    assert raised.value.exit_status == 33


@pytest.mark.parametrize("key", [(b"", b"k" * 16, b"r" * 16), (b"e" * 32, b"k" * 15, b"r" * 16),
                                 (bytes(32), b"k" * 16, b"r" * 16),
                                 (b"e" * 32, bytes(16), b"r" * 16)])  # fmt: skip
def test_a_sealed_part_that_is_no_key_is_damage(key: tuple[bytes, bytes, bytes]) -> None:
    with pytest.raises(IntegrityError) as raised:
        open_key_file(key_file(key), PASSWORD, "keys/ab")
    assert raised.value.code == "key-damaged"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b'{"kdf":"scrypt"}'])
def test_what_is_no_key_file_is_damage(content: bytes) -> None:
    with pytest.raises(IntegrityError) as raised:
        open_key_file(content, PASSWORD, "keys/ab")
    assert raised.value.code == "key-damaged"
