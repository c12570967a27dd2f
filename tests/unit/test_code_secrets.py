"""What looks like a secret, what does not, and that neither is ever repeated."""

from __future__ import annotations

import pytest

from strongroom.sources.code_secrets import content_kinds, holds_private_key, name_kind

# In pieces, so that scanners of this repository stay quiet.
AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB_TOKEN = "ghp_" + "a1B2" * 9
STRIPE_KEY = "sk_live_" + "a1b2c3d4e5f6g7h8i9j0k1l2"
_HEAD, _BODY, _SEAL = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
    "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ",
    "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
)
JSON_TOKEN = f"{_HEAD}.{_BODY}.{_SEAL}"
KEY_LINE = "-----BEGIN " + "OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("path", "line", "kind"),
    [
        ("config/db.php", "  'password' => 's3cretPass!',", "password or key"),
        ("config/db.php", '$dbPass = "s3cretPass!";', "password or key"),
        ("wp-config.php", "define('DB_PASSWORD', 'hunter22');", "constant"),
        ("config/api.php", "'auth_token' => 'abcd1234abcd1234abcd',", "token"),
        (".htaccess", "SetEnv DB_PASSWORD hunter22", "environment variable"),
        ("config.ini", "password = hunter22", "password or key"),
        ("config.yaml", "password: hunter22", "password or key"),
        ("app.php", "'url' => 'https://amina:hunter22@example.com/'", "password in a URL"),
        ("a", AWS_KEY, "AWS Access Key"),
        ("a", GITHUB_TOKEN, "GitHub Token"),
        ("a", STRIPE_KEY, "Stripe Access Key"),
        ("a", JSON_TOKEN, "JSON Web Token"),
        ("a", KEY_LINE, "private key"),
    ],
)
def test_secrets_are_found_by_kind(path: str, line: str, kind: str) -> None:
    assert content_kinds(path, [b"<?php", line.encode()]) == [f"{kind} in line 2"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("config/db.php", "'password' => env('DB_PASSWORD'),"),
        ("config/db.php", "$password = getenv('DB_PASSWORD');"),
        ("config/db.php", "'password' => '${DB_PASSWORD}',"),
        ("config.yaml", "password: ${DB_PASSWORD}"),
        ("wp-config.php", "define('DB_HOST', 'localhost');"),
        ("config/app.php", "'version' => '3da3358b4dc173deadbeef3da3358b4dc173dead',"),
        ("config/app.php", "'csrf_token_name' => 'my_csrf_token_field',"),
        ("config/app.php", "'password_reset_url' => '/reset',"),
        ("form.php", '<input type="password" name="password">'),
        (".htaccess", "SetEnv APP_ENV production"),
        (".htaccess", "AuthUserFile /etc/apache2/users"),
        ("a", "-----BEGIN CERTIFICATE-----"),
    ],
)
def test_references_and_harmless_lines_are_not(path: str, line: str) -> None:
    assert content_kinds(path, [line.encode()]) == []


def test_the_secret_itself_is_not_repeated() -> None:
    [said] = content_kinds("config/db.php", [b"'password' => 'hunter22xyz',"])
    assert "hunter22" not in said


def test_other_encodings_and_comments_hide_nothing() -> None:
    latin = "'passwort' => 'grün', 'password' => 'hunter22',".encode("latin-1")
    assert content_kinds("a.php", [latin]) == ["password or key in line 1"]
    allowed = b"'password' => 'hunter22', // pragma: allowlist secret"
    assert content_kinds("a.php", [allowed]) == ["password or key in line 1"]


def test_binary_files_are_searched_for_private_keys_only() -> None:
    assert content_kinds("a", [b"\0\1\n", b"password = hunter22\n"]) == []
    assert content_kinds("a", [b"\0\1\n", KEY_LINE.encode()]) == ["private key in line 2"]
    assert holds_private_key(b"x\n" + KEY_LINE.encode())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".env", "environment file with secrets"),
        ("deep/.env.production", "environment file with secrets"),
        ("prod.env", "environment file with secrets"),
        (".ENV", "environment file with secrets"),
        ("keys/id_ed25519", "private SSH key"),
        ("site.p12", "key store"),
        (".htpasswd", "password file"),
        (".pgpass", "password file"),
        (".aws/credentials", "credentials file"),
        (".env.example", None),
        (".env.dist", None),
        ("id_rsa.pub", None),
        ("environment.php", None),
        (".htaccess", None),
        ("config/credentials.php", None),
    ],
)
def test_some_names_say_enough(path: str, kind: str | None) -> None:
    assert name_kind(path) == kind


def test_secrets_far_out_in_a_line_or_in_wide_characters_are_found() -> None:
    minified = b"x" * 50_000 + b" " + GITHUB_TOKEN.encode() + b" " + b"y" * 50_000
    assert content_kinds("a.js", [minified]) == ["GitHub Token in line 1"]
    wide = '<?php\n$dbPass = "s3cretPass!";\n'.encode("utf-16")
    lines = wide.splitlines(keepends=True)
    assert content_kinds("db.php", lines) == ["password or key in line 2"]
