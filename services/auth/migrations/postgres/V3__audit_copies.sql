-- Every part's audit trail once more, in one place: to be searched, and to know how far each had
-- come. Only grows.
create table audit_copy (
    writer   text        not null,
    seq      bigint      not null,
    at       timestamptz not null,
    actor    text        not null,
    role     text,
    action   text        not null,
    outcome  text        not null,
    record   text,
    patients text        not null, -- ids, with a blank between them
    source   text,
    trace    text,
    link     bytea       not null,
    primary key (writer, seq)
);
create index audit_copy_by_time on audit_copy (at, writer, seq);
create index audit_copy_by_actor on audit_copy (actor, at);

-- Which entries concern a patient.
create table audit_copy_patient (
    patient uuid        not null,
    at      timestamptz not null,
    writer  text        not null,
    seq     bigint      not null,
    primary key (patient, at, writer, seq)
);

revoke update, delete, truncate on audit_copy, audit_copy_patient from current_user;
