-- What belongs to the database itself and what pg_dump without --create leaves behind; the name
-- comes as the psql variable `db`.
ALTER DATABASE :"db" SET search_path = app, public, "Odd Schema";
ALTER DATABASE :"db" SET work_mem = '7MB';
ALTER ROLE anon IN DATABASE :"db" SET search_path = app;
ALTER DATABASE :"db" SET app.words = 'a, "B"';
GRANT CREATE ON DATABASE :"db" TO trainer;
REVOKE TEMPORARY ON DATABASE :"db" FROM PUBLIC;
ALTER DATABASE :"db" CONNECTION LIMIT 50;
COMMENT ON DATABASE :"db" IS 'the nasty one';
