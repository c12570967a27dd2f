-- What a customer and the service's support made in such a project: by supabase_admin.
SET client_min_messages = warning;
CREATE ROLE reporting LOGIN;
CREATE ROLE portal LOGIN;
GRANT reporting TO postgres WITH ADMIN OPTION;
INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-000000000001', 'a@example.org'),
    ('00000000-0000-4000-8000-000000000002', 'b@example.org');
INSERT INTO auth.schema_migrations VALUES ('20260101000000');
SET SESSION AUTHORIZATION postgres;
CREATE TABLE public.trainees (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid REFERENCES auth.users, name text NOT NULL, hash text
        DEFAULT encode(extensions.digest('x', 'sha256'), 'hex'));
CREATE INDEX trainees_by_name ON public.trainees (lower(name));
INSERT INTO public.trainees (user_id, name)
SELECT ('00000000-0000-4000-8000-00000000000' || 1 + n % 2)::uuid, 'trainee ' || n
FROM generate_series(1, 500) n;
ALTER TABLE public.trainees ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.trainees FOR SELECT TO authenticated, portal
    USING (user_id = (SELECT auth.uid()));
CREATE TABLE public.private (id int PRIMARY KEY, note text);
REVOKE ALL ON public.private FROM anon, authenticated;
INSERT INTO public.private VALUES (1, 'nobody else sees it');
CREATE SCHEMA reports;
GRANT USAGE ON SCHEMA reports TO portal;
CREATE TABLE reports.monthly (id int PRIMARY KEY, total numeric);
INSERT INTO reports.monthly VALUES (1, 10.50), (2, 11);
GRANT SELECT ON reports.monthly TO portal;
CREATE FUNCTION public.count_trainees() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS
    'SELECT count(*) FROM public.trainees';
CREATE FUNCTION public.welcome() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.private VALUES (100, NEW.email); RETURN NEW; END $$;
CREATE TRIGGER on_user_created AFTER INSERT ON auth.users
    FOR EACH ROW EXECUTE FUNCTION public.welcome();
ALTER PUBLICATION supabase_realtime ADD TABLE public.trainees;
RESET SESSION AUTHORIZATION;
GRANT CREATE ON SCHEMA reports TO reporting;
ALTER TABLE reports.monthly OWNER TO reporting;
CREATE POLICY uploads ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (owner_id = (SELECT auth.uid()::text));
CREATE FUNCTION public.no_drops() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not here'; END $$;
ALTER FUNCTION public.no_drops() OWNER TO postgres;
CREATE EVENT TRIGGER no_drops ON sql_drop WHEN TAG IN ('DROP SCHEMA')
    EXECUTE FUNCTION public.no_drops();
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE TABLE vault.of_the_service (id int);
