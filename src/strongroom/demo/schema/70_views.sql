-- Views, a rule, and materialised views of which one is computed from another.

CREATE VIEW public.trainee_certificates AS
    SELECT c.id, c.number, c.trainee_id, t.full_name, k.code AS course_code, k.title,
           c.issued_on, c.expires_on, c.status, d.file_path
    FROM public.certificates c
    JOIN public.trainees t ON t.id = c.trainee_id
    JOIN public.courses k ON k.id = c.course_id
    LEFT JOIN public.documents d ON d.certificate_id = c.id
    WHERE c.status IN ('valid', 'expired');
COMMENT ON VIEW public.trainee_certificates IS 'What the certificates page shows.';

CREATE VIEW public.certificate_verification WITH (security_barrier = true) AS
    SELECT c.number, c.verification_code, k.title, c.issued_on, c.expires_on, c.status
    FROM public.certificates c
    JOIN public.courses k ON k.id = c.course_id;

CREATE VIEW public.outstanding_invoices AS
    SELECT i.id, i.number, o.name AS organisation, i.due_on, i.gross,
           public.invoice_balance(i.id) AS balance
    FROM public.invoices i
    JOIN public.organisations o ON o.id = i.organisation_id
    WHERE i.status IN ('sent', 'partly paid', 'overdue');

CREATE VIEW public.active_organisations AS
    SELECT id, name, contact_email, active FROM public.organisations WHERE active
    WITH LOCAL CHECK OPTION;
ALTER VIEW public.active_organisations ALTER COLUMN active SET DEFAULT true;

-- An instructor is never deleted through this view; the session is cancelled instead.
CREATE VIEW public.session_board AS
    SELECT s.id, k.title, r.name AS room, lower(s.during) AS begins_at, s.status
    FROM public.sessions s
    JOIN public.courses k ON k.id = s.course_id
    JOIN public.rooms r ON r.id = s.room_id;
CREATE RULE session_board_cancels AS ON DELETE TO public.session_board
    DO INSTEAD UPDATE public.sessions SET status = 'cancelled' WHERE id = OLD.id;

CREATE RECURSIVE VIEW reporting.months (first_day) AS
    SELECT '2024-01-01'::date
    UNION ALL
    SELECT (first_day + interval '1 month')::date FROM months WHERE first_day < '2026-12-01';

CREATE MATERIALIZED VIEW reporting.revenue_by_month AS
    SELECT m.first_day AS month, o.kind, count(i.id) AS invoices,
           coalesce(sum(i.net), 0)::numeric(16, 2) AS net
    FROM reporting.months m
    LEFT JOIN public.invoices i
        ON i.issued_on >= m.first_day AND i.issued_on < m.first_day + interval '1 month'
       AND i.status <> 'void'
    LEFT JOIN public.organisations o ON o.id = i.organisation_id
    GROUP BY 1, 2
    ORDER BY 1, 2;
CREATE UNIQUE INDEX revenue_by_month_key ON reporting.revenue_by_month (month, kind);
COMMENT ON MATERIALIZED VIEW reporting.revenue_by_month IS 'Void invoices do not count.';

-- Its name sorts before that of the view it needs.
CREATE MATERIALIZED VIEW reporting.annual_revenue AS
    SELECT extract(year FROM month)::integer AS year, sum(net) AS net, sum(invoices) AS invoices
    FROM reporting.revenue_by_month
    GROUP BY 1
    ORDER BY 1;

CREATE MATERIALIZED VIEW reporting.course_results AS
    SELECT k.code, k.category, count(*) AS enrolments,
           count(*) FILTER (WHERE e.passed) AS passed,
           round(avg(e.score), 2) AS mean_score,
           reporting.longest(s.instructor) AS longest_name
    FROM public.courses k
    JOIN public.sessions s ON s.course_id = k.id
    JOIN public.enrolments e ON e.session_id = s.id
    GROUP BY k.code, k.category
    ORDER BY k.code;
CREATE INDEX course_results_category_idx ON reporting.course_results (category);

DO $newer$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE 'ALTER VIEW public.trainee_certificates SET (security_invoker = true)';
        EXECUTE 'ALTER VIEW public.outstanding_invoices SET (security_invoker = true)';
    END IF;
END
$newer$;
