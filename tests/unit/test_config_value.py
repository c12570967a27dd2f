"""The small languages of a configuration: what they accept, what they refuse, what they say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.config import value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("24h", timedelta(hours=24)),
        ("30d", timedelta(days=30)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read_and_written_back(text: str, expected: timedelta) -> None:
    assert value.parse_duration(text) == expected
    assert value.format_duration(expected) == text


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5h", "5 m", "1h30m", "7w", "9" * 30 + "d"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        value.parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_every_written_duration_reads_as_itself(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    assert value.parse_duration(value.format_duration(span)) == span


@given(st.integers(min_value=0, max_value=2**60))
def test_every_written_size_reads_as_itself(size_bytes: int) -> None:
    assert value.parse_size(value.format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "expected"), [("7", 7), ("7B", 7), ("10MiB", 10 * 2**20), ("2GiB", 2**31)]
)
def test_sizes_are_powers_of_two(text: str, expected: int) -> None:
    assert value.parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "10MB", "10 MiB", "-1", "1.5GiB", "MiB"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        value.parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["env:A_1", "file:/etc/key", "file:rel/key", "command:pass show x", "keyring:tms/backup"],
)
def test_references_are_kept_as_they_are(text: str) -> None:
    assert value.check_reference(text) == text


@pytest.mark.parametrize(
    "text",
    ["s3cret", "", "env:", "env:1A", "env:A B", "file:  ", "keyring:tms", "vault:x", "file://h/x"],
)
def test_a_literal_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        value.check_reference(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:s3cret@db/tms",
        "postgresql://app@db/tms?password=s3cret",
        "postgres://app@db/tms?sslmode=require&sslpassword=s3cret",
        "host=db user=app password=s3cret",
        "host=db PASSWORD = s3cret",
    ],
)
def test_a_password_in_a_url_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="holds a password") as caught:
        value.check_database_url(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "env:DATABASE_URL",
        "postgresql://app@db:5432/tms?sslmode=require",
        "postgresql://app@db1:5432,[::1]:5433,/tms",
        "postgresql:///tms?host=/run/postgresql",
        "host=db user=app dbname=tms",
    ],
)
def test_a_database_is_named_without_a_password(text: str) -> None:
    assert value.check_database_url(text) == text


@pytest.mark.parametrize(
    "text", ["tms", "mysql://db/tms", "", "postgresql://[db/tms", "postgresql://u:s3/cret@db/tms"]
)
def test_what_is_no_address_of_a_database_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|database"):
        value.check_database_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app@db",
        "postgresql://app@db:5432/",
        "postgresql://app@db/?sslmode=require",
        "postgresql:///?host=/run/postgresql&dbname=",
        "host=db user=app",
        "host=db dbname=",
        "host=db dbname=''",
    ],
)
def test_an_address_without_a_database_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no database; name it"):
        value.check_database_url(text)


@pytest.mark.parametrize(
    "text",
    ["postgresql://?service=tms", "postgresql://db?dbname=tms", "dbname = tms", "dbname='a b'"],
)
def test_a_database_may_be_named_in_other_ways(text: str) -> None:
    assert value.check_database_url(text) == text


@pytest.mark.parametrize("text", ["/etc", "../x", "a/../../x", "..", "", " ", "a\0b"])
def test_a_path_that_leaves_its_folder_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="inside of the source"):
        value.check_inside(text)


@pytest.mark.parametrize("text", ["lpos", "lpos/2026", "..a/b..", "a b"])
def test_a_path_below_its_folder_is_kept(text: str) -> None:
    assert value.check_inside(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "/backup/tms",
        "backup",
        "s3:https://s3.example.com/bucket/prefix",
        "s3:s3.example.com/bucket",
        "sftp:backup@host:/srv/tms",
        "sftp:host:/srv/tms",
        "sftp://backup@host:2222//srv/tms",
        "sftp:backup@host:/srv/a@b/tms",
        "s3:https://[2001:db8::1]:9000/bucket",
        "/backup/a@b:c",
        "rest:https://host:8000/tms/",
    ],
)
def test_locations_take_the_forms_that_restic_takes(text: str) -> None:
    assert value.check_location(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3:https://host", "bucket"),
        ("s3:", "URL"),
        ("rest:https://u:s3cret@host/", "credentials"),
        ("rest:https://s3cret@host/", "credentials"),
        ("rest:https://host/tms?token=s3cret", "nothing after"),
        ("rest:https://host/tms#s3cret", "nothing after"),
        ("rest:https://u:s3/cret@host/", "valid URL"),
        ("rest:https://[u:s3cret@host/", "valid URL"),
        ("s3:https://u:s3cret@host/bucket", "credentials"),
        ("s3:u:s3cret@host/bucket", "credentials"),
        ("s3:https://host/bucket?X-Amz-Signature=s3cret", "nothing after"),
        ("sftp:u:s3cret@h:/x", "credentials"),
        ("sftp:u:s3/cret@h:/x", "credentials"),
        ("sftp:u%3As3cret@h:/x", "credentials"),
        ("sftp://u:s3cret@h/x", "credentials"),
        ("sftp://u:s3cret@h:22//x", "credentials"),
        ("sftp://u@h/x?password=s3cret", "nothing after"),
        ("SFTP:u:s3cret@h:/x", "credentials"),
        ("u_1:s3cret@h:/x", "credentials"),
        ("https://u:s3cret@h/x", "credentials"),
        ("S3:https://h/bucket", "not a kind of store"),
        ("sftp:host", "sftp:USER@HOST:/PATH"),
        ("ftp:host/x", "not a kind of store"),
        ("", "path"),
    ],
)
def test_what_is_not_a_location_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        value.check_location(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["0 2 * * *", "*/15 8-18 * * 1-5", "0 0 1 */3 *", "30 4 * * SUN"])
def test_schedules_have_five_fields(text: str) -> None:
    assert value.check_schedule(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 2 * *", "this one has 4"),
        ("0 0 2 * * *", "this one has 6"),
        ("0 25 * * *", "bad hour"),
        ("0 2 * * 9", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("@daily", "this one has 1"),
    ],
)
def test_what_is_not_a_schedule_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        value.check_schedule(text)


@pytest.mark.parametrize("text", ["UTC", "Asia/Dubai", "Europe/Berlin"])
def test_time_zones_are_known_by_name(text: str) -> None:
    assert value.check_time_zone(text) == text


@pytest.mark.parametrize("text", ["Asia/Dubay", "", "../etc/passwd", "/etc/localtime", "Asia"])
def test_unknown_time_zones_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        value.check_time_zone(text)
