-- Sequences go on where the rows end; what the seeding needed goes.

-- Who holds the first certificate that has a paper is the first user: somebody can sign in and see it.
UPDATE public.trainees SET user_id = NULL WHERE user_id = seed.uuid('user', 1);
UPDATE public.trainees SET user_id = seed.uuid('user', 1)
WHERE id = (SELECT c.trainee_id FROM public.certificates c
            JOIN public.documents d ON d.certificate_id = c.id
            WHERE c.status <> 'revoked' ORDER BY c.id LIMIT 1);

DO $sequences$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['organisations', 'trainees', 'sessions', 'enrolments', 'quotations',
                                'lpos', 'invoices', 'payments', 'certificates']
    LOOP
        EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, %L), max(id)) FROM public.%I',
                       'public.' || name, 'id', name);
    END LOOP;
END
$sequences$;
SELECT setval('public.certificate_number_seq', 100000 + max(id)) FROM public.certificates;
SELECT setval('public.lpo_number_seq', 1000 + 5 * max(id)) FROM public.lpos;
SELECT setval('public.audit_entry_seq', max(id)) FROM public.audit_trail;
SELECT setval('public.queue_ticket_seq', 417, false);

DROP SCHEMA seed CASCADE;
