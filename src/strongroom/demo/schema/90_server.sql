-- What only the server's administrator may do: the event trigger, the publication, the database's
-- own settings and privileges. `current_database()` keeps the file free of the database's name.

CREATE FUNCTION private.keep_audit_trail() RETURNS event_trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
DECLARE
    dropped record;
BEGIN
    FOR dropped IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
        IF dropped.object_type = 'table' AND dropped.object_name LIKE 'audit\_trail%'
           AND coalesce(current_setting('tms.audit_may_go', true), '') <> 'yes' THEN
            RAISE EXCEPTION 'the audit trail is kept for seven years'
                USING HINT = 'Set tms.audit_may_go to yes in this session.';
        END IF;
    END LOOP;
END
$$;

DO $administrator$
BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE 'CREATE EVENT TRIGGER tms_keep_audit_trail ON sql_drop '
                'WHEN TAG IN (''DROP TABLE'', ''ALTER TABLE'') '
                'EXECUTE FUNCTION private.keep_audit_trail()';
        EXECUTE 'COMMENT ON EVENT TRIGGER tms_keep_audit_trail IS ''Seven years.''';
    END IF;
END
$administrator$;

DO $publication$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'CREATE PUBLICATION tms_website FOR TABLE public.courses '
                '(id, code, title, title_ar, category, duration_hours, price), '
                'public.certificates WHERE (status <> ''revoked'') '
                'WITH (publish = ''insert'')';
    ELSE
        EXECUTE 'CREATE PUBLICATION tms_website FOR TABLE public.courses, public.certificates '
                'WITH (publish = ''insert'')';
    END IF;
END
$publication$;

DO $database$
DECLARE
    name text := current_database();
BEGIN
    EXECUTE format('COMMENT ON DATABASE %I IS %L', name, 'Training Management System');
    EXECUTE format('ALTER DATABASE %I SET timezone = %L', name, 'Asia/Dubai');
    EXECUTE format('ALTER DATABASE %I SET default_text_search_config = %L', name,
                   'public.tms_search');
    EXECUTE format('ALTER DATABASE %I SET tms.environment = %L', name, 'demonstration');
    EXECUTE format('ALTER ROLE tms_app IN DATABASE %I SET search_path = public, auth', name);
    EXECUTE format('ALTER ROLE authenticated IN DATABASE %I SET lock_timeout = %L', name, '2s');
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', name);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO tms_app, tms_reporting', name);
    EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 200', name);
END
$database$;
