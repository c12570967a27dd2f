-- What only PostgreSQL 18 knows, on top of structure_nasty.sql.
CREATE TABLE app.modern (
    id int, valid_at tstzrange, name varchar(10) CONSTRAINT has_name NOT NULL,
    kind varchar(10) CONSTRAINT kind_hint CHECK (kind IN ('a', 'b')) NOT ENFORCED,
    short varchar(3) GENERATED ALWAYS AS (substr(name, 1, 3)) VIRTUAL,
    is_a boolean GENERATED ALWAYS AS (kind IN ('a', 'x')),
    CONSTRAINT modern_key PRIMARY KEY (id, valid_at WITHOUT OVERLAPS)
);
ALTER TABLE app.modern ADD CONSTRAINT late NOT NULL kind NOT VALID;
COMMENT ON CONSTRAINT has_name ON app.modern IS 'always';
CREATE TABLE app.modern_child () INHERITS (app.modern);
CREATE TABLE app.modern_parent (own int CONSTRAINT only_here NOT NULL NO INHERIT);
CREATE TABLE app.modern_heir () INHERITS (app.modern_parent);
CREATE TABLE app.modern_unique (id int, valid_at tstzrange, UNIQUE (id, valid_at));
CREATE TABLE app.modern_refers (id int, valid_at tstzrange,
    CONSTRAINT during FOREIGN KEY (id, PERIOD valid_at) REFERENCES app.modern (id, PERIOD valid_at),
    CONSTRAINT hint FOREIGN KEY (id, valid_at) REFERENCES app.modern_unique (id, valid_at) NOT ENFORCED);
CREATE PUBLICATION generated FOR TABLE app.modern WITH (publish_generated_columns = stored);
CREATE DOMAIN app.never_null AS int CONSTRAINT never NOT NULL;
GRANT MAINTAIN ON app.modern TO trainer;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO service;
