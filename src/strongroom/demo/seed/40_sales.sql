-- Quotations, purchase orders, invoices with their lines, payments.

INSERT INTO public.quotations
    (id, number, organisation_id, course_id, seats, unit_price, discount, status, valid, created_at)
OVERRIDING SYSTEM VALUE
SELECT i,
       'Q-' || to_char(made_at AT TIME ZONE 'Asia/Dubai', 'YYYY') || '-' || lpad(i::text, 6, '0'),
       1 + seed.pick('quoted to', i, seed.amount('organisations')), c.id,
       1 + seed.pick('quoted seats', i, 24), c.price, seed.pick('discount', i, 5) * 0.025,
       (ARRAY['sent', 'accepted', 'accepted', 'declined', 'expired', 'draft'])
           [1 + seed.pick('quotation', i, 6)],
       daterange((made_at AT TIME ZONE 'Asia/Dubai')::date,
                 (made_at AT TIME ZONE 'Asia/Dubai')::date + 30),
       made_at
FROM generate_series(1, seed.amount('quotations')) AS i
JOIN public.courses c ON c.id = 1 + seed.pick('quoted course', i, 48)
CROSS JOIN LATERAL (
    SELECT seed.moment('quotation', i, i, seed.amount('quotations')) AS made_at
) AS m
ORDER BY i;

INSERT INTO public.lpos
    (id, number, organisation_id, quotation_id, amount, received_on, status, metadata, created_at)
OVERRIDING SYSTEM VALUE
SELECT i, 'LPO-' || (1000 + 5 * i), q.organisation_id, q.id, q.total,
       lower(q.valid) + seed.pick('lpo delay', i, 20)::integer,
       (ARRAY['received', 'verified', 'invoiced', 'invoiced', 'rejected'])
           [1 + seed.pick('lpo', i, 5)],
       jsonb_build_object('buyer', seed.full_name(2000000 + i), 'cost_centre',
           'CC-' || seed.pick('cost centre', i, 900),
           'channel', seed.from_list('channel', i, ARRAY['email', 'portal', 'by hand'])),
       q.created_at + make_interval(days => seed.pick('lpo delay', i, 20)::integer)
FROM generate_series(1, seed.amount('lpos')) AS i
JOIN public.quotations q
    ON q.id = 1 + (i - 1) * seed.amount('quotations') / seed.amount('lpos')
ORDER BY i;

-- Lines before their invoices, whose amount is their sum; nothing refers yet.
INSERT INTO public.invoice_lines (invoice_id, line, session_id, description, quantity, unit_price)
SELECT i, n, s.id, c.title || ' (' || c.code || ')',
       1 + seed.pick('quantity', i * 10 + n, 12), s.price
FROM generate_series(1, seed.amount('invoices')) AS i
CROSS JOIN LATERAL generate_series(1, 1 + seed.pick('lines', i, 4)) AS n
JOIN public.sessions s
    ON s.id = 1 + seed.pick('invoiced session', i * 10 + n, seed.amount('sessions'))
JOIN public.courses c ON c.id = s.course_id
ORDER BY i, n;

-- A few replace the invoice before them.
INSERT INTO public.invoices
    (id, number, organisation_id, lpo_id, issued_on, net, status, replaces_invoice_id, created_at,
     updated_at)
SELECT i,
       'INV-' || to_char(made_at AT TIME ZONE 'Asia/Dubai', 'YYYY') || '-' || lpad(i::text, 6, '0'),
       coalesce(l.organisation_id, 1 + seed.pick('invoiced to', i, seed.amount('organisations'))),
       l.id, (made_at AT TIME ZONE 'Asia/Dubai')::date,
       n.net,
       (ARRAY['paid', 'paid', 'paid', 'sent', 'overdue', 'partly paid', 'void', 'draft'])
           [1 + seed.pick('invoice', i, 8)]::public.invoice_status,
       CASE WHEN i % 97 = 0 THEN i - 1 END,
       made_at, made_at
FROM generate_series(1, seed.amount('invoices')) AS i
CROSS JOIN LATERAL (SELECT seed.moment('invoice', i, i, seed.amount('invoices')) AS made_at) AS m
JOIN (SELECT invoice_id, sum(amount) AS net FROM public.invoice_lines GROUP BY 1) AS n
    ON n.invoice_id = i
LEFT JOIN public.lpos l
    ON i % 3 <> 0 AND l.id = 1 + (i - 1) * seed.amount('lpos') / seed.amount('invoices')
ORDER BY i;

INSERT INTO public.payments (id, invoice_id, amount, paid_at, method, reference, receipt)
SELECT p, i.id, round(i.gross * (CASE WHEN p % 6 = 0 THEN 0.5 ELSE 1 END), 2),
       i.created_at + make_interval(days => 3 + seed.pick('paid', p, 60)::integer),
       (enum_range(NULL::public.payment_method))[1 + seed.pick('method', p, 4)],
       CASE WHEN p % 8 <> 0 THEN
           'FT' || lpad(seed.pick('reference', p, 10000000000)::text, 10, '0') END,
       CASE WHEN p % 3 = 0 THEN sha256(convert_to('payment ' || p, 'UTF8')) END
FROM generate_series(1, seed.amount('payments')) AS p
JOIN public.invoices i ON i.id = 1 + (p - 1) * seed.amount('invoices') / seed.amount('payments')
ORDER BY p;
