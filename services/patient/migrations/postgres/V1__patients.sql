-- The _key columns are the text in lower case: what is sorted, searched and kept unique.
-- grams: which pieces of one, two and three characters a name and an email have, each as hex
-- digits. So a part of any length is found by an index, in any language.
create table patient (
    id              uuid        primary key,
    name            text        not null,
    name_key        text        collate "C" not null,
    email           text        not null,
    email_key       text        collate "C" not null,
    address         text        not null,
    date_of_birth   date        not null,
    registered_date date        not null,
    version         bigint      not null,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    billing_account uuid, -- null: billing has not answered yet
    grams           text[]      not null,
    constraint patient_email_key unique (email_key)
);

create index patient_by_name on patient (name_key, id);
create index patient_by_registered_date on patient (registered_date, id);
create index patient_by_created_at on patient (created_at, id);
create index patient_without_account on patient (created_at, id)
    where billing_account is null;
create index patient_by_gram on patient using gin (grams);

-- First answers by idempotency key, for 24 hours.
create table idempotency (
    caller      text        not null,
    request_key text        not null,
    fingerprint bytea       not null, -- SHA-256 of what was asked
    patient_id  uuid        not null,
    answer      text,                 -- JSON; null once the patient was removed
    finished    bigint      not null, -- 0 while the first request is being worked on
    created_at  timestamptz not null,
    constraint idempotency_caller_request_key primary key (caller, request_key)
);

create index idempotency_by_patient on idempotency (patient_id);
create index idempotency_by_created_at on idempotency (created_at);
