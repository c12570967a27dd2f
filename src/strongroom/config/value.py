"""The small languages inside a configuration: durations, sizes, references, URLs, schedules.

Pure functions from text to value and back. Every one raises `ValueError` whose text says what is
wanted and never repeats what may be a secret (invariant I6). Knows nothing of files or models.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from strongroom.expectation import COMPARISONS, Expectation, Wanted, as_number

REFERENCE_SCHEMES: Final = ("env", "file", "command", "keyring")

# What is written in the place of a schedule for what is not to run by itself.
NEVER: Final = "never"

DURATION_PATTERN: Final = r"^\d+[smhd]$"
SIZE_PATTERN: Final = r"^\d+(B|KiB|MiB|GiB|TiB)?$"
REFERENCE_PATTERN: Final = r"^(env|file|command|keyring):.+$"

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNIT_BYTES: Final = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# One host of a URL with its port.
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_SERVER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
# A name and a password before a host, with a slash in the password, too.
_BARE_PASSWORD: Final = re.compile(
    r"[^/:@]*:([^/@]*@|[^@]*@[^/:@]+:)|[^/:@]*%3a[^/:@]*@", re.IGNORECASE
)
_YOUNGER: Final = re.compile(r"younger\s+than\s+(\S+)")
_OPERATOR: Final = re.compile(r"[<>=!~]+")
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUESTIONS: Final = ("select", "with", "values", "table")
_PASSWORD_WORD: Final = re.compile(r"(^|\s)(password|sslpassword)\s*=", re.IGNORECASE)


def parse_duration(text: str) -> timedelta:
    """A whole number with its unit: `30s`, `10m`, `24h`, `30d`."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("a duration is a whole number with s, m, h or d, such as 30s, 24h or 7d")
    try:
        return timedelta(seconds=int(text[:-1]) * _UNIT_SECONDS[text[-1]])
    except OverflowError:
        raise ValueError("a duration of more than two million years cannot be kept") from None


def format_duration(span: timedelta) -> str:
    """The shortest text that `parse_duration` reads as the same span."""
    seconds = int(span.total_seconds())
    for unit in ("d", "h", "m"):
        if unit == "d" and seconds == _UNIT_SECONDS["d"]:
            continue  # a day is written 24h, as objectives are spoken of
        if seconds and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}s"


def parse_size(text: str) -> int:
    """A size in bytes: a whole number, alone or with B, KiB, MiB, GiB or TiB."""
    if not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError("a size is a whole number with B, KiB, MiB, GiB or TiB, such as 256MiB")
    digits = re.match(r"\d+", text)
    assert digits is not None
    return int(digits[0]) * _UNIT_BYTES[text[digits.end() :]]


def parse_share_or_size(text: str) -> float | int:
    """A share above 0 and at most 1, written `10%`, as a float; or a size in bytes, as an int."""
    wanted = "say how much: a share such as 10%, or a size such as 5GiB"
    if text.endswith("%"):
        try:
            share = float(text[:-1]) / 100
        except ValueError:
            raise ValueError(wanted) from None
        if not 0 < share <= 1:
            raise ValueError("a share is above 0% and at most 100%, such as 10%")
        return share
    try:
        size_bytes = parse_size(text)
    except ValueError:
        raise ValueError(wanted) from None
    if not size_bytes:
        raise ValueError("nothing would be read; " + wanted)
    return size_bytes


def check_share_or_size(text: str) -> str:
    """The text of a share or a size, as it stands."""
    parse_share_or_size(text)
    return text


def format_size(size_bytes: int) -> str:
    """The shortest text that `parse_size` reads as the same size."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _UNIT_BYTES[unit] == 0:
            return f"{size_bytes // _UNIT_BYTES[unit]}{unit}"
    return f"{size_bytes}B"


def is_reference(text: str) -> bool:
    """Whether the text says where a secret is kept, instead of being one."""
    scheme, colon, rest = text.partition(":")
    # `file://host/x` and the like are URLs
    return bool(colon) and scheme in REFERENCE_SCHEMES and not rest.startswith("//")


def check_reference(text: str) -> str:
    """The reference itself; a literal secret is refused without being repeated."""
    if not is_reference(text):
        raise ValueError(
            "a secret is never written here; say where it is kept: "
            "env:NAME, file:PATH, command:PROGRAM or keyring:SERVICE/USER"
        )
    scheme, _, rest = text.partition(":")
    if not rest.strip():
        raise ValueError(f"nothing follows `{scheme}:`")
    if scheme == "env" and not _VARIABLE.fullmatch(rest):
        raise ValueError("`env:` is followed by the name of an environment variable")
    if scheme == "keyring" and not all(rest.partition("/")):
        raise ValueError("`keyring:` is followed by SERVICE/USER")
    return text


def check_url(text: str) -> str:
    """A URL or connection string without a password; one with a password is refused."""
    if _PASSWORD_WORD.search(text):
        raise ValueError(_literal("this connection string"))
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        password = parts.password
    except ValueError:
        raise ValueError("this is not a valid URL") from None
    if not all(map(_PORT.fullmatch, parts.netloc.rpartition("@")[2].split(","))):
        # Such as the beginning of a password with a slash in it.
        raise ValueError("this is not a valid URL")
    names = {name.lower() for name, _ in parse_qsl(parts.query)}
    if password or names & {"password", "sslpassword"}:
        raise ValueError(_literal("this URL"))
    return text


def check_database_url(text: str) -> str:
    """A reference, a `postgresql://` URL without password, or a `key=value` connection string."""
    if is_reference(text):
        return check_reference(text)
    check_url(text)
    known = text.startswith(("postgresql://", "postgres://")) or re.match(r"\s*\w+\s*=", text)
    if not known:
        raise ValueError(
            "a database is named by a reference such as env:DATABASE_URL, "
            "or by postgresql://USER@HOST:PORT/DATABASE without a password"
        )
    if not _names_database(text):
        # libpq would take the user's name, and the wrong database could be there.
        raise ValueError(
            "this names no database; name it: postgresql://USER@HOST:PORT/DATABASE, or dbname=NAME"
        )
    return text


def _names_database(text: str) -> bool:
    if "://" not in text:
        return (
            re.search(r"(^|\s)(dbname|service)\s*=\s*[^\s']", text.replace("='", "=")) is not None
        )
    parts = urlsplit(text)
    names = {name for name, given in parse_qsl(parts.query) if given}
    return bool(parts.path.strip("/") or names & {"dbname", "service"})


def check_inside(text: str) -> str:
    """A path relative to the folder that holds it, which it does not leave."""
    parts = text.split("/")
    if not text.strip() or "\0" in text or text.startswith("/") or ".." in parts:
        raise ValueError("this is a path inside of the source: relative to it, and without ..")
    return text


def check_mail_address(text: str) -> str:
    """`mailto:NAME@HOST`, with nothing else that could be a password."""
    if not re.fullmatch(r"mailto:[^@:/?\s,;<>\"]+@[^@:/?\s,;<>\"]+", text):
        raise ValueError("an address reads mailto:NAME@HOST; all else is named by a reference")
    return text


def parse_mail_server(text: str) -> tuple[str, int]:
    """Host and port of `HOST` or `HOST:PORT`; the port of mail is 25."""
    found = _SERVER.fullmatch(text)
    port = int(found[2]) if found is not None and found[2] else 25
    if found is None or not 0 < port < 65536:
        raise ValueError("a mail server is written HOST or HOST:PORT, such as smtp.internal:25")
    return found[1], port


def check_mail_server(text: str) -> str:
    """The text of a mail server, as it stands."""
    parse_mail_server(text)
    return text


def check_location(text: str) -> str:
    """Where a repository is: a path, `s3:URL/bucket/prefix`, `sftp:user@host:/path`, `rest:URL`."""
    scheme = location_scheme(text)
    rest = text.removeprefix(f"{scheme}:")
    if scheme in ("s3", "rest"):
        _check_endpoint(scheme, rest)
    elif _BARE_PASSWORD.match(rest.removeprefix("//")):
        raise ValueError(_access("this location"))
    elif scheme == "sftp":
        if rest.startswith("//") and re.search(r"[?#]", rest):
            raise ValueError(_no_query(scheme))
        if not re.fullmatch(r"(//)?(?:[^@:/]+@)?[^@:/]+(:\d+)?(:/?|//?)[^/].*", rest):
            raise ValueError("an SFTP location reads sftp:USER@HOST:/PATH")
    elif scheme:
        raise ValueError(f"`{scheme}:` is not a kind of store: a path, s3:, sftp: or rest: is")
    elif not text.strip():
        raise ValueError("a location is a path, or begins with s3:, sftp: or rest:")
    return text


def location_scheme(text: str) -> str:
    """`s3`, `sftp`, `rest` or another word before a colon; empty for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    return found[1] if found else ""


def _check_endpoint(scheme: str, rest: str) -> None:
    try:
        parts: SplitResult = urlsplit(rest if "://" in rest else f"https://{rest}")
    except ValueError:
        raise ValueError("this is not a valid URL") from None
    if "@" in parts.netloc:
        # A name alone may be a token.
        raise ValueError(_access("this location"))
    if not parts.hostname:
        raise ValueError(f"`{scheme}:` is followed by the URL of the store")
    if not _PORT.fullmatch(parts.netloc):
        raise ValueError("this is not a valid URL")
    if parts.query or parts.fragment:
        raise ValueError(_no_query(scheme))
    if scheme == "s3" and not parts.path.strip("/"):
        raise ValueError("an S3 location names its bucket: s3:https://HOST/BUCKET/PREFIX")


def check_schedule(text: str) -> str:
    """Five cron fields: minute, hour, day of month, month, day of week."""
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(
            "a schedule has five fields (minute hour day month weekday), "
            f"such as 0 2 * * *; this one has {len(fields)}"
        )
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(text, datetime.now(UTC)))
    except CronSimError as error:
        raise ValueError(f"this schedule has a {str(error).lower()}") from None
    except StopIteration:
        raise ValueError("this schedule never comes due") from None
    return text


def check_schedule_or_never(text: str) -> str:
    """Five cron fields, or the word `never`."""
    return text if text == NEVER else check_schedule(text)


def parse_hours(text: str) -> tuple[time, time]:
    """Two times of day, such as `22:00-07:00`; the second may be on the next day."""
    wanted = "hours are written 22:00-07:00"
    first, dash, last = text.partition("-")
    try:
        begin, end = time.fromisoformat(first), time.fromisoformat(last)
    except ValueError:
        raise ValueError(wanted) from None
    if not dash or begin == end or begin.tzinfo or end.tzinfo:
        raise ValueError(wanted)
    return begin, end


def check_hours(text: str) -> str:
    """The text of two times of day, as it stands."""
    parse_hours(text)
    return text


def check_time_zone(text: str) -> str:
    """The name of a time zone, such as `UTC` or `Asia/Dubai`."""
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(text)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError, caught below
        known = False
    except KeyError:
        known = False
    else:
        known = True
    if not known:
        raise ValueError("there is no time zone of this name; write it like Asia/Dubai or UTC")
    return text


def parse_expectation(text: str) -> Expectation:
    """What an answer is to be: `same`, `denied`, a comparison such as `> 0`, a value, or
    `younger than 26h`."""
    text = text.strip()
    if not text:
        raise ValueError("an expectation is wanted, such as > 0, same or younger than 26h")
    words = text.lower().split()
    if words in (["same"], ["denied"]):
        return Expectation(text, Wanted(words[0]))
    if words[0] in ("younger", "older"):
        return _parse_age(text)
    sign = _OPERATOR.match(text)
    if sign is None:
        return Expectation(text, Wanted.COMPARED, "=", text)
    if sign[0] not in COMPARISONS:
        known = " ".join(COMPARISONS)
        raise ValueError(f"{sign[0]} is no comparison; one of {known} is")
    operand = text[sign.end() :].strip()
    if not operand:
        raise ValueError(f"something to compare with follows {sign[0]}")
    if sign[0][0] in "<>" and sign[0] != "<>" and as_number(operand) is None:
        raise ValueError(f"{sign[0]} compares with a number, such as {sign[0]} 5")
    return Expectation(text, Wanted.COMPARED, sign[0], operand)


def _parse_age(text: str) -> Expectation:
    found = _YOUNGER.fullmatch(text.lower())
    if found is None:
        raise ValueError("an age is written: younger than 26h")
    age = parse_duration(found[1])
    if not age:
        raise ValueError("nothing is younger than no time at all")
    return Expectation(text, Wanted.YOUNGER, age=age)


def check_expectation(text: str) -> str:
    """The text of an expectation, as it stands."""
    parse_expectation(text)
    return text


def check_answer(text: str) -> str:
    """The text of an expectation of a value: nobody is denied anything by a query."""
    if parse_expectation(text).wanted is Wanted.DENIED:
        raise ValueError("denied is for probes, which have a role; a query has none")
    return text


def check_question(text: str) -> str:
    """The SQL of a question: it begins as what only reads does."""
    first = re.match(r"[\s(]*(\w+)", _COMMENT.sub(" ", text))
    if first is None or first[1].lower() not in _QUESTIONS:
        raise ValueError("a question is one SELECT (or WITH, VALUES, TABLE): it changes nothing")
    return text


def _access(subject: str) -> str:
    return f"{subject} holds credentials; say under `access` where they are kept"


def _no_query(scheme: str) -> str:
    return f"a location of kind `{scheme}:` has nothing after a ? or #; a token belongs to `access`"


def _literal(subject: str) -> str:
    return (
        f"{subject} holds a password; keep it in a file or variable and write env:NAME or file:PATH"
    )
