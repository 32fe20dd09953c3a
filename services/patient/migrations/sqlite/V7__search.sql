-- A patient is found by one text: the name in its normal form (Unicode, no marks, no separators), a
-- blank, the email in lower case. An index of trigrams finds any part of it from three characters on.
-- Names are sorted by a key of ICU's root collation. Both are made by the service, for rows of before
-- when it starts, which finds them by the last index.
drop table patient_gram;
drop index patient_by_name;
alter table patient drop column name_key;
alter table patient add column search text;
alter table patient add column sort_key blob;

create virtual table patient_search using fts5 (
    search, content = '', contentless_delete = 1, detail = none,
    tokenize = 'trigram case_sensitive 1'
);
create index patient_by_name on patient (sort_key, id);
create index patient_not_prepared on patient (id) where search is null;
