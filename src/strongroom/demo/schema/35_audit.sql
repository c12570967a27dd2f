-- The audit trail, one partition for each quarter.

CREATE TABLE public.audit_trail (
    id bigint NOT NULL DEFAULT nextval('public.audit_entry_seq'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor uuid,
    action public.audit_action NOT NULL,
    table_name text NOT NULL,
    row_key text,
    old_row jsonb,
    new_row jsonb,
    client inet,
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE public.audit_trail IS 'Who changed what and when; kept for seven years.';
ALTER SEQUENCE public.audit_entry_seq OWNED BY public.audit_trail.id;

DO $partitions$
DECLARE
    first_day date;
BEGIN
    FOR first_day IN
        SELECT generate_series('2024-04-01'::date, '2026-10-01'::date, interval '3 months')
    LOOP
        EXECUTE format(
            'CREATE TABLE public.%I PARTITION OF public.audit_trail FOR VALUES FROM (%L) TO (%L)',
            'audit_trail_' || to_char(first_day, 'YYYY"q"Q'),
            first_day || ' 00:00:00+00',
            (first_day + interval '3 months')::date || ' 00:00:00+00');
    END LOOP;
END
$partitions$;

-- The first quarter began as a table of its own, with its columns in another order.
CREATE TABLE public.audit_trail_2024q1 (
    occurred_at timestamptz NOT NULL DEFAULT now(),
    id bigint NOT NULL DEFAULT nextval('public.audit_entry_seq'),
    table_name text NOT NULL,
    action public.audit_action NOT NULL,
    row_key text,
    client inet,
    actor uuid,
    new_row jsonb,
    old_row jsonb
);
ALTER TABLE public.audit_trail ATTACH PARTITION public.audit_trail_2024q1
    FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-04-01 00:00:00+00');
CREATE TABLE public.audit_trail_later PARTITION OF public.audit_trail DEFAULT;
