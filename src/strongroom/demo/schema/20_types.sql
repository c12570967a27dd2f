-- Schemas, types, domains, sequences and the text search configuration.

CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'Who is asking: reads the claims of the request.';
CREATE SCHEMA private;
COMMENT ON SCHEMA private IS 'Not reachable by the roles of a request.';
CREATE SCHEMA reporting;
COMMENT ON SCHEMA reporting IS 'Figures for the finance office; refreshed every night.';

CREATE TYPE public.organisation_kind AS ENUM ('client', 'provider', 'authority');
CREATE TYPE public.course_category AS ENUM
    ('safety', 'quality', 'logistics', 'leadership', 'technology', 'first aid');
CREATE TYPE public.enrolment_status AS ENUM
    ('requested', 'confirmed', 'attended', 'completed', 'cancelled');
CREATE TYPE public.invoice_status AS ENUM ('draft', 'sent', 'partly paid', 'paid', 'void');
-- A value that was added later sits between the others: its sort order is not its creation order.
ALTER TYPE public.invoice_status ADD VALUE 'overdue' BEFORE 'paid';
CREATE TYPE public.payment_method AS ENUM ('bank transfer', 'cheque', 'card', 'cash');
CREATE TYPE public.document_kind AS ENUM ('lpo', 'certificate', 'invoice', 'quote');
CREATE TYPE public.audit_action AS ENUM ('insert', 'update', 'delete', 'sign in');
COMMENT ON TYPE public.audit_action IS 'What happened to the row that the entry names.';

CREATE TYPE public.postal_address AS (
    street text,
    city   text,
    emirate text,
    po_box integer
);

CREATE DOMAIN public.email_address AS text
    CONSTRAINT email_address_shape CHECK (VALUE ~ '^[^@\s]+@[^@\s]+\.[a-z]{2,}$');
CREATE DOMAIN public.dirham AS numeric(12, 2)
    CONSTRAINT dirham_not_negative CHECK (VALUE >= 0);
COMMENT ON DOMAIN public.dirham IS 'An amount in AED; two decimals, never negative.';
CREATE DOMAIN public.emirates_id AS character varying(18)
    CONSTRAINT emirates_id_shape CHECK (VALUE ~ '^784-[0-9]{4}-[0-9]{7}-[0-9]$');
CREATE DOMAIN public.tax_number AS character(15)
    CONSTRAINT tax_number_shape CHECK (VALUE ~ '^100[0-9]{12}$');
CREATE DOMAIN public.sha256_hex AS text
    CONSTRAINT sha256_hex_shape CHECK (VALUE ~ '^[0-9a-f]{64}$');

CREATE TYPE public.hour_range AS RANGE (SUBTYPE = numeric);

-- Purchase orders were numbered in fives by the system before this one.
CREATE SEQUENCE public.lpo_number_seq INCREMENT BY 5 START WITH 1000 MINVALUE 1000;
CREATE SEQUENCE public.certificate_number_seq AS integer START WITH 100001 MINVALUE 100001 CACHE 1;
CREATE SEQUENCE public.queue_ticket_seq AS smallint
    INCREMENT BY -1 MINVALUE 1 MAXVALUE 999 START WITH 999 CYCLE;
COMMENT ON SEQUENCE public.queue_ticket_seq IS 'Tickets of the front desk: 999 down to 1, again.';
CREATE SEQUENCE public.audit_entry_seq CACHE 20;

CREATE TEXT SEARCH CONFIGURATION public.tms_search (COPY = pg_catalog.simple);
COMMENT ON TEXT SEARCH CONFIGURATION public.tms_search IS
    'No stemming: names are Arabic, Indian and English.';
