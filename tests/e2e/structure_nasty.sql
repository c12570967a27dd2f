-- A schema with one of everything that a PostgreSQL database may consist of, and with every
-- expression that PostgreSQL is known to print otherwise after a dump. Run by psql; parts that
-- 13 and 14 do not know stand between \if and \endif, and what only 18 knows in
-- structure_nasty_18.sql.
SELECT current_setting('server_version_num')::int >= 140000 AS since_14,
    current_setting('server_version_num')::int >= 150000 AS since_15 \gset
SET check_function_bodies = off;
CREATE SCHEMA "Odd Schema" AUTHORIZATION trainer;
CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'it''s the application''s';
GRANT USAGE ON SCHEMA app TO anon, authenticated, trainer;
GRANT USAGE ON SCHEMA "Odd Schema" TO anon WITH GRANT OPTION;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA extensions;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;
CREATE EXTENSION postgres_fdw SCHEMA extensions;
CREATE EXTENSION btree_gist SCHEMA extensions;
COMMENT ON EXTENSION citext IS 'case does not matter here';
GRANT EXECUTE ON FUNCTION extensions.similarity(text, text) TO anon;
REVOKE EXECUTE ON FUNCTION extensions.similarity(text, text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) TO service;
GRANT SELECT ON pg_catalog.pg_authid TO service;

-- Types
CREATE TYPE app.status AS ENUM ('new', 'paid', 'it''s done', 'Ünïcode');
ALTER TYPE app.status ADD VALUE 'between' BEFORE 'paid';
ALTER TYPE app.status OWNER TO trainer;
CREATE TYPE app.address AS (street text, zip varchar(10) COLLATE "C", geo point);
ALTER TYPE app.address ADD ATTRIBUTE gone int;
ALTER TYPE app.address DROP ATTRIBUTE gone;
ALTER TYPE app.address ADD ATTRIBUTE country char(2);
COMMENT ON COLUMN app.address.zip IS 'postal code';
COMMENT ON TYPE app.address IS 'where to';
CREATE DOMAIN app.email AS varchar(200) COLLATE "C" DEFAULT 'nobody@example.com' NOT NULL
    CONSTRAINT email_form CHECK (VALUE ~ '^[^@]+@[^@]+$' AND VALUE <> 'x' AND length(VALUE) > 3);
ALTER DOMAIN app.email ADD CONSTRAINT email_kind CHECK (VALUE IN ('a@b.c', 'd@e.f') OR true) NOT VALID;
COMMENT ON CONSTRAINT email_form ON DOMAIN app.email IS 'a form';
CREATE DOMAIN app.money_positive AS numeric(12,2) CHECK (VALUE >= 0);
REVOKE USAGE ON TYPE app.money_positive FROM PUBLIC;
GRANT USAGE ON TYPE app.money_positive TO authenticated;
CREATE FUNCTION app.range_diff(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE
    AS 'SELECT a - b';
CREATE TYPE app.floats AS RANGE (subtype = float8, subtype_diff = app.range_diff);
CREATE TYPE app.shell;
CREATE FUNCTION app.shell_in(cstring) RETURNS app.shell LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION app.shell_out(app.shell) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE app.shell (INPUT = app.shell_in, OUTPUT = app.shell_out, LIKE = int4, CATEGORY = 'U', DEFAULT = '7');
CREATE COLLATION app.german (provider = libc, locale = 'C');
CREATE COLLATION "Odd Schema"."C-like" FROM "C";
COMMENT ON COLLATION app.german IS 'plain';

-- Sequences
CREATE SEQUENCE app.lpo_number AS bigint START 1000 INCREMENT 10 MINVALUE 10 MAXVALUE 99999 CACHE 5 CYCLE;
GRANT USAGE, SELECT ON SEQUENCE app.lpo_number TO authenticated;
COMMENT ON SEQUENCE app.lpo_number IS 'numbers of orders';
SELECT nextval('app.lpo_number');

-- Functions
CREATE FUNCTION app.current_trainee() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = app, pg_temp SET work_mem = '8MB' SET app.list = 'a, "B"'
    AS $$ SELECT nullif(current_setting('app.trainee', true), '')::bigint $$;
REVOKE EXECUTE ON FUNCTION app.current_trainee() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.current_trainee() TO anon, authenticated;
COMMENT ON FUNCTION app.current_trainee() IS 'who asks';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql COST 7 AS $body$
BEGIN
    -- a comment, a backslash \ and a tab	here
    NEW.updated_at := now();
    RETURN NEW;
END
$body$;
CREATE FUNCTION app.defaults(a int, b varchar DEFAULT 'x'::varchar, c date DEFAULT now(), VARIADIC d text[] DEFAULT '{}')
    RETURNS TABLE (id int, label text) LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 5 LEAKPROOF
    AS 'SELECT 1, ''one''';
\if :since_14
CREATE FUNCTION app.inline_body(a int, b varchar) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN (b IN ('x', 'y')) AND a BETWEEN 1 AND 5 AND a <> 3;
CREATE PROCEDURE app.atomic_body(INOUT n int) LANGUAGE sql
BEGIN ATOMIC
    SELECT n + 1;
    SELECT n + 2 AS n;
END;
\else
CREATE PROCEDURE app.atomic_body(INOUT n int) LANGUAGE sql AS 'SELECT n + 2 AS n';
\endif
CREATE FUNCTION app.event_seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE FUNCTION app.text_to_status(text) RETURNS app.status LANGUAGE sql STABLE AS 'SELECT ''new''::app.status';
CREATE CAST (text AS app.status) WITH FUNCTION app.text_to_status(text) AS ASSIGNMENT;
CREATE FUNCTION app.bigger(a int, b text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT a > length(b)';
CREATE FUNCTION app.smaller(a text, b int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length(a) < b';
CREATE OPERATOR app.>>> (LEFTARG = int, RIGHTARG = text, FUNCTION = app.bigger,
    COMMUTATOR = OPERATOR(app.<<<), RESTRICT = scalargtsel);
CREATE OPERATOR app.<<< (LEFTARG = text, RIGHTARG = int, FUNCTION = app.smaller,
    COMMUTATOR = OPERATOR(app.>>>));
COMMENT ON OPERATOR app.>>> (int, text) IS 'longer';
CREATE FUNCTION app.compare_backwards(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE
    AS 'SELECT b - a';
CREATE OPERATOR FAMILY app.backwards_family USING btree;
CREATE OPERATOR CLASS app.backwards FOR TYPE int USING btree FAMILY app.backwards_family AS
    OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <,
    FUNCTION 1 app.compare_backwards(int, int);
ALTER OPERATOR FAMILY app.backwards_family USING btree ADD OPERATOR 1 >(int, bigint);
CREATE FUNCTION app.add_up(state int, value int, factor int) RETURNS int LANGUAGE sql IMMUTABLE
    AS 'SELECT state + value * factor';
CREATE AGGREGATE app.weighted(int, factor int) (SFUNC = app.add_up, STYPE = int, INITCOND = '5');
COMMENT ON AGGREGATE app.weighted(int, int) IS 'adds up';
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE TEXT SEARCH DICTIONARY app.short_words (TEMPLATE = simple, STOPWORDS = english, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION app.english_short (COPY = english);
ALTER TEXT SEARCH CONFIGURATION app.english_short ALTER MAPPING FOR asciiword WITH app.short_words, english_stem;
ALTER TEXT SEARCH CONFIGURATION app.english_short DROP MAPPING FOR url;
CREATE TEXT SEARCH PARSER app.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
    LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH TEMPLATE app.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE FUNCTION app.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.inline_handler(internal) RETURNS void STRICT LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION app.validator(oid) RETURNS void STRICT LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE LANGUAGE dummy HANDLER app.handler INLINE app.inline_handler VALIDATOR app.validator;
CREATE TRUSTED LANGUAGE app_language HANDLER app.handler;
COMMENT ON LANGUAGE app_language IS 'speaks';
GRANT USAGE ON LANGUAGE app_language TO trainer;
CREATE FUNCTION app.from_sql(internal) RETURNS internal LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
CREATE TRANSFORM FOR app.address LANGUAGE dummy (FROM SQL WITH FUNCTION app.from_sql(internal));
CREATE ACCESS METHOD second_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE FOREIGN DATA WRAPPER own_wrapper OPTIONS (debug 'true');
CREATE SERVER elsewhere TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host 'db.example.com', dbname 'tms', use_remote_estimate 'true');
GRANT USAGE ON FOREIGN SERVER elsewhere TO trainer;
CREATE USER MAPPING FOR trainer SERVER elsewhere OPTIONS (user 'far', password 'hush');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere;
CREATE FOREIGN TABLE app.far_away (id int OPTIONS (column_name 'identity') NOT NULL, note text COLLATE "C")
    SERVER elsewhere OPTIONS (schema_name 'public', table_name 'near');

-- Tables
CREATE TABLE app.organisations (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 2) PRIMARY KEY,
    "Odd Column" text,
    dropped int,
    kind varchar(20) DEFAULT 'company' CHECK (kind IN ('company', 'school', 'person')),
    size varchar(10) NOT NULL DEFAULT 'small'::varchar CONSTRAINT size_known CHECK (size = ANY (ARRAY['small', 'large']::varchar[])),
    mail app.email,
    created_at timestamptz NOT NULL DEFAULT now(),
    due date DEFAULT ('now'::text)::date + 30,
    price money DEFAULT '$1,000.50',
    span interval DEFAULT '1 day 02:00' CHECK (span > interval '1 hour'),
    bits bit(4) DEFAULT B'1010', flags bit varying(8),
    secret bytea DEFAULT '\xdead',
    "time" time(3) with time zone DEFAULT '12:00+04',
    numbers int[] DEFAULT '{1,2}' CHECK (numbers <@ ARRAY[1, 2, 3]),
    document jsonb DEFAULT '{"a": [1, "two"]}' CHECK (document ->> 'a' IS NOT NULL AND (document ? 'a') AND NOT (document ? 'b')),
    code char(3) DEFAULT 'abc' CHECK (code <> 'xyz' AND code IN ('abc', 'def') AND NOT (code = 'q' OR code = 'r')),
    negative int DEFAULT -1 CHECK (negative - (-1) > -5 AND negative BETWEEN -10 AND 10),
    quotient numeric DEFAULT 1.50 CHECK (quotient::numeric(5,2) <> 0.1 OR quotient IS NULL)
);
ALTER TABLE app.organisations DROP COLUMN dropped;
ALTER TABLE app.organisations ADD COLUMN initial char(1) GENERATED ALWAYS AS (upper(substr(kind, 1, 1))) STORED;
ALTER TABLE app.organisations ADD COLUMN is_known boolean GENERATED ALWAYS AS (kind IN ('company', 'school')) STORED;
ALTER TABLE app.organisations ALTER "Odd Column" SET STORAGE EXTERNAL, ALTER kind SET STATISTICS 500,
    ALTER document SET (n_distinct = 100);
\if :since_14
ALTER TABLE app.organisations ALTER secret SET COMPRESSION pglz;
\endif
ALTER TABLE app.organisations SET (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE app.organisations OWNER TO trainer;
COMMENT ON TABLE app.organisations IS E'line one\nline two';
COMMENT ON COLUMN app.organisations."Odd Column" IS 'odd';
COMMENT ON CONSTRAINT size_known ON app.organisations IS 'sizes';
GRANT SELECT, INSERT ON app.organisations TO anon WITH GRANT OPTION;
GRANT UPDATE (kind, size), SELECT (mail) ON app.organisations TO authenticated;
REVOKE TRUNCATE ON app.organisations FROM trainer;
SET ROLE anon;
GRANT SELECT ON app.organisations TO "Odd Role";
RESET ROLE;

CREATE TABLE public.trainees (
    id bigserial PRIMARY KEY,
    organisation_id bigint REFERENCES app.organisations ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    name text NOT NULL, status app.status DEFAULT 'new', home app.address,
    role varchar(20) NOT NULL DEFAULT 'trainee',
    owner_name name DEFAULT CURRENT_USER,
    period tstzrange, score double precision DEFAULT 0.1, updated_at timestamptz,
    nick extensions.citext COLLATE "C",
    CONSTRAINT role_known CHECK (role::text IN ('trainee', 'trainer') AND role <> 'x' AND length(role) > 2 AND role NOT IN ('a', 'b')),
    CONSTRAINT same_name UNIQUE (organisation_id, name) INCLUDE (status) DEFERRABLE,
    CONSTRAINT no_overlap EXCLUDE USING gist (organisation_id WITH =, period WITH &&) WHERE (status <> 'new')
);
ALTER TABLE public.trainees ADD CONSTRAINT long_name CHECK (name <> '' AND (name LIKE 'a%' OR name ~~* 'b%' OR name = ANY ('{x,y}'::text[]))) NOT VALID;
ALTER TABLE public.trainees ADD CONSTRAINT mine CHECK (score > 0 OR score = 'NaN' OR score <> ALL (ARRAY[1, 2])) NO INHERIT;
CREATE INDEX trainees_role ON public.trainees (role) WHERE role IN ('trainer', 'admin') AND name IS NOT NULL AND id > 0;
CREATE INDEX trainees_expression ON public.trainees (lower(name) text_pattern_ops DESC NULLS LAST, (id % 10)) WITH (fillfactor = 80);
ALTER INDEX public.trainees_expression ALTER COLUMN 2 SET STATISTICS 77;
CREATE INDEX trainees_trigram ON public.trainees USING gin (name extensions.gin_trgm_ops);
CREATE INDEX trainees_home ON public.trainees (((home).zip) COLLATE "C", (coalesce(role, 'x'::varchar)));
CREATE UNIQUE INDEX trainees_unique ON public.trainees (organisation_id, id);
CREATE INDEX trainees_backwards ON public.trainees ((id::int) app.backwards);
ALTER TABLE public.trainees CLUSTER ON trainees_expression;
ALTER TABLE public.trainees ALTER organisation_id SET NOT NULL;
ALTER TABLE public.trainees REPLICA IDENTITY USING INDEX trainees_unique;
COMMENT ON INDEX public.trainees_role IS 'who teaches';
CREATE STATISTICS app.name_and_role (dependencies, ndistinct) ON name, role FROM public.trainees;
\if :since_14
CREATE STATISTICS app.expressions ON (lower(name)), role FROM public.trainees;
\else
CREATE STATISTICS app.expressions ON name, role, score FROM public.trainees;
\endif
ALTER STATISTICS app.name_and_role SET STATISTICS 60;
COMMENT ON STATISTICS app.name_and_role IS 'go together';
ALTER TABLE public.trainees ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.trainees FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON public.trainees FOR SELECT TO authenticated, anon
    USING (id = (SELECT app.current_trainee()) AND role IN ('trainee', 'trainer') AND status <> 'paid');
CREATE POLICY writes ON public.trainees FOR UPDATE TO authenticated
    USING (EXISTS (SELECT 1 FROM app.organisations o WHERE o.id = organisation_id AND o.kind IN ('company', 'school')))
    WITH CHECK (role = ANY (ARRAY['trainee', 'trainer']));
CREATE POLICY never ON public.trainees AS RESTRICTIVE TO PUBLIC USING (true) WITH CHECK (name <> 'root');
COMMENT ON POLICY own_rows ON public.trainees IS 'only mine';
CREATE TRIGGER touch BEFORE UPDATE OF name, role ON public.trainees FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.* AND NEW.role IN ('trainee', 'trainer')) EXECUTE FUNCTION app.touch('a', 'b''c');
CREATE TRIGGER statements AFTER INSERT ON public.trainees REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION app.touch();
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON public.trainees FROM app.organisations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER asleep BEFORE DELETE ON public.trainees FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE public.trainees DISABLE TRIGGER asleep;
ALTER TABLE public.trainees ENABLE ALWAYS TRIGGER statements;
ALTER TABLE public.trainees ENABLE REPLICA TRIGGER later;
ALTER TRIGGER touch ON public.trainees DEPENDS ON EXTENSION citext;
COMMENT ON TRIGGER touch ON public.trainees IS 'time';
CREATE RULE log_delete AS ON DELETE TO public.trainees WHERE (OLD.role IN ('trainer', 'x')) DO ALSO SELECT OLD.name, OLD.role IN ('a', 'b');
CREATE RULE quiet AS ON INSERT TO public.trainees WHERE NEW.name = 'quiet' DO INSTEAD NOTHING;
ALTER TABLE public.trainees DISABLE RULE quiet;
COMMENT ON RULE quiet ON public.trainees IS 'hush';

-- Inheritance, partitions, and the rest of the kinds of tables
CREATE TABLE app.parent (id int NOT NULL, label varchar(10) DEFAULT 'p', extra text, CONSTRAINT positive CHECK (id > 0));
ALTER TABLE app.parent ALTER extra SET STORAGE EXTERNAL;
CREATE TABLE app.second_parent (other numeric(8, 3));
CREATE TABLE app.child (own int, label varchar(10) DEFAULT 'c') INHERITS (app.parent, app.second_parent);
ALTER TABLE app.child ALTER id SET DEFAULT 3;
CREATE TABLE app.adopted (id int NOT NULL, label varchar(10), extra text, late int, CONSTRAINT positive CHECK (id > 0));
ALTER TABLE app.adopted INHERIT app.parent;
CREATE TABLE app.audit (at timestamptz NOT NULL, actor varchar(20) NOT NULL DEFAULT 'system', organisation bigint REFERENCES app.organisations, detail jsonb,
    CONSTRAINT audit_actor CHECK (actor IN ('system', 'human') OR actor > 'z')) PARTITION BY RANGE (at, (lower(actor)));
ALTER TABLE app.audit DROP COLUMN detail;
ALTER TABLE app.audit ADD COLUMN detail jsonb;
CREATE TABLE app.audit_2025 PARTITION OF app.audit FOR VALUES FROM ('2025-01-01', MINVALUE) TO ('2026-01-01', MINVALUE);
CREATE TABLE app.audit_late (detail jsonb, actor varchar(20) NOT NULL DEFAULT 'late', at timestamptz NOT NULL, organisation bigint, gone int,
    CONSTRAINT audit_actor CHECK (actor IN ('system', 'human') OR actor > 'z'), CONSTRAINT own_fk FOREIGN KEY (organisation) REFERENCES app.organisations);
ALTER TABLE app.audit_late DROP COLUMN gone;
ALTER TABLE app.audit ATTACH PARTITION app.audit_late FOR VALUES FROM ('2026-01-01', MINVALUE) TO ('2027-01-01', MINVALUE);
CREATE TABLE app.audit_rest PARTITION OF app.audit DEFAULT PARTITION BY LIST (actor);
CREATE TABLE app.audit_rest_some PARTITION OF app.audit_rest FOR VALUES IN ('a', 'b', NULL);
CREATE TABLE app.audit_rest_hash PARTITION OF app.audit_rest DEFAULT PARTITION BY HASH (organisation);
CREATE TABLE app.audit_rest_hash_0 PARTITION OF app.audit_rest_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE INDEX audit_organisation ON app.audit (organisation) WHERE actor IN ('system', 'human');
CREATE INDEX only_parent ON ONLY app.audit (actor);
CREATE TRIGGER audit_touch AFTER INSERT ON app.audit FOR EACH ROW WHEN (NEW.actor IN ('a', 'b')) EXECUTE FUNCTION app.touch();
ALTER TABLE app.audit_2025 DISABLE TRIGGER audit_touch;
ALTER TABLE app.audit ENABLE ROW LEVEL SECURITY;
CREATE TABLE app.numbered (id int, part int, CONSTRAINT numbered_key PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE app.numbered_1 PARTITION OF app.numbered FOR VALUES IN (1, 2);
CREATE TABLE app.refers (id int, part int, CONSTRAINT to_numbered FOREIGN KEY (id, part) REFERENCES app.numbered MATCH FULL ON UPDATE CASCADE) PARTITION BY HASH (id);
CREATE TABLE app.refers_0 PARTITION OF app.refers FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE app.nothing ();
CREATE UNLOGGED TABLE app.scratch (id serial, note text);
CREATE TABLE app.typed OF app.address (PRIMARY KEY (zip), street WITH OPTIONS DEFAULT 'here');
CREATE TABLE app.on_second_heap (id int) USING second_heap;
CREATE TABLE app.identities (id bigint GENERATED ALWAYS AS IDENTITY, part int, price numeric(8, 2), twice numeric GENERATED ALWAYS AS (price * 2) STORED) PARTITION BY LIST (part);
CREATE TABLE app.identities_1 PARTITION OF app.identities (price DEFAULT 3.50) FOR VALUES IN (1);
\if :since_14
CREATE TABLE app.compressed (note text COMPRESSION pglz);
CREATE TABLE app.compressed_child () INHERITS (app.compressed);
ALTER TABLE app.compressed_child ALTER note SET COMPRESSION default;
\endif
\if :since_15
CREATE TABLE app.nulls (a int, b varchar(5), CONSTRAINT one_null UNIQUE NULLS NOT DISTINCT (a, b));
\endif
CREATE DOMAIN app.addresses AS app.address[] DEFAULT '{}' CHECK (cardinality(VALUE) < 5);
CREATE TABLE app.by_default_identity (id smallint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME app.named_identity MAXVALUE 500), n int DEFAULT nextval('app.lpo_number'), renamed int);
ALTER TABLE app.by_default_identity RENAME COLUMN renamed TO later_name;
ALTER TABLE app.by_default_identity RENAME TO renamed_table;
ALTER TABLE app.renamed_table ADD CONSTRAINT later_unique UNIQUE (later_name);
CREATE TABLE app.unlikely (id int, CONSTRAINT unlikely_fk FOREIGN KEY (id) REFERENCES app.renamed_table (later_name) NOT VALID);

-- Views
CREATE VIEW app.known AS SELECT o.id, o.kind, t.name, t.role, o.created_at::date AS day
    FROM app.organisations o JOIN public.trainees t ON t.organisation_id = o.id AND t.role IN ('trainee', 'trainer')
    WHERE o.kind IN ('company', 'school') AND o.size <> 'x' AND t.status IN ('new', 'paid') AND NOT (o.kind = 'x' OR o.size = 'y')
;
CREATE VIEW app.simple WITH (security_barrier) AS SELECT id, name, role FROM public.trainees WHERE role IN ('a', 'b')
    WITH CASCADED CHECK OPTION;
ALTER VIEW app.simple ALTER COLUMN role SET DEFAULT 'a';
ALTER VIEW app.simple OWNER TO trainer;
GRANT SELECT ON app.simple TO anon;
CREATE VIEW app.invoked AS SELECT s.id AS number, s.* FROM app.simple s;
\if :since_15
ALTER VIEW app.invoked SET (security_invoker = true);
\endif
ALTER VIEW app.invoked RENAME COLUMN number TO "No.";
CREATE TRIGGER instead INSTEAD OF INSERT ON app.invoked FOR EACH ROW EXECUTE FUNCTION app.touch();
COMMENT ON VIEW app.simple IS 'simple';
COMMENT ON COLUMN app.simple.role IS 'a role';
CREATE VIEW app.complex AS
    WITH RECURSIVE r(n, label) AS (VALUES (1, 'x'::varchar) UNION ALL SELECT n + 1, label FROM r WHERE n < 5 AND label IN ('x', 'y'))
    SELECT DISTINCT ON (r.n) r.n, count(*) FILTER (WHERE t.role IN ('a', 'b')) OVER w AS many,
        CASE t.role WHEN 'trainer' THEN 'T' ELSE coalesce(t.nick::text, 'none') END AS letter,
        array_agg(t.name) OVER (PARTITION BY t.role ORDER BY t.id DESC) AS names,
        t.created + interval '1' day AS next, (SELECT max(x) FROM unnest(ARRAY[1, 2]) x) AS top,
        extract(epoch FROM t.updated_at) AS epoch, t.updated_at AT TIME ZONE 'Asia/Dubai' AS local,
        substring(t.name FROM 2 FOR 3) AS part,
        t.name SIMILAR TO '(a|b)%' AS similar, (t.home).street, ROW(t.id, t.name) = ROW(1, 'x') AS same
    FROM r LEFT JOIN LATERAL (SELECT t.*, now() AS created FROM public.trainees t WHERE t.id > r.n LIMIT 3) t ON t.id = r.n
    WINDOW w AS (PARTITION BY r.n ORDER BY t.id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
    ORDER BY r.n, t.id NULLS FIRST;
CREATE VIEW app.using_join AS SELECT * FROM app.numbered JOIN app.refers USING (id, part) NATURAL JOIN (VALUES (1, 2)) v(part, other);
CREATE VIEW app.grouping AS SELECT kind, size, grouping(kind) AS g, sum(id) FROM app.organisations GROUP BY ROLLUP (kind, size) HAVING count(*) > 0 AND kind IN ('a', 'b');
CREATE VIEW app.first_of_circle AS SELECT 1 AS id, 'x'::text AS note;
CREATE VIEW app.second_of_circle AS SELECT id FROM app.first_of_circle;
CREATE OR REPLACE VIEW app.first_of_circle AS SELECT 1 AS id, 'x'::text AS note WHERE EXISTS (SELECT FROM app.second_of_circle WHERE false);
CREATE OR REPLACE FUNCTION app.organisation_of(t public.trainees) RETURNS text LANGUAGE sql STABLE AS 'SELECT t.name';
CREATE VIEW app.with_row_function AS SELECT app.organisation_of(t) AS o, t AS whole FROM public.trainees t;
CREATE MATERIALIZED VIEW app.totals WITH (fillfactor = 90) AS SELECT kind, count(*) AS many FROM app.organisations WHERE kind IN ('company', 'school') GROUP BY kind;
CREATE UNIQUE INDEX totals_key ON app.totals (kind);
ALTER MATERIALIZED VIEW app.totals ALTER COLUMN kind SET STATISTICS 50;
CREATE MATERIALIZED VIEW app.empty AS SELECT 1 AS one WITH NO DATA;
COMMENT ON MATERIALIZED VIEW app.totals IS 'totals';
GRANT SELECT ON app.totals TO anon;

-- Publications, event triggers, default privileges, large objects
CREATE PUBLICATION changes FOR TABLE public.trainees, app.audit WITH (publish = 'insert, update', publish_via_partition_root = true);
ALTER PUBLICATION changes OWNER TO postgres;
COMMENT ON PUBLICATION changes IS 'out';
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'truncate');
\if :since_15
CREATE PUBLICATION filtered FOR TABLE app.organisations (id, kind) WHERE (kind <> 'company' AND (id > 0 AND size = 'x'));
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA "Odd Schema";
\else
CREATE PUBLICATION filtered FOR TABLE app.organisations;
\endif
CREATE SUBSCRIPTION incoming CONNECTION 'host=nowhere.invalid password=hush' PUBLICATION b, a WITH (connect = false, slot_name = 'slot');
CREATE EVENT TRIGGER seen ON ddl_command_end WHEN TAG IN ('DROP FUNCTION', 'ALTER TABLE') EXECUTE FUNCTION app.event_seen();
ALTER EVENT TRIGGER seen ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER seen IS 'sees';
CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION app.event_seen();
ALTER EVENT TRIGGER off DISABLE;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO anon;
ALTER DEFAULT PRIVILEGES FOR ROLE trainer IN SCHEMA app GRANT ALL ON SEQUENCES TO authenticated WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE trainer REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "Odd Role" REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO service;
SELECT lo_create(900001), lo_create(900002);
ALTER LARGE OBJECT 900001 OWNER TO trainer;
GRANT SELECT ON LARGE OBJECT 900001 TO anon;
COMMENT ON LARGE OBJECT 900002 IS 'a scan';
ALTER TABLE app.refers DISABLE TRIGGER ALL;

-- Rows, so that a dump has something to move
INSERT INTO app.organisations ("Odd Column") SELECT 'x' || i FROM generate_series(1, 20) i;
INSERT INTO public.trainees (organisation_id, name) SELECT id, 'a' || id FROM app.organisations;
REFRESH MATERIALIZED VIEW app.totals;
