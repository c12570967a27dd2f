-- The roles that postgres_rows.sql refers to: cluster-wide, so made once per cluster.
CREATE ROLE tms_reader NOLOGIN;
CREATE ROLE tms_writer NOLOGIN;
CREATE ROLE tms_owner LOGIN PASSWORD 'never captured' CONNECTION LIMIT 9;
GRANT tms_reader TO tms_writer;
COMMENT ON ROLE tms_writer IS 'writes';
