-- Every part's audit trail once more, in one place: to be searched, and to know how far each had
-- come. Only grows.
create table audit_copy (
    writer   text    not null,
    seq      integer not null,
    at       integer not null,
    actor    text    not null,
    role     text,
    action   text    not null,
    outcome  text    not null,
    record   text,
    patients text    not null, -- ids, with a blank between them
    source   text,
    trace    text,
    link     blob    not null,
    primary key (writer, seq)
) strict;
create index audit_copy_by_time on audit_copy (at, writer, seq);
create index audit_copy_by_actor on audit_copy (actor, at);

-- Which entries concern a patient.
create table audit_copy_patient (
    patient text    not null,
    at      integer not null,
    writer  text    not null,
    seq     integer not null,
    primary key (patient, at, writer, seq)
) strict, without rowid;

create trigger audit_copy_keeps_what_it_has before update on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;
create trigger audit_copy_keeps_all_it_has before delete on audit_copy
begin select raise(abort, 'the audit trail only grows'); end;
