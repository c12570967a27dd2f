"""What a plain dump of a database leaves out: the database itself, its settings, and roles.

`ALTER DATABASE ... SET` and the database's own grants are lost by pg_dump without `--create`, and
roles belong to the whole server. They are read as statements that make them again anywhere, on any
later major version, without passwords. Roles that begin with `pg_` come with every server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom.postgres.manifest import DatabaseRecord, RoleRecord
from strongroom.postgres.statement import quote_literal, quote_name

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "create_database_statement",
    "database_script",
    "read_database",
    "read_parameter_grants",
    "read_roles",
    "set_clause",
]

# Settings whose value is a list of names; PostgreSQL's own guc_tables marks them (LIST_QUOTE).
_LISTS: Final = frozenset(
    {
        "local_preload_libraries", "search_path", "session_preload_libraries",
        "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
    }
)  # fmt: skip
_TARGET: Final = ':"target"'
_PROVIDERS: Final = {"c": "libc", "i": "icu", "b": "builtin"}
_ATTRIBUTES: Final = (
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
)


def read_database(connection: psycopg.Connection) -> DatabaseRecord:
    """The current database as a record."""
    version = connection.info.server_version
    provider = "d.datlocprovider::text" if version >= 150000 else "'c'"
    locale = "NULL"
    if version >= 150000:
        locale = "d.datlocale" if version >= 170000 else "d.daticulocale"
    rules = "d.daticurules" if version >= 160000 else "NULL"
    query = f"""
SELECT d.datname::text, pg_catalog.pg_get_userbyid(d.datdba)::text,
    pg_catalog.pg_encoding_to_char(d.encoding)::text, {provider}, d.datcollate::text,
    d.datctype::text, coalesce({locale}, ''), coalesce({rules}, ''), d.datconnlimit,
    coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''), d.datacl IS NULL,
    pg_catalog.pg_get_userbyid(10)::text
FROM pg_catalog.pg_database d WHERE d.datname = current_database()"""
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    name, owner, encoding, kind, collate, ctype, icu, icu_rules = row[:8]
    limit, comment, default_grants, bootstrap = row[8:]
    settings: list[tuple[str, str]] = [("ALTER DATABASE ", f" OWNER TO {quote_name(owner)}")]
    if limit != -1:
        settings.append(("ALTER DATABASE ", f" CONNECTION LIMIT {limit}"))
    if comment:
        settings.append(("COMMENT ON DATABASE ", f" IS {quote_literal(comment)}"))
    if not default_grants:
        settings += _grants(connection, owner)
    settings += _settings(connection)
    return DatabaseRecord(
        name=name,
        owner=owner,
        encoding=encoding,
        locale_provider=_PROVIDERS.get(str(kind), str(kind)),
        collate=collate,
        ctype=ctype,
        locale=icu,
        locale_rules=icu_rules,
        settings=tuple(settings),
        bootstrap_role=bootstrap,
    )


def _settings(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """The settings for everybody in this database, then those for single roles in it."""
    rows = connection.execute(
        b"SELECT coalesce(r.rolname::text, ''), s.setconfig FROM pg_catalog.pg_db_role_setting s"
        b" LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase ="
        b" (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
        b" ORDER BY 1"
    ).fetchall()
    found = []
    for role, entries in rows:
        before = f"ALTER ROLE {quote_name(role)} IN DATABASE " if role else "ALTER DATABASE "
        found += [(before, f" {set_clause(entry)}") for entry in entries]
    return found


def _grants(connection: psycopg.Connection, owner: str) -> list[tuple[str, str]]:
    rows = connection.execute(
        b"SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text"
        b" END, a.is_grantable, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)"
        b" FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a"
        b" WHERE d.datname = current_database() GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    found = [
        ("REVOKE ALL ON DATABASE ", " FROM PUBLIC"),
        ("REVOKE ALL ON DATABASE ", f" FROM {quote_name(owner)}"),
    ]
    for grantee, grantable, privileges in rows:
        to = quote_name(grantee) if grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable else ""
        found.append((f"GRANT {privileges} ON DATABASE ", f" TO {to}{option}"))
    return found


def set_clause(entry: str) -> str:
    """`SET name TO value` for one `name=value` of a setconfig."""
    name, _, value = entry.partition("=")
    if name.lower() in _LISTS:
        shown = ", ".join(map(quote_literal, _split_list(value))) or "''"
    else:
        shown = quote_literal(value)
    return f"SET {quote_name(name)} TO {shown}"


def _split_list(value: str) -> list[str]:
    """The names of a list as PostgreSQL flattens it: separated by commas, quoted where needed."""
    names, current, quoted, place = [], "", False, 0
    while place < len(value):
        sign = value[place]
        if quoted and sign == '"' and value[place + 1 : place + 2] == '"':
            current, place = current + '"', place + 1
        elif sign == '"':
            quoted = not quoted
        elif sign == "," and not quoted:
            names.append(current)
            current = ""
        elif quoted or not sign.isspace():
            current += sign
        place += 1
    return [*names, current] if value.strip() else []


def read_roles(connection: psycopg.Connection) -> tuple[RoleRecord, ...]:
    """Every role of the server except PostgreSQL's own, sorted by name, without passwords."""
    attributes = ", ".join(f"r.{column}" for column, _ in _ATTRIBUTES)
    rows = connection.execute(
        f"SELECT r.rolname::text, {attributes}, r.rolconnlimit,"
        " coalesce(r.rolvaliduntil::text, ''),"
        " coalesce(pg_catalog.shobj_description(r.oid, 'pg_authid'), ''),"
        " (SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s"
        "  WHERE s.setrole = r.oid AND s.setdatabase = 0)"
        " FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolname".encode()
    ).fetchall()
    memberships = _memberships(connection)
    count = len(_ATTRIBUTES)
    found = []
    for name, *rest in rows:
        role = quote_name(name)
        words = [
            word if value else f"NO{word}"
            for (_, word), value in zip(_ATTRIBUTES, rest[:count], strict=True)
        ]
        limit, until, comment, settings = rest[count:]
        if limit != -1:
            words.append(f"CONNECTION LIMIT {limit}")
        if until:
            words.append(f"VALID UNTIL {quote_literal(until)}")
        statements = [f"CREATE ROLE {role}", f"ALTER ROLE {role} WITH {' '.join(words)}"]
        if comment:
            statements.append(f"COMMENT ON ROLE {role} IS {quote_literal(comment)}")
        statements += [f"ALTER ROLE {role} {set_clause(entry)}" for entry in settings or ()]
        found.append(RoleRecord(name, tuple(statements), tuple(memberships.get(name, ()))))
    return tuple(found)


def _memberships(connection: psycopg.Connection) -> dict[str, list[tuple[str, str]]]:
    """For each member its groups, each with its GRANT; who granted it may be gone."""
    newer = connection.info.server_version >= 160000
    more = ", bool_or(m.inherit_option), bool_or(m.set_option)" if newer else ""
    rows = connection.execute(
        "SELECT a.rolname::text, g.rolname::text, bool_or(m.admin_option)"
        f"{more} FROM pg_catalog.pg_auth_members m"
        " JOIN pg_catalog.pg_roles a ON a.oid = m.member"
        " JOIN pg_catalog.pg_roles g ON g.oid = m.roleid"
        " GROUP BY 1, 2 ORDER BY 1, 2".encode()
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for member, group, admin, *options in rows:
        statement = f"GRANT {quote_name(group)} TO {quote_name(member)}"
        if options:
            inherit, settable = (str(bool(option)).upper() for option in options)
            statement += f" WITH ADMIN {str(admin).upper()}, INHERIT {inherit}, SET {settable}"
        elif admin:
            statement += " WITH ADMIN OPTION"
        found.setdefault(member, []).append((group, statement))
    return found


def read_parameter_grants(connection: psycopg.Connection) -> tuple[tuple[str, str], ...]:
    """Who may set which of the server's settings: the role, "" for PUBLIC, and the GRANT."""
    if connection.info.server_version < 150000:
        return ()
    rows = connection.execute(
        b"SELECT p.parname, CASE a.grantee WHEN 0 THEN ''"
        b" ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.is_grantable,"
        b" string_agg(DISTINCT a.privilege_type, ', ')"
        b" FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) a"
        b" WHERE a.grantee <> 10 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).fetchall()
    found = []
    for parameter, grantee, grantable, privileges in rows:
        name = ".".join(map(quote_name, parameter.split(".")))
        to = quote_name(grantee) if grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable else ""
        found.append((grantee, f"GRANT {privileges} ON PARAMETER {name} TO {to}{option}"))
    return tuple(found)


def create_database_statement(record: DatabaseRecord, target: str, server_major: int) -> str:
    """CREATE DATABASE with the captured encoding and locale; `target` is quoted.

    A server older than the locale provider gets the C library's locale of the same record.
    """
    parts = [f"CREATE DATABASE {target} WITH TEMPLATE = template0"]
    parts.append(f"ENCODING = {quote_literal(record.encoding)}")
    provider = record.locale_provider
    if server_major >= 15 and (provider != "builtin" or server_major >= 17):
        parts.append(f"LOCALE_PROVIDER = {provider}")
        if provider == "icu":
            parts.append(f"ICU_LOCALE = {quote_literal(record.locale)}")
            if record.locale_rules:
                parts.append(f"ICU_RULES = {quote_literal(record.locale_rules)}")
        elif provider == "builtin":
            parts.append(f"BUILTIN_LOCALE = {quote_literal(record.locale)}")
    parts.append(f"LC_COLLATE = {quote_literal(record.collate)}")
    parts.append(f"LC_CTYPE = {quote_literal(record.ctype)}")
    return " ".join(parts)


def database_script(record: DatabaseRecord, server_major: int) -> str:
    """`database.sql`: makes the database, or gives it its settings, as psql's variables say."""
    lines = [
        "-- Run by restore.sh, twice: with `-v create=true` from another database before the",
        "-- tables, with `-v create=false` after everything. The name is in the variable `target`.",
        "\\if :create",
        create_database_statement(record, _TARGET, server_major) + ";",
        "\\else",
        *(f"{before}{_TARGET}{after};" for before, after in record.settings),
        "\\endif",
    ]
    return "\n".join(lines) + "\n"
