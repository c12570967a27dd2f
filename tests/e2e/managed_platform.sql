-- A project of a managed service as its customer gets it, from the public facts about Supabase: run
-- by the bootstrap superuser supabase_admin, twice without harm, in the database `postgres`.
SET client_min_messages = warning;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'supabase_auth_admin',
        'supabase_storage_admin', 'authenticator', 'postgres'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END $$;
ALTER ROLE service_role BYPASSRLS;
ALTER ROLE authenticator LOGIN NOINHERIT;
ALTER ROLE postgres NOSUPERUSER CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS;
GRANT anon, authenticated, service_role TO authenticator;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres;
GRANT anon, authenticated, service_role, authenticator TO postgres WITH ADMIN OPTION;
ALTER DATABASE postgres OWNER TO postgres;
ALTER DATABASE postgres SET search_path = "$user", public, extensions;
GRANT ALL ON SCHEMA public TO postgres;
ALTER SCHEMA public OWNER TO pg_database_owner;

CREATE SCHEMA IF NOT EXISTS extensions AUTHORIZATION postgres;
CREATE SCHEMA IF NOT EXISTS auth AUTHORIZATION supabase_auth_admin;
CREATE SCHEMA IF NOT EXISTS storage AUTHORIZATION supabase_storage_admin;
CREATE SCHEMA IF NOT EXISTS vault AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA extensions, auth, storage, vault TO postgres, anon, authenticated, service_role;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA extensions;

CREATE TABLE IF NOT EXISTS auth.users (id uuid PRIMARY KEY, email text UNIQUE);
CREATE TABLE IF NOT EXISTS auth.schema_migrations (version text PRIMARY KEY);
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
ALTER TABLE auth.schema_migrations OWNER TO supabase_auth_admin;
INSERT INTO auth.schema_migrations VALUES ('20171026211738'), ('20251104100000')
ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
CREATE TABLE IF NOT EXISTS storage.objects (id uuid PRIMARY KEY, bucket_id text, name text,
    owner_id text);
ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER, REFERENCES, TRUNCATE ON auth.users TO postgres;
GRANT SELECT ON auth.schema_migrations TO postgres;
GRANT ALL ON storage.objects TO postgres;
CREATE TABLE IF NOT EXISTS vault.secrets (id uuid PRIMARY KEY, secret text);

CREATE OR REPLACE FUNCTION extensions.watch_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY pgrst, 'reload schema';
END $$;
DROP EVENT TRIGGER IF EXISTS pgrst_ddl_watch;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.watch_ddl();
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime') THEN
        CREATE PUBLICATION supabase_realtime;
    END IF;
END $$;
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
