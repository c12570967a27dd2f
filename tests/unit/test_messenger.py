"""Our own words for what libraries say when a message is not taken, and addresses of mail."""

from __future__ import annotations

import pytest

from strongroom.config.value import check_mail_server, parse_mail_server
from strongroom.service.delivery import mail_url
from strongroom.service.messenger import reason_of
from strongroom.service.ping import ping_url

SECRET = "/services/T0K3N"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([f"POST {SECRET} failed: Internal Server Error, error=500."],
         "the service answered with status 500"),
        ([f"Max retries exceeded with url: {SECRET} (Caused by NewConnectionError("
          "'[Errno 111] Connection refused'))"], "the connection was refused"),
        ([f"SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] {SECRET}'))"],
         "its certificate is not trusted"),
        (["SSLError(SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number'))"],
         "no TLS connection came about"),
        ([f"Read timed out. (read timeout=4.0) {SECRET}"], "it did not answer in time"),
        (["NameResolutionError: Failed to resolve [Errno -2] Name or service not known"],
         "its host's name is not known"),
        (["Socket Exception: (535, b'5.7.8 Error: authentication failed: s3cret')"],
         "the login was refused"),
        (["SMTP recipient op@example.com was refused: 550 b'no such user'"],
         "the mail server refused the recipient (550)"),
        (["Connection reset by peer"], "the connection was cut"),
        (["[Errno 113] No route to host"], "no network leads there"),
        ([f"something new about {SECRET}"], "it was not taken, and no reason was given"),
        ([], "it was not taken, and no reason was given"),
    ],
)  # fmt: skip
def test_reasons_are_ours_and_repeat_nothing(said: list[str], reason: str) -> None:
    assert reason_of(["Connecting ...", *said, "done"]) == reason


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("localhost", ("localhost", 25)),
        ("smtp.internal:2525", ("smtp.internal", 2525)),
        ("[::1]:25", ("[::1]", 25)),
        ("10.0.0.1", ("10.0.0.1", 25)),
    ],
)
def test_mail_servers(text: str, server: tuple[str, int]) -> None:
    assert parse_mail_server(text) == server
    assert check_mail_server(text) == text


@pytest.mark.parametrize("text", ["", "user:pw@host", "host:0", "host:99999", "smtp://x", "a b"])
def test_what_is_no_mail_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST or HOST:PORT"):
        check_mail_server(text)


@pytest.mark.parametrize(
    ("server", "said"),
    [("mail:26", "localhost:26/?smtp=mail"), ("[::1]", "localhost:25/?smtp=%3A%3A1")],
)
def test_a_recipient_is_no_setting_of_the_mail(server: str, said: str) -> None:
    url = mail_url("mailto:a&smtp=evil,b@example.com", server)
    to = "a%26smtp%3Devil%2Cb%40example.com"
    assert url.startswith(f"mailto://{said}&to={to}&from=strongroom%40")
    assert url.count("smtp=") == 1


@pytest.mark.parametrize(
    ("address", "word", "url"),
    [
        ("https://hc/ping/uuid", "start", "https://hc/ping/uuid/start"),
        ("https://hc/ping/uuid/", "fail", "https://hc/ping/uuid/fail"),
        ("https://hc/ping/uuid?create=1", "fail", "https://hc/ping/uuid/fail?create=1"),
        ("https://hc/ping/uuid?create=1", "", "https://hc/ping/uuid?create=1"),
    ],
)
def test_words_of_a_ping_stand_at_the_end_of_the_path(address: str, word: str, url: str) -> None:
    assert ping_url(address, word) == url
