-- Debian's postgresql-contrib: nearly every extension, with objects that use it.

CREATE EXTENSION adminpack; CREATE EXTENSION amcheck; CREATE EXTENSION autoinc;
CREATE EXTENSION bloom; CREATE EXTENSION btree_gin; CREATE EXTENSION btree_gist;
CREATE EXTENSION citext; CREATE EXTENSION cube; CREATE EXTENSION dblink;
CREATE EXTENSION dict_int; CREATE EXTENSION dict_xsyn; CREATE EXTENSION earthdistance;
CREATE EXTENSION file_fdw; CREATE EXTENSION fuzzystrmatch; CREATE EXTENSION hstore;
CREATE EXTENSION insert_username; CREATE EXTENSION intagg; CREATE EXTENSION intarray;
CREATE EXTENSION isn; CREATE EXTENSION lo; CREATE EXTENSION ltree;
CREATE EXTENSION moddatetime; CREATE EXTENSION pageinspect; CREATE EXTENSION pg_buffercache;
CREATE EXTENSION pg_freespacemap; CREATE EXTENSION pg_prewarm; CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pg_trgm; CREATE EXTENSION pg_visibility; CREATE EXTENSION pg_walinspect;
CREATE EXTENSION pgcrypto; CREATE EXTENSION pgrowlocks; CREATE EXTENSION pgstattuple;
CREATE EXTENSION postgres_fdw; CREATE EXTENSION refint; CREATE EXTENSION seg;
CREATE EXTENSION sslinfo; CREATE EXTENSION tablefunc; CREATE EXTENSION tcn;
CREATE EXTENSION tsm_system_rows; CREATE EXTENSION tsm_system_time; CREATE EXTENSION unaccent;
CREATE EXTENSION "uuid-ossp"; CREATE EXTENSION xml2;

CREATE TABLE products (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    token text NOT NULL DEFAULT encode(digest('x', 'sha256'), 'hex'),
    name citext NOT NULL UNIQUE,
    attributes hstore NOT NULL DEFAULT ''::hstore,
    category ltree NOT NULL,
    tags integer[] NOT NULL,
    isbn isbn13,
    size cube,
    weight seg,
    changed_at timestamp NOT NULL DEFAULT now(),
    changed_by text,
    CONSTRAINT attributes_complete CHECK (attributes ? 'colour')
);
CREATE INDEX ON products USING gist (attributes);
CREATE INDEX ON products USING gin (attributes);
CREATE INDEX ON products USING gist (category);
CREATE INDEX ON products USING gin (tags gin__int_ops);
CREATE INDEX ON products USING gist (tags gist__intbig_ops (siglen = 100));
CREATE INDEX ON products USING gin (name gin_trgm_ops);
CREATE INDEX ON products USING gist ((name::text) gist_trgm_ops (siglen = 32));
CREATE INDEX ON products USING gist (size);
CREATE INDEX ON products USING gist (weight);
CREATE INDEX ON products USING bloom (token) WITH (length = 80, col1 = 2);
CREATE INDEX ON products (soundex(name::text));
CREATE TRIGGER products_changed BEFORE UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION moddatetime(changed_at);
CREATE TRIGGER products_by BEFORE INSERT OR UPDATE ON products
    FOR EACH ROW EXECUTE FUNCTION insert_username(changed_by);
CREATE TRIGGER products_told AFTER INSERT OR UPDATE OR DELETE ON products
    FOR EACH ROW EXECUTE FUNCTION triggered_change_notification();
INSERT INTO products (name, attributes, category, tags, isbn, size, weight)
    SELECT 'Product ' || n, hstore('colour', 'red ' || n),
           ('top.' || 'c' || n % 7 || '.d' || n)::ltree, ARRAY[n, n + 1], '978-0-393-04002-9',
           cube(ARRAY[n, n + 1, n + 2]), (n || ' .. ' || n + 1)::seg
    FROM generate_series(1, 500) n;

CREATE TABLE bookings (room integer, during tsrange,
    EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO bookings
    SELECT n % 5, tsrange('2026-01-01'::timestamp + n * '1 day'::interval,
                          '2026-01-01'::timestamp + (n + 1) * '1 day'::interval)
    FROM generate_series(1, 100) n;
CREATE TABLE counted (id bigint, kind integer, body jsonb);
CREATE INDEX ON counted USING gin (kind, body);
INSERT INTO counted SELECT n, n % 3, jsonb_build_object('n', n) FROM generate_series(1, 200) n;

CREATE TABLE images (id serial PRIMARY KEY, raster lo);
CREATE TRIGGER images_raster BEFORE UPDATE OR DELETE ON images
    FOR EACH ROW EXECUTE FUNCTION lo_manage(raster);
INSERT INTO images (raster) SELECT lo_from_bytea(0, decode(md5(n::text), 'hex'))
    FROM generate_series(1, 5) n;

CREATE TEXT SEARCH CONFIGURATION plain_english (COPY = english);
ALTER TEXT SEARCH CONFIGURATION plain_english
    ALTER MAPPING FOR hword, hword_part, word WITH unaccent, english_stem;
CREATE TEXT SEARCH DICTIONARY short_numbers (TEMPLATE = intdict_template, MAXLEN = 4);
CREATE TABLE articles (id serial PRIMARY KEY, body text NOT NULL, words tsvector
    GENERATED ALWAYS AS (to_tsvector('plain_english', body)) STORED);
CREATE INDEX ON articles USING gin (words);
INSERT INTO articles (body) SELECT 'Hôtel de la Mer, nombre ' || n FROM generate_series(1, 50) n;

CREATE VIEW pivoted AS
    SELECT * FROM crosstab('SELECT id, kind, id::text FROM counted ORDER BY 1, 2',
                           'SELECT generate_series(0, 2)')
    AS pivoted (id bigint, none text, one text, two text);
CREATE VIEW near AS SELECT a.name FROM products a WHERE a.name % 'Product 7';
CREATE FUNCTION hidden(text) RETURNS bytea LANGUAGE sql AS $$SELECT digest($1, 'sha512')$$;

CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host 'db.invalid', dbname 'far', fetch_size '1000');
CREATE FOREIGN TABLE far (id integer OPTIONS (column_name 'far_id'), note text)
    SERVER elsewhere OPTIONS (schema_name 'public', table_name 'far_table');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE passwd (line text) SERVER files
    OPTIONS (filename '/nonexistent', format 'text');
