-- Row security, policies and privileges. anon may verify a certificate, a trainee sees what is
-- theirs, staff see their organisation, the service role sees all.

ALTER TABLE public.organisations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.trainees ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.courses ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.enrolments ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.quotations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.lpos ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invoice_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.payments FORCE ROW LEVEL SECURITY;
ALTER TABLE public.certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_trail ENABLE ROW LEVEL SECURITY;

CREATE POLICY courses_are_public ON public.courses FOR SELECT USING (true);
CREATE POLICY sessions_on_offer ON public.sessions FOR SELECT TO anon, authenticated
    USING (status IN ('planned', 'open', 'running'));
CREATE POLICY sessions_of_staff ON public.sessions TO authenticated
    USING (private.is_staff(auth.uid())) WITH CHECK (private.is_staff(auth.uid()));
CREATE POLICY organisations_own ON public.organisations FOR SELECT TO authenticated
    USING (id = private.organisation_of(auth.uid()));
CREATE POLICY users_self ON public.users TO authenticated
    USING (id = (current_setting('request.jwt.claims', true)::jsonb ->> 'sub')::uuid)
    WITH CHECK (id = auth.uid() AND role = 'trainee');
CREATE POLICY trainees_self ON public.trainees FOR SELECT TO authenticated
    USING (user_id = auth.uid());
CREATE POLICY trainees_of_staff ON public.trainees TO authenticated
    USING (private.is_staff(auth.uid())
           AND organisation_id = private.organisation_of(auth.uid()))
    WITH CHECK (organisation_id = private.organisation_of(auth.uid()));
CREATE POLICY enrolments_own ON public.enrolments FOR SELECT TO authenticated
    USING (trainee_id IN (SELECT t.id FROM public.trainees t WHERE t.user_id = auth.uid()));
CREATE POLICY enrolments_request ON public.enrolments FOR INSERT TO authenticated
    WITH CHECK (status = 'requested'
                AND trainee_id IN (SELECT t.id FROM public.trainees t
                                   WHERE t.user_id = auth.uid()));
CREATE POLICY quotations_own ON public.quotations FOR SELECT TO authenticated
    USING (organisation_id = private.organisation_of(auth.uid())
           AND status IN ('sent', 'accepted', 'expired'));
CREATE POLICY lpos_own ON public.lpos TO authenticated
    USING (organisation_id = private.organisation_of(auth.uid()))
    WITH CHECK (status = 'received');
CREATE POLICY invoices_own ON public.invoices FOR SELECT TO authenticated
    USING (organisation_id = private.organisation_of(auth.uid())
           AND status IN ('sent', 'partly paid', 'overdue', 'paid'));
CREATE POLICY invoice_lines_own ON public.invoice_lines FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM public.invoices i WHERE i.id = invoice_lines.invoice_id));
CREATE POLICY payments_of_owner ON public.payments TO tms_owner USING (true) WITH CHECK (true);
CREATE POLICY payments_own ON public.payments FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM public.invoices i WHERE i.id = payments.invoice_id));
CREATE POLICY certificates_verify ON public.certificates FOR SELECT TO anon
    USING (status IN ('valid', 'expired'));
CREATE POLICY certificates_own ON public.certificates FOR SELECT TO authenticated
    USING (trainee_id IN (SELECT t.id FROM public.trainees t WHERE t.user_id = auth.uid()));
CREATE POLICY certificates_not_revoked ON public.certificates AS RESTRICTIVE
    FOR SELECT TO authenticated USING (status <> 'revoked');
CREATE POLICY documents_own ON public.documents FOR SELECT TO authenticated
    USING (kind = 'certificate'
           AND certificate_id IN (SELECT c.id FROM public.certificates c));
CREATE POLICY audit_of_staff ON public.audit_trail FOR SELECT TO authenticated
    USING (private.is_staff(auth.uid()) AND actor = auth.uid());
COMMENT ON POLICY certificates_verify ON public.certificates IS
    'Anyone who holds a certificate may check it.';

REVOKE ALL ON SCHEMA private FROM PUBLIC;
GRANT USAGE ON SCHEMA public, auth TO anon, authenticated, service_role;
GRANT USAGE ON SCHEMA private TO authenticated, service_role;
GRANT USAGE ON SCHEMA reporting TO tms_reporting;

GRANT ALL ON ALL TABLES IN SCHEMA public TO service_role;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO service_role;
GRANT SELECT ON private.credentials TO service_role;
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO tms_reporting WITH GRANT OPTION;
GRANT SELECT ON public.courses, public.sessions, public.session_board,
    public.certificate_verification TO anon, authenticated;
GRANT SELECT ON public.organisations, public.users, public.enrolments, public.quotations,
    public.invoices, public.invoice_lines, public.payments, public.certificates,
    public.documents, public.audit_trail, public.trainee_certificates,
    public.outstanding_invoices TO authenticated;
-- Not every column of a person is everybody's business.
GRANT SELECT (id, user_id, organisation_id, full_name, full_name_ar, languages, search)
    ON public.trainees TO authenticated;
GRANT UPDATE (email, phone, languages) ON public.trainees TO authenticated;
GRANT SELECT (number, course_id, issued_on, expires_on, status, verification_code)
    ON public.certificates TO anon;
GRANT UPDATE (display_name, preferences) ON public.users TO authenticated;
GRANT INSERT (session_id, trainee_id, status) ON public.enrolments TO authenticated;
GRANT SELECT, INSERT ON public.lpos TO authenticated;
GRANT USAGE ON SEQUENCE public.lpo_number_seq, public.queue_ticket_seq TO authenticated;

REVOKE ALL ON FUNCTION public.issue_certificate(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.issue_certificate(bigint) TO service_role;
REVOKE ALL ON PROCEDURE public.close_session(bigint) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE public.close_session(bigint) TO service_role;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA private FROM PUBLIC;
GRANT EXECUTE ON FUNCTION private.is_staff(uuid), private.organisation_of(uuid)
    TO authenticated, service_role;
GRANT USAGE ON TYPE public.postal_address TO service_role;
REVOKE ALL ON TYPE public.hour_range FROM PUBLIC;
GRANT USAGE ON TYPE public.hour_range TO authenticated, service_role;

ALTER DEFAULT PRIVILEGES FOR ROLE tms_owner IN SCHEMA public
    GRANT SELECT ON TABLES TO authenticated;
ALTER DEFAULT PRIVILEGES FOR ROLE tms_owner IN SCHEMA public
    GRANT ALL ON TABLES TO service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE tms_owner IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE tms_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
