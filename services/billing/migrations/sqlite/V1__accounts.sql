-- One account a patient, for ever: it stays when the patient is removed.
create table account (
    id         text    primary key,
    patient_id text    not null unique,
    status     text    not null check (status in ('ACTIVE')),
    opened_at  integer not null
) strict;

create index account_opened_at on account (opened_at, id);
