"""How a recovered application reaches its database: the login, and what placeholders stand for."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from strongroom.config import resolve_secret
from strongroom.config.recovery_settings import Recovery
from strongroom.postgres.connection import Connection
from strongroom.postgres.login import set_password, try_login

__all__ = ["as_application", "database_values", "let_log_in"]


def as_application(settings: Recovery, database: Connection | None) -> Connection | None:
    """The database as the application logs in to it."""
    if database is None:
        return None
    user = settings.database_role or database.user
    # Whoever restores has another password than the application's own role.
    password = database.password if user == database.user else None
    if settings.database_password is not None:
        password = resolve_secret(settings.database_password)
    return Connection({**database.parameters, "user": user}, password)


def let_log_in(server: Connection, login: Connection, *, is_ours: bool) -> str:
    """See that the application's login works: a role that the restore has made (`is_ours`) has no
    password, and gets this one. Empty, or why it does not work.

    Raises `SourceError` when the server is away, or the password may not be set.
    """
    refused = try_login(login)
    if refused is not None and is_ours and login.password is not None:
        set_password(server, login.user, login.password)
        refused = try_login(login)
    elif refused is not None:
        return (
            f"role {login.user} cannot log in, and its password was left as it is, since the "
            f"server had this role before: {refused.message}"
        )
    return "" if refused is None else f"role {login.user} cannot log in: {refused.message}"


def database_values(database: Connection) -> dict[str, str]:
    """What the placeholders of a database stand for; see `config.placeholder`."""
    user, host, port = database.user, database.host, database.port
    password = database.password or ""
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    name = quote(database.database, safe="")
    rest = {k: v for k, v in database.parameters.items() if k.startswith("ssl")}
    place = f"{host}:{port}"
    if not host or host.startswith("/"):
        rest, place = {"host": host, "port": port, **rest}, ""
    elif ":" in host:
        place = f"[{host}]:{port}"
    query = urlencode({k: v for k, v in rest.items() if v}, quote_via=quote)
    dsn = {"host": host, "port": port, "dbname": database.database}
    dsn |= {name: value for name, value in rest.items() if name not in dsn}
    return {
        "database.host": host,
        "database.port": port,
        "database.name": database.database,
        "database.user": user,
        "database.password": password,
        "database.url": f"postgresql://{login}@{place}/{name}" + (f"?{query}" if query else ""),
        "database.dsn": "pgsql:" + ";".join(f"{k}={v}" for k, v in dsn.items() if v),
    }
