-- Which fields of a record an entry says were set, with a blank between them.
alter table audit_copy add column changed text;
