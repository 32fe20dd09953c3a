-- Which fields of a record an entry says were set, with a blank between them.
alter table audit add column changed text;
