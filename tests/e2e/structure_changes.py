"""Single changes to the schema of structure_nasty.sql, and the findings that each must yield."""

from __future__ import annotations

from dataclasses import dataclass

DIFFERS, MISSING, EXTRA = "structure-differs", "structure-missing", "structure-extra"
UNCHECKED = "structure-unchecked"


@dataclass(frozen=True)
class Change:
    """SQL that changes one thing, what must be found (code, subject), and a word of the message."""

    sql: str
    found: tuple[tuple[str, str], ...]
    says: str = ""
    since: int = 13


def differs(sql: str, subject: str, says: str = "", since: int = 13) -> Change:
    return Change(sql, ((DIFFERS, subject),), says, since)


def missing(sql: str, subject: str, since: int = 13) -> Change:
    return Change(sql, ((MISSING, subject),), "observed nothing", since)


def extra(sql: str, subject: str, says: str = "", since: int = 13) -> Change:
    return Change(sql, ((EXTRA, subject),), says, since)


TRAINEES = "table public.trainees"
AUDIT = "table app.audit"

SECURITY = [
    differs("ALTER POLICY own_rows ON public.trainees USING (true)",
            "policy own_rows on public.trainees", "using: expected"),
    differs("ALTER POLICY writes ON public.trainees WITH CHECK (true)",
            "policy writes on public.trainees", "observed true"),
    differs("ALTER POLICY own_rows ON public.trainees TO PUBLIC",
            "policy own_rows on public.trainees", "roles: expected anon, authenticated"),
    Change("DROP POLICY never ON public.trainees;"
           "CREATE POLICY never ON public.trainees TO PUBLIC USING (true)"
           " WITH CHECK (name <> 'root')",
           ((DIFFERS, "policy never on public.trainees"),), "mode: expected restrictive"),
    missing("DROP POLICY own_rows ON public.trainees", "policy own_rows on public.trainees"),
    extra("CREATE POLICY open ON public.trainees USING (true)",
          "policy open on public.trainees", "using true"),
    differs("ALTER TABLE public.trainees DISABLE ROW LEVEL SECURITY", TRAINEES,
            "row_security: expected yes, observed no"),
    differs("ALTER TABLE public.trainees NO FORCE ROW LEVEL SECURITY", TRAINEES,
            "row_security_forced"),
    differs("GRANT DELETE ON public.trainees TO anon", TRAINEES,
            "grants: anon: expected nothing, observed DELETE"),
    differs("REVOKE SELECT ON app.organisations FROM anon CASCADE", "table app.organisations",
            "anon: expected INSERT* SELECT*, observed INSERT*"),
    differs("REVOKE GRANT OPTION FOR INSERT ON app.organisations FROM anon",
            "table app.organisations"),
    differs("GRANT SELECT (name) ON public.trainees TO anon", "column public.trainees.name",
            "grants: anon: expected nothing, observed SELECT"),
    differs("REVOKE UPDATE (kind) ON app.organisations FROM authenticated",
            "column app.organisations.kind"),
    differs("GRANT EXECUTE ON FUNCTION app.current_trainee() TO PUBLIC",
            "function app.current_trainee()", "PUBLIC: expected nothing, observed EXECUTE"),
    differs("REVOKE USAGE ON SEQUENCE app.lpo_number FROM authenticated",
            "sequence app.lpo_number"),
    differs("GRANT CREATE ON SCHEMA app TO anon", "schema app", "observed CREATE USAGE"),
    differs("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema public"),
    differs("GRANT USAGE ON TYPE app.money_positive TO PUBLIC", "type app.money_positive"),
    differs("GRANT USAGE ON FOREIGN SERVER elsewhere TO anon", "server elsewhere"),
    differs("GRANT UPDATE ON LARGE OBJECT 900001 TO anon", "large object 900001"),
    differs("ALTER LARGE OBJECT 900002 OWNER TO trainer", "large object 900002"),
    extra("GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO anon",
          "grants on function pg_read_file(text)", "anon EXECUTE"),
    missing("GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) TO PUBLIC;"
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM service;",
            "grants on function pg_sleep(double precision)"),
    differs("GRANT EXECUTE ON FUNCTION extensions.similarity(text, text) TO service",
            "grants on function extensions.similarity(text,text)"),
    extra("GRANT USAGE ON LANGUAGE plpgsql TO anon WITH GRANT OPTION",
          "grants on language plpgsql"),
    differs("ALTER TABLE public.trainees OWNER TO trainer", TRAINEES,
            "owner: expected postgres, observed trainer"),
    differs("ALTER FUNCTION app.touch() OWNER TO trainer", "function app.touch()"),
    differs("ALTER SCHEMA app OWNER TO trainer", "schema app"),
    differs("ALTER SCHEMA public OWNER TO trainer", "schema public", "expected (default)"),
    differs("ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO anon",
            "default privileges of postgres for tables"),
    missing("ALTER DEFAULT PRIVILEGES FOR ROLE trainer GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
            "default privileges of trainer for functions"),
    extra("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC",
          "default privileges of postgres in schema app for tables"),
    differs("ALTER FUNCTION app.current_trainee() SECURITY INVOKER",
            "function app.current_trainee()", "security_definer: expected yes"),
    differs("ALTER FUNCTION app.current_trainee() RESET search_path",
            "function app.current_trainee()", "settings: search_path: expected app, pg_temp"),
    differs("ALTER VIEW app.simple RESET (security_barrier)", "view app.simple"),
    differs("ALTER VIEW app.simple SET (check_option = local)", "view app.simple",
            "check_option: expected cascaded, observed local"),
    differs("GRANT MAINTAIN ON public.trainees TO anon", TRAINEES, "MAINTAIN", 17),
]  # fmt: skip

CLUSTER = [
    differs("ALTER ROLE anon BYPASSRLS", "role anon", "bypass_row_security: expected no"),
    differs("ALTER ROLE anon LOGIN", "role anon"),
    differs("ALTER ROLE trainer SUPERUSER", "role trainer"),
    differs("ALTER ROLE \"Odd Role\" VALID UNTIL 'infinity'", 'role "Odd Role"',
            "valid_until: expected 2030-12-31 20:00:00+00"),
    differs("ALTER ROLE \"Odd Role\" CONNECTION LIMIT -1", 'role "Odd Role"'),
    differs("ALTER ROLE anon RESET statement_timeout", "role anon", "settings"),
    differs("COMMENT ON ROLE trainer IS 'learns'", "role trainer", "comment"),
    extra("GRANT trainer TO anon", "membership of anon in trainer"),
    extra("GRANT pg_monitor TO anon", "membership of anon in pg_monitor"),
    extra("GRANT service TO bystander", "membership of bystander in service"),
    missing("REVOKE authenticated FROM authenticator",
            "membership of authenticator in authenticated"),
    differs("REVOKE ADMIN OPTION FOR trainer FROM \"Odd Role\"",
            'membership of "Odd Role" in trainer', "admin: expected yes"),
    differs("GRANT anon TO authenticator WITH INHERIT TRUE", "membership of authenticator in anon",
            "inherit", 16),
    missing("DROP ROLE authenticator", "role authenticator"),
    Change("DROP ROLE auditor", ()),
    Change("CREATE ROLE newcomer LOGIN", ()),
    Change("CREATE ROLE newcomer LOGIN; GRANT anon TO newcomer", ()),
    Change("ALTER ROLE bystander NOLOGIN", ()),
    missing("ALTER ROLE anon IN DATABASE {db} RESET search_path",
            "settings of role anon in this database"),
    extra("ALTER ROLE bystander IN DATABASE {db} SET row_security = off",
          "settings of role bystander in this database"),
    differs("ALTER DATABASE {db} RESET search_path", "database",
            'search_path: expected app, public, "Odd Schema", observed nothing'),
    differs("ALTER DATABASE {db} SET row_security = off", "database"),
    differs("ALTER DATABASE {db} OWNER TO trainer", "database", "owner"),
    differs("GRANT TEMPORARY ON DATABASE {db} TO PUBLIC", "database", "grants"),
    differs("COMMENT ON DATABASE {db} IS NULL", "database", "comment"),
    extra("GRANT SET ON PARAMETER session_replication_role TO anon",
          "parameter session_replication_role", "", 15),
]  # fmt: skip

TABLES = [
    differs("ALTER TABLE public.trainees ALTER name DROP NOT NULL", "column public.trainees.name",
            "not_null: expected yes, observed no"),
    differs("ALTER TABLE public.trainees ALTER score SET DEFAULT 0.2",
            "column public.trainees.score", "default: expected 0.1, observed 0.2"),
    differs("ALTER TABLE public.trainees ALTER score DROP DEFAULT", "column public.trainees.score"),
    differs("ALTER TABLE app.scratch ALTER note TYPE varchar(5)", "column app.scratch.note",
            "type: expected text, observed character varying(5)"),
    differs("ALTER TABLE app.renamed_table ALTER id SET GENERATED ALWAYS",
            "column app.renamed_table.id", "identity: expected by default, observed always"),
    Change("ALTER TABLE app.organisations ALTER initial DROP EXPRESSION",
           ((DIFFERS, "column app.organisations.initial"),), "generated"),
    Change("ALTER TABLE app.organisations DROP initial, ADD initial char(1)"
           " GENERATED ALWAYS AS (lower(substr(kind, 1, 1))) STORED",
           ((DIFFERS, "column app.organisations.initial"),), "expression"),
    differs('ALTER TABLE app.organisations ALTER "Odd Column" SET STORAGE MAIN',
            'column app.organisations."Odd Column"', "storage"),
    differs("ALTER TABLE app.organisations ALTER kind SET STATISTICS -1",
            "column app.organisations.kind", "statistics_target"),
    differs("ALTER TABLE app.organisations ALTER document RESET (n_distinct)",
            "column app.organisations.document"),
    differs("ALTER TABLE app.organisations ALTER secret SET COMPRESSION default",
            "column app.organisations.secret", "compression", 14),
    missing("ALTER TABLE app.organisations DROP COLUMN flags", "column app.organisations.flags"),
    extra("ALTER TABLE app.organisations ADD COLUMN more int", "column app.organisations.more"),
    extra("ALTER TABLE app.audit ADD COLUMN more int", "column app.audit.more"),
    differs("ALTER TABLE app.audit ALTER detail SET DEFAULT '[]'", "column app.audit.detail"),
    differs("ALTER TABLE app.audit_2025 ALTER actor SET DEFAULT 'me'",
            "column app.audit_2025.actor"),
    missing("DROP TABLE app.nothing", "table app.nothing"),
    missing("DROP TABLE app.child", "table app.child"),
    extra("CREATE TABLE app.surplus (id serial PRIMARY KEY)", "table app.surplus"),
    extra("CREATE SCHEMA surplus; CREATE TABLE surplus.t (id int)", "schema surplus"),
    differs("ALTER TABLE app.scratch SET LOGGED", "table app.scratch", "persistence"),
    differs("ALTER TABLE app.organisations SET (fillfactor = 80)", "table app.organisations"),
    differs("ALTER TABLE app.organisations RESET (toast.autovacuum_enabled)",
            "table app.organisations", "toast_options"),
    differs("ALTER TABLE public.trainees REPLICA IDENTITY FULL", TRAINEES, "replica_identity"),
    differs("ALTER TABLE app.child NO INHERIT app.second_parent", "table app.child"),
    Change("ALTER TABLE app.audit DETACH PARTITION app.audit_2025",
           ((DIFFERS, "table app.audit_2025"), (DIFFERS, "index app.audit_2025_organisation_idx"),
            (MISSING, "trigger audit_touch on app.audit_2025"),
            (EXTRA, "constraint audit_organisation_fkey on app.audit_2025"))),
    differs("ALTER TABLE app.audit_rest_hash DETACH PARTITION app.audit_rest_hash_0;"
            "ALTER TABLE app.audit_rest_hash ATTACH PARTITION app.audit_rest_hash_0"
            " FOR VALUES WITH (MODULUS 4, REMAINDER 0)", "table app.audit_rest_hash_0"),
    differs("COMMENT ON TABLE app.organisations IS 'else'", "table app.organisations", "comment"),
    differs("COMMENT ON COLUMN app.organisations.kind IS 'new'", "column app.organisations.kind"),
    differs("ALTER FOREIGN TABLE app.far_away OPTIONS (SET table_name 'far')",
            "foreign table app.far_away"),
    differs("ALTER TABLE app.organisations DROP CONSTRAINT size_known;"
            "ALTER TABLE app.organisations ADD CONSTRAINT size_known"
            " CHECK (size IN ('small', 'large')) NOT VALID;"
            "COMMENT ON CONSTRAINT size_known ON app.organisations IS 'sizes'",
            "constraint size_known on app.organisations", "validated: expected yes"),
    differs("ALTER TABLE public.trainees VALIDATE CONSTRAINT long_name",
            "constraint long_name on public.trainees"),
    missing("ALTER TABLE public.trainees DROP CONSTRAINT role_known",
            "constraint role_known on public.trainees"),
    missing("ALTER TABLE public.trainees DROP CONSTRAINT same_name",
            "constraint same_name on public.trainees"),
    differs("ALTER TABLE public.trainees ALTER CONSTRAINT trainees_organisation_id_fkey"
            " NOT DEFERRABLE", "constraint trainees_organisation_id_fkey on public.trainees"),
    differs("ALTER TABLE app.unlikely DISABLE TRIGGER ALL", "table app.unlikely",
            "disabled_constraint_triggers"),
    missing("DROP INDEX public.trainees_role", "index public.trainees_role"),
    differs("DROP INDEX public.trainees_trigram;"
            "CREATE INDEX trainees_trigram ON public.trainees USING gist"
            " (name extensions.gist_trgm_ops)", "index public.trainees_trigram"),
    differs("ALTER TABLE public.trainees SET WITHOUT CLUSTER", "index public.trainees_expression"),
    differs("UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'public.trainees_home'::regclass", "index public.trainees_home"),
    missing("DROP INDEX app.audit_organisation", "index app.audit_organisation"),
    differs("ALTER STATISTICS app.name_and_role SET STATISTICS 100",
            "statistics app.name_and_role"),
    missing("DROP STATISTICS app.expressions", "statistics app.expressions"),
    differs("ALTER SEQUENCE app.lpo_number INCREMENT 1", "sequence app.lpo_number", "increment"),
    differs("ALTER SEQUENCE app.lpo_number NO CYCLE", "sequence app.lpo_number"),
    differs("ALTER SEQUENCE app.named_identity MAXVALUE 600", "sequence app.named_identity"),
    Change("SELECT setval('app.lpo_number', 5000)", ()),
    Change("ALTER TABLE app.organisations ADD COLUMN gap int;"
           "ALTER TABLE app.organisations DROP COLUMN gap", ()),
]  # fmt: skip

DEFINITIONS = [
    differs("CREATE OR REPLACE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql COST 7"
            " AS 'BEGIN RETURN NULL; END'", "function app.touch()", "body"),
    differs("ALTER FUNCTION app.range_diff(float8, float8) VOLATILE",
            "function app.range_diff(double precision,double precision)", "volatility"),
    differs("ALTER FUNCTION app.range_diff(float8, float8) COST 5 STRICT PARALLEL SAFE",
            "function app.range_diff(double precision,double precision)", "strict"),
    differs("CREATE OR REPLACE FUNCTION app.inline_body(a int, b varchar) RETURNS boolean"
            " LANGUAGE sql IMMUTABLE RETURN true",
            "function app.inline_body(integer,character varying)", "sql_body", 14),
    missing("DROP PROCEDURE app.atomic_body", "procedure app.atomic_body(integer)", 14),
    extra("CREATE FUNCTION app.touch(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
          "function app.touch(integer)", "body SELECT 1"),
    differs("ALTER TABLE public.trainees DISABLE TRIGGER touch", "trigger touch on public.trainees",
            "enabled: expected enabled, observed disabled"),
    differs("ALTER TABLE public.trainees ENABLE TRIGGER asleep",
            "trigger asleep on public.trainees"),
    differs("ALTER TABLE app.audit_2025 ENABLE TRIGGER audit_touch",
            "trigger audit_touch on app.audit_2025"),
    missing("DROP TRIGGER touch ON public.trainees", "trigger touch on public.trainees"),
    missing("DROP TRIGGER audit_touch ON app.audit", "trigger audit_touch on app.audit"),
    differs("CREATE OR REPLACE RULE quiet AS ON INSERT TO public.trainees"
            " WHERE NEW.name = 'loud' DO INSTEAD NOTHING;"
            "ALTER TABLE public.trainees DISABLE RULE quiet", "rule quiet on public.trainees"),
    differs("ALTER TABLE public.trainees ENABLE RULE quiet", "rule quiet on public.trainees"),
    differs("CREATE OR REPLACE VIEW app.second_of_circle AS SELECT id FROM app.first_of_circle"
            " WHERE id > 0", "view app.second_of_circle", "definition"),
    Change("DROP MATERIALIZED VIEW app.empty; CREATE MATERIALIZED VIEW app.empty"
           " AS SELECT 2 AS one WITH NO DATA",
           ((DIFFERS, "materialized view app.empty"),), "expected SELECT 1 AS one"),
    differs("REFRESH MATERIALIZED VIEW app.totals WITH NO DATA", "materialized view app.totals",
            "populated"),
    differs("ALTER TYPE app.status ADD VALUE 'later'", "type app.status", "observed later"),
    differs("ALTER TYPE app.status RENAME VALUE 'between' TO 'settled'", "type app.status",
            "labels: expected between, observed settled"),
    Change("ALTER TYPE app.address ADD ATTRIBUTE note text CASCADE",
           ((DIFFERS, "type app.address"), (EXTRA, "column app.typed.note"))),
    differs("ALTER DOMAIN app.email DROP CONSTRAINT email_form; ALTER DOMAIN app.email"
            " ADD CONSTRAINT email_form CHECK (VALUE <> 'x');"
            "COMMENT ON CONSTRAINT email_form ON DOMAIN app.email IS 'a form'",
            "constraint email_form on domain app.email"),
    differs("ALTER DOMAIN app.email DROP NOT NULL", "type app.email"),
    differs("ALTER DOMAIN app.email SET DEFAULT 'x@y.z'", "type app.email"),
    differs("UPDATE pg_type SET typdelim = ';' WHERE typname = 'shell'", "base type app.shell",
            "delimiter"),
    missing("DROP COLLATION app.german", "collation app.german"),
    extra("CREATE COLLATION app.other (provider = libc, locale = 'POSIX')", "collation app.other"),
    missing("DROP CONVERSION app.latin", "conversion app.latin"),
    missing("DROP CAST (text AS app.status)", "cast (text as app.status)"),
    differs("ALTER OPERATOR app.>>> (int, text) SET (RESTRICT = NONE)",
            "operator app.>>>(integer,text)"),
    differs("ALTER OPERATOR FAMILY app.backwards_family USING btree"
            " ADD FUNCTION 1 (int, bigint) btint48cmp(int, bigint)",
            "operator family app.backwards_family using btree"),
    differs("CREATE OR REPLACE AGGREGATE app.weighted(int, factor int)"
            " (SFUNC = app.add_up, STYPE = int, INITCOND = '6')",
            "aggregate state of app.weighted(integer,integer)"),
    differs("ALTER TEXT SEARCH CONFIGURATION app.english_short DROP MAPPING FOR email",
            "text search configuration app.english_short"),
    differs("ALTER TEXT SEARCH DICTIONARY app.short_words (ACCEPT = true)",
            "text search dictionary app.short_words"),
    differs("ALTER SERVER elsewhere OPTIONS (SET host 'db2.example.com')", "server elsewhere"),
    differs("ALTER USER MAPPING FOR trainer SERVER elsewhere OPTIONS (SET user 'other')",
            "user mapping for trainer server elsewhere"),
    missing("DROP TRANSFORM FOR app.address LANGUAGE dummy",
            "transform for app.address language dummy"),
    Change("DROP EXTENSION pg_trgm CASCADE",
           ((MISSING, "extension pg_trgm"), (MISSING, "index public.trainees_trigram"))),
    extra("CREATE EXTENSION cube", "extension cube"),
    differs("COMMENT ON EXTENSION citext IS 'else'", "extension citext"),
    Change("UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'citext'",
           ((UNCHECKED, "extension citext"),), "version"),
    missing("DROP EVENT TRIGGER seen", "event trigger seen"),
    differs("ALTER EVENT TRIGGER seen DISABLE", "event trigger seen", "enabled"),
    differs("ALTER PUBLICATION changes SET (publish = 'insert')", "publication changes",
            "publishes"),
    missing("ALTER PUBLICATION changes DROP TABLE public.trainees",
            "publication changes table public.trainees"),
    extra("ALTER PUBLICATION changes ADD TABLE ONLY app.parent",
          "publication changes table app.parent"),
    differs("ALTER PUBLICATION filtered SET TABLE app.organisations (id, kind) WHERE (id > 1)",
            "publication filtered table app.organisations", "where", 15),
    missing('ALTER PUBLICATION schemas DROP TABLES IN SCHEMA "Odd Schema"',
            'publication schemas schema "Odd Schema"', 15),
    differs("ALTER SUBSCRIPTION incoming SET (slot_name = 'other')", "subscription incoming"),
    missing("SELECT lo_unlink(900002)", "large object 900002"),
    Change("CREATE TABLE extensions.t (id int); ALTER EXTENSION citext ADD TABLE extensions.t;"
           "ALTER TABLE extensions.t ENABLE ROW LEVEL SECURITY",
           ((EXTRA, "row security of table extensions.t"),)),
    Change("CREATE TABLE extensions.t (id int); ALTER EXTENSION citext ADD TABLE extensions.t;"
           "CREATE POLICY p ON extensions.t USING (true)",
           ((EXTRA, "row security of table extensions.t"), (EXTRA, "policy p on extensions.t"))),
    extra("INSERT INTO pg_seclabel"
          " VALUES ('app.parent'::regclass, 'pg_class'::regclass, 0, 'x', 'y')",
          "security label x on table app.parent", "y"),
]  # fmt: skip

# Comments and owners stand in every catalogue for themselves.
FAMILY = "OPERATOR FAMILY app.backwards_family USING btree"
COMMENTED = {
    "CONVERSION app.latin": "conversion app.latin",
    "CAST (text AS app.status)": "cast (text as app.status)",
    "OPERATOR CLASS app.backwards USING btree": "operator class app.backwards using btree",
    FAMILY: FAMILY.replace("OPERATOR FAMILY", "operator family").replace("USING", "using"),
    "TEXT SEARCH CONFIGURATION app.english_short": "text search configuration app.english_short",
    "TEXT SEARCH DICTIONARY app.short_words": "text search dictionary app.short_words",
    "TEXT SEARCH PARSER app.parser": "text search parser app.parser",
    "TEXT SEARCH TEMPLATE app.template": "text search template app.template",
    "LANGUAGE dummy": "language dummy",
    "TRANSFORM FOR app.address LANGUAGE dummy": "transform for app.address language dummy",
    "ACCESS METHOD second_heap": "access method second_heap",
    "FOREIGN DATA WRAPPER own_wrapper": "foreign-data wrapper own_wrapper",
    "SERVER elsewhere": "server elsewhere",
    "SUBSCRIPTION incoming": "subscription incoming",
    "PUBLICATION filtered": "publication filtered",
    "PROCEDURE app.atomic_body(int)": "procedure app.atomic_body(integer)",
    "AGGREGATE app.weighted(int, int)": "aggregate app.weighted(integer,integer)",
    "DOMAIN app.email": "type app.email",
    "COLUMN app.address.street": "type app.address",
    "VIEW app.known": "view app.known",
    "SCHEMA extensions": "schema extensions",
    "POLICY never ON public.trainees": "policy never on public.trainees",
    "RULE log_delete ON public.trainees": "rule log_delete on public.trainees",
    "CONSTRAINT same_name ON public.trainees": "constraint same_name on public.trainees",
    "STATISTICS app.expressions": "statistics app.expressions",
    'COLLATION "Odd Schema"."C-like"': 'collation "Odd Schema"."C-like"',
    "OPERATOR app.<<< (text, int)": "operator app.<<<(text,integer)",
    "EVENT TRIGGER off": "event trigger off",
    "FOREIGN TABLE app.far_away": "foreign table app.far_away",
}
OWNED = {
    "AGGREGATE app.weighted(int, int)",
    "COLLATION app.german",
    "CONVERSION app.latin",
    "DOMAIN app.money_positive",
    "LANGUAGE dummy",
    "OPERATOR app.>>> (int, text)",
    "OPERATOR CLASS app.backwards USING btree",
    "SERVER elsewhere",
    FAMILY,
    "PROCEDURE app.atomic_body(int)",
    "PUBLICATION filtered",
    "SEQUENCE app.lpo_number",
    "STATISTICS app.expressions",
    "TEXT SEARCH CONFIGURATION app.english_short",
    "TEXT SEARCH DICTIONARY app.short_words",
    "VIEW app.known",
    "MATERIALIZED VIEW app.totals",
    "FOREIGN TABLE app.far_away",
    "TYPE app.floats",
    "TABLE app.nothing",
}
SUBJECTS = {
    **COMMENTED,
    "COLLATION app.german": "collation app.german",
    "DOMAIN app.money_positive": "type app.money_positive",
    "OPERATOR app.>>> (int, text)": "operator app.>>>(integer,text)",
    "SEQUENCE app.lpo_number": "sequence app.lpo_number",
    "MATERIALIZED VIEW app.totals": "materialized view app.totals",
    "TYPE app.floats": "type app.floats",
    "TABLE app.nothing": "table app.nothing",
}
# On 13 most roles may not read a subscription's comment: nobody does.
LATER = {"SUBSCRIPTION incoming": 14}
REMARKS = [
    differs(f"COMMENT ON {what} IS 'changed'", subject, "changed", LATER.get(what, 13))
    for what, subject in COMMENTED.items()
] + [
    differs(f"ALTER {what} OWNER TO service", SUBJECTS[what], "owner: expected postgres")
    for what in sorted(OWNED)
]

MODERN = [
    differs("ALTER TABLE app.modern DROP COLUMN is_a;"
            "ALTER TABLE app.modern ADD COLUMN is_a boolean GENERATED ALWAYS AS (kind = 'a')",
            "column app.modern.is_a", "expression", 18),
    differs("ALTER TABLE app.modern VALIDATE CONSTRAINT late", "column app.modern.kind",
            "not_null_validated", 18),
    differs("ALTER TABLE app.modern RENAME CONSTRAINT has_name TO had_name",
            "column app.modern.name", "not_null_name: expected has_name", 18),
    differs("ALTER TABLE app.modern_refers ALTER CONSTRAINT hint ENFORCED",
            "constraint hint on app.modern_refers", "enforced", 18),
    differs("ALTER PUBLICATION generated SET (publish_generated_columns = none)",
            "publication generated", "generated_columns", 18),
]  # fmt: skip

CHANGES = SECURITY + CLUSTER + TABLES + DEFINITIONS + REMARKS + MODERN
