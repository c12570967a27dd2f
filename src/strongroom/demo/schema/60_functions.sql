-- Functions, a procedure, an aggregate. Those with their owner's rights pin search_path.

CREATE FUNCTION auth.claims() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;
COMMENT ON FUNCTION auth.claims() IS 'Claims of the request, {} outside of one.';

CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT nullif(
        coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb ->> 'sub',
        '')::uuid
$$;

CREATE FUNCTION auth.role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(auth.claims() ->> 'role', 'anon')
$$;

CREATE FUNCTION private.organisation_of(wanted uuid) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = ''
AS $$
    SELECT organisation_id FROM public.users WHERE id = wanted
$$;

CREATE FUNCTION private.is_staff(wanted uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER COST 50
    SET search_path = ''
AS $$
    SELECT EXISTS (
        SELECT FROM public.users
        WHERE id = wanted AND role IN ('administrator', 'coordinator', 'finance')
    )
$$;

CREATE FUNCTION private.write_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    INSERT INTO public.audit_trail (actor, action, table_name, row_key, old_row, new_row)
    VALUES (
        auth.uid(),
        lower(TG_OP)::public.audit_action,
        TG_TABLE_NAME,
        CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END ->> 'id',
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION private.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION private.keep_invoice_total() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public
AS $$
BEGIN
    UPDATE invoices
    SET net = (SELECT coalesce(sum(amount), 0) FROM invoice_lines WHERE invoice_id = invoices.id)
    WHERE id IN (SELECT invoice_id FROM changed_lines);
    RETURN NULL;
END
$$;

CREATE FUNCTION public.invoice_balance(wanted bigint) RETURNS numeric
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, public
AS $$
    SELECT i.gross - coalesce((SELECT sum(p.amount) FROM payments p WHERE p.invoice_id = i.id), 0)
    FROM invoices i
    WHERE i.id = wanted
$$;
COMMENT ON FUNCTION public.invoice_balance(bigint) IS 'What is still to be paid, in AED.';

CREATE FUNCTION public.issue_certificate(wanted bigint, OUT certificate text, OUT code uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO certificates (enrolment_id, trainee_id, course_id, issued_on, expires_on)
    SELECT e.id, e.trainee_id, s.course_id, current_date, (current_date + c.validity)::date
    FROM enrolments e
    JOIN sessions s ON s.id = e.session_id
    JOIN courses c ON c.id = s.course_id
    WHERE e.id = wanted AND e.passed
    RETURNING number, verification_code INTO certificate, code;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'enrolment % has not been passed', wanted USING ERRCODE = 'check_violation';
    END IF;
END
$$;

CREATE FUNCTION public.find_trainees(words text, at_most integer DEFAULT 20)
    RETURNS TABLE (id bigint, full_name text, rank real)
    LANGUAGE sql STABLE ROWS 20
AS $$
    SELECT t.id, t.full_name, ts_rank(t.search, q.query)
    FROM public.trainees t, plainto_tsquery('public.tms_search', words) AS q(query)
    WHERE t.search @@ q.query
    ORDER BY 3 DESC, 1
    LIMIT at_most
$$;

CREATE FUNCTION public.seats_left(public.sessions) RETURNS integer
    LANGUAGE sql STABLE
AS $$
    SELECT $1.capacity - count(*)::integer
    FROM public.enrolments e
    WHERE e.session_id = $1.id AND e.status <> 'cancelled'
$$;

CREATE PROCEDURE public.close_session(wanted bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public
AS $$
BEGIN
    UPDATE sessions SET status = 'finished' WHERE id = wanted AND status = 'running';
    UPDATE enrolments SET status = 'completed' WHERE session_id = wanted AND status = 'attended';
END
$$;

CREATE FUNCTION reporting.keep_longer(text, text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN length($2) > length($1) THEN $2 ELSE $1 END
$$;
CREATE AGGREGATE reporting.longest(text) (
    SFUNC = reporting.keep_longer,
    STYPE = text,
    INITCOND = ''
);
COMMENT ON AGGREGATE reporting.longest(text) IS 'The longest text, the first of equals.';

-- From 14 on a body can be parsed when it is written: its dependencies are then real ones.
DO $newer$
BEGIN
    IF current_setting('server_version_num')::integer >= 140000 THEN
        EXECUTE 'CREATE FUNCTION public.vat_of(amount numeric) RETURNS numeric '
                'LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE '
                'BEGIN ATOMIC SELECT round(amount * 0.05, 2); END';
        EXECUTE 'CREATE FUNCTION public.certificate_count(wanted bigint) RETURNS bigint '
                'LANGUAGE sql STABLE '
                'BEGIN ATOMIC SELECT count(*) FROM public.certificates c '
                'WHERE c.trainee_id = wanted AND c.status IN (''valid'', ''expired''); END';
    ELSE
        EXECUTE 'CREATE FUNCTION public.vat_of(amount numeric) RETURNS numeric '
                'LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE '
                'AS $body$ SELECT round(amount * 0.05, 2) $body$';
    END IF;
END
$newer$;
