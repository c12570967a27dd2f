"""Addresses of databases: parsed once, their password hidden, and whose fault a failure is."""

from __future__ import annotations

import pytest

from strongroom.errors import ConfigError
from strongroom.postgres.connection import Connection, parse_connection

VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGOPTIONS", "PGSSLMODE")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://backup:s3cret@db.example.com:60/tms", "tms at db.example.com:60 as backup"),
        ("postgres://backup@db.example.com/tms", "tms at db.example.com:5432 as backup"),
        ("host=db.example.com dbname=tms user=backup password='s3 cret'",
         "tms at db.example.com:5432 as backup"),
        ("postgresql://backup@/tms?host=/run/pg", "tms at /run/pg as backup"),
        ("postgresql://backup@[::1]:6000/tms", "tms at ::1:6000 as backup"),
        ("dbname=tms user=backup", "tms at local socket as backup"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    connection = parse_connection(text)
    assert connection.describe() == shown
    assert "cret" not in repr(connection)
    assert "cret" not in connection.database_argument()


def test_an_explicit_password_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://u:inner@h/d"
    assert parse_connection(url).password == "inner"
    assert parse_connection(url, password="outer").password == "outer"
    monkeypatch.setenv("PGPASSWORD", "ambient")
    assert parse_connection("postgresql://u@h/d").password == "ambient"
    assert parse_connection(url).password == "inner"


def test_children_get_the_address_and_nothing_else_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = parse_connection(
        "postgresql://u:p%40ss@h:6000/d?sslmode=verify-full&sslrootcert=/ca.pem&keepalives_idle=7"
    )
    monkeypatch.setenv("PGOPTIONS", "-c search_path=evil")
    monkeypatch.setenv("PGSERVICE", "other")
    monkeypatch.setenv("PGPASSFILE", "/kept")
    environment = connection.environment()
    found = {name: value for name, value in environment.items() if name.startswith("PG")}
    assert found == {
        "PGHOST": "h", "PGPORT": "6000", "PGUSER": "u", "PGDATABASE": "d", "PGPASSWORD": "p@ss",
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem", "PGPASSFILE": "/kept",
        "PGAPPNAME": "strongroom", "PGCONNECT_TIMEOUT": "15",
    }  # fmt: skip
    assert "keepalives_idle=7" in connection.database_argument()
    assert environment["LC_ALL"] == "C"


def test_what_the_address_leaves_open_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "from.environment")
    monkeypatch.setenv("PGSSLMODE", "require")
    connection = parse_connection("postgresql://u@/d")
    assert connection.host == "from.environment"
    assert connection.wants_tls
    assert parse_connection("postgresql://u@own/d").host == "own"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "Write it as"),
        ("   ", "Write it as"),
        ("postgresql://u:pa#ss@h:port/d", "Percent-encode"),
        ("postgresql://u:pa%ss@h/d", "Percent-encode"),
        ("postgresql://u:pa@ss@h/d", "Percent-encode"),
        ("host=h port=pass@", "Write it as"),
        ("postgresql://u:pass@h/d?pgbouncer=true", "Remove pgbouncer"),
        ("nonsense", "Write it as"),
        ("host=h passwort=pass", "Remove passwort"),
        ("host=h sslpassword=pass", "without a passphrase"),
    ],
)
def test_a_malformed_address_is_refused_without_quoting_it(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connection(text)
    assert hint in caught.value.hint
    assert "pass@" not in str(caught.value)
    assert "pa#ss" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('FATAL:  password authentication failed for user "u"', "database-login"),
        ('FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen', "database-login"),
        ("FATAL:  Tenant or user not found", "database-login"),
        ('FATAL:  role "u" does not exist', "database-login"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "u", database "d", no encryption',
         "database-login"),
        ("fe_sendauth: no password supplied", "database-login"),
        ('FATAL:  database "d" does not exist', "database-missing"),
        ("connection failed: Connection refused", "database-unreachable"),
        ("connection timeout expired", "database-unreachable"),
        ('could not translate host name "x" to address: Name or service not known',
         "database-unreachable"),
        ("FATAL:  sorry, too many clients already", "database-unreachable"),
        ("FATAL:  the database system is starting up", "database-unreachable"),
        ("server does not support SSL, but SSL was required", "database-unreachable"),
        ("SSL error: certificate verify failed", "database-unreachable"),
    ],
)  # fmt: skip
def test_a_refusal_says_who_must_act(text: str, code: str) -> None:
    connection = Connection({"host": "h", "user": "u", "dbname": "d"}, "hush")
    error = connection.refusal(f"connection to server at h failed: {text} hush")
    assert error.code == code
    assert "hush" not in str(error)


def test_the_pooler_of_supabase_gets_no_gssapi_request() -> None:
    pooled = parse_connection("postgresql://u@aws-0-eu.pooler.supabase.com/postgres")
    assert pooled.parameters["gssencmode"] == "disable"
    assert "gssencmode" not in parse_connection("postgresql://u@db.example.com/d").parameters
