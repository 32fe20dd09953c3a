-- A patient is found by one text: the name in its normal form (Unicode, no marks, no separators), a
-- blank, the email in lower case. An index of trigrams finds any part of it from three characters on.
-- Names are sorted by a key of ICU's root collation. Both are made by the service, for rows of before
-- when it starts, which finds them by the last index.
--
-- The extension comes with PostgreSQL. Who owns the database may add it, from version 13 on.
create extension if not exists pg_trgm;

drop index patient_by_gram;
drop index patient_by_name;
alter table patient drop column grams, drop column name_key,
    add column search text collate "C", add column sort_key bytea;

create index patient_by_search on patient using gin (search gin_trgm_ops);
create index patient_by_name on patient (sort_key, id);
create index patient_not_prepared on patient (id) where search is null;
