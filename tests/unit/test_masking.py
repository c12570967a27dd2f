"""What records keep of what people type: no login's password, nothing that is called a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.service.masking import (
    cut,
    masked,
    masked_commands,
    masked_prose,
    masked_reference,
)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("latest:uploads", "latest:uploads"),
        ("/srv/tms/uploads/a@b.txt", "/srv/tms/uploads/a@b.txt"),
        ("env:RESTORE_URL", "env:RESTORE_URL"),
        ("postgresql://db.example.com/tms", "postgresql://db.example.com/tms"),
        ("postgresql://tms@db.example.com/tms", "postgresql://tms@db.example.com/tms"),
        ("postgresql://tms:secret@db.example.com/tms", "postgresql://tms:***@db.example.com/tms"),
        ("postgresql://tms:a/b@c@db/tms", "postgresql://tms:***@db/tms"),
        ("postgresql:///tms?password=abc&x=1", "postgresql:///tms?password=***"),
        ("https://token@example.com/", "https://***@example.com/"),
        ("host=db password=abc dbname=tms", "host=db password=***"),
        ("PGPASSWORD=abc", "PGPASSWORD=***"),
        ("api-key api_key = abc", "api-key api_key = ***"),
        ("mailto:ops@example.com", "mailto:ops@example.com"),
        ("s3:https://s3.example.com/bucket/prefix", "s3:https://s3.example.com/bucket/prefix"),
    ],
)
def test_words(given: str, kept: str) -> None:
    assert masked(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ticket 17: asked by amina@example.com", "Ticket 17: asked by amina@example.com"),
        ("see https://wiki/x and ask bob@x", "see https://wiki/x and ask bob@x"),
        ("into postgresql://u:p@h/d, then", "into postgresql://u:***@h/d, then"),
        ("the password=abc was lost, ticket 17", "the password=*** was lost, ticket 17"),
        ("token = abc and pwd=def: ticket 17", "token = *** and pwd=*** ticket 17"),
        ("password=\"a b\" of 'x', ticket 17", "password=*** of 'x', ticket 17"),
        ("password='it\\'s a b' ticket 17", "password=*** ticket 17"),
        ("password=a\\ b\"c d\"'e f' ticket 17", "password=*** ticket 17"),
        # Where it ends is not sure.
        ('password="a b, ticket 17', "password=***"),
        ("password=it's a b", "password=***"),
        ("password={a b} ticket 17", "password=***"),
        ("password=“a b” ticket 17", "password=***"),
        ("password=$(cat a b) ticket 17", "password=***"),
        ("password=a\\", "password=***"),
        ("the password was lost", "the password was lost"),
    ],
)
def test_prose(given: str, kept: str) -> None:
    assert masked_prose(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("env:NAME", "env:NAME"),
        ("keyring:tms/local", "keyring:tms/local"),
        ("command:pass", "command:pass"),
        ("command:pass show abc", "command:pass …"),
        ("hunter2", "***"),
        ("file://u:p@host/x", "***"),
        ("", "***"),
        # Somebody typed the passphrase itself behind a scheme.
        ("env:six words of a passphrase", "env:***"),
        ("env:pass-word", "env:***"),
        ("keyring:six words", "keyring:***"),
        ("keyring:service/user", "keyring:service/user"),
        ("file:/a b", "file:/a b"),
    ],
)
def test_references(given: str, kept: str) -> None:
    assert masked_reference(given) == kept


def test_long_texts_are_cut_and_bytes_that_are_no_text_escaped() -> None:
    assert cut("x" * 400) == "x" * 400
    assert cut("x" * 401) == "x" * 399 + "…"
    assert cut("\udcff") == "\\udcff"


@given(
    st.sampled_from(["password={}", "PGPASSWORD = {}", "a token={} b=c", "secret={}\tticket 17"]),
    st.text("ab= \\\"'", max_size=8).map(lambda one: f"»{one}«"),
    st.sampled_from("\"'"),
)
def test_nothing_in_quotes_survives_in_prose(form: str, secret: str, quote: str) -> None:
    quoted = quote + secret.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote
    kept = masked_prose(form.format(quoted))
    assert "»" not in kept
    assert "«" not in kept


@given(
    scheme=st.sampled_from(["postgresql", "postgres", "https", "s3:https", "ftp"]),
    user=st.text("abc_.-", max_size=5),
    password=st.text("secrET%/@: ?#&='\"", min_size=1).map(lambda one: f"»{one}«"),
    host=st.text("host.", max_size=8),
)
def test_no_password_of_a_url_survives(scheme: str, user: str, password: str, host: str) -> None:
    kept = masked(f"{scheme}://{user}:{password}@{host}/tms")
    assert "»" not in kept
    assert "«" not in kept
    assert kept.endswith(f"@{host}/tms")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("systemctl stop nginx", "systemctl stop nginx"),
        ("PGPASSWORD=$TMS psql", "PGPASSWORD=$TMS psql"),
        ('PGPASSWORD="${TMS}" psql', 'PGPASSWORD="${TMS}" psql'),
        ("DB_PASSWORD={database.password}", "DB_PASSWORD={database.password}"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("PGPASSWORD=$TMS TOKEN=hunter2 x", "PGPASSWORD=*** TOKEN=*** x"),
        ("PGPASSWORD=$TMS curl https://a:hunter2@h/", "PGPASSWORD=$TMS curl https://a:***@h/"),
        ("git clone git@example.com:tms/app", "git clone git@example.com:tms/app"),
        ("a\nTOKEN=hunter2\nb", "a\nTOKEN=***\nb"),
    ],
)
def test_lines_of_commands(given: str, kept: str) -> None:
    """What only leads to a secret stays, so that commands stay commands."""
    assert masked_commands(given) == kept
