-- Foreign keys, exclusion and unique constraints, indexes, extended statistics.

ALTER TABLE public.users
    ADD CONSTRAINT users_organisation_fk FOREIGN KEY (organisation_id)
        REFERENCES public.organisations (id) ON DELETE SET NULL;
-- An organisation and its first contact refer to each other: one of the two must wait.
ALTER TABLE public.organisations
    ADD CONSTRAINT organisations_contact_fk FOREIGN KEY (primary_contact_id)
        REFERENCES public.users (id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE private.credentials
    ADD CONSTRAINT credentials_user_fk FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE;
ALTER TABLE public.trainees
    ADD CONSTRAINT trainees_user_fk FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE SET NULL,
    ADD CONSTRAINT trainees_organisation_fk FOREIGN KEY (organisation_id)
        REFERENCES public.organisations (id);
ALTER TABLE public.sessions
    ADD CONSTRAINT sessions_course_fk FOREIGN KEY (course_id) REFERENCES public.courses (id),
    ADD CONSTRAINT sessions_room_fk FOREIGN KEY (room_id) REFERENCES public.rooms (id),
    ADD CONSTRAINT sessions_room_free EXCLUDE USING gist
        (int4range(room_id, room_id, '[]') WITH &&, during WITH &&)
        WHERE (status <> 'cancelled');
ALTER TABLE public.enrolments
    ADD CONSTRAINT enrolments_once UNIQUE (session_id, trainee_id),
    ADD CONSTRAINT enrolments_session_fk FOREIGN KEY (session_id)
        REFERENCES public.sessions (id),
    ADD CONSTRAINT enrolments_trainee_fk FOREIGN KEY (trainee_id)
        REFERENCES public.trainees (id) ON UPDATE CASCADE;
ALTER TABLE public.attendance
    ADD CONSTRAINT attendance_enrolment_fk FOREIGN KEY (enrolment_id)
        REFERENCES public.enrolments (id) ON DELETE CASCADE;
ALTER TABLE public.quotations
    ADD CONSTRAINT quotations_organisation_fk FOREIGN KEY (organisation_id)
        REFERENCES public.organisations (id),
    ADD CONSTRAINT quotations_course_fk FOREIGN KEY (course_id) REFERENCES public.courses (id);
ALTER TABLE public.lpos
    ADD CONSTRAINT lpos_organisation_fk FOREIGN KEY (organisation_id)
        REFERENCES public.organisations (id),
    ADD CONSTRAINT lpos_quotation_fk FOREIGN KEY (quotation_id)
        REFERENCES public.quotations (id);
ALTER TABLE public.invoices
    ADD CONSTRAINT invoices_organisation_fk FOREIGN KEY (organisation_id)
        REFERENCES public.organisations (id),
    ADD CONSTRAINT invoices_lpo_fk FOREIGN KEY (lpo_id) REFERENCES public.lpos (id),
    ADD CONSTRAINT invoices_replaces_fk FOREIGN KEY (replaces_invoice_id)
        REFERENCES public.invoices (id) DEFERRABLE;
ALTER TABLE public.invoice_lines
    ADD CONSTRAINT invoice_lines_invoice_fk FOREIGN KEY (invoice_id)
        REFERENCES public.invoices (id) ON DELETE CASCADE,
    ADD CONSTRAINT invoice_lines_session_fk FOREIGN KEY (session_id)
        REFERENCES public.sessions (id);
ALTER TABLE public.payments
    ADD CONSTRAINT payments_invoice_fk FOREIGN KEY (invoice_id)
        REFERENCES public.invoices (id);
ALTER TABLE public.certificates
    ADD CONSTRAINT certificates_enrolment_fk FOREIGN KEY (enrolment_id)
        REFERENCES public.enrolments (id),
    ADD CONSTRAINT certificates_trainee_fk FOREIGN KEY (trainee_id)
        REFERENCES public.trainees (id),
    ADD CONSTRAINT certificates_course_fk FOREIGN KEY (course_id)
        REFERENCES public.courses (id);
ALTER TABLE public.documents
    ADD CONSTRAINT documents_quotation_fk FOREIGN KEY (quotation_id)
        REFERENCES public.quotations (id),
    ADD CONSTRAINT documents_lpo_fk FOREIGN KEY (lpo_id) REFERENCES public.lpos (id),
    ADD CONSTRAINT documents_invoice_fk FOREIGN KEY (invoice_id)
        REFERENCES public.invoices (id),
    ADD CONSTRAINT documents_certificate_fk FOREIGN KEY (certificate_id)
        REFERENCES public.certificates (id),
    ADD CONSTRAINT documents_uploader_fk FOREIGN KEY (uploaded_by)
        REFERENCES public.users (id);
ALTER TABLE public."Price List 2026"
    ADD CONSTRAINT "Price List 2026: course" FOREIGN KEY ("Course Code")
        REFERENCES public.courses (code) ON UPDATE CASCADE;

CREATE UNIQUE INDEX users_email_key ON public.users (lower(email::text));
CREATE INDEX organisations_search_idx ON public.organisations USING gin (search);
CREATE INDEX organisations_tags_idx ON public.organisations USING gin (tags);
CREATE INDEX trainees_search_idx ON public.trainees USING gin (search);
CREATE INDEX trainees_organisation_idx
    ON public.trainees (organisation_id) INCLUDE (full_name);
CREATE UNIQUE INDEX trainees_emirates_id_key
    ON public.trainees (emirates_id) WHERE emirates_id IS NOT NULL;
CREATE INDEX trainees_name_idx ON public.trainees (lower(full_name) text_pattern_ops);
CREATE INDEX courses_outline_idx ON public.courses USING gin (outline jsonb_path_ops);
CREATE INDEX sessions_upcoming_idx ON public.sessions (lower(during) DESC)
    WHERE status IN ('planned', 'open');
CREATE INDEX sessions_during_idx ON public.sessions USING gist (during);
CREATE INDEX enrolments_trainee_idx ON public.enrolments (trainee_id) WITH (fillfactor = 80);
CREATE INDEX enrolments_waiting_idx ON public.enrolments (enrolled_at)
    WHERE status = 'requested';
CREATE INDEX invoices_open_idx ON public.invoices (organisation_id, issued_on DESC NULLS LAST)
    WHERE status IN ('sent', 'partly paid', 'overdue');
CREATE INDEX invoices_issued_idx ON public.invoices USING brin (issued_on);
CREATE INDEX payments_invoice_idx ON public.payments (invoice_id);
CREATE INDEX payments_reference_idx ON public.payments USING hash (reference);
CREATE INDEX certificates_trainee_idx ON public.certificates (trainee_id, issued_on DESC);
CREATE UNIQUE INDEX certificates_code_key ON public.certificates (verification_code);
CREATE INDEX audit_trail_row_idx ON public.audit_trail (table_name, row_key);
CREATE INDEX audit_trail_new_idx ON public.audit_trail_2026q4 USING gin (new_row);
COMMENT ON INDEX public.sessions_upcoming_idx IS 'For the booking page.';
COMMENT ON CONSTRAINT sessions_room_free ON public.sessions
    IS 'A room holds one session at a time.';

ALTER TABLE public.enrolments CLUSTER ON enrolments_once;
ALTER TABLE public.certificates REPLICA IDENTITY USING INDEX certificates_number_key;
ALTER TABLE public.organisations ALTER COLUMN name SET STATISTICS 400;
ALTER TABLE public.organisations ALTER COLUMN settings SET STORAGE EXTERNAL;
CREATE STATISTICS public.trainees_origin_stats (dependencies, ndistinct)
    ON organisation_id, nationality FROM public.trainees;

-- What a server must be new enough for.
DO $newer$
DECLARE
    version integer := current_setting('server_version_num')::integer;
BEGIN
    IF version >= 140000 THEN
        EXECUTE 'ALTER TABLE public.rooms ADD COLUMN closed datemultirange NOT NULL '
                'DEFAULT ''{[2025-03-29,2025-04-02),[2026-03-19,2026-03-23)}''::datemultirange';
    END IF;
    IF version >= 150000 THEN
        EXECUTE 'ALTER TABLE public.lpos ADD CONSTRAINT lpos_quotation_once '
                'UNIQUE NULLS DISTINCT (quotation_id, number)';
        EXECUTE 'ALTER TABLE public.rooms ADD CONSTRAINT rooms_name_key '
                'UNIQUE NULLS NOT DISTINCT (emirate, name)';
    END IF;
    IF version >= 180000 THEN
        EXECUTE 'ALTER TABLE public.courses ADD COLUMN days numeric(4, 1) '
                'GENERATED ALWAYS AS (round(duration_hours / 8.0, 1)) VIRTUAL';
    END IF;
END
$newer$;
