"""Secrets in all the forms in which a program may print them."""

from __future__ import annotations

import pytest

from strongroom.recovery.application_probe import hush
from strongroom.recovery.secrecy import secrets_in

SECRET = "p@ss/w:rd+ü 1"


@pytest.mark.parametrize(
    "printed",
    [
        SECRET,
        "p%40ss%2Fw%3Ard%2B%C3%BC%201",
        "p%40ss%2fw%3ard%2b%c3%bc%201",
        "p%40ss%2Fw%3Ard%2B%C3%BC+1",
        "p%40ss/w%3Ard%2B%C3%BC%201",
        "p@ss/w:rd+\\u00fc 1",
    ],
)
def test_no_form_of_a_secret_is_repeated(printed: str) -> None:
    assert hush(f"at ({printed})!", [SECRET]) == "at (***)!"


def test_no_line_of_a_secret_is_repeated() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqh\nab\n-----END PRIVATE KEY-----\n"
    assert hush("it read MIIEvQIBADANBgkqh and ab", [key]) == "it read *** and ab"


SETTINGS = """\
APP_ENV=production
APP_DEBUG=false
APP_URL=https://training.example.ae/start
UPLOADS=/srv/tms/uploads
DB_HOST=db.example.ae
DB_PORT=5432
export DB_PASSWORD="short1"
STRIPE=sk_live_4242
CACHE_URL=redis://:hunter2@cache:6379
API_TOKEN={secret.token}
mail_pass: 'with space'
    'password' => env('DB_PASS', 'fallback-word'),
define('AUTH_SALT', 'grains');
"""


def test_what_may_be_secret_in_a_settings_file() -> None:
    found = secrets_in(SETTINGS)
    for one in (
        "short1",
        "sk_live_4242",
        "redis://:hunter2@cache:6379",
        "with space",
        "fallback-word",
        "grains",
    ):
        assert one in found, one
    ordinary = (
        "production", "false", "https://training.example.ae/start", "/srv/tms/uploads",
        "db.example.ae", "5432", "{secret.token}", "AUTH_SALT", "password",
    )  # fmt: skip
    assert not set(ordinary) & set(found)
