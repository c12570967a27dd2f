"""Where a database is and how to reach it: one value, for psycopg and for client programs.

Parses a URL or a conninfo string once, taking what it leaves open from the PG* environment, so
that what follows no longer depends on the environment. The password is never part of a
representation, an argument list or an error (invariant I6): libpq's own parse errors quote their
input, so they are not passed on. Opens connections and says whose fault a failure is; a refused
login is never tried again, because managed services block an address that insists.

Facts: parameter keywords and their environment variables come from libpq itself (`PQconndefaults`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigError, SourceError
from strongroom.postgres.messages import without_values

if TYPE_CHECKING:
    import psycopg

__all__ = ["Connection", "parse_connection"]

_CONNECT_TIMEOUT_SECONDS: Final = 15
# A connection that was cut without a word would otherwise be waited for in vain for hours.
_KEEPALIVE: Final[Mapping[str, str]] = {
    "keepalives_idle": "60",
    "keepalives_interval": "15",
    "keepalives_count": "6",
}
_SECRETS: Final = ("password", "sslpassword")
# Read by libpq for files that it looks up itself; every other PG* variable is made explicit.
_KEPT_VARIABLES: Final = ("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR")
_URL_PREFIXES: Final = ("postgresql://", "postgres://")

_NETWORK: Final = re.compile(
    r"connection refused|timeout expired|timed out|could not translate host name"
    r"|name or service not known|no such file or directory|network is unreachable"
    r"|no route to host|is the server running|server closed the connection|connection reset"
    r"|failed to resolve|temporary failure in name resolution|could not send|could not receive",
    re.IGNORECASE,
)
_NOT_READY: Final = re.compile(
    r"starting up|shutting down|recovery mode|not yet accepting connections"
    r"|too many (clients|connections)|remaining connection slots|max client conn"
    r"|query_wait_timeout",
    re.IGNORECASE,
)
_NO_DATABASE: Final = re.compile(r'database ".*" does not exist', re.IGNORECASE | re.DOTALL)
_TLS: Final = re.compile(r"\bSSL\b|\bTLS\b|certificate", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Connection:
    """A database's address: libpq parameters by keyword, and the password apart from them."""

    parameters: Mapping[str, str]
    password: str | None = field(default=None, repr=False)

    @property
    def database(self) -> str:
        """The database's name; libpq's default, the user's name, when none was given."""
        return self.parameters.get("dbname") or self.user

    @property
    def user(self) -> str:
        return self.parameters.get("user") or _operating_system_user()

    @property
    def host(self) -> str:
        """Host name, address or socket directory; empty for libpq's default socket."""
        return self.parameters.get("host") or self.parameters.get("hostaddr", "")

    @property
    def port(self) -> str:
        return self.parameters.get("port") or "5432"

    @property
    def wants_tls(self) -> bool:
        """Whether a connection without TLS would be refused by our own parameters."""
        return self.parameters.get("sslmode") in {"require", "verify-ca", "verify-full"}

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this very host."""
        host = self.host
        return not host or host.startswith(("/", "@", "127.")) or host in {"localhost", "::1"}

    def describe(self) -> str:
        """The address for people, e.g. `tms at db.example.com:5432 as backup`; no password."""
        place = self.host or "local socket"
        if not self.host.startswith("/") and self.host:
            place = f"{place}:{self.port}"
        return f"{self.database} at {place} as {self.user}"

    def with_database(self, name: str) -> Connection:
        return replace(self, parameters={**self.parameters, "dbname": name})

    def environment(self) -> dict[str, str]:
        """The whole environment for a client program: ours, with PG* variables from here only."""
        variables = _variables()
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PG") or name in _KEPT_VARIABLES
        }
        for keyword, value in self.parameters.items():
            if keyword in variables:
                clean[variables[keyword]] = value
        clean["PGDATABASE"] = self.database
        clean.setdefault("PGAPPNAME", "strongroom")
        clean.setdefault("PGCONNECT_TIMEOUT", str(_CONNECT_TIMEOUT_SECONDS))
        if self.password is not None:
            clean["PGPASSWORD"] = self.password
        # Messages are classified by their English text.
        return clean | {"LC_ALL": "C", "LANGUAGE": ""}

    def conninfo(self) -> str:
        """All of the address as libpq reads it. It may hold the password: it goes nowhere else."""
        from psycopg.conninfo import make_conninfo

        secret = {} if self.password is None else {"password": self.password}
        return make_conninfo("", **self.parameters, **secret)

    def database_argument(self) -> str:
        """The conninfo for a program's `-d`: the name and what has no environment variable."""
        from psycopg.conninfo import make_conninfo

        variables = _variables()
        rest = {key: value for key, value in self.parameters.items() if key not in variables}
        return make_conninfo(**{**_KEEPALIVE, **rest, "dbname": self.database})

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection:
        """An open connection in UTF-8, without server-side prepared statements.

        Raises `SourceError`: `database-unreachable` (may be tried later), `database-missing`
        or `database-login` (must not be tried again as it is).
        """
        import psycopg

        timeout = str(_CONNECT_TIMEOUT_SECONDS)
        parameters = {"connect_timeout": timeout, **_KEEPALIVE, **self.parameters}
        parameters.setdefault("application_name", "strongroom")
        parameters.pop("client_encoding", None)
        if self.password is not None:
            parameters["password"] = self.password
        try:
            return psycopg.connect(
                "",
                autocommit=autocommit,
                prepare_threshold=None,
                client_encoding="UTF8",
                **parameters,  # type: ignore[arg-type]  # all are conninfo strings
            )
        except psycopg.Error as error:
            raise self.refusal(str(error)) from None

    @contextlib.contextmanager
    def explaining(self, *, code: str = "source-failed") -> Iterator[None]:
        """Within it, whatever the server refuses is a `SourceError` with `code`: a connection that
        is lost, a time limit, no room, a statement that it does not take."""
        import psycopg

        try:
            yield
        except psycopg.OperationalError as error:
            reason = error.diag.message_primary or _last_reason(str(error))
            raise SourceError(reason, subject=self.describe(), code=code) from None
        except psycopg.Error as error:
            reason = without_values(error.diag.message_primary or str(error).partition("\n")[0])
            hint = "Look for this message in the database server's log, with what led to it."
            raise SourceError(reason, subject=self.describe(), code=code, hint=hint) from error

    def refusal(self, text: str) -> SourceError:
        """Who must act when no connection could be made; `text` is libpq's message."""
        if self.password:
            text = text.replace(self.password, "********")
        reason = _last_reason(text)
        subject = self.describe()
        if _NO_DATABASE.search(text):
            return SourceError(reason, subject=subject, code="database-missing")
        if _NOT_READY.search(text):
            hint = "Wait until the server accepts connections again, or free connections."
            return SourceError(reason, subject=subject, code="database-unreachable", hint=hint)
        if _TLS.search(text) and "no pg_hba.conf entry" not in text:
            hint = "Check sslmode and sslrootcert in the URL, and whether the server offers TLS."
            return SourceError(reason, subject=subject, code="database-unreachable", hint=hint)
        if _NETWORK.search(text):
            return SourceError(reason, subject=subject, code="database-unreachable")
        # Anything else is the server's own refusal, in whatever language it speaks.
        return SourceError(reason, subject=subject, code="database-login")


def parse_connection(text: str, *, password: str | None = None) -> Connection:
    """The connection that a URL or conninfo string and the PG* environment describe.

    An explicit `password` wins over the one in `text`, which wins over PGPASSWORD. Raises
    `ConfigError` without quoting the text, which may hold a password.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if not text.strip():
        raise ConfigError(
            "the database's address is empty",
            hint="Write it as postgresql://USER@HOST:PORT/DATABASE.",
        )
    try:
        given = conninfo_to_dict(text)
    except psycopg.Error as error:
        raise _malformed(text, str(error)) from None
    parameters = {key: str(value) for key, value in given.items() if value is not None}
    for keyword, variable in _variables().items():
        if variable.startswith("PG") and os.environ.get(variable):
            parameters.setdefault(keyword, os.environ[variable])
    if "sslpassword" in parameters:
        raise ConfigError(
            "sslpassword cannot be given to client programs safely",
            hint="Use a client key without a passphrase, readable only by the capturing user.",
        )
    own_password = parameters.pop("password", None)
    ports = parameters.get("port", "").split(",")
    if "@" in parameters.get("host", "")[1:] or not all(not p or p.isdecimal() for p in ports):
        # A password with a bare @ or : in it was cut in the wrong place.
        raise _malformed(text, "")
    if parameters.get("host", "").endswith(".pooler.supabase.com"):
        # Older libpq takes the pooler's answer to a GSSAPI request for an error.
        parameters.setdefault("gssencmode", "disable")
    return Connection(parameters, password if password is not None else own_password)


def _malformed(text: str, reason: str) -> ConfigError:
    unknown = re.search(r'invalid (?:URI query parameter|connection option):? "(\w+)"', reason)
    if unknown and unknown[1] + "=" in text:
        return ConfigError(
            f"the database's address has a parameter that PostgreSQL does not know: {unknown[1]}",
            hint=f"Remove {unknown[1]}; it belongs to another program.",
        )
    if text.startswith(_URL_PREFIXES):
        return ConfigError(
            "the database's address is not a valid URL",
            hint="Percent-encode special characters in user and password, e.g. %40 for @.",
        )
    return ConfigError(
        "the database's address is neither a URL nor a list of keyword=value pairs",
        hint="Write it as postgresql://USER@HOST:PORT/DATABASE.",
    )


def _last_reason(text: str) -> str:
    """The line that says why, out of libpq's several."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = next((line for line in lines if "FATAL" in line), lines[0] if lines else "no reason")
    return chosen.removeprefix("connection failed: ").removeprefix("connection is bad: ")


@functools.cache
def _variables() -> dict[str, str]:
    """libpq's keywords that have an environment variable, without the secret ones."""
    from psycopg.pq import Conninfo

    found = {
        option.keyword.decode(): option.envvar.decode()
        for option in Conninfo.get_defaults()
        if option.envvar
    }
    return {key: variable for key, variable in found.items() if key not in _SECRETS} | {
        "password": "PGPASSWORD"
    }


def _operating_system_user() -> str:
    import getpass

    return getpass.getuser()
