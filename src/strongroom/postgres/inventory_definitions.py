"""The inventory's queries for everything that is defined without being a relation.

What it is for: schemas, extensions, types, routines, operators and their classes, casts, text
search, collations, conversions, languages, access methods, transforms, foreign servers and event
triggers. What it does not do: run them (`inventory` does). Invariants: those of `inventory_sql`;
the values of options that may hold secrets (user mappings, servers) are never read.
"""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.postgres.inventory_sql import (
    ENABLED,
    UNREAD,
    USER_SCHEMA,
    Section,
    comment,
    grants,
    member,
    name,
    of_extension,
    operator,
    options,
    owner,
    role,
    routine,
    since,
    user_made,
    words,
)

__all__ = ["definition_sections"]

_TELLTALE = "(pass|secret|token|key|credential|conn)"
_STORAGE = {"p": "plain", "e": "external", "x": "extended", "m": "main"}
_ROUTINE_KIND = "CASE {} WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END"


def definition_sections(version: int) -> Iterator[Section]:
    """The sections of definitions as the server of this major version knows them."""
    yield Section("schemas", _schemas(version))
    yield Section("extensions", _EXTENSIONS)
    yield Section("types", _types(), "pg_type", "t.oid")
    yield Section("base types", _base_types(version))
    yield Section("ranges", _ranges(version))
    yield Section("domain constraints", _domain_constraints(), "pg_constraint", "k.oid")
    yield Section("routines", _routines(version), "pg_proc", "p.oid")
    yield Section("aggregates", _aggregates())
    yield Section("operators", _operators(), "pg_operator", "o.oid")
    yield Section("operator families", _operator_families(), "pg_opfamily", "f.oid")
    yield Section("operator classes", _operator_classes(), "pg_opclass", "o.oid")
    yield Section("casts", _casts(), "pg_cast", "x.oid")
    yield Section("collations", _collations(version), "pg_collation", "x.oid")
    yield Section("conversions", _conversions(), "pg_conversion", "x.oid")
    yield Section(
        "text search configurations", _text_search_configurations(), "pg_ts_config", "x.oid"
    )
    yield Section("text search dictionaries", _text_search_dictionaries(), "pg_ts_dict", "x.oid")
    yield Section("text search parsers", _text_search_parsers(), "pg_ts_parser", "x.oid")
    yield Section("text search templates", _text_search_templates(), "pg_ts_template", "x.oid")
    yield Section("languages", _languages(), "pg_language", "l.oid")
    yield Section("transforms", _transforms(), "pg_transform", "x.oid")
    yield Section("access methods", _access_methods(), "pg_am", "x.oid")
    yield Section(
        "foreign-data wrappers", _foreign_data_wrappers(), "pg_foreign_data_wrapper", "x.oid"
    )
    yield Section("foreign servers", _foreign_servers(), "pg_foreign_server", "x.oid")
    yield Section("user mappings", _USER_MAPPINGS)
    yield Section("event triggers", _event_triggers(), "pg_event_trigger", "e.oid")


def _schemas(version: int) -> str:
    # public belongs to the bootstrap superuser up to version 14, then to pg_database_owner.
    usual = "10" if version < 15 else "'pg_database_owner'::regrole"
    return f"""
SELECT 'schema ' || quote_ident(n.nspname) AS key,
    CASE WHEN n.nspname = 'public' AND n.nspowner = {usual} THEN '(default)'
        ELSE pg_get_userbyid(n.nspowner)::text END AS owner,
    {grants("n.nspacl", "n", "n.nspowner")} AS grants,
    {comment("pg_namespace", "n.oid")} AS comment
FROM pg_namespace n
WHERE {USER_SCHEMA} AND NOT {of_extension("pg_namespace", "n.oid")}"""


# Not the owner: CREATE EXTENSION gives it to whoever restores, and nothing can change it.
_EXTENSIONS = f"""
SELECT 'extension ' || quote_ident(e.extname) AS key,
    e.extname::text AS name,
    e.extversion AS version,
    n.nspname::text AS schema,
    {comment("pg_extension", "e.oid")} AS comment
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"""


def _types() -> str:
    return f"""
SELECT 'type ' || format('%I.%I', n.nspname, t.typname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {words("t.typtype", {"b": "base", "c": "composite", "d": "domain", "e": "enum", "r": "range"})}
        AS kind,
    (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels,
    (SELECT array_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
            'COLLATE ' || CASE WHEN a.attcollation <> at.typcollation
                THEN nullif(a.attcollation, 0)::regcollation::text END) ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid
        WHERE a.attrelid = nullif(t.typrelid, 0) AND a.attnum > 0 AND NOT a.attisdropped)
        AS attributes,
    (SELECT jsonb_object_agg(a.attname, {comment("pg_class", "a.attrelid", "a.attnum")})
        FROM pg_attribute a WHERE a.attrelid = nullif(t.typrelid, 0) AND a.attnum > 0
        AND {comment("pg_class", "a.attrelid", "a.attnum")} IS NOT NULL) AS attribute_comments,
    CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END AS base_type,
    CASE WHEN t.typtype = 'd' THEN t.typnotnull END AS not_null,
    CASE WHEN t.typtype = 'd' THEN coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault) END
        AS default,
    CASE WHEN t.typtype = 'd' AND t.typcollation <> bt.typcollation
        THEN nullif(t.typcollation, 0)::regcollation::text END AS collation,
    {owner("t.typowner")},
    {grants("t.typacl", "T", "t.typowner")} AS grants,
    {comment("pg_type", "t.oid")} AS comment
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {USER_SCHEMA}
LEFT JOIN pg_type bt ON bt.oid = nullif(t.typbasetype, 0)
WHERE {user_made("pg_type", "t.oid")} AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
    AND NOT (t.typtype = 'b' AND t.typcategory = 'A' AND EXISTS (
        SELECT FROM pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid))
    AND (t.typrelid = 0 OR EXISTS (
        SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))"""


def _base_types(version: int) -> str:
    functions = {
        "input": "t.typinput", "output": "t.typoutput", "receive": "t.typreceive",
        "send": "t.typsend", "type_modifier_input": "t.typmodin",
        "type_modifier_output": "t.typmodout", "analyze": "t.typanalyze",
    }  # fmt: skip
    if version >= 14:
        functions["subscript"] = "t.typsubscript"
    columns = ", ".join(f"{routine(oid)} AS {label}" for label, oid in functions.items())
    return f"""
SELECT 'base type ' || format('%I.%I', n.nspname, t.typname) AS key,
    'type ' || format('%I.%I', n.nspname, t.typname) AS part_of, {columns},
    t.typlen::int AS length, t.typbyval AS by_value, t.typalign::text AS alignment,
    {words("t.typstorage", _STORAGE)} AS storage, t.typcategory::text AS category,
    t.typispreferred AS preferred, t.typdelim::text AS delimiter, t.typdefault AS default,
    t.typisdefined AS defined, format_type(nullif(t.typelem, 0), NULL) AS element,
    t.typcollation <> 0 AS collatable
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_type", "t.oid")} AND t.typtype = 'b'
    AND NOT (t.typcategory = 'A' AND EXISTS (
        SELECT FROM pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid))"""


def _ranges(version: int) -> str:
    multirange = since(version, 14, "format_type(r.rngmultitypid, NULL) AS multirange,")
    return f"""
SELECT 'range ' || format('%I.%I', n.nspname, t.typname) AS key,
    'type ' || format('%I.%I', n.nspname, t.typname) AS part_of,
    format_type(r.rngsubtype, NULL) AS subtype, {multirange}
    {name("regcollation", "r.rngcollation::oid")} AS collation,
    (SELECT format('%I.%I', opn.nspname, o.opcname) FROM pg_opclass o
        JOIN pg_namespace opn ON opn.oid = o.opcnamespace WHERE o.oid = r.rngsubopc) AS opclass,
    {routine("r.rngcanonical")} AS canonical,
    {routine("r.rngsubdiff")} AS difference
FROM pg_range r JOIN pg_type t ON t.oid = r.rngtypid
JOIN pg_namespace n ON n.oid = t.typnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_type", "t.oid")}"""


def _domain_constraints() -> str:
    # NOT NULL is told with the domain; that it has a constraint of its own is new in version 17.
    return f"""
SELECT 'constraint ' || format('%I on domain %I.%I', k.conname, n.nspname, t.typname) AS key,
    'type ' || format('%I.%I', n.nspname, t.typname) AS part_of,
    pg_get_constraintdef(k.oid) AS definition,
    k.convalidated AS validated,
    {comment("pg_constraint", "k.oid")} AS comment
FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid
JOIN pg_namespace n ON n.oid = t.typnamespace AND {USER_SCHEMA}
WHERE k.contype = 'c' AND {user_made("pg_type", "t.oid")}"""


def _routines(version: int) -> str:
    kind = _ROUTINE_KIND.format("p.prokind")
    return f"""
SELECT {kind} || ' ' || p.oid::regprocedure::text AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {words("p.prokind", {"f": "function", "p": "procedure", "a": "aggregate", "w": "window"})}
        AS kind,
    (SELECT l.lanname::text FROM pg_language l WHERE l.oid = p.prolang) AS language,
    p.prosrc AS body,
    p.probin AS library,
    {since(version, 14, "pg_get_function_sqlbody(p.oid) AS sql_body,")}
    pg_get_function_arguments(p.oid) AS arguments,
    pg_get_function_result(p.oid) AS result,
    {words("p.provolatile", {"i": "immutable", "s": "stable", "v": "volatile"})} AS volatility,
    {words("p.proparallel", {"s": "safe", "r": "restricted", "u": "unsafe"})} AS parallel,
    p.prosecdef AS security_definer,
    p.proleakproof AS leakproof,
    p.proisstrict AS strict,
    p.procost::text AS cost,
    p.prorows::text AS rows,
    {routine("p.prosupport")} AS support,
    {options("p.proconfig")} AS settings,
    (SELECT array_agg(format_type(u, NULL) ORDER BY nr)
        FROM unnest(p.protrftypes) WITH ORDINALITY AS x(u, nr)) AS transforms,
    {owner("p.proowner")},
    {grants("p.proacl", "f", "p.proowner")} AS grants,
    {member("pg_proc", "p.oid")} AS depends_on_extensions,
    {comment("pg_proc", "p.oid")} AS comment
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {USER_SCHEMA}
WHERE {user_made("pg_proc", "p.oid")}{_NOT_MADE_WITH_A_TYPE}"""


# A range or multirange brings its constructor functions along.
_NOT_MADE_WITH_A_TYPE = """
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
        AND d.objid = p.oid AND d.deptype = 'i' AND d.refclassid = 'pg_type'::regclass)"""


def _aggregates() -> str:
    functions = {
        "transition": "a.aggtransfn", "final": "a.aggfinalfn", "combine": "a.aggcombinefn",
        "serialize": "a.aggserialfn", "deserialize": "a.aggdeserialfn",
        "moving_transition": "a.aggmtransfn", "moving_inverse": "a.aggminvtransfn",
        "moving_final": "a.aggmfinalfn",
    }  # fmt: skip
    columns = ", ".join(f"{routine(oid)} AS {label}" for label, oid in functions.items())
    return f"""
SELECT 'aggregate state of ' || p.oid::regprocedure::text AS key,
    'aggregate ' || p.oid::regprocedure::text AS part_of, {columns},
    {words("a.aggkind", {"n": "normal", "o": "ordered set", "h": "hypothetical set"})} AS kind,
    a.aggnumdirectargs::int AS direct_arguments,
    a.aggfinalextra AS final_extra, a.aggmfinalextra AS moving_final_extra,
    a.aggfinalmodify::text AS final_modify, a.aggmfinalmodify::text AS moving_final_modify,
    {operator("a.aggsortop")} AS sort_operator,
    format_type(a.aggtranstype, NULL) AS state_type, a.aggtransspace AS state_space,
    format_type(nullif(a.aggmtranstype, 0), NULL) AS moving_state_type,
    a.aggmtransspace AS moving_state_space,
    a.agginitval AS initial, a.aggminitval AS moving_initial
FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
JOIN pg_namespace n ON n.oid = p.pronamespace AND {USER_SCHEMA}
WHERE {user_made("pg_proc", "p.oid")}"""


def _operators() -> str:
    # One without a function is a shell that another operator's COMMUTATOR or NEGATOR made.
    return f"""
SELECT 'operator ' || o.oid::regoperator::text AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {routine("o.oprcode")} AS function,
    format_type(o.oprresult, NULL) AS result,
    {operator("o.oprcom")} AS commutator,
    {operator("o.oprnegate")} AS negator,
    {routine("o.oprrest")} AS restrict,
    {routine("o.oprjoin")} AS join,
    o.oprcanmerge AS merges,
    o.oprcanhash AS hashes,
    {owner("o.oprowner")},
    {comment("pg_operator", "o.oid")} AS comment
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_operator", "o.oid")} AND o.oprcode <> 0"""


def _members_of(catalog: str, oid: str, deptype: str) -> str:
    """The operators and functions that came with a class (`i`), or were added to a family (`a`)."""
    depends = """pg_depend d WHERE d.classid = '{}'::regclass AND d.objid = {}
        AND d.refclassid = '{}'::regclass AND d.refobjid = {} AND d.deptype = '{}'"""
    on_operator = depends.format("pg_amop", "ao.oid", catalog, oid, deptype)
    on_function = depends.format("pg_amproc", "ap.oid", catalog, oid, deptype)
    return f"""(SELECT array_agg(what ORDER BY what COLLATE "C") FROM (
        SELECT format('operator %s %s', ao.amopstrategy, ao.amopopr::regoperator)
            || coalesce(' for order by ' || (SELECT format('%I.%I', sn.nspname, sf.opfname)
                FROM pg_opfamily sf JOIN pg_namespace sn ON sn.oid = sf.opfnamespace
                WHERE sf.oid = nullif(ao.amopsortfamily, 0)), '') AS what
        FROM pg_amop ao WHERE EXISTS (SELECT FROM {on_operator})
        UNION ALL
        SELECT format('function %s (%s, %s) %s', ap.amprocnum, format_type(ap.amproclefttype, NULL),
            format_type(ap.amprocrighttype, NULL), ap.amproc::regprocedure)
        FROM pg_amproc ap WHERE EXISTS (SELECT FROM {on_function})) members)"""


def _operator_families() -> str:
    return f"""
SELECT 'operator family ' || format('%I.%I using %I', n.nspname, f.opfname, am.amname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {_members_of("pg_opfamily", "f.oid", "a")} AS members,
    {owner("f.opfowner")},
    {comment("pg_opfamily", "f.oid")} AS comment
FROM pg_opfamily f JOIN pg_am am ON am.oid = f.opfmethod
JOIN pg_namespace n ON n.oid = f.opfnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_opfamily", "f.oid")}"""


def _operator_classes() -> str:
    return f"""
SELECT 'operator class ' || format('%I.%I using %I', n.nspname, o.opcname, am.amname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    (SELECT format('%I.%I', fn.nspname, f.opfname) FROM pg_opfamily f
        JOIN pg_namespace fn ON fn.oid = f.opfnamespace WHERE f.oid = o.opcfamily) AS family,
    format_type(o.opcintype, NULL) AS type,
    format_type(nullif(o.opckeytype, 0), NULL) AS key_type,
    o.opcdefault AS is_default,
    {_members_of("pg_opclass", "o.oid", "i")} AS members,
    {owner("o.opcowner")},
    {comment("pg_opclass", "o.oid")} AS comment
FROM pg_opclass o JOIN pg_am am ON am.oid = o.opcmethod
JOIN pg_namespace n ON n.oid = o.opcnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_opclass", "o.oid")}"""


def _casts() -> str:
    return f"""
SELECT format('cast (%s as %s)', format_type(x.castsource, NULL), format_type(x.casttarget, NULL))
        AS key,
    {routine("x.castfunc")} AS function,
    {words("x.castcontext", {"e": "explicit", "a": "assignment", "i": "implicit"})} AS context,
    {words("x.castmethod", {"f": "function", "i": "inout", "b": "binary"})} AS method,
    {comment("pg_cast", "x.oid")} AS comment
FROM pg_cast x
WHERE {user_made("pg_cast", "x.oid")} AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = x.oid
        AND d.deptype = 'i')"""


def _collations(version: int) -> str:
    if version >= 17:
        icu = "x.colllocale"
    else:
        icu = "x.colliculocale" if version >= 15 else "x.collcollate::text"
    return f"""
SELECT 'collation ' || format('%I.%I', n.nspname, x.collname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {words("x.collprovider", {"c": "libc", "i": "icu", "b": "builtin", "d": "default"})}
        AS provider,
    CASE WHEN x.collprovider IN ('i', 'b') THEN {icu} END AS locale,
    CASE WHEN x.collprovider = 'c' THEN x.collcollate::text END AS collate,
    CASE WHEN x.collprovider = 'c' THEN x.collctype::text END AS ctype,
    {since(version, 16, "x.collicurules AS rules,")}
    x.collisdeterministic AS deterministic,
    {owner("x.collowner")},
    {comment("pg_collation", "x.oid")} AS comment
FROM pg_collation x JOIN pg_namespace n ON n.oid = x.collnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_collation", "x.oid")}"""


def _conversions() -> str:
    return f"""
SELECT 'conversion ' || format('%I.%I', n.nspname, x.conname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    pg_encoding_to_char(x.conforencoding)::text AS source,
    pg_encoding_to_char(x.contoencoding)::text AS target,
    {routine("x.conproc")} AS function,
    x.condefault AS is_default,
    {owner("x.conowner")},
    {comment("pg_conversion", "x.oid")} AS comment
FROM pg_conversion x JOIN pg_namespace n ON n.oid = x.connamespace AND {USER_SCHEMA}
WHERE {user_made("pg_conversion", "x.oid")}"""


def _text_search_configurations() -> str:
    return f"""
SELECT 'text search configuration ' || format('%I.%I', n.nspname, x.cfgname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    (SELECT format('%I.%I', pn.nspname, p.prsname) FROM pg_ts_parser p
        JOIN pg_namespace pn ON pn.oid = p.prsnamespace WHERE p.oid = x.cfgparser) AS parser,
    (SELECT jsonb_object_agg(token, dictionaries) FROM (
        SELECT tt.alias AS token,
            string_agg(m.mapdict::regdictionary::text, ', ' ORDER BY m.mapseqno) AS dictionaries
        FROM pg_ts_config_map m JOIN ts_token_type(x.cfgparser) tt ON tt.tokid = m.maptokentype
        WHERE m.mapcfg = x.oid GROUP BY 1) maps) AS mappings,
    {owner("x.cfgowner")},
    {comment("pg_ts_config", "x.oid")} AS comment
FROM pg_ts_config x JOIN pg_namespace n ON n.oid = x.cfgnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_ts_config", "x.oid")}"""


def _text_search_dictionaries() -> str:
    return f"""
SELECT 'text search dictionary ' || format('%I.%I', n.nspname, x.dictname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    (SELECT format('%I.%I', tn.nspname, t.tmplname) FROM pg_ts_template t
        JOIN pg_namespace tn ON tn.oid = t.tmplnamespace WHERE t.oid = x.dicttemplate) AS template,
    x.dictinitoption AS options,
    {owner("x.dictowner")},
    {comment("pg_ts_dict", "x.oid")} AS comment
FROM pg_ts_dict x JOIN pg_namespace n ON n.oid = x.dictnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_ts_dict", "x.oid")}"""


def _text_search_parsers() -> str:
    return f"""
SELECT 'text search parser ' || format('%I.%I', n.nspname, x.prsname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {routine("x.prsstart")} AS start, {routine("x.prstoken")} AS token,
    {routine("x.prsend")} AS end, {routine("x.prsheadline")} AS headline,
    {routine("x.prslextype")} AS types,
    {comment("pg_ts_parser", "x.oid")} AS comment
FROM pg_ts_parser x JOIN pg_namespace n ON n.oid = x.prsnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_ts_parser", "x.oid")}"""


def _text_search_templates() -> str:
    return f"""
SELECT 'text search template ' || format('%I.%I', n.nspname, x.tmplname) AS key,
    'schema ' || quote_ident(n.nspname) AS part_of,
    {routine("x.tmplinit")} AS initialize, {routine("x.tmpllexize")} AS lexize,
    {comment("pg_ts_template", "x.oid")} AS comment
FROM pg_ts_template x JOIN pg_namespace n ON n.oid = x.tmplnamespace AND {USER_SCHEMA}
WHERE {user_made("pg_ts_template", "x.oid")}"""


def _languages() -> str:
    return f"""
SELECT 'language ' || quote_ident(l.lanname) AS key,
    l.lanpltrusted AS trusted,
    {routine("l.lanplcallfoid")} AS handler,
    {routine("l.laninline")} AS inline,
    {routine("l.lanvalidator")} AS validator,
    {owner("l.lanowner")},
    {grants("l.lanacl", "l", "l.lanowner")} AS grants,
    {comment("pg_language", "l.oid")} AS comment
FROM pg_language l WHERE l.lanispl AND {user_made("pg_language", "l.oid")}"""


def _transforms() -> str:
    return f"""
SELECT format('transform for %s language %I', format_type(x.trftype, NULL), l.lanname) AS key,
    {routine("x.trffromsql")} AS from_sql,
    {routine("x.trftosql")} AS to_sql,
    {comment("pg_transform", "x.oid")} AS comment
FROM pg_transform x JOIN pg_language l ON l.oid = x.trflang
WHERE {user_made("pg_transform", "x.oid")}"""


def _access_methods() -> str:
    return f"""
SELECT 'access method ' || quote_ident(x.amname) AS key,
    {words("x.amtype", {"t": "table", "i": "index"})} AS type,
    {routine("x.amhandler")} AS handler,
    {comment("pg_am", "x.oid")} AS comment
FROM pg_am x WHERE {user_made("pg_am", "x.oid")}"""


def _without_secrets(array: str) -> str:
    """Options as an object in which a value that may be a secret is only known to be set."""
    return (
        "(SELECT jsonb_object_agg(split_part(o, '=', 1),"
        f" CASE WHEN split_part(o, '=', 1) ~* '{_TELLTALE}' THEN '{UNREAD}'"
        " ELSE substr(o, strpos(o, '=') + 1) END)"
        f" FROM unnest({array}) o)"
    )


def _foreign_data_wrappers() -> str:
    return f"""
SELECT 'foreign-data wrapper ' || quote_ident(x.fdwname) AS key,
    {routine("x.fdwhandler")} AS handler,
    {routine("x.fdwvalidator")} AS validator,
    {_without_secrets("x.fdwoptions")} AS options,
    {owner("x.fdwowner")},
    {grants("x.fdwacl", "F", "x.fdwowner")} AS grants,
    {comment("pg_foreign_data_wrapper", "x.oid")} AS comment
FROM pg_foreign_data_wrapper x WHERE {user_made("pg_foreign_data_wrapper", "x.oid")}"""


def _foreign_servers() -> str:
    return f"""
SELECT 'server ' || quote_ident(x.srvname) AS key,
    (SELECT fdwname::text FROM pg_foreign_data_wrapper w WHERE w.oid = x.srvfdw) AS wrapper,
    x.srvtype AS type, x.srvversion AS version,
    {_without_secrets("x.srvoptions")} AS options,
    {owner("x.srvowner")},
    {grants("x.srvacl", "S", "x.srvowner")} AS grants,
    {comment("pg_foreign_server", "x.oid")} AS comment
FROM pg_foreign_server x WHERE {user_made("pg_foreign_server", "x.oid")}"""


# Through the view, since the table is for superusers; it hides the options of others' mappings.
# Only which options are set, and the user.
_USER_MAPPINGS = f"""
SELECT format('user mapping for %s server %I', {role("m.umuser")}, m.srvname) AS key,
    'server ' || quote_ident(m.srvname) AS part_of,
    CASE WHEN m.umoptions IS NULL AND NOT (SELECT rolsuper FROM pg_roles
        WHERE rolname = current_user) THEN to_jsonb('{UNREAD}'::text)
    ELSE (SELECT jsonb_object_agg(split_part(o, '=', 1), CASE WHEN split_part(o, '=', 1) = 'user'
        THEN substr(o, strpos(o, '=') + 1) ELSE '{UNREAD}' END)
        FROM unnest(m.umoptions) o) END AS options
FROM pg_user_mappings m"""


def _event_triggers() -> str:
    return f"""
SELECT 'event trigger ' || quote_ident(e.evtname) AS key,
    e.evtevent::text AS event,
    {routine("e.evtfoid")} AS function,
    {words("e.evtenabled", ENABLED)} AS enabled,
    (SELECT array_agg(u ORDER BY u COLLATE "C") FROM unnest(e.evttags) u) AS tags,
    {owner("e.evtowner")},
    {member("pg_event_trigger", "e.oid")} AS depends_on_extensions,
    {comment("pg_event_trigger", "e.oid")} AS comment
FROM pg_event_trigger e WHERE {user_made("pg_event_trigger", "e.oid")}"""
