-- What the seeding needs; the schema is dropped when the rows are in.
-- Nothing here is random: a row's values are a hash of its number, a salt and the seed.

CREATE SCHEMA seed;
CREATE TABLE seed.plan (what text PRIMARY KEY, amount bigint NOT NULL);

-- Reads a table and is marked IMMUTABLE all the same: the plan does not change while the rows are
-- made, and the planner can then work each amount out once.
CREATE FUNCTION seed.amount(wanted text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT amount FROM seed.plan WHERE what = wanted
$$;

-- A number from 0 to below - 1.
CREATE FUNCTION seed.pick(salt text, i bigint, below bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashint8extended(i, hashtext(salt) + seed.amount('seed')) & 9223372036854775807) % below
$$;

CREATE FUNCTION seed.uuid(salt text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT md5(salt || ':' || seed.amount('seed') || ':' || i)::uuid
$$;

CREATE FUNCTION seed.from_list(salt text, i bigint, list text[]) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$
    SELECT list[1 + seed.pick(salt, i, cardinality(list))]
$$;

-- A moment of working time from 7 January 2024 on; `part` and `whole` place it in the three years.
CREATE FUNCTION seed.moment(salt text, i bigint, part bigint, whole bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE AS $$
    SELECT '2024-01-07 04:00:00+00'::timestamptz
        + make_interval(days => (part * 1040 / whole)::integer,
                        mins => seed.pick(salt, i, 600)::integer,
                        secs => seed.pick(salt, -i, 60000) / 1000.0::double precision)
$$;

CREATE FUNCTION seed.first_names() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['Ahmed', 'Mohammed', 'Fatima', 'Aisha', 'Khalid', 'Mariam', 'Omar', 'Noura',
        'Saeed', 'Latifa', 'Hamad', 'Shaikha', 'Yousef', 'Reem', 'Abdullah', 'Hessa', 'Rashid',
        'Maitha', 'Sultan', 'Amna', 'Rajesh', 'Priya', 'Suresh', 'Anjali', 'Vijay', 'Deepa',
        'Arjun', 'Lakshmi', 'Imran', 'Sana', 'Bilal', 'Zainab', 'Tariq', 'Hina', 'Jose', 'Maria',
        'Angelo', 'Grace', 'Ramon', 'Cristina', 'Karim', 'Layla', 'Hassan', 'Dina', 'Mahmoud',
        'Salma', 'Peter', 'Emily', 'Thomas', 'Sarah', 'Nimal', 'Chamari', 'Rahim', 'Nasrin']
$$;
CREATE FUNCTION seed.first_names_ar() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['أحمد', 'محمد', 'فاطمة', 'عائشة', 'خالد', 'مريم', 'عمر', 'نورة', 'سعيد',
        'لطيفة', 'حمد', 'شيخة', 'يوسف', 'ريم', 'عبدالله', 'حصة', 'راشد', 'ميثاء', 'سلطان', 'آمنة']
$$;
CREATE FUNCTION seed.family_names() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['Al Mansoori', 'Al Maktoum', 'Al Nuaimi', 'Al Shamsi', 'Al Ketbi', 'Al Zaabi',
        'Al Hashimi', 'Al Balushi', 'Al Farsi', 'Al Harthy', 'Al Kuwari', 'Al Sabah', 'Al Dosari',
        'Al Qahtani', 'Sharma', 'Nair', 'Menon', 'Iyer', 'Patel', 'Reddy', 'Khan', 'Malik',
        'Hussain', 'Qureshi', 'Chaudhry', 'Santos', 'Reyes', 'Cruz', 'Bautista', 'Garcia',
        'Mansour', 'El Sayed', 'Haddad', 'Khoury', 'Abdelrahman', 'Perera', 'Fernando', 'Silva',
        'Rahman', 'Uddin', 'Thapa', 'Gurung', 'Brown', 'Walker', 'O''Brien', 'D''Souza']
$$;
CREATE FUNCTION seed.family_names_ar() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['المنصوري', 'النعيمي', 'الشامسي', 'الكتبي', 'الزعابي', 'الهاشمي', 'البلوشي',
        'الفارسي', 'الحارثي', 'الكواري', 'الدوسري', 'القحطاني']
$$;
CREATE FUNCTION seed.full_name(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT seed.from_list('first name', i, seed.first_names()) || ' '
        || seed.from_list('family name', i, seed.family_names())
$$;
CREATE FUNCTION seed.full_name_ar(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT seed.from_list('first name', i, seed.first_names_ar()) || ' '
        || seed.from_list('family name', i, seed.family_names_ar())
$$;
CREATE FUNCTION seed.emirates() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['Abu Dhabi', 'Dubai', 'Sharjah', 'Ajman', 'Umm Al Quwain', 'Ras Al Khaimah',
                 'Fujairah']
$$;
