-- Triggers: the audit trail, times of change, totals; one of them is kept but switched off.

CREATE TRIGGER certificates_audit AFTER INSERT OR UPDATE OR DELETE ON public.certificates
    FOR EACH ROW EXECUTE FUNCTION private.write_audit();
CREATE TRIGGER invoices_audit AFTER INSERT OR UPDATE OR DELETE ON public.invoices
    FOR EACH ROW EXECUTE FUNCTION private.write_audit();
CREATE TRIGGER payments_audit AFTER INSERT OR UPDATE OR DELETE ON public.payments
    FOR EACH ROW EXECUTE FUNCTION private.write_audit();
CREATE TRIGGER trainees_audit
    AFTER UPDATE OF full_name, emirates_id, email OR DELETE ON public.trainees
    FOR EACH ROW EXECUTE FUNCTION private.write_audit();
COMMENT ON TRIGGER trainees_audit ON public.trainees IS 'Personal data only.';

CREATE TRIGGER organisations_touch BEFORE UPDATE ON public.organisations
    FOR EACH ROW EXECUTE FUNCTION private.touch_updated_at();
CREATE TRIGGER trainees_touch BEFORE UPDATE ON public.trainees
    FOR EACH ROW WHEN (OLD.phone IS DISTINCT FROM NEW.phone OR OLD.notes IS DISTINCT FROM NEW.notes)
    EXECUTE FUNCTION private.touch_updated_at();
CREATE TRIGGER enrolments_touch BEFORE UPDATE ON public.enrolments
    FOR EACH ROW EXECUTE FUNCTION private.touch_updated_at();
CREATE TRIGGER invoices_touch BEFORE UPDATE ON public.invoices
    FOR EACH ROW EXECUTE FUNCTION private.touch_updated_at();

CREATE TRIGGER invoice_lines_added AFTER INSERT ON public.invoice_lines
    REFERENCING NEW TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION private.keep_invoice_total();
CREATE TRIGGER invoice_lines_removed AFTER DELETE ON public.invoice_lines
    REFERENCING OLD TABLE AS changed_lines
    FOR EACH STATEMENT EXECUTE FUNCTION private.keep_invoice_total();

CREATE CONSTRAINT TRIGGER sessions_audit AFTER DELETE ON public.sessions
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION private.write_audit();

-- Rows that arrive by replication are to be audited as well.
ALTER TABLE public.payments ENABLE ALWAYS TRIGGER payments_audit;
-- Switched off in 2025: coordinators correct names in bulk.
ALTER TABLE public.organisations DISABLE TRIGGER organisations_touch;
