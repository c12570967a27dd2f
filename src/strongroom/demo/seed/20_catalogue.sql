-- What a training provider has few of: organisations, users, rooms, courses, prices, settings.

INSERT INTO public.organisations
    (id, name, name_ar, kind, trade_licence, trn, address, contact_email, credit_limit, tags,
     settings, primary_contact_id, active, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT i,
       seed.from_list('organisation', i, ARRAY['Al Noor', 'Gulf Star', 'Emirates Pearl',
           'Desert Rose', 'Falcon', 'Al Wahda', 'Palm Coast', 'Oryx', 'Blue Dhow', 'Al Reem',
           'Jebel Ali', 'Corniche', 'Al Futtaim Creek', 'Saadiyat', 'Liwa', 'Marina Gate'])
       || ' ' || seed.from_list('branch', i, ARRAY['Contracting', 'Logistics', 'Engineering',
           'Facilities Management', 'Oilfield Services', 'Hospitality', 'Medical Centre',
           'Shipping', 'Trading', 'Aviation Services', 'Electromechanical', 'Education'])
       || ' ' || seed.from_list('form', i, ARRAY['LLC', 'PJSC', 'FZE', 'FZCO', 'Est.'])
       || CASE WHEN i > 100 THEN ' (' || i || ')' ELSE '' END,
       CASE WHEN i % 3 <> 0 THEN 'مؤسسة ' || seed.from_list('organisation ar', i,
           ARRAY['النور', 'نجم الخليج', 'اللؤلؤة', 'الصقر', 'الوحدة', 'الواحة']) || ' ' || i END,
       (ARRAY['client', 'client', 'client', 'provider', 'authority'])
           [1 + seed.pick('kind', i, 5)]::public.organisation_kind,
       'CN-' || (1000000 + i * 17),
       CASE WHEN i % 7 <> 0 THEN '100' || lpad((i * 7919)::text, 12, '0') END,
       ROW(seed.from_list('street', i, ARRAY['Sheikh Zayed Road', 'Corniche Road',
               'Al Wasl Road', 'King Faisal Street', 'Hamdan Street', 'Airport Road']),
           seed.from_list('emirate', i, seed.emirates()),
           seed.from_list('emirate', i, seed.emirates()),
           CASE WHEN i % 9 <> 0 THEN 1000 + seed.pick('box', i, 90000) END
       )::public.postal_address,
       'training' || i || '@client' || i || '.example.ae',
       seed.pick('credit', i, 500) * 1000,
       ARRAY(SELECT t FROM unnest(ARRAY['oil and gas', 'government', 'key account', 'free zone',
                                        'new "2026"', 'slow, payer']) WITH ORDINALITY AS l(t, n)
             WHERE seed.pick('tag', i * 7 + n, 3) = 0 ORDER BY n),
       jsonb_build_object('language', CASE WHEN i % 4 = 0 THEN 'ar' ELSE 'en' END,
                          'statements', i % 2 = 0,
                          'terms_days', 15 * (1 + seed.pick('terms', i, 4))),
       CASE WHEN i % 8 <> 0 AND i <= seed.amount('users') THEN seed.uuid('user', i) END,
       i % 31 <> 0,
       seed.moment('organisation made', i, i, seed.amount('organisations') * 3),
       seed.moment('organisation made', i, i, seed.amount('organisations') * 3)
FROM generate_series(1, seed.amount('organisations')) AS i;

INSERT INTO public.users
    (id, organisation_id, email, display_name, role, preferences, last_seen_at, created_at)
SELECT seed.uuid('user', i),
       1 + (i - 1) % seed.amount('organisations'),
       'user' || i || '@client' || (1 + (i - 1) % seed.amount('organisations')) || '.example.ae',
       seed.full_name(i),
       (ARRAY['administrator', 'coordinator', 'finance', 'trainee', 'trainee', 'trainee'])
           [1 + seed.pick('role', i, 6)],
       jsonb_build_object('theme', seed.from_list('theme', i, ARRAY['light', 'dark']),
                          'page_size', 10 * (1 + seed.pick('page', i, 5))),
       CASE WHEN i % 5 <> 0 THEN seed.moment('seen', i, 900 + i % 140, 1040) END,
       seed.moment('user made', i, i, seed.amount('users') * 2)
FROM generate_series(1, seed.amount('users')) AS i;

-- Everybody of the demonstration has the same password; its hash was made by PHP's password_hash().
INSERT INTO private.credentials (user_id, password_hash, changed_at)
SELECT seed.uuid('user', i), '$2y$10$mvsdfR9cWbRv7DyUSHdxxuFGMW0W93duJHmaTAFGpw28TfHhYdJ72',
       seed.moment('password changed', i, i, seed.amount('users') * 2)
FROM generate_series(1, seed.amount('users')) AS i;

INSERT INTO public.rooms (name, emirate, capacity, position, equipment)
SELECT 'Room ' || chr(65 + ((i - 1) % 26)::integer) || i,
       seed.from_list('room emirate', i, seed.emirates()),
       8 + 4 * seed.pick('room size', i, 6),
       point(54.3 + seed.pick('longitude', i, 1500) / 1000.0,
             24.4 + seed.pick('latitude', i, 1400) / 1000.0),
       seed.pick('equipment', i, 64)::integer::bit(6)
FROM generate_series(1, seed.amount('rooms')) AS i;

INSERT INTO public.courses
    (id, code, title, title_ar, category, delivery, duration_hours, price, validity, outline,
     prerequisites)
SELECT i,
       upper(left(topic, 3)) || '-' || (100 + i),
       topic || ' ' || level,
       CASE WHEN i % 2 = 0 THEN 'دورة رقم ' || i END,
       ((enum_range(NULL::public.course_category))[1 + (i - 1) % 6]),
       (ARRAY['classroom', 'online', 'blended', 'on site'])[1 + seed.pick('delivery', i, 4)],
       8 * (1 + seed.pick('hours', i, 5)),
       350 + 50 * seed.pick('price', i, 60),
       CASE WHEN i % 6 <> 5 THEN make_interval(years => 1 + (i % 3)::integer) END,
       jsonb_build_object(
           'modules', (SELECT jsonb_agg(jsonb_build_object(
                           'title', topic || ', part ' || m,
                           'hours', 2 + seed.pick('module', i * 10 + m, 6)) ORDER BY m)
                       FROM generate_series(1, 2 + seed.pick('modules', i, 4)) AS m),
           'assessment', seed.from_list('assessment', i, ARRAY['written', 'practical', 'both'])),
       CASE WHEN i > 6 AND i % 4 = 0 THEN ARRAY['Course ' || (i - 6), NULL, ''] END
FROM (
    SELECT i,
           (ARRAY['Fire Safety', 'Quality Auditing', 'Warehouse Operations', 'Team Leadership',
                  'Data Protection', 'First Aid', 'Working at Height', 'Lean Management',
                  'Forklift Handling', 'Project Management', 'Cyber Security', 'Confined Spaces'])
               [1 + (i - 1) % 12] AS topic,
           (ARRAY['Awareness', 'Practitioner', 'Advanced', 'Refresher'])[1 + (i - 1) / 12] AS level
    FROM generate_series(1, 48) AS i
) AS listed
ORDER BY i;

INSERT INTO public."Price List 2026"
SELECT code, price * 1.05, CASE WHEN id % 3 = 0 THEN price * 0.9 END,
       CASE id % 5 WHEN 0 THEN E'line one\nline two\twith a tab' WHEN 1 THEN 'back\slash'
                   WHEN 2 THEN '\N' WHEN 3 THEN '' END
FROM public.courses
ORDER BY id;

INSERT INTO private.settings (key, value, changed_at) VALUES
    ('company.name', '"Gulf Training Institute"', '2024-01-07 09:00:00+04'),
    ('company.trn', '"100123456700003"', '2024-01-07 09:00:00+04'),
    ('vat.rate', '0.05', '2024-01-07 09:00:00+04'),
    ('certificates.signatories', '["Dr Hessa Al Zaabi", "Omar Haddad"]', '2025-02-11 11:30:00+04'),
    ('invoices.footer', '{"en": "Payable in AED within 30 days", "ar": "خلال 30 يوما"}',
     '2025-06-01 08:15:00+04'),
    ('empty', 'null', '2026-01-28 00:00:00+04');
