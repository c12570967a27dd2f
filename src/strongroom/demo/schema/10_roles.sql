-- Roles of the application. They belong to the server, not to the database, so that each is made
-- only when it is missing: two demos may live on one server.
-- anon, authenticated and service_role are the roles of a request, as on Supabase; tms_owner owns
-- every object; tms_app is what the PHP code logs in as before it takes on one of them.

DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('anon',          'NOLOGIN NOINHERIT'),
            ('authenticated', 'NOLOGIN NOINHERIT'),
            ('service_role',  'NOLOGIN NOINHERIT BYPASSRLS'),
            ('tms_owner',     'NOLOGIN'),
            ('tms_reporting', 'NOLOGIN'),
            ('tms_app',       'LOGIN NOINHERIT CONNECTION LIMIT 40')
        ) AS listed(name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
            EXECUTE format('COMMENT ON ROLE %I IS %L', wanted.name,
                           'Training Management System');
        END IF;
    END LOOP;
END
$roles$;

GRANT anon, authenticated, service_role TO tms_app;
GRANT tms_reporting TO service_role;
GRANT anon, authenticated, service_role, tms_owner TO CURRENT_USER;

ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';
