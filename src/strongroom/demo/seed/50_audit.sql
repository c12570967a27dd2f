-- The audit trail takes what is left of the number of rows that were asked for.

INSERT INTO public.audit_trail
    (id, occurred_at, actor, action, table_name, row_key, old_row, new_row, client)
SELECT i, seed.moment('audit', i, i, seed.amount('audit_trail') + 1),
       CASE WHEN i % 11 <> 0 THEN
           seed.uuid('user', 1 + seed.pick('actor', i, seed.amount('users'))) END,
       action, table_name, row_key::text,
       CASE WHEN action IN ('update', 'delete') THEN
           jsonb_build_object('id', row_key, 'status',
               seed.from_list('before', i, ARRAY['draft', 'sent', 'requested'])) END,
       CASE WHEN action IN ('insert', 'update') THEN
           jsonb_build_object('id', row_key, 'by', seed.full_name(i), 'status',
               seed.from_list('after', i, ARRAY['sent', 'paid', 'confirmed'])) END,
       CASE WHEN i % 7 = 0 THEN ('2001:db8::' || to_hex(seed.pick('address', i, 65000)))::inet
            ELSE '10.20.0.0'::inet + seed.pick('address', i, 65000) END
FROM generate_series(1, seed.amount('audit_trail')) AS i
CROSS JOIN LATERAL (
    SELECT (enum_range(NULL::public.audit_action))[1 + seed.pick('action', i, 4)] AS action,
           seed.from_list('table', i, ARRAY['enrolments', 'invoices', 'trainees', 'certificates',
                                            'payments', 'sessions']) AS table_name,
           1 + seed.pick('key', i, 20000) AS row_key
) AS what
ORDER BY i;
