-- seq is what the search index calls a row; everybody else knows it by id.
-- The _key columns are the text in lower case: what is sorted, searched and kept unique.
create table patient (
    seq             integer primary key autoincrement,
    id              text    not null unique,
    name            text    not null,
    name_key        text    not null,
    email           text    not null,
    email_key       text    not null unique,
    address         text    not null,
    date_of_birth   text    not null,
    registered_date text    not null,
    version         integer not null,
    created_at      integer not null,
    updated_at      integer not null,
    billing_account text -- null: billing has not answered yet
) strict;

create index patient_by_name on patient (name_key, id);
create index patient_by_registered_date on patient (registered_date, id);
create index patient_by_created_at on patient (created_at, id);
create index patient_without_account on patient (created_at, id)
    where billing_account is null;

-- Which pieces of one, two and three characters a name and an email have, each as hex digits. So a
-- part of any length is found by an index, in any language.
create virtual table patient_gram using fts5 (
    grams, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);

-- First answers by idempotency key, for 24 hours.
create table idempotency (
    caller      text    not null,
    request_key text    not null,
    fingerprint blob    not null, -- SHA-256 of what was asked
    patient_id  text    not null,
    answer      text,             -- JSON; null once the patient was removed
    finished    integer not null, -- 0 while the first request is being worked on
    created_at  integer not null,
    primary key (caller, request_key)
) strict;

create index idempotency_by_patient on idempotency (patient_id);
create index idempotency_by_created_at on idempotency (created_at);
