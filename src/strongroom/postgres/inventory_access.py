"""The inventory's queries for who may do what, and for what holds for the whole database.

What it is for: the database's own settings, roles with attributes and memberships, default
privileges, parameter grants, large objects, security labels, and grants that were altered on
system objects and on members of extensions. What it does not do: run them (`inventory` does), or
read a password. Invariants: those of `inventory_sql`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.postgres.inventory_sql import (
    FIRST_USER_OID,
    Section,
    exploded_grants,
    extension_of,
    grants,
    of_extension,
    options,
    owner,
    role,
    since,
    words,
)

__all__ = ["LARGE_OBJECTS", "MENTIONED_ROLES", "NEEDS", "access_sections", "large_objects"]

_HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

# More large objects than this are told in groups: one entry for each would fill the memory.
LARGE_OBJECTS: Final = 5000

# Every role that the database refers to: as owner, in a grant, a policy, a setting. The bootstrap
# superuser is not recorded here when it owns something; `inventory` sees that from the owners.
MENTIONED_ROLES: Final = f"""
SELECT pg_get_userbyid(refobjid)::text FROM pg_shdepend
WHERE refclassid = 'pg_authid'::regclass
    AND (dbid = {_HERE} OR (classid = 'pg_database'::regclass AND objid = {_HERE}))
UNION SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE oid = {_HERE}
UNION SELECT pg_get_userbyid(setrole)::text FROM pg_db_role_setting
WHERE setdatabase = {_HERE} AND setrole <> 0
UNION SELECT pg_get_userbyid(umuser)::text FROM pg_user_mappings WHERE umuser <> 0"""


# What cannot be made where an extension, a collation or an access method is lacking: whatever
# depends on it or on a part of it, directly or not. What is made with an object (`i`), a default
# and a CHECK are parts of the statement that makes the object, and spoil it. Extensions that
# initdb makes are never lacking.
NEEDS: Final = f"""
WITH RECURSIVE reached (needed, classid, objid) AS (
    SELECT 'extension ' || quote_ident(e.extname), d.classid, d.objid
    FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass
        AND d.refobjid = e.oid AND d.deptype = 'e'
    WHERE e.oid >= {FIRST_USER_OID}
    UNION SELECT 'collation ' || format('%I.%I', n.nspname, x.collname), 'pg_collation'::regclass,
        x.oid
    FROM pg_collation x JOIN pg_namespace n ON n.oid = x.collnamespace
    WHERE x.oid >= {FIRST_USER_OID}
    UNION SELECT 'access method ' || quote_ident(x.amname), 'pg_am'::regclass, x.oid FROM pg_am x
    WHERE x.oid >= {FIRST_USER_OID}
    UNION SELECT r.needed, on_it.classid, on_it.objid FROM reached r CROSS JOIN LATERAL (
        SELECT d.classid, d.objid FROM pg_depend d
        WHERE d.refclassid = r.classid AND d.refobjid = r.objid AND d.deptype <> 'e'
        UNION ALL SELECT 'pg_class'::regclass, a.adrelid FROM pg_attrdef a
        WHERE r.classid = 'pg_attrdef'::regclass AND a.oid = r.objid
        UNION ALL SELECT d.refclassid, d.refobjid FROM pg_depend d
        WHERE d.classid = r.classid AND d.objid = r.objid AND d.deptype = 'i'
        UNION ALL SELECT CASE WHEN k.conrelid <> 0 THEN 'pg_class' ELSE 'pg_type' END::regclass,
            CASE WHEN k.conrelid <> 0 THEN k.conrelid ELSE k.contypid END
        FROM pg_constraint k
        WHERE r.classid = 'pg_constraint'::regclass AND k.oid = r.objid AND k.contype = 'c') on_it)
SELECT classid::regclass::text, objid::bigint, array_agg(needed ORDER BY needed COLLATE "C")
FROM reached GROUP BY classid, objid"""


def access_sections(version: int) -> Iterator[Section]:
    """The sections of access as the server of this major version knows them."""
    yield Section("database", _database(version))
    yield Section("roles", _roles())
    yield Section("role settings", _role_settings())
    yield Section("memberships", _memberships(version))
    yield Section("default privileges", _default_privileges())
    yield Section("grants on system and extension objects", _altered_grants())
    yield Section("security labels", _SECURITY_LABELS)
    if version >= 15:
        yield Section("parameters", _PARAMETERS)


def _database(version: int) -> str:
    icu = "d.datlocale" if version >= 17 else "d.daticulocale"
    provider = words("d.datlocprovider", {"c": "libc", "i": "icu", "b": "builtin"})
    return f"""
SELECT 'database' AS key,
    {owner("d.datdba")},
    {grants("d.datacl", "d", "d.datdba")} AS grants,
    (SELECT {options("s.setconfig")} FROM pg_db_role_setting s
        WHERE s.setdatabase = d.oid AND s.setrole = 0) AS settings,
    nullif(d.datconnlimit, -1) AS connection_limit,
    pg_encoding_to_char(d.encoding)::text AS encoding,
    {since(version, 15, f"{provider} AS locale_provider, {icu} AS locale,")}
    {since(version, 16, "d.daticurules AS locale_rules,")}
    d.datcollate::text AS locale_collate,
    d.datctype::text AS locale_ctype,
    shobj_description(d.oid, 'pg_database') AS comment
FROM pg_database d WHERE d.oid = {_HERE}"""


def _roles() -> str:
    # pg_roles shows no password. Roles that begin with pg_ come with the server.
    return f"""
SELECT 'role ' || quote_ident(r.rolname) AS key,
    r.rolname::text AS name,
    r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS create_role,
    r.rolcreatedb AS create_database, r.rolcanlogin AS login, r.rolreplication AS replication,
    r.rolbypassrls AS bypass_row_security,
    nullif(r.rolconnlimit, -1) AS connection_limit,
    r.rolvaliduntil::text AS valid_until,
    (SELECT {options("s.setconfig")} FROM pg_db_role_setting s
        WHERE s.setdatabase = 0 AND s.setrole = r.oid) AS settings,
    shobj_description(r.oid, 'pg_authid') AS comment
FROM pg_roles r WHERE r.rolname !~ '^pg_'"""


def _role_settings() -> str:
    return f"""
SELECT 'settings of role ' || {role("s.setrole")} || ' in this database' AS key,
    'role ' || {role("s.setrole")} AS part_of, {options("s.setconfig")} AS settings
FROM pg_db_role_setting s WHERE s.setdatabase = {_HERE} AND s.setrole <> 0"""


def _memberships(version: int) -> str:
    newer = "bool_or(m.inherit_option) AS inherit, bool_or(m.set_option) AS set_role,"
    return f"""
SELECT format('membership of %I in %I', a.rolname, g.rolname) AS key,
    'role ' || quote_ident(a.rolname) AS part_of, 'role ' || quote_ident(g.rolname) AS follows,
    a.rolname::text AS member, g.rolname::text AS group,
    {since(version, 16, newer)}
    bool_or(m.admin_option) AS admin
FROM pg_auth_members m JOIN pg_roles a ON a.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
WHERE a.rolname !~ '^pg_' GROUP BY a.rolname, g.rolname"""


def _default_privileges() -> str:
    kinds = {
        "r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas",
        "L": "large objects",
    }  # fmt: skip
    return f"""
SELECT 'default privileges of ' || {role("d.defaclrole")}
        || coalesce(' in schema ' || quote_ident(n.nspname), '')
        || ' for ' || {words("d.defaclobjtype", kinds)} AS key,
    {exploded_grants("d.defaclacl", "d.defaclrole")} AS grants
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace"""


_PARAMETERS = f"""
SELECT 'parameter ' || p.parname AS key, {exploded_grants("p.paracl", "10")} AS grants
FROM pg_parameter_acl p"""


_SECURITY_LABELS = """
SELECT format('security label %s on %s %s', l.provider, i.type, i.identity) AS key, l.label
FROM pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i
UNION ALL
SELECT format('security label %s on %s %s', l.provider, i.type,
        CASE WHEN l.classoid = 'pg_database'::regclass THEN 'itself' ELSE i.identity END), l.label
FROM pg_shseclabel l, pg_identify_object(l.classoid, l.objoid, 0) i
WHERE (l.classoid = 'pg_database'::regclass
        AND l.objoid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    OR l.classoid = 'pg_authid'::regclass"""


def _altered_grants() -> str:
    """Grants on objects that a restore does not define: only what differs from the beginning.

    pg_dump restores exactly this: the difference from `pg_init_privs`, or from the default.
    """
    # pg_dump passes over information_schema, whose initial grants are recorded nowhere.
    plain_schema = "n.nspname <> 'pg_catalog'"
    sources = (
        ("pg_class", "CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END", "relacl", "relowner",
         "CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END"
         " || format('%I.%I', n.nspname, c.relname)",
         "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace", plain_schema),
        ("pg_proc", "'f'", "proacl", "proowner", "'function ' || c.oid::regprocedure::text",
         "pg_proc c JOIN pg_namespace n ON n.oid = c.pronamespace", plain_schema),
        ("pg_type", "'T'", "typacl", "typowner", "'type ' || format_type(c.oid, NULL)",
         "pg_type c JOIN pg_namespace n ON n.oid = c.typnamespace", plain_schema),
        ("pg_namespace", "'n'", "nspacl", "nspowner", "'schema ' || quote_ident(n.nspname)",
         "pg_namespace c JOIN pg_namespace n ON n.oid = c.oid",
         plain_schema),
        ("pg_language", "'l'", "lanacl", "lanowner", "'language ' || quote_ident(c.lanname)",
         "pg_language c", f"c.oid >= {FIRST_USER_OID}"),
        ("pg_foreign_data_wrapper", "'F'", "fdwacl", "fdwowner",
         "'foreign-data wrapper ' || quote_ident(c.fdwname)",
         "pg_foreign_data_wrapper c", "true"),
    )  # fmt: skip
    return "\nUNION ALL".join(_altered_grants_in(*source) for source in sources)


def _altered_grants_in(
    catalog: str, kind: str, acl: str, owner_column: str, key: str, source: str, ordinary: str
) -> str:
    # Written for a whole list of privileges on each side: {role: privileges}, compared as such.
    now, who = f"c.{acl}", f"c.{owner_column}"
    default = f"""acldefault(({kind})::"char", {who})"""
    changed = (
        "SELECT jsonb_object_agg(key, value) FROM jsonb_each_text({}) a"
        " WHERE NOT EXISTS (SELECT FROM jsonb_each_text({}) b"
        " WHERE b.key = a.key AND b.value = a.value)"
    )
    return f"""
SELECT 'grants on ' || x.name AS key, x.extension AS part_of,
    ({changed.format("x.now", "x.first")}) AS granted,
    ({changed.format("x.first", "x.now")}) AS before
FROM (SELECT {key} AS name, {extension_of(catalog, "c.oid")} AS extension,
        {exploded_grants(f"coalesce({now}, {default})", who)} AS now,
        {exploded_grants(f"coalesce(i.initprivs, {default})", who)} AS first
    FROM {source}
    LEFT JOIN pg_init_privs i ON i.classoid = '{catalog}'::regclass AND i.objoid = c.oid
        AND i.objsubid = 0
    WHERE {now} IS DISTINCT FROM i.initprivs
        AND ({of_extension(catalog, "c.oid")} OR NOT {ordinary})) x
WHERE x.now <> x.first"""


def large_objects(count: int) -> Section:
    """Owner, grants and comment of each large object, or of groups of them when they are many."""
    described = """(SELECT description FROM pg_description pd
        WHERE pd.classoid = 'pg_largeobject'::regclass AND pd.objoid = l.oid)"""
    if count <= LARGE_OBJECTS:
        sql = f"""
SELECT 'large object ' || l.oid AS key, {owner("l.lomowner")},
    {grants("l.lomacl", "L", "l.lomowner")} AS grants, {described} AS comment
FROM pg_largeobject_metadata l"""
    else:
        sql = f"""
SELECT format('large objects of %s with %s', x.owner, x.grants) AS key, count(*) AS count,
    md5(string_agg(x.oid::text || coalesce(x.comment, ''), ' ' ORDER BY x.oid)) AS md5_of_numbers
FROM (SELECT l.oid, {owner("l.lomowner")}, {grants("l.lomacl", "L", "l.lomowner")} AS grants,
        {described} AS comment FROM pg_largeobject_metadata l) x
GROUP BY x.owner, x.grants"""
    return Section("large objects", sql)
