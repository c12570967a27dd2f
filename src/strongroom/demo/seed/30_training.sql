-- Trainees, sessions, enrolments, attendance, certificates.

INSERT INTO public.trainees
    (id, user_id, organisation_id, full_name, full_name_ar, emirates_id, nationality, email, phone,
     born_on, languages, notes, created_at, updated_at)
SELECT i,
       CASE WHEN i <= seed.amount('users') THEN seed.uuid('user', i) END,
       1 + seed.pick('employer', i, seed.amount('organisations')),
       seed.full_name(i),
       CASE WHEN i % 5 < 2 THEN seed.full_name_ar(i) END,
       CASE WHEN i % 10 <> 9 THEN '784-' || (1960 + i % 45) || '-' || lpad(i::text, 7, '0')
           || '-' || i % 10 END,
       (ARRAY['AE', 'IN', 'PK', 'PH', 'EG', 'LK', 'BD', 'NP', 'GB', 'OM', 'QA', 'SA'])
           [1 + seed.pick('nationality', i, 12)],
       CASE WHEN i % 4 <> 3 THEN 'trainee' || i || '@mail.example.com' END,
       '+971 5' || seed.pick('operator', i, 9) || ' '
           || lpad(seed.pick('phone', i, 10000000)::text, 7, '0'),
       '1962-01-01'::date + seed.pick('born', i, 15000)::integer,
       CASE seed.pick('languages', i, 4) WHEN 0 THEN ARRAY['en'] WHEN 1 THEN ARRAY['ar', 'en']
           WHEN 2 THEN ARRAY['hi', 'en'] ELSE ARRAY['ur', 'en', 'ar'] END,
       CASE WHEN i % 6 = 0 THEN jsonb_build_object('badge', seed.pick('badge', i, 100000),
           'dietary', seed.from_list('diet', i, ARRAY['vegetarian', 'halal', 'none'])) END,
       made_at, made_at
FROM generate_series(1, seed.amount('trainees')) AS i,
     LATERAL (SELECT seed.moment('trainee', i, i, seed.amount('trainees')) AS made_at) AS m;

-- The sessions of a room follow each other at even distances over the three years.
INSERT INTO public.sessions
    (id, course_id, room_id, during, capacity, instructor, status, price, created_at)
OVERRIDING SYSTEM VALUE
SELECT i, c.id, 10 + 10 * ((i - 1) % seed.amount('rooms')),
       tstzrange(begins_at, begins_at + make_interval(hours => c.duration_hours / 8 * 2 + 6)),
       12 + 4 * seed.pick('seats', i, 4),
       seed.full_name(1000000 + i % 40),
       CASE WHEN seed.pick('cancelled', i, 25) = 0 THEN 'cancelled'
            WHEN begins_at < '2026-11-01 00:00:00+00' THEN 'finished'
            WHEN begins_at < '2026-11-20 00:00:00+00' THEN 'running'
            WHEN i % 2 = 0 THEN 'open' ELSE 'planned' END,
       c.price, begins_at - interval '40 days'
FROM generate_series(1, seed.amount('sessions')) AS i
CROSS JOIN LATERAL (
    SELECT '2024-01-08 04:00:00+00'::timestamptz + make_interval(days => (
        ((i - 1) / seed.amount('rooms')) * 1060
        / (1 + seed.amount('sessions') / seed.amount('rooms')))::integer) AS begins_at
) AS t
JOIN public.courses c ON c.id = 1 + seed.pick('course', i, 48)
ORDER BY i;

INSERT INTO public.enrolments
    (id, session_id, trainee_id, status, enrolled_at, score, remarks, updated_at)
SELECT i, s.id,
       1 + (seed.pick('first seat', s.id, seed.amount('trainees'))
            + 37 * ((i - 1) / seed.amount('sessions'))) % seed.amount('trainees'),
       (CASE WHEN s.status = 'cancelled' OR seed.pick('withdrew', i, 30) = 0 THEN 'cancelled'
             WHEN s.status = 'finished' THEN 'completed'
             WHEN s.status = 'running' THEN 'attended'
             WHEN i % 3 = 0 THEN 'requested' ELSE 'confirmed' END)::public.enrolment_status,
       s.created_at + make_interval(hours => seed.pick('enrolled', i, 800)::integer),
       CASE WHEN s.status = 'finished' THEN (4500 + seed.pick('score', i, 5501)) / 100.0 END,
       CASE WHEN i % 50 = 0 THEN E'Needs a "certified" copy; tab\tand newline\nhere' END,
       s.created_at + make_interval(hours => seed.pick('enrolled', i, 800)::integer)
FROM generate_series(1, seed.amount('enrolments')) AS i
JOIN public.sessions s ON s.id = 1 + (i - 1) % seed.amount('sessions')
ORDER BY i;

INSERT INTO public.attendance (enrolment_id, day, arrived_at, present)
SELECT e.id, 1, CASE WHEN present THEN lower(s.during)
                     + make_interval(mins => seed.pick('late', e.id, 25)::integer - 15) END, present
FROM public.enrolments e
JOIN public.sessions s ON s.id = e.session_id
CROSS JOIN LATERAL (SELECT seed.pick('present', e.id, 20) > 0 AS present) AS p
WHERE e.id <= seed.amount('attendance')
ORDER BY e.id;

INSERT INTO public.certificates
    (id, number, enrolment_id, trainee_id, course_id, issued_on, expires_on, verification_code,
     status, details)
OVERRIDING SYSTEM VALUE
SELECT i, 'TMS-' || (100000 + i), enrolment_id, trainee_id, course_id, issued_on,
       (issued_on + validity)::date, seed.uuid('certificate', i),
       CASE WHEN seed.pick('revoked', i, 200) = 0 THEN 'revoked'
            WHEN issued_on + validity < '2026-11-20' THEN 'expired' ELSE 'valid' END,
       jsonb_build_object('score', score, 'grade', CASE WHEN score >= 90 THEN 'distinction'
           WHEN score >= 80 THEN 'merit' ELSE 'pass' END)
FROM (
    SELECT row_number() OVER (ORDER BY e.id) AS i, e.id AS enrolment_id, e.trainee_id,
           s.course_id, c.validity, e.score,
           (upper(s.during) AT TIME ZONE 'Asia/Dubai')::date + 3 AS issued_on
    FROM public.enrolments e
    JOIN public.sessions s ON s.id = e.session_id
    JOIN public.courses c ON c.id = s.course_id
    WHERE e.passed AND e.status = 'completed'
) AS passed
WHERE i <= seed.amount('certificates')
ORDER BY i;
