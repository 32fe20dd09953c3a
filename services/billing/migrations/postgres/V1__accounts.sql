-- One account a patient, for ever: it stays when the patient is removed.
create table account (
    id         uuid        primary key,
    patient_id uuid        not null,
    status     text        not null check (status in ('ACTIVE')),
    opened_at  timestamptz not null,
    constraint account_patient_id unique (patient_id)
);

create index account_opened_at on account (opened_at, id);
