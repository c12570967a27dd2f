"""The inventory's queries for relations and what hangs on them.

What it is for: tables, views, columns, constraints, indexes, triggers, rules, policies, sequences,
statistics objects, publications and subscriptions. What it does not do: run them (`inventory`
does). Invariants: those of `inventory_sql`; physical facts (OIDs, column numbers, tablespaces,
file nodes, a sequence's last value) appear nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.postgres.inventory_sql import (
    ENABLED,
    RELATION_KEY,
    USER_SCHEMA,
    Section,
    comment,
    grants,
    member,
    of_extension,
    options,
    owner,
    role,
    since,
    user_made,
    words,
)

__all__ = ["relation_sections"]

_STORAGE = {"p": "plain", "e": "external", "x": "extended", "m": "main"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}
_PERSISTENCE = {"p": "permanent", "u": "unlogged", "t": "temporary"}
_REPLICA_IDENTITY = {"d": "default", "n": "nothing", "f": "full", "i": "index"}
_STREAMING = {"false": "off", "true": "on", "f": "off", "t": "on", "p": "parallel"}
_COMMAND = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}

# Tables, views and the like that somebody made: the start of most queries here.
_RELATION = f"""pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    AND {USER_SCHEMA} AND NOT {of_extension("pg_class", "c.oid")}"""


def relation_sections(version: int) -> Iterator[Section]:
    """The sections of relations as the server of this major version knows them."""
    yield Section("tables", _tables(), "pg_class", "c.oid")
    yield Section("row security of extension tables", _extension_tables())
    yield Section("views", _views(), "pg_class", "c.oid")
    yield Section("columns", _columns(version))
    yield Section("constraints", _constraints(version), "pg_constraint", "k.oid")
    yield Section("indexes", _indexes(), "pg_class", "ic.oid")
    yield Section("triggers", _triggers(), "pg_trigger", "t.oid")
    yield Section("rules", _rules(), "pg_rewrite", "r.oid")
    yield Section("policies", _policies(), "pg_policy", "p.oid")
    yield Section("sequences", _sequences(), "pg_class", "c.oid")
    yield Section("statistics", _statistics(), "pg_statistic_ext", "s.oid")
    yield Section("publications", _publications(version))
    yield Section("publication tables", _publication_tables(version), "pg_publication_rel", "r.oid")
    if version >= 15:
        yield Section("publication schemas", _PUBLICATION_SCHEMAS)
    yield Section("subscriptions", _subscriptions(version))


def _tables() -> str:
    return f"""
SELECT {RELATION_KEY} AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    CASE c.relkind WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
        ELSE 'table' END AS kind,
    {words("c.relpersistence", _PERSISTENCE)} AS persistence,
    {owner("c.relowner")},
    {grants("c.relacl", "r", "c.relowner")} AS grants,
    c.relrowsecurity AS row_security,
    c.relforcerowsecurity AS row_security_forced,
    coalesce((SELECT 'index ' || x.indexrelid::regclass::text FROM pg_index x
        WHERE x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i'),
        {words("c.relreplident", _REPLICA_IDENTITY)}) AS replica_identity,
    {options("c.reloptions")} AS options,
    (SELECT {options("toast.reloptions")} FROM pg_class toast WHERE toast.oid = c.reltoastrelid)
        AS toast_options,
    (SELECT amname::text FROM pg_am WHERE pg_am.oid = c.relam) AS access_method,
    (SELECT array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno)
        FROM pg_inherits i WHERE i.inhrelid = c.oid) AS inherits,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
    pg_get_expr(c.relpartbound, c.oid) AS partition_bound,
    nullif(c.reloftype, 0)::regtype::text AS of_type,
    (SELECT srvname::text FROM pg_foreign_server s WHERE s.oid = f.ftserver) AS server,
    {options("f.ftoptions")} AS foreign_options,
    (SELECT count(*) FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE t.tgrelid = c.oid AND k.contype <> 't' AND t.tgenabled NOT IN ('O', 'A'))
        AS disabled_constraint_triggers,
    {comment("pg_class", "c.oid")} AS comment
FROM {_RELATION} LEFT JOIN pg_foreign_table f ON f.ftrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'f')"""


def _extension_tables() -> str:
    # pg_dump restores row security and policies of an extension's tables, and nothing else.
    return f"""
SELECT 'row security of table ' || format('%I.%I', n.nspname, c.relname) AS key,
    c.relrowsecurity AS row_security
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {USER_SCHEMA}
WHERE c.relkind IN ('r', 'p') AND {of_extension("pg_class", "c.oid")}
    AND (c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))"""


def _views() -> str:
    return f"""
SELECT {RELATION_KEY} AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    pg_get_viewdef(c.oid) AS definition,
    {owner("c.relowner")},
    {grants("c.relacl", "r", "c.relowner")} AS grants,
    {options("c.reloptions")} AS options,
    (SELECT amname::text FROM pg_am WHERE pg_am.oid = c.relam) AS access_method,
    CASE WHEN c.relkind = 'm' THEN c.relispopulated END AS populated,
    {member("pg_class", "c.oid")} AS depends_on_extensions,
    {comment("pg_class", "c.oid")} AS comment
FROM {_RELATION} WHERE c.relkind IN ('v', 'm')"""


def _columns(version: int) -> str:
    compression = words("nullif(a.attcompression, '')", _COMPRESSION)
    has_compression = since(version, 14, f"{compression} AS compression,")
    return f"""
SELECT 'column ' || format('%I.%I.%I', n.nspname, c.relname, a.attname) AS key,
    {RELATION_KEY} AS part_of,
    (SELECT 'column ' || format('%I.%I.%I', pn.nspname, pc.relname, pa.attname)
        FROM pg_inherits i JOIN pg_class pc ON pc.oid = i.inhparent
        JOIN pg_namespace pn ON pn.oid = pc.relnamespace
        JOIN pg_attribute pa ON pa.attrelid = pc.oid AND pa.attname = a.attname
        WHERE a.attinhcount > 0 AND i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1) AS follows,
    format_type(a.atttypid, a.atttypmod) AS type,
    CASE WHEN a.attcollation <> t.typcollation THEN nullif(a.attcollation, 0)::regcollation::text
        END AS collation,
    a.attnotnull AS not_null,
    {_DEFAULT} AS default,
    {words("nullif(a.attgenerated, '')", {"s": "stored", "v": "virtual"})} AS generated,
    CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END AS expression,
    {words("nullif(a.attidentity, '')", {"a": "always", "d": "by default"})} AS identity,
    CASE WHEN c.relkind IN ('r', 'p', 'm') THEN {words("a.attstorage", _STORAGE)} END AS storage,
    {has_compression}
    nullif(a.attstattarget, -1)::int AS statistics_target,
    {options("a.attoptions")} AS options,
    {options("a.attfdwoptions")} AS foreign_options,
    CASE WHEN a.attacl IS NOT NULL THEN {grants("a.attacl", "c", "c.relowner")} END AS grants,
    {_not_null_constraint(version)}
    {comment("pg_class", "c.oid", "a.attnum")} AS comment
FROM {_RELATION}
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')"""


# A child without its parent's default comes back with DEFAULT NULL, which is the same thing, unless
# the type is a domain with a default of its own.
_DEFAULT = """CASE WHEN a.attgenerated = '' AND (t.typtype = 'd' OR pg_get_expr(d.adbin, d.adrelid)
        NOT IN ('NULL::' || format_type(a.atttypid, NULL),
            'NULL::' || format_type(a.atttypid, a.atttypmod)))
    THEN pg_get_expr(d.adbin, d.adrelid) END"""


def _not_null_constraint(version: int) -> str:
    """From 18 on NOT NULL is a constraint with a name; an inherited one takes a name of its own."""
    if version < 18:
        return ""
    from_constraint = """(SELECT {} FROM pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum])"""
    comment_sql = comment("pg_constraint", "k.oid")
    return f"""
    {from_constraint.format("k.conname::text")} AS not_null_name,
    {from_constraint.format("k.convalidated")} AS not_null_validated,
    {from_constraint.format("k.connoinherit")} AS not_null_no_inherit,
    {from_constraint.format(comment_sql)} AS not_null_comment,"""


def _constraints(version: int) -> str:
    # A partition's copies of a foreign key follow their parent and get names of their own.
    return f"""
SELECT 'constraint ' || format('%I on %I.%I', k.conname, n.nspname, c.relname) AS key,
    {RELATION_KEY} AS part_of,
    (SELECT 'constraint ' || format('%I on %I.%I', pk.conname, pn.nspname, pc.relname)
        FROM pg_inherits i JOIN pg_class pc ON pc.oid = i.inhparent
        JOIN pg_namespace pn ON pn.oid = pc.relnamespace
        JOIN pg_constraint pk ON pk.conrelid = pc.oid AND pk.contype = k.contype
            AND (pk.oid = k.conparentid OR (k.contype = 'c' AND pk.conname = k.conname))
        WHERE k.coninhcount > 0 AND i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1) AS follows,
    pg_get_constraintdef(k.oid) AS definition,
    k.convalidated AS validated,
    {since(version, 18, "k.conenforced AS enforced,")}
    k.condeferrable AS deferrable,
    k.condeferred AS deferred,
    {comment("pg_constraint", "k.oid")} AS comment
FROM {_RELATION} JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND NOT (k.contype = 'f' AND k.conparentid <> 0)"""


def _indexes() -> str:
    return f"""
SELECT 'index ' || format('%I.%I', n.nspname, ic.relname) AS key,
    CASE WHEN k.oid IS NULL THEN {RELATION_KEY}
        ELSE 'constraint ' || format('%I on %I.%I', k.conname, n.nspname, c.relname) END AS part_of,
    (SELECT 'index ' || h.inhparent::regclass::text FROM pg_inherits h
        WHERE h.inhrelid = ic.oid) AS follows,
    pg_get_indexdef(ic.oid) AS definition,
    x.indisvalid AS valid,
    x.indisclustered AS clustered,
    (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = ic.oid)
        AS attached_to,
    (SELECT jsonb_object_agg(a.attnum, a.attstattarget) FROM pg_attribute a
        WHERE a.attrelid = ic.oid AND a.attstattarget >= 0) AS statistics_targets,
    {member("pg_class", "ic.oid")} AS depends_on_extensions,
    {comment("pg_class", "ic.oid")} AS comment
FROM {_RELATION} JOIN pg_index x ON x.indrelid = c.oid
JOIN pg_class ic ON ic.oid = x.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = ic.oid AND k.conrelid = c.oid
    AND k.contype IN ('p', 'u', 'x')
WHERE c.relkind IN ('r', 'p', 'm')"""


def _triggers() -> str:
    # Partitions have copies of their parent's row triggers, of which only the state is their own.
    # Up to version 14 they are marked internal: so are those that serve a real constraint.
    return f"""
SELECT 'trigger ' || format('%I on %I.%I', t.tgname, n.nspname, c.relname) AS key,
    {RELATION_KEY} AS part_of,
    (SELECT 'trigger ' || format('%I on %I.%I', pt.tgname, pn.nspname, pc.relname)
        FROM pg_trigger pt JOIN pg_class pc ON pc.oid = pt.tgrelid
        JOIN pg_namespace pn ON pn.oid = pc.relnamespace
        WHERE pt.oid = nullif(t.tgparentid, 0)) AS follows,
    CASE WHEN t.tgparentid = 0 THEN pg_get_triggerdef(t.oid) END AS definition,
    {words("t.tgenabled", ENABLED)} AS enabled,
    {member("pg_trigger", "t.oid")} AS depends_on_extensions,
    {comment("pg_trigger", "t.oid")} AS comment
FROM {_RELATION} JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE NOT t.tgisinternal OR (t.tgparentid <> 0 AND NOT EXISTS (
    SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't'))"""


def _rules() -> str:
    return f"""
SELECT 'rule ' || format('%I on %I.%I', r.rulename, n.nspname, c.relname) AS key,
    {RELATION_KEY} AS part_of,
    pg_get_ruledef(r.oid) AS definition,
    {words("r.ev_enabled", ENABLED)} AS enabled,
    {comment("pg_rewrite", "r.oid")} AS comment
FROM {_RELATION} JOIN pg_rewrite r ON r.ev_class = c.oid
WHERE r.rulename <> '_RETURN'"""


def _policies() -> str:
    return f"""
SELECT 'policy ' || format('%I on %I.%I', p.polname, n.nspname, c.relname) AS key,
    {RELATION_KEY} AS part_of,
    {words("p.polcmd", _COMMAND)} AS command,
    CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END AS mode,
    (SELECT array_agg(who ORDER BY who COLLATE "C")
        FROM (SELECT {role("r")} AS who FROM unnest(p.polroles) r) roles) AS roles,
    pg_get_expr(p.polqual, p.polrelid) AS using,
    pg_get_expr(p.polwithcheck, p.polrelid) AS check,
    {comment("pg_policy", "p.oid")} AS comment
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace AND {USER_SCHEMA}"""


def _sequences() -> str:
    return f"""
SELECT 'sequence ' || format('%I.%I', n.nspname, c.relname) AS key,
    coalesce('column ' || own.name, 'schema ' || quote_ident(n.nspname)) AS part_of,
    own.table_key AS follows,
    format_type(s.seqtypid, NULL) AS type,
    s.seqstart AS start, s.seqmin AS minimum, s.seqmax AS maximum,
    s.seqincrement AS increment, s.seqcache AS cache, s.seqcycle AS cycle,
    {words("c.relpersistence", _PERSISTENCE)} AS persistence,
    own.name AS owned_by,
    own.deptype = 'i' AS is_identity,
    {owner("c.relowner")},
    {grants("c.relacl", "s", "c.relowner")} AS grants,
    {comment("pg_class", "c.oid")} AS comment
FROM {_RELATION} JOIN pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN LATERAL (SELECT format('%I.%I.%I', tn.nspname, tc.relname, ta.attname) AS name,
        'table ' || format('%I.%I', tn.nspname, tc.relname) AS table_key, d.deptype
    FROM pg_depend d JOIN pg_class tc ON tc.oid = d.refobjid
    JOIN pg_namespace tn ON tn.oid = tc.relnamespace
    JOIN pg_attribute ta ON ta.attrelid = tc.oid AND ta.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) own ON true"""


def _statistics() -> str:
    return f"""
SELECT 'statistics ' || format('%I.%I', n.nspname, s.stxname) AS key,
    'table ' || s.stxrelid::regclass::text AS part_of,
    pg_get_statisticsobjdef(s.oid) AS definition,
    nullif(s.stxstattarget, -1)::int AS statistics_target,
    {owner("s.stxowner")},
    {comment("pg_statistic_ext", "s.oid")} AS comment
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_statistic_ext", "s.oid")}"""


def _publications(version: int) -> str:
    generated = {"n": "none", "s": "stored"}
    return f"""
SELECT 'publication ' || quote_ident(p.pubname) AS key,
    {owner("p.pubowner")},
    p.puballtables AS all_tables,
    concat_ws(' ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
        CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END)
        AS publishes,
    p.pubviaroot AS via_partition_root,
    {since(version, 18, f"{words('p.pubgencols', generated)} AS generated_columns,")}
    {comment("pg_publication", "p.oid")} AS comment
FROM pg_publication p WHERE {user_made("pg_publication", "p.oid")}"""


def _publication_tables(version: int) -> str:
    columns = """(SELECT array_agg(a.attname::text ORDER BY a.attname)
        FROM unnest(r.prattrs) AS u(attnum)
        JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = u.attnum) AS columns,"""
    where = "pg_get_expr(r.prqual, r.prrelid) AS where,"
    return f"""
SELECT format('publication %I table %s', p.pubname, r.prrelid::regclass) AS key,
    'publication ' || quote_ident(p.pubname) AS part_of,
    'table ' || r.prrelid::regclass::text AS follows,
    {since(version, 15, columns + where)}
    'table' AS kind
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
WHERE {user_made("pg_publication", "p.oid")}"""


_PUBLICATION_SCHEMAS = f"""
SELECT format('publication %I schema %I', p.pubname, n.nspname) AS key,
    'publication ' || quote_ident(p.pubname) AS part_of,
    'schema' AS kind
FROM pg_publication_namespace r JOIN pg_publication p ON p.oid = r.pnpubid
JOIN pg_namespace n ON n.oid = r.pnnspid
WHERE {user_made("pg_publication", "p.oid")}"""


def _subscriptions(version: int) -> str:
    # Never the connection string: it may hold a password, and most roles may not read it. Nor may
    # they read the OID, and so the comment, or `subsynccommit` on 13.
    newer = [
        since(version, 14, "s.subsynccommit AS synchronous_commit,"),
        since(
            version, 14, f"s.subbinary AS binary, {words('s.substream', _STREAMING)} AS streaming,"
        ),
        since(version, 15, "s.subtwophasestate <> 'd' AS two_phase,"),
        since(version, 15, "s.subdisableonerr AS disable_on_error,"),
        since(version, 16, "s.subpasswordrequired AS password_required,"),
        since(version, 16, "s.subrunasowner AS run_as_owner, s.suborigin AS origin,"),
        since(version, 17, "s.subfailover AS failover,"),
        since(version, 14, f"{comment('pg_subscription', 's.oid')} AS comment,"),
    ]
    return f"""
SELECT 'subscription ' || quote_ident(s.subname) AS key,
    {owner("s.subowner")},
    s.subenabled AS enabled,
    s.subslotname::text AS slot,
    {" ".join(newer)}
    (SELECT array_agg(u ORDER BY u COLLATE "C") FROM unnest(s.subpublications) u) AS publications
FROM pg_subscription s
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
