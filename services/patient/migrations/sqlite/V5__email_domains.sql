-- Domains of addresses are kept in their ASCII form, so that one mailbox is one patient. Rows from
-- before are rewritten by the service when it starts, which finds them by this index.
create index patient_email_beyond_ascii on patient (id) where length(cast(email_key as blob)) <> length(email_key);
