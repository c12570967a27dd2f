-- The roles that structure_nasty.sql refers to: cluster-wide, so made once per cluster.
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service NOLOGIN BYPASSRLS;
CREATE ROLE trainer NOLOGIN CREATEROLE;
CREATE ROLE "Odd Role" LOGIN CONNECTION LIMIT 3 VALID UNTIL '2031-01-01 00:00:00+04';
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE auditor LOGIN;
CREATE ROLE bystander LOGIN;
GRANT anon, authenticated TO authenticator;
GRANT trainer TO "Odd Role" WITH ADMIN OPTION;
GRANT pg_monitor TO auditor;
ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET search_path = "$user", public, "Odd Schema";
COMMENT ON ROLE trainer IS 'teaches';
